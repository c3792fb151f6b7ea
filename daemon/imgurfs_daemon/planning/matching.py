"""Which image each new or changed file is, if any: moves, copies, hard links. Pure.

A file is looked for, in this order, as what its own path was (only its stat changed),
as the same file under another name (device, inode, size and mtime), as content that
has left its path, as content that is an image anyway, as an image that carries the
content's marker, and as a copy of another new file. What is left has to be sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from imgurfs.marker import content_part
from imgurfs.model import ImageId
from imgurfs_daemon.planning import evidence
from imgurfs_daemon.planning.trees import (
    KnownFile,
    Policy,
    Remote,
    Synced,
    Verdicts,
    needs_look,
)
from imgurfs_daemon.snapshot import FileStat, Snapshot, parent_of

Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """An image that a file turned out to be, and why."""

    image_id: ImageId
    digest: bytes
    reason: str


@dataclass(slots=True)
class Matches:
    """What became of every file that is not as it was, and of every row that is not.

    Keys are paths of files. ``moves`` and ``edited`` give the path of the row: the
    file is its image under another name, or the same file with other content.
    ``sends`` gives the file with the same content that is sent instead, None for none.
    ``refused`` files are not sent. ``gone`` are the rows whose files are gone and that
    became nothing else, ``withheld`` those of which that is not certain yet.
    ``postponed`` are the directories to read together when it may be.
    """

    moves: dict[bytes, bytes] = field(default_factory=dict)
    reasons: dict[bytes, str] = field(default_factory=dict)
    touches: set[bytes] = field(default_factory=set)
    binds: dict[bytes, Found] = field(default_factory=dict)
    sends: dict[bytes, bytes | None] = field(default_factory=dict)
    edited: dict[bytes, bytes] = field(default_factory=dict)
    refused: list[FileStat] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    withheld: set[bytes] = field(default_factory=set)
    postponed: frozenset[bytes] = frozenset()

    def is_settled(self, path: bytes) -> bool:
        """Whether it is known what a file is."""
        return path in self.moves or path in self.touches or path in self.binds


def match(
    local: Snapshot,
    synced: Synced,
    remote: Remote,
    policy: Policy,
    verdicts: Verdicts,
) -> Matches:
    """Return what became of every file and row."""
    return _Matching(local, synced, remote, policy, verdicts).run()


class _Matching:
    def __init__(
        self,
        local: Snapshot,
        synced: Synced,
        remote: Remote,
        policy: Policy,
        verdicts: Verdicts,
    ) -> None:
        self._local = local
        self._rows = synced.files
        self._synced = synced
        self._remote = remote
        self._policy = policy
        self._digests = verdicts.digests
        self._found = Matches()
        looked_at = [
            local.files[path]
            for path in sorted(local.files)
            if needs_look(local.files[path], synced)
        ]
        left_alone = _left_alone(looked_at, synced, verdicts)
        self._left_alone = left_alone
        #: Files that wait for others.
        self._waiting = left_alone - verdicts.unsettled - verdicts.unreadable
        doubtful = [file for file in looked_at if file.path in left_alone]
        self._doubtful_inodes = {_inode(file) for file in doubtful}
        self._doubtful_sizes = {file.size_bytes for file in doubtful}
        looked_at = [file for file in looked_at if file.path not in left_alone]
        self._files = [f for f in looked_at if f.path not in verdicts.refused]
        self._refused = [f for f in looked_at if f.path in verdicts.refused]
        self._gone = self._rows_gone()
        #: Rows whose files are not where they were, as far as nothing took them yet.
        self._free = dict.fromkeys(
            [*self._gone, *(f.path for f in looked_at if f.path in self._rows)]
        )

    def run(self) -> Matches:
        found = self._found
        self._touch()
        self._move(
            [*self._files, *self._refused],
            _identity,
            lambda row: _identity(row.stat),
            "moved or renamed",
        )
        self._link()
        self._move(
            self._files,
            self._digest_of,
            lambda row: row.digest or None,
            "its content was at another place before",
        )
        if self._policy.dedupe:
            self._copy()
        self._adopt()
        self._link()
        self._send()
        self._edit()
        found.refused = [f for f in self._refused if not found.is_settled(f.path)]
        taken = {*found.moves.values(), *found.edited.values()}
        left = [path for path in self._gone if path not in taken]
        found.withheld = {path for path in left if self._may_be_doubtful(path)}
        found.gone = [path for path in left if path not in found.withheld]
        if found.withheld or self._waiting:
            # Not without the files that they wait for: one may be the missing one.
            open_paths = found.withheld | self._left_alone
            found.postponed = frozenset(parent_of(path) for path in open_paths)
        return found

    # --- Rows that are where they were not, files that are what they were not --------

    def _rows_gone(self) -> list[bytes]:
        if evidence.absence_problem(self._local, self._synced):
            return []
        return [
            path
            for path in sorted(self._rows.keys() - self._local.files.keys())
            if path not in self._synced.pending_uploads
            and evidence.is_gone(self._rows[path], self._local)
        ]

    def _may_be_doubtful(self, path: bytes) -> bool:
        """Whether a file that cannot be judged now could be the one that is gone."""
        stat = self._rows[path].stat
        return (
            _inode(stat) in self._doubtful_inodes
            or stat.size_bytes in self._doubtful_sizes
        )

    def _open(self, files: Iterable[FileStat]) -> Iterator[FileStat]:
        return (file for file in files if not self._found.is_settled(file.path))

    def _may_be(self, file: FileStat, digest: bytes) -> bool:
        """Whether nothing that was read of a file says that it is something else.

        File systems give the numbers of deleted files to new ones.
        """
        read = self._digest_of(file)
        return read is None or not digest or read == digest

    def _digest_of(self, file: FileStat) -> bytes | None:
        return self._digests.get(file.path) or None

    # --- The steps --------------------------------------------------------------------

    def _touch(self) -> None:
        for file in self._files:
            row = self._rows.get(file.path)
            digest = self._digest_of(file)
            if row is not None and digest is not None and row.digest == digest:
                self._keep(file.path)

    def _keep(self, path: bytes) -> None:
        """Let a file stay the image it was, although its row may be another's now."""
        if path in self._free:
            self._found.touches.add(path)
            del self._free[path]
            return
        row = self._rows[path]
        reason = "another file of the same image has moved"
        self._found.binds[path] = Found(row.image_id, row.digest, reason)

    def _move(
        self,
        files: list[FileStat],
        key_of_file: Callable[[FileStat], object],
        key_of_row: Callable[[KnownFile], object],
        reason: str,
    ) -> None:
        """Pair open files with free rows of the same key, the nearest ones first."""
        rows: dict[object, list[bytes]] = defaultdict(list)
        for path in self._free:
            rows[key_of_row(self._rows[path])].append(path)
        rows.pop(None, None)
        for file in self._open(files):
            own = self._rows.get(file.path)
            candidates = [
                path
                for path in rows.get(key_of_file(file), ())
                if path in self._free and self._may_be(file, self._rows[path].digest)
            ]
            if not candidates:
                continue
            if own is not None and any(
                self._rows[path].image_id == own.image_id for path in candidates
            ):
                self._keep(file.path)
                continue
            best = min(candidates, key=lambda path: self._distance(path, file.path))
            del self._free[best]
            self._found.moves[file.path] = best
            self._found.reasons[file.path] = reason

    def _distance(self, path: bytes, new_path: bytes) -> tuple[bool, bool, bool, bytes]:
        """Return how little a row's path resembles a file's, for choosing one."""
        return (
            path in self._local.files,
            parent_of(path) != parent_of(new_path),
            path.rpartition(b"/")[2] != new_path.rpartition(b"/")[2],
            path,
        )

    def _link(self) -> None:
        """Bind files that are another name of a file whose image is known."""
        images: dict[Identity, tuple[ImageId, bytes]] = {}
        for path in sorted(self._rows):
            if path not in self._free or path not in self._local.files:
                row = self._rows[path]
                images.setdefault(_identity(row.stat), (row.image_id, row.digest))
        for path, found in sorted(self._found.binds.items()):
            identity = _identity(self._local.files[path])
            images.setdefault(identity, (found.image_id, found.digest))
        for path, old in sorted(self._found.moves.items()):
            row, identity = self._rows[old], _identity(self._local.files[path])
            images.setdefault(identity, (row.image_id, row.digest))
        for file in list(self._open(self._files)):
            image = images.get(_identity(file))
            if image is not None and self._may_be(file, image[1]):
                self._bind(file.path, *image, "another name of a file that is an image")

    def _copy(self) -> None:
        """Bind files whose content is an image of the merge base."""
        images: dict[bytes, ImageId] = dict(self._synced.contents_elsewhere)
        # Rows that stay where they are come last and win.
        for path in sorted(self._rows, key=lambda p: (p not in self._free, p)):
            row = self._rows[path]
            if row.digest and row.image_id not in self._remote.gone:
                images[row.digest] = row.image_id
        for file in list(self._open(self._files)):
            digest = self._digest_of(file)
            if digest is not None and digest in images:
                reason = "the same content is an image already"
                self._bind(file.path, images[digest], digest, reason)

    def _adopt(self) -> None:
        """Bind files whose content an image of the account is marked with."""
        left = {content: list(ids) for content, ids in self._remote.marked.items()}
        for file in list(self._open(self._files)):
            digest = self._digest_of(file)
            images = left.get(content_part(digest)) if digest is not None else None
            if digest is not None and images:
                image_id = images[0] if self._policy.dedupe else images.pop(0)
                reason = "the account has an image with this content's marker"
                self._bind(file.path, image_id, digest, reason)

    def _bind(self, path: bytes, image_id: ImageId, digest: bytes, reason: str) -> None:
        own = self._rows.get(path)
        if own is not None and own.image_id == image_id:
            self._keep(path)
        else:
            self._found.binds[path] = Found(image_id, digest, reason)

    def _send(self) -> None:
        """Choose what is sent, and for which files that does as well."""
        by_inode: dict[int, bytes] = {}
        by_digest: dict[bytes, bytes] = {}
        for file in self._open(self._files):
            digest = self._digest_of(file) if self._policy.dedupe else None
            twin = by_inode.get(file.inode)
            if twin is not None and _identity(self._local.files[twin]) != _identity(
                file
            ):
                twin = None
            if twin is None and digest is not None:
                twin = by_digest.get(digest)
            self._found.sends[file.path] = twin
            first = file.path if twin is None else twin
            by_inode.setdefault(file.inode, first)
            if digest is not None:
                by_digest.setdefault(digest, first)

    def _edit(self) -> None:
        """Recognise files that were moved and changed, by their inode."""
        rows = {
            _inode(self._rows[path].stat): path
            for path in self._free
            if path not in self._local.files
        }
        for path, twin in self._found.sends.items():
            if twin is None and path not in self._rows:
                old = rows.pop(_inode(self._local.files[path]), None)
                if old is not None:
                    self._found.edited[path] = old


def _left_alone(
    files: list[FileStat], synced: Synced, verdicts: Verdicts
) -> set[bytes]:
    """Return the files about which nothing can be said now.

    Those that may still be written or cannot be read; and those at the place of a file
    that is on its way to where it has still to settle.
    """
    left_alone = set(verdicts.unsettled | verdicts.unreadable)
    moving = {_inode(file) for file in files if file.path in verdicts.unsettled}
    is_growing = True
    while is_growing:
        is_growing = False
        for file in files:
            row = synced.files.get(file.path)
            if row is None or file.path in left_alone:
                continue
            if _inode(row.stat) in moving and _inode(row.stat) != _inode(file):
                left_alone.add(file.path)
                moving.add(_inode(file))
                is_growing = True
    return left_alone


def _identity(file: FileStat) -> Identity:
    return (file.device, *file.identity)


def _inode(file: FileStat) -> tuple[int, int]:
    return (file.device, file.inode)
