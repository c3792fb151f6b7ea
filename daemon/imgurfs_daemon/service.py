"""The daemon's work for one account: its folders, a drainer and a reconciler, joined.

What it is not: it opens nothing (``supervisor`` and ``imgurfs sync`` do), decides
nothing and knows no service manager. One nursery holds everything; folders can come
and go while it runs.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from imgurfs import control, limits
from imgurfs.assembly import Services, device_id, make_drainer
from imgurfs.config import Config, FolderConfig
from imgurfs.errors import ConfigError
from imgurfs.heartbeat import BeatingClock, BeatingExecutor, Heartbeat
from imgurfs.jobs import disk, queueing
from imgurfs.jobs.listings import Listings
from imgurfs.jobs.queueing import UploadPayload
from imgurfs.jobs.steps import Progress
from imgurfs.locks import FileLock
from imgurfs.marker import device_part
from imgurfs.paths import AccountPaths
from imgurfs.store import damage, synced
from imgurfs.store.outbox import Job
from imgurfs.store.synced import FolderId
from imgurfs.tree.refresh import Refresher
from imgurfs_daemon.filters import Filters
from imgurfs_daemon.folder import FolderSync
from imgurfs_daemon.mounts import read_mountinfo, refuse_mounts
from imgurfs_daemon.planner import AlbumMode, Policy
from imgurfs_daemon.reconcile import Reconciler
from imgurfs_daemon.snapshot import parent_of
from imgurfs_daemon.status import status_line

log = logging.getLogger(__name__)

#: What of the stop's time is given to requests in the air before they are abandoned.
_FINISH_SHARE = 0.6
#: Files of one image that are looked at when an upload ends; a rescan finds the rest.
_LOOKED_AT_MAX = 20


@dataclass(frozen=True, slots=True)
class _Watched:
    """One folder that is watched, and how to stop that."""

    config: FolderConfig
    sync: FolderSync
    heartbeat: Heartbeat
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


class Daemon:
    """Folders, drainer and reconciler of one account."""

    def __init__(
        self,
        services: Services,
        folders: Sequence[FolderConfig],
        *,
        on_progress: Callable[[Progress], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Join everything; nothing runs yet. Raises ConfigError, MountpointError."""
        check_folders(folders, services.paths)
        self._services = services
        self._rng = rng
        self._lock = FileLock(services.paths.daemon_lock)
        self._refresher = Refresher(
            db=services.db, api=services.api, clock=services.clock
        )
        self._listings = Listings(
            db=services.db,
            api=services.api,
            refresher=self._refresher,
            clock=services.clock,
        )
        self._heartbeats = {
            name: Heartbeat(name, services.clock) for name in ("drainer", "reconciler")
        }
        self._nursery: trio.Nursery | None = None
        self._status = (-1, "")
        device = device_id(services.paths)
        self.drainer = make_drainer(
            services,
            self._listings,
            clock=BeatingClock(services.clock, self._heartbeats["drainer"]),
            on_settled=self._note_settled,
            on_progress=on_progress,
            rng=rng,
        )
        self._watched = {folder_path(one): self._watch(one) for one in folders}
        self.reconciler = Reconciler(
            db=services.db,
            refresher=self._refresher,
            folders=lambda: self.folders,
            device=device_part(device),
            clock=services.clock,
            heartbeat=self._heartbeats["reconciler"],
            delete_grace_s=services.config.sync.delete_grace_s,
            on_queued=self.drainer.wake,
            rng=rng,
        )

    def __repr__(self) -> str:
        return f"<Daemon folders={len(self._watched)} {self.drainer!r}>"

    @property
    def folders(self) -> list[FolderSync]:
        """The watched folders, in the order of the configuration."""
        return [watched.sync for watched in self._watched.values()]

    @property
    def heartbeats(self) -> list[Heartbeat]:
        """Of every worker that should be heard of."""
        folders = [watched.heartbeat for watched in self._watched.values()]
        return [*self._heartbeats.values(), *folders]

    def status(self) -> str:
        """Return how the account is doing, in one line."""
        services = self._services
        # Counting a large outbox costs: only when something has been committed.
        version = services.db.data_version()
        if version != self._status[0]:
            try:
                text = status_line(
                    services.db.reader,
                    services.ledger.state(),
                    now=services.clock.now(),
                )
            except Exception as error:
                if not damage.is_damage(error):
                    raise
                services.db.suspect()
                text = "its database is damaged"
            self._status = (version, text)
        return self._status[1]

    @contextmanager
    def in_place(self) -> Iterator[bool]:
        """Take the daemon's place without running, so that a mount lets others send.

        Gives False when a daemon has it.
        """
        is_ours = self._lock.acquire_nowait()
        try:
            yield is_ours
        finally:
            if is_ours:
                self._lock.release()

    async def run(
        self,
        *,
        stop: trio.Event,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until ``stop`` is set. Started when every folder is watched.

        Needs no network. Raises AlreadyRunningError, LoginNeededError, DatabaseError.
        """
        with self._lock.require("the sync daemon of this account"):
            async with trio.open_nursery() as nursery:
                self._nursery = await nursery.start(self._follow)
                drained = trio.Event()
                nursery.start_soon(self._drain, drained)
                log.info("watching %d folder(s)", len(self._watched))
                task_status.started()
                try:
                    await stop.wait()
                finally:
                    # It takes no more folders, also when an error ends it.
                    following, self._nursery = self._nursery, None
                following.cancel_scope.cancel()
                self.drainer.stop()
                with trio.move_on_after(limits.STOP_GRACE_S * _FINISH_SHARE):
                    await drained.wait()
                nursery.cancel_scope.cancel()

    async def set_folders(self, folders: Sequence[FolderConfig]) -> None:
        """Watch these from now on. Raises ConfigError; nothing is changed then.

        A folder whose settings are what they were goes on undisturbed.
        """
        check_folders(folders, self._services.paths)
        wanted = {folder_path(one): one for one in folders}
        before = self._watched
        kept = {
            path: watched
            for path, watched in before.items()
            if wanted.get(path) == watched.config
        }
        fresh = {
            path: self._watch(one) for path, one in wanted.items() if path not in kept
        }
        for path in before.keys() - kept.keys():
            before[path].scope.cancel()
            await before[path].ended.wait()
            log.info("no longer watching %s as before", before[path].sync.text)
            if path not in wanted:
                await self._leave(path)
        self._watched = {path: kept.get(path) or fresh[path] for path in wanted}
        for watched in fresh.values():
            if self._nursery is not None:
                await self._nursery.start(self._follow_one, watched)
                log.info("watching %s", watched.sync.text)

    async def _leave(self, path: bytes) -> None:
        """Withdraw what a last look has queued after the user took the folder out."""
        now = self._services.clock.now()
        while any(
            await self._services.db.write(
                lambda c: control.leave_folder(c, path, now=now)
            )
        ):
            pass

    def _watch(self, folder: FolderConfig) -> _Watched:
        services = self._services
        path = folder_path(folder)
        text = path.decode("utf-8", "backslashreplace")
        heartbeat = Heartbeat(f"folder {text}", services.clock)
        sync = FolderSync(
            path=path,
            policy=policy_of(folder),
            filters=Filters(folder.include, folder.exclude),
            db=services.db,
            albums=self._listings,
            clock=BeatingClock(services.clock, heartbeat),
            executor=BeatingExecutor(services.executor, heartbeat),
            settle_s=services.config.sync.settle_s,
            delete_grace_s=services.config.sync.delete_grace_s,
            on_queued=self.drainer.wake,
            rng=self._rng,
        )
        return _Watched(folder, sync, heartbeat)

    async def _follow(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Follow the folders and the account; hand out what they run in."""
        async with trio.open_nursery() as nursery:
            for watched in self._watched.values():
                await nursery.start(self._follow_one, watched)
            nursery.start_soon(self.reconciler.run)
            task_status.started(nursery)

    async def _follow_one(
        self, watched: _Watched, *, task_status: trio.TaskStatus[None]
    ) -> None:
        try:
            with watched.scope:
                await watched.sync.run(task_status=task_status)
        finally:
            watched.heartbeat.end()
            watched.ended.set()

    async def _drain(self, drained: trio.Event) -> None:
        await self.drainer.run()
        self._heartbeats["drainer"].end()
        drained.set()

    def _note_settled(self, job: Job) -> None:
        """Look again at a file that is not, or not any more, what was sent.

        While it was on its way no look said anything about it.
        """
        if job.kind != queueing.UPLOAD:
            return
        reader, payload = self._services.db.reader, queueing.decode(job, UploadPayload)
        known = synced.file(reader, payload.folder, payload.path)
        if known is None:
            self._look_again(payload.folder, payload.path)
            return
        # A file that was the same image and has moved here is waiting for this, too.
        uses = synced.paths_of(reader, known.image_id)
        for folder_id, path in uses[:_LOOKED_AT_MAX]:
            self._look_again(folder_id, path)

    def _look_again(self, folder_id: FolderId, path: bytes) -> None:
        """Look at a file's directory unless the file is what its row says."""
        reader = self._services.db.reader
        folder = synced.folder(reader, folder_id)
        watched = self._watched.get(folder.path) if folder is not None else None
        if folder is None or watched is None:
            return
        known = synced.file(reader, folder_id, path)
        there = disk.identify(folder.path + b"/" + path)
        if known is None or there != (
            known.device, known.inode, known.size_bytes, known.mtime_ns
        ):  # fmt: skip
            watched.sync.mark_dirty(parent_of(path))


def folder_path(folder: FolderConfig) -> bytes:
    """Return the folder's real path: a link to it is the folder."""
    return bytes(Path(folder.path).expanduser().resolve())


def policy_of(folder: FolderConfig) -> Policy:
    """Return a folder's settings as the planner knows them."""
    mode, _, title = folder.albums.partition(":")
    return Policy(
        albums=AlbumMode(mode),
        album_title=title.strip(),
        mirrors_deletes=folder.deletes == "mirror",
        dedupe=folder.dedupe,
    )


def served(settings: Config, *, only: str | None = None) -> list[str]:
    """Return the accounts that have folders, or ``only`` that one.

    Raises ConfigError when there is nothing to serve.
    """
    if only is not None:
        settings.account_named(only)
    wanted = dict.fromkeys(folder.account for folder in settings.folder)
    names = [name for name in wanted if only in (None, name)]
    if not names:
        whom = "" if only is None else f" for the account {only!r}"
        raise ConfigError(
            f"no folder is watched{whom}",
            hint="add one with 'imgurfs folder add', or a [[folder]] to the"
            " configuration",
        )
    return names


def check_folders(folders: Sequence[FolderConfig], own: AccountPaths) -> None:
    """Raise ConfigError or MountpointError for folders that cannot be watched."""
    mountinfo = read_mountinfo()
    paths = [folder_path(folder) for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        Filters(folder.include, folder.exclude)
        refuse_mounts(path, mountinfo=mountinfo)
        _refuse_own(path, own)
    _refuse_nested(paths)


def _refuse_own(path: bytes, own: AccountPaths) -> None:
    """Raise ConfigError when our own cache or state would be uploaded."""
    for directory in own.own_directories:
        if _is_within(bytes(directory.resolve()), path):
            raise ConfigError(
                f"the watched folder {disk.as_path(path)} holds {directory},"
                " where imgurfs keeps its own files",
                hint="watch a folder of pictures inside it instead",
            )


def _refuse_nested(paths: Sequence[bytes]) -> None:
    for index, outer in enumerate(paths):
        for inner in (*paths[:index], *paths[index + 1 :]):
            if _is_within(inner, outer):
                raise ConfigError(
                    f"the watched folders {disk.as_path(outer)} and"
                    f" {disk.as_path(inner)} lie in one another",
                    hint="watch the outer one only",
                )


def _is_within(inner: bytes, outer: bytes) -> bool:
    """Whether a path is another one, or below it."""
    return (inner + b"/").startswith(outer.rstrip(b"/") + b"/")
