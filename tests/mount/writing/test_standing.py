"""Where a file stands: attributes, remounting, a full spool, and two mounts at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio.testing

from imgurfs.config import MountConfig
from imgurfs.fuse.editing import EditingOperations
from imgurfs.limits import DRIVE_SETTLE_S
from imgurfs.locks import FileLock
from tests.support.drive_outside import through_the_kernel
from tests.support.drives import Drive, fails_with, opened, read, write
from tests.support.inside import an_account, in_process
from tests.support.mounted import Machine
from tests.support.pictures import small_picture

HARBOUR = small_picture("harbour")
GULLS = small_picture("gulls")
CREATE = os.O_WRONLY | os.O_CREAT

CHANGES: dict[str, Callable[[Drive], Awaitable[object]]] = {
    "open for writing": lambda drive: drive.open("Cats/Paw.gif", os.O_RDWR),
    "empty": lambda drive: drive.open("Cats/Paw.gif", os.O_RDONLY | os.O_TRUNC),
    "create": lambda drive: drive.open("Cats/new.png", CREATE),
    "truncate": lambda drive: drive.truncate("Cats/Paw.gif", 0),
    "unlink": lambda drive: drive.unlink("Cats/Paw.gif"),
    "mkdir": lambda drive: drive.mkdir("New"),
    "rmdir": lambda drive: drive.rmdir("Empty album"),
    "rename": lambda drive: drive.rename("Cats/Paw.gif", "Cats/P.gif"),
    "link": lambda drive: drive.link("Cats/Paw.gif", "Twins/P.gif"),
    "symlink": lambda drive: drive.symlink("Cats", "Dogs"),
    "chmod": lambda drive: drive.chmod("Cats/Paw.gif", 0o600),
    "utime": lambda drive: drive.utime("Cats/Paw.gif", mtime_ns=1),
    "set": lambda drive: drive.set_xattr("Cats/Paw.gif", "user.imgur.title", b"x"),
    "remove": lambda drive: drive.remove_xattr("Cats/Paw.gif", "user.imgur.title"),
}


async def test_a_read_only_drive_refuses_every_change(
    clock: object, read_only_drive: Drive
) -> None:
    """R11: with --read-only every change is EROFS."""
    for change in CHANGES.values():
        await fails_with(errno.EROFS, change(read_only_drive))


async def test_a_read_only_drive_shows_what_was_written(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """R11: files that wait to be uploaded are shown and readable."""
    async with an_account(tmp_path) as account:
        async with account.mounted() as drive:
            await write(drive, "a.png", HARBOUR)
        async with account.mounted(is_read_only=True) as drive:
            assert await read(drive, "a.png") == HARBOUR
            assert await drive.xattr("a.png", "user.imgurfs.state") == b"waiting"
            assert (await drive.statvfs())[1] == 0


async def test_states_of_a_file(clock: object, drive: Drive) -> None:
    """W25: the state says where a file stands on its way to Imgur."""
    state = "user.imgurfs.state"
    assert await drive.xattr("Cats/Paw.gif", state) == b"uploaded"
    assert await drive.xattr("Cats", state) == b"uploaded"
    async with opened(drive, "Cats/a.png", CREATE) as file:
        await file.write(HARBOUR)
        assert await drive.xattr("Cats/a.png", state) == b"writing"
    assert await drive.xattr("Cats/a.png", state) == b"waiting"
    assert "user.imgurfs.error" not in await drive.xattrs("Cats/a.png")
    await drive.mkdir("New")
    assert await drive.xattr("New", state) == b"waiting"
    await drive.settle()
    assert await drive.xattr("Cats/a.png", state) == b"uploaded"
    assert await drive.xattr("Cats/a.png", "user.imgur.link")
    assert await drive.xattr("New", state) == b"uploaded"


async def test_everything_is_there_after_a_remount(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W2: names, bytes, times and inodes of what was closed survive a new mount."""
    async with an_account(tmp_path) as account:
        async with account.mounted() as drive:
            await drive.mkdir("New")
            await write(drive, "New/a.png", HARBOUR)
            await drive.utime("New/a.png", mtime_ns=77)
            await drive.set_xattr("New", "user.imgur.description", b"Hello")
            before = await drive.stat("New/a.png")
        async with account.mounted() as drive:
            assert await drive.stat("New/a.png") == before
            assert await read(drive, "New/a.png") == HARBOUR
            assert await drive.xattr("New", "user.imgur.description") == b"Hello"
            await drive.settle()
            assert (await drive.imgur.counters())["uploads"] == 1


async def test_what_was_not_closed_is_not_sent(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W28: a file whose writer died with the mount is kept, readable and refused."""
    async with an_account(tmp_path) as account:
        async with account.mounted() as drive:
            file = await drive.open("a.png", CREATE)
            await file.write(HARBOUR)
            await file.fsync()
            await file.write(GULLS, 5000)
            account.crash(drive)
        async with account.mounted() as drive:
            assert await drive.xattr("a.png", "user.imgurfs.state") == b"refused"
            assert await drive.xattr("a.png", "user.imgurfs.error")
            assert (await read(drive, "a.png"))[: len(HARBOUR)] == HARBOUR
            await drive.settle()
            assert (await drive.imgur.counters())["uploads"] == 0
            await write(drive, "a.png", HARBOUR)
            await drive.settle()
            assert (await drive.imgur.counters())["uploads"] == 1


async def test_only_one_mount_writes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W30: a second mount shows everything and writes when the first has ended."""
    async with an_account(tmp_path) as account:
        async with account.mounted() as first:
            await write(first, "a.png", HARBOUR)
            async with account.mounted() as second:
                assert await read(second, "a.png") == HARBOUR
                await fails_with(errno.EBUSY, second.open("b.png", CREATE))
        async with account.mounted() as third:
            await write(third, "b.png", GULLS)


@pytest.mark.mount
async def test_the_mount_uploads_when_no_daemon_does(machine: Machine) -> None:
    """W27: the mount sends while no daemon runs, and unmounting sends nothing."""
    async with through_the_kernel(machine) as drive:
        daemon = FileLock(machine.state_dir / "daemon.lock")
        assert daemon.acquire_nowait()
        await write(drive, "a.png", HARBOUR)
        # Longer than a mount without a daemon takes, which the end of this test shows.
        began = trio.current_time()
        with trio.move_on_after(3 * DRIVE_SETTLE_S):
            while (await drive.imgur.counters())["uploads"] == 0:  # noqa: ASYNC110 - another process
                await trio.sleep(0.1)
        assert (await drive.imgur.counters())["uploads"] == 0
        assert trio.current_time() - began > 2 * DRIVE_SETTLE_S
        daemon.release()
        await drive.settle()
        assert (await drive.imgur.counters())["uploads"] == 1
        await write(drive, "b.png", GULLS)
        done = machine.run("unmount", str(machine.mountpoint))
        assert done.returncode == 0, done.stderr
        assert machine.processes[-1].wait(15) == 0
        assert (await drive.imgur.counters())["uploads"] == 1
        machine.mount()
        await drive.settle()
        assert (await drive.imgur.counters())["uploads"] == 2
        assert await read(drive, "b.png") == GULLS


async def test_a_full_spool(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W16: ENOSPC at the write that does not fit; what was closed is kept and sent."""
    small = MountConfig(spool_max="100 KiB", non_media="keep-local")
    async with in_process(tmp_path, small) as drive:
        await write(drive, "a.png", HARBOUR)
        await write(drive, "notes.txt", bytes(50 * 1024))
        free = (await drive.statvfs())[1]
        assert 40 * 1024 < free < 50 * 1024
        file = await drive.open("b.png", CREATE)
        await file.write(bytes(40 * 1024))
        await fails_with(errno.ENOSPC, file.write(bytes(10 * 1024), 40 * 1024))
        await fails_with(errno.ENOSPC, file.close())
        assert await read(drive, "a.png") == HARBOUR
        await drive.unlink("b.png")
        await write(drive, "c.png", GULLS)
        await drive.settle()
        assert (await drive.imgur.counters())["uploads"] == 2


async def test_any_file_can_be_kept_local(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W17: with keep-local what is no media stays here, and is a file like others."""
    async with in_process(tmp_path, MountConfig(non_media="keep-local")) as drive:
        await write(drive, "Cats/notes.txt", b"hello")
        await write(drive, "Cats/empty", b"")
        for path in ("Cats/notes.txt", "Cats/empty"):
            assert await drive.xattr(path, "user.imgurfs.state") == b"local-only"
        await drive.rename("Cats/notes.txt", "notes.md")
        await write(drive, "notes.md", b" world", os.O_WRONLY | os.O_APPEND)
        assert await read(drive, "notes.md") == b"hello world"
        await drive.settle()
        assert (await drive.imgur.counters())["uploads"] == 0


async def test_a_lossy_upload_keeps_the_original(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W15: with lossy = accept the file reads as written, whatever Imgur made."""
    data = HARBOUR + bytes(5 * 1024 * 1024)
    async with in_process(tmp_path, MountConfig(lossy="accept")) as drive:
        await write(drive, "a.png", data)
        await drive.utime("a.png", mtime_ns=5)
        await drive.settle()
        assert (await drive.imgur.counters())["uploads"] == 1
        with trio.fail_after(3600):
            while "user.imgurfs.lossy" not in await drive.xattrs("a.png"):  # noqa: ASYNC110 - virtual time
                await trio.sleep(1)
        seen = await drive.stat("a.png")
        assert (seen.size_bytes, seen.mtime_ns) == (len(data), 5)
        assert await read(drive, "a.png") == data


async def test_fsync_of_a_directory_writes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W2: fsync of a directory is a durable commit, which takes all names with it."""
    async with in_process(tmp_path) as drive:
        assert isinstance(drive.operations, EditingOperations)
        await drive.mkdir("New")
        before = drive.db.statistics()["writes"]
        async with drive.reading("") as directory:
            await directory.sync()
        assert drive.db.statistics()["writes"] == before + 1
