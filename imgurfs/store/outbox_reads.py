"""Reading the outbox: what a job is, and which may run. No writing here.

:mod:`imgurfs.store.outbox` writes the same table and offers these names as well; other
packages import from there. All functions are short reads that may run on the trio
thread with ``Database.reader``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass
from operator import attrgetter

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
    turn: str
    size_bytes: int
    first_sent_at: float | None
    looks: int
    guard: str
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many jobs stand where. ``next_due_at`` is None when nothing is queued.

    ``unsent_bytes`` is what unfinished uploads still have to send.
    """

    queued: int = 0
    sending: int = 0
    unknown: int = 0
    done: int = 0
    dead: int = 0
    cancelled: int = 0
    next_due_at: float | None = None
    unsent_bytes: int = 0

    @property
    def unfinished(self) -> int:
        """Jobs that are not settled."""
        return self.queued + self.sending + self.unknown


# All that decides is in the index, or SQLite would rather sort all that is due.
_OF_TURN = (
    "SELECT id, grouping FROM job WHERE state = 'queued' AND kind = ? AND lane = ?"
    " AND turn = ? AND not_before <= ? AND guard <> 'held' AND grouping NOT IN ({})"
    " ORDER BY id"
)
#: Each turn by a lookup behind the last one, not by reading all jobs.
_NEXT_TURN = (
    "SELECT min(turn) FROM job WHERE state = 'queued' AND kind = ?1 AND lane = ?2"
)
_TURNS = (
    f"WITH RECURSIVE found (turn) AS ({_NEXT_TURN} UNION ALL"  # noqa: S608
    f" SELECT ({_NEXT_TURN} AND turn > found.turn) FROM found"
    " WHERE found.turn IS NOT NULL)"
    " SELECT turn FROM found WHERE turn IS NOT NULL"
)


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


def last_of_group(c: Connection, grouping: str) -> Job | None:
    """Return the youngest unfinished job of a group."""
    row = c.execute(
        "SELECT * FROM job WHERE grouping = ? AND grouping <> ''"
        " AND state IN ('queued', 'sending', 'unknown') ORDER BY id DESC LIMIT 1",
        (grouping,),
    ).fetchone()
    return None if row is None else _job(row)


def unfinished(c: Connection, *, kind: str = "", state: str = "") -> list[Job]:
    """Return jobs that are not settled, oldest first, of one kind or state if given."""
    # Each state and kind by an index: a drainer asks for a few of many in every turn.
    sql = "SELECT * FROM job WHERE state = ?"
    others: tuple[str, ...] = ()
    if kind:
        sql, others = "SELECT * FROM job WHERE state = ? AND kind = ?", (kind,)
    found: list[Job] = []
    for one in [state] if state else ["queued", "sending", "unknown"]:
        found += map(_job, c.execute(sql, (one, *others)))
    return sorted(found, key=attrgetter("id"))


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


def next_due_at(c: Connection) -> float | None:
    """Return when the next queued job becomes due (may be past), None for none."""
    row = c.execute("SELECT min(not_before) FROM job WHERE state = 'queued'").fetchone()
    return None if row[0] is None else float(row[0])


def unknown_with_marker(c: Connection, marker: str) -> list[Job]:
    """Return the jobs in the air or of unknown outcome that carry this marker."""
    rows = c.execute(
        "SELECT * FROM job WHERE marker = ? AND marker <> ''"
        " AND state IN ('sending', 'unknown') ORDER BY id",
        (marker,),
    )
    return [_job(row) for row in rows]


def drive_marks_in_doubt(c: Connection) -> set[str]:
    """Return the markers of the drive's uploads in the air or of unknown outcome."""
    rows = c.execute(
        "SELECT marker FROM job WHERE state IN ('sending', 'unknown')"
        " AND marker <> '' AND key GLOB 'upload:0:*'"
    )
    return {row[0] for row in rows}


def was_repeated(c: Connection, marker: str) -> bool:
    """Whether an upload with this marker was sent more than once."""
    row = c.execute(
        "SELECT 1 FROM job WHERE marker = ? AND attempts > 1 LIMIT 1", (marker,)
    ).fetchone()
    return row is not None


def results(c: Connection, *, kind: str, marker: str = "") -> list[str]:
    """Return the results of the done jobs of a kind, with one marker if given."""
    # "+" when there is a marker: by its index.
    if marker:
        where = "marker = ? AND marker <> '' AND +state = 'done' AND +kind = ?"
        rows = c.execute(f"SELECT result FROM job WHERE {where}", (marker, kind))  # noqa: S608
    else:
        rows = c.execute(
            "SELECT result FROM job WHERE state = 'done' AND kind = ?", (kind,)
        )
    return [row[0] for row in rows]


def has_unfinished_turn(c: Connection, turn: str) -> bool:
    """Whether jobs of this turn are queued or in the air.

    One of unknown outcome may wait for the user: it is none of them.
    """
    row = c.execute(
        "SELECT 1 FROM job WHERE turn = ? AND turn <> ''"
        " AND state IN ('queued', 'sending') LIMIT 1",
        (turn,),
    ).fetchone()
    return row is not None


def deletions_stamp(c: Connection) -> tuple[int, int, int]:
    """Return something that changes when there are new deletions to judge.

    Or when a folder can be read again, or not any more (``store.notices``).
    """
    row = c.execute(
        "SELECT count(*), coalesce(max(id), 0) FROM job"
        " WHERE state = 'queued' AND kind = 'delete_image' AND guard = ''"
    ).fetchone()
    troubled = c.execute(
        "SELECT count(*) FROM meta"
        " WHERE key >= 'notice:folder:' AND key < 'notice:folder;'"
    ).fetchone()
    return (int(row[0]), int(row[1]), int(troubled[0]))


def lanes(c: Connection, *, kind: str) -> list[Lane]:
    """Return the lanes in which jobs of a kind are queued, most urgent first."""
    found = "SELECT 1 FROM job WHERE state = 'queued' AND kind = ? AND lane = ? LIMIT 1"
    return [lane for lane in Lane if c.execute(found, (kind, lane.value)).fetchone()]


def turns(c: Connection, *, kind: str, lane: Lane) -> list[str]:
    """Return whose jobs of a kind are queued in a lane."""
    return [row[0] for row in c.execute(_TURNS, (kind, lane.value))]


def first_of_turn(
    c: Connection,
    *,
    kind: str,
    lane: Lane,
    turn: str,
    now: float,
    without: Collection[JobId] = (),
) -> Job | None:
    """Return the oldest job of a turn that may run now, ``without`` those."""
    blocked: list[str] = []
    while True:
        sql = _OF_TURN.format(", ".join("?" * len(blocked)))
        rows = c.execute(sql, (kind, lane.value, turn, now, *blocked))
        found = next((row for row in rows if row["id"] not in without), None)
        if found is None:
            return None
        if not found["grouping"] or not _is_blocked(c, found, lane, now):
            return job(c, found["id"])
        blocked.append(found["grouping"])


def _is_blocked(c: Connection, row: Row, lane: Lane, now: float) -> bool:
    """Whether a queued job of a group must wait for others of it.

    It runs when none of the group is in the air, no more urgent one of it is queued
    (due or not: uploads wait for their album), and no earlier equal one is due.
    """
    lanes = list(Lane)
    urgent = lanes[: lanes.index(lane)]
    in_group = "SELECT 1 FROM job WHERE grouping = ? AND state = ?"
    questions: list[tuple[str, tuple[object, ...]]] = [
        (in_group, ("sending",)),
        (in_group, ("unknown",)),
        *((in_group + " AND lane = ?", ("queued", one.value)) for one in urgent),
        (
            in_group + " AND lane = ? AND id < ? AND not_before <= ?",
            ("queued", lane.value, row["id"], now),
        ),
    ]
    return any(
        c.execute(sql + " LIMIT 1", (row["grouping"], *values)).fetchone()
        for sql, values in questions
    )


def statistics(c: Connection) -> Statistics:
    """Return how many jobs stand where."""
    counts = {
        str(row[0]): int(row[1])
        for row in c.execute("SELECT state, count(*) FROM job GROUP BY state")
    }
    unsent = c.execute(
        "SELECT coalesce(sum(size_bytes), 0) FROM job"
        " WHERE state IN ('queued', 'sending', 'unknown')"
    ).fetchone()[0]
    return Statistics(
        unsent_bytes=int(unsent),
        queued=counts.get("queued", 0),
        sending=counts.get("sending", 0),
        unknown=counts.get("unknown", 0),
        done=counts.get("done", 0),
        dead=counts.get("dead", 0),
        cancelled=counts.get("cancelled", 0),
        next_due_at=next_due_at(c),
    )


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
        turn=row["turn"],
        size_bytes=row["size_bytes"],
        first_sent_at=row["first_sent_at"],
        looks=row["looks"],
        guard=row["guard"],
        is_doubtful=bool(row["is_doubtful"]),
    )
