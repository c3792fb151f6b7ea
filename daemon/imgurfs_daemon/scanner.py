"""Reads a watched folder: the only place that lists its directories.

What it is not: it neither watches nor decides. :func:`scan` blocks (call it through
the Executor) and never raises for what it meets: whatever cannot be read is a problem
in the snapshot, and the rest is still there. It never writes.

Links are not followed, not even one that takes the place of a directory while we read:
every directory is opened from its parent. 200,000 files are a common folder, so what
was found is kept as arrays (:class:`FileTable`) that become values when asked for.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from imgurfs_daemon.filters import Filters
from imgurfs_daemon.snapshot import (
    DirectoryStat,
    FileStat,
    Problem,
    RootIdentity,
    Snapshot,
    is_temporary_name,
    parent_of,
)

#: Directories nested deeper than this are not read: a loop of bind mounts.
_DEPTH_MAX = 100
#: There is no such directory (any more), or something else has its name.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_OPEN_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: What SQLite and an array can hold.
_INT64_MAX = 2**63 - 1
_FIELDS = 4


class Follower(Protocol):
    """Follows a scan through the directories; called on the scan's thread."""

    def is_known(self, directory: bytes) -> bool:
        """Whether what happens in the directory is noticed without a scan."""
        ...

    def before_reading(self, directory: bytes) -> None:
        """Be told of a directory before it is read."""
        ...


class FileTable(Mapping[bytes, FileStat]):
    """The files of a snapshot by path, some 100 bytes each."""

    def __init__(self) -> None:
        self._directories: dict[bytes, tuple[list[bytes], array[int]]] = {}
        self._count = 0

    def __repr__(self) -> str:
        return f"<FileTable {self._count} files>"

    def add(self, directory: bytes, found: list[tuple[bytes, os.stat_result]]) -> None:
        """Take all files of a directory that was not added yet."""
        assert directory not in self._directories
        found.sort(key=lambda pair: pair[0])
        numbers = array("q")
        for _, status in found:
            numbers.append(_int64(status.st_dev))
            numbers.append(_int64(status.st_ino))
            numbers.append(status.st_size)
            numbers.append(_int64(status.st_mtime_ns))
        self._directories[directory] = ([name for name, _ in found], numbers)
        self._count += len(found)

    def part(self, directories: Iterable[bytes]) -> FileTable:
        """Return the files directly in these directories; nothing is copied."""
        part = FileTable()
        for directory in directories:
            if found := self._directories.get(directory):
                part._directories[directory] = found
                part._count += len(found[0])
        return part

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for directory, (names, _) in self._directories.items():
            prefix = directory + b"/" if directory else b""
            for name in names:
                yield prefix + name

    def __getitem__(self, path: bytes) -> FileStat:
        directory, _, name = path.rpartition(b"/")
        names, numbers = self._directories[directory]
        index = bisect_left(names, name)
        if index == len(names) or names[index] != name:
            raise KeyError(path)
        device, inode, size_bytes, mtime_ns = numbers[
            index * _FIELDS : (index + 1) * _FIELDS
        ]
        return FileStat(path, device, inode, size_bytes, mtime_ns)


def scan(
    root: bytes,
    filters: Filters,
    scope: frozenset[bytes] | None = None,
    *,
    follower: Follower | None = None,
) -> Snapshot:
    """Read a folder and everything below, or only the directories in ``scope``.

    With a scope no directory below one of it is read, unless the follower does not
    know it; the snapshot's scope names all that were. One that is gone is neither in
    ``directories`` nor a problem. Blocks; raises nothing.
    """
    try:
        root_fd = os.open(root, _OPEN_FLAGS)
    except OSError as error:
        is_other = error.errno in (errno.ENOTDIR, errno.ELOOP)
        text = "not a directory" if is_other else _text(error)
        return Snapshot(None, problems=(Problem(b"", text),))
    try:
        found = os.fstat(root_fd)
        scanning = _Scanning(root_fd, filters, follower)
        if scope is None:
            scanning.read_everything()
        else:
            scanning.read_scope(scope)
        return scanning.snapshot(
            RootIdentity(_int64(found.st_dev), _int64(found.st_ino)),
            is_everything=scope is None,
        )
    finally:
        os.close(root_fd)


def portion(seen: Snapshot, scope: frozenset[bytes]) -> Snapshot:
    """Return what a scan of these directories would have found when ``seen`` was."""
    files = seen.files
    assert isinstance(files, FileTable), "it was scanned"
    return replace(
        seen,
        files=files.part(sorted(scope)),
        directories={
            path: seen.directories[path] for path in scope if path in seen.directories
        },
        others=frozenset(path for path in seen.others if parent_of(path) in scope),
        problems=tuple(
            problem
            for problem in seen.problems
            if problem.path in scope or parent_of(problem.path) in scope
        ),
        scope=scope,
        below=frozenset(
            path
            for path in (*seen.directories, *(found.path for found in seen.problems))
            if path and parent_of(path) in scope
        ),
    )


def portions(seen: Snapshot, *, files_max: int) -> Iterator[frozenset[bytes]]:
    """Yield scopes that together are everything, of so many files or one directory."""
    files = seen.files
    assert isinstance(files, FileTable), "it was scanned"
    scope: list[bytes] = []
    count = 0
    for directory in seen.directories:
        here = len(files.part([directory]))
        if scope and count + here > files_max:
            yield frozenset(scope)
            scope, count = [], 0
        scope.append(directory)
        count += here
    yield frozenset(scope)


class _Scanning:
    """What a scan has seen so far."""

    def __init__(
        self, root_fd: int, filters: Filters, follower: Follower | None
    ) -> None:
        self._root_fd = root_fd
        self._filters = filters
        self._follower = follower
        self._files = FileTable()
        self._directories: dict[bytes, DirectoryStat] = {}
        self._others: set[bytes] = set()
        self._problems: list[Problem] = []
        self._scope: set[bytes] = set()
        self._below: set[bytes] = set()

    def snapshot(self, root: RootIdentity, *, is_everything: bool) -> Snapshot:
        """Return everything seen."""
        return Snapshot(
            root=root,
            files=self._files,
            directories=self._directories,
            others=frozenset(self._others),
            problems=tuple(self._problems),
            scope=None if is_everything else frozenset(self._scope),
            below=frozenset(self._below),
        )

    def read_everything(self) -> None:
        """Read all directories, the parents first."""
        pending = [b""]
        while pending:
            below = self._read(pending.pop(), is_gone_fine=False)
            # Popped from the end, so this is the order of the names.
            pending += reversed(below)

    def read_scope(self, scope: frozenset[bytes]) -> None:
        """Read these directories, and the unknown ones below them."""
        pending = sorted(scope, reverse=True)
        asked = set(pending)
        while pending:
            path = pending.pop()
            if path in self._scope or self._is_outside(path):
                continue
            self._scope.add(path)
            below = self._read(path, is_gone_fine=path in asked)
            self._below.update(below)
            if self._follower is not None:
                pending += [
                    inner for inner in below if not self._follower.is_known(inner)
                ]

    def _is_outside(self, path: bytes) -> bool:
        """Whether a full scan would not come here: nothing is said about it then."""
        parts = path.split(b"/") if path else []
        return any(
            is_temporary_name(name)
            or self._filters.excludes(b"/".join(parts[: depth + 1]), is_directory=True)
            for depth, name in enumerate(parts)
        )

    def _read(self, path: bytes, *, is_gone_fine: bool) -> list[bytes]:
        """Read one directory; return those in it, sorted."""
        if path.count(b"/") >= _DEPTH_MAX:
            self._problems.append(Problem(path, "nested too deeply"))
            return []
        if self._follower is not None:
            self._follower.before_reading(path)
        try:
            fd = _open_below(self._root_fd, path)
        except OSError as error:
            if error.errno not in _GONE:
                self._problems.append(Problem(path, _text(error)))
            elif not is_gone_fine:
                # It went while we were reading: its parent's listing is out of date.
                self._problems.append(Problem(path, "it went while it was read"))
            return []
        try:
            identity = os.fstat(fd)
            with closing(os.scandir(fd)) as entries:
                below = self._sort_out(path, list(entries))
        except OSError as error:
            self._problems.append(Problem(path, _text(error)))
            return []
        finally:
            os.close(fd)
        self._directories[path] = DirectoryStat(
            _int64(identity.st_dev), _int64(identity.st_ino)
        )
        return below

    def _sort_out(self, path: bytes, entries: list[os.DirEntry[str]]) -> list[bytes]:
        """Take note of a directory's entries; return the directories to go on with."""
        prefix = path + b"/" if path else b""
        files: list[tuple[bytes, os.stat_result]] = []
        below: list[bytes] = []
        for entry in entries:
            name = os.fsencode(entry.name)
            inner = prefix + name
            try:
                is_directory = entry.is_dir(follow_symlinks=False)
                is_file = entry.is_file(follow_symlinks=False)
                if (
                    not (is_directory or is_file)
                    or is_temporary_name(name)
                    or self._filters.excludes(inner, is_directory=is_directory)
                ):
                    self._others.add(inner)
                elif is_directory:
                    below.append(inner)
                else:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        files.append((name, status))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._problems.append(Problem(inner, _text(error)))
        self._files.add(path, files)
        below.sort()
        return below


def _open_below(root_fd: int, path: bytes) -> int:
    """Open a directory component by component, so that no link is followed."""
    fd = os.open(b".", _OPEN_FLAGS, dir_fd=root_fd)
    for name in path.split(b"/") if path else ():
        try:
            inner = os.open(name, _OPEN_FLAGS, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


def _int64(number: int) -> int:
    """Fit a number of 64 bits or more into what a database can hold."""
    if number > _INT64_MAX:
        return number - 2**64 if number < 2**64 else _INT64_MAX
    return max(number, -_INT64_MAX)


def _text(error: OSError) -> str:
    return error.strerror or str(error)
