"""The account as a file system reads it: lookup, list, stat, totals.

Answers come from the store at once; what is old is refreshed in the background. Only
a directory whose content was never read is waited for. No kernel types here, and no
deadlines: the caller brings its own.
"""

from __future__ import annotations

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.errors import NotFoundError, OutageError
from imgurfs.model import ROOT_INODE, Inode, Lane
from imgurfs.store import entries
from imgurfs.store.database import Database
from imgurfs.store.entries import Entry, Node, NodeKind, Totals
from imgurfs.tree.refresh import Refresher


class View:
    """What is where, by inode and name. For use on the trio thread.

    RemoteErrors come out only where a directory was never listed and cannot be now.
    """

    def __init__(self, *, db: Database, refresher: Refresher, clock: Clock) -> None:
        self._db = db
        self._refresher = refresher
        self._clock = clock
        self._totals = Totals(images=0, albums=0, bytes=0)
        self._totals_version: int | None = None

    def __repr__(self) -> str:
        return f"<View of {self._db.path}>"

    async def lookup(self, parent: Inode, name: str) -> Entry:
        """Return the entry called ``name``. Raises NotFoundError.

        A name that is not there costs no call, unless the directory was never listed.
        """
        self._refresher.note_access()
        if not _is_utf8(name):
            # No name of ours: bytes of another encoding, as os.fsdecode escapes them.
            raise NotFoundError(f"there is no {name!a} here")
        found = entries.child(self._db.reader, parent, name)
        if found is None and await self._list_if_never_listed(self._directory(parent)):
            found = entries.child(self._db.reader, parent, name)
        if found is None:
            raise NotFoundError(f"there is no {name!r} here")
        return found

    def node(self, inode: Inode) -> Node:
        """Return what ``inode`` is. Raises NotFoundError when it is gone."""
        found = entries.node(self._db.reader, inode)
        if found is None:
            raise NotFoundError(f"inode {inode} is gone")
        return found

    def page(self, directory: Inode, *, after_cookie: int, limit: int) -> list[Entry]:
        """Return what is known of a directory behind a cookie; asks nobody."""
        return entries.children(
            self._db.reader, directory, after_cookie=after_cookie, limit=limit
        )

    def path_of(self, inode: Inode) -> str:
        """Return one of the paths that lead to a file, for messages."""
        for parent, name, _ in entries.entries_of(self._db.reader, inode):
            is_root = parent == ROOT_INODE
            return name if is_root else f"{self.path_of(parent)}/{name}"
        return "a file without a name"

    async def list(self, directory: Inode, *, limit: int = -1) -> list[Entry]:
        """Return the first entries in the order of cookies; -1 stands for all.

        A directory that was never listed is listed first; one that is old is answered
        as it is known and refreshed in the background. Raises NotFoundError.
        """
        self._refresher.note_access()
        node = self._directory(directory)
        if not await self._list_if_never_listed(node) and self._is_old(node):
            self._refresher.want(directory)
        return self.page(directory, after_cookie=0, limit=limit)

    def version(self) -> int:
        """Return a number that is another one after every commit, whoever's."""
        return self._db.data_version()

    def totals(self) -> Totals:
        """Return how much the account holds; counted again only after a commit."""
        version = self._db.data_version()
        if version != self._totals_version:
            self._totals = entries.totals(self._db.reader)
            self._totals_version = version
        return self._totals

    def _directory(self, inode: Inode) -> Node:
        node = self.node(inode)
        if node.kind is NodeKind.IMAGE:
            raise NotFoundError(f"inode {inode} is not a directory")
        return node

    async def _list_if_never_listed(self, node: Node) -> bool:
        if node.listed_at is not None or (node.album is not None and not node.album.id):
            return False
        for pause_s in limits.FIRST_LISTING_PAUSES_S:
            try:
                await self._list_now(node)
            except OutageError:
                # One page of a gateway is no reason to show an error to somebody who
                # waits anyway; the request's own deadline ends this as well.
                await trio.sleep(pause_s)
            else:
                return True
        await self._list_now(node)
        return True

    async def _list_now(self, node: Node) -> None:
        if node.inode == ROOT_INODE:
            await self._refresher.refresh_albums(Lane.INTERACTIVE)
        else:
            await self._refresher.refresh_album(node.inode, Lane.INTERACTIVE)

    def _is_old(self, node: Node) -> bool:
        if node.kind is not NodeKind.ALBUM or node.listed_at is None:
            return False
        age_s = self._clock.now() - node.listed_at
        return node.is_stale or age_s > limits.ALBUM_RELIST_S


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
