"""A line of /etc/fstab, mounted by mount(8) and unmounted by umount(8)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.support.fstab import ANNA, OTHER, PLACE, Mounts, mounts
from tests.support.mounted import EmulatorProcess

pytestmark = pytest.mark.mount

_HERS = Path("/mnt/anna/drive")
_STAT = (
    "import os, sys; s = os.stat(sys.argv[1]);print(s.st_uid, s.st_gid, oct(s.st_mode))"
)
_OPEN = "import sys; open(sys.argv[1], sys.argv[2]).read(1); print('opened')"


@pytest.fixture(scope="module")
def namespace(emulator: EmulatorProcess) -> Iterator[Mounts]:
    """Return the namespace that the tests of this module share."""
    with mounts(emulator) as made:
        yield made


@pytest.fixture
def world(namespace: Mounts) -> Iterator[Mounts]:
    """Return the namespace with nothing mounted."""
    yield namespace
    namespace.clean_up([PLACE, _HERS])


async def ended(world: Mounts) -> None:
    """Wait until no process serves a mount any more."""
    with trio.fail_after(20):
        while world.servers():  # noqa: ASYNC110 - another process
            await trio.sleep(0.05)


async def test_owner_and_rights_are_those_of_the_line(world: Mounts) -> None:
    """R26: mount(8) mounts a line of fstab: its owner, modes and users; umount ends it.

    Words that mean something to others (systemd, mount itself) are no mistake.
    """
    world.fstab(
        f"allow_other,uid={ANNA},gid=54322,umask=027,noauto,_netdev,nofail,noexec,"
        "noatime,x-systemd.automount,comment=photos"
    )
    done = world.mount()
    assert (done.returncode, done.stderr) == (0, "")
    file, album = str(PLACE / "Cats" / "Paw.gif"), str(PLACE / "Cats")
    assert world.python(_STAT, file) == f"{ANNA} 54322 0o100640"
    assert world.python(_STAT, album) == f"{ANNA} 54322 0o40750"
    status = str(PLACE / ".imgurfs" / "status.json")
    assert world.python(_STAT, status) == f"{ANNA} 54322 0o100440"
    assert world.python(_OPEN, file, "rb", user=ANNA) == "opened"
    assert "Permission denied" in world.python(_OPEN, file, "rb", user=OTHER)
    kept = "import sys; open(sys.argv[1], 'wb').close(); print('made')"
    assert world.python(kept, str(PLACE / "New.png"), user=ANNA) == "made"
    assert world.python(_STAT, str(PLACE / "New.png")) == f"{ANNA} 54322 0o100640"
    shown = world.call("findmnt", "-n", "-o", "SOURCE,FSTYPE", str(PLACE)).split()
    assert shown == ["default", "fuse.imgurfs"]
    world.call("umount", str(PLACE))
    assert not world.is_mounted()
    await ended(world)


async def test_all_lines_can_be_mounted_again_and_again(world: Mounts) -> None:
    """R26: mount -a knows that the drive is there already."""
    world.fstab("defaults")
    for _ in range(2):
        done = world.mount("-a")
        assert (done.returncode, done.stderr) == (0, "")
    assert len(world.servers()) == 1
    world.call("umount", str(PLACE))
    await ended(world)


async def test_ro_refuses_every_change(world: Mounts) -> None:
    """R26: with ro in the line the drive is read-only, also for root."""
    world.fstab("ro")
    assert world.mount().returncode == 0
    assert "Read-only file system" in world.python(_OPEN, str(PLACE / "x.png"), "w")
    assert world.python(_OPEN, str(PLACE / "Cats" / "Paw.gif"), "rb") == "opened"


async def test_without_any_line(world: Mounts) -> None:
    """R26: mount -t fuse.imgurfs ACCOUNT DIRECTORY mounts without a line of fstab."""
    done = world.mount("-t", "fuse.imgurfs", "-o", "umask=077", "default", str(PLACE))
    assert (done.returncode, done.stderr) == (0, "")
    assert world.python(_STAT, str(PLACE / "Cats")) == "0 0 0o40700"
    world.call("umount", str(PLACE))
    await ended(world)


async def test_a_killed_mount_is_mounted_again(world: Mounts) -> None:
    """R21, R26: after kill -9 mount(8) mounts the same line again."""
    world.fstab("rw")
    assert world.mount().returncode == 0
    (server,) = world.servers()
    os.kill(server, signal.SIGKILL)
    await ended(world)
    done = world.mount()
    assert (done.returncode, done.stderr) == (0, "")
    table = Path(f"/proc/{world.process}/mountinfo").read_text()
    assert table.count(f" {PLACE} ") == 1
    assert world.python(_OPEN, str(PLACE / "Cats" / "Paw.gif"), "rb") == "opened"


async def test_setuid_is_whose_drive_it_is(world: Mounts) -> None:
    """R26: with setuid= the drive is served by that user, from that user's home."""
    world.fstab("setuid=anna,allow_other", source="imgur:default", at=_HERS)
    done = world.mount(str(_HERS))
    assert (done.returncode, done.stderr) == (0, "")
    (server,) = world.servers()
    assert Path(f"/proc/{server}").stat().st_uid == ANNA
    groups = [
        line.split()[1:]
        for line in Path(f"/proc/{server}/status").read_text().splitlines()
        if line.startswith(("Uid:", "Groups:"))
    ]
    assert groups == [[str(ANNA)] * 4, [str(ANNA)]]
    file = str(_HERS / "Cats" / "Paw.gif")
    assert world.python(_STAT, file, user=OTHER) == f"{ANNA} {ANNA} 0o100644"
    log = world.seen("/mnt/anna/.local/state/imgurfs/default/mount.log")
    assert log.stat().st_uid == ANNA
    world.call("umount", str(_HERS))
    await ended(world)


async def test_users_mount_their_own(world: Mounts) -> None:
    """R26: with user in the line its user mounts and unmounts, without root."""
    world.fstab("user,noauto,ro", at=_HERS)
    done = world.mount(str(_HERS), user=ANNA)
    assert (done.returncode, done.stderr) == (0, "")
    (server,) = world.servers()
    assert Path(f"/proc/{server}").stat().st_uid == ANNA
    file = str(_HERS / "Cats" / "Paw.gif")
    assert world.python(_OPEN, file, "rb", user=ANNA) == "opened"
    assert "Permission denied" in world.python(_OPEN, file, "rb", user=OTHER)
    world.call("umount", str(_HERS), user=ANNA)
    await ended(world)


async def test_nothing_of_whoever_calls_is_used(world: Mounts) -> None:
    """R26: with setuid= another user's HOME and XDG directories mean nothing."""
    done = world.run(
        "env", "XDG_STATE_HOME=/mnt/root/.local/state", "IMGURFS_CONFIG=/nowhere",
        "/sbin/mount.fuse.imgurfs", "default", str(_HERS), "-o", "setuid=anna",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (server,) = world.servers()
    environ = Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    assert b"HOME=/mnt/anna" in environ
    assert not [one for one in environ if b"/mnt/root" in one or b"nowhere" in one]
    world.call("umount", str(_HERS))
    await ended(world)


@pytest.mark.parametrize(
    ("options", "source", "code", "message"),
    [
        ("ro,sparkling", "default", 1, "mount option 'sparkling' is not known"),
        ("umask=999", "default", 1, "umask '999' is not an octal number"),
        ("uid=nobody-of-that-name", "default", 1, "there is no user"),
        ("setuid=nobody-of-that-name", "default", 1, "there is no such user"),
        ("ro", "no/account", 1, "is not an account name"),
        ("ro", "second", 32, "there is no account 'second'"),
        ("config=/nowhere.toml", "default", 32, "no such configuration file"),
    ],
)
def test_wrong_words_are_told(
    world: Mounts, options: str, source: str, code: int, message: str
) -> None:
    """R26: a line that cannot be: mount(8)'s exit code, the reason, nothing mounted."""
    world.fstab(options, source=source)
    done = world.mount()
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not world.is_mounted()


def test_other_words_of_mount(world: Mounts) -> None:
    """R26: -f only looks, -s lets unknown options pass, remount is refused."""
    world.fstab("sparkling")
    assert world.mount("-f", str(PLACE)).returncode == 1
    assert world.mount("-f", "-s", str(PLACE)).returncode == 0
    assert not world.is_mounted()
    world.fstab("rw")
    assert world.mount().returncode == 0
    done = world.mount("-o", "remount,ro", str(PLACE))
    assert done.returncode == 1
    assert "cannot be remounted" in done.stderr
    assert world.python(_OPEN, str(PLACE / "Cats" / "Paw.gif"), "rb") == "opened"
