"""Bytes that are written through the drive: create, write, truncate, commit, release.

What it is not: names are :mod:`imgurfs.writing.places`', what becomes of a content is
decided in ``judge``, and the kernel is unknown here. For the kernel adapter.

Theory of operation. Whatever is open has one :class:`OpenDraft`, however many handles
there are. Before the first byte changes, the content's upload is withdrawn and its row
says ``writing``, durably if the content was durable. If an upload may be reading the
content, the change goes to a copy; if the bytes are on Imgur only, they are brought
first (``arrival``). :meth:`Files.commit` makes the content durable, judges it, and
queues its upload in one transaction.

Concurrency: on the trio thread; one lock per :class:`OpenDraft`, held by whoever
changes it. Nobody holds it across the network, except while the bytes of an image are
brought; that runs in a nursery of its own, so that a request whose deadline passes
leaves, and the bytes still come.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import NoReturn

import trio

from imgurfs.clock import Clock
from imgurfs.config import MountConfig
from imgurfs.content.fetch import Fetcher
from imgurfs.content.spool import Spool, SpoolFile
from imgurfs.crashpoints import reach
from imgurfs.errors import AlreadyRunningError, ImgurfsError, OutageError
from imgurfs.model import Inode
from imgurfs.store import drafts, entries
from imgurfs.store.database import Connection, Database
from imgurfs.store.entries import Node
from imgurfs.writing import drafting, recovery
from imgurfs.writing.arrival import Arrival
from imgurfs.writing.contents import Contents
from imgurfs.writing.drafting import Times
from imgurfs.writing.judge import name_problem
from imgurfs.writing.keeper import Keeper
from imgurfs.writing.opened import OpenDraft
from imgurfs.writing.rows import OnChanged, Rows

logger = logging.getLogger(__name__)


class Files:
    """The files that are open, and what is written to them.

    :meth:`run` must be running in a nursery while anything is written.
    """

    def __init__(
        self,
        *,
        db: Database,
        spool: Spool,
        fetcher: Fetcher,
        clock: Clock,
        settings: MountConfig,
        delete_grace_s: float,
        on_changed: OnChanged = lambda _first, _last: None,
    ) -> None:
        self._db = db
        self._spool = spool
        self._fetcher = fetcher
        self._clock = clock
        self._settings = settings
        self._rules = drafting.Rules(settings, delete_grace_s)
        self._rows = Rows(db, on_changed)
        self._open: dict[Inode, OpenDraft] = {}
        self._nursery: trio.Nursery | None = None
        self._recovering = trio.Lock()
        self._is_recovered = False
        self.contents = Contents(
            rows=self._rows,
            spool=spool,
            fetcher=fetcher,
            clock=clock,
            rules=self._rules,
            start_arrival=self._start_arrival,
        )
        self._keeper = Keeper(
            # What it changes, nobody has asked for.
            rows=Rows(db, lambda _first, _last: None),
            spool=spool,
            fetcher=fetcher,
            clock=clock,
            opened=self._open,
        )

    def __repr__(self) -> str:
        return f"<Files open={len(self._open)} {self._spool!r}>"

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Own what goes on behind requests, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await self._keeper.run()
            finally:
                self._nursery = None
                with trio.CancelScope(shield=True):
                    await self._flush()

    async def _flush(self) -> None:
        """Give the disk what programs have written and not closed; the mount ends."""
        # Meanwhile what is on its way ends, and closes what it held.
        for draft in list(self._open.values()):
            if draft.file is not None:
                try:
                    await self._spool.flush(draft.file)
                except ImgurfsError as error:
                    logger.warning("the end of an open file was not saved: %s", error)

    async def recover(self) -> bool:
        """Take the spool and sort out what a dead mount left; False if one lives.

        Only one mount of an account writes. Another one becomes the writer when this
        one has ended and somebody writes there.
        """
        if self._is_recovered:
            return True
        async with self._recovering:
            # Several may have waited for the first of them.
            if self._spool.is_owned or not self._spool.own():
                return self._is_recovered
            try:
                await recovery.recover(
                    self._db, self._spool, clock=self._clock, rules=self._rules
                )
            except BaseException:
                self._spool.close()
                raise
            # The other mount may have written to what is open here.
            for draft in self._open.values():
                draft.is_loaded = False
            self._is_recovered = True
        return True

    # --- Asking ------------------------------------------------------------------

    def current(self, inode: Inode) -> OpenDraft | None:
        """Return what is open of an inode and has its content in the spool."""
        draft = self._open.get(inode)
        return draft if draft is not None and draft.has_bytes else None

    def is_open(self, inode: Inode) -> bool:
        """Whether anybody holds the file open, for whatever purpose."""
        return inode in self._open

    def overlay(self, node: Node) -> Node:
        """Return a node with the size and times that are not in its row yet."""
        draft = self.current(node.inode)
        return node if draft is None else draft.overlay(node)

    def free_bytes(self) -> int:
        """Return for how many more bytes there is room."""
        return self._spool.free_bytes()

    # --- Opening and closing -----------------------------------------------------

    async def create(self, parent: Inode, name: str) -> tuple[Inode, OpenDraft]:
        """Make a file and open it for writing.

        Raises NameTakenError, NoDirectoryError, NotFoundError, what ``name_problem``
        says, SpoolFullError.
        """
        await self._require_spool()
        takes_any = self._settings.non_media == "keep-local"
        if problem := name_problem(name, takes_any=takes_any):
            raise problem
        made: list[SpoolFile] = []
        with trio.CancelScope(shield=True):
            try:
                inode = await self._rows.write(
                    partial(self._make, parent, name, made, now=self._clock.now())
                )
            except BaseException:
                for file in made:
                    self._spool.close_file(file)
                    await self._spool.remove(file.name)
                raise
        reach("draft-created")
        draft = self._open[inode] = OpenDraft.made(inode, made[0])
        return inode, draft

    def _make(
        self,
        parent: Inode,
        name: str,
        made: list[SpoolFile],
        c: Connection,
        *,
        now: float,
    ) -> Inode:
        inode = drafting.make(c, parent, name, now=now)
        name = drafts.spool_name(inode, drafting.FIRST_GENERATION)
        # Here, so that there is never a committed row without a file.
        made.append(self._spool.create_blocking(name))
        return inode

    async def open_for_writing(self, inode: Inode, *, truncate: bool) -> OpenDraft:
        """Open a file; an image's bytes are not brought before they are needed.

        Raises NotFoundError, IsDirectoryError, SpoolFullError.
        """
        await self._require_spool()
        draft = await self._hold(inode, is_writer=True)
        if truncate:
            try:
                async with draft.lock:
                    await self.contents.truncate(draft, 0, is_opening=True)
            except BaseException:
                await self.release(draft, is_writer=True)
                raise
        return draft

    async def open_for_reading(self, inode: Inode) -> OpenDraft | None:
        """Open a content that is in the spool; None: the file is an image's bytes."""
        draft = await self._hold(inode)
        if draft.has_bytes:
            return draft
        await self.release(draft)
        draft.on_imgur()
        return None

    async def release(self, draft: OpenDraft, *, is_writer: bool = False) -> None:
        """Let one holder go; the last one's commits what nobody committed.

        So does the last writer's (``is_writer``: who has made it or opened it for
        writing). An unlinked file that was never uploaded is removed with the last one.
        """
        assert draft.holders > 0
        assert draft.writers >= is_writer
        draft.writers -= is_writer
        if draft.holders > 1 and not (is_writer and draft.writers == 0):
            draft.holders -= 1
            return
        with trio.CancelScope(shield=True):
            try:
                if (draft.is_dirty or draft.shortfalls) and not draft.is_nameless:
                    await self.sync(draft)
                draft.end_writing()
            except ImgurfsError as error:
                # Nobody is left to be told; the row says that it is not finished.
                logger.warning("a file was not saved at its last close: %s", error)
            finally:
                draft.holders -= 1
            if draft.holders == 0:
                await self._close(draft)

    async def _close(self, draft: OpenDraft) -> None:
        del self._open[draft.inode]
        for file in filter(None, (draft.file, *draft.retired)):
            self._spool.close_file(file)
        if draft.arrival is not None:
            await draft.arrival.discard()
        if draft.is_nameless and draft.file is not None:
            await self._spool.remove(draft.file.name)
        await self.forget_unlinked(draft.inode)

    async def forget_unlinked(self, inode: Inode) -> None:
        """When a name was taken away: forget a file without any, unless it is held."""
        node = entries.node(self._rows.reader, inode)
        if node is not None and node.links:
            return
        draft = self._open.get(inode)
        if draft is not None:
            # Whatever becomes of the image, who has it open goes on.
            draft.is_unlinked = True
            self.contents.bring_unlinked(draft)
        if node is not None and node.image is not None and node.image.id:
            self._fetcher.bring(node.image)
        if draft is None and node is not None and node.draft is not None:
            drop = partial(drafting.drop_unlinked, inode=inode, now=self._clock.now())
            # The name is gone already; nobody would come back for the rest.
            with trio.CancelScope(shield=True):
                await self._rows.write(drop)

    # --- Bytes -------------------------------------------------------------------

    async def read(self, draft: OpenDraft, offset: int, size_bytes: int) -> bytes:
        """Return bytes; fewer than asked for only at the end."""
        draft.holders += 1
        try:
            if draft.file is not None:
                return await self._spool.read(draft.file, offset, size_bytes)
            return await self._fetcher.read(
                draft.on_imgur(), offset, size_bytes, sequence=draft.sequence
            )
        finally:
            await self.release(draft)

    async def write(self, draft: OpenDraft, offset: int | None, data: bytes) -> int:
        """Take all of the bytes; ``offset`` None is the end of the file.

        Raises SpoolFullError and TooLargeError: nothing was taken, and the file is not
        uploaded unless the program makes it good. Raises what ``Fetcher.read`` raises
        when the image's own bytes cannot be brought: the file is as it was.
        """
        await draft.begin_writing(draft.size_bytes if offset is None else offset)
        try:
            await self.contents.write(draft, offset, data)
        finally:
            draft.lock.release()
        return len(data)

    async def truncate(self, inode: Inode, size_bytes: int) -> None:
        """Cut a file, or lengthen it with zeros. Raises what :meth:`write` raises."""
        await self._require_spool()
        draft = await self._hold(inode, is_writer=True)
        try:
            async with draft.lock:
                await self.contents.truncate(draft, size_bytes)
            if draft.writers == 1:
                # Nobody has it open who would commit it.
                await self.sync(draft)
        finally:
            await self.release(draft, is_writer=True)

    async def commit(self, draft: OpenDraft) -> None:
        """Do what :meth:`sync` does when a file is closed, and say what is wrong.

        Raises NotMediaError and TooLargeError once for a content that is not uploaded;
        it stays readable. Harmless when there is nothing to do.
        """
        await self.sync(draft)
        refusal, draft.refusal = draft.refusal, None
        if refusal is not None:
            raise refusal

    async def sync(self, draft: OpenDraft) -> None:
        """Return when what was written, and the job to upload it, are durable.

        Raises SpoolFullError, UnavailableError, DatabaseError; nothing is lost then,
        and it can be tried again.
        """
        async with draft.lock:
            await self.contents.save(draft)

    async def set_times(self, inode: Inode, times: Times) -> bool:
        """Set times with the next commit; False: nothing is to be committed."""
        draft = self._open.get(inode)
        if draft is None:
            return False
        # A commit that is under way writes the times that were.
        async with draft.lock:
            if draft.is_dirty:
                draft.times = draft.times.then(times)
            return draft.is_dirty

    # --- Inside ------------------------------------------------------------------

    async def _require_spool(self) -> None:
        if not await self.recover():
            raise AlreadyRunningError(
                "the drive is mounted somewhere else, and only one mount can write",
                hint="unmount the other one",
            )

    async def _hold(self, inode: Inode, *, is_writer: bool = False) -> OpenDraft:
        draft = self._open.get(inode)
        if draft is None:
            draft = self._open[inode] = OpenDraft(inode)
        draft.holders += 1
        draft.writers += is_writer
        try:
            async with draft.lock:
                if not draft.is_loaded:
                    await self.contents.load(draft)
        except BaseException:
            await self.release(draft, is_writer=is_writer)
            raise
        return draft

    def _start_arrival(self, draft: OpenDraft, arrival: Arrival) -> None:
        """Bring bytes behind the request that waits for them, and hold the file."""
        if self._nursery is None:
            raise OutageError("the drive is being unmounted")
        draft.holders += 1
        self._nursery.start_soon(self._arrive, draft, arrival)

    async def _arrive(self, draft: OpenDraft, arrival: Arrival) -> None:
        try:
            await arrival.run()
        finally:
            await self.release(draft)
