"""A picture is written to the drive again while its image is being deleted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs.jobs import drive_settle, outcome, queueing
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.model import ImageId, Lane
from imgurfs.store import outbox, synced
from imgurfs.store.database import Connection
from tests.support.phases import LONG_S, bytes_of, drive
from tests.support.pictures import small_picture
from tests.support.placed import Placed

#: Longer than a new file waits to be sent.
_PAUSE_S = 100.0
HAPPENED = pytest.mark.parametrize("has_happened", [False, True])


async def send_deletion(d: Placed, image: ImageId, *, has_happened: bool) -> None:
    """Let the answer to a deletion be lost, which has happened or not."""
    now = d.there.clock.now()

    def lose(c: Connection) -> None:
        waiting = outbox.by_key(c, queueing.delete_key(image))
        assert waiting is not None
        sent = outbox.claim(c, waiting.id, now=now)
        assert sent is not None
        outcome.requeue(c, sent, now + _PAUSE_S, "it was lost", is_counted=True)

    await d.db.write(lose)
    if has_happened:
        await d.there.api.delete_image(image, Lane.FRESH)


@HAPPENED
async def test_a_removed_picture_that_may_be_deleted_is_uploaded_again(
    tmp_path: Path, autojump_clock: MockClock, *, has_happened: bool
) -> None:
    """S22: what was removed and written again is not taken for an image that may be
    gone: its bytes stay here until they are another image.
    """
    async with drive(tmp_path) as d:
        await d.write("x.png")
        await d.drain()
        old = d.image("x.png")
        await d.remove("x.png")
        await send_deletion(d, old, has_happened=has_happened)
        await d.write("again.png", small_picture("x.png"))
        await d.drain(LONG_S)
        assert d.names() == ["again.png"]
        assert [one.id for one in d.images()] == [d.image("again.png")]
        assert bytes_of(d, d.image("again.png")) == small_picture("x.png")


async def deleted_by_folder(d: Placed, *, grace_s: float = 0.0) -> ImageId:
    """Let a picture in album A be a watched folder's as well, which deletes it."""
    await d.write("A/x.png", small_picture("x"))
    await d.drain()
    root = d.state_dir.parent / "watched"
    root.mkdir()
    (root / "x.png").write_bytes(small_picture("x"))
    found = root.stat()
    payload = UploadPayload(synced.FolderId(1), b"x.png", directory=b"A", title="A")

    def queue(c: Connection) -> None:
        folder = synced.bind_folder(
            c, bytes(root), device=found.st_dev, inode=found.st_ino
        )
        assert folder.id == payload.folder
        queueing.queue_upload(c, payload, lane=Lane.FRESH, now=d.there.clock.now())

    await d.db.write(queue)
    await d.drain()
    image = d.image("A/x.png")
    (root / "x.png").unlink()
    delete = DeleteImagePayload(payload.folder, image)
    now = d.there.clock.now()
    await d.db.write(
        lambda c: queueing.queue_delete(c, delete, now=now, grace_s=grace_s)
    )
    return image


@HAPPENED
async def test_a_copy_of_a_folders_picture_that_may_be_deleted_is_uploaded(
    tmp_path: Path, autojump_clock: MockClock, *, has_happened: bool
) -> None:
    """S22: the same for the image of a watched folder's file, which is still shown."""
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        image = await deleted_by_folder(d)
        await send_deletion(d, image, has_happened=has_happened)
        await d.write("B/copy.png", small_picture("x"))
        await d.drain(LONG_S)
        assert d.names("A") == []
        assert [one.id for one in d.images()] == [d.image("B/copy.png")]


async def test_a_copy_outlives_the_folders_picture(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: A picture that waits to be deleted with a folder's file is wanted without
    it once there is a copy on the drive: no look asks for its deletion again, although
    the copy is in an album that the folder stands for.
    """
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        image = await deleted_by_folder(d, grace_s=_PAUSE_S)
        album = d.node("B").album
        assert album is not None
        folder = synced.FolderId(1)
        await d.db.write(
            lambda c: synced.put_directory(c, folder, b"B", album.id, title="B")
        )
        await d.write("B/copy.png", small_picture("x"))
        await d.drain(LONG_S)
        assert synced.paths_of(d.db.reader, image) == []
        assert d.names("A") == []
        assert [one.id for one in d.images()] == [image] == [d.image("B/copy.png")]


async def test_a_file_written_over_with_what_it_was_outlives_its_image(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: the same bytes are no reason to trust an image that may be deleted."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        image = await deleted_by_folder(d)
        await send_deletion(d, image, has_happened=True)
        await d.overwrite("A/x.png", small_picture("x"))
        await d.drain(LONG_S)
        assert [one.id for one in d.images()] == [d.image("A/x.png")]
        assert d.image("A/x.png") != image


async def test_a_file_whose_image_goes_while_it_is_compared_is_uploaded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: a listing takes the image away after the file was found to be the same, and
    before that is written down: the file is looked at again.
    """
    async with drive(tmp_path) as d:
        await d.write("x.png")
        await d.drain()
        digest = hashlib.blake2b(small_picture("x.png"), digest_size=32).digest()
        await d.overwrite("x.png", small_picture("x.png"))
        inode, image = d.node("x.png").inode, d.image("x.png")
        assert drive_settle.is_unchanged(d.db.reader, inode, digest)
        await d.there.api.delete_image(image, Lane.FRESH)
        await trio.sleep(_PAUSE_S)
        await d.refresh()
        (job,) = d.jobs()
        payload, now = queueing.decode(job, UploadPayload), d.there.clock.now()
        await d.db.write(
            lambda c: drive_settle.unchanged(c, job, payload, digest=digest, now=now)
        )
        await d.drain(LONG_S)
        assert d.node("x.png").inode == inode
        assert bytes_of(d, d.image("x.png")) == small_picture("x.png")
