"""A database file that is damaged: how that is noticed, and what becomes of the file.

Used by ``store.database``; others ask :func:`is_damage` only. Nothing of what our
databases hold exists nowhere else (docs/ARCHITECTURE.md, State on disk), so a damaged
one is moved aside, whole, and a new one takes its place. That is done only by a process
that is alone with the file: another one would go on writing into what was moved, and
two states would send the same pictures twice. Every user of a database therefore shares
a lock on a file beside it.

SQLite notices much by itself, as soon as it reads a bad page. The whole file is read
only when there is a reason to: its last user did not close it (its write-ahead log is
still there), or somebody found damage while using it and left a note.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

#: What SQLite keeps beside a database.
_COMPANIONS = ("-wal", "-shm")


class Use:
    """Being one of the users of a database file, or the only one."""

    def __init__(self, path: Path) -> None:
        """Take part: alone if nobody else uses it, else together with the others.

        Waits while another process that is alone with the file opens it.
        """
        name = path.with_name(path.name + ".lock")
        self._fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_alone = True
        except BlockingIOError:
            self.is_alone = False
            fcntl.flock(self._fd, fcntl.LOCK_SH)
        except BaseException:
            os.close(self._fd)
            raise

    def share(self) -> None:
        """Let others use it as well."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        self.is_alone = False

    def end(self) -> None:
        """Use it no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says with this error that a file is not what it should be."""
    return isinstance(error, sqlite3.DatabaseError) and getattr(
        error, "sqlite_errorname", ""
    ).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def suspect(path: Path) -> None:
    """Note for whoever opens the file next that damage was found in it."""
    try:
        _note(path).touch(mode=0o600)
    except OSError:
        # A disk that takes no note takes no repair either; the next reader finds the
        # damage again.
        return


def needs_check(path: Path) -> bool:
    """Whether there is a reason to read the whole file before it is used."""
    wal = path.with_name(path.name + "-wal")
    return _note(path).exists() or (wal.exists() and wal.stat().st_size > 0)


def check(path: Path, connection: sqlite3.Connection) -> str:
    """Read the whole file; return what is wrong with it, "" for nothing.

    Milliseconds usually; half a second for 200,000 files (213 MB).
    """
    how = "integrity_check" if _note(path).exists() else "quick_check"
    text = str(connection.execute(f"PRAGMA {how}(1)").fetchone()[0])
    if text != "ok":
        return text.splitlines()[-1]
    _note(path).unlink(missing_ok=True)
    return ""


def set_aside(path: Path) -> Path:
    """Move a damaged file out of the way and return its new name. Raises OSError.

    The name ends with the time of its last change; nothing is ever overwritten.
    """
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    base = f"{path.name}.damaged-{changed:%Y%m%dT%H%M%SZ}"
    aside, number = path.with_name(base), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{base}-{number}")
    # The log goes first: without its file it means nothing, but a new file must never
    # meet an old log.
    for suffix in _COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    _note(path).unlink(missing_ok=True)
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return aside


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".suspect")
