"""A mount and its emulator as real processes whose time stands still until pushed.

Run by ``tests.simulation.pushed_ground`` as a process that has imported everything and
forks on request, as ``nest`` does. Kernel, sockets, threads and files are real; only
the clock is not: all processes of one ground read it from a file, and it moves when the
test says so, while nothing is on its way. So what happens does not depend on how busy
this machine is, and the minutes that a queue takes are not waited for.
"""

from __future__ import annotations

import ctypes
import functools
import json
import logging
import math
import mmap
import signal
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio
import httpx
import trio
import trio.testing

from imgurfs import assembly, limits, paths
from imgurfs import config as settings
from imgurfs.assembly import Services
from imgurfs.executor import ThreadExecutor, ThreadLane
from imgurfs.fuse import mountpoint as mountpoints
from imgurfs.fuse.drive import Drive, DriveOptions, open_drive
from imgurfs.fuse.session import MountOptions, serve
from imgurfs.model import Lane
from imgurfs.notify import Notifier
from imgurfs.store import drafts, entries
from imgurfs.store.drafts import DraftState
from tests.simulation import nest
from tests.simulation.fastclock import FastClock

P = ParamSpec("P")
T = TypeVar("T")

#: When every ground begins.
EPOCH_S = 1_800_000_000.0
#: What does not become quiet within this never will.
PATIENCE_S = 900
_LONG_S = 1e6
#: Of prctl(2): the signal that comes when the parent dies.
_PR_SET_PDEATHSIG = 1
_SPOOL_STATES = (DraftState.WAITING, DraftState.SENT)
_UNFINISHED = (
    "SELECT kind, state, error FROM job"
    " WHERE state NOT IN ('done', 'cancelled', 'dead')"
)
_DEAD = "SELECT kind, state, error FROM job WHERE state = 'dead'"


class PushedClock(trio.abc.Clock):
    """The clock of the program, of trio and of the emulator, kept in a file."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    def push(self, seconds: float) -> None:
        """Let time pass."""
        self._shared[:8] = struct.pack("d", self.monotonic() + seconds)

    def now(self) -> float:
        """Return seconds since the epoch."""
        return EPOCH_S + self.monotonic()

    def monotonic(self) -> float:
        """Return the seconds that were pushed."""
        return float(struct.unpack("d", self._shared[:8])[0])

    async def sleep(self, duration_s: float) -> None:
        """Wait, in the emulator, which nobody asks to."""
        await anyio.sleep(duration_s)

    def start_clock(self) -> None:
        """Do nothing: it is trio that has to wait for us."""

    def current_time(self) -> float:
        """Return what trio's deadlines are measured by."""
        return self.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long trio may sleep: until it is pushed."""
        return 0.0 if deadline <= self.monotonic() else _LONG_S


def make_clock(path: Path) -> PushedClock:
    """Make the file of a new clock."""
    path.write_bytes(struct.pack("d", 0.0))
    return PushedClock(path)


class Busy:
    """Counts what is on its way: requests and work in threads."""

    def __init__(self) -> None:
        self._count = 0
        self._over = trio.Event()

    def begin(self) -> None:
        """Count one more."""
        self._count += 1

    def end(self) -> None:
        """Count one less."""
        self._count -= 1
        if not self._count:
            self._over.set()

    async def calm(self) -> None:
        """Return when nothing is on its way and every task waits for time or others."""
        while True:
            await trio.testing.wait_all_tasks_blocked()
            if not self._count:
                return
            self._over = trio.Event()
            await self._over.wait()


class _Threads(ThreadExecutor):
    """Real threads that are counted."""

    def __init__(self, busy: Busy) -> None:
        super().__init__()
        self._busy = busy

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._busy.begin()
        try:
            return await super().run(lane, fn, *args, **kwargs)
        finally:
            self._busy.end()


class _Body(httpx.AsyncByteStream):
    """An answer's body; the request is under way until it is closed."""

    def __init__(self, inner: httpx.AsyncByteStream, busy: Busy) -> None:
        self._inner = inner
        self._busy: Busy | None = busy

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            yield piece

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            busy, self._busy = self._busy, None
            if busy is not None:
                busy.end()


class _Wire(httpx.AsyncBaseTransport):
    """The real network, counted."""

    def __init__(self, busy: Busy) -> None:
        self._inner = httpx.AsyncHTTPTransport(trust_env=False)
        self._busy = busy

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._busy.begin()
        try:
            answer = await self._inner.handle_async_request(request)
        except BaseException:
            self._busy.end()
            raise
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        answer.stream = _Body(answer.stream, self._busy)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class _Control:
    """Does what the test orders, over a socket it listens on: a JSON line for each."""

    address: str
    clock: PushedClock
    busy: Busy
    services: Services
    drive: Drive
    ready: trio.Event

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Obey until the test goes away."""
        task_status.started()
        await self.ready.wait()
        stream = await trio.open_unix_socket(self.address)
        received = b""
        async for data in stream:
            received += data
            while b"\n" in received:
                line, _, received = received.partition(b"\n")
                answer = await self._obey(json.loads(line))
                await stream.send_all(json.dumps(answer).encode() + b"\n")

    async def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        orders: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
            "push": functools.partial(self._push, order.get("seconds", 0.0)),
            "refresh": self._refresh,
            "drain": self._drain,
        }
        return await orders[order["do"]]()

    async def _push(self, seconds: float) -> dict[str, Any]:
        """Let time pass, a second at a time, and what becomes due end."""
        for second in range(math.ceil(seconds)):
            await self.busy.calm()
            self.clock.push(min(1.0, seconds - second))
        await self.busy.calm()
        return {}

    async def _refresh(self) -> dict[str, Any]:
        """Read the whole account as it is now."""
        await self._push(limits.LISTING_LAG_S + 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._push_on, nursery.cancel_scope)
            await self.drive.refresher.refresh_all(Lane.CONTROL)
            nursery.cancel_scope.cancel()
        # The kernel is told by whoever looks for changes so often.
        await self._push(limits.CHANGE_POLL_S)
        return {}

    async def _push_on(self, giving_up: trio.CancelScope) -> None:
        """Let time pass for somebody who may be waiting for it, but not for ever."""
        for _ in range(PATIENCE_S):
            await self.busy.calm()
            self.clock.push(1.0)
        giving_up.cancel()

    async def _drain(self) -> dict[str, Any]:
        """Let everything be sent and listed."""
        for _ in range(PATIENCE_S):
            await self.busy.calm()
            if not self._left():
                await self._refresh()
                if not self._left():
                    break
            await self._push(1.0)
        return {"left": self._left(), "dead": self._rows(_DEAD)}

    def _left(self) -> list[str]:
        """Return the jobs and contents that are on their way."""
        reader = self.services.db.reader
        unsent = drafts.everything(reader, _SPOOL_STATES)
        # What lost its last name is not sent, but may be given back.
        named = [it for it in unsent if entries.entries_of(reader, it.inode)]
        return [*self._rows(_UNFINISHED), *map(str, named)]

    def _rows(self, query: str) -> list[str]:
        return [str(tuple(row)) for row in self.services.db.reader.execute(query)]


def _drive_options(services: Services) -> DriveOptions:
    """Return what the command makes of the configuration."""
    config = services.config
    return DriveOptions(
        cache_dir=services.paths.content_dir,
        cache_bytes_max=config.cache.size_bytes_max,
        spool_dir=services.paths.spool_dir,
        cdn_url=services.account_config.cdn_url,
        cdn_hosts=services.account_config.content_hosts,
        mount=config.mount,
        delete_grace_s=config.sync.delete_grace_s,
    )


async def _serve(order: nest.Order) -> None:
    """Do what ``imgurfs mount --foreground`` does, by another clock."""
    clock, busy, ready = PushedClock(Path(order["time"])), Busy(), trio.Event()
    config = settings.load()
    place = mountpoints.prepare(
        Path(order["mountpoint"]),
        forbidden=paths.account_paths("default").own_directories,
    )
    async with assembly.open_account(
        config, "default", clock=clock, executor=_Threads(busy), transport=_Wire(busy)
    ) as services:
        with open_drive(
            _drive_options(services),
            db=services.db,
            api=services.api,
            http=services.http,
            clock=services.clock,
            executor=services.executor,
        ) as drive:
            await drive.writer.recover()
            draining = assembly.make_draining(services, drive.refresher)
            control = _Control(order["control"], clock, busy, services, drive, ready)
            await serve(
                place,
                drive.operations,
                options=MountOptions(account_name=services.account.url),
                executor=services.executor,
                notifier=Notifier(),
                background=[
                    *drive.background,
                    drive.invalidator.run,
                    draining.run,
                    control.run,
                ],
                on_ready=ready.set,
            )


def _die_with_the_nest() -> None:
    """Do not outlive a test that was killed: nobody would push the time any more."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _mount(order: nest.Order, _clock: FastClock) -> None:
    """Be a mount."""
    _die_with_the_nest()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    trio.run(_serve, order, clock=PushedClock(Path(order["time"])))


def _emulator(order: nest.Order, _clock: FastClock) -> None:
    """Be the emulator."""
    _die_with_the_nest()
    clock: Any = PushedClock(Path(order["time"]))
    nest._emulator(order, clock)


if __name__ == "__main__":
    nest._ROLES.update(mount=_mount, emulator=_emulator)
    nest.main()
