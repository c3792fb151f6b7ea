"""The durable queue: table ``job`` of state.db (its columns are told in ``schema``).

What it is not: it does not know what a job means (``imgurfs.jobs``) nor when one may
run (``imgurfs.drain``). Every function takes a connection first, so that a caller joins
several in one transaction: a job and the row it is about are written together.

The states, and who moves a job between them::

    put -> queued -> claim -> sending -> finish          -> done
             ^  |               |  |---> bury             -> dead
             |  '-> cancel      |  '---> mark_unknown     -> unknown
             '------- requeue --'

``claim`` is the intent: it is committed before the first byte leaves, so whatever is
found ``sending`` at start may have happened (:func:`recover`).
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

from imgurfs.model import JobId, Lane
from imgurfs.store.database import Connection, Row


class JobState(enum.StrEnum):
    """Where a job stands; ``schema`` says what each means."""

    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the table ``job``. Times are epochs, None where it never happened."""

    id: JobId
    kind: str
    lane: Lane
    state: JobState
    payload: str
    grouping: str
    key: str
    created_at: float
    not_before: float
    attempts: int
    sent_at: float | None
    settled_at: float | None
    marker: str
    result: str
    error: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many jobs stand where. ``next_due_at`` is None when nothing is queued."""

    queued: int = 0
    sending: int = 0
    unknown: int = 0
    done: int = 0
    dead: int = 0
    cancelled: int = 0
    next_due_at: float | None = None

    @property
    def unfinished(self) -> int:
        """Jobs that are not settled."""
        return self.queued + self.sending + self.unknown


_RANK = {lane: rank for rank, lane in enumerate(Lane)}
_LANE_RANK = "CASE {}.lane " + " ".join(
    f"WHEN '{lane}' THEN {rank}" for lane, rank in _RANK.items()
)

# A job of a group runs when none of the group is in the air, no more urgent one of it
# is queued (due or not: uploads wait for their album), and no earlier equal one is due.
_CANDIDATES = f"""
SELECT j.* FROM job AS j
WHERE j.state = 'queued' AND j.not_before <= :now AND j.kind = :kind
  AND (j.grouping = '' OR NOT EXISTS (
    SELECT 1 FROM job AS o
    WHERE o.grouping = j.grouping AND o.id <> j.id
      AND o.state IN ('queued', 'sending', 'unknown')
      AND (o.state <> 'queued'
        OR {_LANE_RANK.format("o")} END < {_LANE_RANK.format("j")} END
        OR (o.lane = j.lane AND o.id < j.id AND o.not_before <= :now))))
ORDER BY {_LANE_RANK.format("j")} END, j.id
LIMIT :limit
"""  # noqa: S608 - built from our own enumeration


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
) -> JobId | None:
    """Queue a job; None when an unfinished one with this key exists already."""
    cursor = c.execute(
        "INSERT INTO job (kind, lane, payload, grouping, key, created_at, not_before)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key) WHERE key <> '' AND state IN"
        " ('queued', 'sending', 'unknown') DO NOTHING",
        (kind, lane.value, payload, grouping, key, now, not_before),
    )
    if cursor.rowcount == 0:
        return None
    assert cursor.lastrowid is not None
    return JobId(cursor.lastrowid)


def job(c: Connection, job_id: JobId) -> Job | None:
    """Return one job, whatever its state."""
    row = c.execute("SELECT * FROM job WHERE id = ?", (job_id,)).fetchone()
    return None if row is None else _job(row)


def by_key(c: Connection, key: str) -> Job | None:
    """Return the unfinished job with this key."""
    row = c.execute(
        "SELECT * FROM job WHERE key = ? AND key <> ''"
        " AND state IN ('queued', 'sending', 'unknown')",
        (key,),
    ).fetchone()
    return None if row is None else _job(row)


def unfinished(c: Connection, *, kind: str = "", state: str = "") -> list[Job]:
    """Return jobs that are not settled, oldest first, of one kind or state if given."""
    rows = c.execute(
        "SELECT * FROM job WHERE state IN ('queued', 'sending', 'unknown')"
        " AND (? = '' OR kind = ?) AND (? = '' OR state = ?) ORDER BY id",
        (kind, kind, state, state),
    )
    return [_job(row) for row in rows]


def settled_with_key(c: Connection, key: str, state: JobState) -> list[Job]:
    """Return the settled jobs that had this key, oldest first."""
    rows = c.execute(
        "SELECT * FROM job WHERE state = ? AND key = ? ORDER BY id", (state.value, key)
    )
    return [_job(row) for row in rows]


def recent(c: Connection, state: JobState, limit: int) -> list[Job]:
    """Return the last settled jobs of a state, newest first."""
    rows = c.execute(
        "SELECT * FROM job WHERE state = ? ORDER BY settled_at DESC, id DESC LIMIT ?",
        (state.value, limit),
    )
    return [_job(row) for row in rows]


def candidates(c: Connection, *, kind: str, now: float, limit: int) -> list[Job]:
    """Return jobs of a kind that may run now, most urgent lane first, oldest first."""
    rows = c.execute(_CANDIDATES, {"kind": kind, "now": now, "limit": limit})
    return [_job(row) for row in rows]


def next_due_at(c: Connection) -> float | None:
    """Return when the next queued job becomes due (may be past), None for none."""
    row = c.execute("SELECT min(not_before) FROM job WHERE state = 'queued'").fetchone()
    return None if row[0] is None else float(row[0])


def claim(c: Connection, job_id: JobId, *, now: float, marker: str = "") -> Job | None:
    """Write the intent to send; None when the job is not waiting any more."""
    cursor = c.execute(
        "UPDATE job SET state = 'sending', attempts = attempts + 1, sent_at = ?,"
        " marker = ?, error = '' WHERE id = ? AND state = 'queued'",
        (now, marker, job_id),
    )
    return job(c, job_id) if cursor.rowcount else None


def finish(c: Connection, job_id: JobId, *, now: float, result: str = "") -> None:
    """Record that it happened, in the transaction that records its results."""
    _settle(c, job_id, JobState.DONE, now=now, result=result)


def bury(c: Connection, job_id: JobId, *, now: float, error: str) -> None:
    """Record that Imgur will never take it."""
    _settle(c, job_id, JobState.DEAD, now=now, error=error)


def cancel(c: Connection, job_id: JobId, *, now: float, reason: str) -> bool:
    """Withdraw a job that has not been sent; return whether that was possible."""
    cursor = c.execute(
        "UPDATE job SET state = 'cancelled', settled_at = ?, error = ?"
        " WHERE id = ? AND state = 'queued'",
        (now, reason, job_id),
    )
    return bool(cursor.rowcount)


def mark_unknown(c: Connection, job_id: JobId, *, error: str) -> None:
    """Hold a job that may have happened: nobody sends it again until it is resolved."""
    cursor = c.execute(
        "UPDATE job SET state = 'unknown', error = ?"
        " WHERE id = ? AND state = 'sending'",
        (error, job_id),
    )
    assert cursor.rowcount == 1, f"job {job_id} was not in the air"


def requeue(
    c: Connection, job_id: JobId, *, not_before: float, error: str, is_counted: bool
) -> None:
    """Let a job wait until ``not_before``, queued or proven not to have happened.

    ``is_counted`` False takes the attempt back: it did not reach Imgur.
    """
    cursor = c.execute(
        "UPDATE job SET state = 'queued', not_before = ?, error = ?,"
        " attempts = attempts - (state = 'sending' AND NOT ?)"
        " WHERE id = ? AND state IN ('queued', 'sending')",
        (not_before, error, is_counted, job_id),
    )
    assert cursor.rowcount == 1, f"job {job_id} is settled or unknown"


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


def recover(c: Connection, *, repeatable: Collection[str], error: str) -> list[Job]:
    """Sort out what a dead process left in the air; return what became unknown.

    Kinds in ``repeatable`` do no harm when they happen twice and are queued again.
    """
    left = unfinished(c, state=JobState.SENDING)
    lost = [job for job in left if job.kind not in repeatable]
    for job in left:
        if job.kind in repeatable:
            requeue(c, job.id, not_before=0.0, error=error, is_counted=True)
        else:
            mark_unknown(c, job.id, error=error)
    return lost


def statistics(c: Connection) -> Statistics:
    """Return how many jobs stand where."""
    counts = {
        str(row[0]): int(row[1])
        for row in c.execute("SELECT state, count(*) FROM job GROUP BY state")
    }
    return Statistics(
        queued=counts.get("queued", 0),
        sending=counts.get("sending", 0),
        unknown=counts.get("unknown", 0),
        done=counts.get("done", 0),
        dead=counts.get("dead", 0),
        cancelled=counts.get("cancelled", 0),
        next_due_at=next_due_at(c),
    )


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


def _job(row: Row) -> Job:
    return Job(
        id=JobId(row["id"]),
        kind=row["kind"],
        lane=Lane(row["lane"]),
        state=JobState(row["state"]),
        payload=row["payload"],
        grouping=row["grouping"],
        key=row["key"],
        created_at=row["created_at"],
        not_before=row["not_before"],
        attempts=row["attempts"],
        sent_at=row["sent_at"],
        settled_at=row["settled_at"],
        marker=row["marker"],
        result=row["result"],
        error=row["error"],
    )
