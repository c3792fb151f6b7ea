"""Decides whether a request may be sent now: the rules of the budget, and no more.

Pure: no clock, no database, no network; ``now`` is an argument. ``store.ledger`` keeps
the state between calls and processes, ``metered`` asks it before every request.

Theory of operation. Imgur counts in fixed windows (docs/IMGUR.md, Rate limits): POSTs
of an address per hour, a user's credits per hour, a client id's credits per day, and,
undocumented, uploads per hour. A :class:`Window` is what we know of one of them:
``remaining`` is what the server last said, ``reserved`` what we promised to requests
whose cost no header has confirmed yet. Spendable is the difference, so a request that
was sent by a process that then died keeps counting until a later header covers it.

Lanes share a window by floors: a lane may not take the window below its floor. Floors
shrink linearly to nothing as the window ends, so unused shares are given away instead
of being lost. The floor under uploads in the client's *day* does not shrink: hitting
the daily limit five times in a month blocks the client id.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, assert_never

from imgurfs import limits
from imgurfs.model import Lane, RateHeaders, RequestClass, RequestKind


class Scope(enum.StrEnum):
    """What is counted; also the name of a pause that concerns only it."""

    POSTS = "posts"
    USER = "user"
    UPLOAD = "upload"
    CLIENT = "client"


#: A pause that concerns every request: Imgur is over capacity.
CAPACITY: Final = "capacity"

#: Length of each window in seconds.
WINDOW_S: Final[Mapping[Scope, float]] = {
    Scope.POSTS: 3600.0,
    Scope.USER: 3600.0,
    Scope.UPLOAD: 3600.0,
    Scope.CLIENT: 86_400.0,
}

#: Share of a window that a lane leaves to those above it, at the window's start.
FLOOR_SHARE: Final[Mapping[Lane, float]] = {
    Lane.CONTROL: 0.0,
    Lane.INTERACTIVE: 0.01,
    Lane.FRESH: 0.04,
    Lane.BULK: 0.06,
    Lane.REFRESH: 0.20,
    Lane.PREFETCH: 0.40,
}

#: Share of the client's day that uploads never spend, by strikes.
UPLOAD_FLOOR_BY_STRIKES: Final = (0.03, 0.05, 0.10, 0.20)


@dataclass(frozen=True, slots=True)
class Window:
    """What is known of one counter.

    ``reset_at`` is None while no window has begun. ``is_learned`` says that the end
    was told (or anchored by an answer) and is not just our guess. ``reserved`` is the
    sum of the reservations that no header has confirmed.
    """

    limit: int
    remaining: int
    started_at: float = 0.0
    reset_at: float | None = None
    is_learned: bool = False
    reserved: int = 0

    @property
    def spendable(self) -> int:
        """What may be promised to further requests; never negative."""
        return max(0, self.remaining - self.reserved)


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Everything a decision depends on. Pauses are epochs by scope name."""

    windows: Mapping[Scope, Window]
    pauses: Mapping[str, float] = field(default_factory=dict)
    strikes: int = 0
    has_consent: bool = False


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

    async def pause(self, scope: str, until: float) -> None:
        """Send nothing of this scope before ``until``. Pauses only ever grow."""
        ...

    async def strike(self) -> None:
        """Remember that the client's daily limit was hit; at most once a window."""
        ...

    def peek(self, request: RequestClass) -> Wait | None:
        """Return why the request would have to wait now; reserves nothing."""
        ...

    def state(self) -> LedgerState:
        """Return the state as of now."""
        ...


def charge(request: RequestClass) -> dict[Scope, int]:
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
                Scope.USER: limits.UPLOAD_CREDITS,
                Scope.CLIENT: limits.UPLOAD_CREDITS,
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
    cost = charge(request)
    if request.kind is RequestKind.UPLOAD and _needs_consent(state):
        return Refuse(
            f"Imgur's daily limit was hit {state.strikes} times in a month;"
            " one more and the client id is blocked"
        )
    blocks = _pauses(state, request, cost, now)
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


def effective(window: Window, scope: Scope, now: float) -> Window:
    """Return the window as it is at ``now``: a window whose end has passed is full.

    An end further ahead than any window of Imgur's is a clock that was set back; the
    window then ends one length from now.
    """
    if window.reset_at is None or window.reset_at <= now:
        return replace(window, remaining=window.limit, reset_at=None, is_learned=False)
    if window.reset_at - now > limits.RESET_AHEAD_MAX_S + limits.RESET_MARGIN_S:
        return replace(window, reset_at=now + WINDOW_S[scope], started_at=now)
    return window


def begun(window: Window, scope: Scope, now: float) -> Window:
    """Return the window after a first reservation: one that had no end gets one."""
    window = effective(window, scope, now)
    if window.reset_at is not None:
        return window
    return replace(
        window,
        started_at=now,
        reset_at=now + WINDOW_S[scope] + limits.RESET_MARGIN_S,
        is_learned=False,
    )


def anchored(window: Window, scope: Scope, now: float) -> Window:
    """Return the window after an answer that said nothing about it.

    Imgur's window began somewhere between our reservation and this answer: its end is
    taken from the answer, the later of the two.
    """
    window = begun(window, scope, now)
    if window.is_learned:
        return window
    end = now + WINDOW_S[scope] + limits.RESET_MARGIN_S
    return replace(window, reset_at=end, is_learned=True)


def learned(
    window: Window,
    scope: Scope,
    *,
    limit: int | None,
    remaining: int,
    reset_s: float | None,
    sent_at: float,
    now: float,
) -> Window:
    """Return the window after a header told its ``remaining``.

    Within one window ``remaining`` only falls, so answers that overtake each other do
    no harm. An answer to a request from before the window began (``sent_at``) that
    names an earlier end belongs to the previous window and is ignored.
    """
    window = begun(window, scope, now)
    assert window.reset_at is not None
    limit = limit if limit is not None and limit > 0 else window.limit
    remaining = min(max(remaining, 0), limit)
    is_same_limit = limit == window.limit
    if reset_s is None:
        kept = min(window.remaining, remaining) if is_same_limit else remaining
        return replace(window, limit=limit, remaining=kept)
    ahead = min(max(reset_s, 0.0), limits.RESET_AHEAD_MAX_S)
    reset_at = now + ahead + limits.RESET_MARGIN_S
    tolerance = 0.02 * WINDOW_S[scope]
    if window.is_learned and abs(reset_at - window.reset_at) <= tolerance:
        kept = min(window.remaining, remaining) if is_same_limit else remaining
        reset_at = max(reset_at, window.reset_at)
        return replace(window, limit=limit, remaining=kept, reset_at=reset_at)
    if window.is_learned and reset_at < window.reset_at and sent_at < window.started_at:
        return window
    return Window(
        limit=limit,
        remaining=remaining,
        started_at=window.started_at if reset_at <= window.reset_at else now,
        reset_at=reset_at,
        is_learned=True,
        reserved=window.reserved,
    )


def _needs_consent(state: LedgerState) -> bool:
    return not state.has_consent and state.strikes >= len(UPLOAD_FLOOR_BY_STRIKES)


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
    fixed = 0
    if scope is Scope.CLIENT and request.kind is RequestKind.UPLOAD:
        step = min(strikes, len(UPLOAD_FLOOR_BY_STRIKES) - 1)
        fixed = math.ceil(window.limit * UPLOAD_FLOOR_BY_STRIKES[step])
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
    full_floor = window.limit * FLOOR_SHARE[request.lane]
    if full_floor < 1 or reset_at is None:
        return None
    floor_now = full_floor * min(1.0, (reset_at - now) / WINDOW_S[scope])
    if rest >= math.floor(floor_now):
        return None
    # The floor shrinks with the time left; this is when it has reached the rest.
    falls_at = reset_at - (rest + 1) * WINDOW_S[scope] / full_floor
    return Wait(max(falls_at, now) + 1.0, f"{reason}, kept for more urgent requests")


_WORDS: Final[Mapping[Scope, str]] = {
    Scope.POSTS: "POST requests this hour",
    Scope.USER: "your credits this hour",
    Scope.UPLOAD: "uploads this hour",
    Scope.CLIENT: "the client id's credits today",
}
