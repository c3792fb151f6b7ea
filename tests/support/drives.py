"""One drive, two ways to use it: in process, and through the kernel.

The functional suite (tests/mount) is written against :class:`Drive`. ``in_process``
calls the operations directly over an emulator in virtual time; ``through_the_kernel``
starts ``imgurfs mount`` on an emulator process and uses plain system calls. Errors are
OSErrors in both.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import httpx
import pyfuse3
import trio

from imgurfs.executor import InlineExecutor, ThreadExecutor, ThreadLane
from imgurfs.fuse.drive import open_drive
from imgurfs.fuse.operations import Operations
from imgurfs.model import Lane
from tests.support.account import open_state
from tests.support.changes import CHANGES, CONTEXT
from tests.support.connected import API_URL, CDN_HOSTS, CDN_URL, connected
from tests.support.mounted import Machine

T = TypeVar("T")

#: Entries the in-process kernel takes at a time: few, so that listings continue.
_READDIR_ENTRIES_MAX = 3


@dataclass(frozen=True)
class Seen:
    """What stat tells."""

    inode: int
    mode: int
    links: int
    size_bytes: int
    mtime_s: float

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.mode)


class Drive(Protocol):
    """A mounted account; paths are relative to its top."""

    imgur: Imgur

    async def list(self, path: str) -> list[str]:
        """Return the names in a directory."""
        ...

    async def stat(self, path: str) -> Seen:
        """Return what stat tells."""
        ...

    async def read(self, path: str, offset: int = 0, length: int = 1 << 40) -> bytes:
        """Open, read a part and close."""
        ...

    async def xattrs(self, path: str) -> dict[str, bytes]:
        """Return all extended attributes."""
        ...

    async def xattr(self, path: str, name: str) -> bytes:
        """Return one extended attribute."""
        ...

    async def files(self) -> int:
        """Return how many files the drive says it has (statfs)."""
        ...

    async def change(self, how: str, path: str) -> None:
        """Try to change something: a name in CHANGES."""
        ...


class Imgur:
    """The emulator's own view of things, by its admin pages."""

    def __init__(self, http: httpx.AsyncClient, access_token: str) -> None:
        self._http = http
        self._access_token = access_token

    async def counters(self) -> dict[str, Any]:
        """Return the counters."""
        return cast("dict[str, Any]", await self._ask("GET", "/_emulator/counters"))

    async def state(self) -> dict[str, Any]:
        """Return what exists."""
        return cast("dict[str, Any]", await self._ask("GET", "/_emulator/state"))

    async def image(self, title: str) -> dict[str, Any]:
        """Return the first image of a title."""
        images = (await self.state())["images"]
        return next(each for each in images if each["title"] == title)

    async def fail(self, *rules: dict[str, Any]) -> None:
        """Make these rules the faults in force."""
        await self._ask("POST", "/_emulator/faults", json=list(rules))

    async def reset(self) -> None:
        """Forget counters and faults."""
        await self._ask("DELETE", "/_emulator/counters")
        await self._ask("DELETE", "/_emulator/faults")

    async def delete_image(self, image_id: str) -> None:
        """Delete an image, as another device of the same account."""
        await self._ask("DELETE", f"/3/image/{image_id}")

    async def _ask(self, method: str, path: str, **options: Any) -> object:
        answer = await self._http.request(
            method,
            path,
            headers={"Authorization": f"Bearer {self._access_token}"},
            **options,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


@dataclass
class InProcess:
    """Calls the operations as the kernel would, one path element at a time."""

    imgur: Imgur
    operations: Operations

    async def _inode(self, path: str) -> pyfuse3.InodeT:
        return (await self._find(path)).st_ino

    async def _find(self, path: str) -> pyfuse3.EntryAttributes:
        found = await self.operations.getattr(pyfuse3.ROOT_INODE, CONTEXT)
        for name in [part for part in path.split("/") if part]:
            encoded = name.encode()
            found = await self.operations.lookup(found.st_ino, encoded, CONTEXT)
            if found.st_ino == 0:
                raise FileNotFoundError(errno.ENOENT, path)
        return found

    async def list(self, path: str) -> list[str]:
        """List with many small replies."""
        with _as_os_error():
            fh = await self.operations.opendir(await self._inode(path), CONTEXT)
            names: list[str] = []
            cookie = 0
            while True:
                reply: list[tuple[str, int]] = []
                token = cast("pyfuse3.ReaddirToken", reply)
                await self.operations.readdir(fh, cookie, token)
                if not reply:
                    break
                names += [name for name, _ in reply]
                cookie = reply[-1][1]
            await self.operations.releasedir(fh)
        return names

    async def stat(self, path: str) -> Seen:
        """Look up and get the attributes."""
        with _as_os_error():
            inode = await self._inode(path)
            found = await self.operations.getattr(inode, CONTEXT)
        return Seen(
            found.st_ino,
            found.st_mode,
            found.st_nlink,
            found.st_size,
            found.st_mtime_ns / 1e9,
        )

    async def read(self, path: str, offset: int = 0, length: int = 1 << 40) -> bytes:
        """Read in the kernel's pieces of 128 KiB."""
        with _as_os_error():
            inode = await self._inode(path)
            flags = os.O_RDONLY
            info = await self.operations.open(inode, flags, CONTEXT)
            data = bytearray()
            try:
                while len(data) < length:
                    wanted = min(128 * 1024, length - len(data))
                    part = await self.operations.read(
                        info.fh, offset + len(data), wanted
                    )
                    data += part
                    if len(part) < wanted:
                        break
            finally:
                await self.operations.release(info.fh)
        return bytes(data)

    async def xattrs(self, path: str) -> dict[str, bytes]:
        """List, then get each."""
        with _as_os_error():
            inode = await self._inode(path)
            names = await self.operations.listxattr(inode, CONTEXT)
            return {
                name.decode(): await self.operations.getxattr(inode, name, CONTEXT)
                for name in names
            }

    async def xattr(self, path: str, name: str) -> bytes:
        """Get one."""
        with _as_os_error():
            encoded = name.encode()
            return await self.operations.getxattr(
                await self._inode(path), encoded, CONTEXT
            )

    async def files(self) -> int:
        """Ask statfs."""
        return (await self.operations.statfs(CONTEXT)).f_files

    async def change(self, how: str, path: str) -> None:
        """Send the request."""
        with _as_os_error():
            await CHANGES[how][0](self.operations, await self._inode(path))


@dataclass
class ThroughTheKernel:
    """Plain system calls below a mountpoint, each in a thread."""

    imgur: Imgur
    top: Path
    executor: ThreadExecutor

    async def _do(self, fn: Callable[[], T]) -> T:
        return await self.executor.run(ThreadLane.DISK, fn)

    async def list(self, path: str) -> list[str]:
        """Call listdir."""
        return await self._do(
            lambda: [entry.name for entry in (self.top / path).iterdir()]
        )

    async def stat(self, path: str) -> Seen:
        """Call stat."""
        found = await self._do((self.top / path).stat)
        return Seen(
            found.st_ino,
            found.st_mode,
            found.st_nlink,
            found.st_size,
            found.st_mtime_ns / 1e9,
        )

    async def read(self, path: str, offset: int = 0, length: int = 1 << 40) -> bytes:
        """Open, seek, read, close."""

        def read() -> bytes:
            with (self.top / path).open("rb", buffering=0) as file:
                file.seek(offset)
                return file.readall() if length == 1 << 40 else file.read(length) or b""

        return await self._do(read)

    async def xattrs(self, path: str) -> dict[str, bytes]:
        """Call listxattr and getxattr."""
        place = self.top / path
        return await self._do(
            lambda: {name: os.getxattr(place, name) for name in os.listxattr(place)}
        )

    async def xattr(self, path: str, name: str) -> bytes:
        """Call getxattr."""
        return await self._do(lambda: os.getxattr(self.top / path, name))

    async def files(self) -> int:
        """Call statvfs."""
        return (await self._do(lambda: os.statvfs(self.top))).f_files

    async def change(self, how: str, path: str) -> None:
        """Make the system call."""
        await self._do(lambda: CHANGES[how][1](self.top / path))


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except pyfuse3.FUSEError as error:
        raise OSError(error.errno, os.strerror(error.errno)) from None


def _reply(token: object, name: bytes, _attributes: object, next_id: int) -> bool:
    """Take an entry as the kernel would, until the buffer is full."""
    reply = cast("list[tuple[str, int]]", token)
    if len(reply) >= _READDIR_ENTRIES_MAX:
        return False
    reply.append((name.decode(), next_id))
    return True


@contextlib.asynccontextmanager
async def in_process(directory: Path) -> AsyncIterator[InProcess]:
    """A drive without a kernel, over an emulator in this process."""
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(connected(directory))
        db = open_state(directory / "state.db")
        stack.callback(db.close)
        drive = stack.enter_context(
            open_drive(
                db=db,
                api=world.api,
                http=world.http,
                clock=world.clock,
                executor=InlineExecutor(),
                cache_dir=directory / "content",
                cache_bytes_max=10**9,
                cdn_url=CDN_URL,
                cdn_hosts=CDN_HOSTS,
                readdir_reply=_reply,
            )
        )
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=world.transport, base_url=API_URL)
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        for task in drive.background:
            await nursery.start(task)
        await drive.refresher.refresh_all(Lane.CONTROL)
        token = world.emulator.credentials.access_token
        yield InProcess(Imgur(http, token), drive.operations)
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def through_the_kernel(machine: Machine) -> AsyncIterator[ThroughTheKernel]:
    """A mounted drive; the tree has been listed completely."""
    address = machine.emulator.address
    async with httpx.AsyncClient(base_url=address["api_url"]) as http:
        imgur = Imgur(http, address["access_token"])
        await imgur.reset()
        machine.log_in()
        machine.mount()
        drive = ThroughTheKernel(imgur, machine.mountpoint, ThreadExecutor())
        with trio.fail_after(20):
            # Images without an album appear when every album has been listed.
            while "Without an album" not in " ".join(await drive.list("")):  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
        yield drive
