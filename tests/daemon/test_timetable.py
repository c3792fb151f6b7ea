"""When a folder is looked at again, by a clock that is told what to say."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import trio

from imgurfs_daemon.timetable import Timetable
from imgurfs_daemon.watcher import Watcher


class StridingClock:
    """Every question takes a second: what was in the future is in the past soon."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now(self) -> float:
        """Return a wall time that keeps its distance from the other one."""
        return 1_800_000_000.0 + self._now_s

    def monotonic(self) -> float:
        """Return one second more than the last time."""
        self._now_s += 1.0
        return self._now_s


def timetable(
    path: Path, watcher: Watcher, waiting: Callable[[], frozenset[bytes]]
) -> Timetable:
    """Return a timetable that waits for nothing but what is due."""
    return Timetable(
        path=bytes(path),
        watcher=watcher,
        waiting=waiting,
        clock=StridingClock(),
        rng=random.Random(1),
        debounce_s=0.0,
    )


async def test_what_becomes_due_while_it_is_looked_at(tmp_path: Path) -> None:
    """No time is waited for that is over; the waiting directories are dirty then."""
    with Watcher(bytes(tmp_path)) as watcher:
        watcher.take()
        times = timetable(tmp_path, watcher, lambda: frozenset({b"june", b"oslo"}))
        for settles_in_s in (0.5, 1.5, 2.5, 3.5, 4.5):
            times.looked(at_everything=True, settles_in_s=settles_in_s, pause_s=0.0)
            with trio.fail_after(10):
                await times.wait_due()
            assert watcher.take().scope == frozenset({b"june", b"oslo"})
