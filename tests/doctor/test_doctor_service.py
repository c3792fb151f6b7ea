"""Planted problems of units and processes: the doctor finds each, and names its fix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgurfs.cli import doctor_service
from imgurfs.clock import SystemClock
from imgurfs.locks import FileLock
from tests.support.doctored import Diagnosis, diagnose
from tests.support.processes import REPOSITORY, environment

_SYNC = "imgurfs-sync@default.service"

#: A systemd whose units are as a file says, which everything else is none of.
_SYSTEMCTL = """#!/bin/sh
case "$*" in
    *UnitPath*) echo "{units}" ;;
    *"show "*) printf '%s\\n' {state} ;;
esac
"""


def look(directory: Path, *programs: Path) -> Diagnosis:
    """Run the doctor, on this machine only, with other programs before ours."""
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    return diagnose("--offline", environ=environment(directory, PATH=path))


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The directory with the units of a service, as they would be installed."""
    done = subprocess.run(
        [sys.executable, "-m", "imgurfs", "service", "install", "--dry-run", "--json"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        check=True,
    )
    for name, text in json.loads(done.stdout)["files"].items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    return tmp_path / "config" / "systemd" / "user"


def manager(directory: Path, units: Path, *state: str) -> Path:
    """Return a directory with a systemctl that says this of every unit."""
    programs = directory / "bin"
    programs.mkdir()
    words = " ".join(f"'{word}'" for word in state)
    file = programs / "systemctl"
    file.write_text(_SYSTEMCTL.format(units=units, state=words))
    file.chmod(0o755)
    return programs


def test_units_of_this_installation(tmp_path: Path, units: Path) -> None:
    """Installed units that fit are in order."""
    found = look(tmp_path)
    found.expect("units", "ok", f"{_SYNC}", "")
    assert len(found.of("units")) == 1


def test_units_of_an_installation_that_is_gone(tmp_path: Path, units: Path) -> None:
    """A unit that starts a program which is not there any more: install again."""
    file = units / "imgurfs-sync@.service"
    text = file.read_text()
    here = str(Path(sys.executable).parent)
    assert here in text
    file.write_text(text.replace(here, "/opt/old/bin"))
    found = look(tmp_path)
    what = f"{file} starts /opt/old/bin/imgurfs-daemon, which is not there"
    found.expect("units", "problem", what, "imgurfs service install")


def test_units_of_another_version(tmp_path: Path, units: Path) -> None:
    """A unit that differs from this version's, or is gone: install again."""
    target = units / "imgurfs.target"
    target.write_text(target.read_text() + "# Changed.\n")
    (units / "imgurfs-mount@.service").unlink()
    found = look(tmp_path)
    fix = "imgurfs service install"
    found.expect("units", "warning", f"{target} is another", fix)
    found.expect("units", "problem", "imgurfs-mount@.service: No such file", fix)


@pytest.mark.parametrize(
    ("state", "result", "what", "fix"),
    [
        (
            ["ActiveState=failed", "Result=exit-code", "ExecMainStatus=77"],
            "problem", "failed (exit-code, exit 77)", "imgurfs login, then: systemctl",
        ),
        (
            ["ActiveState=failed", "Result=exit-code", "ExecMainStatus=78"],
            "problem", "exit 78", "imgurfs config check, then: systemctl",
        ),
        (
            ["ActiveState=failed", "Result=signal", "ExecMainStatus=9"],
            "problem", "failed (signal", f"journalctl --user -u {_SYNC}",
        ),
        (
            ["ActiveState=inactive", "UnitFileState=enabled"],
            "warning", "is inactive", f"systemctl --user start {_SYNC}",
        ),
        (
            ["ActiveState=active", "UnitFileState=disabled"],
            "warning", "next login", f"systemctl --user enable {_SYNC}",
        ),
        (
            ["ActiveState=active", "UnitFileState=enabled", "StatusText=Idle"],
            "ok", f"{_SYNC} runs. Idle", "",
        ),
    ],
)  # fmt: skip
def test_states_of_services(
    tmp_path: Path, units: Path, state: list[str], result: str, what: str, fix: str
) -> None:
    """A service that failed, or does not run, or will not: what to do for each."""
    found = look(tmp_path, manager(tmp_path, units, *state))
    found.expect("services", result, what, fix)
    found.expect("linger", "warning", "when you log out", "loginctl enable-linger")


def test_services_without_their_manager(tmp_path: Path, units: Path) -> None:
    """Units are installed and no systemd of the user can be reached."""
    environ = environment(tmp_path)
    for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):
        environ.pop(name, None)
    found = diagnose("--offline", environ=environ)
    found.expect("services", "problem", "", "XDG_RUNTIME_DIR is not set")


def test_a_manager_that_hangs(tmp_path: Path, units: Path) -> None:
    """A systemd that never answers costs its bound, and no other check."""
    programs = manager(tmp_path, units)
    (programs / "systemctl").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    found = look(tmp_path, programs)
    found.expect("services", "problem", "no answer within 10 s", "")
    found.expect("databases", "ok", "there are none yet", "")


def test_processes_older_than_the_program(tmp_path: Path) -> None:
    """Whoever sends and was started before an upgrade: start it again."""
    now = SystemClock().now()
    found = doctor_service.at_work(os.getpid(), installed_at=now + 60)
    assert (found.state, "older than the installed" in found.what) == ("warning", True)
    assert "systemctl --user restart imgurfs.target" in found.fix
    found = doctor_service.at_work(os.getpid(), installed_at=now - 10 * 86_400)
    assert found.state == "ok"
    lock = tmp_path / "state" / "imgurfs" / "default" / "daemon.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock).require("a daemon"):
        looked = look(tmp_path)
    looked.expect("processes", "ok", f"process {os.getpid()} is at work", "")
