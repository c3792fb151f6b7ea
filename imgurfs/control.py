"""What a person decides about the outbox, and what each job waits for.

Functions over a connection, for ``Database.write`` or, where they only read, for
``Database.reader``. Nothing here sends, waits or prints; the running drainer sees in
the tables what was decided. Used by the commands and by other programs that steer the
queue; the rules of the queue itself are ``jobs``' and ``drain``'s.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from imgurfs import limits
from imgurfs.budget import Wait
from imgurfs.errors import UsageError, UserError
from imgurfs.jobs import disk, drive, drive_names, guard, queueing, resolve
from imgurfs.jobs.outcome import request_at
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.marker import parse_marker
from imgurfs.model import (
    Album,
    Image,
    ImageId,
    Inode,
    JobId,
    RequestClass,
)
from imgurfs.store import entries, meta, outbox, outbox_lists, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.outbox_lists import Tally
from imgurfs.store.synced import SkippedFile

#: The key in ``meta``; ``schema`` says what it holds.
_PAUSED_UNTIL: Final = "paused_until"
#: In `imgurfs status`: why a file that was cancelled is not uploaded.
_CANCELLED: Final = "you cancelled its upload; it is sent when it changes"


class Cause(enum.StrEnum):
    """What an unfinished job waits for; also the words in ``--json``."""

    SENDING = "sending"  # it is in the air
    DUE = "due"  # for nothing: whoever drains will send it
    ALBUM = "album"  # for its folder's album, or for further changes of its album
    RETRY = "retry"  # for another attempt
    BUDGET = "budget"  # for Imgur's limits
    GRACE = "grace"  # a deletion that can still be undone
    QUARANTINE = "quarantine"  # for a look whether it happened
    PAUSED = "paused"  # for the end of a pause
    GUARD = "guard"  # for the user: a deletion that looks like a mistake
    DECISION = "decision"  # for the user: nobody can tell whether it happened


#: Jobs that are withdrawn in one transaction: other processes have to write as well.
BATCH: Final = 500
#: Causes that only a person ends (a pause without an end as well).
NEEDS_USER: Final = frozenset({Cause.GUARD, Cause.DECISION})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job is not done. ``until`` is an epoch, None when no time is known."""

    cause: Cause
    until: float | None
    reason: str

    @property
    def needs_user(self) -> bool:
        """Whether only a decision of the user lets it go on."""
        is_endless = self.cause is Cause.PAUSED and self.until is None
        return is_endless or self.cause in NEEDS_USER


@dataclass(frozen=True, slots=True)
class Undone:
    """A deletion that was called off.

    ``files`` are the paths that were the image; ``places`` the names it has on the
    drive again (inode of the directory, name).
    """

    job_id: JobId
    image_id: ImageId
    files: tuple[bytes, ...]
    places: tuple[tuple[Inode, str], ...] = ()


# --- Pausing -----------------------------------------------------------------


def pause(c: Connection, until: float) -> None:
    """Send nothing before ``until`` (an epoch; infinity: until resumed)."""
    meta.put_time(c, _PAUSED_UNTIL, until)


def resume(c: Connection) -> bool:
    """End a pause; return whether there was one."""
    was_paused = meta.get(c, _PAUSED_UNTIL) is not None
    meta.drop(c, _PAUSED_UNTIL)
    return was_paused


def paused_until(c: Connection, *, now: float) -> float | None:
    """Return when the pause ends (maybe infinity), None when nothing is paused."""
    until = meta.get_time(c, _PAUSED_UNTIL)
    return until if until is not None and until > now else None


# --- What a job waits for ----------------------------------------------------


def waiting_of(
    job: Job | Tally,
    *,
    now: float,
    paused_until: float | None,
    peek: Callable[[RequestClass], Wait | None],
) -> Waiting:
    """Return what an unfinished job, or a group of them, waits for."""
    if job.state is JobState.SENDING:
        return Waiting(Cause.SENDING, None, "it is being sent")
    if job.state is JobState.UNKNOWN:
        return _of_unknown(job, now)
    if job.guard == "held":
        return Waiting(Cause.GUARD, None, "held: it looks like a mistake")
    if paused_until is not None and paused_until > job.not_before:
        until = None if math.isinf(paused_until) else paused_until
        return Waiting(Cause.PAUSED, until, "you paused sending")
    wait = peek(request_at(job.kind, job.lane))
    if wait is not None and wait.until >= job.not_before:
        until = None if math.isinf(wait.until) else wait.until
        return Waiting(Cause.BUDGET, until, wait.reason)
    return _of_delayed(job, now)


def _of_unknown(job: Job | Tally, now: float) -> Waiting:
    # After a look, only what the user has to decide is left alone for longer.
    if job.looks and job.not_before > now + limits.SECOND_LOOK_S:
        return Waiting(Cause.DECISION, None, f"held: {job.error}")
    reason = f"held, nobody knows whether it happened ({job.error}); it is looked for"
    return Waiting(Cause.QUARANTINE, job.not_before, reason)


def _of_delayed(job: Job | Tally, now: float) -> Waiting:
    """Return what a queued job waits for that budget and user would let pass."""
    until = job.not_before if job.not_before > now else None
    if job.error:
        return Waiting(Cause.RETRY, until, job.error)
    is_first = not job.grouping or job.kind == queueing.CREATE_ALBUM
    if until is None and is_first:
        return Waiting(Cause.DUE, None, "it is next")
    if job.kind == queueing.DELETE_IMAGE:
        return Waiting(Cause.GRACE, until, "the deletion can be undone")
    if job.grouping:
        return Waiting(Cause.ALBUM, until, "it waits for its folder's album")
    return Waiting(Cause.ALBUM, until, "further changes of the album are awaited")


# --- Deciding about jobs -----------------------------------------------------


def undo(c: Connection, job_id: JobId | None = None, *, now: float) -> list[Undone]:
    """Call off one deletion that waits, or the first ``BATCH``; the images stay.

    The files that are gone are forgotten, or the next look would ask for the same
    deletion. Raises UsageError for an unknown id and UserError when the job is not a
    deletion that can be called off.
    """
    if job_id is None:
        waiting = outbox_lists.listed(
            c, states=[JobState.QUEUED], kind=queueing.DELETE_IMAGE, limit=BATCH
        )
    else:
        waiting = [_deletion(c, job_id)]
    return [_call_off(c, job, now) for job in waiting if not job.is_doubtful]


def _deletion(c: Connection, job_id: JobId) -> Job:
    job = _job(c, job_id)
    if job.kind != queueing.DELETE_IMAGE:
        raise UserError(
            f"job {job_id} is not a deletion ({drive_names.what(c, job)})",
            hint=f"to withdraw it: imgurfs queue cancel {job_id}",
        )
    if job.state is JobState.QUEUED and not job.is_doubtful:
        return job
    if job.state is JobState.CANCELLED:
        raise UserError(f"job {job_id} was called off already: {job.error}")
    raise UserError(
        f"job {job_id} was sent: the image is deleted, or about to be",
        hint="Imgur brings nothing back; the file can be uploaded again",
    )


def _call_off(c: Connection, job: Job, now: float) -> Undone:
    payload = queueing.decode(job, DeleteImagePayload)
    image_id = payload.image_id
    files = tuple(path for _, path in synced.paths_of(c, image_id))
    guard.withdraw(c, job, now=now, reason="you undid it")
    node = entries.node_of_image(c, image_id)
    named = entries.entries_of(c, node.inode) if node and payload.places else []
    places = tuple((parent, name) for parent, name, _ in named)
    return Undone(job.id, image_id, files, places)


def retry(c: Connection, job_id: JobId, *, now: float) -> Job:
    """Let a rejected job, or one that waits for another attempt, be sent now.

    Raises UsageError for an unknown id and UserError when there is nothing to retry.
    """
    job = _job(c, job_id)
    if job.state is JobState.QUEUED and job.error:
        outbox.requeue(c, job.id, not_before=now, error=job.error, is_counted=True)
    elif job.state is JobState.DEAD:
        _revive(c, job, now)
    elif job.state is JobState.UNKNOWN:
        raise UserError(
            f"job {job_id} may have happened: sent blindly it could happen twice",
            hint=f"if you know that it did not: imgurfs queue resolve {job_id}"
            " --did-not-happen",
        )
    else:
        raise UserError(
            f"job {job_id} is {job.state}: there is nothing to retry",
            hint=f"see: imgurfs queue show {job_id}",
        )
    return _job(c, job_id)


def _requeue(c: Connection, job: Job, now: float) -> None:
    if not outbox.send_again(c, job.id, now=now, reason="you asked for another try"):
        rival = outbox.by_key(c, job.key)
        raise UserError(
            f"job {rival.id if rival else '?'} does the same as job {job.id} already"
        )


def _revive(c: Connection, job: Job, now: float) -> None:
    _requeue(c, job, now)
    if job.kind == queueing.UPLOAD:
        upload = queueing.decode(job, UploadPayload)
        synced.forget_skipped(c, upload.folder, upload.path)
        if queueing.is_from_drive(upload):
            _wait_again(c, job, upload, now)


def _wait_again(c: Connection, job: Job, upload: UploadPayload, now: float) -> None:
    if not drive.wait_again(c, upload, job.error, now=now):
        raise UserError(
            f"job {job.id}: the file was changed or removed since",
            hint="what it is now is uploaded by itself",
        )


def retry_rejected(c: Connection, *, now: float) -> list[Job]:
    """Let every rejected job be sent again that no later job stands in for."""
    revived = []
    for job in outbox_lists.rejected(c):
        if job.key == "" or outbox.by_key(c, job.key) is None:
            _revive(c, job, now)
            revived.append(_job(c, job.id))
    return revived


def cancel(c: Connection, job_id: JobId, *, now: float) -> Job:
    """Withdraw a job that waits, or put a rejected one off the list.

    A cancelled upload's file is skipped until it changes; a cancelled deletion is
    undone. Raises UsageError for an unknown id and UserError when it was sent.
    """
    job = _job(c, job_id)
    was_dead = job.state is JobState.DEAD
    if was_dead:
        _requeue(c, job, now)
        job = _job(c, job_id)
    if job.state is JobState.UNKNOWN:
        raise UserError(
            f"job {job_id} was sent and may have happened: it cannot be cancelled",
            hint=f"say what came of it: imgurfs queue resolve {job_id}",
        )
    if job.state is not JobState.QUEUED:
        raise UserError(f"job {job_id} is {job.state}: it cannot be cancelled")
    if job.kind == queueing.DELETE_IMAGE:
        _call_off(c, job if was_dead else _deletion(c, job_id), now)
    elif outbox.cancel(c, job.id, now=now, reason="you cancelled it"):
        is_file = job.kind == queueing.UPLOAD
        reason = _CANCELLED if is_file else "you cancelled it"
        drive.called_off(c, job, reason, now=now)
    if job.kind == queueing.UPLOAD:
        _skip(c, queueing.decode(job, UploadPayload))
    return _job(c, job_id)


def _skip(c: Connection, upload: UploadPayload) -> None:
    """Leave a file alone until it changes; one that is gone needs nothing."""
    if upload.folder == queueing.BY_HAND:
        return
    folder = synced.folder(c, upload.folder)
    found = disk.identify(folder.path + b"/" + upload.path) if folder else None
    if found is not None:
        _, _, size_bytes, mtime_ns = found
        skipped = SkippedFile(upload.path, size_bytes, mtime_ns, _CANCELLED)
        synced.put_skipped(c, upload.folder, skipped)


def unresolved(c: Connection, job_id: JobId) -> Job:
    """Return a job of which nobody knows whether it happened.

    Raises UsageError for an unknown id and UserError when its outcome is known.
    """
    job = _job(c, job_id)
    if job.state is not JobState.UNKNOWN:
        raise UserError(
            f"job {job_id} is {job.state}: there is nothing to resolve",
            hint=f"see: imgurfs queue show {job_id}",
        )
    return job


def did_not_happen(c: Connection, job_id: JobId, *, now: float) -> Job:
    """Send a job of unknown outcome again, with the same marker: it did not happen.

    Raises what :func:`unresolved` does.
    """
    job = unresolved(c, job_id)
    if not outbox.send_again(c, job.id, now=now, reason="you said it did not happen"):
        raise UserError(f"another job does the same as job {job_id} already")
    return _job(c, job_id)


def happened(c: Connection, job_id: JobId, made: Image | Album, *, now: float) -> Job:
    """Record that a job of unknown outcome made this image or album.

    Raises what :func:`unresolved` does, and UserError when that cannot be.
    """
    job = unresolved(c, job_id)
    is_album = job.kind == queueing.CREATE_ALBUM
    if is_album is not isinstance(made, Album):
        kind = "an album" if is_album else "an image"
        raise UserError(f"job {job_id} was to make {kind}; {made.id} is none")
    if isinstance(made, Image):
        _check_image(c, job, made)
    resolve.happened_as(job, made, now=now)(c)
    return _job(c, job_id)


def _check_image(c: Connection, job: Job, image: Image) -> None:
    """Refuse an image that is known to have come from something else."""
    if bound := synced.paths_of(c, image.id):
        path = bound[0][1].decode("utf-8", "backslashreplace")
        raise UserError(f"image {image.id} is the file {path} already")
    if resolve.is_bound(c, image):
        raise UserError(f"image {image.id} was made by another upload")
    marker = parse_marker(image.name)
    if marker is not None and str(marker) != job.marker:
        raise UserError(
            f"image {image.id} carries the mark of another upload",
            hint=f"the mark of job {job.id} is {job.marker}",
        )


def leave_folder(c: Connection, path: bytes, *, now: float) -> tuple[int, int]:
    """Withdraw up to ``BATCH`` uploads of a folder that nobody watches any more.

    Its deletions are all withdrawn. Returns how many of both; repeat until none is
    left. What was synced stays known: the folder may come back.
    """
    folder = synced.folder_at(c, path)
    if folder is None:
        return 0, 0
    reason = "the folder is not watched any more"
    uploads = [
        outbox.cancel(c, job.id, now=now, reason=reason)
        for job in outbox_lists.unfinished_with_prefix(
            c, queueing.upload_key(folder.id, b""), limit=BATCH
        )
    ]
    deletions = [
        outbox.cancel(c, job.id, now=now, reason=reason)
        or queueing.unwant_delete(c, job.id, now=now, reason=reason)
        for job in outbox_lists.listed(
            c, states=[JobState.QUEUED], kind=queueing.DELETE_IMAGE
        )
        if (delete := queueing.decode(job, DeleteImagePayload)).folder == folder.id
        and not delete.is_unwanted
    ]
    return sum(uploads), sum(deletions)


def _job(c: Connection, job_id: JobId) -> Job:
    found = outbox.job(c, job_id)
    if found is None:
        raise UsageError(f"there is no job {job_id}", hint="list them: imgurfs queue")
    return found
