"""An account in this process: emulator, drive and drainer, in virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import trio

from imgurfs.config import MountConfig
from imgurfs.drain import Drainer
from imgurfs.executor import InlineExecutor
from imgurfs.fuse.drive import DriveOptions, open_drive
from imgurfs.fuse.virtual import Maker
from imgurfs.model import Lane
from imgurfs.store.database import Database
from tests.support.account import open_state
from tests.support.connected import (
    API_URL,
    CDN_HOSTS,
    CDN_URL,
    Connected,
    connected,
)
from tests.support.drainers import drainer_over
from tests.support.drive_inside import InProcess, reply
from tests.support.imgur import Imgur


@dataclass
class Inside:
    """An account in this process whose drive can be mounted again and again."""

    directory: Path
    world: Connected
    http: httpx.AsyncClient
    options: DriveOptions = field(init=False)

    def __post_init__(self) -> None:
        self.options = DriveOptions(
            cache_dir=self.directory / "content",
            cache_bytes_max=10**9,
            spool_dir=self.directory / "spool",
            cdn_url=CDN_URL,
            cdn_hosts=CDN_HOSTS,
            readdir_reply=reply,
        )

    def crash(self, drive: InProcess) -> None:
        """Let the drive's process die at the end of its block."""
        drive.mounted.writer.spool.close()

    @contextlib.asynccontextmanager
    async def mounted(
        self,
        mount: MountConfig | None = None,
        *,
        is_read_only: bool = False,
        virtual: Mapping[str, Maker] | None = None,
    ) -> AsyncIterator[InProcess]:
        """Open database and drive, as a process does; close them, as its end does."""
        options = replace(
            self.options,
            mount=mount or MountConfig(),
            is_read_only=is_read_only,
            virtual=virtual or {"status.json": lambda: b"{}"},
        )
        db = open_state(self.directory / "state.db")
        try:
            with open_drive(
                options,
                db=db,
                api=self.world.api,
                http=self.world.http,
                clock=self.world.clock,
                executor=InlineExecutor(),
            ) as drive:
                async with trio.open_nursery() as nursery:
                    for task in drive.background:
                        await nursery.start(task)
                    if not is_read_only:
                        await drive.writer.recover()
                    token = self.world.emulator.credentials.access_token
                    yield InProcess(
                        Imgur(self.http, token),
                        self.world,
                        db,
                        drive,
                        lambda: self._drainer(db),
                    )
                    nursery.cancel_scope.cancel()
        finally:
            db.close()

    def _drainer(self, db: Database) -> Drainer:
        """Return one that is guarded, with real graces."""
        return drainer_over(
            self.world, db, self.directory, cache_dir=self.directory / "content"
        )


@contextlib.asynccontextmanager
async def an_account(directory: Path) -> AsyncIterator[Inside]:
    """An emulated account that nobody has listed or mounted yet."""
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(connected(directory))
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=world.transport, base_url=API_URL)
        )
        yield Inside(directory, world, http)


@contextlib.asynccontextmanager
async def in_process(
    directory: Path, mount: MountConfig | None = None, *, is_read_only: bool = False
) -> AsyncIterator[InProcess]:
    """A drive over the sample account, completely listed."""
    async with (
        an_account(directory) as account,
        account.mounted(mount, is_read_only=is_read_only) as drive,
    ):
        await drive.mounted.refresher.refresh_all(Lane.CONTROL)
        yield drive
