"""What happens in a simulated month: a list of events in virtual time.

Three processes: the daemons of two accounts upload from backlogs that never end, with
now and then a fresh picture before the others, and a mount of the first account reads.
Each daemon has three calls on their way at most. No scheduler takes part: one loop
takes the next event and awaits it to its end.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from imgurfs import limits
from imgurfs.budget import CAPACITY, Grant
from imgurfs.emulator.rules.accounting import DAY_S
from imgurfs.errors import BudgetError, ThrottledError
from imgurfs.model import Lane, RequestClass, RequestKind
from tests.simulation.budgets import IdealBudget, SharedBudget
from tests.simulation.month_server import Answer, Burst, Month, Server, others

BULK = RequestClass(RequestKind.UPLOAD, Lane.BULK, is_post=True)
FRESH = RequestClass(RequestKind.UPLOAD, Lane.FRESH, is_post=True)
CREATE = RequestClass(RequestKind.CHANGE, Lane.BULK, is_post=True)
READ = RequestClass(RequestKind.READ, Lane.INTERACTIVE)
REFRESH = RequestClass(RequestKind.READ, Lane.REFRESH)
PREFETCH = RequestClass(RequestKind.READ, Lane.PREFETCH)

DAEMONS = ("a daemon", "b daemon")
MOUNT = "a mount"

#: A process looks again after this long at the latest.
_LOOK_AGAIN_S = 300.0
#: Seconds between two requests of the readers, on the average.
_READERS = ((READ, 400.0), (REFRESH, 900.0), (PREFETCH, 2000.0))
_FRESH_EVERY_S = 4000.0
_CRASH_EVERY_S = 40_000.0
_CLOCK_SET_EVERY_S = 500_000.0

Action: TypeAlias = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class _Pump:
    """Sends one daemon's uploads; ``life`` tells its incarnations apart."""

    process: str
    in_flight: int = 0
    life: int = 0
    fresh: int = 0
    waits_until: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sender:
    """A process, and whether it still lives when the answer comes."""

    process: str
    is_alive: Callable[[], bool] = lambda: True


class Traffic:
    """One month of events over a budget and a server, and what it came to."""

    def __init__(
        self,
        month: Month,
        server: Server,
        budget: SharedBudget | IdealBudget,
        *,
        is_ideal: bool,
    ) -> None:
        self._server = server
        self._budget = budget
        self._is_ideal = is_ideal
        self._month = month
        self._network: Random = month.chance("network")
        self._events: list[tuple[float, int, Action]] = []
        self._number = itertools.count()
        self.uploads = 0
        self.reads = 0
        self._is_refresh_waiting = False
        self.refresh_wait_s = 0.0

    async def run(self, start: float, end: float) -> None:
        """Let the month pass."""
        for process in DAEMONS[: self._month.accounts]:
            pump = _Pump(process)
            self._at(start, self._pumping(pump, 0))
            self._arrivals(
                f"fresh {process}", _FRESH_EVERY_S, start, end, self._fresh(pump)
            )
            if not self._is_ideal:
                self._arrivals(
                    f"crash {process}", _CRASH_EVERY_S, start, end, self._crash(pump)
                )
        for request, every_s in _READERS:
            self._arrivals(
                f"read {request.lane}", every_s, start, end, self._reading(request)
            )
        if not self._is_ideal:
            self._arrivals("clock", _CLOCK_SET_EVERY_S, start, end, self._set_clock())
        for day in range(int((end - start) / DAY_S)):
            self._at(start + day * DAY_S, self._user_looks())
        for burst in others(self._month, start, end):
            self._at(burst.at, self._others(burst))
        while self._events and self._events[0][0] < end:
            at, _, action = heapq.heappop(self._events)
            await action(at)

    def _at(self, at: float, action: Action) -> None:
        heapq.heappush(self._events, (at, next(self._number), action))

    def _arrivals(
        self, purpose: str, every_s: float, start: float, end: float, action: Action
    ) -> None:
        """Let ``action`` happen at random moments, the same for both budgets."""
        rng = self._month.chance(purpose)
        at = start + rng.expovariate(1 / every_s)
        while at < end:
            self._at(at, action)
            at += rng.expovariate(1 / every_s)

    # --- Daemons ------------------------------------------------------------------

    def _pumping(self, pump: _Pump, life: int) -> Action:
        async def go(at: float) -> None:
            if life != pump.life or at < pump.waits_until:
                return
            while pump.in_flight < limits.DRAIN_CONCURRENCY_MAX:
                request = _next_upload(pump)
                try:
                    grant = await self._budget.reserve(pump.process, request, at)
                except (BudgetError, ThrottledError) as error:
                    pump.waits_until = at + self._pause_s(error)
                    self._at(pump.waits_until, go)
                    return
                pump.in_flight += 1
                pump.fresh -= request is FRESH
                sender = _Sender(pump.process, lambda: life == pump.life)
                self._send(sender, grant, at, self._uploaded(pump, life))

        return go

    def _uploaded(self, pump: _Pump, life: int) -> Callable[[bool], Action]:
        def over(is_done: bool) -> Action:
            async def go(at: float) -> None:
                self.uploads += is_done
                if life == pump.life:
                    pump.in_flight -= 1
                    await self._pumping(pump, life)(at)

            return go

        return over

    def _fresh(self, pump: _Pump) -> Action:
        async def go(at: float) -> None:
            pump.fresh += 1
            pump.waits_until = 0.0
            await self._pumping(pump, pump.life)(at)

        return go

    def _crash(self, pump: _Pump) -> Action:
        async def go(at: float) -> None:
            self._budget.crash(pump.process)
            pump.life += 1
            pump.in_flight = 0
            pump.waits_until = 0.0
            self._at(at + 10.0, self._pumping(pump, pump.life))

        return go

    # --- Readers, other programs, the clock ---------------------------------------

    def _reading(self, request: RequestClass) -> Action:
        def attempt(wanted_at: float) -> Action:
            async def go(at: float) -> None:
                if request is REFRESH:
                    self._is_refresh_waiting = False
                try:
                    grant = await self._budget.reserve(MOUNT, request, at)
                except (BudgetError, ThrottledError) as error:
                    # A person does not wait, and nobody asked for a prefetch.
                    if request is REFRESH:
                        self._is_refresh_waiting = True
                        self._at(at + self._pause_s(error), attempt(wanted_at))
                    return
                if request is REFRESH:
                    self.refresh_wait_s = max(self.refresh_wait_s, at - wanted_at)
                self._send(_Sender(MOUNT), grant, at, self._read)

            return go

        async def start(at: float) -> None:
            # The refresher wants one thing at a time.
            if request is not REFRESH or not self._is_refresh_waiting:
                await attempt(at)(at)

        return start

    def _read(self, is_done: bool) -> Action:
        async def go(at: float) -> None:
            del at
            self.reads += is_done

        return go

    def _others(self, burst: Burst) -> Action:
        async def go(at: float) -> None:
            self._server.spend_elsewhere(burst.wish, at, leave=burst.leave)

        return go

    def _user_looks(self) -> Action:
        async def go(at: float) -> None:
            await self._budget.consent(MOUNT, at)

        return go

    def _set_clock(self) -> Action:
        rng = self._month.chance("clock errors")

        async def go(at: float) -> None:
            del at
            # Mostly put right again, sometimes wrong by minutes, hours or a day.
            self._budget.clock.error_s = rng.choice(
                (0.0, 0.0, 40.0, 1800.0, -1800.0, 7200.0, -7200.0, 86_400.0, -86_400.0)
            )

        return go

    # --- The way there and back ---------------------------------------------------

    def _pause_s(self, error: BudgetError | ThrottledError) -> float:
        retry_at = error.retry_at
        wait_s = _LOOK_AGAIN_S if retry_at is None else self._budget.wait_s(retry_at)
        return min(max(wait_s, 0.01), _LOOK_AGAIN_S)

    def _send(
        self, sender: _Sender, grant: Grant, at: float, over: Callable[[bool], Action]
    ) -> None:
        """Let a request travel, arrive, and its answer come back, or not."""
        rng = self._network
        is_upload = grant.request.kind is RequestKind.UPLOAD
        there_s = rng.uniform(0.5, 4.0) if is_upload else rng.uniform(0.02, 0.2)
        back_s = rng.uniform(0.02, 0.5)
        fate = 1.0 if self._is_ideal else rng.random()
        if fate < 0.01:
            there_s += rng.uniform(10.0, 140.0 if is_upload else 19.0)
        elif fate < 0.02:
            back_s += rng.uniform(1.0, 19.0)
        is_lost, has_arrived = 0.02 <= fate < 0.024, not 0.02 <= fate < 0.022
        is_bare = 0.024 <= fate < 0.045

        account = sender.process.split(maxsplit=1)[0]
        ticket = self._server.sent(account, grant.request, at)

        async def arrive(now: float) -> None:
            answer: Answer | None = None
            self._budget.arrived(sender.process, grant)
            if has_arrived:
                answer = self._server.answer(account, grant.request, ticket, now)
            is_done = answer is not None and not answer.scope
            if is_lost or answer is None:
                answer, wait_s = None, limits.SOCKET_TIMEOUT_S
            else:
                wait_s = back_s
                if is_bare:
                    answer.headers = None
                    if answer.scope and answer.scope != "upload":
                        # Without headers nobody can tell what was used up.
                        answer.scope = CAPACITY
                        answer.rest_s = limits.CAPACITY_PAUSE_S
            self._at(now + wait_s, self._back(sender, grant, answer, over(is_done)))

        self._at(at + there_s, arrive)

    def _back(
        self, sender: _Sender, grant: Grant, answer: Answer | None, over: Action
    ) -> Action:
        async def go(at: float) -> None:
            if sender.is_alive():
                await self._budget.answered(sender.process, grant, answer, at)
            await over(at)

        return go


def _next_upload(pump: _Pump) -> RequestClass:
    return FRESH if pump.fresh > 0 else BULK
