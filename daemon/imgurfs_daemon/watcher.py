"""Says which directories of a watched folder are worth reading again.

What it is not: it reads no directory and believes no event. Each event marks its
directory as dirty; what the kernel dropped (queue overflow), an unmount, or too much at
once marks everything. So a lost or misunderstood event costs a scan, never a file.

It follows the scans (:class:`imgurfs_daemon.scanner.Follower`): a directory is watched
before it is read, so that nothing falls in between, and one that is not watched is
read. That is all there is to new, moved and replaced directories, and the next scan
repairs what was missed. What the kernel refuses to watch is remembered, for its user
to poll.

Of watchdog it uses the reader of the kernel's events, not its observer: that one walks
what moved once more, holds moves back, and tells neither of overflows nor unmounts nor
of directories it could not watch.

Concurrency: watchdog's thread calls ``on_…``, a worker thread the two methods of a
follower (one scan at a time), trio the rest. One lock guards all state; nothing that
may wait is done with it held. :meth:`Watcher._poke` wakes trio.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import trio
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from imgurfs import limits
from imgurfs_daemon.snapshot import is_temporary_name

# Watching a directory that is watched already is how a moved one is found out; watchdog
# warns as if that mattered.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
# It also warns of events that were lost, as if nobody did anything about them.
logging.getLogger("watchdog.observers.inotify_c").setLevel(logging.ERROR)

log = logging.getLogger(__name__)

# What changes a folder, not what merely reads it.
_MASK = Mask(
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)
_SELF = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF
_WENT = InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM
_CAME = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_WHOLE = InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
_WRITTEN = InotifyConstants.IN_CREATE | InotifyConstants.IN_MODIFY
#: Refusals that the user can do something about.
_LIMITS = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_NO_WATCH = WatchDescriptor(-1)


@dataclass(frozen=True, slots=True)
class Dirty:
    """What is to be read again: these directories, or everything (None).

    ``closed`` are files that a program finished writing, or moved into place.
    """

    scope: frozenset[bytes] | None
    closed: frozenset[bytes]


class Watcher:
    """Watches a folder for as long as it is entered. Implements ``scanner.Follower``.

    Never raises for what the kernel refuses: see :attr:`unwatched`. Starts with
    everything dirty.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._id = CallbackId(id(self))
        self._paths: dict[WatchDescriptor, bytes] = {}
        self._watches: dict[bytes, WatchDescriptor] = {}
        self._unwatched: dict[bytes, int] = {}
        self._orphans: set[WatchDescriptor] = set()
        self._dirty: set[bytes] = set()
        self._is_all_dirty = True
        self._closed: set[bytes] = set()
        self._events = 0
        self._overflows = 0
        self._inotify: InotifyFD | None = None
        self._changed = trio.Event()
        self._changed.set()
        self._token = trio.lowlevel.current_trio_token()

    def __repr__(self) -> str:
        return (
            f"<Watcher {os.fsdecode(self._path)} {len(self._watches)} watched,"
            f" {len(self._unwatched)} not, events={self._events}>"
        )

    def statistics(self) -> dict[str, int]:
        """Return how much is watched and how much was told of it."""
        return {
            "events": self._events,
            "overflows": self._overflows,
            "watched": len(self._watches),
            "unwatched": len(self._unwatched),
        }

    def __enter__(self) -> Self:
        try:
            self._inotify = InotifyFD()
        except OSError as error:
            if error.errno not in _LIMITS:
                raise
        else:
            self._inotify.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._inotify is not None:
            self._inotify.stop()
            self._inotify.join()

    @property
    def is_dirty(self) -> bool:
        """Whether something is worth reading again."""
        return self._changed.is_set()

    @property
    def is_deaf(self) -> bool:
        """Whether no events arrive: there never were any, or their reader died."""
        return self._inotify is None or self.is_broken

    @property
    def is_broken(self) -> bool:
        """Whether events have ceased to arrive."""
        return self._inotify is not None and not self._inotify.is_alive()

    async def wait_changed(self) -> None:
        """Wait until something is dirty."""
        await self._changed.wait()

    def take(self) -> Dirty:
        """Return what became dirty since the last call; it is clean from now on."""
        with self._lock:
            scope = None if self._is_all_dirty else frozenset(self._dirty)
            dirty = Dirty(scope, frozenset(self._closed))
            self._dirty.clear()
            self._closed.clear()
            self._is_all_dirty = False
            self._changed = trio.Event()
        return dirty

    def mark(self, directories: Iterable[bytes]) -> None:
        """Say that these directories are worth reading again."""
        with self._lock:
            for directory in directories:
                self._mark(directory)
            if self._dirty or self._is_all_dirty:
                self._changed.set()

    def mark_all(self) -> None:
        """Say that everything is worth reading again."""
        with self._lock:
            self._is_all_dirty = True
            self._changed.set()

    def unwatched(self) -> frozenset[bytes]:
        """Return the directories whose events nobody tells us of: poll them."""
        with self._lock:
            return frozenset(self._unwatched)

    def beyond_limits(self) -> int:
        """Return how many of those could be watched if the kernel's limits allowed."""
        with self._lock:
            return sum(reason in _LIMITS for reason in self._unwatched.values())

    def keep_only(self, directories: Iterable[bytes]) -> None:
        """Forget all but these directories. Call it after a full scan, not during one.

        Watches that nothing refers to any more are given back.
        """
        kept = frozenset(directories)
        with self._lock:
            for path in (self._watches.keys() | self._unwatched.keys()) - kept:
                self._forget(path)
            orphans = [(watch, self._id) for watch in self._orphans]
            self._orphans.clear()
        if self._inotify is not None and orphans:
            self._inotify.remove_callbacks(orphans)

    # --- The scan's thread ---------------------------------------------------

    def is_known(self, directory: bytes) -> bool:
        """Whether the directory was read since it has this name."""
        with self._lock:
            return directory in self._watches or directory in self._unwatched

    def before_reading(self, directory: bytes) -> None:
        """Watch a directory, or find out whether its watch is still the right one."""
        # Without the lock: a path on a dead network disk may take for ever. An event
        # that comes before we know its watch tells of what is not read yet.
        watch, reason = self._watch(directory)
        with self._lock:
            if watch is None and reason in _GONE:
                self._forget_below(directory)
                return
            if watch is None:
                self._forget(directory)
                self._unwatched[directory] = reason
                return
            if self._watches.get(directory, watch) != watch:
                self._forget(directory)
            self._orphans.discard(watch)
            self._unwatched.pop(directory, None)
            self._paths[watch] = directory
            self._watches[directory] = watch

    def _watch(self, directory: bytes) -> tuple[WatchDescriptor | None, int]:
        """Return the watch of a directory, or the number of the error."""
        if self._inotify is None:
            return None, errno.EMFILE
        full = self._full(directory)
        try:
            watch = self._inotify.add_callback(full, _MASK, self, self._id)
        except OSError as error:
            return None, error.errno or errno.EIO
        if watch == _NO_WATCH:
            # watchdog takes a refused permission for a watch.
            return None, errno.EACCES
        old_path = self._paths.get(watch)
        if old_path is None or old_path == directory:
            return watch, 0
        if _is_same(self._full(old_path), full):
            # Mounted twice in the folder: the kernel has one watch for both.
            return None, errno.EEXIST
        # It has moved here; the event that says so is still under way.
        with self._lock:
            self._forget_below(old_path)
            self._poke()
        return watch, 0

    # --- watchdog's thread ---------------------------------------------------

    def on_event(self, event: InotifyEvent) -> None:
        """React to one event of one directory."""
        with self._lock:
            self._events += 1
            if event.mask & InotifyConstants.IN_UNMOUNT:
                self._is_all_dirty = True
                self._poke()
                return
            directory = self._paths.get(event.wd)
            if directory is None:
                return
            if event.mask & _SELF:
                # The parent tells of all directories but the folder itself.
                self._is_all_dirty = self._is_all_dirty or not directory
            elif event.mask & InotifyConstants.IN_ISDIR:
                self._on_directory(directory, event)
            elif not is_temporary_name(event.name):
                self._on_file(directory, event)
            if self._dirty or self._is_all_dirty:
                self._poke()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Forget a watch that the kernel has ended: its directory is gone."""
        with self._lock:
            self._orphans.discard(wd)
            directory = self._paths.get(wd)
            if directory is not None:
                self._forget_below(directory)
                self._orphans.discard(wd)
                self._poke()

    def on_queue_overflow(self) -> None:
        """React to events that the kernel had no room for."""
        with self._lock:
            self._overflows += 1
            self._is_all_dirty = True
            self._poke()
        path = os.fsdecode(self._path)
        log.info("%s: more happened than was told; everything is read again", path)

    def _full(self, directory: bytes) -> bytes:
        return self._path + b"/" + directory if directory else self._path

    # --- With the lock held --------------------------------------------------

    def _on_directory(self, directory: bytes, event: InotifyEvent) -> None:
        inner = _join(directory, event.name)
        self._mark(directory)
        if event.mask & (_WENT | _CAME):
            # Whatever was known by this name is somewhere else now.
            self._forget_below(inner)
        elif inner in self._watches or inner in self._unwatched:
            # Permissions, for one: told by the directory itself and by its parent.
            self._mark(inner)

    def _on_file(self, directory: bytes, event: InotifyEvent) -> None:
        self._mark(directory)
        path = _join(directory, event.name)
        if event.mask & _WHOLE:
            if len(self._closed) < limits.WATCH_CLOSED_MAX:
                self._closed.add(path)
        elif event.mask & _WRITTEN:
            self._closed.discard(path)

    def _mark(self, directory: bytes) -> None:
        self._dirty.add(directory)
        if len(self._dirty) > limits.WATCH_DIRTY_MAX:
            self._dirty.clear()
            self._is_all_dirty = True

    def _forget_below(self, directory: bytes) -> None:
        """Forget a directory and all below it; they are to be read once more."""
        if directory not in self._watches and directory not in self._unwatched:
            return
        prefix = directory + b"/" if directory else b""
        for path in [*self._watches, *self._unwatched]:
            if path == directory or path.startswith(prefix):
                self._forget(path)
                self._mark(path)

    def _forget(self, directory: bytes) -> None:
        self._unwatched.pop(directory, None)
        watch = self._watches.pop(directory, None)
        if watch is not None:
            del self._paths[watch]
            # Not given back yet: the scan may find the directory under its new name
            # at this moment, and would get the same watch again.
            self._orphans.add(watch)

    def _poke(self) -> None:
        """Wake trio, from watchdog's thread; awake already costs nothing."""
        if self._changed.is_set():
            return
        try:
            self._token.run_sync_soon(self._changed.set, idempotent=True)
        except trio.RunFinishedError:
            return


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory and name else directory or name


def _is_same(one: bytes, other: bytes) -> bool:
    """Whether two paths lead to the same directory."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False
