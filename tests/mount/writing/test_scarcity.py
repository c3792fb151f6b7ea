"""What a drive shows while Imgur gives nothing for hours, in virtual time."""

from __future__ import annotations

import math
from pathlib import Path

import trio
from trio.testing import MockClock

from imgurfs.model import Lane
from tests.support.drives import write
from tests.support.inside import in_process
from tests.support.pictures import small_picture

#: More than an hour's worth of uploads, whatever limit is met first.
_COUNT = 120


async def test_writing_goes_on_when_the_budget_is_spent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W32: files are taken while nothing can be sent, and go when there is budget."""
    async with in_process(tmp_path) as drive:
        before = len((await drive.imgur.state())["images"])
        for number in range(_COUNT):
            await write(drive, f"Cats/{number}.png", small_picture(f"cat {number}"))
        with trio.move_on_after(1800):
            await drive.make_drainer().run()
        sent = len((await drive.imgur.state())["images"]) - before
        assert 0 < sent < _COUNT
        await write(drive, "late.png", small_picture("late"))
        assert await drive.xattr("late.png", "user.imgurfs.state") == b"waiting"
        began_at = drive.world.clock.now()
        await drive.make_drainer().run_until_idle(patience_s=math.inf)
        assert drive.world.clock.now() - began_at > 3600
        images = (await drive.imgur.state())["images"]
        assert len(images) == before + _COUNT + 1
        assert await drive.xattr("late.png", "user.imgurfs.state") == b"uploaded"
        assert set((await drive.imgur.counters())["api_statuses"]) == {"200"}


async def test_writing_goes_on_without_a_network(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W32: a new album and its file wait until Imgur can be reached again."""
    async with in_process(tmp_path) as drive:
        await drive.imgur.fail({"host": "api", "path": "", "action": "reset_before"})
        await drive.mkdir("New")
        await write(drive, "New/a.png", small_picture("alone"))
        with trio.move_on_after(600):
            await drive.make_drainer().run()
        assert await drive.xattr("New/a.png", "user.imgurfs.state") == b"waiting"
        await drive.imgur.fail()
        await drive.settle()
        state = await drive.imgur.state()
        (album,) = (one for one in state["albums"] if one["title"] == "New")
        assert len(album["images"]) == 1


async def test_a_lost_answer_shows_no_second_file(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W1, S10: while nobody knows whether an upload happened, a listing that has its
    image adds no name; later the file is that image.
    """
    async with in_process(tmp_path) as drive:
        await drive.mounted.refresher.refresh_all(Lane.CONTROL)
        before = len((await drive.imgur.state())["images"])
        await write(drive, "Cats/a.png", small_picture("harbour"))
        names = await drive.list("Cats")
        upload = {"host": "api", "method": "POST", "path": "^/3/(image|upload)$"}
        await drive.imgur.fail({"action": "reset_after", "nth": 1, **upload})
        with trio.move_on_after(60):
            await drive.make_drainer().run()
        assert len((await drive.imgur.state())["images"]) == before + 1
        await drive.mounted.refresher.refresh_all(Lane.CONTROL)
        assert await drive.list("Cats") == names
        assert await drive.xattr("Cats/a.png", "user.imgurfs.state") == b"waiting"
        await drive.settle()
        await drive.mounted.refresher.refresh_all(Lane.CONTROL)
        assert await drive.list("Cats") == names
        assert await drive.xattr("Cats/a.png", "user.imgurfs.state") == b"uploaded"
        assert len((await drive.imgur.state())["images"]) == before + 1
