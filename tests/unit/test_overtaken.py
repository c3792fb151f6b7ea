"""What is found out about a job may be overtaken before it is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.jobs import drive, placing, queueing, settle
from imgurfs.jobs.queueing import UpdateAlbumPayload, UpdateImagePayload
from imgurfs.model import Album, AlbumId, ImageId, Inode
from imgurfs.store import edits, entries, membership, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.synced import SyncedFile
from imgurfs.tree import changes
from tests.support.jobbing import EPOCH_S, Bench, bench, drain_for

#: More steps than an attempt of one job has.
_STEPS_MAX = 100
#: Long enough for calls, listings that lag and what is then asked for again.
_AFTERWARDS_S = 60.0


@dataclass(eq=False)
class _After(trio.abc.Instrument):
    """Does something once, when tasks have run so many times."""

    steps: int
    act: Callable[[], None]

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count; nothing else runs before this returns."""
        del task
        self.steps -= 1
        if self.steps == 0:
            trio.lowlevel.remove_instrument(self)
            self.act()


async def at_every_step(
    tmp_path: Path,
    *,
    begin: Callable[[Bench], Awaitable[None]],
    meanwhile: Callable[[Bench, Connection], None],
    is_right: Callable[[Bench], bool],
) -> None:
    """Let something be written after each step of an attempt, each time anew.

    ``begin`` queues one job that is due; the attempt is over when it was sent or is
    settled.
    """
    for steps in range(1, _STEPS_MAX):
        directory = tmp_path / str(steps)
        directory.mkdir()
        async with bench(directory) as b:
            await begin(b)
            b.imgur.calls.clear()
            is_in_time = await _drain_and_write(b, steps, meanwhile)
            assert is_right(b), f"{steps}: {b.imgur.calls} {b.states()}"
            assert outbox.unfinished(b.db.reader) == [], steps
        if not is_in_time:
            assert steps > 2, "an attempt has more steps than that"
            return
    pytest.fail("an attempt has fewer steps than that")


async def _drain_and_write(
    b: Bench, steps: int, meanwhile: Callable[[Bench, Connection], None]
) -> bool:
    """Let a drainer work; return whether its job was not over when that was written."""
    (job,) = outbox.unfinished(b.db.reader)
    in_time: list[bool] = []

    def act() -> None:
        is_open = job.id in [one.id for one in outbox.unfinished(b.db.reader)]
        b.db.write_blocking(lambda c: meanwhile(b, c))
        in_time.append(is_open and not b.imgur.calls)

    trio.lowlevel.add_instrument(_After(steps, act))
    await drain_for(b, _AFTERWARDS_S)
    (is_in_time,) = in_time
    return is_in_time


async def send(b: Bench, *paths: str) -> None:
    """Upload files, and wait until their albums were checked."""
    for path in paths:
        b.write_file(path)
        await b.queue(path)
    await drain_for(b, _AFTERWARDS_S)
    assert outbox.unfinished(b.db.reader) == []


def image_of(b: Bench, path: str) -> ImageId:
    """Return the image of an uploaded file."""
    return file(b, path).image_id


def file(b: Bench, path: str) -> SyncedFile:
    """Return what is known of an uploaded file."""
    found = synced.file(b.db.reader, b.folder.id, path.encode())
    assert found is not None
    return found


# --- Titles ----------------------------------------------------------------------


async def test_a_title_given_while_another_is_about_to_be_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W10: At whatever moment an image gets its second title, that is the one that
    stays, and a description that comes with it is sent as well.
    """

    def name(b: Bench, c: Connection, title: str, description: str | None) -> None:
        texts = UpdateImagePayload(
            image_of(b, "a.gif"), title=title, description=description
        )
        queueing.queue_update_image(c, texts, now=b.clock.now())

    async def begin(b: Bench) -> None:
        await send(b, "a.gif")
        await b.db.write(lambda c: name(b, c, "one", None))

    def is_right(b: Bench) -> bool:
        image = b.imgur.images[image_of(b, "a.gif")]
        return (image.title, image.description) == ("two", "by the sea")

    await at_every_step(
        tmp_path,
        begin=begin,
        meanwhile=lambda b, c: name(b, c, "two", "by the sea"),
        is_right=is_right,
    )


async def test_a_title_given_while_another_proves_needless(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An album that is called so already is still called what somebody says next."""
    album = Album(AlbumId("one"), "old", int(EPOCH_S))

    def name(b: Bench, c: Connection, title: str) -> None:
        texts = UpdateAlbumPayload(album.id, title)
        queueing.queue_update_album(c, texts, now=b.clock.now())

    async def begin(b: Bench) -> None:
        b.imgur.titles[album.id] = album.title
        await b.db.write(
            lambda c: changes.album_created(c, album, images=[], now=EPOCH_S)
        )
        await b.db.write(lambda c: name(b, c, "old"))

    await at_every_step(
        tmp_path,
        begin=begin,
        meanwhile=lambda b, c: name(b, c, "new"),
        is_right=lambda b: b.imgur.titles[album.id] == "new",
    )


async def test_an_image_comes_back_while_its_title_proves_needless(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W9: The title of an image whose deletion is called off, at whatever moment, is
    set after all.
    """

    def inode_of(b: Bench, c: Connection) -> Inode:
        node = entries.node_of_image(c, image_of(b, "a.gif"))
        assert node is not None
        return node.inode

    def begin_to_delete(b: Bench, c: Connection) -> None:
        inode = inode_of(b, c)
        edits.hold_title(c, inode, title="sea", until=edits.PENDING)
        texts = UpdateImagePayload(image_of(b, "a.gif"), title="sea")
        queueing.queue_update_image(c, texts, now=b.clock.now())
        edits.hide_image(c, inode)

    async def begin(b: Bench) -> None:
        await send(b, "a.gif")
        await b.db.write(lambda c: begin_to_delete(b, c))

    def meanwhile(b: Bench, c: Connection) -> None:
        drive.restore(c, image_of(b, "a.gif"), (), now=b.clock.now())

    await at_every_step(
        tmp_path,
        begin=begin,
        meanwhile=meanwhile,
        is_right=lambda b: b.imgur.images[image_of(b, "a.gif")].title == "sea",
    )


# --- Albums ----------------------------------------------------------------------


def _place(b: Bench, c: Connection, directory: str, image: ImageId) -> None:
    """Do what a look does when a file was moved into a directory."""
    name, now = directory.encode(), b.clock.now()
    placing.place(c, b.folder.id, name, directory, image, now=now)


def _displace_x(b: Bench, c: Connection) -> None:
    """Do what a look does when x.gif was moved out of the directory d."""
    image, now = image_of(b, "x.gif"), b.clock.now()
    placing.displace(c, b.folder.id, b"d", image, now=now)


def album_of(b: Bench, title: str) -> AlbumId:
    """Return the album of a title on Imgur."""
    (found,) = [one for one, name in b.imgur.titles.items() if name == title]
    return found


def held(b: Bench, title: str) -> list[ImageId]:
    """Return what the album of a title holds on Imgur."""
    return b.imgur.albums[album_of(b, title)]


async def test_an_image_leaves_while_it_is_about_to_be_added(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S5: At whatever moment a file is moved out again, its image is not left in the
    album it was moved into.
    """

    async def begin(b: Bench) -> None:
        await send(b, "d/a.gif", "x.gif")
        await b.db.write(lambda c: _place(b, c, "d", image_of(b, "x.gif")))
        await trio.sleep(limits.ALBUM_QUIET_S)

    await at_every_step(
        tmp_path,
        begin=begin,
        meanwhile=_displace_x,
        is_right=lambda b: held(b, "d") == [image_of(b, "d/a.gif")],
    )


async def test_a_wish_arrives_while_an_album_proves_to_be_right(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S14: There and back is nothing, but an image that is moved there once more, at
    whatever moment, is put into the album.
    """

    async def begin(b: Bench) -> None:
        await send(b, "d/a.gif", "x.gif")
        await b.db.write(lambda c: _place(b, c, "d", image_of(b, "x.gif")))
        await b.db.write(lambda c: _displace_x(b, c))
        await trio.sleep(limits.ALBUM_QUIET_S)

    await at_every_step(
        tmp_path,
        begin=begin,
        meanwhile=lambda b, c: _place(b, c, "d", image_of(b, "x.gif")),
        is_right=lambda b: image_of(b, "x.gif") in held(b, "d"),
    )


async def test_a_file_arrives_while_its_album_proves_needless(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S11: At whatever moment a file is moved into a directory whose last file has
    left, there will be an album that holds its image.
    """

    async def begin(b: Bench) -> None:
        await send(b, "x.gif")
        await b.db.write(lambda c: _place(b, c, "d", ImageId("another")))

    def meanwhile(b: Bench, c: Connection) -> None:
        moved = replace(file(b, "x.gif"), path=b"d/x.gif", directory=b"d")
        settle.bind_file(c, b.folder.id, moved, title="d", now=b.clock.now())

    await at_every_step(
        tmp_path,
        begin=begin,
        meanwhile=meanwhile,
        is_right=lambda b: held(b, "d") == [image_of(b, "x.gif")],
    )


async def test_a_change_is_made_while_there_is_nothing_to_check(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S16: What a call did is looked for in a listing, also if the check of the album
    was about to end because nothing of ours was in it.
    """

    async def begin(b: Bench) -> None:
        await send(b, "d/a.gif")
        await b.db.write(lambda c: membership.drop_album(c, album_of(b, "d")))
        await b.db.write(lambda c: _changed(b, c))
        await trio.sleep(limits.LISTING_LAG_S)

    def _changed(b: Bench, c: Connection) -> None:
        queueing.queue_verify(c, album_of(b, "d"), now=b.clock.now())

    def meanwhile(b: Bench, c: Connection) -> None:
        image, now = image_of(b, "d/a.gif"), b.clock.now()
        membership.there(c, album_of(b, "d"), [image], now=now)
        _changed(b, c)

    def is_right(b: Bench) -> bool:
        one = membership.one(b.db.reader, album_of(b, "d"), image_of(b, "d/a.gif"))
        return one is not None and one.is_seen

    await at_every_step(tmp_path, begin=begin, meanwhile=meanwhile, is_right=is_right)
