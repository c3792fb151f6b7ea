"""A drive whose edits reach the account late and out of order, in one process.

Used by the tests of the overlay: the user edits the rows (``overlay_user``), calls are
carried out on an account in memory when the test says so, their answers arrive when it
says so (``overlay_calls``), and listings show the account as it was a moment ago. What
``writing`` and ``jobs`` do is done in its shortest form, without their rules.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import changelog, entries
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection
from imgurfs.tree import fold
from tests.support.account import open_state

Fold = Callable[[], None]


@dataclass
class World:
    """What exists on Imgur."""

    images: dict[ImageId, Image] = field(default_factory=dict)
    albums: dict[AlbumId, Album] = field(default_factory=dict)
    contents: dict[AlbumId, list[ImageId]] = field(default_factory=dict)

    def described(self, album_id: AlbumId) -> Album:
        """Return an album as a listing describes it."""
        content = self.contents[album_id]
        return replace(
            self.albums[album_id],
            images_count=len(content),
            cover=content[0] if content else "",
        )


class Overlaid:
    """The account, its listings and what the drive shows."""

    def __init__(self, path: Path) -> None:
        self.db = open_state(path)
        self.now = 1_000.0
        self.world = World()
        self.folds: list[Fold] = []
        self._history: list[tuple[float, World]] = [(0.0, World())]
        self._mirror: dict[Inode, dict[str, Inode]] = {}
        self._seq = 0

    # --- Looking ------------------------------------------------------------------

    def tree(self) -> dict[Inode, dict[str, Inode]]:
        """Return what the drive shows: names and inodes by directory."""
        reader = self.db.reader
        return {
            directory: {
                one.name: one.node.inode for one in entries.children(reader, directory)
            }
            for directory in self.directories()
        }

    def directories(self) -> list[Inode]:
        """Return the root and the albums."""
        children = entries.children(self.db.reader, ROOT_INODE)
        return [ROOT_INODE, *(one.node.inode for one in children if one.node.album)]

    def files(self) -> list[tuple[Inode, str, Inode]]:
        """Return (directory, name, inode) of every name of a file."""
        directories = self.directories()
        return [
            (directory, name, inode)
            for directory, names in self.tree().items()
            for name, inode in names.items()
            if inode not in directories
        ]

    def check_rows(self) -> None:
        """Assert what holds at every moment."""
        c = self.db.reader
        rows = c.execute(
            "SELECT 1 FROM entry AS e LEFT JOIN image AS i USING (inode)"
            " LEFT JOIN album AS a USING (inode)"
            " WHERE coalesce(i.gone_at, a.gone_at) IS NOT NULL"
            " OR (i.inode IS NULL AND a.inode IS NULL)"
        ).fetchall()
        assert rows == [], "something hidden, or nothing, has a name"
        twice = c.execute(
            "SELECT inode FROM entry WHERE inode IN (SELECT inode FROM entry"
            " WHERE parent = 1) GROUP BY inode HAVING count(*) > 1"
        ).fetchall()
        assert twice == [], "an image is in the root and in an album"
        self._replay()
        shown = {k: v for k, v in self._mirror.items() if v}
        assert shown == {k: v for k, v in self.tree().items() if v}

    def _replay(self) -> None:
        """Bring the mirror up to date by the change log alone, as the mount does."""
        for change in changelog.since(self.db.reader, self._seq, 1 << 30):
            self._seq = change.seq
            names = self._mirror.setdefault(change.parent, {})
            if change.kind is ChangeKind.ADDED:
                names[change.name] = change.inode
            elif change.kind is ChangeKind.REMOVED:
                assert names.pop(change.name) == change.inode

    # --- Time, and what listings show -------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def changed(self) -> None:
        """Note that the account is different now."""
        self._history.append((self.now, copy.deepcopy(self.world)))

    def seen(self, lag_s: float) -> World:
        """Return the account as it was ``lag_s`` ago."""
        return [w for at, w in self._history if at <= self.now - lag_s][-1]

    def list_images(self, lag_s: float) -> None:
        """Begin to read the image list; folded by :meth:`fold_one`."""
        began_at, seen = self.now, self.seen(lag_s)
        before = frozenset(entries.image_inodes(self.db.reader))
        self.folds.append(
            lambda: self.write(
                lambda c: fold.fold_images(
                    c,
                    before=before,
                    listing=seen.images,
                    began_at=began_at,
                    ended_at=self.now,
                )
            )
        )

    def list_albums(self, lag_s: float) -> None:
        """Begin to read the album list."""
        began_at, seen = self.now, self.seen(lag_s)
        before = frozenset(entries.album_inodes(self.db.reader))
        listing = {one: seen.described(one) for one in seen.albums}
        self.folds.append(
            lambda: self.write(
                lambda c: fold.fold_albums(
                    c, before=before, listing=listing, began_at=began_at
                )
            )
        )

    def list_album(self, album_id: AlbumId, lag_s: float) -> None:
        """Begin to read one album."""
        began_at, seen = self.now, self.seen(lag_s)
        node = entries.node_of_album(self.db.reader, album_id)
        if node is None or album_id not in seen.albums:
            return
        inode = node.inode
        before = frozenset(entries.shown(self.db.reader, inode))
        album = seen.described(album_id)
        listing = {
            one: seen.images[one]
            for one in seen.contents[album_id]
            if one in seen.images
        }
        self.folds.append(
            lambda: self.write(
                lambda c: fold.fold_album(
                    c,
                    inode,
                    before=before,
                    album=album,
                    listing=listing,
                    began_at=began_at,
                )
            )
        )

    def fold_one(self, index: int) -> None:
        """Fold one of the listings that were read."""
        self.folds.pop(index)()

    def write(self, fn: Callable[[Connection], object]) -> None:
        """Change the state in one transaction."""
        self.db.write_blocking(fn, is_durable=False)
