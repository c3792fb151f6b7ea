"""When the queue will be empty, for the commands that say so. Not a command."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgurfs.cli.opened import Opened
    from imgurfs.eta import Work
    from imgurfs.store.outbox_lists import Tally
    from imgurfs_daemon.planner import PlanCost


def of_queue(
    state: Opened, tallies: Iterable[Tally], *, planned: Iterable[PlanCost] = ()
) -> dict[str, Any] | None:
    """Return when everything that waits, and what is planned, will be sent.

    As JSON can carry it; None when nothing waits or nobody is logged in. What only the
    user lets go on (held deletions) does not count, nor do deletions in their grace.
    """
    from imgurfs import control, eta
    from imgurfs.store import notices

    if state.ledger is None:
        return None
    now = state.clock.now()
    work = _work(tallies, planned, now)
    if not (work.uploads or work.changes or work.deletes):
        return None
    if notices.LOGIN in notices.everything(state.reader):
        return _stopped("login", "not before you log in")
    paused = control.paused_until(state.reader, now=now)
    if paused is not None and math.isinf(paused):
        return _stopped("paused", "paused until you say: imgurfs resume")
    start = now if paused is None else paused
    found = eta.estimate(state.ledger.state(), work, start)
    is_known = found.finish_at is not None
    return {
        "finish_at": found.finish_at,
        "hours": found.hours + (start - now) / 3600 if is_known else None,
        "limited_by": str(found.limited_by),
        "text": eta.describe(work, found, now),
    }


def _stopped(limited_by: str, text: str) -> dict[str, Any]:
    return {
        "finish_at": None,
        "hours": None,
        "limited_by": limited_by,
        "text": text,
    }


def _work(tallies: Iterable[Tally], planned: Iterable[PlanCost], now: float) -> Work:
    from imgurfs.eta import Work
    from imgurfs.jobs import queueing

    uploads, changes, others = 0, 0, 0
    for one in tallies:
        if one.kind == queueing.UPLOAD:
            uploads += one.count
        elif one.kind == queueing.DELETE_IMAGE:
            is_next = one.guard != "held" and one.not_before <= now
            others += one.count if is_next else 0
        elif one.kind in (queueing.VERIFY, queueing.DELETE_ALBUM):
            others += one.count
        else:
            changes += one.count
    for cost in planned:
        uploads += cost.uploads
        changes += cost.albums + cost.album_calls
        others += cost.deletes
    return Work(uploads, changes, others)
