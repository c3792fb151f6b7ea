"""Joins the objects of one drive: view, fetcher, cache, operations, invalidation.

No rule of its own. The command ``mount`` calls it with an account's services, the
functional suite with an emulator's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyfuse3

from imgurfs.clock import Clock
from imgurfs.content.cache import ContentCache
from imgurfs.content.fetch import Fetcher
from imgurfs.executor import Executor
from imgurfs.fuse.invalidation import Invalidator
from imgurfs.fuse.operations import Operations, ReaddirReply
from imgurfs.fuse.requests import Deadlines
from imgurfs.fuse.session import Background
from imgurfs.model import Image
from imgurfs.store import entries
from imgurfs.store.database import Connection, Database
from imgurfs.tree.refresh import Listings, Refresher
from imgurfs.tree.view import View


@dataclass(frozen=True, slots=True)
class Drive:
    """Operations, and the tasks that must run while they are used.

    ``background`` works without a kernel; ``invalidator`` needs a mounted session.
    """

    operations: Operations
    refresher: Refresher
    background: tuple[Background, ...]
    invalidator: Invalidator


@contextlib.contextmanager
def open_drive(
    *,
    db: Database,
    api: Listings,
    http: httpx.AsyncClient,
    clock: Clock,
    executor: Executor,
    cache_dir: Path,
    cache_bytes_max: int,
    cdn_url: str,
    cdn_hosts: frozenset[str],
    deadlines: Deadlines | None = None,
    readdir_reply: ReaddirReply = pyfuse3.readdir_reply,
) -> Iterator[Drive]:
    """Open the content cache and build a drive over it; closes the cache at the end."""

    async def learn_size(image: Image, size_bytes: int) -> None:
        def learn(c: Connection) -> None:
            node = entries.node_of_image(c, image.id)
            if node is not None:
                entries.set_size(c, node.inode, size_bytes)

        await db.write(learn)

    cache = ContentCache.open(
        cache_dir, size_bytes_max=cache_bytes_max, executor=executor, clock=clock
    )
    try:
        refresher = Refresher(db=db, api=api, clock=clock)
        fetcher = Fetcher(
            cache=cache,
            http=http,
            cdn_url=cdn_url,
            cdn_hosts=cdn_hosts,
            clock=clock,
            learn_size=learn_size,
        )
        operations = Operations(
            view=View(db=db, refresher=refresher, clock=clock),
            fetcher=fetcher,
            albums_of=lambda inode: entries.albums_of(db.reader, inode),
            deadlines=deadlines,
            readdir_reply=readdir_reply,
        )
        invalidator = Invalidator(
            db=db, executor=executor, is_open=operations.handles.is_open
        )
        yield Drive(operations, refresher, (fetcher.run, refresher.run), invalidator)
    finally:
        cache.close()
