"""Reads from state.db what a plan for one snapshot needs, and leaves out the rest.

:func:`read` compares snapshot and merge base in slices, with a checkpoint after each,
and keeps the files and rows that differ, and those that say what became of them: rows
of the same inode, of the same content, of the same image. :func:`widen` adds what is
known by then to have mattered. Reads only, on the trio thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import trio

from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import CreateAlbumPayload
from imgurfs.model import ImageId
from imgurfs.store import meta, outbox, synced, synced_reads
from imgurfs.store.database import Connection
from imgurfs.store.outbox import JobState
from imgurfs.store.synced import Folder, FolderId
from imgurfs.store.synced_reads import FileRow, sliced
from imgurfs_daemon.base import Base, known_file
from imgurfs_daemon.planner import (
    BoundAlbum,
    KnownFile,
    Policy,
    absence_problem,
    directory_of,
    slot_of,
)
from imgurfs_daemon.planning import evidence
from imgurfs_daemon.snapshot import FileStat, Snapshot, parent_of


async def read(
    c: Connection, folder: Folder | None, snapshot: Snapshot, policy: Policy
) -> Base:
    """Return what the planner has to know about a snapshot, by stat alone."""
    base = Base(folder, snapshot, policy)
    if snapshot.root is None:
        return base
    if folder is None:
        base.files.update(snapshot.files)
        return base
    reading = _Reading(c, base, folder.id)
    await reading.read_directories()
    if snapshot.scope is None:
        await reading.read_everything()
    else:
        await reading.read_scope(snapshot.scope)
    await reading.read_links()
    await reading.read_skips()
    await reading.leave_moving()
    await settle(c, base)
    base.overtaken.clear()
    return base


async def widen(c: Connection, base: Base, digests: Mapping[bytes, bytes]) -> None:
    """Add the rows, of any folder, that have the content of these files (by path)."""
    for digest in sorted(set(digests.values())):
        rows = synced_reads.files_with_digest(c, digest)
        there = _known_images(c, [row.image_id for row in rows])
        for row in rows:
            is_ours = base.folder is not None and row.folder == base.folder.id
            if not is_ours and row.image_id in there:
                base.contents_elsewhere.setdefault(digest, row.image_id)
            if is_ours and base.is_outside(row.path):
                base.more_scope.add(parent_of(row.path))
            base.add(row)
        await trio.lowlevel.checkpoint()
    await settle(c, base)


async def settle(c: Connection, base: Base) -> None:
    """Add what concerns the rows that are there, as of now: other files, deletes."""
    images = {known.image_id for known in base.rows.values()}
    await _add_images(c, base, images | set(base.contents_elsewhere.values()))
    if base.folder is not None:
        # In this order: an upload that ends in between has left another row.
        base.pending_uploads |= await _pending(c, base.folder.id, list(base.rows))
        await _add_images(c, base, await _catch_up(c, base, base.folder.id))


async def _add_images(c: Connection, base: Base, images: set[ImageId]) -> None:
    """Add the other files of these images, and whether the images are to go."""
    for part in sliced(sorted(images)):
        for row in synced_reads.files_of_images(c, part):
            base.add(row)
        await trio.lowlevel.checkpoint()
        base.pending_deletes |= _about_to_go(c, part)
        base.gone_images.update(set(part) - _known_images(c, part))
        await trio.lowlevel.checkpoint()


async def _catch_up(c: Connection, base: Base, folder: FolderId) -> set[ImageId]:
    """Take over what jobs that ended meanwhile have made of rows; return the images."""
    images: set[ImageId] = set()
    for part in sliced(list(base.rows)):
        rows = {row.path: row for row in synced_reads.files_at(c, folder, part)}
        for path in part:
            row = rows.get(path)
            if row is None:
                del base.rows[path]
            elif (known := known_file(row)) != base.rows[path]:
                base.rows[path] = known
                images.add(row.image_id)
            else:
                continue
            base.overtaken.add(path)
        await trio.lowlevel.checkpoint()
    return images


class _Reading:
    """One comparison of a snapshot with the merge base."""

    def __init__(self, c: Connection, base: Base, folder: FolderId) -> None:
        self._c = c
        self._base = base
        self._folder = folder
        self._snapshot = base.snapshot
        self._has_deletes = synced_reads.has_queued(c, queueing.DELETE_IMAGE)
        self._is_certain = not absence_problem(base.snapshot, base.synced)

    async def read_directories(self) -> None:
        """Read which directories stand for albums."""
        base = self._base
        # In this order: a creation that ends in between has left a directory.
        for job in outbox.unfinished(self._c, kind=queueing.CREATE_ALBUM):
            create = queueing.decode(job, CreateAlbumPayload)
            if create.folder == self._folder:
                base.pending_albums.add(create.directory)
        for path, bound in synced.directories(self._c, self._folder).items():
            base.directories[path] = BoundAlbum(
                bound.album_id, bound.device, bound.inode, bound.title
            )
        await trio.lowlevel.checkpoint()
        by_inode = {(b.device, b.inode): path for path, b in base.directories.items()}
        for path, stat in self._snapshot.directories.items():
            old = by_inode.get((stat.device, stat.inode))
            if old is not None and old != path and base.is_outside(old + b"/"):
                base.more_scope.add(old)

    async def read_everything(self) -> None:
        """Compare the whole folder."""
        present = 0
        for rows in synced_reads.file_slices(self._c, self._folder):
            present += self._compare(rows)
            await trio.lowlevel.checkpoint()
        for skips in synced_reads.skipped_slices(self._c, self._folder):
            await self._forget_skips(row.path for row in skips)
        if present < len(self._snapshot.files):
            await self._read_new(self._snapshot.files)

    async def read_scope(self, scope: frozenset[bytes]) -> None:
        """Compare the directories in the scope, each by itself."""
        self._ask_for_vanished(scope)
        for directory in sorted(scope):
            if evidence.is_hidden(directory, self._snapshot):
                continue
            if directory not in self._snapshot.directories:
                await self._read_gone(directory)
            for paths in synced_reads.paths_directly_in(
                self._c, self._folder, directory
            ):
                rows = synced_reads.files_at(self._c, self._folder, paths)
                self._compare(rows)
                await trio.lowlevel.checkpoint()
            for paths in synced_reads.paths_directly_in(
                self._c, self._folder, directory, table="skipped_file"
            ):
                await self._forget_skips(paths)
        await self._read_new(self._snapshot.files)

    def _ask_for_vanished(self, scope: frozenset[bytes]) -> None:
        """Ask for directories with albums that those in the scope have no more."""
        for path in evidence.vanished(self._base.directories, self._snapshot, scope):
            # What was dealt with before need not be read again.
            if any(synced_reads.paths_directly_in(self._c, self._folder, path)) or any(
                synced_reads.directories_below(self._c, self._folder, path)
            ):
                self._base.more_scope.add(path)

    async def _read_gone(self, directory: bytes) -> None:
        """Ask for what else is gone with a directory, and for what is left above."""
        scope = self._snapshot.scope or frozenset()
        if directory and parent_of(directory) not in scope:
            self._base.more_scope.add(parent_of(directory))
        for below in synced_reads.directories_below(self._c, self._folder, directory):
            self._base.more_scope.update(below - scope)
            await trio.lowlevel.checkpoint()

    def _compare(self, rows: list[FileRow]) -> int:
        """Keep the rows that differ; return how many have a file at their path."""
        files, base = self._snapshot.files, self._base
        present = 0
        differing: list[FileRow] = []
        for row in rows:
            file = files.get(row.path)
            if file is None:
                differing.append(row)
                continue
            present += 1
            if file.identity != (
                row.size_bytes,
                row.mtime_ns,
                row.inode,
            ) or row.directory != directory_of(slot_of(row.path, base.policy)):
                base.add(row)
        self._keep_absent(differing)
        if self._has_deletes:
            self._keep_deleted(rows)
        return present

    def _keep_absent(self, rows: list[FileRow]) -> None:
        """Keep the rows whose files are gone, unless that is being dealt with."""
        if not rows or not self._is_certain:
            return
        images = [row.image_id for row in rows]
        waiting = _about_to_go(self._c, images) if self._has_deletes else set()
        for row in rows:
            stat = FileStat(row.path, row.device, row.inode, 0, 0)
            known = KnownFile(stat, row.image_id)
            if row.image_id not in waiting and evidence.is_gone(known, self._snapshot):
                self._base.add(row)

    def _keep_deleted(self, rows: list[FileRow]) -> None:
        """Keep the rows whose images are about to go although the files are there."""
        waiting = _about_to_go(self._c, [row.image_id for row in rows])
        for row in rows:
            if row.image_id in waiting and row.path in self._snapshot.files:
                self._base.add(row)

    async def _forget_skips(self, paths: Iterable[bytes]) -> None:
        """Keep the skipped files that are gone."""
        gone = [path for path in paths if path not in self._snapshot.files]
        for row in synced_reads.skipped_at(self._c, self._folder, gone):
            self._base.skipped[row.path] = (row.size_bytes, row.mtime_ns)
        await trio.lowlevel.checkpoint()

    async def _read_new(self, paths: Iterable[bytes]) -> None:
        """Keep the files that have neither a row nor an upload, nor are skipped."""
        base, files = self._base, self._snapshot.files
        for part in sliced(paths):
            new = set(part) - synced_reads.known_paths(self._c, self._folder, part)
            new -= await _pending(self._c, self._folder, sorted(new))
            for skip in synced_reads.skipped_at(self._c, self._folder, sorted(new)):
                file = files[skip.path]
                if (file.size_bytes, file.mtime_ns) == (skip.size_bytes, skip.mtime_ns):
                    new.discard(skip.path)
            for path in sorted(new):
                base.files[path] = files[path]
            await trio.lowlevel.checkpoint()

    async def read_skips(self) -> None:
        """Note which of the files that are not as they were are skipped."""
        base = self._base
        for part in sliced(list(base.rows)):
            for skip in synced_reads.skipped_at(self._c, self._folder, part):
                base.skipped[skip.path] = (skip.size_bytes, skip.mtime_ns)
            await trio.lowlevel.checkpoint()

    async def leave_moving(self) -> None:
        """Leave out the files that are now at the path of one that is to be sent."""
        base, files = self._base, self._snapshot.files
        # Its number alone would not do: that of a deleted file is given to a new one.
        gone: dict[tuple[int, ...], list[bytes]] = {}
        for path, known in base.rows.items():
            if path not in files:
                identity = (known.stat.device, *known.stat.identity)
                gone.setdefault(identity, []).append(path)
        if not gone:
            return
        places = {
            path: identity
            for path, file in files.items()
            if (identity := (file.device, *file.identity)) in gone
        }
        for place in await _pending(self._c, self._folder, places):
            for path in gone[places[place]]:
                base.moving.add(path)
                base.elsewhere.add(base.rows.pop(path).image_id)

    async def read_links(self) -> None:
        """Add the rows of the inodes that new and changed files are."""
        base = self._base
        inodes = {(file.device, file.inode) for file in base.files.values()}
        for number, (device, inode) in enumerate(sorted(inodes)):
            for row in synced_reads.files_with_inode(self._c, device, inode):
                if row.folder != self._folder:
                    continue
                if base.is_outside(row.path):
                    base.more_scope.add(parent_of(row.path))
                base.add(row)
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()


async def _pending(
    c: Connection, folder: FolderId, paths: Iterable[bytes]
) -> set[bytes]:
    """Return those of these files that have an unfinished upload."""
    pending: set[bytes] = set()
    for part in sliced(paths):
        keys = {queueing.upload_key(folder, path): path for path in part}
        pending.update(keys[key] for key in synced_reads.unfinished_keys(c, list(keys)))
        await trio.lowlevel.checkpoint()
    return pending


def _about_to_go(c: Connection, images: list[ImageId]) -> set[ImageId]:
    """Return those of these images that have a delete which is not sent."""
    keys = {queueing.delete_key(image): image for image in images}
    waiting = synced_reads.unfinished_keys(c, list(keys), state=JobState.QUEUED.value)
    return {keys[key] for key in waiting}


def _known_images(c: Connection, images: list[ImageId]) -> set[ImageId]:
    """Return those of these images that exist, as far as is known."""
    if not images or meta.get(c, "images_listed_at") is None:
        return set(images)
    return set(images) - synced_reads.unknown_images(c, images)
