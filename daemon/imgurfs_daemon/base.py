"""What a plan for one snapshot needs of the merge base; the rest is left out.

Most of a large folder is as it was; neither the planner nor anybody else has to see it.
``reading`` fills a :class:`Base` from state.db.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imgurfs.model import ImageId
from imgurfs.store.synced import Folder
from imgurfs.store.synced_reads import FileRow
from imgurfs_daemon.planner import BoundAlbum, KnownFile, Policy, Synced
from imgurfs_daemon.snapshot import FileStat, RootIdentity, Snapshot, parent_of


@dataclass(slots=True)
class Base:
    """What differs between a snapshot and the merge base, and what explains it.

    ``more_scope`` are directories that have to be read as well before anything can be
    said: a file here was there, or they are gone. ``overtaken`` are the paths whose
    rows have changed since they were read, by jobs that ended meanwhile. ``moving`` are
    paths whose files are now where an upload is waiting: that will say what they are.
    """

    folder: Folder | None
    snapshot: Snapshot
    policy: Policy
    files: dict[bytes, FileStat] = field(default_factory=dict)
    rows: dict[bytes, KnownFile] = field(default_factory=dict)
    directories: dict[bytes, BoundAlbum] = field(default_factory=dict)
    skipped: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    pending_uploads: set[bytes] = field(default_factory=set)
    pending_deletes: set[ImageId] = field(default_factory=set)
    pending_albums: set[bytes] = field(default_factory=set)
    elsewhere: set[ImageId] = field(default_factory=set)
    contents_elsewhere: dict[bytes, ImageId] = field(default_factory=dict)
    gone_images: set[ImageId] = field(default_factory=set)
    more_scope: set[bytes] = field(default_factory=set)
    overtaken: set[bytes] = field(default_factory=set)
    moving: set[bytes] = field(default_factory=set)

    @property
    def local(self) -> Snapshot:
        """The snapshot without the files that are as they were."""
        whole = self.snapshot
        return Snapshot(
            root=whole.root,
            files=self.files,
            directories=whole.directories,
            others=whole.others,
            problems=whole.problems,
            scope=whole.scope,
        )

    @property
    def synced(self) -> Synced:
        """The merge base as the planner takes it."""
        folder = self.folder
        return Synced(
            root=None if folder is None else RootIdentity(folder.device, folder.inode),
            files=self.rows,
            directories=self.directories,
            skipped=self.skipped,
            pending_uploads=frozenset(self.pending_uploads),
            pending_deletes=frozenset(self.pending_deletes),
            pending_albums=frozenset(self.pending_albums),
            elsewhere=frozenset(self.elsewhere),
            contents_elsewhere=self.contents_elsewhere,
        )

    def add(self, row: FileRow) -> None:
        """Let the planner see a row, with its file if there is one."""
        is_ours = self.folder is not None and row.folder == self.folder.id
        if not is_ours or row.path in self.moving:
            self.elsewhere.add(row.image_id)
            return
        if row.path in self.rows:
            return
        self.rows[row.path] = known_file(row)
        if (file := self.snapshot.files.get(row.path)) is not None:
            self.files[row.path] = file

    def is_outside(self, path: bytes) -> bool:
        """Whether the directory of a path was not read."""
        scope = self.snapshot.scope
        return scope is not None and parent_of(path) not in scope


def known_file(row: FileRow) -> KnownFile:
    """Return a row as the planner takes it."""
    stat = FileStat(row.path, row.device, row.inode, row.size_bytes, row.mtime_ns)
    return KnownFile(stat, row.image_id, row.digest, row.directory)
