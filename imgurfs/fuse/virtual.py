"""``.imgurfs``: a directory of files whose content is made when they are opened.

It is in the root, reachable by name and not listed, so that searches and backups do not
read it. What is in the files is told by functions that the composition root passes in.
Inode numbers have a bit that no stored one has. Used by ``fuse.operations``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pyfuse3

from imgurfs.clock import Clock
from imgurfs.errors import NotFoundError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.fuse.attributes import Ownership
from imgurfs.model import Inode

DIRECTORY_NAME: Final = ".imgurfs"

_EPHEMERAL_BIT: Final = 1 << 62
_DIRECTORY: Final = Inode(_EPHEMERAL_BIT)
_NS_PER_S: Final = 1_000_000_000

#: Makes the content of one file. It may block, and may raise ImgurfsError.
Maker = Callable[[], bytes]


class VirtualFiles:
    """The directory and its files; ``makers`` maps their names to what is in them."""

    def __init__(
        self, makers: Mapping[str, Maker], *, executor: Executor, clock: Clock
    ) -> None:
        self._makers = dict(makers)
        self._executor = executor
        self._clock = clock
        self._inodes = {
            name: Inode(_EPHEMERAL_BIT + 1 + index)
            for index, name in enumerate(sorted(self._makers))
        }
        self._names = {inode: name for name, inode in self._inodes.items()}
        self._sizes: dict[Inode, int] = {}

    def __repr__(self) -> str:
        return f"<VirtualFiles {sorted(self._makers)}>"

    @staticmethod
    def owns(inode: int) -> bool:
        """Whether an inode is one of these."""
        return bool(inode & _EPHEMERAL_BIT)

    @staticmethod
    def is_directory(inode: int) -> bool:
        """Whether an inode of these is the directory."""
        return inode == _DIRECTORY

    @staticmethod
    def directory() -> Inode:
        """Return the inode of the directory."""
        return _DIRECTORY

    def find(self, name: str) -> Inode:
        """Return the file of a name. Raises NotFoundError."""
        if name not in self._inodes:
            raise NotFoundError(f"there is no {name!r} in {DIRECTORY_NAME}")
        return self._inodes[name]

    def listing(self) -> list[tuple[int, str, Inode]]:
        """Return cookie, name and inode of every file."""
        return [
            (cookie, name, self._inodes[name])
            for cookie, name in enumerate(sorted(self._inodes), start=1)
        ]

    async def content(self, inode: Inode) -> bytes:
        """Make the content of a file, as of now."""
        maker = self._makers[self._name(inode)]
        content = await self._executor.run(ThreadLane.DISK, maker)
        self._sizes[inode] = len(content)
        return content

    def attributes(self, inode: Inode, ownership: Ownership) -> pyfuse3.EntryAttributes:
        """Return what the kernel is told; the size is that of the newest content."""
        is_directory = inode == _DIRECTORY
        if not is_directory:
            self._name(inode)
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = pyfuse3.InodeT(inode)
        ownership.give(attributes, is_file=not is_directory, is_fixed=True)
        attributes.st_nlink = 2 if is_directory else 1
        attributes.st_size = self._sizes.get(inode, 0)
        now_ns = int(self._clock.now() * _NS_PER_S)
        attributes.st_atime_ns = now_ns
        attributes.st_mtime_ns = now_ns
        attributes.st_ctime_ns = now_ns
        attributes.entry_timeout = attributes.attr_timeout = 0
        return attributes

    def _name(self, inode: Inode) -> str:
        if inode not in self._names:
            raise NotFoundError(f"inode {inode} is not one of this mount")
        return self._names[inode]
