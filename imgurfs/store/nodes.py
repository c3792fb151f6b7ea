"""Reading the tree: what an inode is and what a directory holds. No writing here.

:mod:`imgurfs.store.entries` writes the same tables and offers these names as well;
other packages import from there. All functions are short reads that may run on the
trio thread with ``Database.reader``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import meta
from imgurfs.store.database import Connection


class NodeKind(enum.StrEnum):
    """What an inode stands for."""

    ROOT = "root"
    ALBUM = "album"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Node:
    """What an inode is.

    ``links`` is 2 for a directory and the number of entries for an image (0: it is
    in the account but has no name in the tree yet). ``image`` or ``album`` is set
    according to ``kind``; their id is "" while Imgur does not know them.
    ``listed_at`` is when the directory's content was last read, None = never.
    """

    inode: Inode
    kind: NodeKind
    links: int = 2
    size_bytes: int = 0
    is_size_known: bool = True
    mtime_s: float = 0.0
    image: Image | None = None
    album: Album | None = None
    listed_at: float | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in one directory. ``cookie`` orders them; readdir goes on after it."""

    cookie: int
    parent: Inode
    name: str
    node: Node


@dataclass(frozen=True, slots=True)
class Totals:
    """What the whole account holds, as far as it is known here."""

    images: int
    albums: int
    bytes: int


_IMAGE_SELECT = (
    "SELECT i.inode, i.is_size_known, i.mtime_s,"
    " (SELECT count(*) FROM entry AS l WHERE l.inode = i.inode),"
    " coalesce(i.id, ''), i.type, i.link, i.size_bytes, i.datetime_s, i.title,"
    " i.description, i.name, i.deletehash, i.width, i.height, i.is_animated,"
    " i.is_favorite, i.views"
)
_ALBUM_SELECT = (
    "SELECT a.inode, a.listed_at, a.is_stale,"
    " coalesce(a.id, ''), a.title, a.datetime_s, a.description, a.images_count,"
    " a.cover, a.privacy, a.link, a.deletehash, a.sort_order"
)
_HAS_NO_ENTRY = "NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.inode = i.inode)"
_IMAGE_COLUMNS = 18
_ALBUM_COLUMNS = 13


def _rows(c: Connection, sql: str, arguments: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return plain tuples: for 10,000 rows half the price of sqlite3.Row."""
    cursor = c.cursor()
    cursor.row_factory = None
    return cursor.execute(sql, tuple(arguments)).fetchall()


def image_from_row(values: Sequence[Any]) -> Image:
    """Build an Image from its columns, selected in the order of its fields."""
    *others, is_animated, is_favorite, views = values
    fields = (*others, bool(is_animated), bool(is_favorite), views)
    return Image(*fields)


def _image_node(row: tuple[Any, ...]) -> Node:
    inode, is_size_known, mtime_s, links, *fields = row
    image = image_from_row(fields)
    return Node(
        inode,
        NodeKind.IMAGE,
        links,
        image.size_bytes,
        bool(is_size_known),
        float(image.datetime_s) if mtime_s is None else mtime_s,
        image=image,
    )


def _album_node(row: tuple[Any, ...]) -> Node:
    inode, listed_at, is_stale, *fields = row
    album = Album(*fields)
    return Node(
        inode,
        NodeKind.ALBUM,
        mtime_s=float(album.datetime_s),
        album=album,
        listed_at=listed_at,
        is_stale=bool(is_stale),
    )


def _root(c: Connection) -> Node:
    listed_at = meta.get_time(c, "albums_listed_at")
    return Node(
        ROOT_INODE,
        NodeKind.ROOT,
        mtime_s=listed_at or 0.0,
        listed_at=listed_at,
    )


def node(c: Connection, inode: Inode) -> Node | None:
    """Return what ``inode`` is, None when there is no such inode (any more)."""
    if inode == ROOT_INODE:
        return _root(c)
    for row in _rows(c, _IMAGE_SELECT + " FROM image AS i WHERE i.inode = ?", [inode]):
        return _image_node(row)
    for row in _rows(c, _ALBUM_SELECT + " FROM album AS a WHERE a.inode = ?", [inode]):
        return _album_node(row)
    return None


def child(c: Connection, parent: Inode, name: str) -> Entry | None:
    """Return the entry called ``name`` in the directory, None when there is none."""
    rows = _rows(
        c,
        "SELECT cookie, inode FROM entry WHERE parent = ? AND name = ?",
        [parent, name],
    )
    if not rows:
        return None
    cookie, inode = rows[0]
    found = node(c, inode)
    assert found is not None, "an entry refers to a node that exists"
    return Entry(cookie, parent, name, found)


def children(c: Connection, parent: Inode, *, after_cookie: int = 0) -> list[Entry]:
    """Return the entries of a directory after a cookie, in the order of cookies."""
    where = " WHERE e.parent = ? AND e.cookie > ?"
    images = _rows(
        c,
        _IMAGE_SELECT + ", e.cookie, e.name FROM entry AS e"
        " JOIN image AS i ON i.inode = e.inode" + where,
        [parent, after_cookie],
    )
    entries = [
        Entry(row[-2], parent, row[-1], _image_node(row[:_IMAGE_COLUMNS]))
        for row in images
    ]
    if parent == ROOT_INODE:
        albums = _rows(
            c,
            _ALBUM_SELECT + ", e.cookie, e.name FROM entry AS e"
            " JOIN album AS a ON a.inode = e.inode" + where,
            [parent, after_cookie],
        )
        entries += [
            Entry(row[-2], parent, row[-1], _album_node(row[:_ALBUM_COLUMNS]))
            for row in albums
        ]
    entries.sort(key=attrgetter("cookie"))
    return entries


def node_of_image(c: Connection, image_id: ImageId) -> Node | None:
    """Return the image with this id, None when it is not known here."""
    for row in _rows(c, _IMAGE_SELECT + " FROM image AS i WHERE i.id = ?", [image_id]):
        return _image_node(row)
    return None


def node_of_album(c: Connection, album_id: AlbumId) -> Node | None:
    """Return the album with this id, None when it is not known here."""
    for row in _rows(c, _ALBUM_SELECT + " FROM album AS a WHERE a.id = ?", [album_id]):
        return _album_node(row)
    return None


def albums_by_title(c: Connection, title: str) -> list[Node]:
    """Return the albums that have exactly this title on Imgur, oldest first."""
    rows = _rows(
        c,
        _ALBUM_SELECT
        + " FROM album AS a WHERE a.title = ? ORDER BY a.datetime_s, a.id",
        [title],
    )
    return [_album_node(row) for row in rows]


def albums_of(c: Connection, inode: Inode) -> list[AlbumId]:
    """Return the ids of the albums that hold this image, in the order of joining."""
    rows = _rows(
        c,
        "SELECT a.id FROM entry AS e JOIN album AS a ON a.inode = e.parent"
        " WHERE e.inode = ? AND a.id IS NOT NULL ORDER BY e.cookie",
        [inode],
    )
    return [AlbumId(row[0]) for row in rows]


def entries_of(c: Connection, inode: Inode) -> list[tuple[Inode, str, str]]:
    """Return (parent, name, bare name) of every entry that leads to this inode."""
    return _rows(
        c,
        "SELECT parent, name, bare FROM entry WHERE inode = ? ORDER BY cookie",
        [inode],
    )


def totals(c: Connection) -> Totals:
    """Count everything; reads the whole image table."""
    images, size_bytes = _rows(
        c, "SELECT count(*), coalesce(sum(size_bytes), 0) FROM image", []
    )[0]
    albums = _rows(c, "SELECT count(*) FROM album", [])[0][0]
    return Totals(images=images, albums=albums, bytes=size_bytes)


def images_named_like(c: Connection, part: str) -> list[tuple[ImageId, str]]:
    """Return (id, uploaded name) of images whose name contains ``part``, oldest first.

    ``part`` holds neither % nor _.
    """
    return _rows(
        c,
        "SELECT id, name FROM image WHERE id IS NOT NULL AND name LIKE ?"
        " ORDER BY datetime_s, id",
        [f"%{part}%"],
    )


# --- What the refresher asks ---------------------------------------------------


def album_inodes(c: Connection) -> dict[AlbumId, Inode]:
    """Return every album that Imgur knows, as far as it is known here."""
    return dict(_rows(c, "SELECT id, inode FROM album WHERE id IS NOT NULL", []))


def image_inodes(c: Connection) -> dict[ImageId, Inode]:
    """Return every image that Imgur knows, as far as it is known here."""
    return dict(_rows(c, "SELECT id, inode FROM image WHERE id IS NOT NULL", []))


def account_images(c: Connection) -> dict[ImageId, Inode]:
    """Return the images that a complete image list should show.

    Those it showed before, and those that left their last album since. An image that
    only an album shows may be somebody else's.
    """
    rows = _rows(
        c,
        "SELECT id, inode FROM image AS i WHERE id IS NOT NULL AND (is_in_account = 1"
        " OR NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.inode = i.inode))",
        [],
    )
    return dict(rows)


def members(c: Connection, album: Inode) -> dict[ImageId, tuple[Inode, int]]:
    """Return the images an album holds, each with its inode and position."""
    rows = _rows(
        c,
        "SELECT i.id, i.inode, e.position FROM entry AS e"
        " JOIN image AS i ON i.inode = e.inode"
        " WHERE e.parent = ? AND i.id IS NOT NULL",
        [album],
    )
    return {image_id: (inode, position) for image_id, inode, position in rows}


def albums_to_list(c: Connection) -> list[Node]:
    """Return the albums whose entries are old, then those never listed."""
    rows = _rows(
        c,
        _ALBUM_SELECT + " FROM album AS a WHERE a.id IS NOT NULL"
        " AND (a.listed_at IS NULL OR a.is_stale = 1)"
        " ORDER BY a.listed_at IS NULL, a.sort_order, a.inode",
        [],
    )
    return [_album_node(row) for row in rows]


def unplaced_images(c: Connection, *, first_seen_until: float) -> list[Node]:
    """Return images of the account that have no name anywhere, known since then."""
    rows = _rows(
        c,
        _IMAGE_SELECT
        + " FROM image AS i WHERE i.is_in_account = 1 AND i.first_seen_at <= ? AND "
        + _HAS_NO_ENTRY
        + " ORDER BY i.datetime_s, i.id",
        [first_seen_until],
    )
    return [_image_node(row) for row in rows]


def has_unplaced_images(c: Connection, *, first_seen_after: float) -> bool:
    """Whether images of the account without a name wait for a newer album list."""
    rows = _rows(
        c,
        "SELECT 1 FROM image AS i WHERE i.is_in_account = 1 AND i.first_seen_at > ?"
        " AND NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.inode = i.inode) LIMIT 1",
        [first_seen_after],
    )
    return bool(rows)


def has_doubtful_images(c: Connection) -> bool:
    """Whether some image left its last album and may be gone from the account."""
    rows = _rows(
        c,
        "SELECT 1 FROM image AS i WHERE i.is_in_account = 0 AND i.id IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.inode = i.inode) LIMIT 1",
        [],
    )
    return bool(rows)
