"""What a walk of a watched folder yields, and which of it has held still.

Pure values and rules: the walk itself is in ``watcher``. Paths are bytes relative to
the folder, ``b""`` being the folder itself; nothing here touches a disk or a clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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

    ``root`` is None when the folder is not there. ``directories`` maps each directory
    that was read completely to its device. ``others`` are names that exist but are
    never uploaded (links, temporary names, devices): present, so nothing is derived
    from their absence in ``files``. ``problems`` make the snapshot incomplete.
    """

    root: RootIdentity | None
    files: Mapping[bytes, FileStat] = field(default_factory=dict)
    directories: Mapping[bytes, int] = field(default_factory=dict)
    others: frozenset[bytes] = frozenset()
    problems: tuple[Problem, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether absence in this snapshot means absence on the disk."""
        return self.root is not None and not self.problems


@dataclass(frozen=True, slots=True)
class Difference:
    """How one snapshot's files differ from an earlier one's, as sorted paths."""

    added: tuple[bytes, ...]
    changed: tuple[bytes, ...]
    removed: tuple[bytes, ...]


def difference(old: Snapshot, new: Snapshot) -> Difference:
    """Return what changed from ``old`` to ``new``."""
    both = old.files.keys() & new.files.keys()
    return Difference(
        added=tuple(sorted(new.files.keys() - old.files.keys())),
        changed=tuple(
            sorted(p for p in both if old.files[p].identity != new.files[p].identity)
        ),
        removed=tuple(sorted(old.files.keys() - new.files.keys())),
    )


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


class Settling:
    """Remembers since when each file has held still.

    A file is settled when its size, mtime and inode did not change for ``settle_s``
    between two looks, or when it was last written longer ago than that. Only files
    that are asked about are remembered.
    """

    def __init__(self, *, settle_s: float) -> None:
        self._settle_s = settle_s
        self._watched: dict[bytes, _Watched] = {}

    def __repr__(self) -> str:
        return f"<Settling {len(self._watched)} files, {self._settle_s} s>"

    def settled(
        self, files: Iterable[FileStat], *, now: float, monotonic_s: float
    ) -> tuple[frozenset[bytes], float | None]:
        """Return the settled paths, and in how many seconds the next one may be.

        ``now`` is wall time, for comparing with mtime; a time stamp in the future says
        nothing, so such a file is observed.
        """
        ready: set[bytes] = set()
        remembered: dict[bytes, _Watched] = {}
        wait_s: float | None = None
        for file in files:
            known = self._watched.get(file.path)
            if known is None or known.identity != file.identity:
                known = _Watched(file.identity, monotonic_s)
            remembered[file.path] = known
            left_s = min(
                self._settle_s - (monotonic_s - known.since_s),
                _left_by_mtime(file, now=now, settle_s=self._settle_s),
            )
            if left_s <= 0:
                ready.add(file.path)
            else:
                wait_s = left_s if wait_s is None else min(wait_s, left_s)
        self._watched = remembered
        return frozenset(ready), wait_s


def _left_by_mtime(file: FileStat, *, now: float, settle_s: float) -> float:
    age_s = now - file.mtime_ns / 1e9
    return settle_s - age_s if age_s >= 0 else settle_s
