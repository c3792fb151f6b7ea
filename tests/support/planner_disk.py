"""A disk in memory: what a user does to a folder, and what a walk sees of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imgurfs_daemon.snapshot import (
    DirectoryStat,
    FileStat,
    Problem,
    RootIdentity,
    Snapshot,
    parent_of,
)

DEVICE = 1
ROOT = RootIdentity(DEVICE, 2)


@dataclass(slots=True)
class Inode:
    """A file itself, however many names it has. Its size follows from its content."""

    number: int
    content: int
    mtime_ns: int

    @property
    def size_bytes(self) -> int:
        """Sizes collide, so that content has to be read now and then."""
        return 1000 + self.content % 5

    @property
    def digest(self) -> bytes:
        """The digest of the content."""
        return digest_of(self.content)


def digest_of(content: int) -> bytes:
    """Return the digest that content number so-and-so has."""
    return hashlib.blake2b(str(content).encode(), digest_size=32).digest()


class Disk:
    """Names of files and directories on one disk."""

    def __init__(self) -> None:
        self.files: dict[bytes, Inode] = {}
        self.directories: dict[bytes, int] = {b"": ROOT.inode}
        self._freed: list[int] = []
        self._next = 10
        self._now_ns = 1_000

    def number(self) -> int:
        """Return a number for a new file or directory; like ext4, a used one first."""
        if self._freed:
            return self._freed.pop()
        self._next += 1
        return self._next

    def tick(self) -> int:
        """Return a later time."""
        self._now_ns += 7
        return self._now_ns

    def make_directories(self, directory: bytes) -> None:
        """Make a directory and those above it."""
        if directory not in self.directories:
            self.make_directories(parent_of(directory))
            self.directories[directory] = self.number()

    def write(self, path: bytes, content: int) -> None:
        """Create a file, or replace one by renaming a new one over it."""
        self.make_directories(parent_of(path))
        file = Inode(self.number(), content, self.tick())
        self.unlink(path)
        self.files[path] = file

    def edit(self, path: bytes, content: int) -> None:
        """Change a file where it is."""
        file = self.files[path]
        file.content, file.mtime_ns = content, self.tick()

    def touch(self, path: bytes) -> None:
        """Change a file's time."""
        self.files[path].mtime_ns = self.tick()

    def link(self, path: bytes, new: bytes) -> None:
        """Give a file another name."""
        if path == new:
            return
        self.make_directories(parent_of(new))
        file = self.files[path]
        self.unlink(new)
        self.files[new] = file

    def rename(self, path: bytes, new: bytes) -> None:
        """Move a file, over another one perhaps."""
        if self.files.get(new) is self.files[path]:
            return  # rename(2) does nothing between two names of one file
        self.link(path, new)
        del self.files[path]

    def swap(self, one: bytes, other: bytes) -> None:
        """Exchange two files."""
        files = self.files
        files[one], files[other] = files[other], files[one]

    def unlink(self, path: bytes) -> None:
        """Remove a name; the number is free again with the last one."""
        file = self.files.pop(path, None)
        if file is not None and all(one is not file for one in self.files.values()):
            self._freed.append(file.number)

    def remove_directory(self, directory: bytes) -> None:
        """Remove a directory and everything in it."""
        for path in [p for p in self.files if p.startswith(directory + b"/")]:
            self.unlink(path)
        for path in self._with_below(directory):
            self._freed.append(self.directories.pop(path))

    def rename_directory(self, directory: bytes, new: bytes) -> bool:
        """Rename a directory; whether that was possible."""
        if new in self.directories or new.startswith(directory + b"/"):
            return False
        self.make_directories(parent_of(new))
        self._relabel({directory: new})
        return True

    def swap_directories(self, one: bytes, other: bytes) -> bool:
        """Exchange two directories' names; whether that was possible."""
        if one.startswith(other + b"/") or other.startswith(one + b"/"):
            return False
        self._relabel({one: other, other: one})
        return True

    def _with_below(self, directory: bytes) -> list[bytes]:
        return [
            path
            for path in self.directories
            if path == directory or path.startswith(directory + b"/")
        ]

    def _relabel(self, names: Mapping[bytes, bytes]) -> None:
        def relabelled(path: bytes) -> bytes:
            for old, new in names.items():
                if path == old or path.startswith(old + b"/"):
                    return new + path[len(old) :]
            return path

        self.files = {relabelled(path): file for path, file in self.files.items()}
        self.directories = {
            relabelled(path): number for path, number in self.directories.items()
        }


def stat_of(path: bytes, file: Inode) -> FileStat:
    """Return a file as a walk sees it."""
    return FileStat(path, DEVICE, file.number, file.size_bytes, file.mtime_ns)


def snapshot_of(
    disk: Disk,
    *,
    unreadable: Iterable[bytes] = (),
    others: Iterable[bytes] = (),
    scope: frozenset[bytes] | None = None,
) -> Snapshot:
    """Return what a walk sees; of the directories in ``unreadable`` it sees nothing."""
    hidden = tuple(unreadable)
    covered = frozenset(others)

    def is_seen(directory: bytes) -> bool:
        while directory:
            if directory in hidden or directory in covered:
                return False
            directory = parent_of(directory)
        return True

    def is_read(directory: bytes) -> bool:
        return is_seen(directory) and (scope is None or directory in scope)

    return Snapshot(
        root=ROOT,
        files={
            path: stat_of(path, file)
            for path, file in disk.files.items()
            if is_read(parent_of(path)) and path not in covered
        },
        directories={
            path: DirectoryStat(DEVICE, number)
            for path, number in disk.directories.items()
            if is_read(path)
        },
        others=covered,
        problems=tuple(Problem(path, "permission denied") for path in hidden),
        scope=scope,
    )
