"""imgurfs.writing.files when one of several changes fails: whole, or not uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgurfs.errors import SpoolFullError, TooLargeError
from imgurfs.model import ROOT_INODE
from imgurfs.store.drafts import DraftState
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.writing import a_desk

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
