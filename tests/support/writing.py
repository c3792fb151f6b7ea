"""Files that are written to over an emulated account, in virtual time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import trio

from imgurfs.clock import TrioClock
from imgurfs.config import MountConfig
from imgurfs.content.cache import ContentCache
from imgurfs.content.fetch import Fetcher
from imgurfs.content.spool import Spool
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.errors import DatabaseError
from imgurfs.executor import Executor, InlineExecutor, ThreadLane
from imgurfs.jobs import queueing
from imgurfs.model import ROOT_INODE, Image, Inode, Lane
from imgurfs.store import drafts, edits, entries, outbox
from imgurfs.store.database import Connection, Database
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.store.outbox import Job
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.tree.refresh import Refresher
from imgurfs.writing.files import Files
from imgurfs.writing.opened import OpenDraft
from tests.support import connected

P = ParamSpec("P")
T = TypeVar("T")


class Trouble(InlineExecutor):
    """Fails chosen functions, or every transaction; lets functions wait."""

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}
        self.waiting: dict[str, trio.Event] = {}
        self.is_database_broken = False

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run the function, unless it is one that fails."""
        if fn.__name__ in self.waiting:
            await self.waiting[fn.__name__].wait()
        if fn.__name__ in self.failing:
            number = self.failing[fn.__name__]
            raise OSError(number, os.strerror(number))
        if lane is ThreadLane.WRITER and self.is_database_broken:
            raise DatabaseError("disk I/O error")
        return await super().run(lane, fn, *args, **kwargs)


@dataclass
class Desk:
    """What a mount has to write with; ``skipped`` is what the kernel knows already."""

    side: connected.Connected
    db: Database
    cache: ContentCache
    fetcher: Fetcher
    spool: Spool
    files: Files
    skipped: list[tuple[int, int]] = field(default_factory=list)

    @property
    def clock(self) -> TrioClock:
        """The virtual clock."""
        return self.side.clock

    async def put(self, name: str, data: bytes, *, parent: Inode = ROOT_INODE) -> Inode:
        """Write a whole file and close it. Raises what close says."""
        inode, draft = await self.files.create(parent, name)
        await self.finish(draft, data)
        return inode

    async def finish(self, draft: OpenDraft, data: bytes) -> None:
        """Write to the end of a file that is open, and close it."""
        try:
            if data:
                await self.files.write(draft, None, data)
            await self.files.commit(draft)
        finally:
            await self.files.release(draft, is_writer=True)

    async def edit(self, inode: Inode, data: bytes, *, offset: int = 0) -> None:
        """Open a file, change some bytes in place, and close it."""
        draft = await self.files.open_for_writing(inode, truncate=False)
        try:
            await self.files.write(draft, offset, data)
            await self.files.commit(draft)
        finally:
            await self.files.release(draft, is_writer=True)

    async def read(self, inode: Inode) -> bytes:
        """Return all that a reader sees of a file."""
        draft = await self.files.open_for_reading(inode)
        if draft is None:
            node = entries.node(self.db.reader, inode)
            assert node is not None
            assert node.image is not None
            return await self.fetcher.read(node.image, 0, 1 << 40)
        try:
            return await self.files.read(draft, 0, 1 << 40)
        finally:
            await self.files.release(draft)

    def draft(self, inode: Inode) -> Draft:
        """Return the row of a file's draft."""
        found = drafts.get(self.db.reader, inode)
        assert found is not None
        return found

    def uploads(self) -> list[Job]:
        """Return the uploads that are not settled."""
        return outbox.unfinished(self.db.reader, kind=queueing.UPLOAD)

    def spooled(self) -> list[str]:
        """Return the names of the contents in the spool."""
        names = (path.name for path in self.spool.directory.iterdir())
        return sorted(name for name in names if name[0].isdigit())

    def images(self) -> list[entries.Node]:
        """Return the images in the root, in the order of names."""
        found = entries.children(self.db.reader, ROOT_INODE)
        return [each.node for each in found if each.node.image is not None]

    async def send(self, inode: Inode) -> None:
        """Let the upload of a file's content be in the air."""
        row, now = self.draft(inode), self.clock.now()
        job = outbox.by_key(self.db.reader, upload_key(row.inode, row.generation))
        assert job is not None
        await self.db.write(lambda c: outbox.claim(c, job.id, now=now, marker="m"))

    async def keep(self, inode: Inode) -> None:
        """Say that Imgur has changed the bytes of a file."""
        row = replace(self.draft(inode), state=DraftState.KEPT)
        await self.db.write(lambda c: drafts.put(c, row))

    async def settle(self, inode: Inode, *, row: Draft | None = None) -> Image:
        """Upload a file's content as a drainer does, and note it as sent."""
        row = row or self.draft(inode)
        found = entries.entries_of(self.db.reader, inode)
        path = self.spool.path(row.spool_name)
        image = await self.side.api.upload(
            path,
            size_bytes=row.size_bytes,
            name=found[0][1],
            album=None,
            lane=Lane.FRESH,
        )
        await self.db.write(partial(settle_upload, row, image, now=self.clock.now()))
        return image


def settle_upload(row: Draft, image: Image, c: Connection, *, now: float) -> None:
    """Write down that a content has become this image."""
    job = outbox.by_key(c, upload_key(row.inode, row.generation))
    if job is not None:
        outbox.claim(c, job.id, now=now, marker="m")
        outbox.finish(c, job.id, now=now)
    edits.assign_image(c, row.inode, image, now=now)
    current = drafts.get(c, row.inode)
    if current is not None and current.generation == row.generation:
        drafts.put(c, replace(current, state=DraftState.SENT, changed_at=now))


def upload_key(inode: Inode, generation: int) -> str:
    """Return the key of the upload of one content."""
    name = drafts.spool_name(inode, generation)
    return queueing.upload_key(queueing.DRIVE, name.encode())


def open_state(path: Path, executor: Executor) -> Database:
    """Open a state.db."""
    return Database.open(
        path, schema=STATE_SCHEMA, executor=executor, lane=ThreadLane.WRITER
    )


@contextlib.asynccontextmanager
async def a_desk(
    tmp_path: Path,
    emulator_config: EmulatorConfig | None = None,
    *,
    settings: MountConfig | None = None,
    size_bytes_max: int = 10**9,
    reserve_bytes: int = 0,
    executor: Executor | None = None,
    is_running: bool = True,
) -> AsyncIterator[Desk]:
    """Set a desk up, over what an earlier one in the same directory has left.

    Without ``is_running`` nothing goes on behind the requests, and nothing is
    recovered.
    """
    executor = executor or InlineExecutor()
    async with contextlib.AsyncExitStack() as stack:
        config = emulator_config or connected.config(albums=1, images=2)
        side = await stack.enter_async_context(connected.connected(tmp_path, config))
        db = open_state(tmp_path / "state.db", executor)
        stack.callback(db.close)
        cache = ContentCache.open(
            tmp_path / "cache",
            size_bytes_max=10**9,
            executor=executor,
            clock=side.clock,
        )
        stack.callback(cache.close)
        fetcher = Fetcher(
            cache=cache,
            http=side.http,
            cdn_url=connected.CDN_URL,
            cdn_hosts=connected.CDN_HOSTS,
            clock=side.clock,
        )
        spool = Spool.open(
            tmp_path / "spool",
            size_bytes_max=size_bytes_max,
            executor=executor,
            reserve_bytes=reserve_bytes,
        )
        stack.callback(spool.close)
        skipped: list[tuple[int, int]] = []
        files = Files(
            db=db,
            spool=spool,
            fetcher=fetcher,
            clock=side.clock,
            settings=settings or MountConfig(),
            delete_grace_s=600.0,
            on_changed=lambda first, last: skipped.append((first, last)),
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        await nursery.start(fetcher.run)
        if is_running:
            await files.recover()
            await nursery.start(files.run)
        yield Desk(side, db, cache, fetcher, spool, files, skipped)


async def listed(desk: Desk) -> None:
    """List the whole account."""
    refresher = Refresher(db=desk.db, api=desk.side.api, clock=desk.clock)
    await refresher.refresh_all(Lane.REFRESH)
