"""What an open file or an open directory remembers.

Used by ``fuse.operations``, and by ``fuse.invalidation`` to ask what is open.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, field

from imgurfs.content.cache import CachedFile
from imgurfs.content.fetch import Sequence
from imgurfs.model import Image, Inode
from imgurfs.store.entries import Entry


@dataclass(eq=False, slots=True)
class OpenFile:
    """An image opened for reading. ``image`` is as it was at that moment."""

    inode: Inode
    image: Image
    file: CachedFile
    sequence: Sequence = field(default_factory=Sequence)


@dataclass(eq=False, slots=True)
class OpenDirectory:
    """A listing as it was when it was opened, in the order of the cookies."""

    inode: Inode
    entries: list[Entry]

    def after(self, cookie: int) -> list[Entry]:
        """Return the entries behind a cookie; it may be one that has gone."""
        start = bisect.bisect_right(self.entries, cookie, key=lambda each: each.cookie)
        return self.entries[start:]


class Handles:
    """Numbers for open files and directories. A number is never used twice."""

    def __init__(self) -> None:
        self._last = 0
        self._files: dict[int, OpenFile] = {}
        self._directories: dict[int, OpenDirectory] = {}
        self._open: Counter[Inode] = Counter()

    def __repr__(self) -> str:
        return f"<Handles {self.statistics()}>"

    def statistics(self) -> dict[str, int]:
        """Return how many files and directories are open."""
        return {"files": len(self._files), "directories": len(self._directories)}

    def add_file(self, file: OpenFile) -> int:
        """Return the number for a file that was opened."""
        self._last += 1
        self._files[self._last] = file
        self._open[file.inode] += 1
        return self._last

    def file(self, number: int) -> OpenFile:
        """Return an open file."""
        return self._files[number]

    def remove_file(self, number: int) -> OpenFile:
        """Forget a file that was closed, and return it."""
        file = self._files.pop(number)
        self._open[file.inode] -= 1
        if not self._open[file.inode]:
            del self._open[file.inode]
        return file

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
        return inode in self._open
