"""What the account gets from changes on the drive, in process and through the kernel.

Judged by the emulator's own state and counters, when everything has been sent.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import trio.testing

from imgurfs import control
from tests.support.drives import Drive, opened, read, write
from tests.support.inside import in_process
from tests.support.pictures import small_picture

HARBOUR = small_picture("harbour")
GULLS = small_picture("gulls")


async def albums(drive: Drive) -> dict[str, list[str]]:
    """Return the ids of the images in each album, by the album's title."""
    found = (await drive.imgur.state())["albums"]
    return {album["title"]: album["images"] for album in found}


async def images(drive: Drive) -> dict[str, dict[str, Any]]:
    """Return the account's images by id."""
    return {image["id"]: image for image in (await drive.imgur.state())["images"]}


async def calls(drive: Drive) -> dict[str, int]:
    """Return how often each route that changes something was asked."""
    routes = (await drive.imgur.counters())["api_routes"]
    others = ("GET", "POST /oauth2")
    return {route: n for route, n in routes.items() if not route.startswith(others)}


def md5(data: bytes) -> str:
    """Return what the emulator calls md5."""
    return hashlib.md5(data).hexdigest()


async def test_a_new_file_is_one_upload(clock: object, drive: Drive) -> None:
    """W3: a file is uploaded once, into its album or without one."""
    before = await images(drive)
    await write(drive, "Cats/a.png", HARBOUR)
    await write(drive, "b.png", GULLS)
    await drive.settle()
    new = {i: image for i, image in (await images(drive)).items() if i not in before}
    assert sorted(image["md5"] for image in new.values()) == sorted(
        [md5(HARBOUR), md5(GULLS)]
    )
    cats = (await albums(drive))["Cats"]
    assert [image["md5"] for i, image in new.items() if i in cats] == [md5(HARBOUR)]
    assert (await drive.imgur.counters())["uploads"] == 2
    told = (await drive.xattr("Cats/a.png", "user.imgur.id")).decode()
    assert new[told]["md5"] == md5(HARBOUR)


async def test_a_moved_file_goes_where_it_is_when_it_is_sent(
    clock: object, drive: Drive
) -> None:
    """W3, W10: a file that is renamed and moved before it is sent costs one upload."""
    await write(drive, "Cats/.a.png.part", HARBOUR)
    await drive.rename("Cats/.a.png.part", "Cats/a.png")
    await drive.rename("Cats/a.png", "Moving things/b.png")
    await drive.settle()
    image = (await drive.xattr("Moving things/b.png", "user.imgur.id")).decode()
    assert image in (await albums(drive))["Moving things"]
    assert image not in (await albums(drive))["Cats"]
    assert await calls(drive) == {"POST /3/upload": 1}


async def test_links_and_moves_never_upload(clock: object, drive: Drive) -> None:
    """W4: ln and mv change memberships; id and link stay."""
    image = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    await drive.link("Cats/Paw.gif", "Empty album/Paw.gif")
    await drive.rename("Cats/Paw.gif", "Moving things/Paw.gif")
    await drive.settle()
    held = {title for title, inside in (await albums(drive)).items() if image in inside}
    assert held == {"Empty album", "Moving things"}
    await drive.unlink("Empty album/Paw.gif")
    await drive.rename("Moving things/Paw.gif", "Paw.gif")
    await drive.settle()
    held = {title for title, inside in (await albums(drive)).items() if image in inside}
    assert held == set()
    assert image in await images(drive)
    assert (await drive.imgur.counters())["uploads"] == 0
    assert (await drive.xattr("Paw.gif", "user.imgur.id")).decode() == image


async def test_there_and_back_is_nothing(clock: object, drive: Drive) -> None:
    """W10: what was undone before it was sent is not sent."""
    await drive.rename("Cats/Paw.gif", "Moving things/Paw.gif")
    await drive.rename("Moving things/Paw.gif", "Cats/Paw.gif")
    await drive.mkdir("New")
    await drive.rmdir("New")
    await write(drive, "a.png", HARBOUR)
    await drive.unlink("a.png")
    await drive.settle()
    assert await calls(drive) == {}


async def test_a_rename_sets_the_title(clock: object, drive: Drive) -> None:
    """W5: the title is the name without its extension; the name typed stays."""
    image = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    await drive.rename("Cats/Paw.gif", "Cats/Left paw.png")
    await drive.settle()
    assert (await images(drive))[image]["title"] == "Left paw"
    assert "Left paw.png" in await drive.list("Cats")
    assert (await drive.imgur.counters())["uploads"] == 0


async def test_the_last_name_deletes_the_image(clock: object, drive: Drive) -> None:
    """W6: rm of one of two links keeps the image, rm of the last one deletes it."""
    image = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    await drive.link("Cats/Paw.gif", "Moving things/Paw.gif")
    await drive.unlink("Cats/Paw.gif")
    await drive.settle()
    assert image in await images(drive)
    await drive.unlink("Moving things/Paw.gif")
    await drive.settle()
    assert image not in await images(drive)


async def test_a_removed_file_comes_back_with_undo(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W6: until the grace period is over, undo gives the names back."""
    async with in_process(tmp_path) as drive:
        before = await drive.stat("Cats/Paw.gif")
        await drive.unlink("Cats/Paw.gif")
        now = drive.world.clock.now()
        undone = await drive.db.write(lambda c: control.undo(c, now=now))
        assert len(undone) == 1
        assert (await drive.stat("Cats/Paw.gif")).inode == before.inode
        await drive.settle()
        assert before.inode == (await drive.stat("Cats/Paw.gif")).inode
        assert "Paw" in {i["title"] for i in (await images(drive)).values()}


async def test_albums_follow_directories(clock: object, drive: Drive) -> None:
    """W7: mkdir, mv and rmdir create, retitle and delete an album."""
    await drive.mkdir("New")
    await drive.rename("Cats", "Kittens")
    await drive.rmdir("Empty album")
    await write(drive, "New/a.png", HARBOUR)
    await drive.settle()
    found = await albums(drive)
    assert {"New", "Kittens"} <= found.keys()
    assert not {"Cats", "Empty album"} & found.keys()
    image = (await drive.xattr("New/a.png", "user.imgur.id")).decode()
    assert found["New"] == [image]


async def test_overwriting_replaces_the_image(clock: object, drive: Drive) -> None:
    """W8: the new image is in the same albums, the old one is deleted after it."""
    old = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    inode = (await drive.stat("Cats/Paw.gif")).inode
    await drive.link("Cats/Paw.gif", "Moving things/P.gif")
    await write(drive, "Cats/Paw.gif", HARBOUR)
    await drive.settle()
    new = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    found = await albums(drive)
    assert new != old
    assert old not in await images(drive)
    assert (await images(drive))[new]["md5"] == md5(HARBOUR)
    assert [title for title, inside in found.items() if new in inside] == [
        title for title in found if title in ("Cats", "Moving things")
    ]
    seen = await drive.stat("Moving things/P.gif")
    assert (seen.inode, seen.links) == (inode, 2)
    assert (await drive.imgur.counters())["uploads"] == 1


async def test_an_editors_save_replaces_the_image(clock: object, drive: Drive) -> None:
    """W8: written beside it and renamed over it: the old image goes, the new stays."""
    old = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    await write(drive, "Cats/.goutputstream-ABC", HARBOUR)
    await drive.rename("Cats/.goutputstream-ABC", "Cats/Paw.gif")
    await drive.settle()
    new = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    found = await images(drive)
    assert old not in found
    assert found[new]["md5"] == md5(HARBOUR)
    assert new in (await albums(drive))["Cats"]
    assert await read(drive, "Cats/Paw.gif") == HARBOUR


async def test_the_same_content_again_is_nothing(clock: object, drive: Drive) -> None:
    """W8: an image that is overwritten with its own bytes stays what it is."""
    old = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    await write(drive, "Cats/Paw.gif", await read(drive, "Cats/Paw.gif"))
    await drive.settle()
    assert (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode() == old
    assert await calls(drive) == {}


async def test_texts_are_set(clock: object, drive: Drive) -> None:
    """W9: setfattr on a file and on a directory sets title and description on Imgur."""
    image = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    await drive.set_xattr("Cats/Paw.gif", "user.imgur.description", b"left one")
    await drive.set_xattr("Moving things", "user.imgur.description", b"both")
    await drive.settle()
    assert (await images(drive))[image]["description"] == "left one"
    moving = [
        a
        for a in (await drive.imgur.state())["albums"]
        if a["title"] == "Moving things"
    ]
    assert moving[0]["description"] == "both"


async def test_a_copy_is_recognised(clock: object, drive: Drive) -> None:
    """W11: cp of an image into another album adds it there and uploads nothing."""
    image = (await drive.xattr("Cats/Paw.gif", "user.imgur.id")).decode()
    await write(drive, "Moving things/Copy.gif", await read(drive, "Cats/Paw.gif"))
    await drive.settle()
    assert image in (await albums(drive))["Moving things"]
    assert (await drive.imgur.counters())["uploads"] == 0
    seen = await drive.stat("Moving things/Copy.gif")
    assert seen.inode == (await drive.stat("Cats/Paw.gif")).inode
    assert seen.links == 2


async def test_who_has_the_copy_open_goes_on(clock: object, drive: Drive) -> None:
    """W1, W11: a handle on a copy reads on when the copy became another file."""
    data = await read(drive, "Cats/Paw.gif")
    await write(drive, "Moving things/Copy.gif", data)
    async with opened(drive, "Moving things/Copy.gif") as file:
        assert await file.read(0, 100) == data[:100]
        await drive.settle()
        assert await file.read() == data
        assert (await file.stat()).size_bytes == len(data)
    seen = await drive.stat("Moving things/Copy.gif")
    assert seen.inode == (await drive.stat("Cats/Paw.gif")).inode


async def test_an_upload_that_is_rejected_stays(clock: object, drive: Drive) -> None:
    """W29: what Imgur rejects is kept here, readable, and says why."""
    rule = {"method": "POST", "path": "/3/upload", "action": "status", "status": 400}
    await drive.imgur.fail({"host": "api", **rule})
    await write(drive, "Cats/a.png", HARBOUR)
    await drive.settle()
    assert await drive.xattr("Cats/a.png", "user.imgurfs.state") == b"refused"
    assert await drive.xattr("Cats/a.png", "user.imgurfs.error")
    assert await read(drive, "Cats/a.png") == HARBOUR
    await drive.imgur.fail()
    await write(drive, "Cats/a.png", GULLS, os.O_WRONLY | os.O_TRUNC)
    await drive.settle()
    assert await drive.xattr("Cats/a.png", "user.imgurfs.state") == b"uploaded"
