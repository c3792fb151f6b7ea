"""Brings what is pinned into the content cache. Not a command.

The cache belongs to one process. While a mount has it, its drive is read, and the mount
keeps what goes by; else the bytes are downloaded here.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgurfs import limits
from imgurfs.errors import ImgurfsError, UnavailableError

if TYPE_CHECKING:
    from imgurfs.assembly import Services
    from imgurfs.cli.context import Context
    from imgurfs.cli.opened import Opened
    from imgurfs.model import Image, Inode

#: A mount that keeps what was read has said so by then.
_KEPT_WITHIN_S = 10.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pinned image: its number, its path on the drive, whether all of it is here."""

    inode: Inode
    image: Image
    path: str
    is_here: bool


def wanted(state: Opened) -> list[Wanted]:
    """Return every image that is pinned, alone or with its album, by path."""
    from imgurfs.content import whole
    from imgurfs.jobs import drive_names
    from imgurfs.store import entries, pins

    c, directory = state.reader, state.places.content_dir
    found = []
    for image_id in pins.image_ids(c):
        node = entries.node_of_image(c, image_id)
        if node is None or node.image is None:
            continue
        is_here = whole.is_here(directory, image_id, node.image.size_bytes)
        path = drive_names.path_of(c, node.inode)
        found.append(Wanted(node.inode, node.image, path, is_here))
    return sorted(found, key=lambda one: one.path)


async def fetch(context: Context, missing: Sequence[Wanted]) -> dict[str, str]:
    """Download images into the cache; return path and error of those that failed.

    Raises LoginNeededError, DatabaseError, UnavailableError.
    """
    from imgurfs.assembly import open_account
    from imgurfs.locks import FileLock

    async with open_account(context.load_config(), context.account) as services:
        is_free = FileLock(services.paths.content_dir / "lock").is_free()
        run = _download if is_free else _read_mounted
        return await run(context, services, missing)


async def _download(
    context: Context, services: Services, missing: Sequence[Wanted]
) -> dict[str, str]:
    import trio

    from imgurfs.content.cache import ContentCache
    from imgurfs.content.fetch import Fetcher
    from imgurfs.store import pins

    cache = ContentCache.open(
        services.paths.content_dir,
        size_bytes_max=services.config.cache.size_bytes_max,
        executor=services.executor,
        clock=services.clock,
    )
    cache.pinned = lambda: pins.image_ids(services.db.reader)
    fetcher = Fetcher(
        cache=cache,
        http=services.http,
        cdn_url=services.account_config.cdn_url,
        cdn_hosts=services.account_config.content_hosts,
        clock=services.clock,
    )

    async def read(one: Wanted) -> None:
        async with fetcher.holding(one.image) as file:
            for offset in range(0, file.size_bytes, limits.CHUNK_BYTES):
                await fetcher.read(one.image, offset, limits.CHUNK_BYTES)
            await cache.persist(file)

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(fetcher.run)
            failed = await _each(context, services, missing, read)
            nursery.cancel_scope.cancel()
    finally:
        cache.close()
    return failed


async def _read_mounted(
    context: Context, services: Services, missing: Sequence[Wanted]
) -> dict[str, str]:
    """Read the mounted drive, whose process keeps what is read."""
    import trio

    from imgurfs.content import whole
    from imgurfs.executor import ThreadLane

    directory, run = services.paths.content_dir, services.executor.run
    top = await run(ThreadLane.DISK, _drive_of, missing[0])

    async def read(one: Wanted) -> None:
        size_bytes = await run(ThreadLane.DISK, _read_through, top / one.path)
        with trio.move_on_after(_KEPT_WITHIN_S):
            # Bytes are there before the mount has made them durable and says so.
            while not whole.is_here(directory, one.image.id, size_bytes):  # noqa: ASYNC110
                await trio.sleep(_LOOK_S)
        if not whole.is_here(directory, one.image.id, size_bytes):
            raise UnavailableError("another process has the cache and did not keep it")

    return await _each(context, services, missing, read)


async def _each(
    context: Context,
    services: Services,
    missing: Sequence[Wanted],
    read: Callable[[Wanted], Awaitable[None]],
) -> dict[str, str]:
    """Do it for each, one after the other, and show how far it is."""
    from imgurfs.cli.live import Course, ProgressView

    failed: dict[str, str] = {}
    course = Course()
    left_bytes = sum(one.image.size_bytes for one in missing)
    with ProgressView(services.clock, is_quiet=context.verbosity < 0) as view:
        for index, one in enumerate(missing):
            course.see(len(missing) - index, left_bytes)
            view.show(course, note=one.path)
            try:
                await read(one)
            except ImgurfsError as error:
                failed[one.path or one.image.id] = error.message
            except OSError as error:
                failed[one.path or one.image.id] = error.strerror or str(error)
            left_bytes -= one.image.size_bytes
    return failed


def _drive_of(one: Wanted) -> Path:
    """Return where the drive with this file is mounted. Raises UnavailableError."""
    from imgurfs.fuse import mountpoint

    for top in mountpoint.places():
        try:
            found = (top / one.path).lstat()
            known = os.getxattr(top / one.path, "user.imgur.id", follow_symlinks=False)
        except OSError:
            continue
        if (found.st_ino, known.decode("utf-8", "replace")) == (
            one.inode,
            one.image.id,
        ):
            return top
    raise UnavailableError(
        "another process has the content cache, and no mounted drive shows the file",
        hint="what is pinned is kept from now on when it is read there",
    )


def _read_through(path: Path) -> int:
    """Read a file to its end; return its size."""
    total_bytes = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(limits.CHUNK_BYTES):
            total_bytes += len(piece)
    return total_bytes
