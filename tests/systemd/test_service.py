"""Daemon and drive as services of a user's systemd: what they do while all is well."""

from __future__ import annotations

import json
import os
import re

from tests.support.serviced import IMGURFS, STATE, configure
from tests.support.usermanager import HOME, wait_for
from tests.systemd.conftest import Installed

#: What a start may take of the processor: the waiting for it is the machine's load.
_START_CPU_S = 1.5


def test_installing_starts_everything(installed: Installed) -> None:
    """After one command both units run, are enabled, and are hardened."""
    first = installed.first
    for unit in (first.sync, first.mount):
        assert installed.manager.show(unit, "ActiveState") == "active"
        assert installed.manager.show(unit, "UnitFileState") == "enabled"
    assert installed.said["hardening"] == {"20-calls.conf": "", "30-sandbox.conf": ""}
    assert installed.said["units"] == [first.sync, first.mount]


def test_installing_again_changes_nothing(installed: Installed) -> None:
    """What is in order stays as it is, and runs on."""
    before = installed.first.process(installed.first.sync)
    said = json.loads(installed.first.imgurfs("service", "install", "--json"))
    assert said["changed"] == []
    assert said["mountpoint"] == str(installed.first.drive)
    assert before == installed.first.process(installed.first.sync)


def test_a_picture_in_the_folder_is_uploaded(installed: Installed) -> None:
    """What is put into the watched folder is on the account soon, once."""
    before = len(installed.first.images())
    installed.first.put("one.png")
    installed.first.wait_images(before + 1)
    names = [image["name"] for image in installed.first.images()]
    assert sum("one" in (name or "") for name in names) == 1


def test_the_drive_is_seen_from_everywhere(installed: Installed) -> None:
    """The mount is one of the whole session, not of its unit alone."""
    first = installed.first
    assert first.mounts() == 1
    listed = installed.manager.call("ls", str(first.drive)).split("\n")
    assert "Album 0001" in listed
    script = 'cat "$0"/*/* | wc -c'
    read = installed.manager.call("sh", "-c", script, str(first.drive))
    assert int(read) > 1000
    said = installed.manager.show(first.mount, "StatusText")
    assert said == f"mounted on {first.drive}"


def test_the_drive_has_given_up_its_privileges(installed: Installed) -> None:
    """No thread of the mounted drive can become more than it is; it still serves."""
    process = installed.first.process(installed.first.mount)
    script = f"cat /proc/{process}/task/*/status"
    status = installed.manager.call("sh", "-c", script)
    assert len(re.findall(r"^NoNewPrivs:\s1$", status, re.MULTILINE)) >= 2
    assert not re.search(r"^NoNewPrivs:\s0$", status, re.MULTILINE)
    assert set(re.findall(r"^CapEff:\s(\w+)$", status, re.MULTILINE)) == {"0" * 16}
    assert installed.first.is_alive()


def test_the_daemon_cannot_change_the_pictures(installed: Installed) -> None:
    """Where the daemon stands not even root can write, but for the daemon's state."""
    first, manager = installed.first, installed.manager
    process = first.process(first.sync)
    for place in (first.folder, first.drive, HOME, HOME / ".config", "/etc", "/srv"):
        file = f"/proc/{process}/root{place}/planted"
        done = manager.run("sh", "-c", ': >"$0"', file, is_root=True)
        assert done.returncode != 0, place
        if place != first.drive:
            assert "Read-only file system" in done.stderr, place
    for place in (STATE, HOME / ".cache/imgurfs"):
        file = f"/proc/{process}/root{place}/planted"
        script = ': >"$0" && rm "$0"'
        assert manager.run("sh", "-c", script, file, is_root=True).returncode == 0
    status = manager.call("cat", f"/proc/{process}/status")
    assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s0+$", status, re.MULTILINE)


def test_exposure_is_what_systemd_says_of_the_running_units(
    installed: Installed,
) -> None:
    """The sync unit's mark is far below 5.7; the mount's is told as it is."""
    done = installed.manager.run(IMGURFS, "service", "status", "--json")
    facts = {one["name"]: one for one in json.loads(done.stdout)["units"]}
    assert facts[installed.first.sync]["exposure"] <= 2.0
    assert facts[installed.first.mount]["exposure"] is not None
    assert facts[installed.first.sync]["active"] == "active"
    assert done.returncode == 0


def test_reload_takes_a_new_folder(installed: Installed) -> None:
    """`systemctl reload` has the configuration read again, without a restart."""
    first, manager = installed.first, installed.manager
    process, count = first.process(first.sync), len(first.images())
    more = HOME / "more"
    manager.call("mkdir", str(more))
    manager.call("cp", str(first.folder / "one.png"), str(more / "again.png"))
    manager.call("sh", "-c", 'printf x >>"$0"', str(more / "again.png"))
    configure(manager, first, installed.second, more=f'[[folder]]\npath = "{more}"\n')
    manager.systemctl("reload", first.sync)
    first.wait_images(count + 1)
    assert first.process(first.sync) == process


def test_accounts_are_instances_with_one_budget(installed: Installed) -> None:
    """Each account has its folder and its drive; what may be spent is one database."""
    first, second = installed.first, installed.second
    counts = len(first.images()), len(second.images())
    second.put("other.png")
    second.wait_images(counts[1] + 1)
    assert len(first.images()) == counts[0]
    assert second.is_alive()
    assert first.is_alive()
    state = installed.manager.call("find", str(HOME), "-name", "budget.db").split()
    assert state == [str(STATE / "budget.db")]


def test_start_needs_no_network_and_little_time(installed: Installed) -> None:
    """READY comes with Imgur out of reach, for 1.5 s of processor time at most."""
    second, manager = installed.second, installed.manager
    manager.systemctl("stop", second.sync, second.mount)
    manager.systemctl("set-environment", "IMGURFS_API_URL=http://127.0.0.1:9")
    try:
        for unit in (second.sync, second.mount):
            manager.systemctl("start", unit)
            assert manager.show(unit, "ActiveState") == "active"
            process = second.process(unit)
            fields = manager.call("cat", f"/proc/{process}/stat").rpartition(")")[2]
            ticks = sum(int(field) for field in fields.split()[11:13])
            assert ticks / os.sysconf("SC_CLK_TCK") <= _START_CPU_S
    finally:
        manager.systemctl("unset-environment", "IMGURFS_API_URL")
        manager.systemctl("restart", second.sync, second.mount)


def test_status_line_shows_queue_and_end(installed: Installed) -> None:
    """`systemctl status` says how much is left and when it will be done."""
    first = installed.first
    count = len(first.images())
    first.imgurfs("pause")
    first.put("late1.png", "late2.png", "late3.png")

    def text() -> str:
        return installed.manager.show(first.sync, "StatusText")

    try:
        wait_for(lambda: bool(re.match(r"paused; 3 photos, done \S+", text())), text)
    finally:
        first.imgurfs("resume")
    first.wait_images(count + 3)
    wait_for(lambda: text().startswith("up to date"), text)
