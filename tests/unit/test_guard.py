"""The guard: which deletions are held, what joins them, and what the user decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imgurfs import limits
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.jobs import guard, queueing
from imgurfs.jobs.guard import GuardReport, Losses, suspicion
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.model import AlbumId, Image, ImageId, JobId, Lane
from imgurfs.store import meta, notices, outbox, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import FolderId, SkippedFile, SyncedFile
from imgurfs.tree import changes

NOW_S = 1_800_000_000.0
PHOTOS = b"/photos"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A state.db."""
    opened = Database.open(
        tmp_path / "state.db",
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )
    yield opened
    opened.close()


@pytest.fixture
def c(db: Database) -> Connection:
    """The writing connection: what every function gets inside a transaction."""
    return db._writer


def fill(c: Connection, *paths: str, folder: bytes = PHOTOS) -> FolderId:
    """Let files be images of their own; a directory stands for an album."""
    bound = synced.bind_folder(c, folder, device=1, inode=1).id
    for number, path in enumerate(paths):
        directory = path.rpartition("/")[0].encode() or None
        record = SyncedFile(
            path.encode(), 1, number, 5, 0, b"", image_of(folder, path), directory
        )
        synced.put_file(c, bound, record)
        if directory:
            synced.put_directory(
                c, bound, directory, AlbumId(directory.decode()), title=path[:4]
            )
    return bound


def image_of(folder: bytes, path: str) -> ImageId:
    """Return the image that a file became."""
    return ImageId(f"{folder.decode()}/{path}")


def delete(
    c: Connection, *paths: str, folder: bytes = PHOTOS, is_replaced: bool = False
) -> list[JobId]:
    """Queue the deletion of files' images, as an apply of a plan does."""
    known = synced.folder_at(c, folder)
    assert known is not None
    jobs = [
        queueing.queue_delete(
            c,
            DeleteImagePayload(
                known.id, image_of(folder, path), is_replaced=is_replaced
            ),
            now=NOW_S,
            grace_s=600.0,
        )
        for path in paths
    ]
    assert None not in jobs
    return [job for job in jobs if job is not None]


def review(
    c: Connection, now: float = NOW_S, *, is_on: bool = True
) -> GuardReport | None:
    """Review as the drainer does."""
    return guard.review(c, now=now, is_on=is_on)


def held(c: Connection) -> int:
    """Return how many deletions are held."""
    found = guard.report(c)
    return 0 if found is None else found.count


def carry_out(c: Connection, job_id: JobId, now: float = NOW_S) -> None:
    """Let a deletion have happened, with what settling it does to the rows."""
    job = outbox.claim(c, job_id, now=now)
    assert job is not None, "it is held, or not waiting"
    payload = queueing.decode(job, DeleteImagePayload)
    for folder, path in synced.paths_of(c, payload.image_id):
        synced.forget_file(c, folder, path, payload.image_id)
    outbox.finish(c, job_id, now=now)


def names(count: int, prefix: str = "") -> list[str]:
    """Return file names."""
    return [f"{prefix}{number:03d}.jpg" for number in range(count)]


LOSSES = Losses("/photos", going=11, staying=43)


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (replace(LOSSES, going=0, problem="it is gone"), ""),
        (LOSSES, "11 of 54 images of /photos would go at once"),
        (replace(LOSSES, staying=44), ""),
        (replace(LOSSES, going=10, staying=1), ""),
        (replace(LOSSES, going=2, staying=0, is_emptied=True), "has no pictures left"),
        (replace(LOSSES, going=1, staying=0, is_emptied=True), ""),
        (
            replace(LOSSES, going=1, problem="/photos: it is gone"),
            "/photos: it is gone",
        ),
        (replace(LOSSES, going=2, albums=(("Rome", 2),)), "album 'Rome' (2)"),
        (
            replace(LOSSES, going=9, albums=tuple((str(n), 2) for n in range(5))),
            "'0' (2), '1' (2), '2' (2) and 2 more",
        ),
    ],
)
def test_the_rule(losses: Losses, reason: str) -> None:
    """More than ten and more than a fifth, a whole album, an emptied folder."""
    found = suspicion(losses)
    assert reason in found
    assert bool(reason) == bool(found)


def test_a_few_deletions_pass(c: Connection) -> None:
    """Ten of thirty, none of them an album: nobody objects."""
    fill(c, *names(30), *names(3, "trip/"))
    jobs = delete(c, *names(9), "trip/000.jpg")
    assert review(c) is None
    assert meta.get(c, "guard") is None
    for job in jobs:
        carry_out(c, job)


def test_many_at_once_are_held_with_a_report(c: Connection) -> None:
    """It says how many, which and why; none of them can be claimed."""
    fill(c, *names(30))
    jobs = delete(c, *names(11))
    found = review(c)
    assert found is not None
    assert found.count == 11
    assert found.reasons == ("11 of 30 images of /photos would go at once",)
    assert found.samples[0] == "/photos/000.jpg"
    assert len(found.samples) == 5
    assert found.since_at == NOW_S
    assert meta.get(c, "guard") == found.text
    assert "11 deletion(s) are held" in found.text
    assert all(outbox.claim(c, job, now=NOW_S) is None for job in jobs)


def test_those_done_within_the_window_count(c: Connection) -> None:
    """Deleting in small portions does not slip through, whatever the grace."""
    fill(c, *names(30))
    for job in delete(c, *names(8)):
        assert review(c) is None
        carry_out(c, job)
    delete(c, *names(12)[8:])
    assert review(c, NOW_S + limits.GUARD_WINDOW_S + 1) is None
    assert review(c, NOW_S + limits.GUARD_WINDOW_S) is not None
    # The window moves on, the mistake stays one.
    later = review(c, NOW_S + 10 * limits.GUARD_WINDOW_S)
    assert later is not None
    assert later.since_at == NOW_S + limits.GUARD_WINDOW_S


def test_later_deletions_join_the_batch(c: Connection) -> None:
    """One more file of the same folder is held with the others."""
    fill(c, *names(30))
    delete(c, *names(11))
    review(c)
    delete(c, "020.jpg")
    review(c, NOW_S + 60)
    assert held(c) == 12


def test_another_folder_goes_on(c: Connection) -> None:
    """What happens in one folder does not hold another's deletions."""
    fill(c, *names(30))
    fill(c, *names(30), folder=b"/other")
    delete(c, *names(11))
    (free,) = delete(c, "000.jpg", folder=b"/other")
    review(c)
    assert held(c) == 11
    carry_out(c, free)


def test_many_small_folders_count_together(c: Connection) -> None:
    """A little of each of many folders is much of the account."""
    for number in range(8):
        folder = f"/f{number}".encode()
        fill(c, *names(6), folder=folder)
        delete(c, *names(2), folder=folder)
    found = review(c)
    assert found is not None
    assert found.count == 16
    assert "16 of 48 images of the account" in found.reasons[0]
    assert guard.reject(c, now=NOW_S) == 16


def test_a_whole_album_is_held(c: Connection) -> None:
    """S21: all pictures of a directory, even if they are few; one of them is not."""
    fill(c, *names(30), "Rome/a.jpg", "Rome/b.jpg", "Oslo/a.jpg")
    delete(c, "Rome/a.jpg", "Oslo/a.jpg")
    assert review(c) is None
    delete(c, "Rome/b.jpg")
    found = review(c)
    assert found is not None
    assert "'Rome' (2)" in found.text
    assert "Oslo" not in found.reasons[0]


def test_a_folder_left_without_any_file_is_held(c: Connection) -> None:
    """The last file of a folder: that is what a disk that is away looks like."""
    folder = fill(c, "a.jpg", "b.jpg")
    first, second = delete(c, "a.jpg", "b.jpg")
    found = review(c)
    assert found is not None
    assert found.reasons == ("/photos has no pictures left",)
    # A file that only waits to be sent, or is no picture, shows the folder is there.
    guard.approve(c)
    outbox.set_guard(c, first, "")
    outbox.set_guard(c, second, "")
    synced.put_skipped(c, folder, SkippedFile(b"notes.txt", 1, 1, "no picture"))
    assert review(c) is None
    synced.forget_skipped(c, folder, b"notes.txt")
    assert review(c) is not None
    guard.approve(c)
    outbox.set_guard(c, first, "")
    outbox.set_guard(c, second, "")
    queueing.queue_upload(
        c, UploadPayload(folder, b"new.jpg"), lane=Lane.FRESH, now=NOW_S
    )
    assert review(c) is None


def test_a_root_that_cannot_be_read_holds_until_it_can(c: Connection) -> None:
    """Even one deletion waits, and goes on by itself when the disk is back."""
    fill(c, *names(30))
    (job,) = delete(c, "000.jpg")
    notices.put(c, "folder:/photos", "/photos: it is on another disk")
    found = review(c)
    assert found is not None
    assert found.reasons == ("/photos: it is on another disk",)
    notices.drop(c, "folder:/photos")
    assert review(c) is None
    carry_out(c, job)


def test_a_passing_problem_does_not_end_a_lasting_hold(c: Connection) -> None:
    """A batch that was too large before the disk went away is held when it is back."""
    fill(c, *names(30))
    jobs = delete(c, *names(11))
    review(c)
    notices.put(c, "folder:/photos", "it is gone")
    review(c)
    outbox.cancel(c, jobs[0], now=NOW_S, reason="the file is back")
    notices.drop(c, "folder:/photos")
    assert review(c) is not None
    assert held(c) == 10


def test_approving_lets_exactly_the_held_ones_pass(c: Connection) -> None:
    """What comes later is judged anew, and the approved count for nothing then."""
    fill(c, *names(60))
    jobs = delete(c, *names(20))
    review(c)
    assert guard.approve(c) == 20
    assert guard.report(c) is None
    late = delete(c, *names(30)[20:])
    assert review(c) is None
    for job in jobs:
        carry_out(c, job)
    assert review(c) is None
    delete(c, "030.jpg")
    found = review(c)
    assert found is not None
    assert (found.count, found.reasons[0][:8]) == (len(late) + 1, "11 of 40")


def test_rejecting_keeps_the_images_and_forgets_the_files(c: Connection) -> None:
    """Nothing is deleted, and the next look does not ask for it again."""
    folder = fill(c, *names(30))
    jobs = delete(c, *names(11))
    review(c)
    assert guard.reject(c, now=NOW_S) == 11
    assert guard.report(c) is None
    assert meta.get(c, "guard") is None
    states = {_job(c, job).state for job in jobs}
    assert states == {JobState.CANCELLED}
    assert sorted(synced.files(c, folder)) == [n.encode() for n in names(30)[11:]]


def test_what_was_rejected_in_doubt_counts_for_nothing(c: Connection) -> None:
    """It waits for a look at its image: neither held again nor added to the next."""
    fill(c, *names(30))
    (first, *_) = delete(c, *names(11))
    outbox.requeue(
        c, first, not_before=NOW_S, error="503", is_counted=True, is_doubtful=True
    )
    review(c)
    assert guard.reject(c, now=NOW_S) == 11
    assert _job(c, first).state is JobState.QUEUED
    delete(c, *names(30)[20:])
    assert review(c) is None


def test_files_that_come_back_end_the_hold(c: Connection) -> None:
    """When all that was held is withdrawn, nothing is held and nothing is told."""
    fill(c, *names(30))
    jobs = delete(c, *names(11))
    review(c)
    for job in jobs:
        assert outbox.cancel(c, job, now=NOW_S, reason="the file is back")
    assert review(c) is None
    assert meta.get(c, "guard") is None
    (job,) = delete(c, "020.jpg")
    assert review(c, NOW_S + 1) is None
    carry_out(c, job)


def test_replaced_files_and_twins_count_for_nothing(c: Connection) -> None:
    """Editing every picture is no mass deletion; neither is tidying up after us."""
    fill(c, *names(30))
    delete(c, *names(20), is_replaced=True)
    for number in range(20):
        twin = DeleteImagePayload(None, ImageId(f"twin{number}"), is_twin=True)
        queueing.queue_delete(c, twin, now=NOW_S, grace_s=0.0)
    assert review(c) is None


def test_deletions_of_no_folder_are_judged_by_the_account(c: Connection) -> None:
    """What the drive deletes is compared with the account and its albums."""
    for number in range(30):
        image = Image(ImageId(f"i{number}"), "image/png", "", 1, 0)
        changes.image_uploaded(c, image, albums=[], now=NOW_S)
    for number in range(10):
        payload = DeleteImagePayload(None, ImageId(f"i{number}"))
        queueing.queue_delete(c, payload, now=NOW_S, grace_s=0.0)
    assert review(c) is None
    payload = DeleteImagePayload(None, ImageId("i11"))
    queueing.queue_delete(c, payload, now=NOW_S, grace_s=0.0)
    found = review(c)
    assert found is not None
    assert found.reasons == ("11 of 30 images of the account would go at once",)
    assert found.samples[0] == "image i0"


def test_it_can_be_turned_off(c: Connection) -> None:
    """Without the guard everything passes, also what it held before."""
    fill(c, *names(30))
    jobs = delete(c, *names(30))
    assert review(c) is not None
    assert review(c, is_on=False) is None
    for job in jobs:
        carry_out(c, job)


def test_turning_it_off_and_on_takes_no_approval_back(c: Connection) -> None:
    """What the user has approved is not held a second time."""
    fill(c, *names(30))
    delete(c, *names(30))
    review(c)
    assert guard.approve(c) == 30
    assert review(c, is_on=False) is None
    assert review(c) is None


def _job(c: Connection, job_id: JobId) -> Job:
    found = outbox.job(c, job_id)
    assert found is not None
    return found
