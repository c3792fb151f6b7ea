"""One watched folder, from files to outbox, over a real directory and database."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock
from watchdog.observers.inotify_c import (
    InotifyConstants,
    InotifyEvent,
    WatchDescriptor,
)

from imgurfs.errors import MountpointError
from imgurfs.executor import InlineExecutor
from imgurfs.store import outbox, synced
from imgurfs_daemon.folder import FolderSync
from imgurfs_daemon.planner import Policy
from imgurfs_daemon.watcher import Watcher, refuse_mounts, walk
from tests.support.jobbing import Bench, bench, picture


def follow(b: Bench, *, grace_s: float = 0, mirrors: bool = True) -> FolderSync:
    """Return the folder of a bench as a newly started daemon would have it."""
    return FolderSync(
        path=bytes(b.root),
        policy=Policy(mirrors_deletes=mirrors),
        db=b.db,
        albums=b.albums,
        clock=b.clock,
        executor=InlineExecutor(),
        settle_s=2.0,
        delete_grace_s=grace_s,
        rng=random.Random(1),
    )


async def settle(folder: FolderSync) -> None:
    """Look, let the time pass that files need to settle, and look again."""
    look = await folder.sync()
    while look.settles_in_s is not None:
        await trio.sleep(look.settles_in_s)
        look = await folder.sync()


async def test_new_files_wait_until_they_settle(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A file that is still written is not queued; when it holds still it is."""
    async with bench(tmp_path) as b:
        folder = follow(b)
        file = b.write_file("a.gif")
        future_s = b.clock.now() + 10_000
        os.utime(file, (future_s, future_s))
        look = await folder.sync()
        assert (look.actions, look.settles_in_s) == ((), 2.0)
        await trio.sleep(1.5)
        file.write_bytes(picture("longer than before"))
        os.utime(file, (future_s, future_s))
        assert (await folder.sync()).actions == ()
        await trio.sleep(2.0)
        assert len((await folder.sync()).actions) == 1
        assert outbox.statistics(b.db.reader).queued == 1


async def test_folder_becomes_the_account(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Files become images, subfolders albums, other files are skipped with a reason."""
    async with bench(tmp_path) as b:
        for path in ("a.gif", "x/b.gif", "x/y/c.gif", ".hidden/d.gif", "e.part"):
            b.write_file(path)
        b.write_file("notes.txt", b"hello")
        b.write_file("empty.gif", b"")
        (b.root / "link.gif").symlink_to(b.root / "a.gif")
        folder = follow(b)
        await settle(folder)
        await b.drainer().run_until_idle()
        assert len(b.imgur.images) == 3
        assert sorted(b.imgur.titles.values()) == ["x", "x/y"]
        assert synced.skipped(b.db.reader, b.folder.id).keys() == {
            b"notes.txt",
            b"empty.gif",
        }
        assert (await folder.sync()).actions == ()
        assert (await follow(b).sync()).actions == ()


async def test_second_look_queues_nothing_twice(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Looking again while uploads wait adds no job, also after a restart."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await settle(follow(b))
        await settle(follow(b))
        assert outbox.statistics(b.db.reader).queued == 1


async def test_mirror_deletes_and_keep_keeps(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A removed file takes its image along only where the folder says so."""
    for mirrors, left in ((False, 2), (True, 1)):
        directory = tmp_path / str(mirrors)
        directory.mkdir()
        async with bench(directory) as b:
            b.write_file("a.gif")
            b.write_file("b.gif")
            folder = follow(b, mirrors=mirrors)
            await settle(folder)
            await b.drainer().run_until_idle()
            (b.root / "a.gif").unlink()
            await folder.sync()
            await b.drainer().run_until_idle()
            assert len(b.imgur.images) == left
            assert synced.files(b.db.reader, b.folder.id).keys() == {b"b.gif"}


async def test_file_that_comes_back_cancels_its_delete(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Within the grace period the same bytes coming back cost nothing."""
    async with bench(tmp_path) as b:
        file = b.write_file("a.gif")
        folder = follow(b, grace_s=600)
        await settle(folder)
        await b.drainer().run_until_idle()
        file.unlink()
        await folder.sync()
        assert outbox.statistics(b.db.reader).queued == 1
        b.write_file("a.gif")
        await settle(folder)
        await b.drainer().run_until_idle()
        with trio.move_on_after(700):
            await b.drainer().run()
        assert len(b.imgur.calls) == 1
        assert len(b.imgur.images) == 1
        assert outbox.statistics(b.db.reader).unfinished == 0


async def test_missing_and_replaced_root_delete_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A folder that is gone, or another directory at its path, deletes nothing."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        folder = follow(b)
        await settle(folder)
        await b.drainer().run_until_idle()
        b.root.rename(tmp_path / "away")
        assert (await folder.sync()).actions == ()
        b.root.mkdir()
        assert (await folder.sync()).actions == ()
        assert outbox.statistics(b.db.reader).unfinished == 0


async def test_running_folder_notices_files(tmp_path: Path) -> None:
    """A real watcher wakes the folder for a new file in a new directory."""
    async with bench(tmp_path) as b:
        queued = trio.Event()
        folder = FolderSync(
            path=bytes(b.root),
            policy=Policy(),
            db=b.db,
            albums=b.albums,
            clock=b.clock,
            executor=InlineExecutor(),
            settle_s=0.0,
            on_queued=queued.set,
        )
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(folder.run)
                b.write_file("new/deep/a.gif")
                await queued.wait()
                nursery.cancel_scope.cancel()


async def test_overflow_wakes(tmp_path: Path) -> None:
    """When the kernel dropped events the folder is looked at."""
    with Watcher(bytes(tmp_path)) as watcher, trio.fail_after(20):
        # What the kernel sends when its queue is full: no watch, no name.
        overflow = InotifyEvent(
            WatchDescriptor(-1), InotifyConstants.IN_Q_OVERFLOW, 0, b""
        )
        assert watcher._inotify is not None
        watcher._inotify.handle_event(overflow)
        await watcher.wait_changed()


def test_walk_reports_what_it_cannot_read(tmp_path: Path) -> None:
    """A missing folder and one that is a file are problems, not empty folders."""
    missing = walk(bytes(tmp_path / "none"))
    assert (missing.root, missing.is_complete) == (None, False)
    (tmp_path / "file").write_bytes(b"x")
    assert not walk(bytes(tmp_path / "file")).is_complete
    assert walk(bytes(tmp_path)).is_complete


def test_folder_in_a_drive_is_refused() -> None:
    """A folder inside a mounted drive, or around one, is refused; others are not."""
    info = (
        rb"36 35 98:0 / /home/me/My\040Drive rw - fuse.imgurfs imgurfs rw" + b"\n"
        rb"37 35 98:0 / /home/me/other rw shared:1 - fuse.sshfs x rw" + b"\n"
    )
    for path in (b"/home/me/My Drive", b"/home/me/My Drive/Album", b"/home/me", b"/"):
        with pytest.raises(MountpointError):
            refuse_mounts(path, mountinfo=info)
    for path in (b"/home/me/My Drive 2", b"/home/me/other", b"/home/me/Pictures"):
        refuse_mounts(path, mountinfo=info)
