"""Joins the objects of one drive: view, fetcher, cache, writer, operations.

No rule of its own. The command ``mount`` calls it with an account's services, the
functional suite with an emulator's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pyfuse3

from imgurfs.clock import Clock
from imgurfs.config import MountConfig
from imgurfs.content.cache import ContentCache
from imgurfs.content.fetch import Fetcher
from imgurfs.executor import Executor
from imgurfs.fuse.attributes import Ownership
from imgurfs.fuse.editing import EditingOperations
from imgurfs.fuse.handles import Handles
from imgurfs.fuse.invalidation import Invalidator
from imgurfs.fuse.operations import Operations, ReaddirReply, Rooms
from imgurfs.fuse.read_only import ReadOnlyOperations
from imgurfs.fuse.requests import Deadlines
from imgurfs.fuse.session import Background
from imgurfs.fuse.virtual import Maker, VirtualFiles
from imgurfs.limits import DELETE_GRACE_S
from imgurfs.model import Image
from imgurfs.store import entries, meta, pins
from imgurfs.store.database import Connection, Database
from imgurfs.tree.refresh import Listings, Refresher
from imgurfs.tree.view import View
from imgurfs.writing.writer import Writer


@dataclass(frozen=True, slots=True)
class Drive:
    """Operations, and the tasks that must run while they are used.

    ``background`` works without a kernel; ``invalidator`` needs a mounted session.
    :attr:`writer` has to recover before the first request, unless the drive is
    read-only.
    """

    operations: Operations
    refresher: Refresher
    writer: Writer
    background: tuple[Background, ...]
    invalidator: Invalidator


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveOptions:
    """What a drive is like. Sizes in bytes; ``virtual`` is what ``.imgurfs`` holds."""

    cache_dir: Path
    cache_bytes_max: int
    spool_dir: Path
    cdn_url: str
    cdn_hosts: frozenset[str]
    mount: MountConfig = field(default_factory=MountConfig)
    delete_grace_s: float = DELETE_GRACE_S
    is_read_only: bool = False
    virtual: Mapping[str, Maker] = field(default_factory=dict)
    deadlines: Deadlines = field(default_factory=Deadlines)
    ownership: Ownership = field(default_factory=Ownership)
    readdir_reply: ReaddirReply = pyfuse3.readdir_reply


@contextlib.contextmanager
def open_drive(
    options: DriveOptions,
    *,
    db: Database,
    api: Listings,
    http: httpx.AsyncClient,
    clock: Clock,
    executor: Executor,
) -> Iterator[Drive]:
    """Open cache and spool, build a drive over them, and close them at the end."""
    with contextlib.ExitStack() as stack:
        cache = _open_cache(options, db, clock=clock, executor=executor)
        stack.callback(cache.close)
        refresher = Refresher(db=db, api=api, clock=clock)
        fetcher = Fetcher(
            cache=cache,
            http=http,
            cdn_url=options.cdn_url,
            cdn_hosts=options.cdn_hosts,
            clock=clock,
            learn_size=_SizeLearner(db).learn,
        )
        handles = Handles()
        invalidator = Invalidator(db=db, executor=executor, handles=handles)
        writer = Writer.open(
            db=db,
            spool_dir=options.spool_dir,
            fetcher=fetcher,
            clock=clock,
            executor=executor,
            mount=options.mount,
            delete_grace_s=options.delete_grace_s,
            on_changed=invalidator.skip,
        )
        stack.callback(writer.close)
        rooms = Rooms(
            view=View(db=db, refresher=refresher, clock=clock),
            fetcher=fetcher,
            files=writer.files,
            handles=handles,
            virtual=VirtualFiles(options.virtual, executor=executor, clock=clock),
            albums_of=lambda inode: entries.albums_of(db.reader, inode),
            on_damage=db.suspect,
            deadlines=options.deadlines,
            ownership=options.ownership,
            readdir_reply=options.readdir_reply,
        )
        background: tuple[Background, ...] = (fetcher.run, refresher.run)
        if options.is_read_only:
            operations: Operations = ReadOnlyOperations(rooms)
        else:
            make_durable = _Durably(db, clock).make
            operations = EditingOperations(rooms, writer, make_durable=make_durable)
            background += (writer.run,)
        yield Drive(operations, refresher, writer, background, invalidator)


def _open_cache(
    options: DriveOptions, db: Database, *, clock: Clock, executor: Executor
) -> ContentCache:
    """Open the content cache, which keeps what the user has pinned."""
    cache = ContentCache.open(
        options.cache_dir,
        size_bytes_max=options.cache_bytes_max,
        executor=executor,
        clock=clock,
    )
    cache.pinned = lambda: pins.image_ids(db.reader)
    return cache


class _SizeLearner:
    """Writes down a size that the CDN told."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def learn(self, image: Image, size_bytes: int) -> None:
        def learn(c: Connection) -> None:
            node = entries.node_of_image(c, image.id)
            if node is not None:
                entries.set_size(c, node.inode, size_bytes)

        await self._db.write(learn)


class _Durably:
    """Makes durable what was committed without waiting for the disk."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def make(self) -> None:
        # A durable commit takes with it all that came before, if it writes anything.
        now = self._clock.now()
        await self._db.write(lambda c: meta.put_time(c, "synced_at", now))
