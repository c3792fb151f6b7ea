"""Everything the daemon does to a watched folder: it looks. It never writes there.

:func:`walk` reads a folder (blocking: call it through the Executor); :class:`Watcher`
says when it is worth reading again. Events are hints, so a watcher delivers one bit:
something happened since you last asked. That bit cannot overflow; what the kernel
dropped (queue overflow) or watchdog does not report (an unmount) sets it as well.

watchdog's thread and trio meet in :meth:`Watcher._poke` only.
"""

from __future__ import annotations

import os
import stat
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import trio
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter, InotifyWatchGroup
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD

from imgurfs.errors import MountpointError, UnavailableError
from imgurfs_daemon.snapshot import (
    FileStat,
    Problem,
    RootIdentity,
    Snapshot,
    is_temporary_name,
)

# A new directory that watchdog finds twice, by its event and by reading its parent, is
# registered twice with the same callback; it says so as if that mattered.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)

#: Directories nested deeper than this are not read: a loop of bind mounts.
_DEPTH_MAX = 100


def walk(root: bytes) -> Snapshot:
    """Read a folder and everything below. Blocks; never raises for what it meets.

    Links are not followed. Whatever cannot be read is a problem, which makes the
    snapshot incomplete; the rest is still there.
    """
    try:
        found = os.lstat(root)
    except OSError as error:
        return Snapshot(None, problems=(Problem(b"", _text(error)),))
    if not stat.S_ISDIR(found.st_mode):
        return Snapshot(None, problems=(Problem(b"", "not a directory"),))
    reading = _Reading()
    pending = [(b"", found.st_dev, 0)]
    while pending:
        path, device, depth = pending.pop()
        pending += reading.read(root, path, device, depth)
    return Snapshot(
        root=RootIdentity(found.st_dev, found.st_ino),
        files=reading.files,
        directories=reading.directories,
        others=frozenset(reading.others),
        problems=tuple(reading.problems),
    )


class _Reading:
    """What a walk has seen so far."""

    def __init__(self) -> None:
        self.files: dict[bytes, FileStat] = {}
        self.directories: dict[bytes, int] = {}
        self.others: set[bytes] = set()
        self.problems: list[Problem] = []

    def read(
        self, root: bytes, path: bytes, device: int, depth: int
    ) -> list[tuple[bytes, int, int]]:
        """Read one directory; return those in it as (path, device, depth)."""
        below: list[tuple[bytes, int, int]] = []
        if depth > _DEPTH_MAX:
            self.problems.append(Problem(path, "nested too deeply"))
            return below
        try:
            with os.scandir(root + b"/" + path) as entries:
                names = list(entries)
        except FileNotFoundError:
            # It went while we were reading: its parent's listing is out of date.
            self.problems.append(Problem(path, "it went while it was read"))
            return below
        except OSError as error:
            self.problems.append(Problem(path, _text(error)))
            return below
        self.directories[path] = device
        for entry in names:
            inner = path + b"/" + entry.name if path else entry.name
            found = self._look(entry, inner)
            if found is None:
                continue
            if stat.S_ISDIR(found.st_mode):
                below.append((inner, found.st_dev, depth + 1))
            else:
                self.files[inner] = FileStat(
                    path=inner,
                    device=found.st_dev,
                    inode=found.st_ino,
                    size_bytes=found.st_size,
                    mtime_ns=found.st_mtime_ns,
                )
        return below

    def _look(self, entry: os.DirEntry[bytes], path: bytes) -> os.stat_result | None:
        """Return the entry's stat if it is a file or directory we care about."""
        if is_temporary_name(entry.name):
            self.others.add(path)
            return None
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.problems.append(Problem(path, _text(error)))
            return None
        if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            return found
        self.others.add(path)
        return None


def refuse_mounts(folder: bytes, *, mountinfo: bytes) -> None:
    """Raise MountpointError when a folder lies in a drive of ours or holds one.

    Uploading the account into itself would never end. ``mountinfo`` is the content of
    ``/proc/self/mountinfo``.
    """
    real = os.path.realpath(folder)
    for line in mountinfo.splitlines():
        fields = line.split(b" ")
        types = fields[fields.index(b"-") + 1 :] if b"-" in fields else []
        if not types or types[0] != b"fuse.imgurfs":
            continue
        mounted = _unescape(fields[4])
        if _is_within(real, mounted) or _is_within(mounted, real):
            raise MountpointError(
                f"{os.fsdecode(folder)} and the mounted drive {os.fsdecode(mounted)}"
                " lie in one another",
                hint="watch another folder, or mount the drive elsewhere",
            )


def read_mountinfo() -> bytes:
    """Return what is mounted, as :func:`refuse_mounts` wants it."""
    return Path("/proc/self/mountinfo").read_bytes()


class Watcher:
    """Tells whether something may have changed in a folder. A context manager.

    Raises UnavailableError when the kernel refuses the watches.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._changed = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._is_poked = threading.Event()
        self._events = 0
        self._observer: BaseObserver | None = None
        self._inotify: InotifyFD | None = None

    def __repr__(self) -> str:
        return f"<Watcher {os.fsdecode(self._path)} events={self._events}>"

    def statistics(self) -> dict[str, int]:
        """Return how many times this watcher was told of something."""
        return {"events": self._events}

    def __enter__(self) -> Self:
        try:
            self._inotify = InotifyFD()
            self._inotify.start()
            self._observer = BaseObserver(
                _emitter(self._poke), inotify_fd=self._inotify
            )
            self._observer.schedule(
                _Handler(self._poke), os.fsdecode(self._path), recursive=True
            )
            self._observer.start()
        except OSError as error:
            self._stop()
            raise UnavailableError(
                f"{os.fsdecode(self._path)} cannot be watched: {_text(error)}",
                hint="try: sysctl fs.inotify.max_user_watches=1048576"
                " fs.inotify.max_user_instances=1024",
            ) from error
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        if self._inotify is not None:
            self._inotify.stop()
            self._inotify.join()

    async def wait_changed(self) -> None:
        """Wait until something may have changed since the last call returned."""
        await self._changed.wait()
        self._changed = trio.Event()
        self._is_poked.clear()

    def _poke(self) -> None:
        """Set the bit, from whichever thread; a set bit costs the loop nothing."""
        self._events += 1
        if self._is_poked.is_set():
            return
        self._is_poked.set()
        try:
            self._token.run_sync_soon(self._set)
        except trio.RunFinishedError:
            return

    def _set(self) -> None:
        self._changed.set()


class _Handler(FileSystemEventHandler):
    """Reacts to what changes a folder, not to what merely reads it."""

    def __init__(self, poke: Callable[[], None]) -> None:
        self._poke = poke

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in ("opened", "closed_no_write"):
            self._poke()


def _emitter(poke: Callable[[], None]) -> type[InotifyEmitter]:
    """Return an emitter that also tells of overflows and unmounts."""

    class Group(InotifyWatchGroup):
        def on_queue_overflow(self) -> None:
            super().on_queue_overflow()
            poke()

        def on_event(self, event: InotifyEvent) -> None:
            super().on_event(event)
            if event.mask & InotifyConstants.IN_UNMOUNT:
                poke()

    class Emitter(InotifyEmitter):
        def on_thread_start(self) -> None:
            self._inotify = Group(
                self._inotify_fd,
                os.fsencode(self.watch.path),
                is_recursive=self.watch.is_recursive,
                event_mask=self.get_event_mask_from_filter(),
                follow_symlink=False,
            )

    return Emitter


def _unescape(path: bytes) -> bytes:
    r"""Undo the octal escapes of mountinfo (``\040`` is a space)."""
    head, *rest = path.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def _is_within(inner: bytes, outer: bytes) -> bool:
    return inner == outer or inner.startswith(outer.rstrip(b"/") + b"/")


def _text(error: OSError) -> str:
    return error.strerror or str(error)
