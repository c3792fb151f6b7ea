"""imgurfs.writing.files of two mounts: one writes, the other one goes on after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs.errors import AlreadyRunningError
from imgurfs.model import ROOT_INODE
from imgurfs.store.drafts import DraftState
from tests.support import connected
from tests.support.drives import opened, read, write
from tests.support.inside import an_account
from tests.support.pictures import small_picture
from tests.support.writing import a_desk

RED, BLUE = small_picture("red"), small_picture("blue")
NOTHING = connected.config(albums=0, images=0)


async def test_only_one_mount_writes_and_the_next_takes_over(tmp_path: Path) -> None:
    """The second reads what is there; it writes when the first has ended."""
    async with a_desk(tmp_path, NOTHING) as one:
        inode, draft = await one.files.create(ROOT_INODE, "red.png")
        await one.files.write(draft, 0, RED)
        await one.files.commit(draft)
        async with a_desk(tmp_path, NOTHING) as two:
            assert await two.read(inode) == RED
            with pytest.raises(AlreadyRunningError):
                await two.files.create(ROOT_INODE, "blue.png")
            with pytest.raises(AlreadyRunningError):
                await two.files.open_for_writing(inode, truncate=False)
            await one.files.write(draft, 0, BLUE)
            assert one.draft(inode).state is DraftState.WRITING
            one.spool.close()
            await two.put("blue.png", BLUE)
            assert two.draft(inode).state is DraftState.REFUSED


@pytest.mark.parametrize("is_sent", [False, True])
async def test_the_next_writer_goes_on_where_the_first_has_ended(
    tmp_path: Path, *, is_sent: bool
) -> None:
    """W30: what it has open since then is what the first has made of it, not older.

    A content that is being sent goes on as another one.
    """
    async with (
        a_desk(tmp_path, NOTHING) as one,
        a_desk(tmp_path, NOTHING) as two,
    ):
        inode = await one.put("red.png", RED)
        reader = await two.files.open_for_reading(inode)
        assert reader is not None
        if is_sent:
            await one.send(inode)
        draft = await one.files.open_for_writing(inode, truncate=False)
        await one.finish(draft, b"A" * 100)
        one.spool.close()
        again = await two.files.open_for_writing(inode, truncate=False)
        await two.finish(again, b"B" * 10)
        expected = RED + b"A" * 100 + b"B" * 10
        assert await two.files.read(reader, 0, 1000) == expected
        await two.files.release(reader)
        row = two.draft(inode)
        assert (row.state, row.size_bytes) == (DraftState.WAITING, len(expected))
        assert two.spool.path(row.spool_name).read_bytes() == expected


async def test_the_next_writer_changes_what_the_first_has_uploaded(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """W30: what it had open before is not what the file is by then."""
    async with (
        an_account(tmp_path) as account,
        account.mounted() as one,
        account.mounted() as two,
    ):
        await one.list("")
        await write(one, "red.png", RED)
        async with opened(two, "red.png") as reader:
            assert await reader.read() == RED
            await one.settle()
            await write(one, "red.png", BLUE)
            await one.settle()
            account.crash(one)
            async with opened(two, "red.png", os.O_WRONLY) as file:
                await file.write(b"tail", len(BLUE))
            assert await read(two, "red.png") == BLUE + b"tail"
            assert await reader.read() == BLUE + b"tail"
