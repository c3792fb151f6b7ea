"""Decides whether a request may be sent now: the rules of the budget, and no more.

Pure: no clock, no database, no network; ``now`` is an argument. ``store.ledger`` keeps
the state between calls and processes, ``metered`` asks it before every request.

Theory of operation. Imgur counts (docs/IMGUR.md, Rate limits) POSTs of an address per
hour, a user's credits per hour, a client id's credits per day, and, undocumented,
uploads per hour. A :class:`Window` is what we know of one of them. Spendable is what
the server last said less what we promised since, so a request that was sent by a
process that then died keeps counting until a later header covers it. Nothing is ever
sent to find a limit out.

Lanes share a window by floors: a lane may not take the window below its floor. Floors
shrink linearly to nothing as the window ends, so unused shares are given away instead
of being lost. Lanes that nobody waits for have a small share of their own besides, or a
backlog of uploads would keep them out for a day. The floor under uploads in the
client's *day* does not shrink: hitting the daily limit five times in a month blocks the
client id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, assert_never

from imgurfs import limits
from imgurfs.model import Lane, RateHeaders, RequestClass, RequestKind
from imgurfs.pacing import FULL_BUCKET, Bucket, ready_at
from imgurfs.windows import UNLIMITED, WINDOW_S, Scope, Window, effective

__all__ = [
    "CAPACITY",
    "DEFAULT_LIMITS",
    "FLOOR_SHARE",
    "OWN_SHARE",
    "UNLIMITED",
    "WINDOW_S",
    "Allow",
    "Grant",
    "Ledger",
    "LedgerState",
    "Refuse",
    "Scope",
    "Wait",
    "Window",
    "charge",
    "decide",
    "effective",
    "floor_of",
    "kept_from_uploads",
    "needs_consent",
]

#: A pause that concerns every request: Imgur is over capacity.
CAPACITY: Final = "capacity"

#: Share of a window that a lane leaves to those above it, at the window's start.
FLOOR_SHARE: Final[Mapping[Lane, float]] = {
    Lane.CONTROL: 0.0,
    Lane.INTERACTIVE: 0.01,
    Lane.FRESH: 0.04,
    Lane.BULK: 0.06,
    Lane.REFRESH: 0.20,
    Lane.PREFETCH: 0.40,
}

#: What lanes of uploads leave of an hour at most: what somebody needs who waits does
#: not grow with the limit. Of the client's day they leave the whole share.
HOURLY_FLOOR_MAX: Final[Mapping[Lane, float]] = {Lane.FRESH: 20.0, Lane.BULK: 30.0}

#: Share of a window that a lane may have like the most urgent one, so that a backlog of
#: uploads does not starve it. Uploads leave this much at least.
OWN_SHARE: Final[Mapping[Lane, float]] = {Lane.REFRESH: 0.02, Lane.PREFETCH: 0.01}

#: Share of the client's day that uploads never spend, by strikes.
UPLOAD_FLOOR_BY_STRIKES: Final = (0.03, 0.05, 0.10, 0.20)


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Everything a decision depends on. Pauses are epochs by scope name.

    ``upload_cost`` is what an upload was seen to cost in credits: for plans and
    estimates. What is reserved is never less than the documented price.
    """

    windows: Mapping[Scope, Window]
    pauses: Mapping[str, float] = field(default_factory=dict)
    strikes: int = 0
    has_consent: bool = False
    upload_cost: int = limits.UPLOAD_CREDITS
    bucket: Bucket = FULL_BUCKET


#: A full ledger as the documents describe it; headers override every number.
DEFAULT_LIMITS: Final[Mapping[Scope, int]] = {
    Scope.POSTS: limits.POSTS_PER_HOUR,
    Scope.USER: limits.USER_CREDITS_PER_HOUR,
    Scope.UPLOAD: limits.UPLOADS_PER_HOUR,
    Scope.CLIENT: limits.CLIENT_CREDITS_PER_DAY,
}


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission for one request, already reserved. ``id`` 0 = nothing reserved."""

    id: int
    request: RequestClass
    charge: Mapping[Scope, int] = field(default_factory=dict)
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Allow:
    """The request may be sent; this is what has to be reserved for it."""

    charge: Mapping[Scope, int]


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: ask again at ``until`` (an epoch), because of ``reason``.

    :meth:`Ledger.peek` reports a refusal as a wait until infinity.
    """

    until: float
    reason: str
    #: Imgur asked to wait, over capacity: nothing has been spent.
    is_throttle: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Waiting does not help; the user has to do what ``reason`` says."""

    reason: str


class Ledger(Protocol):
    """The budget as ``metered`` and ``drain`` see it; store.ledger implements it."""

    async def reserve(self, request: RequestClass) -> Grant:
        """Reserve the request's cost, or raise BudgetError."""
        ...

    async def record(self, grant: Grant, headers: RateHeaders | None) -> None:
        """Note that the request was answered (or may have been).

        Without headers the reservation stays until its window ends.
        """
        ...

    async def release(self, grant: Grant) -> None:
        """Give a reservation back: the request was proven not to have been sent."""
        ...

    async def throttled(self, grant: Grant, *, scope: str, until: float) -> None:
        """Note that Imgur refused the request and wants ``scope`` to rest.

        Nothing of the scope is sent before ``until``; pauses only ever grow. The
        client's day is a strike as well, and uploads learn their number per hour.
        """
        ...

    def peek(self, request: RequestClass) -> Wait | None:
        """Return why the request would have to wait now; reserves nothing."""
        ...

    def state(self) -> LedgerState:
        """Return the state as of now."""
        ...


def charge(
    request: RequestClass, *, upload_credits: int = limits.UPLOAD_CREDITS
) -> dict[Scope, int]:
    """Return what a request may cost at most (docs/IMGUR.md, Rate limits)."""
    match request.kind:
        case RequestKind.CDN:
            return {}
        case RequestKind.FREE:
            return {Scope.POSTS: 1} if request.is_post else {}
        case RequestKind.READ | RequestKind.CHANGE:
            cost = {Scope.USER: 1, Scope.CLIENT: 1}
        case RequestKind.UPLOAD:
            cost = {
                Scope.USER: upload_credits,
                Scope.CLIENT: upload_credits,
                Scope.UPLOAD: 1,
            }
        case _:  # pragma: no cover
            assert_never(request.kind)
    return cost | ({Scope.POSTS: 1} if request.is_post else {})


def decide(
    state: LedgerState, request: RequestClass, now: float
) -> Allow | Wait | Refuse:
    """Say whether ``request`` may be sent at ``now``, and if not, until when not.

    Never allows more than a window's spendable rest; a :class:`Wait` is always finite
    and in the future.
    """
    cost = charge(request, upload_credits=max(limits.UPLOAD_CREDITS, state.upload_cost))
    if request.kind is RequestKind.UPLOAD and needs_consent(state):
        return Refuse(
            f"Imgur's daily limit was hit {state.strikes} times in a month;"
            " one more and the client id is blocked"
        )
    blocks = _pauses(state, request, cost, now)
    if request.kind is RequestKind.UPLOAD and ready_at(state.bucket, now) > now:
        blocks.append(Wait(ready_at(state.bucket, now), "uploads are spread out"))
    for scope, amount in cost.items():
        window = effective(state.windows[scope], scope, now)
        block = _block(
            window, scope, amount, strikes=state.strikes, request=request, now=now
        )
        if isinstance(block, Refuse):
            return block
        if block is not None:
            blocks.append(block)
    if blocks:
        return max(blocks, key=lambda block: block.until)
    return Allow(cost)


def needs_consent(state: LedgerState) -> bool:
    """Whether uploads wait for the user's word because of the strikes."""
    return not state.has_consent and state.strikes >= len(UPLOAD_FLOOR_BY_STRIKES)


def floor_of(scope: Scope, limit: int, lane: Lane) -> float:
    """Return what a lane leaves of a window of ``limit`` at the window's start."""
    share = limit * FLOOR_SHARE[lane]
    if scope is Scope.CLIENT:
        return share
    return min(share, HOURLY_FLOOR_MAX.get(lane, share))


def kept_from_uploads(limit: int, strikes: int) -> int:
    """Return the credits of a client's day of ``limit`` that uploads never spend."""
    step = min(strikes, len(UPLOAD_FLOOR_BY_STRIKES) - 1)
    return math.ceil(limit * UPLOAD_FLOOR_BY_STRIKES[step])


def _pauses(
    state: LedgerState,
    request: RequestClass,
    cost: Mapping[Scope, int],
    now: float,
) -> list[Wait]:
    """Return the pauses that concern this request. Free calls only mind POSTs."""
    scopes: set[str] = set(cost)
    if request.kind not in (RequestKind.CDN, RequestKind.FREE):
        scopes.add(CAPACITY)
    return [
        Wait(until, f"Imgur asked to wait ({scope})", is_throttle=scope == CAPACITY)
        for scope, until in state.pauses.items()
        # One further ahead than any window is a clock that was set back.
        if scope in scopes and now < until <= now + limits.RESET_AHEAD_MAX_S
    ]


def _block(
    window: Window,
    scope: Scope,
    amount: int,
    *,
    strikes: int,
    request: RequestClass,
    now: float,
) -> Wait | Refuse | None:
    """Return why ``amount`` may not be taken from this window now, or None."""
    fixed = _kept(window.limit, strikes, request) if scope is Scope.CLIENT else 0
    if window.limit - fixed < amount:
        return Refuse(
            f"a request that costs {amount} does not fit into the limit of"
            f" {window.limit} ({scope})"
        )
    rest = window.spendable - amount
    reset_at = window.reset_at
    reason = f"{_WORDS[scope]}: {window.spendable} of {window.limit} left"
    if rest < fixed:
        # Reservations may outlive a window that has not begun: look again later.
        return Wait(reset_at or now + WINDOW_S[scope], reason)
    own = window.limit * OWN_SHARE.get(request.lane, 0.0)
    has_had_its_own = window.lane_use.get(request.lane, 0) + amount > own
    full_floor = floor_of(
        scope, window.limit, request.lane if has_had_its_own else Lane.INTERACTIVE
    )
    if full_floor < 1 or reset_at is None:
        return None
    floor_now = full_floor * min(1.0, (reset_at - now) / WINDOW_S[scope])
    if rest >= math.floor(floor_now):
        return None
    # The floor shrinks with the time left; this is when it has reached the rest.
    falls_at = reset_at - (rest + 1) * WINDOW_S[scope] / full_floor
    return Wait(max(falls_at, now) + 1.0, f"{reason}, kept for more urgent requests")


def _kept(limit: int, strikes: int, request: RequestClass) -> int:
    """Return the credits of the client's day that this request never spends.

    Who shares the client id with others may find it empty at any moment, and pay for
    that with a strike: the more there are, the fewer requests go near the end.
    """
    if request.kind is RequestKind.UPLOAD:
        return kept_from_uploads(limit, strikes)
    is_background = request.lane in OWN_SHARE
    if (strikes >= 1 and is_background) or strikes >= len(UPLOAD_FLOOR_BY_STRIKES) - 1:
        return 0 if request.lane is Lane.CONTROL else kept_from_uploads(limit, 0)
    return 0


_WORDS: Final[Mapping[Scope, str]] = {
    Scope.POSTS: "POST requests this hour",
    Scope.USER: "your credits this hour",
    Scope.UPLOAD: "uploads this hour",
    Scope.CLIENT: "the client id's credits today",
}
