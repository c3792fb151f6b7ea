"""The running daemon: one nursery of folders and a drainer, and an orderly stop.

What it is not: it opens nothing (``cli`` and ``imgurfs sync`` do) and decides nothing.
READY means that the lock is held, the database stands and every folder that exists is
watched; none of that needs the network.
"""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import trio

from imgurfs import limits
from imgurfs.assembly import Services, device_id
from imgurfs.config import FolderConfig
from imgurfs.drain import Drainer
from imgurfs.errors import ConfigError
from imgurfs.jobs import disk
from imgurfs.jobs.albums import FreshAlbumList
from imgurfs.locks import FileLock
from imgurfs.notify import Notifier
from imgurfs.paths import AccountPaths
from imgurfs.store import outbox
from imgurfs.store.database import Database
from imgurfs.tree.refresh import Refresher
from imgurfs_daemon.folder import FolderSync
from imgurfs_daemon.planner import AlbumMode, Policy
from imgurfs_daemon.watcher import read_mountinfo, refuse_mounts

log = logging.getLogger(__name__)

#: How often the line in ``systemctl status`` is renewed.
_STATUS_INTERVAL_S = 5.0
#: What of the stop's time is given to requests in the air before they are abandoned.
_FINISH_SHARE = 0.6


class Daemon:
    """Folders and drainer of one account, joined."""

    def __init__(
        self,
        services: Services,
        folders: Sequence[FolderConfig],
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._db = services.db
        self._lock = FileLock(services.paths.daemon_lock)
        refresher = Refresher(db=services.db, api=services.api, clock=services.clock)
        albums = FreshAlbumList(refresh=refresher.refresh_albums, clock=services.clock)
        self.drainer = Drainer(
            db=services.db,
            api=services.api,
            ledger=services.ledger,
            albums=albums,
            clock=services.clock,
            executor=services.executor,
            device_id=device_id(services.paths),
            lock=FileLock(services.paths.drain_lock),
            names=services.account_config.names,
            rng=rng,
        )
        mountinfo = read_mountinfo()
        self.folders: list[FolderSync] = []
        for folder in folders:
            path = folder_path(folder)
            refuse_mounts(path, mountinfo=mountinfo)
            _refuse_own(path, services.paths)
            self.folders.append(
                FolderSync(
                    path=path,
                    policy=policy_of(folder),
                    db=services.db,
                    albums=albums,
                    clock=services.clock,
                    executor=services.executor,
                    settle_s=services.config.sync.settle_s,
                    delete_grace_s=services.config.sync.delete_grace_s,
                    on_queued=self.drainer.wake,
                    rng=rng,
                )
            )
        _refuse_nested([folder.path for folder in self.folders])

    async def run(self, notifier: Notifier, *, stop: trio.Event) -> None:
        """Serve until ``stop`` is set. Raises AlreadyRunningError, LoginNeededError."""
        with self._lock.require("the sync daemon of this account"):
            async with trio.open_nursery() as nursery:
                following = await nursery.start(_follow, self.folders)
                drained = trio.Event()
                nursery.start_soon(_drain, self.drainer, drained)
                notifier.ready()
                log.info("watching %d folder(s)", len(self.folders))
                nursery.start_soon(_tell_status, self._db, notifier)
                if notifier.watchdog_interval_s is not None:
                    nursery.start_soon(_ping, notifier, notifier.watchdog_interval_s)
                await stop.wait()
                notifier.stopping()
                log.info("stopping")
                following.cancel()
                self.drainer.stop()
                with trio.move_on_after(limits.STOP_GRACE_S * _FINISH_SHARE):
                    await drained.wait()
                nursery.cancel_scope.cancel()


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
    )


async def wait_for_signal(stop: trio.Event) -> None:
    """Set ``stop`` at the first SIGTERM or SIGINT. Cancel it when not needed."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop.set()


async def _follow(
    folders: Sequence[FolderSync], *, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    """Follow all folders; hand out the scope that ends it once all are watched."""
    async with trio.open_nursery() as nursery:
        for folder in folders:
            await nursery.start(folder.run)
        task_status.started(nursery.cancel_scope)


async def _drain(drainer: Drainer, drained: trio.Event) -> None:
    await drainer.run()
    drained.set()


async def _tell_status(db: Database, notifier: Notifier) -> None:
    while True:
        notifier.status(status_line(outbox.statistics(db.reader)))
        await trio.sleep(_STATUS_INTERVAL_S)


async def _ping(notifier: Notifier, interval_s: float) -> None:
    while True:
        notifier.watchdog()
        await trio.sleep(interval_s)


def status_line(counts: outbox.Statistics) -> str:
    """Return the queue in one line."""
    if not counts.unfinished:
        return f"up to date ({counts.done} done, {counts.dead} failed)"
    parts = [f"{counts.queued} waiting", f"{counts.sending} being sent"]
    if counts.unknown:
        parts.append(f"{counts.unknown} held (outcome unknown)")
    if counts.dead:
        parts.append(f"{counts.dead} failed")
    return ", ".join(parts)


def _refuse_own(path: bytes, own: AccountPaths) -> None:
    """Raise ConfigError when our own cache or state would be uploaded."""
    for directory in own.own_directories:
        if (bytes(directory.resolve()) + b"/").startswith(path + b"/"):
            raise ConfigError(
                f"the watched folder {disk.as_path(path)} holds {directory},"
                " where imgurfs keeps its own files",
                hint="watch a folder of pictures inside it instead",
            )


def _refuse_nested(paths: Sequence[bytes]) -> None:
    for outer in paths:
        for inner in paths:
            if inner is not outer and (inner + b"/").startswith(outer + b"/"):
                raise ConfigError(
                    f"the watched folders {disk.as_path(outer)} and"
                    f" {disk.as_path(inner)} lie in one another",
                    hint="watch the outer one only",
                )
