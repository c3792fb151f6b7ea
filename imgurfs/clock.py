"""The only place that asks what time it is.

``now`` is wall time (epochs in headers, databases and messages), ``monotonic`` is
for measuring. Everything that needs either takes a :class:`Clock`; the simulation
passes one whose time is virtual. Sleeping is trio's: its clock is virtual there too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import trio


class Clock(Protocol):
    """Wall and monotonic time in seconds."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never runs backwards."""
        ...


class SystemClock:
    """This machine's clocks."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()  # noqa: TID251 - the one place

    def monotonic(self) -> float:
        """Return seconds since boot; time in which the machine slept counts."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class TrioClock:
    """Both times derived from trio's clock, so that a virtual one drives them.

    ``epoch_s`` is the wall time at trio's time zero.
    """

    epoch_s: float

    def now(self) -> float:
        """Return the virtual wall time."""
        return self.epoch_s + trio.current_time()

    def monotonic(self) -> float:
        """Return trio's time."""
        return trio.current_time()
