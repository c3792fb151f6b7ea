"""Tells the kernel what changed in the tree, so that it may keep the rest for long.

What it is not: it decides nothing about the tree. It looks whether anybody committed
(a number that SQLite keeps), reads the change log from where it was, and turns rows
into notifications. Used by ``fuse.session``.

Rules, each of them learnt from a deadlock somebody had: notifications are written by
worker threads only, never by the trio thread, because the kernel may make the writer
wait for a request that the trio thread has to answer; a file that is open loses its
attributes but not its pages; a name is invalidated in the plain form, because the form
that says "deleted" zeroes the link count of the file's other names; and an error of a
notification (the kernel did not know the name) is no error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, NoReturn, Protocol

import pyfuse3
import trio

from imgurfs import limits
from imgurfs.errors import DatabaseBusyError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import changelog, entries
from imgurfs.store.changelog import Change
from imgurfs.store.database import Database

logger = logging.getLogger(__name__)

#: Rows of the change log handled at a time.
_BATCH: Final = 1_000


class Kernel(Protocol):
    """The notifications in use. Each may block and may raise OSError."""

    def invalidate_inode(self, inode: Inode, *, attr_only: bool) -> None:
        """Forget attributes and, unless told otherwise, the cached pages."""
        ...

    def invalidate_entry(self, parent: Inode, name: bytes) -> None:
        """Forget whether a name exists and what it leads to."""
        ...


class Opened(Protocol):
    """What is open; ``fuse.handles`` has it."""

    def is_open(self, inode: Inode) -> bool:
        """Whether anybody has the file open."""
        ...

    def mark_stale(self, inode: Inode) -> None:
        """Note that the kernel may have pages of an open file that are old."""
        ...


class PyfuseKernel:
    """The kernel behind the session of this process."""

    def invalidate_inode(self, inode: Inode, *, attr_only: bool) -> None:
        """Forget attributes and, unless told otherwise, the cached pages."""
        pyfuse3.invalidate_inode(pyfuse3.InodeT(inode), attr_only=attr_only)

    def invalidate_entry(self, parent: Inode, name: bytes) -> None:
        """Forget whether a name exists and what it leads to."""
        pyfuse3.invalidate_entry(pyfuse3.InodeT(parent), pyfuse3.FileNameT(name))


class Invalidator:
    """Follows the change log for the life of a mount."""

    def __init__(
        self,
        *,
        db: Database,
        executor: Executor,
        handles: Opened,
        kernel: Kernel | None = None,
    ) -> None:
        self._db = db
        self._executor = executor
        self._handles = handles
        self._kernel = kernel or PyfuseKernel()
        self._notified = 0
        self._seq = 0
        self._known: set[int] = set()

    def __repr__(self) -> str:
        return f"<Invalidator {self.statistics()}>"

    def statistics(self) -> dict[str, int]:
        """Return how many notifications were sent."""
        return {"notified": self._notified}

    def skip(self, first_seq: int, last_seq: int) -> None:
        """Do not announce these rows: the kernel asked for what they tell.

        For changes that were committed already. One that was announced before it came
        here did no harm.
        """
        self._known.update(range(max(first_seq, self._seq + 1), last_seq + 1))

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Announce every change committed from now on, until cancelled."""
        version = self._db.data_version()
        self._seq = changelog.last_seq(self._db.reader)
        self._known.clear()
        task_status.started()
        while True:
            await trio.sleep(limits.CHANGE_POLL_S)
            try:
                seen = self._db.data_version()
                if seen != version:
                    await self._follow()
                    version = seen
            except DatabaseBusyError:
                logger.debug("the change log is busy; looking again")

    async def _follow(self) -> None:
        """Announce all rows that have come, but those that the kernel knows."""
        if changelog.oldest_seq(self._db.reader) > self._seq + 1:
            logger.warning("changes were missed; the kernel forgets everything")
            self._seq = changelog.last_seq(self._db.reader)
            await self._forget_everything()
        while changes := changelog.since(self._db.reader, self._seq, _BATCH):
            news = [change for change in changes if change.seq not in self._known]
            self._seq = changes[-1].seq
            self._known -= {change.seq for change in changes}
            await self._announce(news)

    async def _announce(self, changes: Iterable[Change]) -> None:
        names: dict[tuple[Inode, str], None] = {}
        inodes: dict[Inode, None] = {}
        for change in changes:
            if change.parent:
                names[change.parent, change.name] = None
                inodes[change.parent] = None
            inodes[change.inode] = None
        if not inodes:
            return
        plan = [(inode, self._handles.is_open(inode)) for inode in inodes]
        for inode, is_open in plan:
            if is_open:
                self._handles.mark_stale(inode)
        self._notified += await self._executor.run(
            ThreadLane.KERNEL, self._notify_blocking, list(names), plan
        )

    async def _forget_everything(self) -> None:
        """Announce every name there is, and every inode there can have been."""
        reader = self._db.reader
        shown = entries.children(reader, ROOT_INODE)
        for entry in list(shown):
            if entry.node.kind is entries.NodeKind.ALBUM:
                shown += entries.children(reader, entry.node.inode)
        last = max((entry.node.inode for entry in shown), default=ROOT_INODE)
        # Attributes only: what is gone answers ENOENT when it is asked for again.
        plan = [(Inode(number), True) for number in range(ROOT_INODE, last + 1)]
        names = [(entry.parent, entry.name) for entry in shown]
        self._notified += await self._executor.run(
            ThreadLane.KERNEL, self._notify_blocking, names, plan
        )

    def _notify_blocking(
        self, names: list[tuple[Inode, str]], inodes: list[tuple[Inode, bool]]
    ) -> int:
        for parent, name in names:
            try:
                self._kernel.invalidate_entry(parent, name.encode())
            except OSError as error:
                logger.debug("the kernel did not know %r: %s", name, error)
        for inode, is_open in inodes:
            try:
                self._kernel.invalidate_inode(inode, attr_only=is_open)
            except OSError as error:
                logger.debug("the kernel did not know inode %d: %s", inode, error)
        return len(names) + len(inodes)
