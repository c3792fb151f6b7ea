"""What the doctor looks at of processes that run, and of the services of systemd.

Not a command; used by ``doctor``. Every function returns findings and changes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import imgurfs
from imgurfs import paths
from imgurfs.cli.doctor_run import Check, Finding, run

if TYPE_CHECKING:
    from imgurfs.cli.context import Context
    from imgurfs.cli.service_manager import UnitState
    from imgurfs.clock import Clock

_COMMAND: Final = re.compile(r'^Exec\w+=[-@:+!]*("[^"]+"|\S+)', re.MULTILINE)
_INSTALL: Final = "imgurfs service install"
_RESTART: Final = "systemctl --user restart imgurfs.target, or stop and start it"


def files() -> Iterator[Finding]:
    """Look whether the installed units start this installation's programs."""
    from imgurfs.cli import service_units as units

    known = units.installed()
    if not known:
        what = f"no service is installed ({_INSTALL} does it)"
        yield Finding("units", "ok", what)
        return
    is_good = True
    for file, wanted in units.common_files().items():
        found = _problem(file, wanted)
        if found is not None:
            is_good = False
            yield found
    if is_good:
        yield Finding("units", "ok", f"installed: {', '.join(known)}")


def _problem(file: Path, wanted: str) -> Finding | None:
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        return Finding("units", "problem", f"{file}: {error.strerror}", _INSTALL)
    gone = [
        program
        for program in (word.strip('"') for word in _COMMAND.findall(text))
        if not os.access(program, os.X_OK)
    ]
    if gone:
        what = f"{file} starts {gone[0]}, which is not there"
        return Finding("units", "problem", what, _INSTALL)
    if text != wanted:
        what = f"{file} is another installation's or version's, or was edited"
        return Finding("units", "warning", what, _INSTALL)
    return None


def states(clock: Clock) -> Iterator[Finding]:
    """Ask the user's systemd how the installed services are doing."""
    from imgurfs.cli import service_manager as manager
    from imgurfs.cli import service_units as units

    known = units.installed()
    if not known:
        return
    manager.require(units.directory())
    yield from run(
        [Check(name="services", look=partial(_unit, name)) for name in known],
        clock=clock,
    )


def _unit(name: str) -> Iterator[Finding]:
    from imgurfs.cli import service_manager as manager

    state = manager.show(name)
    if state.active == "failed":
        what = f"{name} failed ({state.result}, exit {state.exit_status}) {state.text}"
        yield Finding("services", "problem", what.strip(), _mend(state))
    elif not state.is_active:
        fix = f"systemctl --user start {name}"
        yield Finding("services", "warning", f"{name} is {state.active}", fix)
    elif state.enabled != "enabled":
        what = f"{name} runs, and will not be started at the next login"
        yield Finding("services", "warning", what, f"systemctl --user enable {name}")
    else:
        yield Finding("services", "ok", f"{name} runs. {state.text}".strip())


def _mend(state: UnitState) -> str:
    start = f"systemctl --user restart {state.name}"
    match state.exit_status:
        case 77:
            return f"imgurfs login, then: {start}"
        case 78:
            return f"imgurfs config check, then: {start}"
        case _:
            return f"see: journalctl --user -u {state.name}; then: {start}"


def linger() -> Iterator[Finding]:
    """Look whether installed services run while nobody is logged in."""
    from imgurfs.cli import service_manager as manager
    from imgurfs.cli import service_units as units

    if not units.installed():
        return
    if manager.is_lingering():
        yield Finding("linger", "ok", "services run also when you are not logged in")
    else:
        fix = f"loginctl enable-linger {manager.user()}"
        yield Finding("linger", "warning", "services end when you log out", fix)


def processes(context: Context) -> Iterator[Finding]:
    """Look at who is sending: whether stopped, or older than this installation."""
    from imgurfs.locks import FileLock

    places = paths.account_paths(context.account)
    known = {
        int(lock.holder() or 0)
        for lock in (FileLock(places.daemon_lock), FileLock(places.drain_lock))
        if not lock.is_free()
    } - {0}
    if not known:
        yield Finding("processes", "ok", "neither a daemon nor a drive is at work")
    installed_at = Path(imgurfs.__file__).stat().st_mtime
    for process in sorted(known):
        yield at_work(process, installed_at=installed_at)


def at_work(number: int, *, installed_at: float) -> Finding:
    """Look at a process of ours, and whether it began before an epoch."""
    place = Path(f"/proc/{number}")
    try:
        began_at = place.stat().st_mtime
        state = (place / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return Finding("processes", "ok", f"process {number} has just ended")
    if state in "Tt":
        fix = f"kill -CONT {number}"
        return Finding("processes", "problem", f"process {number} is stopped", fix)
    if installed_at > began_at:
        what = f"process {number} is older than the installed version"
        return Finding("processes", "warning", what, _RESTART)
    return Finding("processes", "ok", f"process {number} is at work")
