"""Reading the tree: what an inode is and what a directory holds. No writing here.

:mod:`imgurfs.store.entries` writes the same tables and offers these names as well;
other packages import from there. All functions are short reads that may run on the
trio thread with ``Database.reader``. What is asked of the account as a whole is
:mod:`imgurfs.store.known`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import drafts, meta
from imgurfs.store.database import Connection
from imgurfs.store.drafts import ON_IMGUR, Draft


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
    ``draft`` is there when the bytes are, or were lately, in the spool; size and name
    of a file are the draft's then. ``is_hidden``: deleted through the drive.
    """

    inode: Inode
    kind: NodeKind
    links: int = 2
    size_bytes: int = 0
    is_size_known: bool = True
    mtime_ns: int = 0
    atime_ns: int = 0
    ctime_ns: int = 0
    image: Image | None = None
    album: Album | None = None
    listed_at: float | None = None
    is_stale: bool = False
    draft: Draft | None = None
    is_hidden: bool = False

    @property
    def is_only_here(self) -> bool:
        """Whether there are bytes of it in the spool that Imgur never got."""
        return self.draft is not None and self.draft.state not in ON_IMGUR


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


_TIMES = "n.mtime_ns, n.atime_ns, n.ctime_ns"
IMAGE_SELECT = (
    "SELECT i.inode, i.is_size_known, i.gone_at,"  # noqa: S608
    " (SELECT count(*) FROM entry AS l WHERE l.inode = i.inode), "
    + _TIMES
    + ", d.inode, coalesce(i.id, ''), i.type, i.link, i.size_bytes, i.datetime_s,"
    " i.title, i.description, i.name, i.deletehash, i.width, i.height, i.is_animated,"
    " i.is_favorite, i.views"
)
_IMAGE_JOINS = (
    " JOIN node AS n ON n.inode = i.inode LEFT JOIN draft AS d ON d.inode = i.inode"
)
IMAGE_FROM = " FROM image AS i" + _IMAGE_JOINS
ALBUM_SELECT = (
    "SELECT a.inode, a.listed_at, a.is_stale, a.gone_at, "
    + _TIMES
    + ", coalesce(a.id, ''), a.title, a.datetime_s, a.description, a.images_count,"
    " a.cover, a.privacy, a.link, a.deletehash, a.sort_order"
)
_ALBUM_JOINS = " JOIN node AS n ON n.inode = a.inode"
ALBUM_FROM = " FROM album AS a" + _ALBUM_JOINS
#: As far as Imgur has told: what was only deleted on the drive exists.
EXISTS = "(gone_at IS NULL OR gone_at = 9e999)"
#: Where in a row a draft's inode (NULL: none) and the fields of Image and Album stand.
_DRAFTED = 7
_IMAGE_FIELDS = slice(8, 22)
_ALBUM_FIELDS = slice(7, 17)
#: Of gone_at and title_held_until: Imgur has not said yes yet.
PENDING = math.inf
_LAST_COOKIE = (1 << 63) - 1
#: How often a name is looked for that leads to nothing.
_READS = 3
_NO_DRAFTS: Mapping[Inode, Draft] = MappingProxyType({})
_NS_PER_S = 1_000_000_000


def fetch(c: Connection, sql: str, arguments: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return plain tuples: for 10,000 rows half the price of sqlite3.Row."""
    cursor = c.cursor()
    cursor.row_factory = None
    return cursor.execute(sql, tuple(arguments)).fetchall()


def image_from_row(values: Sequence[Any]) -> Image:
    """Build an Image from its columns, selected in the order of its fields."""
    *others, is_animated, is_favorite, views = values
    fields = (*others, bool(is_animated), bool(is_favorite), views)
    return Image(*fields)


def image_node(
    c: Connection, row: Sequence[Any], known: Mapping[Inode, Draft] = _NO_DRAFTS
) -> Node:
    """Build a Node from a row of :data:`IMAGE_SELECT`; ``known`` are some drafts."""
    inode, is_size_known, gone_at, links, mtime_ns, atime_ns, ctime_ns, drafted = row[
        :8
    ]
    image = image_from_row(row[_IMAGE_FIELDS])
    # Few files have one: six columns more would cost every directory a fifth.
    draft = None if drafted is None else known.get(inode) or drafts.get(c, inode)
    if mtime_ns is None:
        mtime_ns = image.datetime_s * _NS_PER_S
    return Node(
        inode,
        NodeKind.IMAGE,
        links,
        image.size_bytes if draft is None else draft.size_bytes,
        bool(is_size_known) or draft is not None,
        mtime_ns,
        mtime_ns if atime_ns is None else atime_ns,
        mtime_ns if ctime_ns is None else ctime_ns,
        image,
        draft=draft,
        is_hidden=gone_at is not None,
    )


def album_node(row: Sequence[Any]) -> Node:
    """Build a Node from a row of :data:`ALBUM_SELECT`."""
    inode, listed_at, is_stale, gone_at = row[:4]
    album = Album(*row[_ALBUM_FIELDS])
    mtime_ns, atime_ns, ctime_ns = _times(row[4:7], float(album.datetime_s))
    return Node(
        inode,
        NodeKind.ALBUM,
        mtime_ns=mtime_ns,
        atime_ns=atime_ns,
        ctime_ns=ctime_ns,
        album=album,
        listed_at=listed_at,
        is_stale=bool(is_stale),
        is_hidden=gone_at is not None,
    )


def _times(times: Sequence[int | None], default_s: float) -> tuple[int, int, int]:
    mtime_ns, atime_ns, ctime_ns = times
    if mtime_ns is None:
        mtime_ns = int(default_s * _NS_PER_S)
    return (
        mtime_ns,
        mtime_ns if atime_ns is None else atime_ns,
        mtime_ns if ctime_ns is None else ctime_ns,
    )


def _root(c: Connection) -> Node:
    listed_at = meta.get_time(c, "albums_listed_at")
    found = fetch(c, "SELECT " + _TIMES + " FROM node AS n WHERE inode = 1", [])  # noqa: S608
    mtime_ns, atime_ns, ctime_ns = _times(found[0], listed_at or 0.0)
    return Node(
        ROOT_INODE,
        NodeKind.ROOT,
        mtime_ns=mtime_ns,
        atime_ns=atime_ns,
        ctime_ns=ctime_ns,
        listed_at=listed_at,
    )


def node(c: Connection, inode: Inode) -> Node | None:
    """Return what ``inode`` is, None when there is no such inode (any more)."""
    if inode == ROOT_INODE:
        return _root(c)
    for row in fetch(c, IMAGE_SELECT + IMAGE_FROM + " WHERE i.inode = ?", [inode]):
        return image_node(c, row)
    for row in fetch(c, ALBUM_SELECT + ALBUM_FROM + " WHERE a.inode = ?", [inode]):
        return album_node(row)
    return None


def child(c: Connection, parent: Inode, name: str) -> Entry | None:
    """Return the entry called ``name`` in the directory, None when there is none."""
    sql = "SELECT cookie, inode FROM entry WHERE parent = ? AND name = ?"
    # Who only reads has no transaction: the node may go before it is read, and then
    # the name has gone with it, or leads to another one.
    for _ in range(_READS):
        for cookie, inode in fetch(c, sql, [parent, name]):
            found = node(c, inode)
            if found is not None:
                return Entry(cookie, parent, name, found)
    return None


def children(
    c: Connection, parent: Inode, *, after_cookie: int = 0, limit: int = -1
) -> list[Entry]:
    """Return the entries of a directory after a cookie, in the order of cookies.

    At most ``limit`` of them; -1 stands for all.
    """
    last_cookie = _LAST_COOKIE
    if limit >= 0:
        last_cookie = _cookie_after(c, parent, after_cookie, limit)
    # "CROSS": the entries first, in their order; SQLite reads the images in that.
    where = " WHERE e.parent = ? AND e.cookie > ? AND e.cookie <= ?"
    arguments = [parent, after_cookie, last_cookie]
    images = fetch(
        c,
        IMAGE_SELECT + ", e.cookie, e.name FROM entry AS e"
        " CROSS JOIN image AS i ON i.inode = e.inode" + _IMAGE_JOINS + where,
        arguments,
    )
    written = any(row[_DRAFTED] is not None for row in images)
    known = drafts.between(c, parent, after_cookie, last_cookie) if written else {}
    entries = [
        Entry(row[-2], parent, row[-1], image_node(c, row, known)) for row in images
    ]
    if parent == ROOT_INODE:
        entries += [
            Entry(row[-2], parent, row[-1], album_node(row))
            for row in fetch(
                c,
                ALBUM_SELECT + ", e.cookie, e.name FROM entry AS e"
                " CROSS JOIN album AS a ON a.inode = e.inode" + _ALBUM_JOINS + where,
                arguments,
            )
        ]
        entries.sort(key=attrgetter("cookie"))
    return entries


def _cookie_after(c: Connection, parent: Inode, after_cookie: int, limit: int) -> int:
    """Return the cookie of the ``limit``-th entry after a cookie, or of the last."""
    rows = fetch(
        c,
        "SELECT max(cookie) FROM (SELECT cookie FROM entry"
        " WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ?)",
        [parent, after_cookie, limit],
    )
    return rows[0][0] or after_cookie


def node_of_image(c: Connection, image_id: ImageId) -> Node | None:
    """Return the image with this id, None when it is not known here, or deleted."""
    sql = IMAGE_SELECT + IMAGE_FROM + " WHERE i.id = ? AND " + EXISTS
    for row in fetch(c, sql, [image_id]):
        return image_node(c, row)
    return None


def node_of_album(c: Connection, album_id: AlbumId) -> Node | None:
    """Return the album with this id, None when it is not known here, or deleted."""
    sql = ALBUM_SELECT + ALBUM_FROM + " WHERE a.id = ? AND " + EXISTS
    for row in fetch(c, sql, [album_id]):
        return album_node(row)
    return None


def albums_by_title(c: Connection, title: str) -> list[Node]:
    """Return the albums that have exactly this title on Imgur, oldest first."""
    rows = fetch(
        c,
        ALBUM_SELECT + ALBUM_FROM + " WHERE a.title = ? AND a.id IS NOT NULL"
        " AND a.gone_at IS NULL ORDER BY a.datetime_s, a.id",
        [title],
    )
    return [album_node(row) for row in rows]


def albums_of(c: Connection, inode: Inode) -> list[AlbumId]:
    """Return the ids of the albums that hold this image, in the order of joining."""
    rows = fetch(
        c,
        "SELECT a.id FROM entry AS e JOIN album AS a ON a.inode = e.parent"
        " WHERE e.inode = ? AND a.id IS NOT NULL ORDER BY e.cookie",
        [inode],
    )
    return [AlbumId(row[0]) for row in rows]


def entries_of(c: Connection, inode: Inode) -> list[tuple[Inode, str, str]]:
    """Return (parent, name, bare name) of every entry that leads to this inode."""
    return fetch(
        c,
        "SELECT parent, name, bare FROM entry WHERE inode = ? ORDER BY cookie",
        [inode],
    )


def totals(c: Connection) -> Totals:
    """Count everything; reads the whole image table."""
    images, size_bytes = fetch(
        c,
        "SELECT count(*), coalesce(sum(coalesce(d.size_bytes, i.size_bytes)), 0)"
        " FROM image AS i LEFT JOIN draft AS d ON d.inode = i.inode"
        " WHERE i.gone_at IS NULL",
        [],
    )[0]
    sql = "SELECT count(*) FROM album WHERE gone_at IS NULL"
    albums = fetch(c, sql, [])[0][0]
    return Totals(images=images, albums=albums, bytes=size_bytes)


def images_marked(c: Connection, part: str = "") -> list[tuple[ImageId, str]]:
    """Return (id, uploaded name) of images that may carry a marker, oldest first.

    With ``part``, the ten characters of a content, only those that may carry that one.
    """
    return fetch(
        c,
        "SELECT id, name FROM image WHERE id IS NOT NULL AND mark <> ''"  # noqa: S608
        + (" AND mark = ?" if part else "")
        + f" AND {EXISTS} ORDER BY datetime_s, id",
        [part] if part else [],
    )


def images_with_digest(c: Connection, digest: bytes) -> list[Inode]:
    """Return the images of Imgur's whose bytes have this digest, oldest first."""
    rows = fetch(
        c,
        "SELECT inode FROM image WHERE digest = ? AND digest <> x''"  # noqa: S608
        " AND id IS NOT NULL AND " + EXISTS + " ORDER BY datetime_s, id",
        [digest],
    )
    return [Inode(row[0]) for row in rows]
