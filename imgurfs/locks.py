"""Locks between processes: open file description locks, fcntl(2), on small files.

The kernel releases such a lock when its holder dies, however it dies, so none can go
stale. A lock must be taken after daemonising: it belongs to the open file and would be
shared by both sides of a fork. The file's text names the holder, for messages only.

Not flock(2): there one has to take a lock to learn whether it is free, and whoever
wants it at that moment is refused.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from imgurfs.errors import AlreadyRunningError

#: ``struct flock``: type, whence, start, length, process.
_FLOCK = struct.Struct("@hhqqi4x")
_WHOLE_FILE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class FileLock:
    """An exclusive lock on one file, held from ``acquire_nowait`` to ``release``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def __repr__(self) -> str:
        return f"<FileLock {self.path} {'held' if self.is_held else 'free'}>"

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire_nowait(self) -> bool:
        """Take the lock if nobody holds it; return whether it is ours now."""
        assert self._fd is None, "a FileLock is taken once"
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WHOLE_FILE)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        """Let go; harmless when not held."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def is_free(self) -> bool:
        """Whether nobody holds the lock at this moment (ours counts as held)."""
        if self.is_held:
            return False
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _WHOLE_FILE)
        finally:
            os.close(fd)
        kind: int = _FLOCK.unpack(found)[0]
        return kind == fcntl.F_UNLCK

    def holder(self) -> str:
        """Return the process id written by the last holder, or ""."""
        try:
            return self.path.read_text().strip()
        except OSError:
            return ""

    def require(self, what: str) -> Self:
        """Take the lock or raise AlreadyRunningError saying who holds it."""
        if not self.acquire_nowait():
            raise AlreadyRunningError(
                f"{what} is already running (process {self.holder() or '?'})",
                hint="stop it first, or use 'imgurfs status' to see what it does",
            )
        return self

    def __enter__(self) -> Self:
        assert self.is_held
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.release()
