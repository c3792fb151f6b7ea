"""What happens at its own time, whoever asks: late commits and other people's doings.

Theory of operation. Nothing runs in the background: what is due is made up for before
the next request is looked at, at the time it was due (:class:`EventClock` shows that
time meanwhile). Whoever asks cannot tell the difference, and the order is the same in
process, over sockets and in virtual time. Owned by one event loop.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from imgurfs.emulator.clock import Clock

_PRETENDED: ContextVar[float | None] = ContextVar("pretended", default=None)

Event = Callable[[], Awaitable[None]]


class EventClock:
    """The clock of everything behind the agenda: late events see their own time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        """Return seconds since the epoch."""
        pretended = _PRETENDED.get()
        return self._clock.now() if pretended is None else pretended

    async def sleep(self, duration_s: float) -> None:
        """Return after ``duration_s`` seconds of the clock underneath."""
        await self._clock.sleep(duration_s)


class Agenda:
    """Events by time; equal times in the order they were put."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()
        self._turn = anyio.Lock()
        self._is_busy = False

    def __repr__(self) -> str:
        return f"<Agenda {len(self._events)} to come>"

    def put(self, at: float, event: Event) -> None:
        """Let ``event`` happen at a time; the past means at the next chance."""
        heapq.heappush(self._events, (at, next(self._numbers), event))

    async def catch_up(self) -> None:
        """Make everything happen that is due; wait when somebody is doing so."""
        now = self._clock.now()
        if not self._is_busy and (not self._events or self._events[0][0] > now):
            return
        async with self._turn:
            self._is_busy = True
            try:
                while self._events and self._events[0][0] <= now:
                    at, _, event = heapq.heappop(self._events)
                    pretended = _PRETENDED.set(at)
                    try:
                        # Whoever happens to ask may leave; what is due happens.
                        with anyio.CancelScope(shield=True):
                            await event()
                    finally:
                        _PRETENDED.reset(pretended)
            finally:
                self._is_busy = False


class TimelyHost:
    """ASGI application in front of another: first what is due, then the request."""

    def __init__(
        self, inner: ASGIApp, agenda: Agenda, *, before: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._agenda = agenda
        self._before = before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Catch up, then pass on."""
        self._before()
        await self._agenda.catch_up()
        await self._inner(scope, receive, send)
