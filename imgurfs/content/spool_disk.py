"""The file system calls of the spool: blocking, and without any decision.

Called on worker threads by ``content.spool``, which says what they are for and in which
order; ``imgurfs status`` scans, nobody else uses them. Every one raises OSError.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from imgurfs.content.disk import write_all

#: ``<inode>.<generation>``; other files in the directory are none of its contents.
SPOOL_NAME: Final = re.compile(r"[1-9]\d*\.[1-9]\d*")
_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_CREATE: Final = _OPEN | os.O_CREAT | os.O_EXCL
#: ioctl(2): let one file have the blocks of another (FICLONE, linux/fs.h).
_FICLONE: Final = 0x40049409
_COPY_BYTES: Final = 1 << 20


def create(path: Path) -> int:
    """Make an empty file that was not there."""
    return os.open(path, _CREATE, 0o600)


def open_file(path: Path) -> tuple[int, int]:
    """Open a file; return the descriptor and the size."""
    fd = os.open(path, _OPEN)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
    except BaseException:
        os.close(fd)
        raise
    return fd, found.st_size


def clone(source_fd: int, path: Path) -> int:
    """Make a file with the bytes of another, sharing its blocks if the disk can."""
    fd = create(path)
    try:
        try:
            fcntl.ioctl(fd, _FICLONE, source_fd)
        except OSError:
            # Any error: no such service here, or not between these two.
            offset = 0
            while data := os.pread(source_fd, _COPY_BYTES, offset):
                write_all(fd, data, offset)
                offset += len(data)
    except BaseException:
        os.close(fd)
        path.unlink()
        raise
    return fd


def write_spans(fd: int, spans: Sequence[tuple[int, bytes]]) -> None:
    """Write pieces in order; (offset, bytes) each."""
    for offset, data in spans:
        write_all(fd, data, offset)


def synchronise_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(paths: Iterable[Path], freed: list[int]) -> None:
    """Remove files, and tell in ``freed`` how many bytes each had that was there."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            size_bytes = path.lstat().st_size
            path.unlink()
            freed.append(size_bytes)


def set_aside(path: Path, directory: Path) -> Path:
    """Move a file into another directory, under a name that is free there."""
    directory.mkdir(mode=0o700, exist_ok=True)
    number = 0
    while True:
        target = directory / (f"{path.name}.{number}" if number else path.name)
        try:
            os.link(path, target)
        except FileExistsError:
            number += 1
            continue
        path.unlink()
        synchronise_directory(directory)
        return target


def md5(path: Path) -> str:
    """Return the MD5 of a file in hex, "" when it is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ""
    with os.fdopen(fd, "rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def _md5() -> hashlib._Hash:
    # What the CDN's ETags are; nobody is kept out by it.
    return hashlib.md5(usedforsecurity=False)


def is_whole(path: Path) -> bool:
    """Whether a file has no holes: what a power cut kept from the disk is one."""
    fd, size_bytes = open_file(path)
    try:
        return not size_bytes or os.lseek(fd, 0, os.SEEK_HOLE) >= size_bytes
    finally:
        os.close(fd)


def boot_id() -> str:
    """Return which start of the machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def scan(directory: Path) -> dict[str, int]:
    """Return name and size of every content in the directory."""
    found: dict[str, int] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if not SPOOL_NAME.fullmatch(entry.name):
                continue
            # Another process may be removing it this moment.
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
    return found


def free_bytes(directory: Path) -> int:
    """Return how much room the disk has for us."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def filled(directory: Path) -> Path | None:
    """Return the directory if there is anything in it."""
    with contextlib.suppress(FileNotFoundError):
        return directory if any(directory.iterdir()) else None
    return None


def read_note(path: Path) -> str:
    """Return what a small file says, "" when it is not there or not readable."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def write_note(path: Path, text: str) -> None:
    """Make a small file durable, as a whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(temporary, flags, 0o600)
    try:
        write_all(fd, text.encode(), 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    synchronise_directory(path.parent)
