"""How an account is doing, in one line for ``systemctl status``.

Reads the outbox and the budget, changes nothing. ``imgurfs status`` says more, and
says it whether or not the daemon runs.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from imgurfs import control, eta
from imgurfs.budget import LedgerState
from imgurfs.jobs import queueing
from imgurfs.store import outbox, outbox_lists
from imgurfs.store.database import Connection
from imgurfs.store.outbox import JobState


def status_line(c: Connection, state: LedgerState, *, now: float) -> str:
    """Return what is left, until when, and what waits for the user."""
    counts = outbox.statistics(c)
    if not counts.unfinished:
        return f"up to date ({counts.done} done, {counts.dead} failed)"
    work, held = _work(c, now)
    parts = []
    until = control.paused_until(c, now=now)
    if until is not None:
        parts.append("paused" + (_until(until) if math.isfinite(until) else ""))
    if work != eta.Work():
        parts.append(eta.describe(work, eta.estimate(state, work, now), now))
    if counts.unknown:
        parts.append(f"{counts.unknown} with unknown outcome")
    if held:
        parts.append(f"{held} deletion(s) held (imgurfs guard)")
    if counts.dead:
        parts.append(f"{counts.dead} failed (imgurfs queue)")
    return "; ".join(parts)


def _work(c: Connection, now: float) -> tuple[eta.Work, int]:
    """Return what can be sent without the user, and how many deletions cannot."""
    uploads = changes = deletes = held = 0
    for tally in outbox_lists.tallies(c, now=now):
        if tally.guard == "held":
            held += tally.count
        elif tally.state == JobState.UNKNOWN:
            continue
        elif tally.kind == queueing.UPLOAD:
            uploads += tally.count
        elif tally.kind in (queueing.DELETE_IMAGE, queueing.VERIFY):
            deletes += tally.count
        else:
            changes += tally.count
    return eta.Work(uploads, changes, deletes), held


def _until(at: float) -> str:
    return f" until {datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M}"
