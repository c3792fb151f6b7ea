"""A deletion on a drive that does not know all of the account yet."""

from __future__ import annotations

from pathlib import Path

from trio.testing import MockClock

from tests.support.drives import write
from tests.support.inside import Inside, an_account
from tests.support.pictures import small_picture


async def test_an_album_that_was_never_listed_keeps_its_image(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: what looked like the last name was not: the image is kept and shown again."""
    async with an_account(tmp_path / "one") as account:
        async with account.mounted() as drive:
            await drive.list("")
            await drive.mkdir("One")
            await drive.mkdir("Two")
            await write(drive, "One/a.png", small_picture("a"))
            await drive.settle()
            await drive.link("One/a.png", "Two/a.png")
            await drive.settle()
            image_id = (await drive.xattr("One/a.png", "user.imgur.id")).decode()
            two_id = (await drive.xattr("Two", "user.imgur.id")).decode()
            hidden = {"host": "api", "path": two_id, "action": "reset_before"}
            await drive.imgur.fail(hidden)
        (tmp_path / "other").mkdir()
        other = Inside(tmp_path / "other", account.world, account.http)
        async with other.mounted() as drive:
            await drive.list("")
            assert await drive.list("One") == ["a.png"]
            assert (await drive.stat("One/a.png")).links == 1
            await drive.unlink("One/a.png")
            await drive.imgur.fail()
            await drive.settle()
            state = await drive.imgur.state()
            assert image_id in [image["id"] for image in state["images"]]
            assert await drive.list("Two") == ["a.png"]
            (two,) = (one for one in state["albums"] if one["title"] == "Two")
            assert two["images"] == [image_id]
