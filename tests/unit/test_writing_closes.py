"""imgurfs.writing.files when files are closed: what is uploaded, kept or forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.errors import (
    NotMediaError,
    TooLargeError,
)
from imgurfs.model import ROOT_INODE
from imgurfs.store import drafts, edits, entries, outbox
from imgurfs.store.drafts import DraftState
from imgurfs.writing.drafting import Times
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.placed import placed
from tests.support.writing import Desk, a_desk

RED, BLUE = small_picture("red"), small_picture("blue")
NS = 1_000_000_000


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Return a desk over an empty drive."""
    async with a_desk(tmp_path, connected.config(albums=0, images=0)) as made:
        yield made


# --- What is not uploaded -----------------------------------------------------


async def test_bytes_that_are_no_picture_fail_the_close_and_stay(desk: Desk) -> None:
    """The program is told once, the row says why, the bytes can be read."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.jpg")
    await desk.files.write(draft, 0, b"Dear diary")
    await desk.files.sync(draft)
    with pytest.raises(NotMediaError):
        await desk.files.commit(draft)
    await desk.files.commit(draft)
    await desk.files.release(draft)
    assert desk.draft(inode).state is DraftState.REFUSED
    assert "not a picture" in desk.draft(inode).error
    assert await desk.read(inode) == b"Dear diary"
    assert desk.uploads() == []


async def test_writing_a_picture_over_what_was_refused_makes_it_good(
    desk: Desk,
) -> None:
    """The user mends the file where it is."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")
    with pytest.raises(NotMediaError):
        await desk.finish(draft, b"Dear diary")
    draft = await desk.files.open_for_writing(inode, truncate=True)
    await desk.finish(draft, RED)
    row = desk.draft(inode)
    assert (row.state, row.error) == (DraftState.WAITING, "")


async def test_an_empty_file_is_no_error_and_is_not_uploaded(desk: Desk) -> None:
    """touch makes one; what is written later is uploaded."""
    inode = await desk.put("red.png", b"")
    assert desk.draft(inode).state is DraftState.REFUSED
    assert desk.uploads() == []
    await desk.edit(inode, RED)
    assert desk.draft(inode).state is DraftState.WAITING


async def test_a_temporary_name_is_scratch(desk: Desk) -> None:
    """What a program has not finished stays here."""
    inode = await desk.put(".red.png.Ab3dEf", RED)
    assert desk.draft(inode).state is DraftState.SCRATCH
    assert desk.uploads() == []
    assert await desk.read(inode) == RED


async def test_no_file_grows_beyond_imgurs_largest(desk: Desk) -> None:
    """The write that crosses the limit fails, and the file is not uploaded."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")
    await desk.files.write(draft, 0, RED)
    with pytest.raises(TooLargeError):
        await desk.files.write(draft, limits.VIDEO_BYTES_MAX, b"x")
    with pytest.raises(TooLargeError):
        await desk.files.commit(draft)
    await desk.files.release(draft)
    assert desk.draft(inode).state is DraftState.REFUSED
    with pytest.raises(TooLargeError):
        await desk.files.truncate(inode, limits.VIDEO_BYTES_MAX + 1)


# --- Open files and times -----------------------------------------------------


async def test_an_unlinked_file_lives_until_its_last_close(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Reading and writing go on; then nothing of it is left, and nothing is sent."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")
    await desk.files.write(draft, 0, RED)
    await desk.files.commit(draft)
    await desk.db.write(lambda c: edits.drop_entry(c, ROOT_INODE, inode))
    await desk.files.forget_unlinked(inode)
    await desk.files.write(draft, None, b"more")
    assert await desk.files.read(draft, 0, 1000) == RED + b"more"
    await desk.files.commit(draft)
    await desk.files.release(draft)
    assert entries.node(desk.db.reader, inode) is None
    assert drafts.get(desk.db.reader, inode) is None
    assert desk.uploads() == []
    await trio.sleep(1)
    assert desk.spooled() == []


async def test_an_unlinked_file_that_is_being_sent_is_left_to_who_settles_it(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Its row and bytes stay: the upload may need them again."""
    inode = await desk.put("red.png", RED)
    [job] = desk.uploads()
    await desk.db.write(lambda c: outbox.claim(c, job.id, now=1.0, marker="m"))
    await desk.db.write(lambda c: edits.drop_entry(c, ROOT_INODE, inode))
    await desk.files.forget_unlinked(inode)
    await trio.sleep(1)
    assert desk.draft(inode).state is DraftState.WAITING
    assert desk.spooled() == [desk.draft(inode).spool_name]


async def test_stat_shows_what_is_not_committed_yet(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Size and times are those of the last write, then those of the row."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")
    await trio.sleep(5)
    await desk.files.write(draft, 0, RED)
    node = entries.node(desk.db.reader, inode)
    assert node is not None
    assert node.size_bytes == 0
    seen = desk.files.overlay(node)
    assert seen.size_bytes == len(RED)
    assert seen.mtime_ns == seen.ctime_ns >= node.mtime_ns + 5 * NS
    await desk.files.commit(draft)
    await desk.files.release(draft)
    after = entries.node(desk.db.reader, inode)
    assert after is not None
    assert (after.size_bytes, after.mtime_ns) == (len(RED), seen.mtime_ns)
    assert desk.files.overlay(after) is after


async def test_times_that_are_set_before_the_close_survive_it(desk: Desk) -> None:
    """cp -p sets them between its last write and its close."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")
    await desk.files.write(draft, 0, RED)
    assert await desk.files.set_times(inode, Times(5 * NS, None, 9 * NS))
    await desk.files.commit(draft)
    assert not await desk.files.set_times(inode, Times(6 * NS, None, 1))
    await desk.files.release(draft)
    node = entries.node(desk.db.reader, inode)
    assert node is not None
    assert (node.mtime_ns, node.ctime_ns) == (5 * NS, 9 * NS)


async def test_times_that_are_set_while_another_handle_is_closed_survive_it(
    tmp_path: Path,
) -> None:
    """W23: what a program sets after the last write is what the file has."""
    async with placed(tmp_path) as d:
        files = d.writer.files
        inode, draft = await files.create(*d.at("red.png"))
        await files.write(draft, 0, RED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(files.commit, draft)
            while not draft.lock.locked():
                await trio.lowlevel.checkpoint()
            await d.places.set_times(inode, mtime_ns=5 * NS)
        await files.release(draft)
        assert d.node("red.png").mtime_ns == 5 * NS


async def test_a_removed_file_is_forgotten_also_when_time_is_over(desk: Desk) -> None:
    """The name is gone already: neither row, job nor bytes wait for the next mount."""
    inode = await desk.put("red.png", RED)
    await desk.db.write(lambda c: edits.drop_entry(c, ROOT_INODE, inode))
    with trio.CancelScope() as scope:
        scope.cancel()
        await desk.files.forget_unlinked(inode)
    assert entries.node(desk.db.reader, inode) is None
    assert desk.uploads() == []
