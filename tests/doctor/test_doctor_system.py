"""Planted problems of the machine: the doctor finds each, and names its fix."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs import limits
from imgurfs.cli import doctor_run, doctor_system
from imgurfs.cli.doctor_run import Check, Finding
from imgurfs.cli.doctor_system import System
from imgurfs.clock import SystemClock
from tests.support.doctored import diagnose, in_namespace
from tests.support.mounted import EmulatorProcess, Machine, emulator_process
from tests.support.processes import environment


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    """An emulator for the mounts of this module."""
    with emulator_process() as process:
        yield process


@pytest.fixture
def machine(tmp_path: Path, emulator: EmulatorProcess) -> Iterator[Machine]:
    """A machine with a mounted drive."""
    machine = Machine(tmp_path, emulator)
    machine.log_in()
    machine.mount()
    yield machine
    for process in machine.processes:
        process.send_signal(signal.SIGCONT)
    machine.clean_up()


def only(findings: Iterator[Finding]) -> tuple[str, str, str]:
    """Return state, text and fix of the one finding there is."""
    (one,) = findings
    return one.state, one.what, one.fix


# --- The runner ------------------------------------------------------------------


def test_a_check_that_fails_does_not_stop_the_others() -> None:
    """Of checks that raise, hang, die or tell, each has its line, within its bound."""
    said = Finding("fine", "ok", "all well")

    def fail() -> list[Finding]:
        raise ZeroDivisionError("oops")

    def hang() -> list[Finding]:
        signal.pause()
        return []

    def die() -> list[Finding]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    def talk() -> list[Finding]:
        os.write(1, b"noise")
        return [said] * 10_000

    began_s = time.monotonic()
    found = doctor_run.run(
        [
            Check(name="fails", look=fail),
            Check(
                name="hangs", look=hang, timeout_s=0.5, fix_if_silent="pull the plug"
            ),
            Check(name="dies", look=die),
            Check(name="talks", look=talk),
        ],
        clock=SystemClock(),
    )
    assert time.monotonic() - began_s < limits.DOCTOR_CHECK_S
    first, second, third, *rest = found
    assert (first.check, first.state) == ("fails", "problem")
    assert "ZeroDivisionError: oops" in first.what
    assert second == Finding(
        "hangs", "problem", "no answer within 0.5 s", "pull the plug"
    )
    assert (third.check, third.state) == ("dies", "problem")
    assert rest == [said] * 10_000


# --- FUSE ------------------------------------------------------------------------


def test_no_fuse_device(tmp_path: Path) -> None:
    """No /dev/fuse, as in a container: the package and the option."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "null").touch()
    hide = in_namespace('mount --bind "$1" /dev', str(tmp_path / "dev"))
    found = diagnose("--offline", environ=environment(tmp_path), inside=hide)
    found.expect("fuse", "problem", "/dev/fuse does not exist", "--device /dev/fuse")


def test_a_fuse_device_nobody_serves(tmp_path: Path) -> None:
    """A device without its module: modprobe."""
    broken = tmp_path / "fuse"
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(broken))
    state, _, fix = only(doctor_system.device(System(device=broken)))
    assert (state, fix) == ("problem", "sudo modprobe fuse")


def test_no_fusermount(tmp_path: Path) -> None:
    """Without fusermount3 the package is named; nothing else fails for that."""
    environ = environment(tmp_path, PATH="/nonexistent")
    found = diagnose("--offline", environ=environ)
    found.expect("fusermount3", "problem", "is missing", "apt-get install fuse3")
    assert {one["check"] for one in found.problems} == {"fusermount3", "token"}


def test_fusermount_without_its_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fusermount3 that is not setuid is of no use to users; root does not need it."""
    real = shutil.which("fusermount3")
    assert real is not None
    copy = Path(shutil.copy(real, tmp_path / "fusermount3"))
    copy.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    state, what, fix = only(doctor_system.unmounter(System(is_root=False)))
    assert (state, "not setuid root" in what) == ("problem", True)
    assert f"chmod 4755 {copy}" in fix
    assert only(doctor_system.unmounter(System(is_root=True)))[0] == "ok"


_LINE = "default /mnt/drive fuse.imgurfs {} 0 0\n"


@pytest.mark.parametrize(
    ("options", "is_root", "config", "state"),
    [
        ("ro,allow_other", False, "# user_allow_other\n", "problem"),
        ("setuid=anna,allow_other", True, "", "problem"),
        ("allow_other", True, "", "ok"),
        ("ro", False, "", "ok"),
        ("ro,allow_other", False, "user_allow_other\n", "ok"),
    ],
)
def test_user_allow_other(
    tmp_path: Path, options: str, is_root: bool, config: str, state: str
) -> None:
    """user_allow_other is missed where a user's drive is to be seen by others."""
    system = System(
        fstab=tmp_path / "fstab", fuse_config=tmp_path / "conf", is_root=is_root
    )
    system.fstab.write_text(_LINE.format(options))
    system.fuse_config.write_text(config)
    found, what, fix = only(doctor_system.allow_other(system))
    assert found == state
    if state == "problem":
        assert "/mnt/drive" in what
        assert fix == f"echo user_allow_other | sudo tee -a {system.fuse_config}"


def test_a_line_of_fstab_without_the_helper(tmp_path: Path) -> None:
    """mount(8) does not find our program: the link that it needs is named."""
    system = System(fstab=tmp_path / "fstab", helpers=tmp_path)
    system.fstab.write_text("# nothing\n")
    assert list(doctor_system.fstab(system)) == []
    system.fstab.write_text(_LINE.format("ro"))
    state, what, fix = only(doctor_system.fstab(system))
    assert (state, "/mnt/drive" in what) == ("problem", True)
    script = Path(sys.executable).with_name("mount.fuse.imgurfs")
    assert fix == f"sudo ln -sf {script} {tmp_path}/"
    (tmp_path / script.name).write_text("#!/bin/sh\n")
    (tmp_path / script.name).chmod(0o755)
    assert only(doctor_system.fstab(system))[0] == "ok"


# --- Mounts ----------------------------------------------------------------------


@pytest.mark.mount
def test_a_mount_whose_process_was_killed(machine: Machine) -> None:
    """A stale mount is found, with the command that takes it away; that one works."""
    (process,) = machine.processes
    process.kill()
    process.wait(10)
    environ = machine.environment
    found = diagnose("--offline", environ=environ, sees_drives=True)
    fix = f"fusermount3 -uz {machine.mountpoint}"
    found.expect("mounts", "problem", f"{machine.mountpoint}: the process", fix)
    assert os.system(fix) == 0
    found = diagnose("--offline", environ=environ, sees_drives=True)
    assert f"{machine.mountpoint}" not in str(found.of("mounts"))


@pytest.mark.mount
def test_a_mount_that_does_not_answer(machine: Machine) -> None:
    """A mount that hangs is found within the bound, and nothing else hangs for it."""
    (process,) = machine.processes
    process.send_signal(signal.SIGSTOP)
    began_s = time.monotonic()
    found = diagnose("--offline", environ=machine.environment, sees_drives=True)
    assert time.monotonic() - began_s < 3 * limits.DOCTOR_CHECK_S
    fix = f"fusermount3 -uz {machine.mountpoint}"
    found.expect("mounts", "problem", "no answer within 5 s", fix)
    found.expect("processes", "problem", "is stopped", f"kill -CONT {process.pid}")
    found.expect("databases", "ok", "state.db is in order", "")
