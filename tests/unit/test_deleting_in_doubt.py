"""A deletion whose answer was lost, and that nobody wants any more."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import control, limits
from imgurfs.errors import OutageError, OutcomeUnknownError, UserError
from imgurfs.jobs import guard, queueing
from imgurfs.jobs.queueing import DeleteImagePayload
from imgurfs.model import ImageId
from imgurfs.store import outbox, synced
from imgurfs.store.outbox import JobState
from tests.support.jobbing import Bench, bench, drain_for

#: Longer than quarantine and every pause between attempts.
#: Shorter than the pause before a second one.
_FIRST_ATTEMPT_S = 0.2
_LONG_S = 2 * limits.JOB_BACKOFF_MAX_S + limits.QUARANTINE_S


async def file_image(b: Bench, path: str) -> ImageId | None:
    """Return the image that a file is."""
    known = synced.file(b.db.reader, b.folder.id, path.encode())
    return known.image_id if known else None


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_file_that_came_back_too_late_is_uploaded_again(
    tmp_path: Path, autojump_clock: MockClock, *, is_killed: bool
) -> None:
    """S22: the image went and the answer was lost, or the program died: nothing says
    "the file is back" to an image that is gone.
    """
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        b.imgur.lost_answers = 1
        b.imgur.hang = is_killed
        await drain_for(b, _FIRST_ATTEMPT_S)
        if is_killed:
            # It arrived all the same.
            b.imgur.hang = False
            del b.imgur.images[image_id]
        assert image_id not in b.imgur.images
        b.write_file("a.gif")
        await drain_for(b, _LONG_S)
        (uploaded,) = b.imgur.images
        assert uploaded != image_id
        assert await file_image(b, "a.gif") == uploaded
        assert outbox.unfinished(b.db.reader) == []


async def test_an_image_that_is_still_there_is_kept(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: the attempt did not happen: the image is looked for, once, and stays."""
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        b.imgur.failures = [OutcomeUnknownError("the connection was lost")]
        await drain_for(b, _FIRST_ATTEMPT_S)
        b.write_file("a.gif")
        calls = list(b.imgur.calls)
        await drain_for(b, _LONG_S)
        assert b.imgur.calls == calls
        assert list(b.imgur.images) == [image_id]
        assert await file_image(b, "a.gif") == image_id
        assert outbox.unfinished(b.db.reader) == []


async def test_it_is_not_believed_before_imgur_is_done_with_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An attempt may happen until its quarantine is over: nobody looks before."""
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        b.imgur.failures = [OutcomeUnknownError("the connection was lost")]
        await drain_for(b, _FIRST_ATTEMPT_S)
        b.write_file("a.gif")
        await drain_for(b, limits.QUARANTINE_S - 10)
        assert [job.is_doubtful for job in outbox.unfinished(b.db.reader)] == [True]
        del b.imgur.images[image_id]
        await drain_for(b, _LONG_S)
        (uploaded,) = b.imgur.images
        assert await file_image(b, "a.gif") == uploaded


async def test_what_may_have_happened_cannot_be_undone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: undo says so instead of promising an image that may be gone."""
    async with bench(tmp_path) as b:
        await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        b.imgur.hang = True
        await drain_for(b, _FIRST_ATTEMPT_S)
        (job,) = outbox.unfinished(b.db.reader)
        now = b.clock.now()
        with pytest.raises(UserError, match="was sent"):
            await b.db.write(lambda c: control.undo(c, job.id, now=now))
        with pytest.raises(UserError, match="was sent"):
            await b.db.write(lambda c: control.cancel(c, job.id, now=now))
        assert await b.db.write(lambda c: control.undo(c, now=b.clock.now())) == []
        b.imgur.hang = False
        with trio.move_on_after(_LONG_S):
            await b.drainer().run_until_idle()
        assert b.imgur.images == {}


async def test_what_was_never_sent_can_be_undone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: Imgur did not answer what is asked before a deletion, which is no doubt."""
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        b.albums.failures = [OutageError("500")] * 3
        await drain_for(b, _FIRST_ATTEMPT_S)
        (job,) = outbox.unfinished(b.db.reader)
        assert job.error == "500"
        now = b.clock.now()
        await b.db.write(lambda c: control.undo(c, job.id, now=now))
        await drain_for(b, _LONG_S)
        assert image_id in b.imgur.images
        assert list(b.states().values()) == ["done", "cancelled"]


def numbered(number: int) -> str:
    """Return the name of one of many files."""
    return f"{number:02}.gif"


async def delete_files(b: Bench, *numbers: int) -> None:
    """Remove files and queue the deletion of their images, without a grace."""
    now, payloads = b.clock.now(), []
    for number in numbers:
        image_id = await file_image(b, numbered(number))
        assert image_id is not None
        (b.root / numbered(number)).unlink()
        payloads.append(DeleteImagePayload(b.folder.id, image_id))
    await b.db.write(
        lambda c: [queueing.queue_delete(c, p, now=now, grace_s=0) for p in payloads]
    )


async def reject_with_one_in_doubt(b: Bench) -> ImageId:
    """Let the guard hold 15 deletions and reject them; return the image in doubt."""
    b.is_guarded = True
    for number in range(20):
        b.write_file(numbered(number))
        await b.queue(numbered(number))
    await b.drainer().run_until_idle()
    in_doubt = await file_image(b, numbered(0))
    assert in_doubt is not None
    await delete_files(b, 0)
    b.imgur.failures = [OutageError("Imgur answers 503")]
    await drain_for(b, _FIRST_ATTEMPT_S)
    await delete_files(b, *range(1, 15))
    await drain_for(b, _FIRST_ATTEMPT_S)
    report = guard.report(b.db.reader)
    assert report is not None
    assert report.count == 15
    now = b.clock.now()
    assert await b.db.write(lambda c: guard.reject(c, now=now)) == 15
    assert guard.report(b.db.reader) is None
    return in_doubt


async def test_what_was_rejected_is_kept_though_it_may_have_been_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S21, S22: the user rejects what is held: one that was sent and not answered is
    not sent again either, whatever is deleted later. Imgur is asked for its image.
    """
    async with bench(tmp_path) as b:
        image_id = await reject_with_one_in_doubt(b)
        await delete_files(b, 16)
        await drain_for(b, _LONG_S)
        assert image_id in b.imgur.images
        assert len(b.imgur.images) == 19
        assert outbox.unfinished(b.db.reader) == []
        # Nor does the next look ask for it.
        assert await file_image(b, numbered(0)) is None


async def test_what_was_rejected_too_late_is_uploaded_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: the attempt has deleted the image, and the file is there after all."""
    async with bench(tmp_path) as b:
        image_id = await reject_with_one_in_doubt(b)
        del b.imgur.images[image_id]
        b.write_file(numbered(0))
        await drain_for(b, _LONG_S)
        uploaded = await file_image(b, numbered(0))
        assert uploaded in b.imgur.images
        assert len(b.imgur.images) == 20
        assert outbox.unfinished(b.db.reader) == []


@pytest.mark.parametrize("is_gone", [False, True])
async def test_one_that_was_given_up_can_be_taken_off_the_list(
    tmp_path: Path, autojump_clock: MockClock, *, is_gone: bool
) -> None:
    """S22, S25: a deletion that Imgur never answered is cancelled: it is not sent
    again, and Imgur is asked whether the image is there.
    """
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        (job,) = outbox.unfinished(b.db.reader)
        b.imgur.failures = [OutageError("503")] * limits.JOB_ATTEMPTS_MAX
        await drain_for(b, limits.JOB_ATTEMPTS_MAX * _LONG_S)
        dead = outbox.job(b.db.reader, job.id)
        assert dead is not None
        assert dead.state is JobState.DEAD
        if is_gone:
            del b.imgur.images[image_id]
        calls = list(b.imgur.calls)
        await b.db.write(lambda c: control.cancel(c, job.id, now=b.clock.now()))
        await drain_for(b, _LONG_S)
        over = outbox.job(b.db.reader, job.id)
        assert over is not None
        assert over.state is (JobState.DONE if is_gone else JobState.CANCELLED)
        assert b.imgur.calls == calls
        assert await file_image(b, "a.gif") is None
        assert outbox.unfinished(b.db.reader) == []
