"""A drive through the kernel: a mounted emulator account and plain system calls."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import trio

from imgurfs.executor import ThreadExecutor, ThreadLane
from tests.support.drives import ALL, Handle, Seen
from tests.support.imgur import Imgur
from tests.support.mounted import Machine

T = TypeVar("T")

_AT_FDCWD = -100
_UTIME_OMIT = (1 << 30) - 2
_LIBC = ctypes.CDLL(None, use_errno=True)


def _seen(found: os.stat_result) -> Seen:
    return Seen(
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_size,
        found.st_mtime_ns,
        found.st_atime_ns,
    )


def _renameat2(old: Path, new: Path, flags: int) -> None:
    if _LIBC.renameat2(_AT_FDCWD, bytes(old), _AT_FDCWD, bytes(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _utimensat(path: Path, atime_ns: int | None, mtime_ns: int | None) -> None:
    times: list[int] = []
    for ns in (atime_ns, mtime_ns):
        times += (0, _UTIME_OMIT) if ns is None else divmod(ns, 1_000_000_000)
    if _LIBC.utimensat(_AT_FDCWD, bytes(path), struct.pack("4l", *times), 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


#: Where the name begins in a struct dirent of 64-bit Linux.
_NAME_OFFSET = 19
_LIBC.opendir.restype = ctypes.c_void_p
_LIBC.readdir.restype = ctypes.c_void_p
_LIBC.telldir.restype = ctypes.c_long
_LIBC.closedir.argtypes = [ctypes.c_void_p]
_LIBC.readdir.argtypes = [ctypes.c_void_p]
_LIBC.telldir.argtypes = [ctypes.c_void_p]
_LIBC.rewinddir.argtypes = [ctypes.c_void_p]
_LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


@dataclass
class OpenStream:
    """A directory stream of the C library, with its buffer of many entries."""

    stream: int
    executor: ThreadExecutor

    async def _do(self, fn: Callable[[], T]) -> T:
        return await self.executor.run(ThreadLane.DISK, fn)

    async def next(self, count: int) -> list[str]:
        """Call readdir."""
        return await self._do(lambda: self._next(count))

    def _next(self, count: int) -> list[str]:
        names: list[str] = []
        while len(names) < count and (found := _LIBC.readdir(self.stream)):
            name = os.fsdecode(ctypes.string_at(found + _NAME_OFFSET))
            if name not in (".", ".."):
                names.append(name)
        return names

    async def tell(self) -> int:
        """Call telldir."""
        return int(await self._do(lambda: _LIBC.telldir(self.stream)))

    async def seek(self, place: int) -> None:
        """Call seekdir."""
        await self._do(lambda: _LIBC.seekdir(self.stream, place))

    async def rewind(self) -> None:
        """Call rewinddir."""
        await self._do(lambda: _LIBC.rewinddir(self.stream))


@dataclass
class OpenFd:
    """A descriptor; every call in a thread."""

    fd: int
    executor: ThreadExecutor

    async def _do(self, fn: Callable[[], T]) -> T:
        return await self.executor.run(ThreadLane.DISK, fn)

    async def read(self, offset: int = 0, length: int = ALL) -> bytes:
        """Call pread until there is no more."""

        def read() -> bytes:
            data = bytearray()
            while part := os.pread(
                self.fd, min(1 << 20, length - len(data)), offset + len(data)
            ):
                data += part
            return bytes(data)

        return await self._do(read)

    async def write(self, data: bytes, offset: int = 0) -> int:
        """Call pwrite."""
        return await self._do(lambda: os.pwrite(self.fd, data, offset))

    async def truncate(self, size_bytes: int) -> None:
        """Call ftruncate."""
        await self._do(lambda: os.ftruncate(self.fd, size_bytes))

    async def fsync(self) -> None:
        """Call fsync."""
        await self._do(lambda: os.fsync(self.fd))

    async def stat(self) -> Seen:
        """Call fstat."""
        return _seen(await self._do(lambda: os.fstat(self.fd)))

    async def close(self) -> None:
        """Call close."""
        await self._do(lambda: os.close(self.fd))


@dataclass
class ThroughTheKernel:
    """Plain system calls below a mountpoint, each in a thread."""

    imgur: Imgur
    machine: Machine
    executor: ThreadExecutor

    @property
    def top(self) -> Path:
        """The mountpoint."""
        return self.machine.mountpoint

    async def _do(self, fn: Callable[[], T]) -> T:
        return await self.executor.run(ThreadLane.DISK, fn)

    async def list(self, path: str) -> list[str]:
        """Call listdir."""
        return await self._do(
            lambda: [entry.name for entry in (self.top / path).iterdir()]
        )

    @contextlib.asynccontextmanager
    async def reading(self, path: str) -> AsyncIterator[OpenStream]:
        """Call opendir, and closedir at the end."""
        stream = await self._do(lambda: _LIBC.opendir(bytes(self.top / path)))
        assert stream
        yield OpenStream(stream, self.executor)
        await self._do(lambda: _LIBC.closedir(stream))

    async def stat(self, path: str) -> Seen:
        """Call stat."""
        return _seen(await self._do((self.top / path).stat))

    async def open(self, path: str, flags: int = os.O_RDONLY) -> Handle:
        """Call open."""
        fd = await self._do(lambda: os.open(self.top / path, flags, 0o644))
        return OpenFd(fd, self.executor)

    async def truncate(self, path: str, size_bytes: int) -> None:
        """Call truncate."""
        await self._do(lambda: os.truncate(self.top / path, size_bytes))

    async def unlink(self, path: str) -> None:
        """Call unlink."""
        await self._do((self.top / path).unlink)

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        """Call renameat2."""
        await self._do(lambda: _renameat2(self.top / old, self.top / new, flags))

    async def link(self, path: str, new: str) -> None:
        """Call link."""
        await self._do(lambda: os.link(self.top / path, self.top / new))

    async def symlink(self, target: str, path: str) -> None:
        """Call symlink."""
        await self._do(lambda: (self.top / path).symlink_to(target))

    async def mknod(self, path: str, mode: int) -> None:
        """Call mknod."""
        await self._do(lambda: os.mknod(self.top / path, mode))

    async def mkdir(self, path: str) -> None:
        """Call mkdir."""
        await self._do((self.top / path).mkdir)

    async def rmdir(self, path: str) -> None:
        """Call rmdir."""
        await self._do((self.top / path).rmdir)

    async def chmod(self, path: str, mode: int) -> None:
        """Call chmod."""
        await self._do(lambda: (self.top / path).chmod(mode))

    async def utime(
        self, path: str, *, atime_ns: int | None = None, mtime_ns: int | None = None
    ) -> None:
        """Call utimensat, with UTIME_OMIT for None."""
        await self._do(lambda: _utimensat(self.top / path, atime_ns, mtime_ns))

    async def xattrs(self, path: str) -> dict[str, bytes]:
        """Call listxattr and getxattr."""
        place = self.top / path
        return await self._do(
            lambda: {name: os.getxattr(place, name) for name in os.listxattr(place)}
        )

    async def xattr(self, path: str, name: str) -> bytes:
        """Call getxattr."""
        return await self._do(lambda: os.getxattr(self.top / path, name))

    async def set_xattr(self, path: str, name: str, value: bytes) -> None:
        """Call setxattr."""
        await self._do(lambda: os.setxattr(self.top / path, name, value))

    async def remove_xattr(self, path: str, name: str) -> None:
        """Call removexattr."""
        await self._do(lambda: os.removexattr(self.top / path, name))

    async def statvfs(self) -> tuple[int, int]:
        """Call statvfs."""
        found = await self._do(lambda: os.statvfs(self.top))
        return found.f_files - found.f_ffree, found.f_bavail * found.f_frsize

    async def settle(self) -> None:
        """Ask the command line until nothing waits."""
        with trio.fail_after(60):
            while (await self._do(self._waiting)) > 0:  # noqa: ASYNC110 - another process
                await trio.sleep(0.1)

    def _waiting(self) -> int:
        return len(self.machine.queue())


@contextlib.asynccontextmanager
async def through_the_kernel(
    machine: Machine, *options: str
) -> AsyncIterator[ThroughTheKernel]:
    """A mounted drive; the tree has been listed completely."""
    address = machine.emulator.address
    async with httpx.AsyncClient(base_url=address["api_url"]) as http:
        imgur = Imgur(http, address["access_token"])
        await imgur.reset()
        machine.log_in()
        machine.mount(*options)
        drive = ThroughTheKernel(imgur, machine, ThreadExecutor())
        with trio.fail_after(20):
            # Images without an album appear when every album has been listed.
            while "Without an album" not in " ".join(await drive.list("")):  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
        yield drive
