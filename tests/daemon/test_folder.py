"""One watched folder, from files to outbox, over a real directory and database."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.errors import MountpointError
from imgurfs.store import notices, outbox, synced
from imgurfs_daemon.folder import FolderSync
from imgurfs_daemon.mounts import refuse_mounts
from imgurfs_daemon.planner import IdentifyDirectory
from tests.support.jobbing import Bench, bench, picture
from tests.support.watched import follow, queued, running, settle, until


async def test_new_files_wait_until_they_settle(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S1: A file that is still written is not queued; when it holds still it is."""
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
        for action in (await folder.sync()).actions:
            assert isinstance(action, IdentifyDirectory)
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
    """S22: within the grace period the same bytes coming back cost nothing."""
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
    """S20: A folder that is gone, or another directory at its path, deletes
    nothing.
    """
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


async def test_repeated_saves_within_a_minute_are_one_upload(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S1: A file that was sent a moment ago waits a minute, however often it is
    saved.
    """
    async with bench(tmp_path) as b:
        file = b.write_file("a.gif")
        folder = follow(b)
        sent: list[float] = []
        ends_s = trio.current_time() + 200
        saved = 0
        while trio.current_time() < ends_s:
            if saved < 12:
                saved += 1
                file.write_bytes(picture(f"version {saved}"))
                now_s = b.clock.now()
                os.utime(file, (now_s, now_s))
            await trio.sleep(limits.SETTLE_S + 1)
            if (await folder.sync()).actions:
                sent.append(trio.current_time())
                await b.drainer().run_until_idle()
            await trio.sleep(2)
        # At once, and what it was after a minute: the last of the saves.
        assert len(sent) == 2
        assert sent[1] - sent[0] >= limits.SETTLE_S * limits.RESEND_FACTOR
        assert synced.files(b.db.reader, b.folder.id).keys() == {b"a.gif"}
        assert len(b.imgur.images) == 1


async def test_a_folder_that_comes_and_goes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Missing at first: said, polled, followed when it comes; gone: said again."""
    async with bench(tmp_path) as b:
        away = tmp_path / "away"
        b.root.rename(away)
        folder = follow(b)
        topic = f"folder:{folder.text}"
        async with trio.open_nursery() as nursery:
            await nursery.start(folder.run)
            assert "cannot be read" in notices.everything(b.db.reader)[topic]
            await trio.sleep(100)
            assert folder.statistics()["looks"] > 5
            (away / "a.gif").write_bytes(picture("a"))
            away.rename(b.root)
            await trio.sleep(100)
            assert queued(b) == ["upload"]
            assert topic not in notices.everything(b.db.reader)
            b.root.rename(away)
            folder.mark_all()
            await trio.sleep(10)
            assert "cannot be read" in notices.everything(b.db.reader)[topic]
            nursery.cancel_scope.cancel()


async def test_an_idle_folder_is_read_once_an_hour(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Without events there is one look an hour, give or take a quarter."""
    async with bench(tmp_path) as b:
        folder = follow(b)
        async with trio.open_nursery() as nursery:
            await nursery.start(folder.run)
            await trio.sleep(10 * limits.RESCAN_INTERVAL_S)
            nursery.cancel_scope.cancel()
        assert 8 <= folder.statistics()["looks"] <= 14


async def test_a_resume_is_noticed(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The wall clock goes on while the machine sleeps: everything is read again."""
    async with bench(tmp_path) as b:
        slept = Sleeper(b)
        folder = follow(b)
        folder._clock = slept
        async with trio.open_nursery() as nursery:
            await nursery.start(folder.run)
            await trio.sleep(100)
            before = folder.statistics()["looks"]
            slept.asleep_s = 3600
            await trio.sleep(100)
            assert folder.statistics()["looks"] == before + 1
            nursery.cancel_scope.cancel()


class Sleeper:
    """The clock of a machine that was asleep for some time."""

    def __init__(self, b: Bench) -> None:
        self._clock = b.clock
        self.asleep_s = 0.0

    def now(self) -> float:
        """Return the wall time."""
        return self._clock.now() + self.asleep_s

    def monotonic(self) -> float:
        """Return the time that the machine was awake."""
        return self._clock.monotonic()


async def test_marked_directories_are_looked_at(tmp_path: Path) -> None:
    """Whoever knows that something changed can have it looked at."""
    async with bench(tmp_path) as b:
        b.write_file("x/a.gif")
        folder = follow(b)
        folder.mark_all()
        folder.mark_dirty(b"x")
        async with running(b, folder):
            for number, mark in enumerate(
                (lambda: folder.mark_dirty(b"x"), folder.mark_all), start=2
            ):
                mark()
                await until(partial(looked, folder, number))


def looked(folder: FolderSync, times: int) -> bool:
    """Whether a folder was looked at so often."""
    return folder.statistics()["looks"] == times


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
