"""Bytes written to the drive that are not on Imgur yet: files in one directory.

What it is not: it does not know what a content is for, whose it is or when it may go;
the table ``draft`` and ``imgurfs.writing`` do, which is its only user. (An upload reads
the file by its path.)

Theory of operation. A file is called ``<inode>.<generation>`` and lies in a directory
that only the user may enter. What is written is first collected in memory, a mebibyte
for each file at most, and goes to the disk in one step: when that is full, when
somebody reads, and at the latest in :meth:`Spool.sync`, which returns when bytes and
name are durable. Nothing is promised before that, as on any disk. Bytes that the disk
did not take stay collected, so that the next attempt finds them.

There is room for ``size_bytes_max`` bytes, and never for the last ``reserve_bytes`` of
the disk: the database on it must be able to say what happened. A write that does not
fit is refused as a whole, before anything of it is kept.

Concurrency: one process owns the directory (a lock file). The fields of
:class:`SpoolFile` change on the trio thread only; file system calls run in the
executor's DISK lane, except those that the page cache answers at once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, ParamSpec, TypeVar

import trio

from imgurfs import limits
from imgurfs.content import disk, spool_disk
from imgurfs.errors import ImgurfsError, SpoolFullError, TooLargeError, UnavailableError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.locks import FileLock

_ASIDE: Final = "lost+found"
_OWNER: Final = "owner"
_BOOT: Final = "boot"

P = ParamSpec("P")
T = TypeVar("T")

#: What a disk without room says; the last one: a file system's largest file.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(eq=False, slots=True)
class SpoolFile:
    """An open content. ``size_bytes`` counts what is still collected in ``pending``.

    ``is_new``: its name may not be durable yet. ``is_growing``: it was made by
    appending alone, and nothing of it may be durable yet; then a file that has its
    size and no holes after a power cut has its bytes. ``writes`` counts those that were
    taken.
    """

    name: str
    fd: int
    size_bytes: int
    is_new: bool
    is_growing: bool = False
    writes: int = 0
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    pending_bytes: int = 0
    lock: trio.Lock = field(default_factory=trio.Lock)


class Spool:
    """The directory; see the module's theory of operation."""

    def __init__(
        self,
        *,
        directory: Path,
        size_bytes_max: int,
        executor: Executor,
        reserve_bytes: int,
        used_bytes: int,
    ) -> None:
        self.directory = directory
        self._size_bytes_max = size_bytes_max
        self._executor = executor
        self._reserve_bytes = reserve_bytes
        self._used_bytes = used_bytes
        self._pending_bytes = 0
        self._lock = FileLock(directory / "lock")

    def __repr__(self) -> str:
        return f"<Spool {self.directory} used_bytes={self._used_bytes}>"

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        size_bytes_max: int,
        executor: Executor,
        reserve_bytes: int = limits.SPOOL_RESERVE_BYTES,
    ) -> Spool:
        """Open or create the directory. Blocks briefly. Raises UnavailableError."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            used_bytes = sum(spool_disk.scan(directory).values())
        except OSError as error:
            raise UnavailableError(
                f"the spool {directory} cannot be used: {error.strerror}",
                hint="check the folder's permissions and the disk's free space",
            ) from error
        return cls(
            directory=directory,
            size_bytes_max=size_bytes_max,
            executor=executor,
            reserve_bytes=reserve_bytes,
            used_bytes=used_bytes,
        )

    # --- The directory -----------------------------------------------------------

    @property
    def used_bytes(self) -> int:
        """Bytes that are in the spool, sizes of all contents."""
        return self._used_bytes

    def free_bytes(self) -> int:
        """Return how many bytes there is room for: the bound's, or the disk's."""
        bound = self._size_bytes_max - self._used_bytes
        room = spool_disk.free_bytes(self.directory) - self._pending_bytes
        return max(0, min(bound, room - self._reserve_bytes))

    def own(self) -> bool:
        """Take the directory for this process if nobody has it; whether it is ours."""
        try:
            return self._lock.is_held or self._lock.acquire_nowait()
        except OSError as error:
            _raise(error)

    def close(self) -> None:
        """Let another process have the directory."""
        self._lock.release()

    @property
    def is_owned(self) -> bool:
        """Whether the directory is this process's."""
        return self._lock.is_held

    def path(self, name: str) -> Path:
        """Return where a content lies."""
        return self.directory / name

    async def scan(self) -> dict[str, int]:
        """Return name and size in bytes of every content."""
        found = await self._run(spool_disk.scan, self.directory)
        self._used_bytes = sum(found.values())
        return found

    async def remove(self, *names: str) -> None:
        """Remove contents for good; harmless when they are gone already."""
        freed: list[int] = []
        try:
            paths = [self.path(name) for name in names]
            await self._run(spool_disk.remove, paths, freed)
        finally:
            self._used_bytes -= sum(freed)

    async def md5(self, name: str) -> str:
        """Return the MD5 of a durable content, in hex; "" when it is gone."""
        return await self._run(spool_disk.md5, self.path(name))

    async def set_aside(self, name: str) -> Path:
        """Move a content that belongs to nothing to ``lost+found``; return its path."""
        target = self.directory / _ASIDE
        size_bytes = self.path(name).lstat().st_size
        aside = await self._run(spool_disk.set_aside, self.path(name), target)
        self._used_bytes -= size_bytes
        return aside

    def aside(self) -> Path | None:
        """Return the directory of what was set aside, None when nothing is there."""
        try:
            return spool_disk.filled(self.directory / _ASIDE)
        except OSError as error:
            _raise(error)

    def owner(self) -> str:
        """Return which database's contents these are, "" when that is not known."""
        return spool_disk.read_note(self.path(_OWNER))

    def was_rebooted(self) -> bool:
        """Whether the machine was started again since :meth:`set_owner`."""
        return spool_disk.read_note(self.path(_BOOT)) != spool_disk.boot_id()

    def set_owner(self, token: str) -> None:
        """Say which database's contents these are, and that they were looked at."""
        try:
            spool_disk.write_note(self.path(_OWNER), token)
            spool_disk.write_note(self.path(_BOOT), spool_disk.boot_id())
        except OSError as error:
            _raise(error)

    async def is_whole(self, name: str) -> bool:
        """Whether a power cut has kept nothing of a content from the disk.

        Only to be asked of one that had no holes.
        """
        return await self._run(spool_disk.is_whole, self.path(name))

    # --- Contents ----------------------------------------------------------------

    async def create(self, name: str) -> SpoolFile:
        """Make an empty content that was not there."""
        return await self._run(self.create_blocking, name)

    def create_blocking(self, name: str) -> SpoolFile:
        """Do what :meth:`create` does, on this thread: inside a transaction."""
        try:
            fd = spool_disk.create(self.path(name))
        except OSError as error:
            _raise(error)
        return SpoolFile(name, fd, 0, is_new=True, is_growing=True)

    async def open_file(self, name: str) -> SpoolFile:
        """Open a content. Raises FileNotFoundError."""
        try:
            fd, size_bytes = await self._executor.run(
                ThreadLane.DISK, spool_disk.open_file, self.path(name)
            )
        except FileNotFoundError:
            raise
        except OSError as error:
            _raise(error)
        return SpoolFile(name, fd, size_bytes, is_new=False)

    async def clone(self, source: SpoolFile, name: str) -> SpoolFile:
        """Make a content with the bytes of another one."""
        await self._drain(source)
        self._check_room(source.size_bytes)
        fd = await self._run(spool_disk.clone, source.fd, self.path(name))
        self._used_bytes += source.size_bytes
        return SpoolFile(name, fd, source.size_bytes, is_new=True)

    def close_file(self, file: SpoolFile) -> None:
        """Let go of a content; what is still collected is lost."""
        if file.pending:
            self._used_bytes -= max(0, file.size_bytes - os.fstat(file.fd).st_size)
        self._pending_bytes -= file.pending_bytes
        file.pending.clear()
        file.pending_bytes = 0
        os.close(file.fd)

    async def write(self, file: SpoolFile, offset: int, data: bytes) -> None:
        """Take all of ``data`` or nothing; ``file.writes`` tells which if it fails.

        Raises SpoolFullError, TooLargeError, UnavailableError.
        """
        end = offset + len(data)
        if end > file.size_bytes:
            self._check_room(end - file.size_bytes, size_bytes=end)
        if self._is_enough(file, len(data)):
            await self._drain(file)
        file.is_growing &= offset == file.size_bytes
        file.writes += 1
        file.pending.append((offset, data))
        file.pending_bytes += len(data)
        self._pending_bytes += len(data)
        self._used_bytes += max(0, end - file.size_bytes)
        file.size_bytes = max(file.size_bytes, end)
        if self._pending_bytes > limits.SPOOL_PENDING_BYTES_MAX:
            # Others collect as well; the next attempt finds what the disk refuses now.
            await self._drain(file)

    async def read(self, file: SpoolFile, offset: int, size_bytes: int) -> bytes:
        """Return bytes; fewer than asked for only at the end."""
        length = min(size_bytes, file.size_bytes - offset)
        if length <= 0:
            return b""
        await self._drain(file)
        try:
            data = disk.read_nowait(file.fd, offset, length)
        except OSError as error:
            _raise(error)
        if data is None:
            data = await self._run(os.pread, file.fd, length, offset)
        return data

    async def truncate(self, file: SpoolFile, size_bytes: int) -> None:
        """Cut the content, or lengthen it with zeros."""
        growth_bytes = size_bytes - file.size_bytes
        if growth_bytes > 0:
            self._check_room(growth_bytes, size_bytes=size_bytes)
        await self._drain(file)
        file.is_growing = False
        await self._run(os.ftruncate, file.fd, size_bytes)
        self._used_bytes += growth_bytes
        file.size_bytes = size_bytes

    async def flush(self, file: SpoolFile) -> None:
        """Give the disk what was collected: it outlives this process, not the power."""
        await self._drain(file)

    async def sync(self, file: SpoolFile) -> None:
        """Return when everything written so far, and the name, are durable."""
        await self._drain(file)
        calls = [partial(self._run, os.fdatasync, file.fd)]
        if file.is_new:
            calls.append(
                partial(self._run, spool_disk.synchronise_directory, self.directory)
            )
        await together(*calls)
        file.is_new = file.is_growing = False

    # --- Inside ------------------------------------------------------------------

    def _is_enough(self, file: SpoolFile, more_bytes: int) -> bool:
        """Whether no more should be collected before the disk has been given it."""
        return (
            file.pending_bytes + more_bytes > limits.SPOOL_PIECE_BYTES
            or len(file.pending) >= limits.SPOOL_PENDING_WRITES_MAX
        )

    async def _drain(self, file: SpoolFile) -> None:
        """Give the disk what was collected."""
        if not file.pending:
            return
        async with file.lock:
            spans = tuple(file.pending)
            await self._run(spool_disk.write_spans, file.fd, spans)
            self._written(file, spans)

    def _written(self, file: SpoolFile, spans: tuple[tuple[int, bytes], ...]) -> None:
        del file.pending[: len(spans)]
        count = sum(len(data) for _, data in spans)
        file.pending_bytes -= count
        self._pending_bytes -= count

    def _check_room(self, growth_bytes: int, *, size_bytes: int = 0) -> None:
        if size_bytes > self._size_bytes_max:
            raise TooLargeError(
                f"larger than the spool may ever be ({self._size_bytes_max} bytes)",
                hint="raise spool_max in the section [mount]",
            )
        if growth_bytes > self.free_bytes():
            raise SpoolFullError(
                "there is no room in the spool for what is not uploaded yet",
                hint="wait for uploads, free disk space, or raise spool_max",
            )

    async def _run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a file system call in a thread; its errors become ours."""
        try:
            return await self._executor.run(ThreadLane.DISK, fn, *args, **kwargs)
        except OSError as error:
            _raise(error)


async def together(*calls: Callable[[], Awaitable[object]]) -> None:
    """Run calls that wait for the disk side by side, all of them to their end.

    Disks do several in the time of one. Raises the error of the first that failed.
    """
    errors: dict[int, ImgurfsError] = {}

    async def run(number: int) -> None:
        try:
            await calls[number]()
        except ImgurfsError as error:
            errors[number] = error

    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            for number in range(len(calls)):
                nursery.start_soon(run, number)
    for number in sorted(errors):
        raise errors[number]


def _raise(error: OSError) -> NoReturn:
    """Translate what the disk says."""
    if error.errno in _FULL:
        raise SpoolFullError(
            "the disk has no room for what is not uploaded yet",
            hint="free disk space",
        ) from error
    raise UnavailableError(
        f"the spool cannot be used: {error.strerror}",
        hint="check the disk",
    ) from error
