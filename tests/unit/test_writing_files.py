"""imgurfs.writing.files: what programs write is there, and goes to Imgur once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from imgurfs import limits
from imgurfs.config import MountConfig
from imgurfs.errors import (
    IsDirectoryError,
    NameTakenError,
    NoDirectoryError,
    NotFoundError,
    NotMediaNameError,
)
from imgurfs.jobs import queueing
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import changelog, edits, entries, outbox
from imgurfs.store.database import Connection
from imgurfs.store.drafts import DraftState
from imgurfs.store.outbox import JobState
from imgurfs.writing import drafting
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.writing import Desk, a_desk

T = TypeVar("T")

RED, BLUE = small_picture("red"), small_picture("blue")
NS = 1_000_000_000


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Return a desk over an empty drive."""
    async with a_desk(tmp_path, connected.config(albums=0, images=0)) as made:
        yield made


# --- A new file ---------------------------------------------------------------


async def test_a_closed_file_is_durable_and_waits_for_its_upload(desk: Desk) -> None:
    """Name, bytes and job are there when close returns."""
    inode = await desk.put("red.png", RED)
    row = desk.draft(inode)
    assert row.state is DraftState.WAITING
    assert row.size_bytes == len(RED)
    assert desk.spool.path(row.spool_name).read_bytes() == RED
    [job] = desk.uploads()
    payload = queueing.decode(job, queueing.UploadPayload)
    assert (payload.folder, payload.inode) == (queueing.DRIVE, inode)
    assert payload.path.decode() == row.spool_name
    settled_at = desk.clock.now() + limits.DRIVE_SETTLE_S
    assert job.not_before == pytest.approx(settled_at, abs=0.2)
    assert job.size_bytes == len(RED)
    entry = entries.child(desk.db.reader, ROOT_INODE, "red.png")
    assert entry is not None
    assert entry.node.inode == inode
    assert entry.node.size_bytes == len(RED)


async def test_a_file_is_readable_before_it_is_closed(desk: Desk) -> None:
    """Another handle sees what was written, when it was written."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")
    await desk.files.write(draft, 0, RED[:20])
    assert await desk.read(inode) == RED[:20]
    await desk.files.write(draft, 20, RED[20:])
    assert await desk.read(inode) == RED
    await desk.files.release(draft)
    assert await desk.read(inode) == RED


async def test_committing_again_changes_nothing(desk: Desk) -> None:
    """Flush may come many times; only a change makes it work again."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")
    await desk.files.write(draft, 0, RED)
    await desk.files.commit(draft)
    version, before = desk.db.data_version(), desk.uploads()
    for _ in range(3):
        await desk.files.commit(draft)
        await desk.files.sync(draft)
    await desk.files.release(draft)
    assert desk.db.data_version() == version
    assert desk.uploads() == before
    assert desk.draft(inode).generation == 1


async def test_the_kernel_is_told_what_it_asked_for(desk: Desk) -> None:
    """Every change a request has made is covered by what is skipped."""
    start = changelog.last_seq(desk.db.reader)
    await desk.put("red.png", RED)
    seen = {n for first, last in desk.skipped for n in range(first, last + 1)}
    assert seen == set(range(start + 1, changelog.last_seq(desk.db.reader) + 1))
    assert seen


async def test_a_name_is_given_once(desk: Desk) -> None:
    """A second file of the name is refused, and leaves nothing in the spool."""
    await desk.put("red.png", RED)
    with pytest.raises(NameTakenError):
        await desk.files.create(ROOT_INODE, "red.png")
    assert len(desk.spooled()) == 1


async def test_where_and_how_a_file_may_be_made(desk: Desk) -> None:
    """Not in a file, not in what is gone, and not under any name."""
    inode = await desk.put("red.png", RED)
    with pytest.raises(NoDirectoryError):
        await desk.files.create(inode, "blue.png")
    with pytest.raises(NotFoundError):
        await desk.files.create(Inode(999), "blue.png")
    with pytest.raises(NotMediaNameError):
        await desk.files.create(ROOT_INODE, "notes.txt")
    assert len(desk.spooled()) == 1


async def test_a_directory_has_no_content(desk: Desk) -> None:
    """Opening one says what it is; what never was is not found."""
    with pytest.raises(IsDirectoryError):
        await desk.files.open_for_writing(ROOT_INODE, truncate=True)
    with pytest.raises(NotFoundError):
        await desk.files.open_for_reading(Inode(999))
    assert not desk.files.is_open(ROOT_INODE)


# --- Changing what waits ------------------------------------------------------


async def test_a_write_withdraws_an_upload_that_was_not_sent(desk: Desk) -> None:
    """The content is changed where it is, and one upload is left."""
    inode = await desk.put("red.png", RED)
    [first] = desk.uploads()
    await desk.edit(inode, b"tail", offset=len(RED))
    [second] = desk.uploads()
    found = outbox.job(desk.db.reader, first.id)
    assert found is not None
    assert found.state is JobState.CANCELLED
    assert second.id != first.id
    assert desk.draft(inode).generation == 1
    assert await desk.read(inode) == RED + b"tail"


async def test_the_row_says_that_it_is_written_before_a_byte_changes(
    desk: Desk,
) -> None:
    """From the first write to the close nothing may upload the content."""
    inode = await desk.put("red.png", RED)
    draft = await desk.files.open_for_writing(inode, truncate=False)
    assert desk.draft(inode).state is DraftState.WAITING
    await desk.files.write(draft, 0, b"x")
    assert desk.draft(inode).state is DraftState.WRITING
    assert desk.uploads() == []
    await desk.files.release(draft)


@pytest.mark.parametrize("state", [JobState.SENDING, JobState.UNKNOWN])
@pytest.mark.parametrize("truncate", [False, True])
async def test_a_content_that_may_be_being_read_is_never_written_to(
    desk: Desk, state: JobState, *, truncate: bool
) -> None:
    """The change goes to a copy; what is in the air stays as it was."""
    inode = await desk.put("red.png", RED)
    [job] = desk.uploads()
    old = desk.draft(inode)
    await desk.db.write(lambda c: outbox.claim(c, job.id, now=1.0, marker="m"))
    if state is JobState.UNKNOWN:
        await desk.db.write(lambda c: outbox.mark_unknown(c, job.id, error="?"))
    draft = await desk.files.open_for_writing(inode, truncate=truncate)
    await desk.finish(draft, BLUE)
    new = desk.draft(inode)
    assert new.generation == old.generation + 1
    assert desk.spool.path(old.spool_name).read_bytes() == RED
    assert await desk.read(inode) == (BLUE if truncate else RED + BLUE)
    assert len(desk.uploads()) == 2


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_durable_content_is_marked_durably_before_it_changes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, is_closed: bool
) -> None:
    """Else a power cut would bring back the upload of a half-changed content."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")
    await desk.files.write(draft, 0, RED)
    if is_closed:
        await desk.files.commit(draft)
    durable: list[bool] = []
    write = desk.db.write

    async def recording(fn: Callable[[Connection], T], *, is_durable: bool = True) -> T:
        durable.append(is_durable)
        return await write(fn, is_durable=is_durable)

    monkeypatch.setattr(desk.db, "write", recording)
    await desk.files.write(draft, 50, b"x")
    assert durable == ([True] if is_closed else [])
    await desk.files.release(draft)
    assert durable[-1]
    assert desk.draft(inode).state is DraftState.WAITING


async def test_a_new_name_of_a_waiting_file_judges_nothing_but_the_name(
    desk: Desk,
) -> None:
    """Its bytes were looked at; only a temporary name withdraws the upload."""
    inode = await desk.put("red.png", RED)
    before = desk.uploads()

    async def rename(name: str, head: bytes) -> DraftState:
        def change(c: Connection) -> None:
            edits.move_entry(c, ROOT_INODE, inode, ROOT_INODE, name)
            rules = drafting.Rules(MountConfig(), delete_grace_s=600.0)
            now = desk.clock.now()
            drafting.judge_again(c, inode, head=head, rules=rules, now=now)

        await desk.db.write(change)
        return desk.draft(inode).state

    assert await rename("scarlet.png", b"") is DraftState.WAITING
    assert desk.uploads() == before
    assert await rename("scarlet.png~", b"") is DraftState.SCRATCH
    assert desk.uploads() == []
    assert await rename("scarlet.png", RED) is DraftState.WAITING
    assert len(desk.uploads()) == 1


async def test_a_reader_of_the_old_content_goes_on(desk: Desk) -> None:
    """A file that becomes a copy while it is read is read on, without an error."""
    inode = await desk.put("red.png", RED)
    reader = await desk.files.open_for_reading(inode)
    assert reader is not None
    [job] = desk.uploads()
    await desk.db.write(lambda c: outbox.claim(c, job.id, now=1.0, marker="m"))
    await desk.edit(inode, b"X", offset=50)
    assert await desk.files.read(reader, 0, 1000) == RED[:50] + b"X" + RED[51:]
    await desk.files.release(reader)


async def test_many_handles_write_and_truncate_one_file(desk: Desk) -> None:
    """64 handles at once: every byte is one that somebody wrote, none is lost."""
    inode = await desk.put("red.png", RED)
    piece = 1000

    async def write(number: int) -> None:
        draft = await desk.files.open_for_writing(inode, truncate=False)
        start = len(RED) + number * piece
        await desk.files.write(draft, start, bytes([number]) * piece)
        await desk.files.commit(draft)
        await desk.files.release(draft)

    async with trio.open_nursery() as nursery:
        for number in range(64):
            nursery.start_soon(write, number)
    expected = RED + b"".join(bytes([number]) * piece for number in range(64))
    assert await desk.read(inode) == expected
    row = desk.draft(inode)
    assert (row.state, row.size_bytes) == (DraftState.WAITING, len(expected))
    assert len(desk.uploads()) == 1
    assert not desk.files.is_open(inode)


async def test_appending_handles_do_not_overwrite_each_other(desk: Desk) -> None:
    """The end of the file is where it is when the write is done."""
    inode, draft = await desk.files.create(ROOT_INODE, "red.png")

    async def append(number: int) -> None:
        mine = await desk.files.open_for_writing(inode, truncate=False)
        for _ in range(5):
            await desk.files.write(mine, None, bytes([number]) * 7)
        await desk.files.release(mine)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(append, number)
    await desk.files.release(draft)
    data = await desk.read(inode)
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    assert sorted(pieces) == sorted(bytes([n]) * 7 for n in range(20) for _ in range(5))


async def test_a_write_that_comes_while_another_closes_is_uploaded_too(
    desk: Desk,
) -> None:
    """Whatever the order: the last close leaves all bytes waiting, under one job."""
    inode, one = await desk.files.create(ROOT_INODE, "red.png")
    await desk.files.write(one, 0, RED)
    two = await desk.files.open_for_writing(inode, truncate=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.files.commit, one)
        nursery.start_soon(desk.files.write, two, len(RED), b"more")
    await desk.files.commit(two)
    row = desk.draft(inode)
    assert row.state is DraftState.WAITING
    assert desk.spool.path(row.spool_name).read_bytes() == RED + b"more"
    assert row.size_bytes == len(RED) + 4
    assert len(desk.uploads()) == 1
    await desk.files.release(one)
    await desk.files.release(two)


async def test_truncate_without_a_handle_is_committed_at_once(desk: Desk) -> None:
    """truncate(2) has no close that would do it."""
    inode = await desk.put("red.png", RED)
    await desk.files.truncate(inode, 20)
    assert desk.draft(inode).state is DraftState.WAITING
    assert desk.draft(inode).size_bytes == 20
    await desk.files.truncate(inode, 30)
    assert await desk.read(inode) == RED[:20] + bytes(10)
