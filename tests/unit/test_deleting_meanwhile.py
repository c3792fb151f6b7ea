"""A deletion, or what it depends on, ends between two steps of another job."""

from __future__ import annotations

from pathlib import Path

from trio.testing import MockClock

from imgurfs.jobs import outcome, placing, queueing, settle
from imgurfs.jobs.queueing import DeleteImagePayload
from imgurfs.jobs.steps import Resolved, Step
from imgurfs.model import ImageId
from imgurfs.store import outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job
from tests.support.jobbing import Bench, bench, drain_for, picture


def image_of(b: Bench, path: str) -> ImageId | None:
    """Return the image that a file is."""
    known = synced.file(b.db.reader, b.folder.id, path.encode())
    return known.image_id if known else None


def job_of(b: Bench, kind: str) -> Job:
    """Return the one unfinished job of a kind."""
    (job,) = outbox.unfinished(b.db.reader, kind=kind)
    return job


async def delete_now(b: Bench, path: str) -> None:
    """Let the deletion that was queued for a file happen, and be written down."""
    job = job_of(b, queueing.DELETE_IMAGE)
    payload = queueing.decode(job, DeleteImagePayload)
    del b.imgur.images[payload.image_id]
    gone, now = [(b.folder.id, path.encode())], b.clock.now()

    def write(c: Connection) -> None:
        assert outbox.claim(c, job.id, now=now)
        settle.delete(c, job, payload, gone=gone, now=now)

    await b.db.write(write)


async def write_down(b: Bench, job: Job, step: Step) -> None:
    """End a job that needs no call, as an attempt does."""
    assert isinstance(step, Resolved)
    await b.db.write(lambda c: outcome.resolve(c, job, step))


async def test_a_file_is_not_bound_to_an_image_that_was_just_deleted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: the deletion ends after a new file was found to be the image, and before
    that is written down: the file is uploaded.
    """
    async with bench(tmp_path) as b:
        await b.delete_of("a.gif", grace_s=600)
        (b.root / "a.gif").unlink()
        b.write_file("b.gif", picture("a.gif"))
        await b.queue("b.gif")
        job = job_of(b, queueing.UPLOAD)
        step = await b.worker().prepare(job)
        await delete_now(b, "a.gif")
        await write_down(b, job, step)
        await drain_for(b, 60)
        assert list(b.imgur.images) == [image_of(b, "b.gif")]


async def test_a_file_that_was_touched_while_its_image_was_deleted_is_uploaded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: the same for a file that came back as it was before."""
    async with bench(tmp_path) as b:
        await b.delete_of("a.gif", grace_s=600)
        await b.queue("a.gif")
        job = job_of(b, queueing.UPLOAD)
        step = await b.worker().prepare(job)
        await delete_now(b, "a.gif")
        await write_down(b, job, step)
        await drain_for(b, 60)
        assert list(b.imgur.images) == [image_of(b, "a.gif")]


async def test_a_file_that_became_another_image_meanwhile_keeps_no_old_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S7: a file is back with another content; its upload ends between the look at it
    and the withdrawal of the old image's deletion: the old image still goes.
    """
    async with bench(tmp_path) as b:
        old = await b.delete_of("a.gif", grace_s=600)
        b.write_file("a.gif", picture("changed"))
        job = job_of(b, queueing.DELETE_IMAGE)
        step = await b.worker().prepare(job)
        await b.queue("a.gif", replaces=old, deletes_old=True)
        await drain_for(b, 60)
        new = image_of(b, "a.gif")
        assert new != old
        await write_down(b, job, step)
        assert job_of(b, queueing.DELETE_IMAGE).id == job.id
        await drain_for(b, 2 * 600)
        assert list(b.imgur.images) == [new]


async def test_a_file_that_is_still_the_image_keeps_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: the deletion is withdrawn when nothing has happened in between."""
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif")
        await drain_for(b, 60)
        assert list(b.imgur.images) == [image_id]
        assert outbox.unfinished(b.db.reader) == []


async def test_an_album_that_goes_while_it_is_adopted_is_created(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S11: somebody deletes the album of the title between its adoption and what is
    written down of it: the images get a new one.
    """
    async with bench(tmp_path) as b:
        b.write_file("trip/a.gif")
        await b.queue("trip/a.gif")
        await drain_for(b, 60)
        (old,), (image_id,) = b.imgur.albums, b.imgur.images
        await b.db.write(lambda c: settle.forget_album(c, old, now=None))
        await b.db.write(
            lambda c: placing.place(
                c, b.folder.id, b"trip", "trip", image_id, now=b.clock.now()
            )
        )
        await b.albums.albums_now()
        (job,) = outbox.unfinished(b.db.reader, kind=queueing.CREATE_ALBUM)
        step = await b.worker().prepare(job)
        assert synced.album_of(b.db.reader, b.folder.id, b"trip") == old
        del b.imgur.albums[old]
        await b.db.write(lambda c: settle.forget_album(c, old, now=None))
        await write_down(b, job, step)
        await drain_for(b, 60)
        assert list(b.imgur.albums.values()) == [[image_id]]
