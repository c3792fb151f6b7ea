"""``imgurfs service``: the daemon and the drive as units of the user's systemd.

Which files there are is ``service_units``' business, the talk with systemd
``service_manager``'s. What each part is for is told in docs/SERVICE.md.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli.context import Context, pass_context
from imgurfs.cli.words import printable, table
from imgurfs.errors import ImgurfsError, UnavailableError, UsageError

if TYPE_CHECKING:
    from imgurfs.cli.service_manager import UnitState
    from imgurfs.cli.service_units import Wanted
    from imgurfs.config import Config

_CHECK_TIMEOUT_S = 60.0

_as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)
_dry_run = click.option(
    "--dry-run", is_flag=True, help="Say what would be done, and do nothing."
)


class _CheckError(ImgurfsError):
    """What the daemon said when it was asked whether it could work here."""

    def __init__(self, message: str, *, hint: str, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


@click.group(short_help="Run daemon and drive as services of systemd.")
def service() -> None:
    """Run the daemon and the drive of an account as services of the user's systemd.

    They start when you log in, and again when they fail. More in docs/SERVICE.md.
    """


@service.command()
@click.option(
    "--mountpoint",
    type=click.Path(path_type=Path),
    help="Where the drive is mounted (default: ~/Imgur, or where it is by now).",
)
@click.option("--no-sync", is_flag=True, help="Without the daemon for folders.")
@click.option("--no-mount", is_flag=True, help="Without the drive.")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Let systemd hand over the files imgurfs.refresh_token and"
    " imgurfs.client_secret of this directory.",
)
@click.option("--no-start", is_flag=True, help="Start nothing now.")
@_dry_run
@_as_json
@pass_context
def install(
    context: Context,
    *,
    mountpoint: Path | None,
    no_sync: bool,
    no_mount: bool,
    credentials: Path | None,
    no_start: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Install and start the services of one account (--account).

    Again and again, if you like: what is in order already stays as it is. The daemon's
    sandbox is tried first, and left out where it does not start.

    JSON: {"units", "files", "changed", "directories", "hardening": {FILE: WHY_NOT},
    "mountpoint", "lingering", "is_started"}.
    """
    from imgurfs.cli import service_manager as manager
    from imgurfs.cli import service_units as units

    if no_sync and no_mount:
        raise UsageError("--no-sync and --no-mount leave nothing to install")
    settings = context.load_config()
    settings.account_named(context.account)
    wanted = units.Wanted(
        account=context.account,
        has_sync=not no_sync,
        mountpoint=None if no_mount else _place(context.account, mountpoint),
        config_file=_config_file(context),
        credentials=credentials,
        environ=os.environ,
    )
    if dry_run:
        _print_plan(wanted, as_json=as_json)
        return
    facts = _install(wanted, settings)
    if as_json:
        print(json.dumps(facts | {"is_started": not no_start}, indent=2))
    else:
        _print_installed(facts)
    if not no_start:
        # Never the target again: that would restart the other accounts as well.
        manager.start([units.TARGET], is_changed=False)
        manager.start(wanted.units, is_changed=bool(facts["changed"]))


@service.command()
@click.option("--all", "is_all", is_flag=True, help="Those of all accounts.")
@_dry_run
@_as_json
@pass_context
def uninstall(context: Context, *, is_all: bool, dry_run: bool, as_json: bool) -> None:
    """Stop the services of one account (--account) and remove their files.

    Only what 'imgurfs service install' wrote is removed. State, cache, configuration
    and the mountpoint stay.

    JSON: {"units", "removed"}.
    """
    from imgurfs.cli import service_manager as manager
    from imgurfs.cli import service_units as units

    known = units.installed()
    chosen = [n for n in known if is_all or n in _both(context.account)]
    files = [file for name in chosen for file in units.drop_ins(name)]
    is_last = set(chosen) == set(known)
    if is_last:
        files += [file for file in units.common_files() if units.is_ours(file)]
    if not dry_run and files:
        manager.require(units.directory())
        gone = [*chosen, units.TARGET] if is_last else chosen
        manager.stop(gone)
        manager.disable(gone)
        files = units.remove(files)
        manager.reload()
    facts = {"units": chosen, "removed": [str(file) for file in files]}
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    verb = "would be removed" if dry_run else "removed"
    for file in facts["removed"]:
        print(f"{verb}: {printable(file)}")
    if not files:
        print("nothing is installed" + ("" if is_all else " for this account"))


@service.command()
@_as_json
def status(as_json: bool) -> int:
    """Say how the installed services are doing; exit 1 when one is not running.

    EXPOSURE is systemd's mark for the sandbox: 0 is best, 10 is worst.

    JSON: {"units": [{"name", "load", "enabled", "active", "sub", "since", "restarts",
    "text", "result", "exit_status", "process", "exposure"}], "lingering"}.
    """
    from imgurfs.cli import service_manager as manager
    from imgurfs.cli import service_units as units

    manager.require(units.directory())
    states = [manager.show(name) for name in units.installed()]
    if as_json:
        facts = {
            "units": [asdict(state) for state in states],
            "lingering": manager.is_lingering(),
        }
        print(json.dumps(facts, indent=2))
    else:
        _print_states(states)
    return 0 if states and all(state.is_active for state in states) else 1


def _both(account: str) -> list[str]:
    from imgurfs.cli import service_units as units

    return [units.unit(prefix, account) for prefix in (units.SYNC, units.MOUNT)]


def _config_file(context: Context) -> Path | None:
    asked = context.config_file or os.environ.get("IMGURFS_CONFIG")
    return Path(asked).absolute() if asked else None


def _place(account: str, asked: Path | None) -> Path:
    """Return where the drive goes: as told, as it was, or the usual place."""
    from imgurfs.cli import service_units as units

    if asked is not None:
        return asked.expanduser().absolute()
    usual = "Imgur" if account == "default" else f"Imgur-{account}"
    return units.mountpoint_of(account) or Path.home() / usual


def _install(wanted: Wanted, settings: Config) -> dict[str, Any]:
    """Make everything but start it; return what was made."""
    from imgurfs.cli import service_manager as manager
    from imgurfs.cli import service_units as units

    manager.require(units.directory())
    texts = units.common_files() | units.account_files(wanted)
    made = _make_directories(wanted, settings)
    hardening: dict[str, str] = {}
    if wanted.has_sync:
        _check(wanted)
        hardened, hardening = _harden(wanted)
        texts |= hardened
    changed = _write(wanted, texts)
    manager.reload()
    manager.enable([units.TARGET, *wanted.units])
    return {
        "units": wanted.units,
        "files": [str(file) for file in texts],
        "changed": [str(file) for file in changed],
        "directories": made,
        "hardening": hardening,
        "mountpoint": str(wanted.mountpoint) if wanted.mountpoint else None,
        "lingering": manager.is_lingering(),
    }


def _make_directories(wanted: Wanted, settings: Config) -> list[str]:
    """Make what must exist; return what did not. Raises MountpointError."""
    from imgurfs.cli import service_units as units
    from imgurfs.cli.mount import forbidden
    from imgurfs.fuse import mountpoint as mountpoints

    asked = [(path, 0o700) for path in units.writable(wanted.account)]
    place = wanted.mountpoint
    if place is not None:
        asked.append((place, 0o755))
    made = []
    for path, mode in asked:
        if mountpoints.mounted_at(path) is not None or path.is_dir():
            continue
        try:
            path.mkdir(mode, parents=True)
        except OSError as error:
            raise UnavailableError(
                f"{path} cannot be made: {error.strerror}"
            ) from error
        made.append(str(path))
    if place is not None and mountpoints.mounted_at(place) is None:
        mountpoints.prepare(place, forbidden=forbidden(settings, wanted.account))
    return made


def _check(wanted: Wanted) -> None:
    """Raise the daemon's own error when it could not work even without a sandbox."""
    try:
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            _check_command(wanted),
            env={**os.environ, **wanted.variables()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CHECK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError("the daemon's check does not come back") from error
    if done.returncode:
        message, _, hint = done.stderr.strip().rpartition("\n")
        raise _CheckError(
            (message or hint).removeprefix("imgurfs-daemon: "),
            hint=hint.strip() if message else "",
            exit_code=done.returncode,
        )


def _check_command(wanted: Wanted) -> list[str]:
    from imgurfs.cli import service_units as units

    daemon = units.programs()["/usr/bin/imgurfs-daemon"]
    return [daemon, "--check", "--account", wanted.account]


def _harden(wanted: Wanted) -> tuple[dict[Path, str], dict[str, str]]:
    """Return the hardening that starts here, and for each file why not, or "".

    Each builds on those before it, so what is left out are the last ones.
    """
    from imgurfs.cli import service_units as units

    files = [units.hardening_file(name, wanted.account) for name in units.HARDENING]
    reasons = {file.name: "" for file, _ in files}
    while files:
        properties = [one for _, text in files for one in units.properties(text)]
        # Handing over secrets and a sandbox need not go together everywhere.
        properties += units.credentials(wanted)
        reason = try_hardening(wanted, properties)
        if not reason:
            break
        file, _ = files.pop()
        reasons[file.name] = reason
    return dict(files), reasons


def try_hardening(wanted: Wanted, properties: Sequence[str]) -> str:
    """Return "" when the daemon works with these, and they do; otherwise why not."""
    from imgurfs.cli import service_manager as manager

    command = _check_command(wanted)
    environ = wanted.variables()
    reason = manager.probe(command, properties=properties, environ=environ)
    if reason or "ProtectHome=read-only" not in properties:
        return reason
    # Where it may not set this up, an older systemd goes on without a word.
    writes = ["/usr/bin/test", "!", "-w", str(Path.home())]
    if manager.probe(writes, properties=properties, environ={}):
        return "it has no effect here"
    return ""


def _write(wanted: Wanted, texts: dict[Path, str]) -> list[Path]:
    """Write what is wanted and remove drop-ins that no longer are; return changes."""
    from imgurfs.cli import service_units as units

    changed = units.write(texts)
    old = [file for name in wanted.units for file in units.drop_ins(name)]
    return changed + units.remove(file for file in old if file not in texts)


def _print_plan(wanted: Wanted, *, as_json: bool) -> None:
    from imgurfs.cli import service_units as units

    texts = units.common_files() | units.account_files(wanted)
    if as_json:
        files = {str(file): text for file, text in texts.items()}
        print(json.dumps({"units": wanted.units, "files": files}, indent=2))
        return
    for file, text in texts.items():
        print(f"==> {printable(str(file))}\n{text}")
    print("to be enabled and started: " + ", ".join(wanted.units))


def _print_installed(facts: dict[str, Any]) -> None:
    from imgurfs.cli import service_manager as manager

    for path in facts["directories"]:
        print(f"made: {printable(path)}")
    for file in facts["changed"]:
        print(f"written: {printable(file)}")
    if not facts["changed"]:
        print("everything was in place")
    for name, reason in facts["hardening"].items():
        if reason:
            print(f"left out, because it does not start here: {name} ({reason})")
    print("enabled: " + ", ".join(facts["units"]))
    if not facts["lingering"]:
        print(
            "the services end when you log out; to have them always:"
            f" loginctl enable-linger {manager.user()}"
        )


def _print_states(states: Sequence[UnitState]) -> None:
    if not states:
        print("no service is installed: imgurfs service install")
        return
    rows = [("UNIT", "STATE", "ENABLED", "RESTARTS", "EXPOSURE", "SINCE")]
    for one in states:
        mark = "?" if one.exposure is None else f"{one.exposure:.1f}"
        how = f"{one.active} ({one.sub})"
        if not one.is_active and one.exit_status:
            how += f", exit {one.exit_status}"
        rows.append((one.name, how, one.enabled, str(one.restarts), mark, one.since))
    print("\n".join(table(rows)))
    for one in states:
        if one.text:
            print(f"{one.name}: {printable(one.text)}")
