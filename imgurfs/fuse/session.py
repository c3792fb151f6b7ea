"""One mount from beginning to end: mount, serve, say that it is ready, unmount.

It owns the nursery in which everything of a mount runs. What the requests mean is
``fuse.operations``' business; which objects there are is the command line's. pyfuse3
keeps its session in module variables, so a process has one mount at a time.

However it ends - a signal, ``fusermount3 -u``, an error - the file system is unmounted
before :func:`serve` returns. Requests that are still waiting then are cancelled: what
a program was told is written is on the disk, and what it was not told it knows.
"""

from __future__ import annotations

import contextlib
import logging
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from imgurfs import limits, privileges
from imgurfs.errors import UnavailableError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.fuse.mountpoint import SUBTYPE
from imgurfs.fuse.operations import Operations
from imgurfs.notify import Notifier

logger = logging.getLogger(__name__)

#: A task of the mount's nursery, started with ``nursery.start``.
Background = Callable[..., Awaitable[object]]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: A comma in a mount option would begin the next one.
_UNSAFE_IN_OPTION: Final = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class MountOptions:
    """How the kernel sees the mount; ``account_name`` is shown by ``df``.

    ``source`` is shown instead, as it is: mount(8) knows a mount by it.
    """

    account_name: str
    source: str = ""
    allow_other: bool = False
    is_read_only: bool = False

    def as_fuse(self) -> set[str]:
        """Return the options in libfuse's words.

        A source with a colon makes tools treat the drive as remote.
        """
        safe_name = _UNSAFE_IN_OPTION.sub("_", self.account_name)
        options = {
            f"fsname={self.source or f'imgur:{safe_name}'}",
            f"subtype={SUBTYPE}",
            "default_permissions",
        }
        if self.is_read_only:
            options.add("ro")
        if self.allow_other:
            options.add("allow_other")
        return options


async def serve(
    mountpoint: Path,
    operations: Operations,
    *,
    options: MountOptions,
    executor: Executor,
    notifier: Notifier,
    background: Sequence[Background] = (),
    on_ready: Callable[[], None] | None = None,
    drop_privileges: bool = False,
) -> None:
    """Mount, serve until told to stop, unmount.

    ``mountpoint`` comes from :func:`imgurfs.fuse.mountpoint.prepare`. ``background``
    tasks run as long as the mount does; ``on_ready`` is called once the mounted drive
    has answered. With ``drop_privileges`` the process gives up what it needed to mount,
    and with it the right to unmount: somebody else has to. Raises UnavailableError when
    mounting fails or the drive does not answer, and whatever a background task raises.
    """
    with _receiving() as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, signals, nursery.cancel_scope)
            for task in background:
                await nursery.start(task)
            _mount(mountpoint, operations, options)
            try:
                if drop_privileges:
                    _drop_privileges()
                async with _serving() as ended:
                    await _wait_until_answering(mountpoint, executor)
                    logger.info("%s is mounted", mountpoint)
                    notifier.ready()
                    notifier.status(f"mounted on {mountpoint}")
                    if on_ready is not None:
                        on_ready()
                    await ended.wait()
                logger.info("%s was unmounted", mountpoint)
            finally:
                notifier.stopping()
                # Closes the descriptor before it unmounts, so it cannot wait for us.
                pyfuse3.close(unmount=True)
            nursery.cancel_scope.cancel()


@contextlib.contextmanager
def _receiving() -> Iterator[AsyncIterator[int]]:
    """Receive signals for the length of a block, and ignore those that come later.

    They ask a process to end that is ending: it must not do so with its files half
    closed, nor look as if it had been killed.
    """
    # Blocked, so that none is lost between the two ways of taking them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            yield signals
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _mount(mountpoint: Path, operations: Operations, options: MountOptions) -> None:
    try:
        pyfuse3.init(operations, str(mountpoint), options.as_fuse())
    except RuntimeError as error:
        # libfuse has said why on stderr already.
        raise UnavailableError(
            f"{mountpoint} could not be mounted",
            hint="the line above says why; see also: dmesg",
        ) from error


def _drop_privileges() -> None:
    try:
        privileges.drop()
    except OSError as error:
        # A drive that may do more than it must is better than none.
        logger.warning("privileges could not be given up: %s", error.strerror)


@contextlib.asynccontextmanager
async def _serving() -> AsyncIterator[trio.Event]:
    """Answer the kernel for the length of a block; the event says it went away.

    Shielded: when the mount is told to stop, a thread of ours that looks at it must
    still get its answer, or nobody could wait for that thread.
    """
    ended = trio.Event()
    scope = trio.CancelScope(shield=True)

    async def main() -> None:
        with scope:
            await pyfuse3.main(min_tasks=1, max_tasks=limits.FUSE_TASKS_MAX)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(main)
        try:
            yield ended
        finally:
            scope.cancel()


async def _wait_until_answering(mountpoint: Path, executor: Executor) -> None:
    """Look at the drive from a worker thread: this thread has to answer.

    The handler's own deadline bounds it.
    """
    with trio.CancelScope(shield=True):
        try:
            await executor.run(ThreadLane.KERNEL, mountpoint.stat)
        except OSError as error:
            raise UnavailableError(
                f"{mountpoint} was mounted but does not answer: {error.strerror}"
            ) from error


async def _stop_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        logger.info("%s: unmounting", signal.Signals(number).name)
        scope.cancel()
        return
