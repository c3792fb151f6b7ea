"""The emulator's own clock, passed in; it shares none with the client it tests.

Nothing else in the emulator asks what time it is or sleeps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import anyio


class Clock(Protocol):
    """Wall time in seconds since the epoch, and waiting."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Return after ``duration_s`` seconds of this clock."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()  # noqa: TID251 - the one place in the emulator

    async def sleep(self, duration_s: float) -> None:
        """Wait in real time, on whatever loop is running."""
        await anyio.sleep(duration_s)


@dataclass(frozen=True, slots=True)
class LoopClock:
    """Time derived from the running event loop, so that a virtual loop drives it.

    ``epoch_s`` is the wall time at the loop's time zero.
    """

    epoch_s: float

    def now(self) -> float:
        """Return the loop's time as seconds since the epoch."""
        return self.epoch_s + anyio.current_time()

    async def sleep(self, duration_s: float) -> None:
        """Wait on the loop's clock."""
        await anyio.sleep(duration_s)
