"""A real mount and a real daemon of one account: which of them sends, and never both.

Each of the two reaches the emulator by a port of its own, so what each sent is known.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import httpx
import pytest

from imgurfs import limits
from imgurfs.locks import FileLock
from tests.support.mounted import Machine, emulator_process
from tests.support.processes import environment, process
from tests.support.programs import SETTINGS, DriveGround, picture, until
from tests.support.relay import Relay, relay

pytestmark = pytest.mark.mount

#: What was in the air is looked for after a second; and there is budget for it all.
_MORE_SETTINGS = "quarantine_s = 1\n[budget]\nuploads_per_hour = 500\n"
#: An upload has happened when its answer begins, and the answer takes about a third of
#: a second.
_SLOW_ANSWERS = {
    "method": "POST",
    "path": "/3/(image|upload)",
    "action": "slow",
    "bytes_per_s": 3_000,
}
#: So many pictures wait while the one hands over to the other.
_BACKLOG = 12
#: A mount looks this often whether a daemon has come, then ends its calls; the daemon
#: tries the lock once per DRAIN_POLL_S. The rest is for a busy machine.
_HANDOVER_S = limits.DAEMON_POLL_S + 0.3 + limits.DRAIN_POLL_S + 8


@dataclass
class Couple:
    """A mounted drive and what its account's daemon needs."""

    ground: DriveGround
    by_mount: Relay
    by_daemon: Relay
    daemon_config: Path
    #: How many pictures have been written.
    count: int = 0

    @property
    def machine(self) -> Machine:
        """The machine both run on."""
        return self.ground.machine

    def write(self, number: int) -> None:
        """Put so many new pictures onto the drive."""
        for _ in range(number):
            data = picture(f"picture {self.count}")
            (self.ground.top / f"{self.count}.png").write_bytes(data)
            self.count += 1

    @contextmanager
    def daemon(self, *, while_writing: bool) -> Iterator[subprocess.Popen[str]]:
        """Run the daemon; it sends when this returns."""
        directory = self.machine.directory
        with process(
            "imgurfs_daemon", "--config", str(self.daemon_config),
            environ=environment(directory), log=directory / "daemon.log",
        ) as running:  # fmt: skip
            self.until_sender(running.pid, while_writing=while_writing)
            yield running

    def until_sender(self, pid: int, *, while_writing: bool = False) -> None:
        """Wait until a process is the one that sends."""
        lock = FileLock(self.machine.state_dir / "drain.lock")

        def is_sender() -> bool:
            is_backlog_short = self.count - sum(self.numbers()) < _BACKLOG
            self.write(1 if while_writing and is_backlog_short else 0)
            return not lock.is_free() and lock.holder() == str(pid)

        until(is_sender, f"{pid} does not send", _HANDOVER_S)

    def numbers(self) -> tuple[int, int]:
        """Return how many uploads the mount and the daemon have begun."""
        return len(self.by_mount.uploads()), len(self.by_daemon.uploads())

    def expect_never_both(self) -> None:
        """Nothing of one was in the air while something of the other was."""
        for one, other in product(self.by_mount.changes(), self.by_daemon.changes()):
            assert not one.overlaps(other), (one, other)

    def expect_all_once(self) -> None:
        """The account holds each picture once, and the drive shows the same."""
        self.ground.settle()
        held = self.ground.held()[""]
        assert sorted(held.values()) == [1] * self.count, held
        assert len(list(self.ground.top.iterdir())) == self.count


@pytest.fixture
def couple(tmp_path: Path) -> Iterator[Couple]:
    """Return a mounted, empty account that no daemon serves yet."""
    with ExitStack() as stack:
        enter = stack.enter_context
        emulator = enter(emulator_process("--albums", "0", "--images", "0"))
        address = emulator.address["api_url"]
        by_mount, by_daemon = enter(relay(address)), enter(relay(address))
        http = enter(httpx.Client(base_url=address))
        # The relays end when the connections do.
        stack.callback(emulator.process.kill)
        machine = Machine(tmp_path, emulator)
        stack.callback(machine.clean_up)
        machine.log_in()
        (tmp_path / "watched").mkdir()
        machine.configure(
            f'{SETTINGS}{_MORE_SETTINGS}[[folder]]\npath = "{tmp_path}/watched"\n'
        )
        settings = (tmp_path / "config.toml").read_text()
        for name, one in (("config", by_mount), ("daemon", by_daemon)):
            path = tmp_path / f"{name}.toml"
            path.touch(0o600)
            path.write_text(settings.replace(address, one.url))
        machine.mount()
        http.post("/_emulator/faults", json=[_SLOW_ANSWERS]).raise_for_status()
        ground = DriveGround(machine.mountpoint, machine=machine, http=http)
        yield Couple(ground, by_mount, by_daemon, tmp_path / "daemon.toml")


def test_a_daemon_takes_over_and_the_mount_when_it_ends(couple: Couple) -> None:
    """W27: The mount sends alone, lets go in the middle of its work when a daemon
    comes, and goes on when that was told to stop; never both, nothing twice.
    """
    mount = couple.machine.processes[0]
    couple.write(3)
    couple.ground.settle()
    assert couple.numbers() == (3, 0)
    couple.until_sender(mount.pid)
    couple.write(4)
    until(lambda: couple.numbers()[0] > 3, "the mount does not send")
    with couple.daemon(while_writing=True) as daemon:
        by_mount, by_daemon = couple.numbers()
        assert 3 < by_mount < couple.count - by_daemon, "not in the middle of its work"
        couple.expect_all_once()
        assert couple.numbers() == (by_mount, couple.count - by_mount)
        couple.write(8)
        until(lambda: sum(couple.numbers()) > couple.count - 8, "the daemon is idle")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(limits.STOP_GRACE_S + 5) == 0
    couple.until_sender(mount.pid)
    couple.write(3)
    couple.expect_all_once()
    assert sum(couple.numbers()) == couple.count
    assert couple.numbers()[0] >= by_mount + 3
    couple.expect_never_both()


def test_the_mount_goes_on_where_a_killed_daemon_stopped(couple: Couple) -> None:
    """W27: A daemon that is killed in the middle of its uploads is replaced by the
    mount, which looks for those instead of sending them again.
    """
    mount = couple.machine.processes[0]
    with couple.daemon(while_writing=False) as daemon:
        couple.write(12)
        until(lambda: couple.numbers()[1] > 4, "the daemon does not send")
        daemon.kill()
        daemon.wait(10)
    couple.until_sender(mount.pid)
    couple.expect_all_once()
    assert couple.numbers()[0] > 0
    # Those that died in the middle of their bytes cannot have happened.
    assert couple.ground.uploads() == 12, "an upload that had happened was sent again"
    couple.expect_never_both()


def test_a_folder_is_sent_once_while_a_drive_is_mounted(couple: Couple) -> None:
    """W27: ``imgurfs sync --once`` has the mount let go, as a daemon does, and the
    mount goes on when it is done.
    """
    machine = couple.machine
    mount = machine.processes[0]
    couple.write(6)
    until(lambda: couple.numbers()[0] > 0, "the mount does not send")
    folder = machine.directory / "watched"
    (folder / "more.png").write_bytes(picture("more"))
    done = machine.run("sync", str(folder), "--once", "-v")
    assert done.returncode == 0, done.stderr + done.stdout
    assert (machine.mountpoint / "more.png").exists()
    couple.until_sender(mount.pid)
    couple.write(2)
    couple.ground.settle()
    assert couple.ground.uploads() == couple.count + 1


def test_the_status_says_who_sends(couple: Couple) -> None:
    """W27: ``imgurfs status`` names the process that sends, and whether it is a
    daemon.
    """
    mount = couple.machine.processes[0]
    couple.until_sender(mount.pid)
    assert processes(couple.machine) == {"daemon": None, "sending": mount.pid}
    with couple.daemon(while_writing=False) as daemon:
        pid = daemon.pid
        assert processes(couple.machine) == {"daemon": pid, "sending": pid}


def processes(machine: Machine) -> object:
    """Return what the status says about processes."""
    done = machine.run("status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["processes"]
