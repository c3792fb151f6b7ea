"""The drive's handles on one file, several at a time: no bytes and no close is lost."""

from __future__ import annotations

import os
from pathlib import Path

import trio
from trio.testing import MockClock

from imgurfs.model import Inode
from imgurfs.store import drafts
from imgurfs.store.drafts import DraftState
from tests.support.drive_inside import CONTEXT
from tests.support.drives import read, write
from tests.support.inside import in_process
from tests.support.pictures import small_picture

RED = small_picture("red")


async def test_a_file_is_forgotten_when_two_reads_at_once_met_its_new_content(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """W2: a file that nobody has open any more is committed by truncate itself.

    The kernel reads ahead: two reads through one handle see at the same time that the
    image was rewritten through another one.
    """
    async with in_process(tmp_path) as drive:
        path = "Cats/Paw.gif"
        inode = Inode((await drive.stat(path)).inode)
        old = await drive.operations.open(inode, os.O_RDONLY, CONTEXT)
        await write(drive, path, RED)
        async with trio.open_nursery() as nursery:
            for offset in (0, 100):
                nursery.start_soon(drive.operations.read, old.fh, offset, 100)
        await drive.operations.release(old.fh)
        assert not drive.mounted.writer.files.is_open(inode)
        await drive.truncate(path, len(RED) + 10)
        row = drafts.get(drive.db.reader, inode)
        assert row is not None
        assert row.state is DraftState.WAITING
        assert await read(drive, path) == RED + bytes(10)
