"""What ``imgurfs queue`` knows: jobs and why they wait, as JSON can carry it.

Not a command and prints nothing. Asks nobody, so it works when nothing runs and when
there is no network.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from imgurfs.cli.words import finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgurfs.cli.opened import Opened
    from imgurfs.control import Waiting
    from imgurfs.store.database import Connection
    from imgurfs.store.outbox import Job
    from imgurfs.store.outbox_lists import Tally

#: Jobs in a list for programs, unless told otherwise; the numbers count all.
SHOWN_MAX: Final = 1000


def gather(
    state: Opened, *, is_dead: bool = False, limit: int | None = SHOWN_MAX
) -> dict[str, Any]:
    """Return what waits, or what was rejected; docs/COMMANDS.md tells every key."""
    from imgurfs.store import outbox_lists

    c = state.reader
    rejected = outbox_lists.rejected(c)
    if is_dead:
        jobs, total = rejected[:limit], len(rejected)
    else:
        unfinished = outbox_lists.UNFINISHED
        jobs = outbox_lists.listed(c, states=unfinished, limit=limit)
        total = outbox_lists.count(c, states=unfinished)
    tell = state.waiting_teller()
    return {
        "jobs": [of_job(c, job, tell) for job in jobs],
        "total": total,
        "rejected": len(rejected),
    }


def of_job(
    c: Connection, job: Job, tell: Callable[[Job | Tally], Waiting]
) -> dict[str, Any]:
    """Return everything about one job."""
    from imgurfs.jobs import drive_names
    from imgurfs.store.outbox_lists import UNFINISHED

    waiting = tell(job) if job.state in UNFINISHED else None
    return {
        "id": job.id,
        "kind": job.kind,
        "what": drive_names.what(c, job),
        "state": job.state.value,
        "lane": job.lane.value,
        "waits_for": waiting.cause.value if waiting else None,
        "waits_until": finite(waiting.until) if waiting else None,
        "reason": waiting.reason if waiting else "",
        "attempts": job.attempts,
        "error": job.error,
        "guard": job.guard,
        "size_bytes": job.size_bytes,
        "created_at": job.created_at,
        "not_before": finite(job.not_before),
        "sent_at": job.sent_at,
        "settled_at": job.settled_at,
        "marker": job.marker,
        "result": json.loads(job.result) if job.result else None,
    }
