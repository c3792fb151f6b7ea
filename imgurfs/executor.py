"""The only way from trio to a thread.

Blocking work (a commit that waits for the disk, a large ``pread``, a notification to
the kernel) goes through an :class:`Executor` that is passed in. The simulation passes
:class:`InlineExecutor`: a real thread would race with its virtual clock.

Lanes keep work apart: one lane runs at most its number of calls at a time, in the
order of arrival. The lane ``WRITER`` has one place, which is what makes "one writer
thread per process" true.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")


class ThreadLane(enum.Enum):
    """Groups of blocking work that must not wait for each other; value = threads."""

    WRITER = ("writer", 1)  # the writing connection to state.db
    LEDGER = ("ledger", 1)  # the writing connection to budget.db
    DISK = ("disk", 8)  # content cache, spool, hashing
    KERNEL = ("kernel", 4)  # FUSE notifications; may block while a read is in flight


class Executor(Protocol):
    """Runs a blocking function without blocking trio."""

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what ``fn`` returns or raise what it raises.

        Cancellation waits for ``fn`` to finish: a commit is never abandoned halfway.
        """
        ...


class ThreadExecutor:
    """Real threads, bounded per lane. Use within one trio run."""

    def __init__(self) -> None:
        self._limiters = {
            lane: trio.CapacityLimiter(lane.value[1]) for lane in ThreadLane
        }

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``fn`` in a worker thread of the lane."""
        return await trio.to_thread.run_sync(  # noqa: TID251 - the one place
            lambda: fn(*args, **kwargs), limiter=self._limiters[lane]
        )

    def statistics(self) -> dict[str, int]:
        """Return how many calls run in each lane."""
        return {
            lane.value[0]: self._limiters[lane].statistics().borrowed_tokens
            for lane in ThreadLane
        }


class InlineExecutor:
    """Runs everything at once on the caller's thread: for virtual time."""

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``fn`` here, between two checkpoints."""
        del lane
        await trio.lowlevel.checkpoint()
        return fn(*args, **kwargs)
