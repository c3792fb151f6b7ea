"""Reading the outbox for people: lists with a bound, and counts of what waits alike.

Beside :mod:`imgurfs.store.outbox_reads`, which the drainer uses. A queue of hundreds of
thousands is counted here without making an object of every row. Used by
``imgurfs.control`` and the commands; all functions are reads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from imgurfs import limits
from imgurfs.model import JobId, Lane
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState, job

#: Keys are ASCII: this follows everything that continues a prefix.
_LAST = "~"
_TALLIES = (
    "SELECT kind, lane, state, guard, max(grouping) AS grouping, max(error) AS error,"
    " max(looks) AS looks, min(not_before) AS not_before,"
    " max(not_before) AS last_not_before, count(*) AS count,"
    " sum(size_bytes) AS size_bytes"
    " FROM job WHERE state IN ('queued', 'sending', 'unknown'){}"
    " GROUP BY kind, lane, state, guard, grouping <> '', error <> '',"
    " not_before > ?, looks > 0 AND not_before > ? ORDER BY min(id)"
)
#: States of jobs that are not over.
UNFINISHED = (JobState.QUEUED, JobState.SENDING, JobState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Tally:
    """Unfinished jobs that wait for the same thing, counted together.

    The fields have the names and meanings of :class:`~imgurfs.store.outbox.Job`'s;
    ``grouping``, ``error`` and ``looks`` are those of one of them, ``not_before`` is
    the earliest of the group and ``last_not_before`` the latest.
    """

    kind: str
    lane: Lane
    state: JobState
    guard: str
    grouping: str
    error: str
    looks: int
    not_before: float
    last_not_before: float
    count: int
    size_bytes: int


def tallies(
    c: Connection, *, now: float, kinds: Collection[str] = (), key_prefix: str = ""
) -> list[Tally]:
    """Return everything unfinished in groups: of one kind, lane, state and delay.

    Only of some ``kinds``, or with keys that begin with ``key_prefix``, if given.
    """
    where, arguments = "", []
    if kinds:
        where += f" AND kind IN ({', '.join('?' * len(kinds))})"
        arguments += list(kinds)
    if key_prefix:
        where += " AND key >= ? AND key < ? AND key <> ''"
        arguments += [key_prefix, key_prefix + _LAST]
    rows = c.execute(
        _TALLIES.format(where),
        (*arguments, now, now + limits.SECOND_LOOK_S),
    )
    return [
        Tally(
            kind=row["kind"],
            lane=Lane(row["lane"]),
            state=JobState(row["state"]),
            guard=row["guard"],
            grouping=row["grouping"],
            error=row["error"],
            looks=row["looks"],
            not_before=row["not_before"],
            last_not_before=row["last_not_before"],
            count=row["count"],
            size_bytes=row["size_bytes"],
        )
        for row in rows
    ]


def listed(
    c: Connection,
    *,
    states: Collection[JobState],
    kind: str = "",
    limit: int | None = None,
) -> list[Job]:
    """Return jobs in these states: what is in the air first, then oldest first."""
    marks = ", ".join("?" * len(states))
    rows = c.execute(
        f"SELECT id FROM job WHERE state IN ({marks}) AND (? = '' OR kind = ?)"  # noqa: S608
        " ORDER BY state <> 'sending', id LIMIT ?",
        (*[s.value for s in states], kind, kind, -1 if limit is None else limit),
    )
    found = (job(c, JobId(row[0])) for row in rows.fetchall())
    return [one for one in found if one is not None]


def count(c: Connection, *, states: Collection[JobState], kind: str = "") -> int:
    """Return how many jobs are in these states, of one kind if given."""
    marks = ", ".join("?" * len(states))
    row = c.execute(
        f"SELECT count(*) FROM job WHERE state IN ({marks}) AND (? = '' OR kind = ?)",  # noqa: S608
        (*[s.value for s in states], kind, kind),
    ).fetchone()
    return int(row[0])


def rejected(c: Connection) -> list[Job]:
    """Return the dead jobs that no later job stands in for, newest first.

    A file that changed since has another upload, with the same key. One of the drive
    counts only as long as it is what was rejected.
    """
    rows = c.execute(
        "WITH latest AS (SELECT max(id) AS id FROM job WHERE key IN"
        " (SELECT key FROM job WHERE state = 'dead') AND key <> '' GROUP BY key)"
        " SELECT id FROM job WHERE state = 'dead'"
        " AND (key = '' OR id IN (SELECT id FROM latest))"
        " AND (key NOT GLOB 'upload:0:*' OR EXISTS (SELECT 1 FROM draft AS d"
        "  WHERE d.state = 'refused' AND d.error = job.error AND key ="
        "   'upload:0:' || lower(hex(d.inode || '.' || d.generation))))"
        " ORDER BY settled_at DESC, id DESC"
    )
    found = (job(c, JobId(row[0])) for row in rows.fetchall())
    return [one for one in found if one is not None]


def unfinished_with_prefix(c: Connection, prefix: str, *, limit: int) -> list[Job]:
    """Return the first unfinished jobs whose key begins with ``prefix``."""
    rows = c.execute(
        "SELECT id FROM job WHERE key >= ? AND key < ? AND key <> ''"
        " AND state IN ('queued', 'sending', 'unknown') LIMIT ?",
        (prefix, prefix + _LAST, limit),
    )
    found = (job(c, JobId(row[0])) for row in rows.fetchall())
    return [one for one in found if one is not None]


def last_done_at(c: Connection, kind: str) -> float | None:
    """Return when a job of a kind was last done, None for never."""
    row = c.execute(
        "SELECT max(settled_at) FROM job WHERE state = 'done' AND kind = ?", (kind,)
    ).fetchone()
    return None if row[0] is None else float(row[0])
