"""The durable queue: table ``job`` of state.db (its columns are told in ``schema``).

What it is not: it does not know what a job means (``imgurfs.jobs``) nor when one may
run (``imgurfs.drain``). Every function takes a connection first, so that a caller joins
several in one transaction: a job and the row it is about are written together.

The states, and who moves a job between them::

    put -> queued -> claim -> sending -> finish          -> done
             ^  |               |  |---> bury             -> dead
             |  '-> cancel      |  '---> mark_unknown     -> unknown
             '------- requeue --'             unknown -> looked, send_again, finish

``claim`` is the intent: it is committed before the first byte leaves, so whatever is
found ``sending`` at start may have happened (:func:`recover`).
"""

from __future__ import annotations

from collections.abc import Collection

from imgurfs.model import JobId, Lane
from imgurfs.store.database import Connection
from imgurfs.store.outbox_reads import (
    Job,
    JobState,
    Statistics,
    by_key,
    deletions_stamp,
    drive_marks_in_doubt,
    first_of_turn,
    has_unfinished_turn,
    job,
    lanes,
    last_of_group,
    next_due_at,
    recent,
    results,
    settled_with_key,
    statistics,
    turns,
    unfinished,
    unknown_with_marker,
    was_repeated,
)

__all__ = [
    "Job",
    "JobState",
    "Statistics",
    "bury",
    "by_key",
    "cancel",
    "claim",
    "deletions_stamp",
    "drive_marks_in_doubt",
    "finish",
    "first_of_turn",
    "has_unfinished_turn",
    "job",
    "join_group",
    "lanes",
    "last_of_group",
    "leave_group",
    "looked",
    "mark_unknown",
    "next_due_at",
    "postpone",
    "put",
    "recent",
    "recover",
    "requeue",
    "results",
    "rewrite",
    "send_again",
    "set_guard",
    "settled_with_key",
    "statistics",
    "turns",
    "unfinished",
    "unknown_with_marker",
    "was_repeated",
]


def put(
    c: Connection,
    *,
    kind: str,
    lane: Lane,
    payload: str,
    now: float,
    key: str = "",
    grouping: str = "",
    not_before: float = 0.0,
    turn: str = "",
    size_bytes: int = 0,
) -> JobId | None:
    """Queue a job; None when an unfinished one with this key exists already."""
    cursor = c.execute(
        "INSERT INTO job (kind, lane, payload, grouping, key, created_at, not_before,"
        " turn, size_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key) WHERE key <> '' AND state IN"
        " ('queued', 'sending', 'unknown') DO NOTHING",
        (
            kind,
            lane.value,
            payload,
            grouping,
            key,
            now,
            not_before,
            turn,
            size_bytes,
        ),
    )
    if cursor.rowcount == 0:
        return None
    assert cursor.lastrowid is not None
    return JobId(cursor.lastrowid)


def claim(
    c: Connection, job_id: JobId, *, now: float, marker: str = "", payload: str = ""
) -> Job | None:
    """Write the intent to send; None when the job is not waiting any more.

    ``payload`` replaces the job's, when what is sent was decided just now.
    """
    cursor = c.execute(
        "UPDATE job SET state = 'sending', attempts = attempts + 1, sent_at = ?,"
        " first_sent_at = coalesce(first_sent_at, ?), looks = 0, marker = ?,"
        " payload = CASE ? WHEN '' THEN payload ELSE ? END, error = ''"
        " WHERE id = ? AND state = 'queued' AND guard <> 'held'",
        (now, now, marker, payload, payload, job_id),
    )
    return job(c, job_id) if cursor.rowcount else None


def finish(c: Connection, job_id: JobId, *, now: float, result: str = "") -> None:
    """Record that it happened, in the transaction that records its results."""
    _settle(c, job_id, JobState.DONE, now=now, result=result)


def bury(c: Connection, job_id: JobId, *, now: float, error: str) -> None:
    """Record that Imgur will never take it."""
    _settle(c, job_id, JobState.DEAD, now=now, error=error)


def cancel(c: Connection, job_id: JobId, *, now: float, reason: str) -> bool:
    """Withdraw a job that has not been sent; return whether that was possible.

    One of which an attempt may have happened is not withdrawn either.
    """
    cursor = c.execute(
        "UPDATE job SET state = 'cancelled', settled_at = ?, error = ?"
        " WHERE id = ? AND state = 'queued' AND NOT is_doubtful",
        (now, reason, job_id),
    )
    return bool(cursor.rowcount)


def mark_unknown(
    c: Connection, job_id: JobId, *, error: str, look_at: float = 0.0
) -> None:
    """Hold a job that may have happened: nobody sends it again until it is resolved.

    Its effect is looked for from ``look_at`` on (an epoch).
    """
    cursor = c.execute(
        "UPDATE job SET state = 'unknown', error = ?, not_before = ?, looks = 0"
        " WHERE id = ? AND state = 'sending'",
        (error, look_at, job_id),
    )
    assert cursor.rowcount == 1, f"job {job_id} was not in the air"


def looked(
    c: Connection, job_id: JobId, *, look_at: float, error: str | None = None
) -> None:
    """Note that an unknown job's effect was not found; look again at ``look_at``."""
    c.execute(
        "UPDATE job SET looks = looks + 1, not_before = ?, error = coalesce(?, error)"
        " WHERE id = ? AND state = 'unknown'",
        (look_at, error, job_id),
    )


def send_again(c: Connection, job_id: JobId, *, now: float, reason: str) -> bool:
    """Queue a job again that is known not to have happened, or that was given up.

    Its marker stays, so a late twin is recognised. False when it is neither unknown
    nor dead, or another job has its key by now.
    """
    found = job(c, job_id)
    if found is None or found.state not in (JobState.UNKNOWN, JobState.DEAD):
        return False
    rival = by_key(c, found.key) if found.key else None
    if rival is not None and rival.id != job_id:
        return False
    c.execute(
        "UPDATE job SET state = 'queued', not_before = ?, error = ?, looks = 0,"
        " settled_at = NULL WHERE id = ?",
        (now, reason, job_id),
    )
    return True


def set_guard(c: Connection, job_id: JobId, guard: str) -> None:
    """Hold a queued deletion ("held"), let it pass ("approved"), or neither ("")."""
    c.execute(
        "UPDATE job SET guard = ? WHERE id = ? AND state = 'queued'", (guard, job_id)
    )


def postpone(c: Connection, job_id: JobId, *, not_before: float) -> None:
    """Let a queued job wait until then at least."""
    c.execute(
        "UPDATE job SET not_before = max(not_before, ?)"
        " WHERE id = ? AND state = 'queued'",
        (not_before, job_id),
    )


def rewrite(c: Connection, job_id: JobId, *, payload: str) -> None:
    """Replace what a queued job is to do."""
    c.execute(
        "UPDATE job SET payload = ? WHERE id = ? AND state = 'queued'",
        (payload, job_id),
    )


def requeue(
    c: Connection,
    job_id: JobId,
    *,
    not_before: float,
    error: str,
    is_counted: bool,
    is_doubtful: bool = False,
) -> None:
    """Let a job wait until ``not_before``, queued or proven not to have happened.

    ``is_counted`` False takes the attempt back: it did not reach Imgur. What may have
    happened ``is_doubtful``: whoever does not want it any more must look first.
    """
    cursor = c.execute(
        "UPDATE job SET state = 'queued', not_before = ?, error = ?,"
        " attempts = attempts - (state = 'sending' AND NOT ?),"
        " is_doubtful = max(is_doubtful, ?)"
        " WHERE id = ? AND state IN ('queued', 'sending')",
        (not_before, error, is_counted, is_doubtful, job_id),
    )
    assert cursor.rowcount == 1, f"job {job_id} is settled or unknown"


def clear_doubt(c: Connection, job_id: JobId) -> None:
    """Note that no attempt of a queued job has happened: somebody has looked."""
    c.execute("UPDATE job SET is_doubtful = 0 WHERE id = ?", (job_id,))


def wake(c: Connection, *, kind: str, error: str, now: float) -> None:
    """Let the queued jobs of a kind that wait for one reason be looked at now."""
    c.execute(
        "UPDATE job SET not_before = ?, error = ''"
        " WHERE state = 'queued' AND kind = ? AND error = ?",
        (now, kind, error),
    )


def join_group(c: Connection, job_id: JobId, grouping: str) -> None:
    """Put a job that is queued or in the air into a group."""
    c.execute(
        "UPDATE job SET grouping = ? WHERE id = ? AND state IN ('queued', 'sending')",
        (grouping, job_id),
    )


def leave_group(
    c: Connection, *, grouping: str = "", job_id: JobId | None = None
) -> None:
    """Take one job, or every queued job of a group, out of its group."""
    if job_id is not None:
        c.execute("UPDATE job SET grouping = '' WHERE id = ?", (job_id,))
    if grouping:
        c.execute(
            "UPDATE job SET grouping = '' WHERE grouping = ? AND state = 'queued'",
            (grouping,),
        )


def recover(
    c: Connection,
    *,
    repeatable: Collection[str],
    error: str,
    look_at: float = 0.0,
    doubtful: Collection[str] = (),
) -> list[Job]:
    """Sort out what a dead process left in the air; return what became unknown.

    Kinds in ``repeatable`` do no harm when they happen twice and are queued again; it
    was not their fault, so the attempt does not count. Those in ``doubtful`` must not
    be withdrawn unseen after that. The effect of the others is looked for from
    ``look_at`` on.
    """
    left = unfinished(c, state=JobState.SENDING)
    lost = [one for one in left if one.kind not in repeatable]
    for one in left:
        if one.kind in repeatable:
            requeue(
                c,
                one.id,
                not_before=0.0,
                error=error,
                is_counted=False,
                is_doubtful=one.kind in doubtful,
            )
        else:
            mark_unknown(c, one.id, error=error, look_at=look_at)
    return lost


def _settle(
    c: Connection,
    job_id: JobId,
    state: JobState,
    *,
    now: float,
    result: str = "",
    error: str = "",
) -> None:
    cursor = c.execute(
        "UPDATE job SET state = ?, settled_at = ?, result = ?, error = ?"
        " WHERE id = ? AND state IN ('queued', 'sending', 'unknown')",
        (state.value, now, result, error, job_id),
    )
    assert cursor.rowcount == 1, f"job {job_id} is settled already"
