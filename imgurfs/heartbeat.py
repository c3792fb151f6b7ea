"""A worker's promise to be heard of again, so that a hung one can be told from an idle.

Each long-lived task of the daemon has a :class:`Heartbeat` and says before it begins
or waits for something how long that may take. A task that goes round in a loop asks
what time it is or has work done in every round: it gets a :class:`BeatingClock` and a
:class:`BeatingExecutor`, and need not know that anybody listens. Whoever watches asks
:meth:`Heartbeat.is_late`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.executor import Executor, ThreadLane

P = ParamSpec("P")
T = TypeVar("T")


class Heartbeat:
    """One worker's. Nothing is expected before its first beat, nor after its end."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._due_s = math.inf

    def __repr__(self) -> str:
        return f"<Heartbeat {self.name} late={self.is_late()}>"

    def beat(self, *, within_s: float = limits.WORKER_SILENCE_MAX_S) -> None:
        """Promise to beat again within that time."""
        self._due_s = self._clock.monotonic() + within_s

    def end(self) -> None:
        """Promise nothing any more: the worker is over."""
        self._due_s = math.inf

    def is_late(self) -> bool:
        """Whether the promise was broken, by more than a busy machine explains."""
        return self._clock.monotonic() > self._due_s + limits.WORKER_SLACK_S


class BeatingClock:
    """A clock for one worker: alive is who asks what time it is."""

    def __init__(self, clock: Clock, heartbeat: Heartbeat) -> None:
        self._clock = clock
        self._heartbeat = heartbeat

    def now(self) -> float:
        """Return seconds since the epoch."""
        self._heartbeat.beat()
        return self._clock.now()

    def monotonic(self) -> float:
        """Return seconds since some fixed moment."""
        self._heartbeat.beat()
        return self._clock.monotonic()


class BeatingExecutor:
    """An executor for one worker: alive is who begins or ends a piece of work."""

    def __init__(self, executor: Executor, heartbeat: Heartbeat) -> None:
        self._executor = executor
        self._heartbeat = heartbeat

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what ``fn`` returns or raise what it raises."""
        self._heartbeat.beat()
        try:
            return await self._executor.run(lane, fn, *args, **kwargs)
        finally:
            self._heartbeat.beat()
