"""One watched folder of a bench, as a newly started daemon would have it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from imgurfs import limits
from imgurfs.executor import InlineExecutor
from imgurfs.store import synced
from imgurfs_daemon.filters import Filters
from imgurfs_daemon.folder import FolderSync
from imgurfs_daemon.planner import Policy
from tests.support.jobbing import Bench


def follow(
    b: Bench,
    *,
    grace_s: float = 0,
    mirrors: bool = True,
    settle_s: float = 2.0,
    look_files_max: int = limits.LOOK_FILES_MAX,
    on_queued: Callable[[], None] = lambda: None,
) -> FolderSync:
    """Return the folder of a bench as a newly started daemon would have it."""
    return FolderSync(
        path=bytes(b.root),
        policy=Policy(mirrors_deletes=mirrors),
        filters=Filters(),
        db=b.db,
        albums=b.albums,
        clock=b.clock,
        executor=InlineExecutor(),
        settle_s=settle_s,
        delete_grace_s=grace_s,
        look_files_max=look_files_max,
        on_queued=on_queued,
        rng=random.Random(1),
    )


async def settle(folder: FolderSync) -> None:
    """Look, let the time pass that files need to settle, and look again."""
    look = await folder.sync()
    while look.settles_in_s is not None:
        await trio.sleep(look.settles_in_s)
        look = await folder.sync()


@asynccontextmanager
async def running(b: Bench, folder: FolderSync) -> AsyncIterator[None]:
    """Let a folder run for the length of a with-block, in real time."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(folder.run)
            yield
            nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Wait, in real time, until something holds."""
    while True:
        if holds():
            return
        await trio.sleep(0.01)


def queued(b: Bench) -> list[str]:
    """Return what is queued, as kinds of jobs."""
    rows = b.db.reader.execute("SELECT kind FROM job WHERE state = 'queued'")
    return sorted(row[0] for row in rows)


def paths(b: Bench) -> set[str]:
    """Return the files that are images."""
    return {path.decode() for path in synced.files(b.db.reader, b.folder.id)}
