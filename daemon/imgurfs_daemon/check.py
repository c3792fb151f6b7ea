"""Whether the daemon could work here: what ``imgurfs-daemon --check`` answers.

``imgurfs service install`` runs it inside a sandbox before it uses that sandbox. So it
does once, on a small scale, what the daemon lives on: a database beside the real ones,
a thread, a watch on each folder, a socket. It sends nothing and leaves nothing behind.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

import trio

from imgurfs import paths
from imgurfs.config import Config
from imgurfs.errors import UnavailableError
from imgurfs.executor import ThreadExecutor, ThreadLane
from imgurfs.store.database import Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs_daemon.service import check_folders, folder_path
from imgurfs_daemon.watcher import Watcher


async def check(settings: Config, names: Iterable[str]) -> None:
    """Raise the ImgurfsError that the daemon would end with for these accounts."""
    for name in names:
        own = paths.account_paths(name)
        folders = settings.folders_of(name)
        check_folders(folders, own)
        for directory in (own.budget_db.parent, *own.own_directories):
            await _check_database(directory)
        for folder in folders:
            await _check_folder(folder_path(folder))
    _check_network()


async def _check_database(directory: Path) -> None:
    """Commit something on that disk, with all that belongs to it."""
    executor = ThreadExecutor()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".check-", dir=directory) as scratch:
            db = Database.open(
                Path(scratch) / "state.db",
                schema=STATE_SCHEMA,
                executor=executor,
                lane=ThreadLane.WRITER,
            )
            db.close()
    except OSError as error:
        raise UnavailableError(
            f"{directory} cannot be written: {error.strerror}"
        ) from error


async def _check_folder(path: bytes) -> None:
    """Read and watch a folder; one that is not there is waited for by the daemon."""
    try:
        with os.scandir(path) as found:
            next(found, None)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UnavailableError(
            f"{os.fsdecode(path)} cannot be read: {error.strerror}"
        ) from error
    with Watcher(path) as watcher:
        await trio.lowlevel.checkpoint()
        watcher.before_reading(b"")


def _check_network() -> None:
    try:
        for family in (socket.AF_INET, socket.AF_UNIX):
            socket.socket(family, socket.SOCK_STREAM).close()
    except OSError as error:
        raise UnavailableError(f"no socket can be had: {error.strerror}") from error
