"""imgurfs.writing.files on images that are on Imgur already: brought when needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.errors import ContentGoneError, ImgurfsError
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.model import ROOT_INODE, Image
from imgurfs.store import drafts, edits, entries
from imgurfs.store.database import Connection
from imgurfs.store.drafts import DraftState
from imgurfs.store.entries import Node
from imgurfs.writing import drafting
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.writing import Desk, a_desk, listed

P = ParamSpec("P")
T = TypeVar("T")

CDN_HOST = "i.imgur.test"
RED = small_picture("red")


def _account() -> EmulatorConfig:
    return connected.config(albums=0, images=1)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Return a desk over an account with one image, which is listed."""
    async with a_desk(tmp_path, _account()) as made:
        await listed(made)
        yield made


def _node(desk: Desk) -> Node:
    [node] = desk.images()
    return node


def _image(desk: Desk) -> Image:
    image = _node(desk).image
    assert image is not None
    return image


def _downloads(desk: Desk) -> int:
    return sum(
        1
        for method, url in desk.side.transport.requests
        if method == "GET" and url.startswith(connected.CDN_URL)
    )


async def test_opening_for_writing_brings_nothing(desk: Desk) -> None:
    """Only a write needs the bytes; until then the image is untouched."""
    inode = _node(desk).inode
    draft = await desk.files.open_for_writing(inode, truncate=False)
    assert draft.size_bytes == _image(desk).size_bytes
    assert not draft.has_bytes
    assert desk.files.current(inode) is None
    await desk.files.commit(draft)
    await desk.files.release(draft)
    assert _downloads(desk) == 0
    assert drafts.get(desk.db.reader, inode) is None
    assert await desk.files.open_for_reading(inode) is None


async def test_a_change_in_place_keeps_the_rest_of_the_image(desk: Desk) -> None:
    """The image's own bytes are brought; what is uploaded is whole."""
    node = _node(desk)
    before = await desk.read(node.inode)
    await desk.edit(node.inode, b"MIDDLE", offset=1000)
    expected = before[:1000] + b"MIDDLE" + before[1006:]
    assert await desk.read(node.inode) == expected
    row = desk.draft(node.inode)
    assert row.state is DraftState.WAITING
    assert row.size_bytes == len(before)
    after = _node(desk)
    assert after.inode == node.inode
    assert after.image is not None
    assert after.image.id == _image(desk).id
    assert len(desk.uploads()) == 1


async def test_appending_finds_the_end_of_the_image(desk: Desk) -> None:
    """The end is known before the bytes are here."""
    inode = _node(desk).inode
    before = await desk.read(inode)
    draft = await desk.files.open_for_writing(inode, truncate=False)
    await desk.finish(draft, b"tail")
    assert await desk.read(inode) == before + b"tail"


async def test_what_is_replaced_as_a_whole_is_not_downloaded(desk: Desk) -> None:
    """cp over an image truncates it first: its bytes are needed by nobody."""
    inode = _node(desk).inode
    draft = await desk.files.open_for_writing(inode, truncate=True)
    assert await desk.read(inode) == b""
    await desk.finish(draft, RED)
    assert _downloads(desk) == 0
    assert await desk.read(inode) == RED
    assert desk.draft(inode).state is DraftState.WAITING


async def test_truncating_brings_what_is_left_and_nothing_for_the_same_size(
    desk: Desk,
) -> None:
    """A cut image has its first bytes; one that keeps its size is not touched."""
    node = _node(desk)
    size_bytes = _image(desk).size_bytes
    await desk.files.truncate(node.inode, size_bytes)
    assert drafts.get(desk.db.reader, node.inode) is None
    assert _downloads(desk) == 0
    before = await desk.read(node.inode)
    await desk.files.truncate(node.inode, 500)
    assert await desk.read(node.inode) == before[:500]


async def test_an_image_emptied_and_closed_stays_on_imgur(desk: Desk) -> None:
    """An empty file is not uploaded, so nothing replaces the image."""
    node = _node(desk)
    draft = await desk.files.open_for_writing(node.inode, truncate=True)
    await desk.finish(draft, b"")
    assert desk.draft(node.inode).state is DraftState.REFUSED
    assert desk.uploads() == []
    assert _image(desk).id


async def test_an_image_that_cannot_be_brought_stays_as_it_was(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """The writer gets the error; no row, no bytes, and it can be tried again."""
    inode = _node(desk).inode
    draft = await desk.files.open_for_writing(inode, truncate=False)
    desk.side.transport.unreachable.add(CDN_HOST)
    for _ in range(2):
        with pytest.raises(ImgurfsError):
            await desk.files.write(draft, 10, b"x")
    assert drafts.get(desk.db.reader, inode) is None
    assert desk.spooled() == []
    assert desk.spool.used_bytes == 0
    desk.side.transport.unreachable.clear()
    await desk.files.write(draft, 10, b"x")
    await desk.files.commit(draft)
    await desk.files.release(draft)
    assert (await desk.read(inode))[10:11] == b"x"


async def test_the_bytes_still_come_when_the_request_gave_up(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """A second attempt finds them, and does not download again."""
    inode = _node(desk).inode
    desk.side.transport.latency_s = 40.0
    draft = await desk.files.open_for_writing(inode, truncate=False)
    with trio.move_on_after(limits.FUSE_DATA_DEADLINE_S) as scope:
        await desk.files.write(draft, 10, b"x")
    assert scope.cancelled_caught
    assert drafts.get(desk.db.reader, inode) is None
    before = _downloads(desk)
    await trio.sleep(600)
    with trio.fail_after(limits.FUSE_DATA_DEADLINE_S):
        await desk.files.write(draft, 10, b"x")
    assert _downloads(desk) <= before + 1
    await desk.files.commit(draft)
    await desk.files.release(draft)
    assert desk.draft(inode).state is DraftState.WAITING
    assert desk.spooled() == [desk.draft(inode).spool_name]


async def test_bytes_that_came_too_late_leave_nothing(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """The program has gone: the image is as it was, the spool is empty."""
    inode = _node(desk).inode
    desk.side.transport.latency_s = 20.0
    draft = await desk.files.open_for_writing(inode, truncate=False)
    with trio.move_on_after(1):
        await desk.files.write(draft, 10, b"x")
    await desk.files.release(draft)
    await trio.sleep(600)
    assert not desk.files.is_open(inode)
    assert desk.spooled() == []
    assert drafts.get(desk.db.reader, inode) is None


async def test_truncating_does_not_wait_for_bytes_that_are_on_their_way(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Who empties the file needs none of them."""
    inode = _node(desk).inode
    desk.side.transport.latency_s = 1000.0
    draft = await desk.files.open_for_writing(inode, truncate=False)
    with trio.move_on_after(1):
        await desk.files.write(draft, 10, b"x")
    with trio.fail_after(1):
        await desk.files.truncate(inode, 0)
        await desk.finish(draft, RED)
    assert await desk.read(inode) == RED
    assert desk.spooled() == [desk.draft(inode).spool_name]


class LateCommits(InlineExecutor):
    """Has transactions end when the request's time is over."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run the function."""
        if lane is ThreadLane.WRITER:
            self.scope.cancel()
        return await super().run(lane, fn, *args, **kwargs)


async def test_bytes_that_nobody_needs_are_removed_when_time_is_over(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """They came for a request that gave up; another one empties the file, too late."""
    executor = LateCommits()
    async with a_desk(tmp_path, _account(), executor=executor) as desk:
        await listed(desk)
        inode = _node(desk).inode
        desk.side.transport.latency_s = 40.0
        draft = await desk.files.open_for_writing(inode, truncate=False)
        with trio.move_on_after(limits.FUSE_DATA_DEADLINE_S):
            await desk.files.write(draft, 10, b"x")
        await trio.sleep(600)
        assert len(desk.spooled()) == 1
        with trio.CancelScope() as executor.scope:
            await desk.files.truncate(inode, 0)
        assert executor.scope.cancelled_caught
        await desk.files.release(draft)
        assert desk.spooled() == []
        assert desk.spool.used_bytes == 0


async def test_an_unmount_refuses_what_would_have_to_be_brought(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """R20: requests that come so late end, too; the image is as it was."""
    async with a_desk(tmp_path, _account(), is_running=False) as desk:
        await listed(desk)
        node = _node(desk)
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.files.run)
            nursery.cancel_scope.cancel()
        with trio.fail_after(limits.FUSE_DATA_DEADLINE_S):
            with pytest.raises(ImgurfsError):
                await desk.files.truncate(node.inode, node.size_bytes - 5)
            draft = await desk.files.open_for_writing(node.inode, truncate=False)
            await desk.db.write(lambda c: edits.drop_entry(c, ROOT_INODE, node.inode))
            await desk.files.forget_unlinked(node.inode)
            await desk.files.release(draft)
        assert not desk.files.is_open(node.inode)
        assert desk.spooled() == []


async def test_many_writers_bring_an_image_once(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """All wait for the same download, and all their bytes are there."""
    inode = _node(desk).inode
    before = await desk.read(inode)
    downloads = _downloads(desk)

    async def write(number: int) -> None:
        await desk.edit(inode, bytes([number]), offset=1000 + number)

    async with trio.open_nursery() as nursery:
        for number in range(64):
            nursery.start_soon(write, number)
    assert await desk.read(inode) == before[:1000] + bytes(range(64)) + before[1064:]
    assert _downloads(desk) == downloads
    assert len(desk.uploads()) == 1


async def test_no_room_for_the_image_leaves_it_as_it_was(tmp_path: Path) -> None:
    """The write fails with the reason, and nothing is kept of half a copy."""
    async with a_desk(tmp_path, _account(), size_bytes_max=2000) as desk:
        await listed(desk)
        inode = _node(desk).inode
        draft = await desk.files.open_for_writing(inode, truncate=False)
        with pytest.raises(ImgurfsError):
            await desk.files.write(draft, 10, b"x")
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert drafts.get(desk.db.reader, inode) is None
        assert desk.spooled() == []


async def test_a_file_that_is_gone_takes_no_bytes(desk: Desk) -> None:
    """Its writer is told that the handle is stale."""
    inode = _node(desk).inode
    draft = await desk.files.open_for_writing(inode, truncate=False)
    await desk.db.write(lambda c: entries.remove(c, inode))
    with pytest.raises(ContentGoneError):
        await desk.files.write(draft, 0, RED)
    await desk.files.release(draft)
    assert desk.spooled() == []


async def test_a_file_that_lost_its_names_meanwhile_takes_no_bytes(desk: Desk) -> None:
    """While its bytes were copied its names came to lead to another image."""
    inode = _node(desk).inode

    def begin(c: Connection, *, is_unlinked: bool) -> bool:
        return drafting.begin_anew(c, inode, 7, now=1.0, is_unlinked=is_unlinked)

    await desk.db.write(lambda c: edits.drop_entry(c, ROOT_INODE, inode))
    assert not await desk.db.write(lambda c: begin(c, is_unlinked=False))
    assert drafts.get(desk.db.reader, inode) is None
    assert await desk.db.write(lambda c: begin(c, is_unlinked=True))
