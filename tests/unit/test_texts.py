"""Titles and descriptions that are set on the drive, and by renaming."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import control
from imgurfs.config import MountConfig
from imgurfs.errors import NotFoundError
from imgurfs.jobs import queueing
from imgurfs.jobs.payloads import UpdateAlbumPayload, UpdateImagePayload
from imgurfs.model import Image, Inode, Lane
from imgurfs.tree import naming
from tests.support.pictures import small_picture
from tests.support.placed import LONG_S, Placed, placed


def image(drive: Placed, path: str) -> Image:
    """Return an image."""
    found = drive.node(path).image
    assert found is not None
    return found


def updates(drive: Placed) -> list[UpdateImagePayload]:
    """Return the titles that wait to be set."""
    return [
        queueing.decode(job, UpdateImagePayload)
        for job in drive.jobs()
        if job.kind == queueing.UPDATE_IMAGE
    ]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("y.jpg", "y"),
        ("y.png", "y"),
        ("Tour 12.30", "Tour 12.30"),
        ("y.JPEG", "y"),
        ("archive.tar", "archive.tar"),
        ("a.b.gif", "a.b"),
        ("noextension", "noextension"),
    ],
)
def test_the_title_is_the_name_without_a_media_extension(name: str, title: str) -> None:
    """W5: what visitors see is what was typed, without the file's type."""
    assert naming.title_of(name) == title


async def test_a_rename_in_its_place_sets_the_title(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W5: one job; the name that was typed stays, whatever the type is."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        await d.move("A/x.png", "A/Sunset.jpg")
        (update,) = updates(d)
        assert (update.title, update.description) == ("Sunset", None)
        await d.refresh()
        assert d.names("A") == ["Sunset.jpg"]
        assert image(d, "A/Sunset.jpg").title == "Sunset"


async def test_the_last_title_counts(tmp_path: Path, autojump_clock: MockClock) -> None:
    """W10: several renames that wait are one title."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        await d.move("A/x.png", "A/y.png")
        await d.move("A/y.png", "A/z.png")
        (update,) = updates(d)
        assert update.title == "z"


@pytest.mark.parametrize(
    ("old", "new"),
    [("x.png", "x.jpg"), ("x.png", "x.png~"), ("x.png~", "y.png")],
)
async def test_some_renames_are_nobody_elses_business(
    tmp_path: Path, autojump_clock: MockClock, old: str, new: str
) -> None:
    """W5: another extension, and names that only a program gives, set no title."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        if old != "x.png":
            await d.move("A/x.png", f"A/{old}")
        await d.move(f"A/{old}", f"A/{new}")
        assert d.names("A") == [new]
        assert updates(d) == []


async def test_with_local_names_nothing_is_set(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W5: rename = "local" keeps the name on this machine, through listings."""
    async with placed(tmp_path, MountConfig(rename="local")) as d:
        await d.account("A/x.png")
        await d.move("A/x.png", "A/y.png")
        assert d.jobs() == []
        await d.refresh()
        assert d.names("A") == ["y.png"]


async def test_a_name_in_one_album_leaves_the_other_one_alone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W5: an image that has another name in each album has one title."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        await d.link("A/x.png", "B/x.png")
        await d.move("A/x.png", "A/y.png")
        await d.refresh()
        assert (d.names("A"), d.names("B")) == (["y.png"], ["x.png"])


async def test_texts_are_set_for_themselves(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W9: title and description of a file; its name stays, and they are one job."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        inode = d.node("A/x.png").inode
        await d.places.set_text(inode, title="At sea")
        await d.places.set_text(inode, description="A boat")
        assert image(d, "A/x.png").title == "At sea"
        assert image(d, "A/x.png").description == "A boat"
        (update,) = updates(d)
        assert (update.title, update.description) == ("At sea", "A boat")
        await d.refresh()
        assert image(d, "A/x.png").description == "A boat"
        assert d.names("A") == ["x.png"]


async def test_what_it_has_already_is_not_set(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W9: the same text again costs nothing; an empty one takes it away."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        inode = d.node("A/x.png").inode
        await d.places.set_text(inode, title="", description="")
        assert d.jobs() == []
        await d.places.set_text(inode, title="At sea")
        await d.places.set_text(inode, title="")
        assert image(d, "A/x.png").title == ""


async def test_an_albums_texts(tmp_path: Path, autojump_clock: MockClock) -> None:
    """W9: title and description of an album; the directory keeps its name."""
    async with placed(tmp_path) as d:
        await d.account("A/")
        await d.places.set_text(d.node("A").inode, title="Sea", description="Boats")
        (job,) = d.jobs()
        payload = queueing.decode(job, UpdateAlbumPayload)
        assert (payload.title, payload.description) == ("Sea", "Boats")
        await d.refresh()
        assert d.names() == ["A"]


@pytest.mark.parametrize("kind", [queueing.DELETE_ALBUM, queueing.DELETE_IMAGE])
async def test_an_album_that_comes_back_is_called_what_it_was(
    tmp_path: Path, autojump_clock: MockClock, kind: str
) -> None:
    """W7: a directory was renamed and removed, and its removal or that of its picture
    called off: it has its new title on the drive and on Imgur.
    """
    async with placed(tmp_path) as d:
        await d.account("old/x.png")
        await d.places.set_text(d.node("old").inode, description="Boats")
        await d.move("old", "new")
        await d.remove("new/x.png")
        await d.rmdir("new")
        # The title is not sent for an album that is about to be deleted.
        await d.drain(300)
        assert set(d.albums()) == {"old"}
        assert queueing.UPDATE_ALBUM not in d.kinds()
        (job,) = (job for job in d.jobs() if job.kind == kind)
        now = d.there.clock.now()
        await d.db.write(lambda c: control.cancel(c, job.id, now=now))
        assert d.names() == ["new"]
        await d.drain(200)
        await d.refresh()
        album = d.node("new").album
        assert album is not None
        assert (album.title, album.description) == ("new", "Boats")
        assert set(d.albums()) == {"new"}


async def test_an_album_that_is_not_empty_is_called_what_it_was(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: a directory was renamed and removed, and comes back because somebody has put
    an image into its album: it has its new title.
    """
    async with placed(tmp_path) as d:
        await d.account("old/x.png", "other.png")
        album, other = d.album_id("old"), d.image("other.png")
        await d.move("old", "new")
        await d.remove("new/x.png")
        await d.rmdir("new")
        await d.there.api.add_to_album(album, [other], Lane.FRESH)
        await d.drain(3 * LONG_S)
        await d.refresh()
        assert d.names("new") == ["other.png"]
        assert d.albums() == {"new": [other]}


async def test_a_file_that_is_not_uploaded_takes_its_texts_along(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W9: there is nothing to update yet; what was set goes with the upload."""
    async with placed(tmp_path) as d:
        inode = await d.write("x.png", small_picture("x"))
        await d.places.set_text(inode, title="At sea", description="A boat")
        assert d.kinds() == ["upload"]
        assert image(d, "x.png").title == "At sea"


async def test_nothing_has_no_title(tmp_path: Path, autojump_clock: MockClock) -> None:
    """W9: an inode that is gone is told so."""
    async with placed(tmp_path) as d:
        with pytest.raises(NotFoundError):
            await d.places.set_text(Inode(9_999), title="x")
