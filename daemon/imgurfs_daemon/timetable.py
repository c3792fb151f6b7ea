"""When a watched folder is looked at again, and at what.

At the directories that the watcher calls dirty; at those with files that have to
settle; at those that nobody watches, every minute; at everything once an hour, and
after what no event tells: the machine slept, a disk was mounted, the watcher died.

Several events are one look, and looking takes a share of the time at most. While
nothing happens nothing is read: now and then the clocks and the mounts are compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs_daemon.mounts import concerning, read_mountinfo
from imgurfs_daemon.watcher import Watcher

#: Wall and monotonic clock drift apart by this much: the machine slept, or was set.
_CLOCK_JUMP_S = 20.0


class Timetable:
    """Of one folder, while it is one directory. Times are of the monotonic clock.

    ``waiting`` gives the directories to look at when files have settled.
    """

    def __init__(
        self,
        *,
        path: bytes,
        watcher: Watcher,
        waiting: Callable[[], frozenset[bytes]],
        clock: Clock,
        rng: random.Random,
        debounce_s: float,
    ) -> None:
        self._path = path
        self._watcher = watcher
        self._waiting = waiting
        self._clock = clock
        self._rng = rng
        self._debounce_s = debounce_s
        now_s = clock.monotonic()
        self._everything_s = now_s
        self._unwatched_s = now_s
        self._settled_s: float | None = None
        self._rested_s = now_s
        self._offset_s = self._clock_offset_s()
        self._mounts = self._read_mounts()

    def looked(
        self, *, at_everything: bool, settles_in_s: float | None, pause_s: float
    ) -> None:
        """Take note of a look that is over, and when its files will have settled."""
        now_s = self._clock.monotonic()
        if at_everything:
            self._everything_s = now_s + self._jittered(limits.RESCAN_INTERVAL_S)
        if now_s >= self._unwatched_s:
            self._unwatched_s = now_s + self._jittered(limits.WATCH_POLL_S)
        self._settled_s = None if settles_in_s is None else now_s + settles_in_s
        self._rested_s = now_s + pause_s

    async def wait_due(self) -> None:
        """Wait until something is to be looked at; the watcher knows what."""
        is_event = False
        while not self._mark_due():
            # It may have become due since it was compared.
            left_s = max(self._next_s() - self._clock.monotonic(), 0.0)
            with trio.move_on_after(min(left_s, limits.WATCH_CHECK_S)):
                await self._watcher.wait_changed()
                is_event = True
        rest_s = self._rested_s - self._clock.monotonic()
        if is_event:
            rest_s = max(rest_s, self._debounce_s)
        if rest_s > 0:
            await trio.sleep(rest_s)

    def _next_s(self) -> float:
        times = [self._everything_s]
        if self._settled_s is not None:
            times.append(self._settled_s)
        if self._watcher.unwatched():
            times.append(self._unwatched_s)
        return min(times)

    def _mark_due(self) -> bool:
        """Tell the watcher what is due; return whether anything is."""
        now_s = self._clock.monotonic()
        if now_s >= self._everything_s or self._is_disturbed():
            self._watcher.mark_all()
        if self._settled_s is not None and now_s >= self._settled_s:
            self._watcher.mark(self._waiting())
            self._settled_s = None
        if now_s >= self._unwatched_s:
            self._watcher.mark(self._watcher.unwatched())
        return self._watcher.is_dirty

    def _is_disturbed(self) -> bool:
        """Whether something happened that no event tells of."""
        offset_s, mounts = self._clock_offset_s(), self._read_mounts()
        is_disturbed = (
            abs(offset_s - self._offset_s) > _CLOCK_JUMP_S
            or mounts != self._mounts
            or self._watcher.is_broken
        )
        self._offset_s, self._mounts = offset_s, mounts
        return is_disturbed

    def _clock_offset_s(self) -> float:
        return self._clock.now() - self._clock.monotonic()

    def _read_mounts(self) -> frozenset[tuple[bytes, bytes]]:
        return concerning(self._path, mountinfo=read_mountinfo())

    def _jittered(self, interval_s: float) -> float:
        return interval_s * self._rng.uniform(0.75, 1.25)
