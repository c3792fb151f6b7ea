"""Memberships in albums: the fewest calls, in the right order, believed when seen."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.errors import ImgurfsError, OutageError, RejectedError
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import UpdateAlbumPayload
from imgurfs.model import Album, AlbumId, ImageId
from imgurfs.store import entries, membership, notices, synced
from imgurfs.store.database import Connection
from imgurfs.tree import changes
from tests.support.jobbing import EPOCH_S, Bench, bench, drain_for


async def two_albums(b: Bench, images: int = 2) -> tuple[AlbumId, AlbumId]:
    """Upload images into album x, and make an album y with one more."""
    for n in range(images):
        b.write_file(f"x/{n}.gif")
        await b.queue(f"x/{n}.gif")
    b.write_file("y/y.gif")
    await b.queue("y/y.gif")
    await b.drainer().run_until_idle()
    by_title = {title: album for album, title in b.imgur.titles.items()}
    b.imgur.calls.clear()
    return by_title["x"], by_title["y"]


async def move(b: Bench, image: ImageId, source: AlbumId, target: AlbumId) -> None:
    """Ask for an image to be in another album."""
    now = b.clock.now()

    def write(c: object) -> None:
        w = b.db._writer
        membership.want(w, target, image, now=now)
        membership.unwant(w, source, image, now=now)
        queueing.queue_members(w, source, now=now)
        queueing.queue_members(w, target, now=now)

    await b.db.write(write)


async def test_moves_coalesce(tmp_path: Path, autojump_clock: MockClock) -> None:
    """S14: many moves are one call for each album; there and back again is none."""
    async with bench(tmp_path) as b:
        x, y = await two_albums(b, images=20)
        for image in list(b.imgur.albums[x]):
            await move(b, image, x, y)
        await drain_for(b, 30)
        assert sorted(b.imgur.calls) == [f"add 20 {y}", f"remove 20 {x}"]
        assert b.imgur.calls[0].startswith("add")
        b.imgur.calls.clear()
        image = b.imgur.albums[y][0]
        await move(b, image, y, x)
        await move(b, image, x, y)
        await drain_for(b, 30)
        assert b.imgur.calls == []


async def emptied_but_one(b: Bench) -> AlbumId:
    """Ask for all images but one of an album that is full of them to leave it."""
    album, now = Album(AlbumId("one"), "one", int(EPOCH_S)), b.clock.now()
    images = [ImageId(f"image{n}") for n in range(2 * limits.ALBUM_CALL_IMAGES_MAX + 2)]
    b.imgur.albums[album.id] = list(images)

    def write(c: Connection) -> None:
        changes.album_created(c, album, images=[], now=now)
        membership.there(c, album.id, images, now=now - limits.LISTING_LAG_S)
        for image in images[1:]:
            membership.unwant(c, album.id, image, now=now)
        queueing.queue_members(c, album.id, now=now)

    await b.db.write(write)
    return album.id


async def test_one_call_instead_of_many(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S14: When an album holds nothing but ours, one call can replace it as a whole."""
    async with bench(tmp_path) as b:
        one = await emptied_but_one(b)
        await drain_for(b, 30)
        assert b.imgur.calls == [f"set 1 {one}"]
        assert b.imgur.albums[one] == ["image0"]


async def test_what_others_have_just_put_in_stays(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S8: However lately an album was listed, no call throws out what somebody else has
    put into it since.
    """
    async with bench(tmp_path) as b:
        x, y = await two_albums(b)
        goes, comes = b.imgur.albums[x][0], b.imgur.albums[y][0]
        await drain_for(b, 30)
        node = entries.node_of_album(b.db.reader, x)
        assert node is not None
        inode, now = node.inode, b.clock.now()
        await b.db.write(lambda c: entries.set_listed(c, inode, listed_at=now))
        b.imgur.albums[x].append(ImageId("theirs"))
        await b.db.write(lambda c: membership.unwant(c, x, goes, now=now))
        await b.db.write(lambda c: membership.want(c, x, comes, now=now))
        await b.db.write(lambda c: synced.forget_file(c, b.folder.id, b"x/0.gif", goes))
        await b.db.write(lambda c: queueing.queue_members(c, x, now=now))
        await drain_for(b, 30)
        assert "theirs" in b.imgur.albums[x]
        assert comes in b.imgur.albums[x]
        assert goes not in b.imgur.albums[x]


async def test_an_album_that_others_use_is_not_replaced(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S8: Imgur is asked just before an album is replaced as a whole, and what is not
    ours keeps that from happening.
    """
    async with bench(tmp_path) as b:
        one = await emptied_but_one(b)
        b.imgur.albums[one].append(ImageId("theirs"))
        await drain_for(b, 30)
        assert b.imgur.albums[one] == ["image0", "theirs"]
        assert [call.split()[0] for call in b.imgur.calls] == ["remove"] * 3


@pytest.mark.parametrize("error", [OutageError("500"), RejectedError("400")])
async def test_an_album_that_cannot_be_read_is_changed_all_the_same(
    tmp_path: Path, autojump_clock: MockClock, error: ImgurfsError
) -> None:
    """S14: Some albums cannot be listed for days; taking images out needs no list."""
    async with bench(tmp_path) as b:
        one = await emptied_but_one(b)

        async def images_in(album_id: AlbumId) -> list[ImageId]:
            raise error

        b.albums.images_in = images_in  # type: ignore[method-assign]
        await drain_for(b, 30)
        assert b.imgur.albums[one] == ["image0"]
        assert [call.split()[0] for call in b.imgur.calls] == ["remove"] * 3


async def test_what_has_come_while_an_album_was_read_stays(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S16: A picture that arrives in the album after it was read for certain is not
    thrown out by the call that rests on that.
    """
    async with bench(tmp_path) as b:
        one = await emptied_but_one(b)
        read = b.albums.images_in

        async def images_in(album_id: AlbumId) -> list[ImageId]:
            inside = await read(album_id)
            late = ImageId("late")
            if late not in inside:
                b.imgur.albums[one].append(late)
                now = b.clock.now()
                await b.db.write(lambda c: membership.there(c, one, [late], now=now))
            return inside

        b.albums.images_in = images_in  # type: ignore[method-assign]
        await drain_for(b, 30)
        assert b.imgur.albums[one] == ["image0", "late"]
        assert len(b.imgur.calls) == 3


async def test_an_image_is_never_in_no_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S15: while adding fails nothing is removed."""
    async with bench(tmp_path) as b:
        x, y = await two_albums(b)
        image = b.imgur.albums[x][0]
        await move(b, image, x, y)
        b.imgur.failures = [OutageError("500")] * 3
        await drain_for(b, 120)
        assert b.imgur.calls == [f"add 1 {y}"] * 4 + [f"remove 1 {x}"]


async def test_a_membership_counts_when_a_listing_shows_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S16: when Imgur says yes and does nothing it is asked again, then the user is
    told.
    """
    async with bench(tmp_path) as b:
        x, y = await two_albums(b)
        b.imgur.is_lying = True
        image = b.imgur.albums[x][0]
        await b.db.write(lambda c: membership.want(c, y, image, now=b.clock.now()))
        await b.db.write(lambda c: queueing.queue_members(c, y, now=b.clock.now()))
        await drain_for(b, 300)
        assert b.imgur.calls == [f"add 1 {y}"] * 3
        (text,) = notices.everything(b.db.reader).values()
        assert "does not put into" in text
        assert membership.one(b.db.reader, y, image) is None


async def test_what_somebody_took_out_stays_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S8, S16: A membership that was seen once and is gone was ended on Imgur:
    reported.
    """
    async with bench(tmp_path) as b:
        x, _ = await two_albums(b)
        await drain_for(b, 30)
        b.imgur.albums[x].pop()
        await b.db.write(lambda c: queueing.queue_verify(c, x, now=b.clock.now()))
        await drain_for(b, 60)
        assert len(b.imgur.albums[x]) == 1
        assert b.imgur.calls == []
        (text,) = notices.everything(b.db.reader).values()
        assert "taken out" in text


@pytest.mark.parametrize("count", [1, 3])
async def test_a_title_is_given_once(
    tmp_path: Path, autojump_clock: MockClock, count: int
) -> None:
    """Several new titles of one album are one call with the last."""
    async with bench(tmp_path) as b:
        album = Album(AlbumId("one"), "old", int(EPOCH_S))
        b.imgur.titles[album.id] = "old"
        await b.db.write(
            lambda c: changes.album_created(c, album, images=[], now=EPOCH_S)
        )
        for n in range(count):
            payload = UpdateAlbumPayload(album.id, f"new {n}")
            ask = functools.partial(
                queueing.queue_update_album, payload=payload, now=EPOCH_S
            )
            await b.db.write(ask)
        await drain_for(b, 30)
        assert b.imgur.calls == [f"title new {count - 1} one"]
        assert entries.albums_by_title(b.db.reader, f"new {count - 1}")
