"""A clock that runs faster than the machine's, the same one in several processes.

Stands for ``imgurfs.clock.Clock`` and for the emulator's clock. Not a virtual clock: it
never jumps, so it may drive real sockets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import anyio


@dataclass(frozen=True)
class FastClock:
    """Both clocks of the program and the emulator's, ``rate`` times as fast.

    The monotonic clock of the machine drives it: all processes see the same time.
    ``began_at`` is the epoch at ``began_s`` of that clock.
    """

    rate: float
    began_at: float
    began_s: float

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self.began_at + (time.monotonic() - self.began_s) * self.rate

    def monotonic(self) -> float:
        """Return seconds since some fixed moment."""
        return time.monotonic() * self.rate

    async def sleep(self, duration_s: float) -> None:
        """Wait, in the emulator."""
        await anyio.sleep(duration_s / self.rate)
