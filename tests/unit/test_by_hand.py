"""Uploading by hand what is an image already, while that image is being deleted."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.content import outgoing
from imgurfs.jobs import by_hand, queueing
from imgurfs.jobs.steps import Resolved
from imgurfs.model import ImageId, Lane
from imgurfs.store import outbox
from imgurfs.store.outbox import Job
from imgurfs_daemon.planner import IdentifyDirectory
from tests.support.jobbing import Bench, bench, drain_for, picture
from tests.support.looking import Rig

#: Shorter than the pause before a second attempt.
_FIRST_ATTEMPT_S = 0.2
#: Longer than quarantine and every pause between attempts.
_LONG_S = 2 * limits.JOB_BACKOFF_MAX_S + limits.QUARANTINE_S


@dataclass
class ByHand:
    """The upload by hand of the content of a picture."""

    b: Bench
    directory: Path
    digest: bytes
    job: Job

    def image(self) -> ImageId | None:
        """Return the image whose link is printed."""
        reader = self.b.db.reader
        job = outbox.job(reader, self.job.id)
        assert job is not None
        return by_hand.image_of(reader, job, self.digest)


async def upload(b: Bench, path: str) -> ByHand:
    """Copy a picture and queue it, as ``imgurfs upload`` does."""
    directory, content = b.state_dir / "outgoing", picture(path)
    digest = hashlib.blake2b(content, digest_size=32).digest()
    copy = by_hand.path_of(digest, Path(path).name.encode(), None)
    outgoing.prepare(directory)
    assert outgoing.put(directory, copy, io.BytesIO(content), digest=digest)
    job_id = await b.db.write(
        lambda c: by_hand.queue(
            c,
            directory,
            copy,
            size_bytes=len(content),
            album=None,
            image_title="",
            now=b.clock.now(),
        )
    )
    job = outbox.job(b.db.reader, job_id)
    assert job is not None
    return ByHand(b, directory, digest, job)


async def test_an_image_whose_deletion_is_in_the_air_is_no_result(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: while an image is being deleted its content is uploaded anew, so that the
    link leads to something when the deletion has arrived.
    """
    async with bench(tmp_path) as b:
        old = await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        asked: list[ByHand] = []
        delete = b.imgur.delete_image

        async def slow(image_id: ImageId, lane: Lane, grant: Grant | None) -> None:
            asked.append(await upload(b, "a.gif"))
            await trio.sleep(30)
            await delete(image_id, lane, grant)

        b.imgur.delete_image = slow  # type: ignore[method-assign, assignment]
        await drain_for(b, _LONG_S)
        (one,) = asked
        assert old not in b.imgur.images
        assert one.image() in b.imgur.images
        assert outbox.unfinished(b.db.reader) == []


async def test_an_image_that_may_be_deleted_already_is_no_result(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: the same when the deletion's answer was lost."""
    async with bench(tmp_path) as b:
        old = await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        b.imgur.lost_answers = 1
        await drain_for(b, _FIRST_ATTEMPT_S)
        one = await upload(b, "a.gif")
        await drain_for(b, _LONG_S)
        assert old not in b.imgur.images
        assert one.image() in b.imgur.images
        assert outbox.unfinished(b.db.reader) == []


async def test_a_deletion_that_was_sent_a_moment_before_is_seen(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: a deletion that is sent between the look at it and its withdrawal cannot be
    withdrawn: the content is looked at again, and uploaded.
    """
    async with bench(tmp_path) as b:
        await b.delete_of("a.gif", grace_s=_LONG_S)
        (b.root / "a.gif").unlink()
        one = await upload(b, "a.gif")
        step = await b.worker().prepare(one.job)
        assert isinstance(step, Resolved)
        (delete,) = outbox.unfinished(b.db.reader, kind=queueing.DELETE_IMAGE)
        await b.db.write(lambda c: outbox.claim(c, delete.id, now=b.clock.now()))
        await b.db.write(step.write)
        await drain_for(b, _LONG_S)
        assert one.image() in b.imgur.images


async def test_a_deletion_that_only_waits_is_withdrawn(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S6, S22: nothing is sent for the content of an image that was not deleted yet."""
    async with bench(tmp_path) as b:
        old = await b.delete_of("a.gif", grace_s=_LONG_S)
        (b.root / "a.gif").unlink()
        calls = list(b.imgur.calls)
        one = await upload(b, "a.gif")
        await drain_for(b, 2 * _LONG_S)
        assert b.imgur.calls == calls
        assert one.image() == old


async def test_a_deletion_that_was_withdrawn_is_not_asked_for_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: the file stays gone in its folder, whose next look wants nothing; the image
    leaves the folder's album, as it was not uploaded into it.
    """
    async with bench(tmp_path) as b:
        for name in ("trip/b.gif", "trip/c.gif"):
            b.write_file(name)
            await b.queue(name)
        old = await b.delete_of("trip/a.gif", grace_s=_LONG_S)
        (b.root / "trip/a.gif").unlink()
        (album,) = b.imgur.albums.values()
        assert old in album
        one = await upload(b, "trip/a.gif")
        await drain_for(b, 60)
        assert one.image() == old
        look = await Rig(b.root, b.db).looker.look()
        assert {type(action) for action in look.actions} == {IdentifyDirectory}
        await drain_for(b, 2 * _LONG_S)
        assert old in b.imgur.images
        assert old not in b.imgur.albums.popitem()[1]
