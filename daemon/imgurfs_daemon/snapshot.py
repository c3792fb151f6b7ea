"""What a walk of a watched folder yields, and which of it has held still.

Pure values and rules: the walk itself is in ``scanner``. Paths are bytes relative to
the folder, ``b""`` being the folder itself; nothing here touches a disk or a clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from imgurfs import limits

#: Names under which programs keep unfinished files: hidden (also rsync's and GNOME's),
#: editors' backups, downloads in progress.
_TEMPORARY = re.compile(
    rb"^\.|~$|^~\$|\.(part|partial|tmp|temp|crdownload|download|swp|filepart)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class FileStat:
    """A regular file as the walk saw it. ``mtime_ns`` is since the epoch."""

    path: bytes
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int

    @property
    def identity(self) -> tuple[int, int, int]:
        """What must hold still for the content to be believed unchanged."""
        return (self.size_bytes, self.mtime_ns, self.inode)

    @property
    def directory(self) -> bytes:
        """The directory the file is in, relative to the folder."""
        return parent_of(self.path)


@dataclass(frozen=True, slots=True)
class DirectoryStat:
    """Which directory it is: the same one under another name has the same numbers."""

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class RootIdentity:
    """Which directory the folder is: the same path on another disk is another one."""

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something the walk could not read."""

    path: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one walk saw.

    ``root`` is None when the folder is not there. ``directories`` are those that were
    read completely. ``others`` are names that exist but are never uploaded (links,
    temporary and excluded names, devices): present, so nothing is derived from their
    absence in ``files``. ``problems`` make the snapshot incomplete.

    ``scope`` None: the whole folder was walked. Otherwise exactly these directories
    were read, not what is below them, and absence says something about files directly
    in them only. A directory in the scope that is gone is not in ``directories`` and
    no problem; it counts as evidence when its parent, or the nearest ancestor that is
    left, was read as well. ``below`` are then the directories that exist directly in
    those that were read.
    """

    root: RootIdentity | None
    files: Mapping[bytes, FileStat] = field(default_factory=dict)
    directories: Mapping[bytes, DirectoryStat] = field(default_factory=dict)
    others: frozenset[bytes] = frozenset()
    problems: tuple[Problem, ...] = ()
    scope: frozenset[bytes] | None = None
    below: frozenset[bytes] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether absence in what was walked means absence on the disk."""
        return self.root is not None and not self.problems


def parent_of(path: bytes) -> bytes:
    """Return the directory part of a relative path, b"" for the folder itself."""
    return path.rpartition(b"/")[0]


def is_temporary_name(name: bytes) -> bool:
    """Whether a file or directory of this name is somebody's unfinished work."""
    return _TEMPORARY.search(name) is not None


@dataclass(slots=True)
class _Watched:
    identity: tuple[int, int, int]
    since_s: float
    is_closed: bool
    due_s: float = 0.0


class Settling:
    """Remembers since when each file that is not settled yet has held still.

    A file is settled when its size, mtime and inode did not change for ``settle_s``
    between two looks, or when it was last written longer ago than that. While somebody
    tells which files were closed (:meth:`note_closed`), a file that was not is given
    several times as long. Times ending in ``monotonic_s`` are of one monotonic clock.
    """

    def __init__(self, *, settle_s: float) -> None:
        self._settle_s = settle_s
        self._watched: dict[bytes, _Watched] = {}
        self._closed: set[bytes] | None = None
        self._held: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"<Settling {len(self._watched)} files, {self._settle_s} s>"

    @property
    def directories(self) -> frozenset[bytes]:
        """The directories with files that are not settled."""
        return frozenset(parent_of(path) for path in self._watched)

    def note_closed(self, paths: Iterable[bytes]) -> None:
        """Take note of files that a program closed after writing, or moved into place.

        From the first call on, all others are taken for open.
        """
        if self._closed is None or len(self._closed) > limits.WATCH_CLOSED_MAX:
            self._closed = set()
        self._closed.update(paths)

    def hold(self, path: bytes, *, until_monotonic_s: float) -> None:
        """Let a file not be settled before that: it was sent a moment ago."""
        self._held[path] = until_monotonic_s

    def settled(
        self,
        files: Iterable[FileStat],
        *,
        now: float,
        monotonic_s: float,
        scope: frozenset[bytes] | None = None,
    ) -> tuple[frozenset[bytes], float | None]:
        """Return the settled paths, and in how many seconds the next one may be.

        ``now`` is wall time, for comparing with mtime; a time stamp in the future says
        nothing, so such a file is observed. What is in no directory of the scope is
        remembered as it was.
        """
        self._held = {p: s for p, s in self._held.items() if s > monotonic_s}
        remembered: dict[bytes, _Watched] = {}
        if scope is not None:
            remembered = {
                path: known
                for path, known in self._watched.items()
                if parent_of(path) not in scope
            }
        ready: set[bytes] = set()
        for file in files:
            known = self._observe(file, monotonic_s)
            known.due_s = max(
                min(
                    known.since_s,
                    _written_s(file, now=now, monotonic_s=monotonic_s),
                )
                + self._needed_s(known),
                self._held.get(file.path, monotonic_s),
            )
            if known.due_s <= monotonic_s:
                ready.add(file.path)
            else:
                remembered[file.path] = known
        self._watched = remembered
        due_s = min((known.due_s for known in remembered.values()), default=None)
        wait_s = None if due_s is None else max(due_s - monotonic_s, 0.0)
        return frozenset(ready), wait_s

    def _observe(self, file: FileStat, monotonic_s: float) -> _Watched:
        """Return what is known of a file, with what was heard of it since."""
        is_closed = self._closed is not None and file.path in self._closed
        if is_closed and self._closed is not None:
            self._closed.discard(file.path)
        known = self._watched.get(file.path)
        if known is None or known.identity != file.identity:
            return _Watched(file.identity, monotonic_s, is_closed)
        known.is_closed = known.is_closed or is_closed
        return known

    def _needed_s(self, known: _Watched) -> float:
        if self._closed is None or known.is_closed:
            return self._settle_s
        return self._settle_s * limits.SETTLE_OPEN_FACTOR


def _written_s(file: FileStat, *, now: float, monotonic_s: float) -> float:
    """Return when the file was last written, on the monotonic clock."""
    age_s = now - file.mtime_ns / 1e9
    return monotonic_s - age_s if age_s >= 0 else monotonic_s
