"""One drive, two ways to use it: in process, and through the kernel.

The functional suite (tests/mount) is written against :class:`Drive`. ``in_process``
(``drive_inside``) calls the operations directly over an emulator in virtual time;
``through_the_kernel`` (``drive_outside``) starts ``imgurfs mount`` on an emulator
process and uses plain system calls. Errors are OSErrors in both.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Protocol

import pytest

from tests.support.imgur import Imgur

#: Everything from an offset to the end.
ALL = 1 << 40


@dataclass(frozen=True)
class Seen:
    """What stat tells."""

    inode: int
    mode: int
    links: int
    size_bytes: int
    mtime_ns: int
    atime_ns: int = 0

    @property
    def mtime_s(self) -> float:
        """Seconds since the epoch."""
        return self.mtime_ns / 1e9

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.mode)


class Handle(Protocol):
    """An open file."""

    async def read(self, offset: int = 0, length: int = ALL) -> bytes:
        """Read a part."""
        ...

    async def write(self, data: bytes, offset: int = 0) -> int:
        """Write a part; with O_APPEND at the end, wherever the offset points."""
        ...

    async def truncate(self, size_bytes: int) -> None:
        """Set the size."""
        ...

    async def fsync(self) -> None:
        """Have it made durable."""
        ...

    async def stat(self) -> Seen:
        """Return what fstat tells."""
        ...

    async def close(self) -> None:
        """Close it; raises what close does."""
        ...


class Reading(Protocol):
    """An open directory."""

    async def next(self, count: int) -> list[str]:
        """Return the next names, fewer at the end; . and .. are left out."""
        ...

    async def tell(self) -> int:
        """Return the place."""
        ...

    async def seek(self, place: int) -> None:
        """Go to a place."""
        ...

    async def rewind(self) -> None:
        """Begin anew."""
        ...


class Drive(Protocol):
    """A mounted account; paths are relative to its top."""

    imgur: Imgur

    async def list(self, path: str) -> list[str]:
        """Return the names in a directory."""
        ...

    def reading(self, path: str) -> contextlib.AbstractAsyncContextManager[Reading]:
        """Have a directory open for the length of a block."""
        ...

    async def stat(self, path: str) -> Seen:
        """Return what stat tells."""
        ...

    async def open(self, path: str, flags: int = os.O_RDONLY) -> Handle:
        """Open a file; makes it with O_CREAT."""
        ...

    async def truncate(self, path: str, size_bytes: int) -> None:
        """Set the size of a file that is not open."""
        ...

    async def unlink(self, path: str) -> None:
        """Remove a file's name."""
        ...

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        """Call renameat2."""
        ...

    async def link(self, path: str, new: str) -> None:
        """Make another name."""
        ...

    async def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        ...

    async def mknod(self, path: str, mode: int) -> None:
        """Make a node of some kind."""
        ...

    async def mkdir(self, path: str) -> None:
        """Make a directory."""
        ...

    async def rmdir(self, path: str) -> None:
        """Remove a directory."""
        ...

    async def chmod(self, path: str, mode: int) -> None:
        """Set the permissions."""
        ...

    async def utime(
        self, path: str, *, atime_ns: int | None = None, mtime_ns: int | None = None
    ) -> None:
        """Set times; None leaves one as it is (UTIME_OMIT)."""
        ...

    async def xattrs(self, path: str) -> dict[str, bytes]:
        """Return all extended attributes."""
        ...

    async def xattr(self, path: str, name: str) -> bytes:
        """Return one extended attribute."""
        ...

    async def set_xattr(self, path: str, name: str, value: bytes) -> None:
        """Set one extended attribute."""
        ...

    async def remove_xattr(self, path: str, name: str) -> None:
        """Remove one extended attribute."""
        ...

    async def statvfs(self) -> tuple[int, int]:
        """Return how many files there are, and the free bytes."""
        ...

    async def settle(self) -> None:
        """Wait until everything that waits has been sent."""
        ...


async def fails_with(number: int, what: Awaitable[object]) -> None:
    """Await something that must fail with this errno."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is checked
        await what
    assert caught.value.errno == number, errno.errorcode[caught.value.errno or 0]


async def read(drive: Drive, path: str, offset: int = 0, length: int = ALL) -> bytes:
    """Open, read a part and close."""
    async with opened(drive, path) as file:
        return await file.read(offset, length)


async def write(
    drive: Drive,
    path: str,
    data: bytes,
    flags: int = os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
) -> None:
    """Open, write and close, as cp does."""
    async with opened(drive, path, flags) as file:
        await file.write(data)


@contextlib.asynccontextmanager
async def opened(
    drive: Drive, path: str, flags: int = os.O_RDONLY
) -> AsyncIterator[Handle]:
    """Have a file open for the length of a block."""
    file = await drive.open(path, flags)
    try:
        yield file
    finally:
        await file.close()
