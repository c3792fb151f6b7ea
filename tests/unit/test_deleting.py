"""Deleting through the drive, as far as the account: grace, undo, guard, lag."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from imgurfs import control
from imgurfs.emulator.trouble.faultrules import parse_rules
from imgurfs.jobs import guard
from imgurfs.store import notices
from tests.support.pictures import small_picture
from tests.support.placed import LONG_S, Placed, kinds, placed

#: What is in the account before.
BEFORE = ("A/x.png", "A/y.png", "B/z.png")


async def test_a_deletion_can_be_undone_until_it_is_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: undo gives the name back, the same file, and nothing was asked for."""
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        inode, image = d.node("A/x.png").inode, d.image("A/x.png")
        await d.remove("A/x.png")
        await d.drain(300)
        assert d.calls() == []
        (undone,) = await d.db.write(lambda c: control.undo(c, now=d.there.clock.now()))
        assert undone.image_id == image
        assert d.node("A/x.png").inode == inode
        await d.drain(LONG_S)
        assert d.calls() == []
        await d.refresh()
        assert d.names("A") == ["x.png", "y.png"]
        assert image in d.albums()["A"]


async def test_what_was_written_to_a_file_that_was_deleted_comes_back_with_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: undo of a file with changes that were never sent gives those back as well."""
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        await d.overwrite("A/x.png", small_picture("new"))
        await d.remove("A/x.png")
        assert d.kinds() == ["delete_image"]
        await d.db.write(lambda c: control.undo(c, now=d.there.clock.now()))
        assert await d.read("A/x.png") == small_picture("new")
        await d.drain(LONG_S)
        assert kinds(d) == ["POST upload", "DELETE image"]


async def remove_album(d: Placed, path: str) -> None:
    """Do what rm -r does."""
    for name in d.names(path):
        await d.remove(f"{path}/{name}")
    await d.rmdir(path)


async def test_many_deletions_are_held_until_the_user_decides(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: rm -r of an album of 12 is held, and all of it back when that is rejected."""
    async with placed(tmp_path) as d:
        names = [f"{n:02}.png" for n in range(12)]
        await d.account(*(f"A/{name}" for name in names), "B/z.png")
        inode = d.node("A").inode
        await remove_album(d, "A")
        assert d.names() == ["B"]
        await d.drain(LONG_S, is_guarded=True)
        assert d.calls() == []
        report = guard.report(d.db.reader)
        assert report is not None
        assert report.count == 12
        await d.db.write(lambda c: guard.reject(c, now=d.there.clock.now()))
        assert d.names("A") == names
        assert d.node("A").inode == inode
        await d.drain(LONG_S, is_guarded=True)
        assert d.calls() == []
        assert len(d.albums()["A"]) == 12
        assert d.jobs() == []
        await d.refresh()
        assert d.names("A") == names


async def test_approved_deletions_take_the_album_along(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6, W7: rm -r that was approved leaves neither images nor album."""
    async with placed(tmp_path) as d:
        names = [f"{n:02}.png" for n in range(12)]
        await d.account(*(f"A/{name}" for name in names), "B/z.png")
        await remove_album(d, "A")
        await d.drain(LONG_S, is_guarded=True)
        await d.db.write(guard.approve)
        await d.drain(LONG_S, is_guarded=True)
        assert set(d.albums()) == {"B"}
        assert len(d.images()) == 1
        assert sorted(kinds(d)) == ["DELETE album"] + ["DELETE image"] * 12
        await d.refresh()
        assert d.names() == ["B"]


async def test_a_listing_that_lags_keeps_no_removed_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7, W31: images that a listing still shows after their deletion do not count."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/z.png")
        lag = {"action": "lag", "host": "api", "lag_s": 2.9}
        d.there.emulator.faults.replace(parse_rules([lag], source="test"))
        await d.remove("A/x.png")
        # So that the album is looked at again a second after the image is deleted.
        await trio.sleep(1)
        await d.rmdir("A")
        await d.drain(2 * LONG_S)
        assert sorted(kinds(d)) == ["DELETE album", "DELETE image"]
        assert d.names() == ["B"]
        assert notices.everything(d.db.reader) == {}
