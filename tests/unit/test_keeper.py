"""imgurfs.writing.keeper: uploaded bytes become the cache, changed ones stay here."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from PIL import Image as Drawing
from trio.testing import MockClock

from imgurfs.config import MountConfig
from imgurfs.content.cdn import Identity
from imgurfs.model import ROOT_INODE, Inode, Lane
from imgurfs.store import drafts, edits, entries
from imgurfs.store.drafts import DraftState
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.placed import LONG_S, placed
from tests.support.writing import Desk, a_desk

RED, BLUE = small_picture("red"), small_picture("blue")
CDN_HOST = "i.imgur.test"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Return a desk over an empty account."""
    async with a_desk(tmp_path, connected.config(albums=0, images=0)) as made:
        yield made


def _asked(desk: Desk, method: str) -> int:
    return sum(
        1
        for made, url in desk.side.transport.requests
        if made == method and url.startswith(connected.CDN_URL)
    )


async def _kept(desk: Desk, inode: Inode) -> bool:
    """Wait until the comparison is over; return whether the original stays."""
    with trio.fail_after(100):
        while (row := drafts.get(desk.db.reader, inode)) is not None:
            if row.state is DraftState.KEPT:
                return True
            await trio.sleep(0.1)
    return False


async def test_bytes_that_imgur_has_become_the_cache(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """They are read on without a download, and the spool is empty."""
    inode = await desk.put("red.png", RED)
    await desk.settle(inode)
    assert not await _kept(desk, inode)
    await trio.sleep(1)
    assert desk.spooled() == []
    assert desk.spool.used_bytes == 0
    desk.side.transport.unreachable.add(CDN_HOST)
    assert await desk.read(inode) == RED
    assert _asked(desk, "GET") == 0
    assert _asked(desk, "HEAD") == 1


async def test_the_cache_knows_them_after_a_restart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The sidecar vouches for all of them."""
    config = connected.config(albums=0, images=0)
    async with a_desk(tmp_path, config) as desk:
        inode = await desk.put("red.png", RED)
        await desk.settle(inode)
        assert not await _kept(desk, inode)
    async with a_desk(tmp_path, config) as desk:
        desk.side.transport.unreachable.add(CDN_HOST)
        assert await desk.read(inode) == RED


async def test_bytes_that_imgur_has_changed_stay_here(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The original is what is read; its size stays, so rsync transfers nothing."""
    noise = Drawing.effect_noise((3000, 2000), 90)
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    assert buffer.tell() > 5_000_000
    changes = {"png_to_jpeg": "on", "recompress": "large"}
    config = connected.config(albums=0, images=0, quirk_changes=changes)
    settings = MountConfig(lossy="accept")
    async with a_desk(tmp_path, config, settings=settings) as desk:
        inode = await desk.put("noise.png", buffer.getvalue())
        await desk.settle(inode)
        assert await _kept(desk, inode)
        assert await desk.read(inode) == buffer.getvalue()
        node = entries.node(desk.db.reader, inode)
        assert node is not None
        assert node.size_bytes == buffer.tell()
        await trio.sleep(10)
        assert desk.spooled() == [desk.draft(inode).spool_name]
        assert _asked(desk, "HEAD") == 1


async def test_nothing_is_decided_while_the_cdn_does_not_answer(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """The bytes stay in the spool, readable, and are compared when it answers."""
    desk.side.transport.unreachable.add(CDN_HOST)
    inode = await desk.put("red.png", RED)
    await desk.settle(inode)
    await trio.sleep(3_000)
    assert desk.draft(inode).state is DraftState.SENT
    assert await desk.read(inode) == RED
    desk.side.transport.unreachable.clear()
    await trio.sleep(7_300)
    assert drafts.get(desk.db.reader, inode) is None
    assert await desk.read(inode) == RED


async def test_attempts_become_rare(autojump_clock: MockClock, desk: Desk) -> None:
    """A CDN that refuses for hours is asked some times, not thousands of times."""
    inode = await desk.put("red.png", RED)
    image = await desk.settle(inode)
    await desk.side.api.delete_image(image.id, lane=Lane.BULK)
    await trio.sleep(7_200)
    assert 5 < _asked(desk, "HEAD") < 15


async def test_a_write_during_the_comparison_wins(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """What was sent becomes the cache of its id; the new bytes wait on their own."""
    inode = await desk.put("red.png", RED)
    desk.side.transport.latency_s = 10.0
    await desk.settle(inode)
    await trio.sleep(5)
    await desk.edit(inode, BLUE)
    desk.side.transport.latency_s = 0.0
    await trio.sleep(20)
    row = desk.draft(inode)
    assert row.state is DraftState.WAITING
    assert await desk.read(inode) == BLUE + RED[len(BLUE) :]
    assert desk.spooled() == [row.spool_name]


async def test_the_cache_never_sees_a_later_write(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Cache and spool share the bytes on disk; a change goes to another file."""
    inode = await desk.put("red.png", RED)
    draft = await desk.files.open_for_writing(inode, truncate=False)
    await desk.settle(inode)
    assert not await _kept(desk, inode)
    node = entries.node(desk.db.reader, inode)
    assert node is not None
    assert node.image is not None
    await desk.finish(draft, b"tail")
    assert await desk.read(inode) == RED + b"tail"
    assert await desk.fetcher.read(node.image, 0, 1000) == RED
    assert _asked(desk, "GET") == 0


async def test_a_write_after_the_adoption_does_not_reach_the_cache(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Also when the mount died before the row was dropped."""
    inode = await desk.put("red.png", RED)
    image = await desk.settle(inode)
    row = desk.draft(inode)
    md5 = await desk.spool.md5(row.spool_name)
    path = desk.spool.path(row.spool_name)
    assert await desk.fetcher.adopt(image, path, Identity(md5, len(RED)))
    await desk.edit(inode, b"X", offset=50)
    assert await desk.fetcher.read(image, 0, 1000) == RED
    assert await desk.read(inode) == RED[:50] + b"X" + RED[51:]
    assert _asked(desk, "GET") == 0


async def test_an_etag_that_is_no_md5_says_nothing(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Then the bytes themselves are compared, which fills the cache as well."""

    async def change(response: httpx.Response) -> None:
        await trio.lowlevel.checkpoint()
        if response.request.url.host == CDN_HOST:
            response.headers["etag"] = '"3858f62230ac3c915f300c664312c11f-9"'

    desk.side.http.event_hooks = {"response": [change]}
    inode = await desk.put("red.png", RED)
    await desk.settle(inode)
    assert not await _kept(desk, inode)
    assert _asked(desk, "GET") == 1
    assert await desk.read(inode) == RED
    assert _asked(desk, "GET") == 1


async def test_a_superseded_content_goes_when_its_upload_is_settled(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Not while it is in the air, and not before the new one is named durably."""
    inode = await desk.put("red.png", RED)
    old = desk.draft(inode)
    await desk.send(inode)
    await desk.edit(inode, BLUE)
    await trio.sleep(10)
    assert desk.spooled() == sorted([old.spool_name, desk.draft(inode).spool_name])
    await desk.settle(inode, row=old)
    await trio.sleep(1)
    assert desk.spooled() == [desk.draft(inode).spool_name]


async def test_a_directory_that_was_removed_leaves_nothing_in_the_spool(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """Hundreds of contents go, and their room is free again."""
    inodes = [await desk.put(f"{count}.png", RED) for count in range(150)]
    assert len(desk.spooled()) == len(inodes)
    for inode in inodes:
        await desk.db.write(partial(edits.drop_entry, parent=ROOT_INODE, inode=inode))
        await desk.files.forget_unlinked(inode)
    await trio.sleep(1)
    assert desk.spooled() == []
    assert desk.spool.used_bytes == 0
    assert drafts.discarded(desk.db.reader) == set()


async def test_the_original_of_a_deleted_image_goes_with_it(
    autojump_clock: MockClock, desk: Desk
) -> None:
    """It stays while the deletion can be undone, and goes when Imgur has done it."""
    inode = await desk.put("red.png", RED)
    await desk.settle(inode)
    await desk.keep(inode)
    await desk.db.write(lambda c: edits.hide_image(c, inode))
    await trio.sleep(10)
    assert len(desk.spooled()) == 1
    now = desk.clock.now()
    await desk.db.write(lambda c: edits.gone_now(c, inode, now=now))
    await trio.sleep(1)
    assert desk.spooled() == []
    assert drafts.get(desk.db.reader, inode) is None


async def test_a_cache_that_another_process_has_does_not_stop_anything(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The bytes are on Imgur: without a cache they are downloaded again."""
    config = connected.config(albums=0, images=0)
    async with a_desk(tmp_path / "one", config) as one:
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "cache").symlink_to(tmp_path / "one" / "cache")
        async with a_desk(tmp_path / "two", config) as two:
            inode = await two.put("red.png", RED)
            await two.settle(inode)
            assert not await _kept(two, inode)
            await trio.sleep(1)
            assert two.spooled() == []
            assert await two.read(inode) == RED
            assert _asked(two, "GET") == 1
        assert one.spooled() == []


async def test_what_is_written_to_a_deleted_image_takes_room_until_it_is_closed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """W19: the bytes of an image that Imgur has deleted are the program's that has it
    open, and all of their room is given back afterwards.
    """
    async with placed(tmp_path) as d:
        await d.write("x.png")
        await d.drain()
        files, spool = d.writer.files, d.writer.spool
        draft = await files.open_for_writing(d.node("x.png").inode, truncate=False)
        await files.write(draft, None, b"more")
        await d.remove("x.png")
        await d.drain(LONG_S)
        assert d.images() == []
        await trio.sleep(10)
        await files.write(draft, None, bytes(1 << 20))
        assert (
            await files.read(draft, 0, 1 << 20)
            == (small_picture("x.png") + b"more" + bytes(1 << 20))[: 1 << 20]
        )
        await files.commit(draft)
        assert spool.used_bytes > 1 << 20
        await files.release(draft)
        await trio.sleep(10)
        assert spool.used_bytes == 0
        assert list(spool.directory.glob("[0-9]*")) == []
