"""Picture bytes, from the cache or from the CDN: only what is read, and each part once.

What it is not: it speaks no HTTP itself (``content.cdn`` asks and judges the answers)
and keeps no bytes (``content.cache`` does). The kernel adapter, and anybody else who
wants to read an image, uses :class:`Fetcher`.

Theory of operation. A file is cut into chunks at multiples of ``CHUNK_BYTES``. A read
takes the chunks it needs from the cache; for each that is missing it joins the
download of that chunk or starts it. Downloads run in the nursery of
:meth:`Fetcher.run`, not in the reader's task: a reader whose deadline passes leaves,
the download and the readers that share it stay. A download hands its bytes to those
who wait for it directly, so that a full disk makes reading slower but not wrong.

Somebody who reads on sequentially gets read-ahead, as far as was read in sequence so
far, up to ``READ_AHEAD_BYTES_MAX``; a look at the middle of a file gets none.

Concurrency: everything here runs on the trio thread; state changes between
checkpoints only.
"""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import httpx
import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.content.cache import CachedFile, ContentCache
from imgurfs.content.cdn import Answer, Cdn, Identity
from imgurfs.errors import ImgurfsError, OutageError
from imgurfs.model import Image, ImageId, Lane

logger = logging.getLogger(__name__)

#: Reads this far from where the last one ended still count as sequential: the
#: kernel sends its read-ahead in pieces that may overtake each other.
_SEQUENCE_SLACK_BYTES: Final = 2 * 128 * limits.KIB
#: Chunks kept in memory when the disk takes none, so that a reader who asks for
#: 128 KiB at a time downloads each chunk once.
_SPARE_CHUNKS_MAX: Final = limits.READ_AHEAD_BYTES_MAX // limits.CHUNK_BYTES
#: Content that changes this often during one read is an outage.
_RESTARTS_MAX: Final = 3

LearnSize = Callable[[Image, int], Awaitable[None]]
_ChunkKey = tuple[ImageId, int]


@dataclass(eq=False, slots=True)
class _Download:
    """One chunk on its way: ``done`` is set when ``answer`` or ``error`` is there."""

    done: trio.Event = field(default_factory=trio.Event)
    answer: Answer | None = None
    error: ImgurfsError | None = None

    async def wait(self) -> Answer:
        """Return the answer, or raise the error of the download."""
        await self.done.wait()
        if self.error is not None:
            # Several waiters raise the same object; each starts its own traceback.
            raise self.error.with_traceback(None)
        assert self.answer is not None
        return self.answer


@dataclass(slots=True)
class Sequence:
    """What one reader read last; the basis of read-ahead. Belongs to a file handle."""

    next_offset: int = 0
    sequential_bytes: int = 0

    def note(self, offset: int, length: int) -> int:
        """Record a read; return how many bytes behind it are worth reading ahead."""
        if abs(offset - self.next_offset) <= _SEQUENCE_SLACK_BYTES:
            self.sequential_bytes += length
        else:
            self.sequential_bytes = length
        self.next_offset = offset + length
        chunks = self.sequential_bytes // limits.CHUNK_BYTES
        return min(chunks * limits.CHUNK_BYTES, limits.READ_AHEAD_BYTES_MAX)


class Fetcher:
    """Reads images. :meth:`run` must be running in a nursery while it is used."""

    def __init__(
        self,
        *,
        cache: ContentCache,
        http: httpx.AsyncClient,
        cdn_url: str,
        cdn_hosts: frozenset[str],
        clock: Clock,
        learn_size: LearnSize | None = None,
    ) -> None:
        self._cache = cache
        self._cdn = Cdn(http=http, cdn_url=cdn_url, cdn_hosts=cdn_hosts, clock=clock)
        self._learn_size = learn_size
        self._nursery: trio.Nursery | None = None
        self._downloads: dict[_ChunkKey, _Download] = {}
        self._spare: OrderedDict[_ChunkKey, bytes] = OrderedDict()
        self._sizes: dict[ImageId, int] = {}
        self._limiter = trio.CapacityLimiter(limits.DOWNLOADS_MAX)
        # Read-ahead never takes the last places: somebody waits for the others.
        self._ahead_limiter = trio.CapacityLimiter(limits.DOWNLOADS_MAX // 2)
        self._downloaded_bytes = 0

    def __repr__(self) -> str:
        return f"<Fetcher {self.statistics()}>"

    def statistics(self) -> dict[str, int]:
        """Return the downloads under way and the bytes downloaded so far."""
        return {
            "downloads": len(self._downloads),
            "downloaded_bytes": self._downloaded_bytes,
        }

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Own the downloads until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None
        raise AssertionError("a nursery that sleeps forever only ends by an exception")

    async def size(self, image: Image) -> int:
        """Return how many bytes the CDN serves; asks it only if Imgur did not say.

        Raises what :meth:`read` raises.
        """
        known = image.size_bytes or self._sizes.get(image.id, 0)
        if known:
            return known
        answer = await self._join(image, 0, None, Lane.INTERACTIVE).wait()
        return answer.total_bytes

    async def identify(self, image: Image) -> Identity:
        """Ask the CDN what it has. Raises what :meth:`read` raises."""
        return await self._cdn.identify(image, lane=Lane.PREFETCH)

    async def adopt(self, image: Image, source: Path, identity: Identity) -> bool:
        """Keep a file as the image's bytes; False when there is no cache to keep it.

        The file is durable, has exactly these bytes, and is never changed again.
        """
        return await self._cache.adopt(
            image.id, source, identity.size_bytes, etag=identity.etag
        )

    @contextlib.asynccontextmanager
    async def holding(self, image: Image) -> AsyncIterator[CachedFile]:
        """Keep the image's cached bytes from eviction for the length of a block."""
        file = await self.hold(image)
        try:
            yield file
        finally:
            self.let_go(file)

    async def hold(self, image: Image) -> CachedFile:
        """Keep the image's cached bytes from eviction until :meth:`let_go`."""
        return await self._cache.acquire(image.id, await self.size(image))

    def let_go(self, file: CachedFile) -> None:
        """End one :meth:`hold`."""
        self._cache.release(file)

    async def read(
        self,
        image: Image,
        offset: int,
        length: int,
        *,
        sequence: Sequence | None = None,
    ) -> bytes:
        """Return bytes of the image; fewer than asked for only at its end.

        Raises ContentGoneError, ContentMismatchError, ThrottledError, OutageError and
        NotSentError; the caller sets the deadline. ``sequence`` turns on read-ahead.
        """
        assert offset >= 0
        assert length >= 0
        size_bytes = await self.size(image)
        end = min(offset + length, size_bytes)
        if offset >= end:
            return b""
        async with self.holding(image) as file:
            if sequence is not None:
                self._read_ahead(image, file, end, sequence.note(offset, end - offset))
            for _ in range(_RESTARTS_MAX):
                generation = file.generation
                data = await self._pieces(image, file, offset, end)
                if file.generation == generation:
                    assert len(data) == end - offset
                    return data
        raise OutageError(f"the content of image {image.id} keeps changing")

    async def _pieces(
        self, image: Image, file: CachedFile, offset: int, end: int
    ) -> bytes:
        """Gather a span from cache and downloads, which all run at the same time."""
        if file.ranges.covers(offset, end):
            data = await self._cache.read(file, offset, end - offset)
            if data is not None:
                return data
        first, last = offset // limits.CHUNK_BYTES, (end - 1) // limits.CHUNK_BYTES
        waits: list[bytes | _Download] = []
        for index in range(first, last + 1):
            start = index * limits.CHUNK_BYTES
            stop = min(start + limits.CHUNK_BYTES, file.size_bytes)
            spare = self._spare.get((image.id, index))
            if spare is not None:
                waits.append(spare)
                continue
            if file.ranges.covers(start, stop):
                data = await self._cache.read(file, start, stop - start)
                if data is not None:
                    waits.append(data)
                    continue
            waits.append(self._join(image, index, file.size_bytes, Lane.INTERACTIVE))
        pieces = [
            piece if isinstance(piece, bytes) else (await piece.wait()).data
            for piece in waits
        ]
        base = first * limits.CHUNK_BYTES
        return b"".join(pieces)[offset - base : end - base]

    def bring(self, image: Image) -> None:
        """Start to cache the rest of an image that somebody holds; waits for nothing.

        For one that is about to be deleted: they go on reading it.
        """
        if self._nursery is not None and self._cache.is_held(image.id):
            self._nursery.start_soon(self._bring, image)

    async def _bring(self, image: Image) -> None:
        try:
            async with self.holding(image) as file:
                for index in _missing(file, 0, file.size_bytes):
                    if file.holders > 1:
                        size_bytes, lane = file.size_bytes, Lane.INTERACTIVE
                        await self._join(image, index, size_bytes, lane).wait()
        except ImgurfsError as error:
            logger.warning("image %s is deleted while it is read: %s", image.id, error)
        except Exception:
            # A bug must not end the nursery.
            logger.exception("the rest of image %s cannot be brought", image.id)

    def _read_ahead(
        self, image: Image, file: CachedFile, end: int, ahead_bytes: int
    ) -> None:
        """Start downloads of missing chunks behind ``end``; waits for nothing."""
        stop = min(end + ahead_bytes, file.size_bytes)
        for index in _missing(file, end, stop):
            if (image.id, index) not in self._spare:
                self._join(image, index, file.size_bytes, Lane.PREFETCH)

    def _join(
        self, image: Image, index: int, size_bytes: int | None, lane: Lane
    ) -> _Download:
        """Return the chunk's download under way, or start it. None: size unknown."""
        key = (image.id, index)
        download = self._downloads.get(key)
        if download is None:
            assert self._nursery is not None, "Fetcher.run is not running"
            download = self._downloads[key] = _Download()
            self._nursery.start_soon(
                self._download, download, image, index, size_bytes, lane
            )
        return download

    async def _download(
        self,
        download: _Download,
        image: Image,
        index: int,
        size_bytes: int | None,
        lane: Lane,
    ) -> None:
        """Fetch one chunk, keep it, and wake whoever waits for it."""
        key = (image.id, index)
        try:
            async with contextlib.AsyncExitStack() as stack:
                if lane is Lane.PREFETCH:
                    await stack.enter_async_context(self._ahead_limiter)
                await stack.enter_async_context(self._limiter)
                answer = await self._cdn.fetch(
                    image,
                    start=index * limits.CHUNK_BYTES,
                    size_bytes=size_bytes,
                    lane=lane,
                )
            self._downloaded_bytes += len(answer.data)
            if size_bytes is None:
                await self._learn(image, answer.total_bytes)
            await self._keep(download, key, answer)
        except ImgurfsError as error:
            download.error = error
        except Exception as error:
            # A bug must reach the reader as an error, and must not end the nursery.
            logger.exception("the download of image %s failed", image.id)
            download.error = OutageError(f"image {image.id}: {error!r}")
        finally:
            if self._downloads.get(key) is download:
                del self._downloads[key]
            if download.answer is None and download.error is None:
                download.error = OutageError("the drive is being unmounted")
            download.done.set()

    async def _learn(self, image: Image, size_bytes: int) -> None:
        self._sizes[image.id] = size_bytes
        if self._learn_size is not None:
            await self._learn_size(image, size_bytes)

    async def _keep(self, download: _Download, key: _ChunkKey, answer: Answer) -> None:
        """Put an answer into the cache, then wake the readers, then make it durable."""
        file = await self._cache.acquire(key[0], answer.total_bytes)
        try:
            is_stored = await self._cache.store(
                file, answer.start, answer.data, etag=answer.etag
            )
            if not is_stored:
                self._spare[key] = answer.data
                while len(self._spare) > _SPARE_CHUNKS_MAX:
                    self._spare.popitem(last=False)
            download.answer = answer
            del self._downloads[key]
            download.done.set()
            if is_stored:
                await self._cache.persist(file)
        finally:
            self._cache.release(file)


def _missing(file: CachedFile, start: int, stop: int) -> list[int]:
    """Return the chunks that begin in a span and are not in the cache."""
    found = []
    for index in range(-(-start // limits.CHUNK_BYTES), -(-stop // limits.CHUNK_BYTES)):
        begin = index * limits.CHUNK_BYTES
        end = min(begin + limits.CHUNK_BYTES, file.size_bytes)
        if not file.ranges.covers(begin, end):
            found.append(index)
    return found
