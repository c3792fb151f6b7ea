"""A drive without a kernel, over an emulator in this process and in virtual time.

The operations are called as the kernel would: one path element at a time, with its own
checks before (a directory is not opened for writing, a file has no entries).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import cast

import pyfuse3
import trio

from imgurfs.drain import Drainer
from imgurfs.fuse.drive import Drive as MountedDrive
from imgurfs.fuse.operations import Operations
from imgurfs.limits import DELETE_GRACE_S
from imgurfs.store.database import Database
from tests.support.connected import Connected
from tests.support.drives import ALL, Handle, Seen
from tests.support.imgur import Imgur

#: The operations look at no context.
CONTEXT = cast("pyfuse3.RequestContext", None)
#: Entries the in-process kernel takes at a time: few, so that listings continue.
_READDIR_ENTRIES_MAX = 3
#: The kernel's pieces.
_READ_BYTES = _WRITE_BYTES = 128 * 1024
#: Longer than anything that waits without being told to.
_PATIENCE_S = 3_600.0


@dataclass(frozen=True)
class Fields:
    """Which attributes a setattr is about."""

    update_atime: bool = False
    update_mtime: bool = False
    update_ctime: bool = False
    update_mode: bool = False
    update_uid: bool = False
    update_gid: bool = False
    update_size: bool = False


def _seen(found: pyfuse3.EntryAttributes) -> Seen:
    return Seen(
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_size,
        found.st_mtime_ns,
        found.st_atime_ns,
    )


@dataclass
class OpenHandle:
    """What the kernel keeps of an open file."""

    operations: Operations
    inode: pyfuse3.InodeT
    fh: pyfuse3.FileHandleT

    async def read(self, offset: int = 0, length: int = ALL) -> bytes:
        """Read in the kernel's pieces."""
        data = bytearray()
        with as_os_error():
            while len(data) < length:
                wanted = min(_READ_BYTES, length - len(data))
                part = await self.operations.read(self.fh, offset + len(data), wanted)
                data += part
                if len(part) < wanted:
                    break
        return bytes(data)

    async def write(self, data: bytes, offset: int = 0) -> int:
        """Write in the kernel's pieces."""
        with as_os_error():
            for start in range(0, len(data), _WRITE_BYTES):
                part = data[start : start + _WRITE_BYTES]
                written = await self.operations.write(self.fh, offset + start, part)
                assert written == len(part)
        return len(data)

    async def truncate(self, size_bytes: int) -> None:
        """Set the size through the handle."""
        attributes = pyfuse3.EntryAttributes()
        attributes.st_size = size_bytes
        await set_attributes(
            self.operations, self.inode, attributes, Fields(update_size=True), self.fh
        )

    async def fsync(self) -> None:
        """Have it made durable."""
        with as_os_error():
            await self.operations.fsync(self.fh, False)

    async def stat(self) -> Seen:
        """Ask for the attributes."""
        with as_os_error():
            return _seen(await self.operations.getattr(self.inode, CONTEXT))

    async def close(self) -> None:
        """Flush and release."""
        try:
            with as_os_error():
                await self.operations.flush(self.fh)
        finally:
            await self.operations.release(self.fh)


async def set_attributes(
    operations: Operations,
    inode: pyfuse3.InodeT,
    attributes: pyfuse3.EntryAttributes,
    fields: Fields,
    fh: pyfuse3.FileHandleT | None = None,
) -> None:
    """Call setattr; pyfuse3's own class of fields cannot be made here."""
    with as_os_error():
        await operations.setattr(
            inode, attributes, cast("pyfuse3.SetattrFields", fields), fh, CONTEXT
        )


@dataclass
class OpenDirectory:
    """What the C library keeps of an open directory; one entry at a time."""

    operations: Operations
    fh: pyfuse3.FileHandleT
    cookie: int = 0

    async def next(self, count: int) -> list[str]:
        """Ask with buffers that hold few entries."""
        names: list[str] = []
        while len(names) < count:
            answer: list[tuple[str, int]] = []
            token = cast("pyfuse3.ReaddirToken", answer)
            with as_os_error():
                await self.operations.readdir(self.fh, self.cookie, token)
            if not answer:
                break
            for name, cookie in answer[: count - len(names)]:
                names.append(name)
                self.cookie = cookie
        return names

    async def tell(self) -> int:
        """Return the place."""
        return self.cookie

    async def seek(self, place: int) -> None:
        """Go to a place."""
        self.cookie = place

    async def rewind(self) -> None:
        """Begin anew."""
        self.cookie = 0

    async def sync(self) -> None:
        """Have the names made durable."""
        with as_os_error():
            await self.operations.fsyncdir(self.fh, False)


@dataclass
class InProcess:
    """Calls the operations as the kernel would, one path element at a time."""

    imgur: Imgur
    world: Connected
    db: Database
    mounted: MountedDrive
    make_drainer: Callable[[], Drainer]

    @property
    def operations(self) -> Operations:
        """The handlers."""
        return self.mounted.operations

    async def _inode(self, path: str) -> pyfuse3.InodeT:
        return (await self._find(path)).st_ino

    async def _find(self, path: str) -> pyfuse3.EntryAttributes:
        found = await self.operations.getattr(pyfuse3.ROOT_INODE, CONTEXT)
        for name in [part for part in path.split("/") if part]:
            if not stat.S_ISDIR(found.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, path)
            encoded = os.fsencode(name)
            found = await self.operations.lookup(found.st_ino, encoded, CONTEXT)
            if found.st_ino == 0:
                raise FileNotFoundError(errno.ENOENT, path)
        return found

    async def _place(self, path: str) -> tuple[pyfuse3.InodeT, bytes]:
        directory, _, name = path.rpartition("/")
        found = await self._find(directory)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, path)
        return found.st_ino, os.fsencode(name)

    async def list(self, path: str) -> list[str]:
        """List with many small replies."""
        async with self.reading(path) as directory:
            return await directory.next(1 << 30)

    @contextlib.asynccontextmanager
    async def reading(self, path: str) -> AsyncIterator[OpenDirectory]:
        """Open, and release at the end."""
        with as_os_error():
            fh = await self.operations.opendir(await self._inode(path), CONTEXT)
        yield OpenDirectory(self.operations, fh)
        with as_os_error():
            await self.operations.releasedir(fh)

    async def stat(self, path: str) -> Seen:
        """Look up and get the attributes."""
        with as_os_error():
            inode = await self._inode(path)
            return _seen(await self.operations.getattr(inode, CONTEXT))

    async def open(self, path: str, flags: int = os.O_RDONLY) -> Handle:
        """Look up, then create or open."""
        with as_os_error():
            parent, name = await self._place(path)
            found = await self.operations.lookup(parent, name, CONTEXT)
            if found.st_ino == 0:
                if not flags & os.O_CREAT:
                    raise FileNotFoundError(errno.ENOENT, path)
                info, made = await self.operations.create(
                    parent, name, 0o644, flags, CONTEXT
                )
                return OpenHandle(self.operations, made.st_ino, info.fh)
            if flags & os.O_CREAT and flags & os.O_EXCL:
                raise FileExistsError(errno.EEXIST, path)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, path)
            kept = flags & ~(os.O_CREAT | os.O_EXCL)
            info = await self.operations.open(found.st_ino, kept, CONTEXT)
            return OpenHandle(self.operations, found.st_ino, info.fh)

    async def truncate(self, path: str, size_bytes: int) -> None:
        """Set the size without a handle."""
        attributes = pyfuse3.EntryAttributes()
        attributes.st_size = size_bytes
        inode = await self._inode(path)
        fields = Fields(update_size=True)
        await set_attributes(self.operations, inode, attributes, fields)

    async def unlink(self, path: str) -> None:
        """Send the request."""
        with as_os_error():
            parent, name = await self._place(path)
            if stat.S_ISDIR((await self._find(path)).st_mode):
                raise IsADirectoryError(errno.EISDIR, path)
            await self.operations.unlink(parent, name, CONTEXT)

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        """Check what the kernel checks, and send the request."""
        with as_os_error():
            is_directory = stat.S_ISDIR((await self._find(old)).st_mode)
            if is_directory and new.startswith(f"{old}/"):
                raise OSError(errno.EINVAL, new)
            found = await self.operations.lookup(*await self._place(new), CONTEXT)
            if found.st_ino and is_directory != stat.S_ISDIR(found.st_mode):
                kind = errno.ENOTDIR if is_directory else errno.EISDIR
                raise OSError(kind, new)
            await self.operations.rename(
                *await self._place(old), *await self._place(new), flags, CONTEXT
            )

    async def link(self, path: str, new: str) -> None:
        """Send the request."""
        with as_os_error():
            inode = await self._inode(path)
            await self.operations.link(inode, *await self._place(new), CONTEXT)

    async def symlink(self, target: str, path: str) -> None:
        """Send the request."""
        with as_os_error():
            parent, name = await self._place(path)
            await self.operations.symlink(parent, name, target.encode(), CONTEXT)

    async def mknod(self, path: str, mode: int) -> None:
        """Send the request."""
        with as_os_error():
            parent, name = await self._place(path)
            await self.operations.mknod(parent, name, mode, 0, CONTEXT)

    async def mkdir(self, path: str) -> None:
        """Send the request."""
        with as_os_error():
            parent, name = await self._place(path)
            await self.operations.mkdir(parent, name, 0o755, CONTEXT)

    async def rmdir(self, path: str) -> None:
        """Send the request."""
        with as_os_error():
            parent, name = await self._place(path)
            if not stat.S_ISDIR((await self._find(path)).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, path)
            await self.operations.rmdir(parent, name, CONTEXT)

    async def chmod(self, path: str, mode: int) -> None:
        """Send the request."""
        attributes = pyfuse3.EntryAttributes()
        attributes.st_mode = pyfuse3.ModeT(mode)
        inode = await self._inode(path)
        fields = Fields(update_mode=True)
        await set_attributes(self.operations, inode, attributes, fields)

    async def utime(
        self, path: str, *, atime_ns: int | None = None, mtime_ns: int | None = None
    ) -> None:
        """Send the request."""
        attributes = pyfuse3.EntryAttributes()
        attributes.st_atime_ns, attributes.st_mtime_ns = atime_ns or 0, mtime_ns or 0
        fields = Fields(
            update_atime=atime_ns is not None, update_mtime=mtime_ns is not None
        )
        inode = await self._inode(path)
        await set_attributes(self.operations, inode, attributes, fields)

    async def xattrs(self, path: str) -> dict[str, bytes]:
        """List, then get each."""
        with as_os_error():
            inode = await self._inode(path)
            names = await self.operations.listxattr(inode, CONTEXT)
            return {
                name.decode(): await self.operations.getxattr(inode, name, CONTEXT)
                for name in names
            }

    async def xattr(self, path: str, name: str) -> bytes:
        """Get one."""
        with as_os_error():
            inode = await self._inode(path)
            return await self.operations.getxattr(inode, name.encode(), CONTEXT)

    async def set_xattr(self, path: str, name: str, value: bytes) -> None:
        """Set one."""
        with as_os_error():
            inode = await self._inode(path)
            await self.operations.setxattr(inode, name.encode(), value, CONTEXT)

    async def remove_xattr(self, path: str, name: str) -> None:
        """Remove one."""
        with as_os_error():
            inode = await self._inode(path)
            await self.operations.removexattr(inode, name.encode(), CONTEXT)

    async def statvfs(self) -> tuple[int, int]:
        """Ask statfs."""
        found = await self.operations.statfs(CONTEXT)
        return found.f_files - found.f_ffree, found.f_bavail * found.f_frsize

    async def settle(self) -> None:
        """Let a drainer send everything, in virtual time; then what had a grace."""
        await self.make_drainer().run_until_idle(patience_s=_PATIENCE_S)
        await trio.sleep(DELETE_GRACE_S + 1)
        await self.make_drainer().run_until_idle(patience_s=_PATIENCE_S)


@contextlib.contextmanager
def as_os_error() -> Iterator[None]:
    """Turn the kernel adapter's errors into those of system calls."""
    try:
        yield
    except pyfuse3.FUSEError as error:
        raise OSError(error.errno, os.strerror(error.errno)) from None


def reply(token: object, name: bytes, _attributes: object, next_id: int) -> bool:
    """Take an entry as the kernel would, until the buffer is full."""
    reply = cast("list[tuple[str, int]]", token)
    if len(reply) >= _READDIR_ENTRIES_MAX:
        return False
    reply.append((name.decode(), next_id))
    return True
