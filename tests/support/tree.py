"""A refresher over a fake account and a fresh state.db, with short questions."""

from __future__ import annotations

from pathlib import Path

from imgurfs.clock import TrioClock
from imgurfs.model import ROOT_INODE, AlbumId, Inode, Lane
from imgurfs.store import changelog, entries
from imgurfs.store.database import Database
from imgurfs.tree.refresh import Refresher
from tests.support.account import FakeAccount, open_state


class Tree:
    """A refresher over a fake account and a fresh state.db, with short questions."""

    def __init__(self, path: Path) -> None:
        self.db: Database = open_state(path)
        self.account = FakeAccount()
        self.clock = TrioClock(epoch_s=1_000_000.0)
        self.refresher = Refresher(db=self.db, api=self.account, clock=self.clock)

    async def refresh(self) -> None:
        """Refresh everything."""
        await self.refresher.refresh_all(Lane.REFRESH)

    def names(self, album_id: str | None = None) -> list[str]:
        """Return the names in an album, or in the root."""
        inode = self.inode(album_id) if album_id else ROOT_INODE
        return [entry.name for entry in entries.children(self.db.reader, inode)]

    def inode(self, album_id: str) -> Inode:
        """Return an album's inode."""
        return entries.album_inodes(self.db.reader)[AlbumId(album_id)]

    def seq(self) -> int:
        """Return the number of the last change."""
        return changelog.last_seq(self.db.reader)
