"""Copies of the files that were given to ``imgurfs upload``: blocking, no decisions.

Once a copy is here the file it was made from may be changed or deleted. What it is not:
it does not know which copies are still needed; ``imgurfs.jobs.by_hand`` does.

A copy has the path ``<what it is>/<file name>``, relative to the directory. It is made
under another name, and is there with all its bytes or not at all, also after a power
cut. Whoever makes or removes copies holds :func:`lock`. Functions raise OSError.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final

from imgurfs import crashpoints, limits
from imgurfs.content.spool_disk import synchronise_directory
from imgurfs.locks import FileLock

_NEW: Final = "new"
_LOCK: Final = "lock"


def prepare(directory: Path) -> None:
    """Make the directory, which nobody but the user can enter."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def lock(directory: Path) -> FileLock:
    """Return the lock that whoever makes or removes copies holds; not taken yet."""
    return FileLock(directory / _LOCK)


def put(directory: Path, path: bytes, source: BinaryIO, *, digest: bytes) -> bool:
    """Copy what is left to read of ``source``; return when it is durable.

    False: its content has another digest (BLAKE2b), and there is no copy.
    """
    new = directory / _NEW
    found = hashlib.blake2b(digest_size=32)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            while piece := source.read(limits.MIB):
                found.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if found.digest() != digest:
            new.unlink()
            return False
        target = directory / os.fsdecode(path)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        new.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    synchronise_directory(target.parent)
    synchronise_directory(directory)
    crashpoints.reach("copy-made")
    return True


def remove(directory: Path, path: bytes) -> None:
    """Remove a copy; harmless when it is gone."""
    file = directory / os.fsdecode(path)
    file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        file.parent.rmdir()


def scan(directory: Path) -> dict[bytes, int]:
    """Return path and size in bytes of every copy; {} when there is no directory."""
    found: dict[bytes, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for place in [one for one in directory.iterdir() if one.is_dir()]:
            # Another process may be removing it this moment.
            with contextlib.suppress(FileNotFoundError):
                for file in place.iterdir():
                    path = bytes(file.relative_to(directory))
                    found[path] = file.lstat().st_size
    return found
