"""What Imgur allows per hour and day, enforced: pure bookkeeping over ``now``.

Four meters: credits per user and hour, credits per client id and day (a day's limit
that is run into is a strike; five in a calendar month block the client id for the
rest of it), POSTs per address and hour, uploads per user and hour. A window opens
with its first request and is forgotten when it has passed. Not here: refusal bodies
(``errors``) and which route costs what (``api``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from imgurfs.emulator.rules.limits import REAL_LIMITS, Limits

HOUR_S = 3600.0
DAY_S = 86_400.0
#: Windows kept per meter; more callers than this means an old window may be lost.
_WINDOWS_MAX = 10_000


@dataclass(slots=True)
class _Window:
    opened_at: float
    used: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of one meter after a request, as its three headers show it."""

    limit: int
    remaining: int
    reset_s: int


class Meter:
    """Counts within windows of ``length_s``, per key. ``shown`` is for the headers."""

    def __init__(self, *, limit: int | None, shown: int, length_s: float) -> None:
        self.limit = limit
        self.shown = shown if limit is None else limit
        self.length_s = length_s
        self._windows: dict[str, _Window] = {}

    def __repr__(self) -> str:
        return f"<Meter {self.limit}/{self.length_s:.0f}s keys={len(self._windows)}>"

    def _current(self, key: str, now: float) -> _Window | None:
        window = self._windows.get(key)
        if window is None or now - window.opened_at >= self.length_s:
            return None
        return window

    def _window(self, key: str, now: float) -> _Window:
        window = self._current(key, now)
        if window is None:
            if len(self._windows) >= _WINDOWS_MAX:
                self._windows.pop(next(iter(self._windows)))
            window = self._windows[key] = _Window(now)
        return window

    def opened_at(self, key: str, now: float) -> float:
        """Return when the current window began."""
        return self._window(key, now).opened_at

    def is_exhausted(self, key: str, now: float) -> bool:
        """Return whether nothing is left for this key."""
        if self.limit is None:
            return False
        return self._window(key, now).used >= self.limit

    def spend(self, key: str, now: float, cost: int) -> None:
        """Take ``cost``, or what is left of it."""
        window = self._window(key, now)
        window.used = min(window.used + cost, max(self.shown, window.used))

    def read(self, key: str, now: float) -> Reading:
        """Return limit, remaining and whole seconds to the reset, for an answer."""
        return self._reading(self._window(key, now), now)

    def peek(self, key: str, now: float) -> Reading:
        """Return the same for an onlooker, whose looking begins no window."""
        return self._reading(self._current(key, now) or _Window(now), now)

    def _reading(self, window: _Window, now: float) -> Reading:
        left_s = window.opened_at + self.length_s - now
        used = 0 if self.limit is None else window.used
        return Reading(self.shown, max(0, self.shown - used), math.ceil(left_s))


class Accounting:
    """The four meters and the strikes of one emulator."""

    def __init__(self, limits: Limits) -> None:
        real = REAL_LIMITS
        self.limits = limits
        self.user = Meter(
            limit=limits.user_credits_per_hour,
            shown=real.user_credits_per_hour or 0,
            length_s=HOUR_S,
        )
        self.client = Meter(
            limit=limits.client_credits_per_day,
            shown=real.client_credits_per_day or 0,
            length_s=DAY_S,
        )
        self.posts = Meter(
            limit=limits.posts_per_hour, shown=real.posts_per_hour or 0, length_s=HOUR_S
        )
        self.uploads = Meter(
            limit=limits.uploads_per_hour,
            shown=real.uploads_per_hour or 0,
            length_s=HOUR_S,
        )
        # Per client id: the reset moments of the days that were run into.
        self._strikes: dict[str, dict[float, str]] = {}

    def charge(self, *, user: str, client: str, cost: int, now: float) -> bool:
        """Take credits; return False when user or client has none left.

        A request costs what is left when that is less than its price, so that the
        headers of the next refusal show zero, as Imgur's do.
        """
        if self.is_blocked(client, now):
            return False
        if self.client.is_exhausted(client, now):
            self._strike(client, now)
            return False
        if self.user.is_exhausted(user, now):
            return False
        self.user.spend(user, now, cost)
        self.client.spend(client, now, cost)
        return True

    def charge_post(self, address: str, now: float) -> bool:
        """Count one POST; return False when the address has none left."""
        if self.posts.is_exhausted(address, now):
            return False
        self.posts.spend(address, now, 1)
        return True

    def upload_wait_minutes(self, user: str, now: float) -> int:
        """Return 0 when an upload is allowed now, else the minutes to wait."""
        if not self.uploads.is_exhausted(user, now):
            return 0
        return max(1, math.ceil(self.uploads.read(user, now).reset_s / 60))

    def strikes(self, client: str, now: float) -> int:
        """Return the strikes of this client id in the current month (UTC)."""
        month = _month(now)
        return sum(m == month for m in self._strikes.get(client, {}).values())

    def is_blocked(self, client: str, now: float) -> bool:
        """Return whether the client id has used up its strikes for the month."""
        maximum = self.limits.strikes_per_month
        return 0 < maximum <= self.strikes(client, now)

    def _strike(self, client: str, now: float) -> None:
        opened_at = self.client.opened_at(client, now)
        self._strikes.setdefault(client, {}).setdefault(opened_at, _month(now))


def _month(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m")
