"""What a person decides about the outbox, and what each job waits for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from imgurfs import control, limits
from imgurfs.budget import Wait
from imgurfs.control import Cause
from imgurfs.errors import UsageError, UserError
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload
from imgurfs.marker import make_marker, name_with_marker
from imgurfs.model import Album, AlbumId, Image, ImageId, JobId, RequestClass
from imgurfs.store import meta, outbox, outbox_lists, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.outbox_lists import Tally
from tests.support.queued import NOW_S, Queue, queue_at

MARKER = make_marker(b"c" * 32, b"d" * 10)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """An outbox and a folder."""
    with queue_at(tmp_path / "state.db", tmp_path / "folder") as found:
        yield found


def image(image_id: str = "img1", name: str = "") -> Image:
    """Return an image as Imgur would describe it."""
    return Image(
        id=ImageId(image_id),
        type="image/gif",
        link="https://i.example/1.gif",
        size_bytes=6,
        datetime_s=int(NOW_S),
        name=name,
    )


def cause(
    queue: Queue,
    job_id: JobId,
    *,
    paused_until: float | None = None,
    wait: Wait | None = None,
) -> Cause:
    """Return what a job waits for; its tally must say the same."""

    def peek(request: RequestClass) -> Wait | None:
        del request
        return wait

    alike: list[Job | Tally] = [
        queue.job(job_id),
        *outbox_lists.tallies(queue.db.reader, now=NOW_S),
    ]
    told = [
        control.waiting_of(one, now=NOW_S, paused_until=paused_until, peek=peek)
        for one in alike
    ]
    assert len({one.cause for one in told}) == 1, "one job is one tally"
    return told[0].cause


# --- What a job waits for ----------------------------------------------------


def test_each_cause_is_told_from_the_others(queue: Queue) -> None:
    """Every state of a job is explained by exactly one cause."""
    seen = {}
    upload = queue.upload("a.gif")
    seen["nothing"] = cause(queue, upload)
    seen["pause"] = cause(queue, upload, paused_until=math.inf)
    seen["limit"] = cause(queue, upload, wait=Wait(NOW_S + 60, "credits"))
    queue.fail(upload, until=NOW_S + 5, error="no network")
    seen["error"] = cause(queue, upload)
    queue.send(upload)
    seen["air"] = cause(queue, upload)
    queue.db.write_blocking(
        lambda c: outbox.mark_unknown(c, upload, error="lost", look_at=NOW_S + 120)
    )
    seen["unknown"] = cause(queue, upload)
    queue.db.write_blocking(
        lambda c: outbox.looked(c, upload, look_at=NOW_S + 6 * 3600, error="which?")
    )
    seen["asked"] = cause(queue, upload)
    assert seen == {
        "nothing": Cause.DUE,
        "pause": Cause.PAUSED,
        "limit": Cause.BUDGET,
        "error": Cause.RETRY,
        "air": Cause.SENDING,
        "unknown": Cause.QUARANTINE,
        "asked": Cause.DECISION,
    }


def test_deletions_and_albums_have_causes_of_their_own(queue: Queue) -> None:
    """Grace, guard and the wait for an album are told apart."""
    doomed = queue.delete("a.gif", "img1")
    assert cause(queue, doomed) is Cause.GRACE
    queue.hold(doomed)
    assert cause(queue, doomed) is Cause.GUARD
    queue.db.write_blocking(lambda c: control.undo(c, now=NOW_S))
    create = queue.create("trip", "img1")
    assert cause(queue, create) is Cause.DUE
    queue.db.write_blocking(lambda c: control.cancel(c, create, now=NOW_S))
    assert cause(queue, queue.upload("trip/a.gif", directory="trip")) is Cause.ALBUM


def test_unknown_is_no_decision_after_a_usual_look(queue: Queue) -> None:
    """Between two looks nobody is asked for anything."""
    job_id = queue.upload("a.gif")
    queue.lose(job_id)
    queue.db.write_blocking(
        lambda c: outbox.looked(c, job_id, look_at=NOW_S + limits.SECOND_LOOK_S)
    )
    assert cause(queue, job_id) is Cause.QUARANTINE


def test_only_what_a_person_ends_needs_one(queue: Queue) -> None:
    """A pause with an end goes on by itself, one without does not."""
    job = queue.job(queue.upload("a.gif"))

    def needs(paused_until: float) -> bool:
        return control.waiting_of(
            job, now=NOW_S, paused_until=paused_until, peek=lambda _: None
        ).needs_user

    assert (needs(NOW_S + 60), needs(math.inf)) == (False, True)


def test_tallies_count_alike_jobs_together(queue: Queue) -> None:
    """A hundred uploads are one line with their bytes, a failed one is another."""
    for number in range(100):
        queue.upload(f"{number}.gif", size_bytes=10)
    queue.fail(queue.upload("x.gif"), until=NOW_S + 5, error="no")
    tallies = outbox_lists.tallies(queue.db.reader, now=NOW_S)
    assert [(t.count, t.size_bytes, t.error) for t in tallies] == [
        (100, 1000, ""),
        (1, 1000, "no"),
    ]


# --- Pausing -----------------------------------------------------------------


def test_pause_ends_by_itself_or_by_resume(queue: Queue) -> None:
    """The pause is in the tables, so that it outlives every process."""
    c = queue.db.reader
    queue.db.write_blocking(lambda w: control.pause(w, NOW_S + 60))
    assert control.paused_until(c, now=NOW_S) == NOW_S + 60
    assert control.paused_until(c, now=NOW_S + 61) is None
    queue.db.write_blocking(lambda w: control.pause(w, math.inf))
    assert meta.get(c, "paused_until") == "inf"
    assert queue.db.write_blocking(control.resume) is True
    assert queue.db.write_blocking(control.resume) is False
    assert control.paused_until(c, now=NOW_S) is None


# --- Undo --------------------------------------------------------------------


def test_undo_keeps_the_images_and_forgets_the_files(queue: Queue) -> None:
    """All deletions that wait are called off, held ones too; uploads are not."""
    jobs = [queue.delete("a.gif", "img1"), queue.delete("b.gif", "img2")]
    queue.hold(jobs[1])
    upload = queue.upload("c.gif")
    kept = queue.db.write_blocking(lambda c: control.undo(c, now=NOW_S))
    assert [(k.image_id, k.files) for k in kept] == [
        ("img1", (b"a.gif",)),
        ("img2", (b"b.gif",)),
    ]
    assert [queue.state(j) for j in (*jobs, upload)] == [
        "cancelled", "cancelled", "queued",
    ]  # fmt: skip
    assert queue.paths() == set()


def test_undo_of_one_leaves_the_others(queue: Queue) -> None:
    """An id names one deletion."""
    first, second = queue.delete("a.gif", "img1"), queue.delete("b.gif", "img2")
    queue.db.write_blocking(lambda c: control.undo(c, second, now=NOW_S))
    assert (queue.state(first), queue.state(second)) == ("queued", "cancelled")
    assert queue.paths() == {b"a.gif"}


def test_undo_says_why_it_cannot(queue: Queue) -> None:
    """Nothing that was sent, no upload and no unknown id is undone."""
    sent = queue.delete("a.gif", "img1")
    queue.send(sent)
    upload = queue.upload("b.gif")
    for job_id, error, text in (
        (sent, UserError, "was sent"),
        (upload, UserError, "not a deletion"),
        (JobId(99), UsageError, "no job 99"),
    ):
        with pytest.raises(error, match=text):
            queue.db.write_blocking(partial(control.undo, job_id=job_id, now=NOW_S))
    assert queue.db.write_blocking(lambda c: control.undo(c, now=NOW_S)) == []
    assert queue.paths() == {b"a.gif"}


# --- Retry and cancel --------------------------------------------------------


def test_rejected_upload_is_retried_and_not_skipped_any_more(queue: Queue) -> None:
    """A retry puts the job back and takes the file off the skipped ones."""
    job_id = queue.upload("a.gif")
    queue.reject(job_id)
    record = synced.SkippedFile(b"a.gif", 6, 1, "Imgur refused it")
    queue.db.write_blocking(lambda c: synced.put_skipped(c, queue.folder, record))
    job = queue.db.write_blocking(lambda c: control.retry(c, job_id, now=NOW_S))
    assert job.state is JobState.QUEUED
    assert synced.skipped(queue.db.reader, queue.folder) == {}


def test_retry_ends_a_backoff_but_not_a_grace(queue: Queue) -> None:
    """What waits after an error is due at once; what just waits is no retry."""
    failed, graced = queue.upload("a.gif"), queue.delete("b.gif", "img1")
    queue.fail(failed, until=NOW_S + 3600, error="busy")
    queue.db.write_blocking(lambda c: control.retry(c, failed, now=NOW_S))
    assert queue.job(failed).not_before == NOW_S
    with pytest.raises(UserError, match="nothing to retry"):
        queue.db.write_blocking(lambda c: control.retry(c, graced, now=NOW_S))
    assert queue.job(graced).not_before == NOW_S + 600


def test_unknown_is_never_retried_blindly(queue: Queue) -> None:
    """What may have happened needs somebody to say that it did not."""
    job_id = queue.upload("a.gif")
    queue.lose(job_id)
    with pytest.raises(UserError, match="happen twice"):
        queue.db.write_blocking(lambda c: control.retry(c, job_id, now=NOW_S))
    assert queue.state(job_id) == "unknown"


def test_retry_of_all_leaves_what_another_job_stands_in_for(queue: Queue) -> None:
    """A file that was queued anew since is not sent twice."""
    old = queue.upload("a.gif")
    queue.reject(old)
    new = queue.upload("a.gif")
    other = queue.upload("b.gif")
    queue.reject(other)
    assert [j.id for j in outbox_lists.rejected(queue.db.reader)] == [other]
    revived = queue.db.write_blocking(lambda c: control.retry_rejected(c, now=NOW_S))
    assert [j.id for j in revived] == [other]
    assert [queue.state(j) for j in (old, new, other)] == ["dead", "queued", "queued"]
    with pytest.raises(UserError, match=f"job {new} does the same"):
        queue.db.write_blocking(lambda c: control.retry(c, old, now=NOW_S))


def test_cancelled_upload_is_left_alone_until_the_file_changes(queue: Queue) -> None:
    """The next look must not ask for it again."""
    file = queue.write_file("a.gif")
    job_id = queue.upload("a.gif")
    queue.db.write_blocking(lambda c: control.cancel(c, job_id, now=NOW_S))
    assert queue.state(job_id) == "cancelled"
    skip = synced.skipped(queue.db.reader, queue.folder)[b"a.gif"]
    found = file.stat()
    assert (skip.size_bytes, skip.mtime_ns) == (found.st_size, found.st_mtime_ns)


def test_cancelled_deletion_is_undone(queue: Queue) -> None:
    """Otherwise the next look would ask for it again."""
    job_id = queue.delete("a.gif", "img1")
    queue.db.write_blocking(lambda c: control.cancel(c, job_id, now=NOW_S))
    assert (queue.state(job_id), queue.paths()) == ("cancelled", set())


def test_cancel_takes_a_rejected_job_off_the_list(queue: Queue) -> None:
    """It stays known, as cancelled."""
    job_id = queue.upload("gone.gif")
    queue.reject(job_id)
    queue.db.write_blocking(lambda c: control.cancel(c, job_id, now=NOW_S))
    assert queue.state(job_id) == "cancelled"
    assert outbox_lists.rejected(queue.db.reader) == []


def test_what_is_in_the_air_or_unknown_is_not_cancelled(queue: Queue) -> None:
    """Withdrawing what may happen would be a lie."""
    sent, lost = queue.upload("a.gif"), queue.upload("b.gif")
    queue.send(sent)
    queue.lose(lost)
    for job_id in (sent, lost):
        with pytest.raises(UserError, match="cannot be cancelled"):
            queue.db.write_blocking(partial(control.cancel, job_id=job_id, now=NOW_S))
    assert (queue.state(sent), queue.state(lost)) == ("sending", "unknown")


# --- Resolving ---------------------------------------------------------------


def test_user_says_it_did_not_happen(queue: Queue) -> None:
    """It is sent again with its marker."""
    job_id = queue.upload("a.gif")
    queue.lose(job_id, mark=str(MARKER))
    job = queue.db.write_blocking(
        lambda c: control.did_not_happen(c, job_id, now=NOW_S)
    )
    assert (job.state, job.marker) == (JobState.QUEUED, str(MARKER))


def test_user_says_which_image_it_was(queue: Queue) -> None:
    """The file is that image from then on, and the job is done."""
    queue.write_file("a.gif")
    job_id = queue.upload("a.gif")
    queue.lose(job_id, mark=str(MARKER))
    made = image(name=name_with_marker("a.gif", MARKER))
    job = queue.db.write_blocking(
        lambda c: control.happened(c, job_id, made, now=NOW_S)
    )
    assert job.state is JobState.DONE
    known = synced.file(queue.db.reader, queue.folder, b"a.gif")
    assert known is not None
    assert known.image_id == "img1"


def test_wrong_answers_are_refused(queue: Queue) -> None:
    """An album for an upload, another file's image and another upload's mark."""
    job_id, create = queue.upload("a.gif"), queue.create("trip", "img9")
    queue.lose(job_id, mark=str(MARKER))
    queue.lose(create)
    queue.write_file("b.gif")
    queue.synced_file("b.gif", "taken")
    other = make_marker(b"x" * 32, b"d" * 10)
    album = Album(AlbumId("alb1"), "trip", int(NOW_S))
    for target, made, text in (
        (job_id, album, "was to make an image"),
        (create, image(), "was to make an album"),
        (job_id, image("taken"), "is the file b.gif already"),
        (job_id, image(name=name_with_marker("a.gif", other)), "another upload"),
    ):
        with pytest.raises(UserError, match=text):
            queue.db.write_blocking(
                partial(control.happened, job_id=target, made=made, now=NOW_S)
            )
    assert (queue.state(job_id), queue.state(create)) == ("unknown", "unknown")


def test_only_unknown_jobs_are_resolved(queue: Queue) -> None:
    """A job whose outcome is known has nothing to be told."""
    job_id = queue.upload("a.gif")
    with pytest.raises(UserError, match="nothing to resolve"):
        queue.db.write_blocking(lambda c: control.did_not_happen(c, job_id, now=NOW_S))


# --- Folders -----------------------------------------------------------------


def test_left_folder_takes_its_waiting_jobs_along(queue: Queue, tmp_path: Path) -> None:
    """Uploads and deletions of it are withdrawn; others and what is known stay."""
    upload, doomed = queue.upload("a.gif"), queue.delete("b.gif", "img1")
    with queue_at(tmp_path / "state.db", tmp_path / "other") as other:
        kept = other.upload("a.gif")
    left = queue.db.write_blocking(
        lambda c: control.leave_folder(c, bytes(queue.root), now=NOW_S)
    )
    assert left == (1, 1)
    assert [queue.state(j) for j in (upload, doomed, kept)] == [
        "cancelled", "cancelled", "queued",
    ]  # fmt: skip
    assert queue.paths() == {b"b.gif"}


def test_a_deletion_in_doubt_of_a_left_folder_is_not_sent_again(queue: Queue) -> None:
    """S22: It waits for a look at its image; the withdrawal comes to an end."""
    job_id = queue.delete("b.gif", "img1")

    def leave(c: Connection) -> tuple[int, int]:
        return control.leave_folder(c, bytes(queue.root), now=NOW_S)

    queue.db.write_blocking(
        lambda c: outbox.requeue(
            c, job_id, not_before=NOW_S, error="503", is_counted=True, is_doubtful=True
        )
    )
    assert queue.db.write_blocking(leave) == (0, 1)
    assert queue.db.write_blocking(leave) == (0, 0)
    payload = queueing.decode(queue.job(job_id), DeleteImagePayload)
    assert payload.is_unwanted
