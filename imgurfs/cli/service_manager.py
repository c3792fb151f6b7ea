"""The user's systemd: asked and told through its own programs.

Not a command; used by ``imgurfs service``. Every call is bounded. What is missing (no
systemd, no session bus) is an UnavailableError that says what to do.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imgurfs.errors import ImgurfsError, UnavailableError

#: A start waits for READY, a stop for what is in the air.
_TIMEOUT_S: Final = 150.0
_PROBE_TIMEOUT_S: Final = 60.0
_LINGERING: Final = Path("/var/lib/systemd/linger")
_PROPERTIES: Final = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "ActiveEnterTimestamp",
    "NRestarts", "StatusText", "ExecMainStatus", "Result", "MainPID",
)  # fmt: skip


class StartError(ImgurfsError):
    """A unit did not start; ``exit_code`` is its process's, where that says why."""

    def __init__(self, message: str, *, hint: str, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code if exit_code in (69, 75, 77, 78) else 1


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of one unit. ``since`` is its own words."""

    name: str
    load: str
    enabled: str
    active: str
    sub: str
    since: str
    restarts: int
    text: str
    result: str
    exit_status: int
    process: int
    exposure: float | None

    @property
    def is_active(self) -> bool:
        """Whether it does its work."""
        return self.active in ("active", "reloading")


def require(unit_directory: Path) -> None:
    """Raise UnavailableError unless the user's systemd answers and reads our units."""
    if shutil.which("systemctl") is None:
        raise UnavailableError(
            "this system has no systemd",
            hint="let another supervisor run imgurfs-daemon, or 'imgurfs mount'",
        )
    done = _systemctl("show", "--property=UnitPath", "--value")
    if done.returncode:
        raise UnavailableError(
            f"the systemd of this user cannot be reached: {_last_line(done.stderr)}",
            hint=_reach_hint(),
        )
    if str(unit_directory) not in done.stdout.split():
        raise UnavailableError(
            f"the systemd of this user does not read units in {unit_directory}",
            hint="it was started with another XDG_CONFIG_HOME than this shell has",
        )


def _reach_hint() -> str:
    if not os.environ.get("XDG_RUNTIME_DIR"):
        return (
            "XDG_RUNTIME_DIR is not set: log in as this user (su and sudo do not), or:"
            f" loginctl enable-linger {user()};"
            f" export XDG_RUNTIME_DIR=/run/user/{os.getuid()}"
        )
    return "is systemd running here, and this user logged in (loginctl)?"


def reload() -> None:
    """Have unit files read again."""
    _demand("daemon-reload")


def enable(units: Sequence[str]) -> None:
    """Have units started from now on when the user's systemd starts."""
    _demand("enable", "--quiet", *units)


def start(units: Sequence[str], *, is_changed: bool) -> None:
    """Start units, or start them again; return when they are ready. StartError."""
    failed = []
    for name in units:
        done = _systemctl("restart" if is_changed else "start", name)
        if done.returncode:
            failed.append(name)
    if failed:
        state = show(failed[0])
        said = f": {state.text}" if state.text else ""
        why = f"{state.result}, exit {state.exit_status}"
        raise StartError(
            f"{failed[0]} did not start ({why}){said}",
            hint=f"see: journalctl --user -u {failed[0]}",
            exit_code=state.exit_status,
        )


def stop(units: Sequence[str]) -> None:
    """Stop units and forget that they failed; return when they have stopped."""
    if units:
        _demand("stop", *units)
        _systemctl("reset-failed", *units)


def disable(units: Sequence[str]) -> None:
    """Undo :func:`enable`."""
    if units:
        _demand("disable", "--quiet", *units)


def show(name: str) -> UnitState:
    """Return how a unit is doing; one that systemd does not know is "not-found"."""
    done = _systemctl("show", name, f"--property={','.join(_PROPERTIES)}")
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    found = {key: value for key, _, value in pairs}

    def number(key: str) -> int:
        return int(value) if (value := found.get(key, "")).isdigit() else 0

    return UnitState(
        name=name,
        load=found.get("LoadState", ""),
        enabled=found.get("UnitFileState", ""),
        active=found.get("ActiveState", ""),
        sub=found.get("SubState", ""),
        since=found.get("ActiveEnterTimestamp", ""),
        restarts=number("NRestarts"),
        text=found.get("StatusText", ""),
        result=found.get("Result", ""),
        exit_status=number("ExecMainStatus"),
        process=number("MainPID"),
        exposure=exposure(name),
    )


def exposure(name: str) -> float | None:
    """Return systemd's own mark for a unit's sandbox: 0 is best, 10 is worst."""
    done = _run(["systemd-analyze", "--user", "--no-pager", "security", name])
    match = re.search(r"exposure level for \S+ (\d+(?:\.\d+)?)", done.stdout)
    return float(match[1]) if match else None


def probe(
    command: Sequence[str], *, properties: Sequence[str], environ: Mapping[str, str]
) -> str:
    """Return "" when a command ends well as a service with these properties.

    Otherwise why not, in a few words.
    """
    options = [f"--property={one}" for one in (*properties, "RuntimeMaxSec=50")]
    options += [f"--setenv={key}={value}" for key, value in environ.items()]
    done = _run(
        ["systemd-run", "--user", "--wait", "--pipe", "--quiet", "--collect", *options,
         "--", *command],
        timeout_s=_PROBE_TIMEOUT_S,
    )  # fmt: skip
    if not done.returncode:
        return ""
    return _last_line(done.stderr) or f"exit {done.returncode}"


def is_lingering() -> bool:
    """Whether the user's services run while the user is not logged in."""
    return (_LINGERING / user()).exists()


def user() -> str:
    """Return the name of the user this process belongs to."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _demand(*arguments: str) -> None:
    done = _systemctl(*arguments)
    if done.returncode:
        raise UnavailableError(
            f"systemctl --user {' '.join(arguments)}: {_last_line(done.stderr)}"
        )


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(["systemctl", "--user", "--no-pager", *arguments])


def _run(
    command: Sequence[str], *, timeout_s: float = _TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - systemd's programs, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"{command[0]} did not end within {timeout_s:.0f} s"
    except OSError as error:
        reason = f"{command[0]}: {error.strerror}"
    return subprocess.CompletedProcess(command, 1, "", reason)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
