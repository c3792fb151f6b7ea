"""What others do on the web to images that the drive knows, and what follows here."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from imgurfs.limits import LISTING_LAG_S
from imgurfs.model import Lane
from tests.support.drive_inside import InProcess
from tests.support.drives import read, write
from tests.support.inside import Inside, an_account
from tests.support.pictures import small_picture

ONE, OTHER = small_picture("one"), small_picture("other")


async def _listed(drive: InProcess) -> None:
    """Have the account listed when its listings show what was done."""
    await trio.sleep(2 * LISTING_LAG_S)
    await drive.mounted.refresher.refresh_all(Lane.CONTROL)


async def _web(account: Inside, method: str, path: str, **fields: str) -> None:
    """Do something as another device of the account."""
    token = account.world.emulator.credentials.access_token
    answer = await account.http.request(
        method, path, headers={"Authorization": f"Bearer {token}"}, data=fields
    )
    assert answer.status_code == 200, answer.text


async def _id(drive: InProcess, path: str) -> str:
    return (await drive.xattr(path, "user.imgur.id")).decode()


async def _albums(drive: InProcess) -> dict[str, Any]:
    """Return the images of each album by its title, and "" for all images."""
    state = await drive.imgur.state()
    found: dict[str, Any] = {it["title"]: it["images"] for it in state["albums"]}
    return found | {"": [it["id"] for it in state["images"]]}


async def _in_album(drive: InProcess) -> str:
    """Put a picture into an album; return its id."""
    await drive.list("")
    await drive.mkdir("A")
    await write(drive, "A/one.png", ONE)
    await drive.settle()
    await _listed(drive)
    return await _id(drive, "A/one.png")


async def _taken_out(account: Inside, drive: InProcess) -> str:
    """Let somebody take the picture out of its album; return its id."""
    image_id = await _in_album(drive)
    album = await _id(drive, "A")
    path = f"/3/album/{album}/remove_images"
    await _web(account, "POST", path, ids=image_id)
    await _listed(drive)
    assert await drive.list("A") == []
    return image_id


async def test_an_image_that_was_taken_out_of_its_album_can_be_deleted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: its last name is its last, although an album held it once."""
    async with an_account(tmp_path) as account, account.mounted() as drive:
        image_id = await _taken_out(account, drive)
        await drive.unlink("one.png")
        await drive.settle()
        assert image_id not in (await _albums(drive))[""]
        await _listed(drive)
        assert "one.png" not in await drive.list("")


async def test_an_image_that_was_taken_out_of_its_album_can_be_put_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W4: Imgur is asked again, although the album held it once."""
    async with an_account(tmp_path) as account, account.mounted() as drive:
        image_id = await _taken_out(account, drive)
        await drive.rename("one.png", "A/one.png")
        await drive.settle()
        assert (await _albums(drive))["A"] == [image_id]
        await _listed(drive)
        assert await drive.list("A") == ["one.png"]


async def test_an_image_that_was_moved_and_back_can_be_taken_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W31: a move that was called off leaves no claim that others cannot end."""
    async with an_account(tmp_path) as account, account.mounted() as drive:
        image_id = await _in_album(drive)
        await drive.rename("A/one.png", "one.png")
        await drive.rename("one.png", "A/one.png")
        await drive.settle()
        album = await _id(drive, "A")
        path = f"/3/album/{album}/remove_images"
        await _web(account, "POST", path, ids=image_id)
        await _listed(drive)
        assert await drive.list("A") == []
        assert "one.png" in await drive.list("")


async def test_an_image_whose_album_was_deleted_can_be_deleted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: an album that is gone holds nothing."""
    async with an_account(tmp_path) as account, account.mounted() as drive:
        image_id = await _in_album(drive)
        await _web(account, "DELETE", f"/3/album/{await _id(drive, 'A')}")
        await _listed(drive)
        await drive.unlink("one.png")
        await drive.settle()
        assert image_id not in (await _albums(drive))[""]


async def test_an_image_that_comes_back_elsewhere_leaves_its_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: a copy in the root of what is deleted from an album stays in the root."""
    async with an_account(tmp_path) as account, account.mounted() as drive:
        image_id = await _in_album(drive)
        await write(drive, "copy.png", ONE)
        await drive.unlink("A/one.png")
        await drive.settle()
        await _listed(drive)
        assert await drive.list("A") == []
        assert "copy.png" in await drive.list("")
        assert await _id(drive, "copy.png") == image_id
        found = await _albums(drive)
        assert found["A"] == []
        assert image_id in found[""]


async def test_an_image_that_comes_back_has_the_name_that_was_typed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W5: a title that was not told because the image was deleted is told after all."""
    async with an_account(tmp_path) as account, account.mounted() as drive:
        image_id = await _in_album(drive)
        await drive.mkdir("B")
        await drive.rename("A/one.png", "A/typed.png")
        await write(drive, "B/typed.png", ONE)
        await write(drive, "A/.new.part", OTHER)
        await drive.rename("A/.new.part", "A/typed.png")
        await drive.settle()
        await _listed(drive)
        assert await drive.list("B") == ["typed.png"]
        assert await read(drive, "B/typed.png") == ONE
        assert await _id(drive, "B/typed.png") == image_id
        (found,) = (
            it for it in (await drive.imgur.state())["images"] if it["id"] == image_id
        )
        assert found["title"] == "typed"


async def test_what_others_add_is_seen_although_a_file_was_replaced_before(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W31: the image that a file was before is not counted in its album any more.

    Else an album of one more and one less would look like one that did not change.
    """
    async with an_account(tmp_path) as account, account.mounted() as drive:
        await _in_album(drive)  # the cover, which stays
        await write(drive, "A/two.png", small_picture("two"))
        await drive.settle()
        await _listed(drive)
        image_id = await _id(drive, "A/two.png")
        await write(drive, "A/.new.part", OTHER)
        await drive.rename("A/.new.part", "A/two.png")
        await drive.settle()
        assert image_id not in (await _albums(drive))[""]
        picture = base64.b64encode(small_picture("theirs")).decode()
        fields = {"type": "base64", "title": "theirs", "album": await _id(drive, "A")}
        await _web(account, "POST", "/3/upload", image=picture, **fields)
        await _listed(drive)
        assert sorted(await drive.list("A")) == ["one.png", "theirs.png", "two.png"]
