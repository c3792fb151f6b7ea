"""The writable half of a drive, as the kernel adapter uses it: files and places.

Joins the objects of this package; no rule of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import trio

from imgurfs.clock import Clock
from imgurfs.config import MountConfig
from imgurfs.content.fetch import Fetcher
from imgurfs.content.spool import Spool
from imgurfs.executor import Executor
from imgurfs.store.database import Database
from imgurfs.writing.files import Files
from imgurfs.writing.places import Places
from imgurfs.writing.rows import OnChanged


@dataclass(frozen=True, slots=True)
class Writer:
    """``files`` are the bytes, ``places`` the names.

    :meth:`run` must be running in a nursery, and :meth:`recover` have been called,
    before the first request.
    """

    files: Files
    places: Places
    spool: Spool

    @classmethod
    def open(
        cls,
        *,
        db: Database,
        spool_dir: Path,
        fetcher: Fetcher,
        clock: Clock,
        executor: Executor,
        mount: MountConfig,
        delete_grace_s: float,
        on_changed: OnChanged = lambda _first, _last: None,
    ) -> Writer:
        """Build both. Blocks briefly. Raises UnavailableError.

        ``on_changed`` is told the first and last number in the change log of what the
        kernel knows already, because it asked for it.
        """
        spool = Spool.open(
            spool_dir, size_bytes_max=mount.spool_bytes_max, executor=executor
        )
        files = Files(
            db=db,
            spool=spool,
            fetcher=fetcher,
            clock=clock,
            settings=mount,
            delete_grace_s=delete_grace_s,
            on_changed=on_changed,
        )
        places = Places(
            db=db,
            files=files,
            clock=clock,
            settings=mount,
            delete_grace_s=delete_grace_s,
            on_changed=on_changed,
        )
        return cls(files, places, spool)

    def close(self) -> None:
        """Let another mount have the spool. Nothing may be open any more."""
        self.spool.close()

    async def recover(self) -> None:
        """Sort out what a mount that died left behind."""
        await self.files.recover()

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Do what goes on behind requests, until cancelled."""
        await self.files.run(task_status=task_status)
