"""Promises of workers, kept and broken, in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.clock import TrioClock
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.heartbeat import BeatingClock, BeatingExecutor, Heartbeat


async def test_a_promise_is_broken_after_its_time_and_a_little(
    autojump_clock: MockClock,
) -> None:
    """Late is who is silent for longer than promised, and than a busy machine needs."""
    heartbeat = Heartbeat("worker", TrioClock(0.0))
    await trio.sleep(10 * limits.WORKER_SILENCE_MAX_S)
    assert not heartbeat.is_late(), "nothing was promised yet"
    heartbeat.beat(within_s=10.0)
    await trio.sleep(10.0 + limits.WORKER_SLACK_S)
    assert not heartbeat.is_late()
    await trio.sleep(0.1)
    assert heartbeat.is_late()
    heartbeat.beat(within_s=10.0)
    assert not heartbeat.is_late()
    await trio.sleep(10 * limits.WORKER_SILENCE_MAX_S)
    heartbeat.end()
    assert not heartbeat.is_late(), "a worker that is over owes nothing"


async def test_asking_the_time_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    """Either kind of time counts, and is passed on as it is."""
    heartbeat = Heartbeat("worker", TrioClock(1_000.0))
    clock = BeatingClock(TrioClock(1_000.0), heartbeat)
    for ask, answer in ((clock.now, 1_000.0), (clock.monotonic, 0.0)):
        began_s = trio.current_time()
        assert ask() == answer + began_s
        await trio.sleep(limits.WORKER_SILENCE_MAX_S + limits.WORKER_SLACK_S)
        assert not heartbeat.is_late()
        await trio.sleep(1.0)
        assert heartbeat.is_late()


async def test_work_is_a_sign_of_life_when_it_begins_and_ends(
    autojump_clock: MockClock,
) -> None:
    """In between it has the time that everything has; its error comes out as it is."""
    heartbeat = Heartbeat("worker", TrioClock(0.0))
    executor = BeatingExecutor(InlineExecutor(), heartbeat)
    assert await executor.run(ThreadLane.DISK, divmod, 7, 2) == (3, 1)
    await trio.sleep(10 * limits.WORKER_SILENCE_MAX_S)
    assert heartbeat.is_late()
    with pytest.raises(ZeroDivisionError):
        await executor.run(ThreadLane.DISK, divmod, 7, 0)
    assert not heartbeat.is_late()
