"""imgurfs.writing.files when one of several changes fails: whole, or not uploaded."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.errors import DatabaseError, SpoolFullError, TooLargeError
from imgurfs.model import ROOT_INODE
from imgurfs.store.drafts import DraftState
from imgurfs.writing.opened import SHORTFALLS_MAX
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.writing import Trouble, a_desk

RED = small_picture("red")
THIRD = len(RED) // 3
NOTHING = connected.config(albums=0, images=0)
#: Less than some programs ask for.
ROOM = 100_000


async def test_a_program_that_goes_on_without_room_set_aside_has_a_whole_file(
    tmp_path: Path,
) -> None:
    """W16: asking for a large file in vain, and writing a small one, loses nothing."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        with pytest.raises(TooLargeError):
            await desk.files.truncate(inode, 2 * ROOM)
        await desk.files.write(draft, THIRD, RED[THIRD:])
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING
        assert await desk.read(inode) == RED


async def test_a_program_that_gives_up_without_room_has_no_whole_file(
    tmp_path: Path,
) -> None:
    """W16: what it has written before is kept, and not uploaded."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        with pytest.raises(TooLargeError):
            await desk.files.truncate(inode, 2 * ROOM)
        with pytest.raises(TooLargeError):
            await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.REFUSED
        assert await desk.read(inode) == RED[:THIRD]


async def test_lengthening_a_file_at_last_makes_it_whole(tmp_path: Path) -> None:
    """W16: what was refused and is done later is no loss."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        other = await desk.put("other.png", RED + bytes(ROOM // 2))
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        with pytest.raises(SpoolFullError):
            await desk.files.truncate(inode, ROOM // 2)
        await desk.files.truncate(other, 0)
        await desk.files.truncate(inode, ROOM // 2)
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING


async def test_each_change_that_was_not_made_has_to_be_made_good(
    tmp_path: Path,
) -> None:
    """W16: a program goes on without room set aside, and one of its writes fails: the
    file is whole when that one is made too, not before.
    """
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        with pytest.raises(TooLargeError):
            await desk.files.truncate(inode, 2 * ROOM)
        with pytest.raises(TooLargeError):
            await desk.files.write(draft, 2 * THIRD, bytes(ROOM))
        await desk.files.write(draft, THIRD, RED[THIRD : 2 * THIRD])
        with pytest.raises(TooLargeError):
            await desk.files.commit(draft)
        assert desk.draft(inode).state is DraftState.REFUSED
        assert desk.uploads() == []
        await desk.files.write(draft, 2 * THIRD, RED[2 * THIRD :])
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING
        assert await desk.read(inode) == RED


async def test_lengthening_a_file_at_last_makes_no_write_good(tmp_path: Path) -> None:
    """W16: there is room at last, and what a write was to bring is still not there."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        other = await desk.put("other.png", RED + bytes(ROOM // 2))
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        with pytest.raises(SpoolFullError):
            await desk.files.truncate(inode, ROOM // 2)
        with pytest.raises(SpoolFullError):
            await desk.files.write(draft, THIRD, bytes(ROOM // 2))
        await desk.files.truncate(other, 0)
        await desk.files.truncate(inode, ROOM // 2)
        with pytest.raises(SpoolFullError):
            await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.REFUSED


@pytest.mark.parametrize("is_emptied", [False, True])
async def test_a_thousand_writes_in_vain_are_made_good_by_emptying_the_file(
    tmp_path: Path, *, is_emptied: bool
) -> None:
    """W16: so many are not told apart, so no write mends them; beginning anew does."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        for offset in range(1000):
            with pytest.raises(TooLargeError):
                await desk.files.write(draft, offset, bytes(ROOM + 1))
        assert len(draft.shortfalls) <= SHORTFALLS_MAX
        if is_emptied:
            await desk.files.truncate(inode, 0)
        await desk.files.write(draft, 0, RED + bytes(1000))
        if is_emptied:
            await desk.files.commit(draft)
        else:
            with pytest.raises(TooLargeError):
                await desk.files.commit(draft)
        await desk.files.release(draft)
        state = DraftState.WAITING if is_emptied else DraftState.REFUSED
        assert desk.draft(inode).state is state


async def test_an_fsync_does_not_hide_that_a_write_has_failed(tmp_path: Path) -> None:
    """W16: it tells no verdict, so the close does, whatever is written in between."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        with pytest.raises(TooLargeError):
            await desk.files.write(draft, THIRD, bytes(ROOM))
        await desk.files.sync(draft)
        await desk.files.write(draft, 2 * THIRD, RED[2 * THIRD :])
        with pytest.raises(TooLargeError):
            await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.REFUSED
        assert desk.uploads() == []


async def test_a_whole_picture_stays_whole_while_somebody_looks_at_it(
    tmp_path: Path,
) -> None:
    """W16: a change in vain of what another program has finished harms nothing."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        viewer = await desk.files.open_for_reading(inode)
        assert viewer is draft
        await desk.files.commit(draft)
        await desk.files.release(draft, is_writer=True)
        draft = await desk.files.open_for_writing(inode, truncate=False)
        trouble.is_database_broken = True
        with pytest.raises(DatabaseError):
            await desk.files.write(draft, 0, RED[:THIRD])
        trouble.is_database_broken = False
        await desk.files.commit(draft)
        await desk.files.release(draft, is_writer=True)
        await desk.files.release(viewer)
        assert desk.draft(inode).state is DraftState.WAITING
        assert len(desk.uploads()) == 1


async def test_what_no_close_has_saved_is_saved_when_the_last_writer_leaves(
    tmp_path: Path,
) -> None:
    """W16: whoever still looks at it keeps neither the upload nor the refusal back."""
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        viewer = await desk.files.open_for_reading(inode)
        assert viewer is draft
        await desk.files.sync(draft)
        with pytest.raises(TooLargeError):
            await desk.files.write(draft, THIRD, bytes(ROOM))
        await desk.files.release(draft, is_writer=True)
        assert desk.draft(inode).state is DraftState.REFUSED
        await desk.edit(inode, RED)
        assert desk.draft(inode).state is DraftState.WAITING
        await desk.files.release(viewer)


async def test_a_picture_that_cannot_be_emptied_stays_whole(tmp_path: Path) -> None:
    """W16: the program whose open has failed is told; the one that wrote it is not."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        await desk.files.sync(draft)
        trouble.is_database_broken = True
        with pytest.raises(DatabaseError):
            await desk.files.open_for_writing(inode, truncate=True)
        trouble.is_database_broken = False
        await desk.files.commit(draft)
        await desk.files.release(draft, is_writer=True)
        assert desk.draft(inode).state is DraftState.WAITING
        assert await desk.read(inode) == RED


async def test_a_file_that_is_cut_while_somebody_looks_at_it_is_saved_at_once(
    tmp_path: Path,
) -> None:
    """truncate(2) opens nothing, so nobody is to close what it has changed."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED + b"more")
        viewer = await desk.files.open_for_reading(inode)
        assert viewer is not None
        await desk.files.truncate(inode, len(RED))
        assert desk.draft(inode).state is DraftState.WAITING
        assert desk.draft(inode).size_bytes == len(RED)
        assert not viewer.is_touched
        await desk.files.release(viewer)


async def test_half_a_picture_that_was_made_durable_is_not_uploaded(
    tmp_path: Path,
) -> None:
    """W16: a file is not whole either when a write fails after an fsync; writing the
    rest mends it.
    """
    async with a_desk(tmp_path, NOTHING, size_bytes_max=ROOM) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        await desk.files.sync(draft)
        with pytest.raises(TooLargeError):
            await desk.files.write(draft, THIRD, bytes(ROOM))
        with pytest.raises(TooLargeError):
            await desk.files.commit(draft)
        assert desk.draft(inode).state is DraftState.REFUSED
        assert desk.uploads() == []
        await desk.files.write(draft, THIRD, RED[THIRD:])
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING


@pytest.mark.parametrize("is_closed", [False, True])
async def test_half_a_picture_is_not_uploaded_when_the_rest_cannot_begin(
    tmp_path: Path, *, is_closed: bool
) -> None:
    """W16: the same when the database fails, and for a program that ends unclosed."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        await desk.files.sync(draft)
        trouble.is_database_broken = True
        with pytest.raises(DatabaseError):
            await desk.files.write(draft, THIRD, RED[THIRD:])
        trouble.is_database_broken = False
        if is_closed:
            with pytest.raises(DatabaseError):
                await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.REFUSED
        assert desk.uploads() == []


async def test_a_close_does_not_hide_that_what_is_in_the_air_is_half_a_picture(
    tmp_path: Path,
) -> None:
    """W16: it cannot be called back, but the program is told again."""
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED[:THIRD])
        await desk.files.sync(draft)
        await desk.send(inode)
        trouble.failing["clone"] = errno.ENOSPC
        with pytest.raises(SpoolFullError):
            await desk.files.write(draft, THIRD, RED[THIRD:])
        with pytest.raises(SpoolFullError):
            await desk.files.commit(draft)
        trouble.failing.clear()
        await desk.files.write(draft, THIRD, RED[THIRD:])
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert desk.draft(inode).state is DraftState.WAITING
        assert await desk.read(inode) == RED


async def test_a_file_that_the_disk_has_lost_is_not_begun_by_a_write_in_vain(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A write waits too long for another one, and there are no bytes to be changed:
    the close has nothing to save, and the file can be written anew.
    """
    trouble = Trouble()
    async with a_desk(tmp_path, NOTHING, executor=trouble) as desk:
        inode = await desk.put("red.png", RED)
        before = desk.draft(inode)
        desk.spool.path(before.spool_name).unlink()
        draft = await desk.files.open_for_writing(inode, truncate=False)
        async with draft.lock:
            with trio.move_on_after(limits.FUSE_DATA_DEADLINE_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(desk.files.write, draft, 0, RED)
        await desk.files.commit(draft)
        assert desk.draft(inode).state is DraftState.WAITING
        await desk.files.release(draft)
        draft = await desk.files.open_for_writing(inode, truncate=True)
        await desk.finish(draft, RED)
        assert await desk.read(inode) == RED
