"""What is removed on the drive: the guard, undo, and albums."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import control
from imgurfs.jobs import guard, queueing
from imgurfs.model import Lane
from imgurfs.store import notices, outbox
from tests.support.phases import ALBUMS, Phase, bytes_of, caught, drive, trouble
from tests.support.pictures import small_picture
from tests.support.placed import Placed, placed

PHASES = pytest.mark.parametrize("phase", Phase, ids=lambda one: one.name.lower())


async def write_album(d: Placed, title: str, count: int) -> None:
    """Make an album with images, on the drive and on Imgur."""
    await d.mkdir(title)
    for n in range(count):
        await d.write(f"{title}/{n}.png")
    await d.drain()


async def remove_album(d: Placed, title: str) -> None:
    """Do what rm -r does."""
    for name in d.names(title):
        await d.remove(f"{title}/{name}")
    await d.rmdir(title)


async def test_undo_gives_the_name_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: within the grace a deletion is called off, and the name is where it was."""
    async with drive(tmp_path) as d:
        await write_album(d, "A", 1)
        image = d.image("A/0.png")
        await d.remove("A/0.png")
        await d.drain()
        (undone,) = await d.db.write(lambda c: control.undo(c, now=d.there.clock.now()))
        assert undone.image_id == image
        assert undone.places == ((d.node("A").inode, "0.png"),)
        await d.drain(1_000)
        assert d.image("A/0.png") == image
        assert d.albums()["A"] == [image]


async def test_undo_in_an_album_that_is_gone_gives_a_name_in_the_root(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: an image is not lost because its album is."""
    async with drive(tmp_path) as d:
        await write_album(d, "A", 1)
        image, album = d.image("A/0.png"), d.album_id("A")
        await d.remove("A/0.png")
        await d.there.api.delete_album(album, Lane.INTERACTIVE)
        await d.refresh()
        await d.db.write(lambda c: control.undo(c, now=d.there.clock.now()))
        await d.drain(1_000)
        assert d.everything().keys() == {"0.png"}
        assert d.image("0.png") == image


async def test_a_whole_album_is_held_and_comes_back_with_everything(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S21: rm -r of an album is held until the user decides; no is a no for all of
    it.
    """
    async with drive(tmp_path) as d:
        await write_album(d, "A", 3)
        before = d.everything()
        await remove_album(d, "A")
        assert d.everything() == {}
        await d.drain(3_000, is_guarded=True)
        report = guard.report(d.db.reader)
        assert report is not None
        assert report.count == 3
        assert "the whole album 'A' (3)" in report.text
        assert "A/0.png" in report.samples
        assert len(d.albums()["A"]) == 3
        await d.db.write(lambda c: guard.reject(c, now=d.there.clock.now()))
        assert d.everything() == before
        await d.drain(1_000, is_guarded=True)
        assert len(d.albums()["A"]) == 3


async def test_a_whole_album_goes_when_the_user_says_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S21: approved, the images go first and then their album."""
    async with drive(tmp_path) as d:
        await write_album(d, "A", 3)
        await remove_album(d, "A")
        await d.drain(1_000, is_guarded=True)
        await d.db.write(guard.approve)
        d.mark()
        await d.drain(1_000, is_guarded=True)
        assert d.albums() == {}
        assert d.images() == []
        assert len(d.calls()) == 4
        assert d.calls()[-1].startswith("DELETE album/")


@pytest.mark.parametrize("grace_s", [0.1, 100.0])
async def test_a_removed_album_goes_right_after_its_last_image(
    tmp_path: Path, autojump_clock: MockClock, grace_s: float
) -> None:
    """W7: when the grace of its images is over, nothing else is waited for."""
    async with placed(tmp_path, delete_grace_s=grace_s) as d:
        await write_album(d, "A", 3)
        d.mark()
        await remove_album(d, "A")
        await d.drain(0.9 * grace_s)
        assert d.calls() == []
        await d.drain(20)
        assert d.albums() == {}
        assert [one.split("/")[0] for one in d.calls()] == [
            "DELETE image",
            "DELETE image",
            "DELETE image",
            "DELETE album",
        ]


async def test_some_of_an_album_is_nobodys_mistake(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S21: two of three images go without a question."""
    async with drive(tmp_path) as d:
        await write_album(d, "A", 3)
        await d.remove("A/0.png")
        await d.remove("A/1.png")
        await d.drain(1_000, is_guarded=True)
        assert len(d.images()) == 1


async def test_an_album_that_was_filled_meanwhile_is_shown_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: an album that is not empty on Imgur is not deleted, and the user learns
    why.
    """
    async with drive(tmp_path) as d:
        await d.account("A/", "x.png")
        album, image = d.album_id("A"), d.image("x.png")
        await d.there.api.add_to_album(album, [image], Lane.INTERACTIVE)
        await d.rmdir("A")
        assert d.names() == ["x.png"]
        await d.drain()
        await d.refresh()
        assert d.albums() == {"A": [image]}
        assert d.everything().keys() == {"A", "A/x.png"}
        (text,) = notices.everything(d.db.reader).values()
        assert "album 'A' was removed on the drive, but somebody" in text


async def test_an_album_that_images_just_left_is_empty(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: mv A/* . and rmdir A at once deletes the album and no image."""
    async with drive(tmp_path) as d:
        await write_album(d, "A", 2)
        await d.move("A/0.png", "0.png")
        await d.move("A/1.png", "1.png")
        await d.rmdir("A")
        await d.drain(600)
        assert d.albums() == {}
        assert d.names() == ["0.png", "1.png"]


@PHASES
async def test_files_wait_for_the_album_they_are_in(
    tmp_path: Path, autojump_clock: MockClock, phase: Phase
) -> None:
    """S11: what is copied into a new album goes into it, when it exists, and nowhere
    else; a name it got meanwhile is told.
    """
    async with drive(tmp_path) as d:
        await d.mkdir("A")
        await d.write("A/x.png")
        async with caught(d, phase, kind=queueing.CREATE_ALBUM):
            await d.write("A/y.png")
            await d.move("A", "B")
        assert d.albums().keys() == {"B"}
        assert set(d.albums()["B"]) == {d.image("B/x.png"), d.image("B/y.png")}
        assert not any(one.endswith("/add") for one in d.calls())
        texts = [one for one in d.calls() if one.startswith("PUT album")]
        assert len(texts) == (0 if phase is Phase.QUEUED else 1)


@PHASES
async def test_an_album_removed_while_it_is_created_is_deleted(
    tmp_path: Path, autojump_clock: MockClock, phase: Phase
) -> None:
    """S11: mkdir and rmdir leave nothing, whenever the answer comes."""
    async with drive(tmp_path) as d:
        await d.mkdir("A")
        async with caught(d, phase, kind=queueing.CREATE_ALBUM):
            await d.rmdir("A")
        assert d.albums() == {}
        assert d.everything() == {}


async def test_mkdir_adopts_no_other_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S11: after a lost answer an older album of the same title is not taken for the
    one that was made.
    """
    async with drive(tmp_path) as d:
        for _ in range(2):
            await d.there.api.create_album(title="A", images=(), lane=Lane.INTERACTIVE)
        await trio.sleep(10)
        await d.refresh()
        await d.move("A", "B")
        await d.drain()
        others = set(d.names())
        trouble(d, {"action": "reset_before", "nth": 1, **ALBUMS})
        await d.mkdir("A")
        await d.drain(3_000)
        assert set(d.names()) == {*others, "A"}
        assert len({d.album_id(name) for name in d.names()}) == 3


async def test_an_album_imgur_refuses_stays_here_and_its_files_go_without(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: when an album cannot be created its images are uploaded without it, and
    the user learns why.
    """
    async with placed(tmp_path) as d:
        refusal = {"action": "status", "status": 400, "message": "no albums today"}
        trouble(d, {**refusal, **ALBUMS})
        await d.mkdir("A")
        await d.write("A/x.png")
        await d.drain(600)
        assert [one.id for one in d.images()] == [d.image("A/x.png")]
        (text,) = notices.everything(d.db.reader).values()
        assert "no albums today" in text
        trouble(d)
        (dead,) = outbox.recent(d.db.reader, outbox.JobState.DEAD, 5)
        await d.db.write(lambda c: control.retry(c, dead.id, now=d.there.clock.now()))
        await d.drain(600)
        assert d.albums() == {"A": [d.image("A/x.png")]}
        assert notices.everything(d.db.reader) == {}


async def test_an_album_deleted_elsewhere_while_files_are_written_into_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: the bytes are kept and uploaded without the album, and it is reported."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        album = d.album_id("A")
        await d.write("A/x.png")
        await d.there.api.delete_album(album, Lane.INTERACTIVE)
        await d.drain(600)
        assert d.everything().keys() == {"x.png"}
        assert [one.id for one in d.images()] == [d.image("x.png")]
        (text,) = notices.everything(d.db.reader).values()
        assert "album 'A' was deleted on Imgur while" in text
        assert bytes_of(d, d.image("x.png")) == small_picture("A/x.png")


async def test_an_album_found_to_be_deleted_leaves_what_was_written_into_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: the same when a listing tells of it before anything is sent."""
    async with drive(tmp_path) as d:
        await d.account("A/", "y.png")
        await d.write("A/y.png", small_picture("mine"))
        await d.there.api.delete_album(d.album_id("A"), Lane.INTERACTIVE)
        await d.refresh()
        assert d.names() == ["y (2).png", "y.png"]
        await d.drain(600)
        assert bytes_of(d, d.image("y (2).png")) == small_picture("mine")
        (text,) = notices.everything(d.db.reader).values()
        assert "they are in the root now" in text
