"""What an open file or an open directory remembers.

Used by the request handlers, and by ``fuse.invalidation`` to ask what is open.
"""

from __future__ import annotations

import bisect
import os
from dataclasses import dataclass, field

from imgurfs.content.cache import CachedFile
from imgurfs.content.fetch import Sequence
from imgurfs.model import Inode
from imgurfs.store.entries import Entry, Node
from imgurfs.writing.opened import OpenDraft


@dataclass(eq=False, slots=True)
class OpenFile:
    """A file that somebody has open. ``node`` is as it was at that moment.

    ``draft`` holds the bytes that are in the spool, ``cached`` those that come from
    Imgur: what is read comes from the draft if there is one. ``is_writer``: it was
    made, emptied or opened for writing, whatever may be done through it.
    """

    node: Node
    flags: int
    draft: OpenDraft | None = None
    cached: CachedFile | None = None
    is_writer: bool = False
    sequence: Sequence = field(default_factory=Sequence)

    @property
    def inode(self) -> Inode:
        """Which file it is."""
        return self.node.inode

    @property
    def is_for_writing(self) -> bool:
        """Whether it was opened for changing the content."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def is_for_appending(self) -> bool:
        """Whether every write goes to the end of the file."""
        return bool(self.flags & os.O_APPEND)


@dataclass(eq=False, slots=True)
class OpenDirectory:
    """A directory somebody reads: the page of entries that is being handed out.

    A page is good as long as nothing was committed (``version``): what the kernel is
    told of it becomes its own idea of the directory.
    """

    inode: Inode
    entries: list[Entry] = field(default_factory=list)
    #: The page holds everything between this cookie and its last entry.
    after_cookie: int = 0
    version: int | None = None

    def behind(self, cookie: int, *, version: int) -> list[Entry]:
        """Return what the page has behind a cookie; nothing if it must be read anew."""
        if self.version != version or cookie < self.after_cookie:
            return []
        start = bisect.bisect_right(self.entries, cookie, key=lambda each: each.cookie)
        return self.entries[start:]


@dataclass(eq=False, slots=True)
class _Held:
    """How often a file is open, and what it was when it was opened last."""

    count: int
    node: Node


class Handles:
    """Numbers for open files and directories. A number is never used twice."""

    def __init__(self) -> None:
        self._last = 0
        self._files: dict[int, OpenFile] = {}
        self._directories: dict[int, OpenDirectory] = {}
        self._contents: dict[int, bytes] = {}
        self._held: dict[Inode, _Held] = {}
        self._stale: set[Inode] = set()

    def __repr__(self) -> str:
        return f"<Handles {self.statistics()}>"

    def statistics(self) -> dict[str, int]:
        """Return how many files and directories are open."""
        return {
            "files": len(self._files) + len(self._contents),
            "directories": len(self._directories),
        }

    def add_file(self, file: OpenFile) -> int:
        """Return the number for a file that was opened."""
        self._last += 1
        self._files[self._last] = file
        held = self._held.setdefault(file.inode, _Held(0, file.node))
        held.count += 1
        held.node = file.node
        return self._last

    def file(self, number: int) -> OpenFile | None:
        """Return an open file; None if the number is not one's."""
        return self._files.get(number)

    def remove_file(self, number: int) -> OpenFile | None:
        """Forget a file that was closed, and return it."""
        file = self._files.pop(number, None)
        if file is not None:
            held = self._held[file.inode]
            held.count -= 1
            if not held.count:
                del self._held[file.inode]
        return file

    def add_content(self, content: bytes) -> int:
        """Return the number for a file whose content was made when it was opened."""
        self._last += 1
        self._contents[self._last] = content
        return self._last

    def content(self, number: int) -> bytes | None:
        """Return what :meth:`add_content` was given; None if it was not."""
        return self._contents.get(number)

    def remove_content(self, number: int) -> None:
        """Forget such a content."""
        self._contents.pop(number, None)

    def add_directory(self, directory: OpenDirectory) -> int:
        """Return the number for a directory that was opened."""
        self._last += 1
        self._directories[self._last] = directory
        return self._last

    def directory(self, number: int) -> OpenDirectory:
        """Return an open directory."""
        return self._directories[number]

    def remove_directory(self, number: int) -> None:
        """Forget a directory that was closed."""
        del self._directories[number]

    def is_open(self, inode: Inode) -> bool:
        """Whether anybody has the file open."""
        return inode in self._held

    def held_node(self, inode: Inode) -> Node | None:
        """Return what an open file was when it was opened, None when nobody has it."""
        held = self._held.get(inode)
        return None if held is None else held.node

    def mark_stale(self, inode: Inode) -> None:
        """Note that the kernel may have pages of an open file that are old."""
        self._stale.add(inode)

    def take_stale(self, inode: Inode) -> bool:
        """Whether that was noted since the file was opened last; forgets it."""
        is_stale = inode in self._stale
        self._stale.discard(inode)
        return is_stale
