"""What Imgur told about each image and album: writing their rows.

Bulk functions, because a listing brings thousands of rows of which few differ: a row
is written, and a change recorded, only when something is different. Which names lead
to a record is :mod:`imgurfs.store.entries`, which offers these functions as well.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from imgurfs.model import Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import changelog
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection
from imgurfs.store.nodes import Node, NodeKind, image_from_row, node_of_album


@dataclass(frozen=True, slots=True)
class Put:
    """What putting one record did.

    ``is_renamed``: something its name is made of changed (title, uploaded name, type).
    """

    inode: Inode
    is_new: bool = False
    is_renamed: bool = False


# --- Images ------------------------------------------------------------------

_IMAGE_FIELDS = tuple(field.name for field in fields(Image))


def put_image(c: Connection, image: Image, *, now: float) -> Inode:
    """Insert the image, or bring what is known about this id up to date."""
    return put_images(c, [image], now=now)[image.id].inode


def put_images(
    c: Connection, images: Collection[Image], *, now: float
) -> dict[ImageId, Put]:
    """Do what :func:`put_image` does for many at once.

    A listing that leaves something out (a size of 0, no uploaded name, no deletehash)
    does not erase what an earlier one told.
    """
    known = _known_images(c, (image.id for image in images))
    result: dict[ImageId, Put] = {}
    for image in images:
        assert image.id, "an image gets its row when Imgur has given it an id"
        if image.id in result:
            continue
        if image.id in known:
            inode, is_size_known, old = known[image.id]
            result[image.id] = _update_image(
                c, inode, old, image, is_size_known=is_size_known
            )
        else:
            result[image.id] = Put(_insert_image(c, image, now=now), is_new=True)
    return result


def _known_images(
    c: Connection, ids: Iterable[ImageId]
) -> dict[ImageId, tuple[Inode, bool, Image]]:
    cursor = c.cursor()
    cursor.row_factory = None
    rows = cursor.execute(
        "SELECT inode, is_size_known, id, type, link, size_bytes, datetime_s, title,"
        " description, name, deletehash, width, height, is_animated, is_favorite,"
        " views FROM image WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return {row[2]: (row[0], bool(row[1]), image_from_row(row[2:])) for row in rows}


def _insert_image(c: Connection, image: Image, *, now: float) -> Inode:
    inode = insert_node(c, NodeKind.IMAGE)
    c.execute(
        "INSERT INTO image (id, type, link, size_bytes, datetime_s, title, description,"
        " name, deletehash, width, height, is_animated, is_favorite, views, inode,"
        " is_size_known, first_seen_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*_values(image), inode, image.size_bytes > 0, now),
    )
    return inode


def _update_image(
    c: Connection, inode: Inode, old: Image, image: Image, *, is_size_known: bool
) -> Put:
    if old == image:
        return Put(inode)
    new = replace(
        image,
        name=image.name or old.name,
        deletehash=image.deletehash or old.deletehash,
        size_bytes=image.size_bytes or old.size_bytes,
    )
    if old == new:
        return Put(inode)
    c.execute(
        "UPDATE image SET id = ?, type = ?, link = ?, size_bytes = ?, datetime_s = ?,"
        " title = ?, description = ?, name = ?, deletehash = ?, width = ?, height = ?,"
        " is_animated = ?, is_favorite = ?, views = ?, is_size_known = ?"
        " WHERE inode = ?",
        (*_values(new), is_size_known or new.size_bytes > 0, inode),
    )
    if (old.size_bytes, old.datetime_s) != (new.size_bytes, new.datetime_s):
        attributes_changed(c, inode)
    is_renamed = (old.title, old.name, old.type) != (new.title, new.name, new.type)
    return Put(inode, is_renamed=is_renamed)


def _values(image: Image) -> tuple[Any, ...]:
    return tuple(getattr(image, name) for name in _IMAGE_FIELDS)


def set_size(c: Connection, inode: Inode, size_bytes: int) -> None:
    """Note how many bytes the CDN serves for an image."""
    changed = c.execute(
        "UPDATE image SET size_bytes = ?, is_size_known = 1"
        " WHERE inode = ? AND (size_bytes <> ? OR is_size_known = 0)",
        (size_bytes, inode, size_bytes),
    ).rowcount
    if changed:
        attributes_changed(c, inode)


def set_etag(c: Connection, inode: Inode, etag: str) -> None:
    """Note the CDN's ETag of an image's bytes."""
    c.execute("UPDATE image SET etag = ? WHERE inode = ?", (etag, inode))


def mark_in_account(c: Connection, inodes: Iterable[Inode]) -> None:
    """Say that the account's own list, or our upload, has shown these images."""
    c.executemany(
        "UPDATE image SET is_in_account = 1 WHERE inode = ? AND is_in_account = 0",
        [(inode,) for inode in inodes],
    )


def doubt_unplaced(c: Connection, inodes: Iterable[Inode]) -> None:
    """Say of those that have no entry left that they may be gone from Imgur.

    The next complete image list decides.
    """
    c.executemany(
        "UPDATE image SET is_in_account = 0 WHERE inode = ?"
        " AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.inode = image.inode)",
        [(inode,) for inode in inodes],
    )


# --- Albums ------------------------------------------------------------------


def put_album(c: Connection, album: Album, *, now: float) -> Inode:
    """Insert the album, or bring what is known about this id up to date."""
    del now  # an album keeps no time of ours; the signature is put_image's
    return put_albums(c, [album])[album.id].inode


def put_albums(c: Connection, albums: Collection[Album]) -> dict[AlbumId, Put]:
    """Do what :func:`put_album` does for many at once.

    An album whose count or cover differs from what was known becomes stale: its
    entries are old. An answer that does not say leaves both as they were.
    """
    result: dict[AlbumId, Put] = {}
    for album in albums:
        assert album.id, "an album gets its row when Imgur has given it an id"
        found = node_of_album(c, album.id)
        if found is None:
            result[album.id] = Put(_insert_album(c, album), is_new=True)
        else:
            result[album.id] = _update_album(c, found, album)
    return result


def _insert_album(c: Connection, album: Album) -> Inode:
    inode = insert_node(c, NodeKind.ALBUM)
    c.execute(
        "INSERT INTO album (id, title, datetime_s, description, images_count, cover,"
        " privacy, link, deletehash, sort_order, inode)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*_album_values(album), inode),
    )
    return inode


def _update_album(c: Connection, found: Node, album: Album) -> Put:
    old = found.album
    assert old is not None
    is_count_known = album.images_count >= 0
    new = replace(
        album,
        deletehash=album.deletehash or old.deletehash,
        images_count=album.images_count if is_count_known else old.images_count,
        cover=album.cover if is_count_known else album.cover or old.cover,
    )
    if old == new:
        return Put(found.inode)
    is_stale = found.is_stale or (
        (old.images_count, old.cover) != (new.images_count, new.cover)
    )
    c.execute(
        "UPDATE album SET id = ?, title = ?, datetime_s = ?, description = ?,"
        " images_count = ?, cover = ?, privacy = ?, link = ?, deletehash = ?,"
        " sort_order = ?, is_stale = ? WHERE inode = ?",
        (*_album_values(new), is_stale, found.inode),
    )
    if old.datetime_s != new.datetime_s:
        attributes_changed(c, found.inode)
    return Put(found.inode, is_renamed=old.title != new.title)


def _album_values(album: Album) -> tuple[Any, ...]:
    return (
        album.id,
        album.title,
        album.datetime_s,
        album.description,
        album.images_count,
        album.cover,
        album.privacy,
        album.link,
        album.deletehash,
        album.order,
    )


def set_listed(c: Connection, inode: Inode, *, listed_at: float) -> None:
    """Say that an album's entries are what Imgur showed at ``listed_at``."""
    c.execute(
        "UPDATE album SET listed_at = ?, is_stale = 0 WHERE inode = ?",
        (listed_at, inode),
    )


def count_images(c: Connection, inode: Inode, change: int, *, cover: str = "") -> None:
    """Note that we changed an album's images_count, so that it does not look stale.

    ``cover`` is what Imgur makes the cover of an album that had none.
    """
    c.execute(
        "UPDATE album SET images_count = max(images_count + ?, 0),"
        " cover = CASE cover WHEN '' THEN ? ELSE cover END"
        " WHERE inode = ? AND images_count >= 0",
        (change, cover, inode),
    )


# --- Shared with entries -----


def insert_node(c: Connection, kind: NodeKind) -> Inode:
    """Return a fresh inode number."""
    row = c.execute(
        "INSERT INTO node (kind) VALUES (?) RETURNING inode", (kind.value,)
    ).fetchone()
    return Inode(row[0])


def attributes_changed(c: Connection, inode: Inode) -> None:
    """Record that size, time or link count of an inode are different now."""
    changelog.append(
        c,
        parent=changelog.NO_PARENT,
        name="",
        inode=inode,
        kind=ChangeKind.ATTRIBUTES,
    )
