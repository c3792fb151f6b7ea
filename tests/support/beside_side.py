"""One directory on which system calls are performed: a drive, or a plain one.

The same code on both sides, so that whatever differs is the directory's doing. Knows no
rules; ``beside_rules`` has those, and ``beside_machine`` compares.
"""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.drive_outside import _renameat2, _utimensat

#: Longer than any file that is tried.
_ALL = 64 * 1024 * 1024


@dataclass(frozen=True)
class Shown:
    """What is to be seen of a name; ``links`` and ``size_bytes`` 0 for directories."""

    is_directory: bool
    size_bytes: int
    links: int
    inode: int
    mtime_ns: int


@dataclass
class Side:
    """A directory, and the files that are open in it by number."""

    top: Path
    fds: dict[int, int] = field(default_factory=dict)

    # --- System calls: each raises OSError -----------------------------------

    def open(self, number: int, path: str, flags: int) -> None:
        """Call open."""
        self.fds[number] = os.open(self.top / path, flags, 0o644)

    def write(self, number: int, data: bytes, offset: int | None) -> int:
        """Call pwrite; with offset None, write, for O_APPEND."""
        if offset is None:
            return os.write(self.fds[number], data)
        return os.pwrite(self.fds[number], data, offset)

    def read(self, number: int, size_bytes: int, offset: int) -> bytes:
        """Call pread."""
        return os.pread(self.fds[number], size_bytes, offset)

    def cut(self, number: int, size_bytes: int) -> None:
        """Call ftruncate."""
        os.ftruncate(self.fds[number], size_bytes)

    def fsync(self, number: int) -> None:
        """Call fsync."""
        os.fsync(self.fds[number])

    def fstat(self, number: int) -> tuple[int, int]:
        """Return size and number of links of an open file."""
        found = os.fstat(self.fds[number])
        return found.st_size, found.st_nlink

    def close(self, number: int) -> None:
        """Call close; the number is free whatever it says."""
        os.close(self.fds.pop(number))

    def truncate(self, path: str, size_bytes: int) -> None:
        """Call truncate."""
        os.truncate(self.top / path, size_bytes)

    def utime(self, path: str, mtime_ns: int | None) -> None:
        """Call utimensat; None sets nothing (UTIME_OMIT)."""
        _utimensat(self.top / path, None, mtime_ns)

    def mkdir(self, path: str) -> None:
        """Call mkdir."""
        (self.top / path).mkdir()

    def rmdir(self, path: str) -> None:
        """Call rmdir."""
        (self.top / path).rmdir()

    def unlink(self, path: str) -> None:
        """Call unlink."""
        (self.top / path).unlink()

    def link(self, path: str, new: str) -> None:
        """Call link."""
        os.link(self.top / path, self.top / new)

    def rename(self, old: str, new: str, flags: int) -> None:
        """Call renameat2."""
        _renameat2(self.top / old, self.top / new, flags)

    # --- Looking -------------------------------------------------------------

    def look(self) -> dict[str, Shown]:
        """Return everything there is, by path."""
        found: dict[str, Shown] = {}
        for name in self.names(""):
            found[name] = self.shown(name)
            if found[name].is_directory:
                for inner in self.names(name):
                    found[f"{name}/{inner}"] = self.shown(f"{name}/{inner}")
        return found

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory, as often as it gives them."""
        return sorted(entry.name for entry in (self.top / path).iterdir())

    def shown(self, path: str) -> Shown:
        """Call lstat."""
        found = (self.top / path).lstat()
        is_directory = stat.S_ISDIR(found.st_mode)
        return Shown(
            is_directory,
            0 if is_directory else found.st_size,
            0 if is_directory else found.st_nlink,
            found.st_ino,
            found.st_mtime_ns,
        )

    def content(self, path: str) -> bytes:
        """Open, read and close."""
        fd = os.open(self.top / path, os.O_RDONLY)
        try:
            return os.pread(fd, _ALL, 0)
        finally:
            os.close(fd)

    def open_content(self, number: int) -> bytes:
        """Read an open file; it has to be open for reading."""
        return self.read(number, _ALL, 0)

    # --- A plain directory only ----------------------------------------------

    def would(self, name: str, *arguments: object) -> int:
        """Return the errno of a call with paths, 0 for none, and change nothing.

        Tried in a directory with the same names and links, all empty.
        """
        with tempfile.TemporaryDirectory(dir=self.top.parent) as directory:
            copy = Side(Path(directory) / "copy")
            copy.top.mkdir()
            made: dict[int, str] = {}
            for path, shown in self.look().items():
                if shown.is_directory:
                    copy.mkdir(path)
                elif shown.inode in made:
                    copy.link(made[shown.inode], path)
                else:
                    (copy.top / path).touch()
                    made[shown.inode] = path
            found = errno_of(copy, name, *arguments)
            for number in list(copy.fds):
                copy.close(number)
            return found


def errno_of(side: Side, name: str, *arguments: object) -> int:
    """Perform a call whose result is of no interest; return its errno, 0 for none."""
    try:
        getattr(side, name)(*arguments)
    except OSError as error:
        return error.errno or -1
    return 0
