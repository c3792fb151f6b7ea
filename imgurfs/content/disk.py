"""The file system calls of the read cache: blocking, and without any decision.

Called through the executor's DISK lane by ``content.cache``, which says what they are
for and in which order; else only ``imgurfs cache`` looks and removes. Every one raises
OSError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from imgurfs.content.ranges import Ranges
from imgurfs.locks import FileLock
from imgurfs.model import ImageId

_SIDECAR_SUFFIX: Final = ".ranges"
_TEMPORARY_SUFFIX: Final = ".tmp"


@dataclass(slots=True)
class Usage:
    """Bytes on disk and the last use (epoch) of one image, held or not."""

    size_bytes: int
    used_at: float


class Sidecar(msgspec.Struct, frozen=True):
    """What ``<id>.ranges`` holds."""

    size_bytes: int
    etag: str
    spans: tuple[tuple[int, int], ...]


def read_nowait(fd: int, offset: int, length: int) -> bytes | None:
    """Return bytes that are in memory already, or None: then a thread must wait."""
    buffer = bytearray(length)
    try:
        count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError as error:
        # EAGAIN: on disk. EOPNOTSUPP: a file system without this service.
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
            return None
        raise
    return bytes(buffer) if count == length else None


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write everything; pwrite(2) may take less at a time."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view = view[count:]
        offset += count


def _sidecar_path(path: Path) -> Path:
    return path.with_name(path.name + _SIDECAR_SUFFIX)


def remove(path: Path) -> None:
    """Remove an image's two files, the one that vouches for the other first."""
    _sidecar_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def discard_empty(path: Path) -> None:
    """Remove a data file that was opened and never filled; it is harmless if kept."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def open_data(path: Path, size_bytes: int) -> tuple[int, Sidecar | None]:
    """Open or create the data file; return it with the sidecar if that fits it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    sidecar = read_sidecar(path, size_bytes)
    if sidecar is None:
        remove(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if sidecar is not None:
        with contextlib.suppress(OSError):
            os.utime(_sidecar_path(path))  # the order of eviction survives a restart
    return fd, sidecar


def read_sidecar(path: Path, size_bytes: int) -> Sidecar | None:
    """Return the sidecar if it is whole and can be true of the data file."""
    try:
        sidecar = msgspec.json.decode(_sidecar_path(path).read_bytes(), type=Sidecar)
        end = Ranges.of(sidecar.spans).end
        is_true = sidecar.size_bytes == size_bytes >= end <= path.stat().st_size
    except (OSError, ValueError):  # absent, or damaged: DecodeError is a ValueError
        return None
    return sidecar if is_true else None


def replace(path: Path) -> int:
    """Remove the image's files for good and return an empty data file."""
    remove(path)
    directory_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory_fd)
    finally:
        os.close(directory_fd)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def persist(fd: int, path: Path, sidecar: Sidecar) -> None:
    """Bytes to the disk, then the statement that they are there."""
    os.fdatasync(fd)
    target = _sidecar_path(path)
    temporary = target.with_name(target.name + _TEMPORARY_SUFFIX)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    temporary_fd = os.open(temporary, flags, 0o600)
    try:
        write_all(temporary_fd, msgspec.json.encode(sidecar), 0)
        os.fsync(temporary_fd)
    finally:
        os.close(temporary_fd)
    temporary.rename(target)


def adopt(path: Path, source: Path, sidecar: Sidecar) -> int:
    """Let a durable file be an image's whole data file; return it opened.

    ``source`` stays: on the same disk both are one file, which nobody may change.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_name(path.name + _TEMPORARY_SUFFIX)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        # Another disk, or one without links.
        shutil.copyfile(source, temporary)
    temporary.rename(path)
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        persist(fd, path, sidecar)
    except BaseException:
        os.close(fd)
        raise
    return fd


def lock_if_free(directory: Path) -> FileLock | None:
    """Return the directory's lock, held, or None while another process has it."""
    lock = FileLock(directory / "lock")
    return lock if lock.acquire_nowait() else None


def look(directory: Path) -> dict[ImageId, int]:
    """Return the images there and their bytes on disk; change nothing.

    Another process may be using the directory.
    """
    found: dict[ImageId, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for sidecar in directory.glob(f"*/*{_SIDECAR_SUFFIX}"):
            path = sidecar.with_name(sidecar.name.removesuffix(_SIDECAR_SUFFIX))
            with contextlib.suppress(FileNotFoundError):
                found[ImageId(path.name)] = path.stat().st_blocks * 512
    return found


def scan(directory: Path) -> dict[ImageId, Usage]:
    """Return what is there; remove what no sidecar vouches for."""
    found: dict[ImageId, Usage] = {}
    for shelf in directory.iterdir():
        if not shelf.is_dir():
            continue
        names = {path.name for path in shelf.iterdir()}
        for name in names:
            path = shelf / name
            if name.endswith((_TEMPORARY_SUFFIX, _SIDECAR_SUFFIX)):
                if name.removesuffix(_SIDECAR_SUFFIX) not in names:
                    path.unlink(missing_ok=True)
            elif name + _SIDECAR_SUFFIX not in names:
                path.unlink(missing_ok=True)
            else:
                used_at = _sidecar_path(path).stat().st_mtime
                found[ImageId(name)] = Usage(path.stat().st_blocks * 512, used_at)
    return found
