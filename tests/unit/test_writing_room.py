"""imgurfs.writing.files without room or with a failing disk: told, and nothing lost."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.errors import (
    DatabaseError,
    DeadlineError,
    SpoolFullError,
    UnavailableError,
)
from imgurfs.model import ROOT_INODE
from imgurfs.store import drafts, entries
from imgurfs.store.drafts import DraftState
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.writing import Trouble, a_desk

RED, BLUE = small_picture("red"), small_picture("blue")
NOTHING = connected.config(albums=0, images=0)
#: Room for a picture and a half.
ROOM = len(RED) * 3 // 2


async def test_half_a_picture_is_not_uploaded(tmp_path: Path) -> None:
    """W16: the write fails, the close says so again, the row says why."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        first = await desk.put("red.png", RED)
        inode, draft = await desk.files.create(ROOT_INODE, "blue.png")
        half = len(BLUE) // 3
        await desk.files.write(draft, 0, BLUE[:half])
        with pytest.raises(SpoolFullError):
            await desk.files.write(draft, half, BLUE[half:])
        with pytest.raises(SpoolFullError):
            await desk.files.commit(draft)
        await desk.files.release(draft)
        row = desk.draft(inode)
        assert row.state is DraftState.REFUSED
        assert "room" in row.error
        assert await desk.read(inode) == BLUE[:half]
        assert [job.size_bytes for job in desk.uploads()] == [len(RED)]
        await desk.files.truncate(first, 0)
        await desk.edit(inode, BLUE)
        assert desk.draft(inode).state is DraftState.WAITING
        assert await desk.read(inode) == BLUE


async def test_a_write_that_is_made_good_is_no_loss(tmp_path: Path) -> None:
    """A program that waits for room and writes again has a whole file."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        first = await desk.put("red.png", RED)
        inode, draft = await desk.files.create(ROOT_INODE, "blue.png")
        with pytest.raises(SpoolFullError):
            await desk.files.write(draft, 0, BLUE)
        await desk.files.truncate(first, 0)
        await desk.finish(draft, BLUE)
        assert desk.draft(inode).state is DraftState.WAITING


async def test_a_refused_write_that_changed_nothing_costs_nothing(
    tmp_path: Path,
) -> None:
    """The content that was closed before is whole, and is uploaded as it is."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM + len(BLUE)) as desk:
        await desk.put("blue.png", BLUE)
        inode = await desk.put("red.png", RED)
        draft = await desk.files.open_for_writing(inode, truncate=False)
        with pytest.raises(SpoolFullError):
            await desk.files.write(draft, None, RED)
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING
        assert len(desk.uploads()) == 2
        assert await desk.read(inode) == RED


async def test_half_a_picture_is_not_uploaded_when_the_disk_fails(
    tmp_path: Path,
) -> None:
    """A disk that takes no more is as good as one without room; the row says why."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        trouble.failing["write_spans"] = errno.EIO
        with pytest.raises(UnavailableError):
            await desk.files.write(draft, len(RED), bytes(limits.SPOOL_PIECE_BYTES))
        trouble.failing.clear()
        with pytest.raises(UnavailableError):
            await desk.files.commit(draft)
        await desk.files.release(draft)
        row = desk.draft(inode)
        assert row.state is DraftState.REFUSED
        assert "the spool cannot be used" in row.error
        assert desk.uploads() == []


async def test_half_a_picture_is_not_uploaded_when_the_disk_is_too_slow(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The program gave up at a write that was not done in time; writing it mends it."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        trouble.waiting["write_spans"] = trio.Event()
        rest = bytes(limits.SPOOL_PIECE_BYTES)
        with trio.move_on_after(limits.FUSE_DATA_DEADLINE_S):
            await desk.files.write(draft, len(RED), rest)
        trouble.waiting.clear()
        with pytest.raises(DeadlineError):
            await desk.files.commit(draft)
        assert desk.draft(inode).state is DraftState.REFUSED
        assert desk.uploads() == []
        await desk.files.write(draft, len(RED), rest)
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING


async def test_a_write_that_was_told_to_have_failed_may_have_changed_the_content(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were taken before the disk was too slow make it another content."""
    monkeypatch.setattr(limits, "SPOOL_PENDING_BYTES_MAX", 0)
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode = await desk.put("red.png", RED)
        draft = await desk.files.open_for_writing(inode, truncate=False)
        trouble.waiting["write_spans"] = trio.Event()
        with trio.move_on_after(limits.FUSE_DATA_DEADLINE_S):
            await desk.files.write(draft, 50, b"half")
        trouble.waiting.clear()
        with pytest.raises(DeadlineError):
            await desk.files.commit(draft)
        await desk.files.release(draft)
        assert await desk.read(inode) == RED[:50] + b"half" + RED[54:]
        assert desk.draft(inode).state is DraftState.REFUSED
        assert desk.uploads() == []


async def test_a_write_that_waited_in_vain_for_a_close_leaves_no_whole_content(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One program closes the file, and the disk is slow; another one's write fails."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        slow = trouble.waiting["fdatasync"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.files.commit, draft)
            with trio.move_on_after(limits.FUSE_DATA_DEADLINE_S):
                await trio.testing.wait_all_tasks_blocked()
                await desk.files.write(draft, None, BLUE)
            slow.set()
        with pytest.raises(DeadlineError):
            await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.REFUSED
        assert desk.uploads() == []


async def test_an_image_that_was_cut_in_vain_is_not_uploaded(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What was written over it is followed by the end of what it was."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode = await desk.put("red.png", RED + bytes(100))
        draft = await desk.files.open_for_writing(inode, truncate=False)
        await desk.files.write(draft, 0, BLUE)
        trouble.failing["ftruncate"] = errno.EIO
        with pytest.raises(UnavailableError):
            await desk.files.truncate(inode, len(BLUE))
        trouble.failing.clear()
        with pytest.raises(UnavailableError):
            await desk.files.commit(draft)
        assert desk.uploads() == []
        await desk.files.truncate(inode, len(BLUE))
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING
        assert await desk.read(inode) == BLUE


async def test_no_room_for_a_copy_of_what_is_being_sent(tmp_path: Path) -> None:
    """The write fails; the file stays the one that is in the air."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        inode = await desk.put("red.png", RED)
        await desk.send(inode)
        before = desk.draft(inode)
        draft = await desk.files.open_for_writing(inode, truncate=False)
        with pytest.raises(SpoolFullError):
            await desk.files.write(draft, 0, b"x")
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode) == before
        assert await desk.read(inode) == RED
        assert desk.spooled() == [before.spool_name]


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, SpoolFullError), (errno.EIO, UnavailableError)],
)
async def test_a_close_that_could_not_save_can_be_tried_again(
    tmp_path: Path, number: int, error: type[Exception]
) -> None:
    """Until it succeeds nothing is uploaded, and all bytes are there."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        trouble.failing["fdatasync"] = number
        for _ in range(2):
            with pytest.raises(error):
                await desk.files.commit(draft)
        assert desk.draft(inode).state is DraftState.WRITING
        assert desk.draft(inode).error
        assert await desk.read(inode) == RED
        trouble.failing.clear()
        await desk.files.commit(draft)
        await desk.files.release(draft)
        row = desk.draft(inode)
        assert (row.state, row.error) == (DraftState.WAITING, "")


async def test_a_database_that_fails_at_close_loses_nothing(tmp_path: Path) -> None:
    """The program is told, and the next close saves it."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        trouble.is_database_broken = True
        with pytest.raises(DatabaseError):
            await desk.files.commit(draft)
        trouble.is_database_broken = False
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING


async def test_the_last_close_tries_once_more(tmp_path: Path) -> None:
    """What could not be saved then is kept, and the next mount says what it is."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        trouble.failing["fdatasync"] = errno.EIO
        await desk.files.release(draft)
        assert not desk.files.is_open(inode)
        assert desk.draft(inode).state is DraftState.WRITING
    async with a_desk(tmp_path, NOTHING) as desk:
        assert desk.draft(inode).state is DraftState.REFUSED


async def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """Neither a name without bytes nor bytes without a name."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        trouble.is_database_broken = True
        with pytest.raises(DatabaseError):
            await desk.files.create(ROOT_INODE, "red.png")
        trouble.is_database_broken = False
        desk.spool.directory.chmod(0o500)
        desk.spool.path("2.1").mkdir()
        with pytest.raises(UnavailableError):
            await desk.files.create(ROOT_INODE, "red.png")
        assert entries.children(desk.db.reader, ROOT_INODE) == []
        assert drafts.everything(desk.db.reader) == []
