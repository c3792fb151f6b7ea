"""One watched folder: look, settle, plan, put into the outbox; again when it changes.

The only place where the planner's values meet the tables and the disk. One instance
and one task per folder; it owns no thread and sends nothing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.errors import MountpointError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.jobs import disk, queueing
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.model import AlbumId, ImageId, Lane
from imgurfs.store import entries, outbox, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.synced import Folder, FolderId, SkippedFile
from imgurfs_daemon import planner
from imgurfs_daemon.planner import Action, KnownFile, Policy, Remote, Synced, Verdicts
from imgurfs_daemon.snapshot import (
    FileStat,
    Problem,
    RootIdentity,
    Settling,
    Snapshot,
)
from imgurfs_daemon.watcher import (
    Watcher,
    read_mountinfo,
    refuse_mounts,
    walk,
)

log = logging.getLogger(__name__)

#: Events of one save or copy come in bursts; they are looked at together.
_DEBOUNCE_S = 0.1
#: Of the time, at most this share is spent on reading a folder that keeps changing.
_SCAN_SHARE_MAX = 0.2
#: A folder that is not there is looked for this often.
_MISSING_POLL_S = 15.0
#: Files modified less than this ago are what the user is waiting for.
_FRESH_S = 600.0


class KnowsAlbums(Protocol):
    """Says whether the album list in the store can be believed."""

    @property
    def is_known(self) -> bool:
        """Whether it was read in this session and is fresh."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the folder: what it says, and when to look again.

    ``settles_in_s`` is None when no file has still to settle. ``new_album_count`` is
    how many directories with something to send stand for no album yet.
    """

    snapshot: Snapshot
    actions: tuple[Action, ...]
    unreadable: tuple[SkippedFile, ...]
    settles_in_s: float | None
    new_album_count: int


class FolderSync:
    """Keeps the outbox up to date with one folder."""

    def __init__(
        self,
        *,
        path: bytes,
        policy: Policy,
        db: Database,
        albums: KnowsAlbums,
        clock: Clock,
        executor: Executor,
        settle_s: float = limits.SETTLE_S,
        delete_grace_s: float = limits.DELETE_GRACE_S,
        on_queued: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self.path = path
        self._policy = policy
        self._db = db
        self._albums = albums
        self._clock = clock
        self._executor = executor
        self._delete_grace_s = delete_grace_s
        self._on_queued = on_queued
        self._settling = Settling(settle_s=settle_s)
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self._told = ""
        self._looks = 0

    def __repr__(self) -> str:
        return f"<FolderSync {self.text} looks={self._looks}>"

    @property
    def text(self) -> str:
        """The path for messages."""
        return self.path.decode("utf-8", "backslashreplace")

    def statistics(self) -> dict[str, int]:
        """Return how often the folder was read."""
        return {"looks": self._looks}

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Follow the folder for ever. Started when it is watched, or known missing.

        Raises UnavailableError when the kernel refuses to watch it.
        """
        while True:
            found = await self._walk()
            if found.root is None:
                self._tell(found)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await trio.sleep(_MISSING_POLL_S)
                continue
            with Watcher(self.path) as watcher:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await self._follow(watcher)

    async def _follow(self, watcher: Watcher) -> None:
        """Look whenever something happened, until the folder is another directory."""
        watched: RootIdentity | None = None
        while True:
            began_s = self._clock.monotonic()
            look = await self.sync()
            took_s = self._clock.monotonic() - began_s
            watched = watched or look.snapshot.root
            if look.snapshot.root is None or look.snapshot.root != watched:
                return
            timeout_s = limits.RESCAN_INTERVAL_S * self._rng.uniform(0.75, 1.25)
            if look.settles_in_s is not None:
                timeout_s = min(timeout_s, look.settles_in_s)
            with trio.move_on_after(timeout_s):
                await watcher.wait_changed()
            await trio.sleep(max(_DEBOUNCE_S, took_s / _SCAN_SHARE_MAX))

    async def sync(self) -> Look:
        """Look once and put what follows into the outbox."""
        look = await self.look()
        self._tell(look.snapshot)
        if look.snapshot.root is None:
            return look
        root, now = look.snapshot.root, self._clock.now()
        known = synced.folder_at(self._db.reader, self.path)
        if known is None or look.actions or look.unreadable:
            await self._db.write(lambda c: self._apply(c, root, look, now))
        for action in look.actions:
            log.info("%s", describe(action))
        if look.actions:
            self._on_queued()
        return look

    async def look(self) -> Look:
        """Read the folder and plan; change nothing."""
        self._looks += 1
        snapshot = await self._walk()
        folder = synced.folder_at(self._db.reader, self.path)
        base = self._base(folder)
        open_files = [
            file for file in snapshot.files.values() if planner.needs_look(file, base)
        ]
        settled, settles_in_s = self._settling.settled(
            open_files, now=self._clock.now(), monotonic_s=self._clock.monotonic()
        )
        ready = [file for file in open_files if file.path in settled]
        refused, unreadable = await self._executor.run(
            ThreadLane.DISK, _inspect, self.path, ready
        )
        not_ready = {f.path for f in open_files} - settled
        verdicts = Verdicts(
            unsettled=frozenset(not_ready | {skip.path for skip in unreadable}),
            refused=refused,
        )
        actions = planner.plan(
            snapshot, base, self._remote(ready), self._policy, verdicts=verdicts
        )
        slots = {planner.slot_of(file.path, self._policy) for file in ready}
        directories = {slot.directory for slot in slots if slot is not None}
        return Look(
            snapshot=snapshot,
            actions=actions,
            unreadable=tuple(unreadable),
            settles_in_s=settles_in_s,
            new_album_count=len(directories - base.directories.keys()),
        )

    async def _walk(self) -> Snapshot:
        return await self._executor.run(ThreadLane.DISK, _walk, self.path)

    def _tell(self, snapshot: Snapshot) -> None:
        """Log why nothing is derived from absence, when that changes."""
        folder = synced.folder_at(self._db.reader, self.path)
        root = None if folder is None else RootIdentity(folder.device, folder.inode)
        problem = planner.absence_problem(snapshot, Synced(root=root))
        if problem and problem != self._told:
            log.warning("%s: %s; nothing is deleted", self.text, problem)
        self._told = problem

    def _base(self, folder: Folder | None) -> Synced:
        if folder is None:
            return Synced()
        c = self._db.reader
        uploads = [
            queueing.decode(job, UploadPayload)
            for job in outbox.unfinished(c, kind=queueing.UPLOAD)
        ]
        deletes = outbox.unfinished(
            c, kind=queueing.DELETE_IMAGE, state=outbox.JobState.QUEUED
        )
        return Synced(
            root=RootIdentity(folder.device, folder.inode),
            files={
                path: KnownFile(
                    FileStat(path, f.device, f.inode, f.size_bytes, f.mtime_ns),
                    f.image_id,
                )
                for path, f in synced.files(c, folder.id).items()
            },
            directories=synced.directories(c, folder.id),
            skipped={
                path: (skip.size_bytes, skip.mtime_ns)
                for path, skip in synced.skipped(c, folder.id).items()
            },
            pending_uploads=frozenset(
                payload.path for payload in uploads if payload.folder == folder.id
            ),
            pending_deletes=frozenset(
                queueing.decode(job, DeleteImagePayload).image_id for job in deletes
            ),
            elsewhere=frozenset(synced.images_elsewhere(c, folder.id)),
        )

    def _remote(self, files: Iterable[FileStat]) -> Remote:
        if not self._albums.is_known:
            return Remote()
        slots = {planner.slot_of(file.path, self._policy) for file in files}
        found: dict[str, tuple[AlbumId, ...]] = {}
        for slot in slots:
            if slot is not None:
                nodes = entries.albums_by_title(self._db.reader, slot.title)
                found[slot.title] = tuple(n.album.id for n in nodes if n.album)
        return Remote(found)

    def _apply(self, c: Connection, root: RootIdentity, look: Look, now: float) -> None:
        folder = synced.bind_folder(
            c, self.path, device=root.device, inode=root.inode
        ).id
        for skip in look.unreadable:
            synced.put_skipped(c, folder, skip)
        for action in look.actions:
            self._apply_one(c, folder, action, look.snapshot, now)

    def _apply_one(
        self,
        c: Connection,
        folder: FolderId,
        action: Action,
        snapshot: Snapshot,
        now: float,
    ) -> None:
        match action:
            case planner.Upload() | planner.Replace():
                age_s = now - snapshot.files[action.path].mtime_ns / 1e9
                lane = Lane.FRESH if age_s < _FRESH_S else Lane.BULK
                payload = self._upload_payload(folder, action)
                queueing.queue_upload(c, payload, lane=lane, now=now)
            case planner.DeleteImage():
                queueing.queue_delete(
                    c,
                    DeleteImagePayload(folder, action.image_id),
                    now=now,
                    grace_s=self._delete_grace_s,
                )
            case planner.CancelDelete():
                queueing.cancel_delete(c, action.image_id, now=now)
            case planner.Forget():
                synced.forget_file(c, folder, action.path, action.image_id)
            case planner.AdoptAlbum():
                queueing.bind_album(c, folder, action.slot.directory, action.album_id)
            case planner.Skip():
                skip = SkippedFile(
                    action.path, action.size_bytes, action.mtime_ns, action.reason
                )
                synced.put_skipped(c, folder, skip)
            case planner.ForgetSkip():
                synced.forget_skipped(c, folder, action.path)

    def _upload_payload(
        self, folder: FolderId, action: planner.Upload | planner.Replace
    ) -> UploadPayload:
        replaces: ImageId | None = None
        deletes_old = False
        if isinstance(action, planner.Replace):
            replaces, deletes_old = action.image_id, action.deletes_old
        return UploadPayload(
            folder=folder,
            path=action.path,
            directory=action.slot.directory if action.slot else None,
            title=action.slot.title if action.slot else "",
            replaces=replaces,
            deletes_old=deletes_old,
            grace_s=self._delete_grace_s,
        )


def describe(action: Action) -> str:
    """Return an action in one line, with its reason."""
    if isinstance(action, planner.AdoptAlbum):
        return f"use album {action.slot.title!r}: {action.reason}"
    verbs: dict[type, str] = {
        planner.Upload: "upload",
        planner.Replace: "replace",
        planner.DeleteImage: "delete",
        planner.CancelDelete: "keep",
        planner.Forget: "forget",
        planner.Skip: "skip",
        planner.ForgetSkip: "forget",
    }
    path = action.path.decode("utf-8", "backslashreplace")
    return f"{verbs[type(action)]} {path}: {action.reason}"


def _walk(path: bytes) -> Snapshot:
    """Walk the folder, unless a drive of ours was mounted in it or around it."""
    try:
        refuse_mounts(path, mountinfo=read_mountinfo())
    except MountpointError as error:
        return Snapshot(None, problems=(Problem(b"", error.message),))
    return walk(path)


def _inspect(
    root: bytes, files: Iterable[FileStat]
) -> tuple[dict[bytes, str], list[SkippedFile]]:
    """Return why files cannot be uploaded, and which could not even be read.

    The latter are shown to the user but looked at again every time: permissions change
    neither size nor time.
    """
    refused: dict[bytes, str] = {}
    unreadable: list[SkippedFile] = []
    for file in files:
        try:
            reason = disk.inspect(root + b"/" + file.path)
        except FileNotFoundError:
            unreadable.append(SkippedFile(file.path, 0, -1, "it is gone"))
        except OSError as error:
            text = f"it cannot be read: {error.strerror}"
            unreadable.append(SkippedFile(file.path, file.size_bytes, -1, text))
        else:
            if reason:
                refused[file.path] = reason
    return refused, unreadable
