"""One look at a watched folder: read it, let it settle, find out, plan. Writes nothing.

:class:`Looker` is what the daemon, ``imgurfs sync`` and ``imgurfs plan`` share. A file
is read only when that can spare an upload: its size is that of another file, or the
account holds pictures that no file is known to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.executor import Executor, ThreadLane
from imgurfs.jobs import disk
from imgurfs.model import AlbumId, ImageId
from imgurfs.store import entries, membership, synced, synced_reads
from imgurfs.store.database import Connection, Database
from imgurfs.store.membership import Place
from imgurfs.store.synced import SkippedFile
from imgurfs_daemon import planner, reading
from imgurfs_daemon import remote as remotes
from imgurfs_daemon.base import Base
from imgurfs_daemon.planner import Action, Plan, PlanCost, Policy, Verdicts
from imgurfs_daemon.snapshot import FileStat, Settling, Snapshot, parent_of

__all__ = ["KnowsAlbums", "Look", "Looker", "PlanCost", "Scan"]

#: Directories are added to a scope this often before the whole folder is read.
_SCOPES_MAX = 4
#: Files that are inspected, and bytes that are read, in one go on a thread.
_INSPECT_FILES = 200
_READ_BYTES = 64 * limits.MIB

#: Reads the folder, or these directories of it. Blocks.
Scan = Callable[[frozenset[bytes] | None], Snapshot]


class KnowsAlbums(Protocol):
    """Says whether the album list in the store can be believed."""

    @property
    def is_known(self) -> bool:
        """Whether it was read in this session and is fresh."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the folder says, and when to look again.

    ``snapshot`` holds only the files that are not as they were, and those that explain
    them. ``unreadable`` are looked at again every time. ``settles_in_s`` is None when
    no file has still to settle. ``digests`` gives the content of files that were read.
    """

    snapshot: Snapshot
    actions: tuple[Action, ...] = ()
    unreadable: tuple[SkippedFile, ...] = ()
    settles_in_s: float | None = None
    digests: Mapping[bytes, bytes] = field(default_factory=dict)
    cost: PlanCost = field(default_factory=PlanCost)


@dataclass(slots=True)
class _Inspected:
    """What reading files has told. ``later`` are the ones that changed meanwhile."""

    refused: dict[bytes, str] = field(default_factory=dict)
    unreadable: list[SkippedFile] = field(default_factory=list)
    digests: dict[bytes, bytes] = field(default_factory=dict)
    later: set[bytes] = field(default_factory=set)


class Looker:
    """Looks at one folder. Remembers what cannot be decided yet, and nothing else.

    That is since when files hold still (``settling``), and the directories of files
    that are gone but may be one of those: they are part of every look until they are
    decided about.
    """

    def __init__(
        self,
        *,
        path: bytes,
        policy: Policy,
        db: Database,
        albums: KnowsAlbums,
        clock: Clock,
        executor: Executor,
        scan: Scan,
        settle_s: float = limits.SETTLE_S,
    ) -> None:
        self._path = path
        self._policy = policy
        self._db = db
        self._albums = albums
        self._clock = clock
        self._executor = executor
        self._scan = scan
        self.settling = Settling(settle_s=settle_s)
        self._postponed: frozenset[bytes] = frozenset()
        self._looks = 0
        self._files_read = 0

    def __repr__(self) -> str:
        path = self._path.decode("utf-8", "backslashreplace")
        return f"<Looker {path} looks={self._looks}>"

    def statistics(self) -> dict[str, int]:
        """Return how often the folder was read, and how many files as a whole."""
        return {"looks": self._looks, "files_read": self._files_read}

    @property
    def waiting(self) -> frozenset[bytes]:
        """The directories to look at when files have settled."""
        return self.settling.directories | self._postponed

    async def look(self, scope: frozenset[bytes] | None = None) -> Look:
        """Read the folder, or these directories, and plan; change nothing.

        What is in no directory of the scope is neither read nor decided about, unless
        a file in one of them was there, or that was postponed by the last look.
        """
        self._looks += 1
        if scope is not None:
            scope |= self._postponed
        for _ in range(_SCOPES_MAX):
            found = await self._look(scope)
            if not isinstance(found, frozenset):
                return found
            scope = found
        found = await self._look(None)
        assert isinstance(found, Look), "a whole folder has no more to read"
        return found

    async def _look(self, scope: frozenset[bytes] | None) -> Look | frozenset[bytes]:
        """Return a look, or the larger scope that one needs."""
        reader = self._db.reader
        snapshot = await self._executor.run(ThreadLane.DISK, self._scan, scope)
        folder = synced.folder_at(reader, self._path)
        base = await reading.read(reader, folder, snapshot, self._policy)
        if larger := _larger_scope(base):
            return larger
        known = base.synced
        open_files = [f for f in base.files.values() if planner.needs_look(f, known)]
        settled, settles_in_s = self.settling.settled(
            open_files,
            now=self._clock.now(),
            monotonic_s=self._clock.monotonic(),
            scope=snapshot.scope,
        )
        # What only has another name was fit to be sent when it was.
        # Numbers are given again: among files that look alike only the content tells.
        stamps = Counter(_stamp(known.stat) for known in base.rows.values())
        identities = {
            _identity(known.stat)
            for known in base.rows.values()
            if stamps[_stamp(known.stat)] == 1
        }
        ready = sorted(
            (
                file
                for file in open_files
                if file.path in settled and _identity(file) not in identities
            ),
            key=lambda file: file.path,
        )
        inspected = await self._inspect(ready)
        await self._read_suspects(ready, inspected)
        await reading.widen(reader, base, inspected.digests)
        if larger := _larger_scope(base):
            return larger
        # What was found out about these was about another row.
        inspected.later |= base.overtaken & base.files.keys()
        waiting = {file.path for file in open_files} - settled
        look = await self._plan(base, inspected, waiting | inspected.later)
        if inspected.later:
            settles_in_s = min(settles_in_s or limits.SETTLE_S, limits.SETTLE_S)
        return replace(look, settles_in_s=settles_in_s)

    async def _plan(
        self, base: Base, inspected: _Inspected, unsettled: Iterable[bytes]
    ) -> Look:
        reader = self._db.reader
        verdicts = Verdicts(
            unsettled=frozenset(unsettled),
            unreadable=frozenset(skip.path for skip in inspected.unreadable),
            refused=inspected.refused,
            digests=inspected.digests,
        )
        remote = await remotes.read(
            reader, base, inspected.digests, are_albums_known=self._albums.is_known
        )
        # Both are pure; a thread lets others run while thousands of files are planned.
        local, known = base.local, base.synced
        plan = await self._executor.run(
            ThreadLane.DISK,
            planner.plan,
            local,
            known,
            remote,
            self._policy,
            verdicts=verdicts,
        )
        self._postpone(base, plan, inspected)
        members = await _members(reader, plan.actions)
        cost = await self._executor.run(
            ThreadLane.DISK,
            planner.cost_of,
            plan.actions,
            known,
            gone=remote.gone,
            members=members,
        )
        return Look(
            snapshot=local,
            actions=plan.actions,
            unreadable=tuple(inspected.unreadable),
            digests=inspected.digests,
            cost=cost,
        )

    def _postpone(self, base: Base, plan: Plan, inspected: _Inspected) -> None:
        """Remember what the next look has to be at, too."""
        postponed = plan.postponed | {parent_of(path) for path in inspected.later}
        if planner.absence_problem(base.snapshot, base.synced):
            postponed |= self._postponed
        self._postponed = postponed

    async def _inspect(self, files: list[FileStat]) -> _Inspected:
        """Find out which files Imgur would not take."""
        found = _Inspected()
        for start in range(0, len(files), _INSPECT_FILES):
            part = files[start : start + _INSPECT_FILES]
            await self._executor.run(ThreadLane.DISK, _inspect, self._path, part, found)
        return found

    async def _read_suspects(self, files: list[FileStat], found: _Inspected) -> None:
        """Read the files whose content may be an image already."""
        left_out = found.refused.keys() | {skip.path for skip in found.unreadable}
        left_out |= found.later
        files = [file for file in files if file.path not in left_out]
        suspects = await self._suspects(files)
        part: list[FileStat] = []
        size_bytes = 0
        for file in suspects:
            part.append(file)
            size_bytes += file.size_bytes
            if size_bytes >= _READ_BYTES or file is suspects[-1]:
                await self._executor.run(
                    ThreadLane.DISK, _digest, self._path, part, found
                )
                part, size_bytes = [], 0
        self._files_read += len(suspects)

    async def _suspects(self, files: list[FileStat]) -> list[FileStat]:
        reader = self._db.reader
        if not files or await remotes.is_anything_marked(reader):
            return files
        sizes = Counter(file.size_bytes for file in _once(files))
        shared = {size for size, count in sizes.items() if count > 1}
        if not self._policy.dedupe:
            shared = set()
        for part in synced_reads.sliced(sorted(sizes.keys() - shared)):
            shared |= synced_reads.sizes_of_files(reader, part)
            await trio.lowlevel.checkpoint()
        return [file for file in files if file.size_bytes in shared]


def _larger_scope(base: Base) -> frozenset[bytes] | None:
    """Return the scope to read instead, None when nothing is missing."""
    scope = base.snapshot.scope
    if scope is None or base.more_scope <= scope:
        return None
    return scope | base.more_scope


def _once(files: Iterable[FileStat]) -> Iterable[FileStat]:
    """Return one of each file, however many names it has."""
    return {_identity(file): file for file in files}.values()


def _stamp(file: FileStat) -> tuple[int, int]:
    return (file.size_bytes, file.mtime_ns)


def _identity(file: FileStat) -> tuple[int, int, int, int]:
    return (file.device, *file.identity)


def _inspect(root: bytes, files: Iterable[FileStat], found: _Inspected) -> None:
    """Note why files cannot be uploaded, and which could not even be read.

    The latter are shown to the user but looked at again every time: permissions change
    neither size nor time.
    """
    for file in files:
        try:
            reason = disk.inspect(root + b"/" + file.path)
        except FileNotFoundError:
            found.later.add(file.path)
        except OSError as error:
            text = f"it cannot be read: {error.strerror}"
            skip = SkippedFile(file.path, file.size_bytes, -1, text)
            found.unreadable.append(skip)
        else:
            if reason:
                found.refused[file.path] = reason


def _digest(root: bytes, files: Iterable[FileStat], found: _Inspected) -> None:
    """Note the content of files; leave those for later that change meanwhile."""
    for file in files:
        path = root + b"/" + file.path
        examined = disk.examine(path)
        as_planned = (file.device, file.inode, file.size_bytes, file.mtime_ns)
        if isinstance(examined, str):
            if disk.identify(path) == as_planned:
                skip = SkippedFile(file.path, file.size_bytes, -1, examined)
                found.unreadable.append(skip)
            else:
                found.later.add(file.path)
        elif as_planned == (
            examined.device,
            examined.inode,
            examined.size_bytes,
            examined.mtime_ns,
        ):
            found.digests[file.path] = examined.digest
        else:
            found.later.add(file.path)


async def _members(
    c: Connection, actions: Iterable[Action]
) -> frozenset[tuple[AlbumId, ImageId]]:
    """Return in which albums the images of a plan are, or will be, anyway."""
    found: set[tuple[AlbumId, ImageId]] = set()
    images = {
        action.image_id
        for action in actions
        if isinstance(action, planner.Bind)
        or (
            isinstance(action, planner.Move)
            and planner.directory_of(action.slot) != action.from_directory
        )
    }
    for number, image_id in enumerate(images):
        ours = membership.of_image(c, image_id)
        node = entries.node_of_image(c, image_id)
        if node is not None:
            listed = set(entries.albums_of(c, node.inode))
            found |= {(a, image_id) for a in listed - {m.album_id for m in ours}}
        found |= {
            (one.album_id, image_id)
            for one in ours
            if one.state in (Place.ADDING, Place.THERE)
        }
        if number % 50 == 0:
            await trio.lowlevel.checkpoint()
    return frozenset(found)
