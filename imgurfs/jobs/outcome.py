"""What is written around a job's attempt: the intent before, the failure after.

Inside ``Database.write`` only; used by ``drain``, which decides when. What success
writes is ``jobs.settle``'s.
"""

from __future__ import annotations

import math

from imgurfs.budget import Ledger
from imgurfs.errors import ImgurfsError
from imgurfs.jobs import drive, guard, queueing, verdict
from imgurfs.jobs.steps import Ready, Resolved
from imgurfs.model import Lane, RequestClass, RequestKind
from imgurfs.store import outbox
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState


def is_as_prepared(c: Connection, job: Job) -> bool:
    """Whether nobody has withdrawn the job, or asked for something else, meanwhile.

    One that is to do something else now is due still, and prepared again.
    """
    current = outbox.job(c, job.id)
    return (
        current is not None
        and current.state is JobState.QUEUED
        and current.payload == job.payload
    )


def resolve(c: Connection, job: Job, step: Resolved) -> bool:
    """Settle a job of which nothing needs to be sent; return whether that is so."""
    if not (is_as_prepared(c, job) and step.is_still(c)):
        return False
    step.write(c)
    return True


def claim(
    c: Connection, job: Job, ready: Ready, *, now: float, is_guarded: bool
) -> Job | None:
    """Write the intent to send, unless the guard or the user objects."""
    if not (is_as_prepared(c, job) and ready.is_still(c)):
        return None
    if job.kind == queueing.DELETE_IMAGE and job.guard != "approved":
        guard.review(c, now=now, is_on=is_guarded)
    claimed = outbox.claim(
        c, job.id, now=now, marker=ready.marker, payload=ready.payload
    )
    if claimed is not None and ready.on_claim is not None:
        ready.on_claim(c)
    return claimed


def abandon(c: Connection, job: Job, look_at: float) -> None:
    """Do what recovery would do at the next start, for one job."""
    if job.kind in queueing.REPEATABLE:
        outbox.requeue(
            c,
            job.id,
            not_before=0.0,
            error="interrupted",
            is_counted=False,
            is_doubtful=job.kind == queueing.DELETE_IMAGE,
        )
        return
    error = "the program stopped while it was sent"
    _hold(c, job, error=error, look_at=look_at)


def requeue(
    c: Connection, job: Job, not_before: float, error: str, *, is_counted: bool
) -> None:
    """Let a job wait, unless somebody has withdrawn it meanwhile."""
    current = outbox.job(c, job.id)
    if current is None or current.state not in (JobState.QUEUED, JobState.SENDING):
        return
    # What was not even sent cannot have happened.
    is_sent = current.state is JobState.SENDING
    outbox.requeue(
        c,
        job.id,
        not_before=not_before,
        error=error,
        is_counted=is_counted,
        is_doubtful=is_counted and is_sent and job.kind == queueing.DELETE_IMAGE,
    )


def fail(
    c: Connection,
    job: Job,
    ready: Ready | None,
    error: ImgurfsError,
    decision: verdict.Verdict,
    *,
    now: float,
    look_at: float,
) -> bool:
    """Write what became of a failed attempt; return whether the job is dead."""
    match decision:
        case verdict.Requeue():
            requeue(
                c,
                job,
                decision.not_before,
                error.message,
                is_counted=decision.is_counted,
            )
        case verdict.GiveUp():
            # What is wrong is not the job's, and is told once, for all of them.
            requeue(c, job, now, "", is_counted=False)
        case verdict.Hold():
            _hold(c, job, error=error.message, look_at=look_at)
        case verdict.Bury():
            hook = ready.on_rejected if ready else None
            if hook is not None and hook(c, error):
                requeue(c, job, now, error.message, is_counted=True)
                return False
            outbox.bury(c, job.id, now=now, error=error.message)
            drive.called_off(c, job, error.message, now=now)
            return True
    return False


def _hold(c: Connection, job: Job, *, error: str, look_at: float) -> None:
    outbox.mark_unknown(c, job.id, error=error, look_at=look_at)
    if job.kind == queueing.UPLOAD:
        # It creates no album: the directory's other files need not wait for it.
        outbox.leave_group(c, job_id=job.id)


def next_due_at(
    c: Connection, *, now: float, without: str = queueing.DELETE_IMAGE
) -> float:
    """Return when a queued job, but of one kind, becomes due next; inf for none."""
    row = c.execute(
        "SELECT min(not_before) FROM job WHERE state = 'queued' AND not_before > ?"
        " AND kind <> ? AND guard <> 'held'",
        (now, without),
    ).fetchone()
    return math.inf if row[0] is None else float(row[0])


def budget_allows_at(
    c: Connection, *, ledger: Ledger, without: str = queueing.DELETE_IMAGE
) -> float:
    """Return when the budget allows a queued job, but of one kind; inf for none."""
    moments = [math.inf]
    for kind in queueing.KINDS:
        if kind == without:
            continue
        for lane in outbox.lanes(c, kind=kind):
            wait = ledger.peek(request_at(kind, lane))
            if wait is not None:
                moments.append(wait.until)
    return min(moments)


def request_at(kind: str, lane: Lane) -> RequestClass:
    """Return what a job of a kind in a lane costs at most."""
    if kind == queueing.UPLOAD:
        return RequestClass(RequestKind.UPLOAD, lane, is_post=True)
    if kind == queueing.VERIFY:
        return RequestClass(RequestKind.READ, lane)
    is_delete = kind in (queueing.DELETE_IMAGE, queueing.DELETE_ALBUM)
    return RequestClass(RequestKind.CHANGE, lane, is_post=not is_delete)
