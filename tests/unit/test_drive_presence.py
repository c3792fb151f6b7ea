"""Imgur is asked whether an image is there still before it stands in for bytes."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import trio
from trio.testing import MockClock

from imgurfs.model import Lane
from tests.support.phases import LONG_S, drive, trouble, uploads
from tests.support.pictures import small_picture
from tests.support.placed import Placed


def asked_since(d: Placed, count: int) -> list[str]:
    """Return the paths of images and albums that were asked for after ``count``."""
    return [
        httpx.URL(url).path
        for method, url in d.there.transport.requests[count:]
        if method == "GET" and re.search("/3/(image|album)/", url)
    ]


async def test_what_was_deleted_on_the_web_does_not_stand_in_for_a_copy(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: no content is given up for an image that was only listed."""
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        for path in ("x.png", "A/x.png"):
            await d.write(path, small_picture(path))
        await d.drain()
        for path in ("x.png", "A/x.png"):
            await d.there.api.delete_image(d.image(path), Lane.FRESH)
        await trio.sleep(10)
        await d.write("A/copy.png", small_picture("x.png"))
        await d.write("B/copy.png", small_picture("A/x.png"))
        await d.drain()
        there = {one.id for one in d.images()}
        assert there == {d.image("A/copy.png"), d.image("B/copy.png")}
        await d.refresh()


async def test_what_was_deleted_on_the_web_is_not_what_a_file_was(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: the same picture written over an image that was deleted on the web, which no
    listing has noticed, is uploaded: the file keeps its bytes and its name.
    """
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.write("A/x.png")
        await d.drain()
        old = d.image("A/x.png")
        await d.there.api.delete_image(old, Lane.FRESH)
        await trio.sleep(10)
        await d.overwrite("A/x.png", small_picture("A/x.png"))
        await d.drain(LONG_S)
        await d.refresh()
        assert d.names("A") == ["x.png"]
        assert [one.id for one in d.images()] == [d.image("A/x.png")]
        assert d.image("A/x.png") != old


@pytest.mark.parametrize("album", ["A", ""])
async def test_copying_an_album_asks_once_whether_its_images_are_there(
    tmp_path: Path, autojump_clock: MockClock, album: str
) -> None:
    """W11: one call for all that is copied from an album, one for any other image."""
    names = [f"{number}.png" for number in range(5)]
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        for name in names:
            await d.write(f"A/{name}", small_picture(name))
        await d.drain()
        if not album:
            for name in names:
                await d.remove(f"A/{name}")
        before = len(d.there.transport.requests)
        for name in names:
            await d.write(f"B/{name}", small_picture(name))
        await d.drain()
        assert uploads(d) == 5
        asked = asked_since(d, before)
        about = f"/3/album/{d.album_id('A')}" if album else "/3/image/"
        assert len([one for one in asked if one.startswith(about)]) == (
            1 if album else 5
        )


async def test_an_album_that_cannot_be_listed_keeps_no_copy_from_being_made(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: Imgur is asked about the image itself then, and about the album once for all
    that is copied from it.
    """
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        for name in ("x.png", "y.png"):
            await d.write(f"A/{name}", small_picture(name))
        await d.drain()
        album = f"/3/album/{d.album_id('A')}"
        trouble(d, {"action": "status", "status": 500, "method": "GET", "path": album})
        before = len(d.there.transport.requests)
        for name in ("x.png", "y.png"):
            await d.write(f"B/{name}", small_picture(name))
        await d.drain()
        for name in ("x.png", "y.png"):
            assert d.node(f"B/{name}").inode == d.node(f"A/{name}").inode
        asked = asked_since(d, before)
        assert 0 < len([one for one in asked if one.startswith(album)]) < 4
        assert len([one for one in asked if one.startswith("/3/image/")]) == 2


async def test_an_image_that_imgur_never_answers_for_costs_little(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: a copy that cannot be told from an only one waits, in pauses that grow, and
    is made when Imgur answers again.
    """
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        await d.write("A/x.png")
        await d.drain()
        path = f"^/3/(album/{d.album_id('A')}|image/{d.image('A/x.png')})"
        trouble(d, {"action": "status", "status": 500, "method": "GET", "path": path})
        before = len(d.there.transport.requests)
        await d.write("B/y.png", small_picture("A/x.png"))
        await d.drain(2 * 3600.0)
        assert d.kinds() == ["upload"]
        assert len(asked_since(d, before)) < 2 * 60
        trouble(d)
        await d.drain(LONG_S)
        assert d.node("B/y.png").inode == d.node("A/x.png").inode
