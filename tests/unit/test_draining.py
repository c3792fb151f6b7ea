"""Who sends: the mount while it is alone, a daemon when there is one, never both."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.budget import Scope
from imgurfs.draining import LOGIN_NOTICE, Draining
from imgurfs.errors import DatabaseFullError
from imgurfs.jobs import queueing
from imgurfs.locks import FileLock
from imgurfs.store import notices, outbox
from imgurfs.store.outbox import JobState
from tests.support.phases import UPLOADS, trouble, until_job, uploads
from tests.support.placed import Placed, placed


def draining(d: Placed) -> Draining:
    """Return a mount's share in sending."""
    return Draining(
        make=lambda may_send: d.drainer(may_send=may_send),
        db=d.db,
        daemon_lock=d.state_dir / "daemon.lock",
        token=d.there.store.path,
    )


@asynccontextmanager
async def running(one: Draining) -> AsyncIterator[None]:
    """Let a mount send while the body runs."""
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        yield
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], *, within_s: float = 60.0) -> None:
    """Wait for something that other tasks bring about."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def is_done(d: Placed) -> bool:
    """Whether everything has been sent."""
    return not outbox.unfinished(d.db.reader, kind=queueing.UPLOAD)


def drain_lock(d: Placed) -> FileLock:
    """Return another process's view of who sends."""
    return FileLock(d.state_dir / "drain.lock")


async def test_a_mount_alone_sends(tmp_path: Path, autojump_clock: MockClock) -> None:
    """W27: with no daemon running the mount sends what is written to it."""
    async with placed(tmp_path) as d, running(draining(d)):
        await d.write("x.png")
        await until(lambda: is_done(d))
        assert uploads(d) == 1


async def test_a_mount_beside_a_daemon_sends_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W27: while a daemon runs the mount leaves the lock and the work to it."""
    async with placed(tmp_path) as d:
        daemon = FileLock(d.state_dir / "daemon.lock")
        assert daemon.acquire_nowait()
        async with running(draining(d)):
            await d.write("x.png")
            await trio.sleep(100)
            assert uploads(d) == 0
            assert drain_lock(d).is_free()
            daemon.release()
            await until(lambda: is_done(d))


async def test_a_mount_ends_what_is_in_the_air_and_lets_go_when_a_daemon_comes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W27: the upload in the air ends, nothing else is begun, and the lock is free a
    tenth of a second later.
    """
    async with placed(tmp_path) as d, running(draining(d)):
        trouble(d, {"action": "delay", "delay_s": 10.0, **UPLOADS})
        for n in range(limits.DRAIN_CONCURRENCY_MAX + 2):
            await d.write(f"{n}.png")
        await until_job(d, queueing.UPLOAD, JobState.SENDING)
        await trio.sleep(1)
        daemon = FileLock(d.state_dir / "daemon.lock")
        with daemon.require("the daemon"):
            await trio.sleep(1)
            assert not drain_lock(d).is_free()
            await until(
                lambda: not outbox.unfinished(d.db.reader, state=JobState.SENDING)
            )
            await until(drain_lock(d).is_free, within_s=0.1)
            assert uploads(d) == limits.DRAIN_CONCURRENCY_MAX
            await trio.sleep(60)
            assert uploads(d) == limits.DRAIN_CONCURRENCY_MAX
            assert len(d.jobs()) == 2


async def test_nothing_is_begun_between_two_looks_at_the_lock(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W27: the lock is asked for right before each call is begun."""
    async with placed(tmp_path) as d:
        await d.write("x.png")
        await trio.sleep(limits.DRIVE_SETTLE_S)
        left = d.there.ledger.state().windows
        await d.drainer(may_send=lambda: False).run()
        assert uploads(d) == 0
        (job,) = d.jobs()
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
        assert drain_lock(d).is_free()
        after = d.there.ledger.state().windows[Scope.UPLOAD]
        assert after.remaining == left[Scope.UPLOAD].remaining, "it is given back"


async def test_a_mount_takes_over_from_a_daemon_that_died(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W27: what the dead daemon had in the air is looked for, not sent again."""
    async with placed(tmp_path) as d:
        await d.write("x.png")
        daemon = FileLock(d.state_dir / "daemon.lock")
        assert daemon.acquire_nowait()
        with trio.CancelScope() as killed:
            trouble(d, {"action": "delay", "delay_s": 10.0, "nth": 1, **UPLOADS})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(d.drainer().run)
                await until_job(d, queueing.UPLOAD, JobState.SENDING)
                killed.cancel()
        async with running(draining(d)):
            await trio.sleep(20)
            assert uploads(d) == 1
            daemon.release()
            await until(lambda: is_done(d), within_s=600)
        assert len(d.images()) == 1


async def test_of_two_mounts_one_sends(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W27: the second mount waits for the first one, and goes on when it ends."""
    async with placed(tmp_path) as d, trio.open_nursery() as nursery:
        first, second = draining(d), draining(d)
        async with running(first):
            await d.write("x.png")
            await until(lambda: is_done(d))
            await nursery.start(second.run)
            await d.write("y.png")
            await until(lambda: is_done(d))
        await d.write("z.png")
        await until(lambda: is_done(d))
        assert uploads(d) == 3
        nursery.cancel_scope.cancel()


async def test_a_mount_that_ends_lets_the_call_in_the_air_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W27: unmounting leaves no unknown outcome behind if the answer comes soon."""
    async with placed(tmp_path) as d:
        trouble(d, {"action": "delay", "delay_s": 3.0, "nth": 1, **UPLOADS})
        await d.write("x.png")
        async with running(draining(d)):
            await until_job(d, queueing.UPLOAD, JobState.SENDING)
        assert is_done(d)
        assert len(d.images()) == 1


@pytest.mark.parametrize("has_daemon", [False, True])
async def test_a_mount_that_ends_waits_for_no_answer_for_long(
    tmp_path: Path, autojump_clock: MockClock, *, has_daemon: bool
) -> None:
    """What does not end in time is looked for by whoever sends next, also if a daemon
    has come before.
    """
    async with placed(tmp_path) as d:
        daemon = FileLock(d.state_dir / "daemon.lock")
        trouble(d, {"action": "delay", "delay_s": 15.0, "nth": 1, **UPLOADS})
        await d.write("x.png")
        began_s = 0.0
        async with running(draining(d)):
            await until_job(d, queueing.UPLOAD, JobState.SENDING)
            if has_daemon:
                assert daemon.acquire_nowait()
                await trio.sleep(1)
            began_s = trio.current_time()
        assert trio.current_time() - began_s <= limits.UNMOUNT_GRACE_S + 0.1
        daemon.release()
        (job,) = d.jobs()
        assert job.state is JobState.UNKNOWN


async def test_a_token_that_is_not_accepted_stops_the_sending_only(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S25: with a revoked token writing goes on, the status says what to do, and
    after a login everything is sent.
    """
    async with placed(tmp_path) as d, running(draining(d)):
        world, store = d.there.emulator.world, d.there.store
        token, access = store.load(), dict(world.access_tokens)
        world.access_tokens.clear()
        world.refresh_tokens.clear()
        await d.write("x.png")
        await until(lambda: LOGIN_NOTICE in notices.everything(d.db.reader))
        assert "imgurfs login" in notices.everything(d.db.reader)[LOGIN_NOTICE]
        await d.write("y.png")
        assert len(d.jobs()) == 2
        world.access_tokens.update(access)
        store.save(token)
        await until(lambda: is_done(d), within_s=600)
        assert LOGIN_NOTICE not in notices.everything(d.db.reader)


async def test_trouble_with_sending_does_not_end_the_mount(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug where things are sent is logged, and sending is tried again later."""
    async with placed(tmp_path) as d:
        attempts: list[int] = []

        def make(may_send: Callable[[], bool]) -> object:
            attempts.append(1)
            if len(attempts) == 1:
                raise ZeroDivisionError
            return d.drainer(may_send=may_send)

        async with running(made_by(d, make)):
            await d.write("x.png")
            await until(lambda: is_done(d), within_s=600)
        assert "a bug of ours" in caplog.text


async def test_a_full_disk_is_told_once_and_tried_again(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """W16: What the sending does not find room for is tried again soon, and is no bug,
    however deep in a group of errors it comes.
    """
    async with placed(tmp_path) as d:
        attempts: list[float] = []

        def make(may_send: Callable[[], bool]) -> object:
            attempts.append(trio.current_time())
            if len(attempts) <= 3:
                inner = ExceptionGroup("inner", [DatabaseFullError("it is full")])
                raise ExceptionGroup("outer", [inner])
            return d.drainer(may_send=may_send)

        async with running(made_by(d, make)):
            await d.write("x.png")
            await until(lambda: is_done(d), within_s=5 * limits.DRAIN_RETRY_S)
        assert caplog.text.count("it is full") == 1
        assert "bug" not in caplog.text


async def ends_soon(one: Draining, *, when: Callable[[], bool]) -> None:
    """Run a mount's share, stop it when something is so, and have it return."""
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await until(when)
        await trio.sleep(5)
        one.stop()
        with trio.fail_after(limits.DRAIN_POLL_S + 0.1):
            while nursery.child_tasks:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_one_that_waits_stops_when_it_is_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W27: who sends, or waits for a daemon's end, a login or another attempt, stops
    within a second; that a login is needed stays told.
    """
    async with placed(tmp_path) as d:
        await ends_soon(draining(d), when=lambda: not drain_lock(d).is_free())
        with FileLock(d.state_dir / "daemon.lock").require("the daemon"):
            await ends_soon(draining(d), when=lambda: True)
        await ends_soon(broken(d), when=lambda: True)
        world = d.there.emulator.world
        world.access_tokens.clear()
        world.refresh_tokens.clear()
        await d.write("x.png")
        told = functools.partial(notices.everything, d.db.reader)
        await ends_soon(draining(d), when=lambda: LOGIN_NOTICE in told())
        assert LOGIN_NOTICE in told()


def broken(d: Placed) -> Draining:
    """Return a share in sending that never gets as far."""

    def make(may_send: Callable[[], bool]) -> object:
        raise ZeroDivisionError

    return made_by(d, make)


def made_by(d: Placed, make: Callable[[Callable[[], bool]], object]) -> Draining:
    """Return a share in sending whose drainers are made so."""
    return Draining(
        make=make,  # type: ignore[arg-type]
        db=d.db,
        daemon_lock=d.state_dir / "daemon.lock",
        token=d.there.store.path,
    )
