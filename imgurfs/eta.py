"""When a backlog will be finished: the budget's windows, played through in advance.

Pure; for ``imgurfs status``, ``plan`` and the daemon's status line. It steps from one
wait to the next, never from call to call, and skips whole days once they repeat, so
that hundreds of thousands of uploads take milliseconds.

It is an estimate: what other programs and more urgent requests will take is not known,
and the shares kept for them count only while they decide when the last call may go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, Literal, TypeAlias

from imgurfs import limits
from imgurfs.budget import (
    CAPACITY,
    WINDOW_S,
    LedgerState,
    Scope,
    floor_of,
    kept_from_uploads,
    needs_consent,
)
from imgurfs.model import Lane

#: What a plan waits for in the end; "speed" is the line, "consent" the user.
Limit: TypeAlias = Scope | Literal["speed", "consent"]

_HOUR_S: Final = 3600.0
#: A plan that takes longer is not worth a date.
_DAYS_MAX: Final = 3_660


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done: ``changes`` are POSTs of one credit, ``deletes`` no POSTs."""

    uploads: int = 0
    changes: int = 0
    deletes: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """When it is done (an epoch; None: not by itself), and what it takes."""

    finish_at: float | None
    limited_by: Limit
    posts: int
    credits: int
    hours: float


def estimate(
    state: LedgerState,
    work: Work,
    now: float,
    *,
    upload_cost: int | None = None,
    seconds_per_upload: float = 2.0,
) -> Estimate:
    """Return when ``work`` will be done if nothing else is sent.

    ``upload_cost`` in credits, by default what the account's uploads were seen to
    cost; ``seconds_per_upload`` is how long one takes with the others beside it.
    """
    cost = state.upload_cost if upload_cost is None else upload_cost
    posts = work.uploads + work.changes
    spent = work.uploads * cost + work.changes + work.deletes
    if work.uploads and needs_consent(state):
        return Estimate(None, "consent", posts, spent, math.inf)
    play = _Play(state, now, call_s=seconds_per_upload)
    play.send(work.uploads, _upload_prices(cost))
    change = {Scope.USER: _Price(1, 1), Scope.CLIENT: _Price(1, 1)}
    play.send(work.changes, {**change, Scope.POSTS: _Price(1, 1)})
    play.send(work.deletes, change)
    if not play.is_finite:
        return Estimate(None, play.limited_by(), posts, spent, math.inf)
    hours = (play.now - now) / _HOUR_S
    return Estimate(play.now, play.limited_by(), posts, spent, hours)


@dataclass(frozen=True, slots=True)
class _Price:
    """A call takes ``amount``; it is sent only where ``needed`` are left."""

    amount: int
    needed: int


def _upload_prices(cost: int) -> dict[Scope, _Price]:
    credit = _Price(max(1, cost), max(cost, limits.UPLOAD_CREDITS))
    one = _Price(1, 1)
    return {
        Scope.USER: credit,
        Scope.CLIENT: credit,
        Scope.POSTS: one,
        Scope.UPLOAD: one,
    }


@dataclass(slots=True)
class _Counter:
    """One window while it is played through."""

    scope: Scope
    limit: int
    left: int
    reset_at: float | None
    waited_s: float = 0.0

    def calls(self, price: _Price, kept: int) -> int:
        """Return for how many calls there is room until the window ends."""
        rest = self.left - kept - price.needed
        return rest // price.amount + 1 if rest >= 0 else 0

    def renew(self, now: float) -> None:
        """Fill the window when its end has passed."""
        if self.reset_at is not None and self.reset_at <= now:
            self.left, self.reset_at = self.limit, None

    def spend(self, amount: int, now: float) -> None:
        """Take ``amount``; the first of a window begins it."""
        self.left -= amount
        if self.reset_at is None:
            self.reset_at = now + WINDOW_S[self.scope] + limits.RESET_MARGIN_S

    def open_at(self, now: float) -> float:
        """Return when what is left now may be all that is left: a lane's share."""
        floor = floor_of(self.scope, self.limit, Lane.BULK)
        if self.reset_at is None or floor < 1:
            return now
        return self.reset_at - (self.left + 1) * WINDOW_S[self.scope] / floor


class _Play:
    """The windows and the time while they are played through."""

    def __init__(self, state: LedgerState, now: float, *, call_s: float) -> None:
        self.now = now
        self.is_finite = True
        self._pauses = state.pauses
        client = state.windows[Scope.CLIENT]
        self._kept = kept_from_uploads(client.limit, state.strikes)
        self._call_s = max(call_s, 1 / limits.UPLOADS_PER_S_MAX)
        self._busy_s = 0.0
        self._counters = {
            scope: _Counter(scope, window.limit, window.spendable, window.reset_at)
            for scope, window in state.windows.items()
        }

    def limited_by(self) -> Limit:
        """Return what was waited for longest."""
        slowest = max(self._counters.values(), key=lambda counter: counter.waited_s)
        return slowest.scope if slowest.waited_s > self._busy_s else "speed"

    def send(self, count: int, prices: Mapping[Scope, _Price]) -> None:
        """Send ``count`` equal calls."""
        if count:
            self._sit_out_pauses(prices)
        client = self._counters[Scope.CLIENT]
        day: tuple[float, int] | None = None
        while count and self.is_finite:
            for counter in self._counters.values():
                counter.renew(self.now)
            if client.reset_at is None:
                if day is not None:
                    count = self._skip_days(count, day)
                day = (self.now, count)
            count -= self._burst(count, prices)

    def _sit_out_pauses(self, prices: Mapping[Scope, _Price]) -> None:
        for scope, until in self._pauses.items():
            if scope == CAPACITY or scope in prices:
                waited_s = max(0.0, until - self.now)
                self.now += waited_s
                if scope != CAPACITY:
                    self._counters[Scope(scope)].waited_s += waited_s

    def _skip_days(self, count: int, day: tuple[float, int]) -> int:
        """Skip the days that are like the one that is over; return what is left."""
        began_at, began_with = day
        days = (count - 1) // max(1, began_with - count)
        if days > _DAYS_MAX:
            self.is_finite = False
            return count
        skipped_s = days * (self.now - began_at)
        self.now += skipped_s
        for counter in self._counters.values():
            counter.waited_s *= days + 1
            if counter.reset_at is not None:
                counter.reset_at += skipped_s
        self._busy_s *= days + 1
        return count - days * (began_with - count)

    def _burst(self, count: int, prices: Mapping[Scope, _Price]) -> int:
        """Send what there is room for, or wait until there is; return how many."""
        paid = [(self._counters[scope], price) for scope, price in prices.items()]
        is_upload = Scope.UPLOAD in prices
        rooms = [
            counter.calls(
                price, self._kept if is_upload and counter.scope is Scope.CLIENT else 0
            )
            for counter, price in paid
        ]
        sent = min(count, *rooms)
        if not sent:
            self._wait(
                [c for (c, _), room in zip(paid, rooms, strict=True) if not room]
            )
            return 0
        for counter, price in paid:
            counter.spend(sent * price.amount, self.now)
        self.now += sent * self._call_s
        self._busy_s += sent * self._call_s
        if sent == count:
            # The last calls of a window wait for what is kept for more urgent ones.
            for counter, _ in paid:
                waited_s = max(0.0, counter.open_at(self.now) - self.now)
                counter.waited_s += waited_s
                self.now += waited_s
        return sent

    def _wait(self, short: list[_Counter]) -> None:
        latest = max(short, key=lambda counter: counter.reset_at or math.inf)
        if latest.reset_at is None:
            # Not even a full window has room for one call.
            self.is_finite = False
            return
        latest.waited_s += latest.reset_at - self.now
        self.now = latest.reset_at


# --- In words -------------------------------------------------------------------

_LIMITS: Final[Mapping[Limit, str]] = {
    Scope.POSTS: "limited by the POST requests per hour",
    Scope.USER: "limited by your credits per hour",
    Scope.UPLOAD: "limited by the uploads per hour",
    Scope.CLIENT: "limited by the client id's credits per day",
    "speed": "limited by the line",
    "consent": "waiting for your consent to go on after four strikes",
}


def describe(
    work: Work, plan: Estimate, now: float, *, zone: tzinfo | None = None
) -> str:
    """Return "2,000 photos, done Sunday 14:10, limited by your credits per hour".

    In the time of ``zone``, by default that of this machine.
    """
    count = work.uploads or work.changes + work.deletes
    noun = "photo" if work.uploads else "change"
    what = f"{count:,} {noun}{'' if count == 1 else 's'}"
    if plan.finish_at is None:
        is_up_to_user = plan.limited_by == "consent"
        never = "" if is_up_to_user else ", not to be finished"
        return f"{what}{never}, {_LIMITS[plan.limited_by]}"
    at = datetime.fromtimestamp(plan.finish_at, UTC).astimezone(zone)
    days = (at.date() - datetime.fromtimestamp(now, UTC).astimezone(zone).date()).days
    if days == 0:
        when = f"{at:%H:%M}"
    else:
        when = f"{at:%A %H:%M}" if days < 7 else f"{at:%Y-%m-%d}"
    return f"{what}, done {when}, {_LIMITS[plan.limited_by]}"
