"""The read cache: downloaded bytes on disk, bounded, with the ranges that are known.

What it is not: it downloads nothing and knows no HTTP; ``content.fetch`` fills it and
is its only user.

Theory of operation. An image is a sparse file ``<first two of id>/<id>`` and a sidecar
``<id>.ranges`` beside it: JSON with size, ETag and the known ranges. A hole in a sparse
file reads as zeros, so what is *not* known must never be believed. Therefore bytes are
written first, ``fdatasync``ed second, and only then does a sidecar (temporary file,
fsync, rename) say that they are there. After a crash the sidecar tells less than the
file holds, never more; a file without a sidecar is removed. Dropping goes the other way
round: sidecar first, then the bytes.

One process owns the directory (a lock file). A second one works without a disk cache
rather than trusting files that change under it, and takes over when the first ends.

Concurrency: the fields of :class:`CachedFile` change on the trio thread only; file
system calls run in the executor's DISK lane, on descriptors that stay open as long as
anybody holds the file.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from imgurfs.clock import Clock
from imgurfs.content import disk
from imgurfs.content.ranges import Ranges
from imgurfs.executor import Executor, ThreadLane
from imgurfs.locks import FileLock
from imgurfs.model import ImageId

logger = logging.getLogger(__name__)

#: Eviction goes down to this share of the bound, so that it does not run every time.
_EVICT_TO: Final = 0.9
#: Ids come from the network and become file names.
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DISK_TROUBLE: Final = "the content cache cannot be used: %s; reading without it"


@dataclass(eq=False, slots=True)
class CachedFile:
    """What is known of one image's bytes. ``fd`` is None while nobody holds it.

    ``generation`` counts how often the content was dropped: a reader that pieced its
    answer together across such a moment must start again.
    """

    image_id: ImageId
    size_bytes: int
    etag: str = ""
    ranges: Ranges = field(default_factory=Ranges)
    generation: int = 0
    holders: int = 0
    fd: int | None = None
    is_dirty: bool = False
    is_broken: bool = False
    is_loaded: bool = False
    lock: trio.Lock = field(default_factory=trio.Lock)


class ContentCache:
    """Bounded sparse files with known ranges; see the module's theory of operation."""

    def __init__(
        self,
        *,
        directory: Path,
        size_bytes_max: int,
        executor: Executor,
        clock: Clock,
        lock: FileLock | None,
        usage: dict[ImageId, disk.Usage],
    ) -> None:
        self.directory = directory
        self._size_bytes_max = size_bytes_max
        self._executor = executor
        self._clock = clock
        self._lock = lock
        self._usage = usage
        #: Tells which images are never evicted.
        self.pinned: Callable[[], Collection[ImageId]] = frozenset
        self._files: dict[ImageId, CachedFile] = {}
        self._evicting = trio.Lock()
        self._evicted = 0
        self._is_warned = self._is_taking_over = False

    def __repr__(self) -> str:
        return f"<ContentCache {self.directory} {self.statistics()}>"

    @classmethod
    def open(
        cls, directory: Path, *, size_bytes_max: int, executor: Executor, clock: Clock
    ) -> ContentCache:
        """Open or create the directory and tidy up what a crash left. Blocks briefly.

        A directory that cannot be used, or that another process uses, gives a cache
        that stores nothing; the reason is logged.
        """
        lock, usage = None, {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = disk.lock_if_free(directory)
            if lock is not None:
                usage = disk.scan(directory)
        except OSError as error:
            logger.warning(_DISK_TROUBLE, error)
        return cls(
            directory=directory,
            size_bytes_max=size_bytes_max,
            executor=executor,
            clock=clock,
            lock=lock,
            usage=usage,
        )

    def close(self) -> None:
        """Let go of the directory and of every descriptor."""
        for file in self._files.values():
            self._close(file)
        self._files.clear()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def statistics(self) -> dict[str, int]:
        """Return bytes and files on disk, files held now, and files evicted."""
        return {
            "bytes": self._total_bytes(),
            "files": len(self._usage),
            "held": sum(1 for file in self._files.values() if file.holders),
            "evicted": self._evicted,
        }

    async def acquire(self, image_id: ImageId, size_bytes: int) -> CachedFile:
        """Return the file, held until :meth:`release`. ``size_bytes`` is Imgur's word.

        Content stored under another size is dropped.
        """
        file = self._files.get(image_id)
        if file is None:
            file = self._files[image_id] = CachedFile(image_id, size_bytes)
        file.holders += 1
        try:
            async with file.lock:
                if not file.is_loaded:
                    await self._load(file)
                if file.size_bytes != size_bytes:
                    file.size_bytes = size_bytes
                    await self._drop(file)
        except BaseException:
            self.release(file)
            raise
        if image_id in self._usage:
            self._usage[image_id].used_at = self._clock.now()
        return file

    def is_held(self, image_id: ImageId) -> bool:
        """Whether anybody holds the file."""
        return image_id in self._files

    def release(self, file: CachedFile) -> None:
        """Stop holding the file; the last holder's release closes it."""
        assert file.holders > 0
        file.holders -= 1
        if file.holders == 0 and self._files.get(file.image_id) is file:
            if file.fd is not None and not file.ranges:
                disk.discard_empty(self._path(file.image_id))
            self._close(file)
            del self._files[file.image_id]

    async def read(self, file: CachedFile, offset: int, length: int) -> bytes | None:
        """Return bytes that are known, or None when the disk does not give them."""
        assert file.ranges.covers(offset, offset + length)
        assert file.fd is not None
        try:
            data = disk.read_nowait(file.fd, offset, length)
            if data is None:
                data = await self._executor.run(
                    ThreadLane.DISK, os.pread, file.fd, length, offset
                )
        except OSError as error:
            self._warn(error)
            data = b""
        return data if len(data) == length else None

    async def store(
        self, file: CachedFile, offset: int, data: bytes, *, etag: str
    ) -> bool:
        """Keep downloaded bytes; return whether they can be read back from now on.

        Another ETag than the one of the bytes already here drops those first. They
        survive a crash only after :meth:`persist`.
        """
        async with file.lock:
            if etag and file.etag and etag != file.etag:
                logger.info("image %s has another ETag; reading anew", file.image_id)
                await self._drop(file)
            if file.fd is None or file.is_broken:
                return False
            try:
                await self._executor.run(
                    ThreadLane.DISK, disk.write_all, file.fd, data, offset
                )
            except OSError as error:
                self._warn(error)
                return False
            file.etag = etag or file.etag
            known_before = file.ranges.total_bytes
            file.ranges = file.ranges.add(offset, offset + len(data))
            file.is_dirty = True
            usage = self._usage.setdefault(
                file.image_id, disk.Usage(0, self._clock.now())
            )
            usage.size_bytes += file.ranges.total_bytes - known_before
        return True

    async def persist(self, file: CachedFile) -> None:
        """Make what is stored survive a crash, then keep the bound."""
        async with file.lock:
            if not file.is_dirty or file.fd is None:
                return
            file.is_dirty = False
            sidecar = disk.Sidecar(file.size_bytes, file.etag, file.ranges.spans)
            try:
                await self._executor.run(
                    ThreadLane.DISK,
                    disk.persist,
                    file.fd,
                    self._path(file.image_id),
                    sidecar,
                )
            except OSError as error:
                self._warn(error)
        await self.evict()

    async def adopt(
        self, image_id: ImageId, source: Path, size_bytes: int, *, etag: str
    ) -> bool:
        """Keep a file that is durable, and never changes again, as an image's bytes.

        Return whether they can be read from here from now on.
        """
        file = await self.acquire(image_id, size_bytes)
        try:
            async with file.lock:
                if file.fd is None or file.is_broken:
                    return False
                sidecar = disk.Sidecar(size_bytes, etag, ((0, size_bytes),))
                path = self._path(image_id)
                try:
                    new_fd = await self._executor.run(
                        ThreadLane.DISK, disk.adopt, path, source, sidecar
                    )
                except OSError as error:
                    # What was known of the old file may be gone from its directory.
                    self._warn(error)
                    file.is_broken = True
                    return False
                self._take_fd(file, new_fd)
                file.etag, file.is_dirty = etag, False
                file.ranges = Ranges.of(sidecar.spans)
                self._usage[image_id] = disk.Usage(size_bytes, self._clock.now())
        finally:
            self.release(file)
        await self.evict()
        return True

    async def drop(self, file: CachedFile) -> None:
        """Forget the content of a held file: it was something else."""
        async with file.lock:
            await self._drop(file)

    async def evict(self) -> None:
        """If over the bound, remove what was used longest ago, not held, not pinned."""
        async with self._evicting:
            if self._total_bytes() <= self._size_bytes_max:
                return
            excess_bytes = self._total_bytes() - int(self._size_bytes_max * _EVICT_TO)
            pinned = self.pinned()
            for image_id in sorted(
                self._usage, key=lambda key: self._usage[key].used_at
            ):
                if excess_bytes <= 0:
                    return
                if image_id in self._files or image_id in pinned:
                    continue
                excess_bytes -= self._usage.pop(image_id).size_bytes
                self._evicted += 1
                try:
                    # On this thread, without a checkpoint: nobody may acquire the
                    # file between the question above and its removal. Two unlinks
                    # of a small file take microseconds.
                    disk.remove(self._path(image_id))
                except OSError as error:
                    self._warn(error)

    def _path(self, image_id: ImageId) -> Path:
        return self.directory / image_id[:2] / image_id

    def _total_bytes(self) -> int:
        return sum(usage.size_bytes for usage in self._usage.values())

    async def _load(self, file: CachedFile) -> None:
        """Open the descriptor and believe a sidecar that fits."""
        if self._lock is None:
            await self._take_over()
        if self._lock is not None and _SAFE_ID.fullmatch(file.image_id):
            path = self._path(file.image_id)
            try:
                file.fd, sidecar = await self._executor.run(
                    ThreadLane.DISK, disk.open_data, path, file.size_bytes
                )
            except OSError as error:
                self._warn(error)
                sidecar = None
            if sidecar is not None:
                file.etag = sidecar.etag
                file.ranges = Ranges.of(sidecar.spans)
            else:
                self._usage.pop(file.image_id, None)
        file.is_loaded = True

    async def _take_over(self) -> None:
        """Use the directory from now on if the process that had it has ended.

        A drive that is unmounted and mounted again starts while its predecessor ends.
        """
        if self._is_taking_over:
            return
        self._is_taking_over = True
        try:
            lock = disk.lock_if_free(self.directory)
            if lock is None:
                return
            try:
                self._usage = await self._executor.run(
                    ThreadLane.DISK, disk.scan, self.directory
                )
            except BaseException:
                lock.release()
                raise
            self._lock = lock
        except OSError as error:
            self._warn(error)
        finally:
            self._is_taking_over = False

    async def _drop(self, file: CachedFile) -> None:
        """Do the work of :meth:`drop`; the caller has the file's lock."""
        file.generation += 1
        file.ranges = Ranges()
        file.etag = ""
        file.is_dirty = False
        self._usage.pop(file.image_id, None)
        if file.fd is None:
            return
        try:
            # The old descriptor lives on until the end of this call: a read that
            # runs on it now sees the old bytes, whole.
            new_fd = await self._executor.run(
                ThreadLane.DISK, disk.replace, self._path(file.image_id)
            )
        except OSError as error:
            # Not closed: a thread may be about to read from this number.
            self._warn(error)
            file.is_broken = True
            return
        self._take_fd(file, new_fd)

    def _take_fd(self, file: CachedFile, new_fd: int) -> None:
        """Read from another file from now on.

        The number stays the same, so that readers in threads keep a valid one.
        """
        assert file.fd is not None
        os.dup2(new_fd, file.fd, inheritable=False)
        os.close(new_fd)

    def _close(self, file: CachedFile) -> None:
        if file.fd is not None:
            os.close(file.fd)
            file.fd = None

    def _warn(self, error: OSError) -> None:
        """Say once that the disk does not cooperate; reading goes on without it."""
        level = logging.DEBUG if self._is_warned else logging.WARNING
        logger.log(level, _DISK_TROUBLE, error)
        self._is_warned = True
