"""Daemon and drive as services when something goes wrong, and when they are stopped."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.serviced import CONFIG, IMGURFS, IMPATIENT, STATE, UNITS, Served
from tests.support.usermanager import BIN, wait_for
from tests.systemd.conftest import Installed

#: Seconds of processor time from a start to the first upload.
_DRAINING_CPU_S = 3.0

#: The daemon on a disk that hangs when a file is there, as one in the network may. Its
#: workers are expected to be heard of sooner, so that a test need not wait 16 minutes.
_ON_A_DISK_THAT_HANGS = """
import os, sys, threading
from imgurfs import limits
limits.WORKER_SILENCE_MAX_S, limits.WORKER_SLACK_S = 45.0, 5.0
stuck, scandir = sys.argv.pop(1), os.scandir
os.scandir = lambda p: threading.Event().wait() if os.path.exists(stuck) else scandir(p)
from imgurfs_daemon.cli import main
main()
"""


def _hold_open(account: Served) -> subprocess.Popen[str]:
    """Start a program that stays in the drive; return when it is there."""
    holder = subprocess.Popen(
        account.manager.command(
            "sh", "-c", 'cd "$0" && echo there && exec sleep 300', str(account.drive)
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "there\n"
    return holder


def _let_go(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait(10)
    assert holder.stdout is not None
    holder.stdout.close()


def test_killed_daemon_comes_back_and_goes_on(installed: Installed) -> None:
    """kill -9: it is started again, sends what waited, and nothing twice."""
    first = installed.first
    count = len(first.images())
    first.admin(
        "faults", [{"action": "delay", "delay_s": 0.5, "path": "/3/(image|upload)"}]
    )
    first.put("killed1.png", "killed2.png", "killed3.png")
    first.wait_images(count + 1)
    before = first.kill(first.sync)
    first.admin("faults", [])
    first.wait_restarted(first.sync, before)
    first.wait_images(count + 3)
    found = [image["md5"] for image in first.images()]
    assert len(found) == len(set(found)) == count + 3
    stat = installed.manager.call("cat", f"/proc/{first.process(first.sync)}/stat")
    ticks = sum(int(field) for field in stat.rpartition(")")[2].split()[11:13])
    assert ticks / os.sysconf("SC_CLK_TCK") <= _DRAINING_CPU_S


def test_killed_mount_leaves_no_stale_one(installed: Installed) -> None:
    """kill -9 of the drive: it is mounted again, once, even while somebody is in it."""
    first = installed.first
    holder = _hold_open(first)
    try:
        before = first.kill(first.mount)
        first.wait_restarted(first.mount, before)
        assert first.is_alive()
    finally:
        _let_go(holder)


def test_dead_mount_of_before_is_cleared_away(installed: Installed) -> None:
    """A mount whose process is gone and that nobody cleared does not stop a start."""
    first, manager = installed.first, installed.manager
    manager.systemctl("stop", first.mount)
    mounted = manager.run(
        IMGURFS, "--config", str(CONFIG), "mount", str(first.drive), timeout_s=60
    )
    assert mounted.returncode == 0, mounted.stderr
    process = manager.call("pgrep", "-f", "mount --foreground --ready-fd").strip()
    manager.call("kill", "-9", process)
    wait_for(lambda: not first.is_alive(), manager.said)
    assert first.mounts() == 1
    manager.systemctl("start", first.mount)
    assert first.is_alive()


def test_hanging_daemon_is_restarted_by_the_watchdog(installed: Installed) -> None:
    """A process that does not go on is ended and started again by systemd."""
    first, manager = installed.first, installed.manager
    watched = "[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\nRestartSec=3\n"
    first.drop_in(first.sync, watched)
    manager.systemctl("restart", first.sync)
    before, count = first.process(first.sync), len(first.images())
    manager.systemctl("kill", "--kill-whom=main", "--signal=STOP", first.sync)
    first.put("unstuck.png")
    wait_for(lambda: manager.show(first.sync, "Result") == "watchdog", manager.said)
    first.wait_restarted(first.sync, before)
    first.drop_in(first.sync, IMPATIENT)
    manager.systemctl("restart", first.sync)
    first.wait_images(count + 1)


@pytest.mark.timeout(300)
def test_hanging_worker_is_noticed_by_the_watchdog(installed: Installed) -> None:
    """A process that goes on, but not with its work, is started again as well."""
    first, manager = installed.first, installed.manager
    code = ";".join(_ON_A_DISK_THAT_HANGS.strip().splitlines())
    daemon = f"{BIN}/python -c '{code}' {first.folder}/stuck.png --account %i"
    watched = "WatchdogSec=2\nTimeoutAbortSec=2\nRestartSec=3\n"
    first.drop_in(first.sync, f"[Service]\nExecStart=\nExecStart={daemon}\n{watched}")
    manager.systemctl("restart", first.sync)
    before, count = first.process(first.sync), len(first.images())
    first.put("free.png")
    first.wait_images(count + 1)
    first.put("stuck.png")
    wait_for(
        lambda: manager.show(first.sync, "Result") == "watchdog",
        manager.said,
        wait_s=120,
    )
    assert "not heard of for too long" in manager.said()
    # It cannot be ready: the disk still hangs.
    wait_for(lambda: first.process(first.sync) not in (0, before), manager.said)
    first.drop_in(first.sync, IMPATIENT)
    manager.systemctl("restart", first.sync)
    first.wait_images(count + 2)


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_stopping_the_target_unmounts(installed: Installed, *, is_busy: bool) -> None:
    """Within 20 s everything has ended and nothing is mounted, in use or not."""
    first, manager = installed.first, installed.manager
    holder = _hold_open(first) if is_busy else None
    try:
        manager.systemctl("stop", "imgurfs.target")
        for unit in (first.sync, first.mount, installed.second.mount):
            first.wait_state(unit, "inactive", wait_s=20)
        assert first.mounts() == 0
        assert installed.second.mounts() == 0
    finally:
        if holder is not None:
            _let_go(holder)
        manager.systemctl("start", "imgurfs.target")
        for one in (first, installed.second):
            one.wait_state(one.sync, "active")
            one.wait_state(one.mount, "active")
    assert first.is_alive()


def _try_start(installed: Installed, unit: str) -> tuple[str, str, str]:
    """Start a unit; return its state, exit status and how often it was restarted."""
    manager = installed.manager
    manager.run("systemctl", "--user", "start", unit)
    wait_for(lambda: manager.show(unit, "ActiveState") == "failed", manager.said)
    return (
        manager.show(unit, "ActiveState"),
        manager.show(unit, "ExecMainStatus"),
        manager.show(unit, "NRestarts"),
    )


def test_account_that_does_not_exist(installed: Installed) -> None:
    """A unit for it ends with 78 and is not tried again."""
    drop_in = f'{IMPATIENT}Environment="IMGURFS_MOUNTPOINT=%h/nowhere"\n'
    for unit in ("imgurfs-sync@nobody.service", "imgurfs-mount@nobody.service"):
        installed.first.drop_in(unit, drop_in)
        assert _try_start(installed, unit) == ("failed", "78", "0")
        installed.manager.systemctl("reset-failed", unit)
        installed.first.drop_in(unit, "")
    assert "there is no account 'nobody'" in installed.manager.said()


def test_configuration_with_mistakes(installed: Installed) -> None:
    """It ends a start with 78, no restart; a reload keeps what was in force."""
    second, manager = installed.second, installed.manager
    good = manager.call("cat", str(CONFIG))
    manager.write(CONFIG, good + "[snyc]\n")
    try:
        before = second.process(second.sync)
        manager.systemctl("reload", second.sync)
        wait_for(lambda: "unknown key 'snyc'" in manager.said(), manager.said)
        wait_for(lambda: second.process(second.sync) == before, manager.said)
        manager.systemctl("stop", second.sync, second.mount)
        for unit in (second.sync, second.mount):
            assert _try_start(installed, unit) == ("failed", "78", "0")
    finally:
        manager.write(CONFIG, good)
        manager.systemctl("restart", second.sync, second.mount)


def test_login_needed(installed: Installed) -> None:
    """Without a token both units end with 77, no restart, until somebody logged in."""
    second, manager = installed.second, installed.manager
    manager.systemctl("stop", second.sync, second.mount)
    token = str(STATE / "second" / "token.json")
    manager.call("mv", token, token + ".away")
    for unit in (second.sync, second.mount):
        assert _try_start(installed, unit) == ("failed", "77", "0")
    told = manager.run(IMGURFS, "--account", "second", "service", "install")
    assert told.returncode == 77
    assert "did not start" in told.stderr
    shown = manager.run(IMGURFS, "service", "status")
    assert shown.returncode == 1
    assert "failed (failed), exit 77" in shown.stdout
    manager.call("mv", token + ".away", token)
    manager.systemctl("start", second.sync, second.mount)
    assert second.is_alive()


def test_uninstall_removes_what_it_wrote(installed: Installed) -> None:
    """One account's files go, the other runs on; what the user wrote stays."""
    first, second, manager = installed.first, installed.second, installed.manager
    for unit in (second.sync, second.mount):
        second.drop_in(unit, "")
    own = UNITS / f"{second.sync}.d" / "99-mine.conf"
    manager.write(own, "[Service]\nNice=5\n")
    before = first.process(first.sync)
    said = json.loads(second.imgurfs("service", "uninstall", "--json"))
    assert sorted(said["units"]) == sorted([second.sync, second.mount])
    left = manager.call("find", str(UNITS), "-name", "*second*").split()
    assert left == [str(own.parent)]
    assert manager.call("cat", str(own)) == "[Service]\nNice=5\n"
    assert second.mounts() == 0
    assert first.process(first.sync) == before
    assert manager.show(first.sync, "ActiveState") == "active"
    manager.call("rm", "-r", str(own.parent))
    second.imgurfs("service", "install", "--json")
    assert second.is_alive()
    assert first.process(first.sync) == before
