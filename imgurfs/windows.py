"""What is known of one of Imgur's counters, and how it changes with time and answers.

Pure: ``now`` is an argument. ``budget`` decides with these values and re-exports them;
``store.ledger`` keeps them. Nobody else imports this module.

Theory of operation. A window opens with its first request and ends a fixed time later.
``remaining`` is what the server last said; ``reserved`` is what was promised to
requests whose cost no header has confirmed yet. Every end we believe in is the true one
or later: believing in a window that has not begun spends what is not there.

Uploads are the exception: no header tells their number, and nobody has documented
whether their hour is a fixed window or slides. So the stricter is taken: each upload
counts for an hour from its answer, and the window "ends" when the oldest stops counting
(:func:`sliding`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from imgurfs import limits
from imgurfs.model import Lane


class Scope(enum.StrEnum):
    """What is counted; also the name of a pause that concerns only it."""

    POSTS = "posts"
    USER = "user"
    UPLOAD = "upload"
    CLIENT = "client"


#: Length of each window in seconds.
WINDOW_S: Final[Mapping[Scope, float]] = {
    Scope.POSTS: 3600.0,
    Scope.USER: 3600.0,
    Scope.UPLOAD: 3600.0,
    Scope.CLIENT: 86_400.0,
}

#: The limit of a counter that has none.
UNLIMITED: Final = 10**9

#: Ends that differ by less than this part of a window are the same end.
_SAME_END_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Window:
    """What is known of one counter.

    ``reset_at`` is None while no window has begun. ``is_learned`` says that the end
    was told, or anchored by an answer that counted, and is no guess. ``reserved`` is
    the sum of the reservations that no header has confirmed. ``lane_use`` is what the
    lanes with a share of their own have had of it.
    """

    limit: int
    remaining: int
    started_at: float = 0.0
    reset_at: float | None = None
    is_learned: bool = False
    reserved: int = 0
    lane_use: Mapping[Lane, int] = field(default_factory=dict)

    @property
    def spendable(self) -> int:
        """What may be promised to further requests; never negative."""
        return max(0, self.remaining - self.reserved)


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


def sliding(scope: Scope, *, limit: int, count: int, oldest_at: float | None) -> Window:
    """Return the window of a counter whose uses expire one by one."""
    reset_at = None
    if oldest_at is not None:
        reset_at = oldest_at + WINDOW_S[scope] + limits.RESET_MARGIN_S
    return Window(
        limit=limit,
        remaining=limit,
        started_at=oldest_at or 0.0,
        reset_at=reset_at,
        is_learned=reset_at is not None,
        reserved=count,
    )


def begun(window: Window, scope: Scope, now: float) -> Window:
    """Return the window after a reservation: one whose end nobody told gets one.

    Imgur's window begins when a request arrives, which may be as late as a request may
    take. Until a header tells of it, any request may be the first that arrived: those
    before it may have been lost on their way.
    """
    window = effective(window, scope, now)
    if window.is_learned:
        return window
    started_at = now if window.reset_at is None else window.started_at
    latest_s = limits.UPLOAD_TIMEOUT_S + WINDOW_S[scope] + limits.RESET_MARGIN_S
    return replace(window, started_at=started_at, reset_at=now + latest_s)


def anchored(window: Window, scope: Scope, now: float) -> Window:
    """Return the window after an answer that told what is left, but not until when.

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
    lowest = remaining
    if limit == window.limit:
        lowest = min(window.remaining, remaining)
    if reset_s is None:
        return replace(anchored(window, scope, now), limit=limit, remaining=lowest)
    ahead = min(max(reset_s, 0.0), limits.RESET_AHEAD_MAX_S)
    reset_at = now + ahead + limits.RESET_MARGIN_S
    tolerance = _SAME_END_SHARE * WINDOW_S[scope]
    if window.is_learned and abs(reset_at - window.reset_at) <= tolerance:
        # Every answer names the end or, having travelled, a moment after it.
        reset_at = min(reset_at, window.reset_at)
        return replace(window, limit=limit, remaining=lowest, reset_at=reset_at)
    if window.is_learned and reset_at < window.reset_at and sent_at < window.started_at:
        return window
    return replace(
        window,
        limit=limit,
        remaining=remaining,
        started_at=window.started_at if reset_at <= window.reset_at else now,
        reset_at=reset_at,
        is_learned=True,
    )
