"""``imgurfs emulator``: an Imgur on this machine, until it is stopped.

The composition root of ``imgurfs.emulator``; turns its errors into exit codes.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from imgurfs.cli.sections import SectionedCommand
from imgurfs.errors import UnavailableError, UsageError
from imgurfs.limits import CALLBACK_PORT

if TYPE_CHECKING:
    from imgurfs.emulator.app import Emulator
    from imgurfs.emulator.config import EmulatorConfig
    from imgurfs.emulator.hosts.server import Listeners
    from imgurfs.emulator.hosts.tls import Tls
    from imgurfs.emulator.rules.limits import Limits
    from imgurfs.emulator.trouble.faultrules import Rule


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_SECTIONS = {
    "Where it listens": (
        "port", "cdn_port", "host", "allow_non_loopback", "tls", "ca_dir",
    ),
    "What there is": ("albums", "images", "seed", "data"),
    "How it behaves": ("dialect", "quirks", "limits", "faults", "callback"),
}  # fmt: skip


@click.command(cls=SectionedCommand, sections=_SECTIONS)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port of the API; 0, the default, takes a free one.",
)
@click.option(
    "--cdn-port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port of the pictures; 0, the default, takes a free one. May be the same.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    show_default=True,
    help="Address to listen on.",
)
@click.option(
    "--allow-non-loopback",
    is_flag=True,
    help="Let other machines in: there is no protection whatsoever.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the state in DIR and go on with it; it begins as --albums … say.",
)
@click.option(
    "--albums",
    type=click.IntRange(min=0),
    metavar="N",
    help="Generate exactly N albums instead of the sample account.",
)
@click.option(
    "--images",
    type=click.IntRange(min=0),
    metavar="N",
    help="Generate exactly N images, spread over the albums.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    metavar="S",
    show_default=True,
    help="Same seed, same ids.",
)
@click.option(
    "--dialect",
    type=click.Choice(["legacy", "new"]),
    default="legacy",
    show_default=True,
    help="Which of Imgur's back-ends to be.",
)
@click.option(
    "--limits",
    default="real",
    metavar="off|real|FILE",
    show_default=True,
    help="Rate limits to enforce; FILE is TOML or JSON.",
)
@click.option(
    "--quirk",
    "quirks",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one of Imgur's oddities; docs/EMULATOR.md lists them. Repeatable.",
)
@click.option(
    "--faults",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rules of what goes wrong, as JSON.",
)
@click.option(
    "--callback",
    metavar="URL",
    help="Address the application has registered; a request may name no other."
    f" Without it who names none comes back to http://127.0.0.1:{CALLBACK_PORT}/.",
)
@click.option(
    "--tls",
    is_flag=True,
    help="Speak HTTPS with a throw-away authority; ca_file is its certificate.",
)
@click.option(
    "--ca-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="With --tls: where ca.pem goes; else a directory that is removed at the end.",
)
def emulator(
    *,
    port: int,
    cdn_port: int,
    host: str,
    allow_non_loopback: bool,
    data: Path | None,
    albums: int | None,
    images: int | None,
    seed: int,
    dialect: str,
    limits: str,
    quirks: tuple[str, ...],
    faults: Path | None,
    callback: str | None,
    tls: bool,
    ca_dir: Path | None,
) -> None:
    """Run an Imgur on this machine, for tests and for trying things out.

    The first line on standard output is a JSON object with the addresses and the
    credentials of its account. Stop it with Ctrl-C. Without --data nothing is kept.
    """
    if ca_dir is not None and not tls:
        raise UsageError("--ca-dir is of no use without --tls", hint="add --tls")
    _check_host(host, is_open=allow_non_loopback)
    try:
        from imgurfs.emulator.config import Dialect, EmulatorConfig
        from imgurfs.emulator.hosts.server import serve
    except ModuleNotFoundError as exc:
        raise UnavailableError(
            f"the emulator needs the module {exc.name}",
            hint="install imgur-drive[emulator]",
        ) from exc
    allowed, rules, changes = _read_options(limits, faults, quirks)
    listeners = _listen(host, api_port=port, cdn_port=cdn_port, is_tls=tls)
    config = EmulatorConfig(
        api_url=listeners.api_url,
        cdn_url=listeners.cdn_url,
        albums=albums,
        images=images,
        seed=seed,
        dialect=Dialect(dialect),
        limits=allowed,
        quirk_changes=changes,
        callback_url=callback or "",
        home_url=f"http://127.0.0.1:{CALLBACK_PORT}/",
    )
    built = _build(config, rules, data, listeners)
    first_line = {"api_url": config.api_url, "cdn_url": config.cdn_url}
    first_line |= asdict(built.credentials)
    trusted = _trust(ca_dir, host=host) if tls else nullcontext()
    with closing(built), closing(listeners), trusted as trust:
        if trust:
            first_line["ca_file"] = str(trust.ca_file)
        click.echo(json.dumps(first_line, separators=(",", ":")))
        serve(built, listeners, tls=trust.context if trust else None)


def _check_host(host: str, *, is_open: bool) -> None:
    if not _is_loopback(host) and not is_open:
        raise UsageError(
            f"{host} can be reached from other machines",
            hint="the emulator protects nothing; --allow-non-loopback if you mean it",
        )


def _build(
    config: EmulatorConfig,
    rules: tuple[Rule, ...],
    data: Path | None,
    listeners: Listeners,
) -> Emulator:
    from imgurfs.emulator.app import build
    from imgurfs.emulator.clock import SystemClock
    from imgurfs.emulator.world.persistence import PersistenceError

    try:
        return build(config, SystemClock(), faults=rules, data=data)
    except PersistenceError as exc:
        listeners.close()
        raise UnavailableError(
            f"cannot keep the state: {exc}", hint="choose another --data"
        ) from exc


@contextmanager
def _trust(ca_dir: Path | None, *, host: str) -> Iterator[Tls]:
    """Make the certificates; without ``ca_dir`` they go when the block ends."""
    from imgurfs.emulator.hosts.tls import make_tls

    with TemporaryDirectory(prefix="imgurfs-emulator-") as temporary:
        try:
            made = make_tls(ca_dir or Path(temporary), host=host)
        except OSError as exc:
            raise UsageError(
                f"cannot write to {exc.filename or ca_dir}: {exc.strerror or exc}",
                hint="choose another --ca-dir",
            ) from exc
        yield made


def _read_options(
    limits: str, faults: Path | None, quirks: tuple[str, ...]
) -> tuple[Limits, tuple[Rule, ...], dict[str, str | int | float]]:
    from imgurfs.emulator.rules.limits import LimitsFileError, load_limits
    from imgurfs.emulator.rules.quirks import QuirkError, parse_quirks
    from imgurfs.emulator.trouble.faultrules import FaultFileError, load_rules

    try:
        rules = load_rules(faults) if faults else ()
        return load_limits(limits), rules, parse_quirks(quirks)
    except (FaultFileError, LimitsFileError, QuirkError) as exc:
        raise UsageError(str(exc), hint="docs/EMULATOR.md describes them") from exc


def _listen(host: str, *, api_port: int, cdn_port: int, is_tls: bool) -> Listeners:
    from imgurfs.emulator.hosts.server import open_listeners

    scheme = "https" if is_tls else "http"
    try:
        return open_listeners(host, api_port=api_port, cdn_port=cdn_port, scheme=scheme)
    except OSError as exc:
        raise UnavailableError(
            f"cannot listen on {exc.filename or host}: {exc.strerror or exc}",
            hint="choose another port, or 0 for any free one",
        ) from exc
