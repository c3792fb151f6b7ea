"""What Imgur told about each image and album: writing their rows.

Bulk functions, because a listing brings thousands of rows of which few differ: a row
is written, and a change recorded, only when something is different. Which names lead
to a record is :mod:`imgurfs.store.entries`, which offers these functions as well.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

from imgurfs import limits
from imgurfs.model import Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import changelog
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection
from imgurfs.store.nodes import NodeKind, fetch, image_from_row

Record = TypeVar("Record", Image, Album)


@dataclass(frozen=True, slots=True)
class Put(Generic[Record]):
    """What putting one record did.

    ``now`` is the record as it is kept. ``is_new``: not known before, or believed to be
    deleted. ``was`` is what it was when something that its name is made of changed
    (title, uploaded name, type), else None. ``is_hidden``: it was deleted through the
    drive and gets no name.
    """

    inode: Inode
    now: Record
    is_new: bool = False
    was: Record | None = None
    is_hidden: bool = False


# --- Images ------------------------------------------------------------------

_IMAGE_FIELDS = tuple(field.name for field in fields(Image))


def put_image(
    c: Connection, image: Image, *, now: float, as_of: float | None = None
) -> Inode:
    """Insert the image, or bring what is known about this id up to date."""
    return put_images(c, [image], now=now, as_of=as_of)[image.id].inode


def put_images(
    c: Connection, images: Collection[Image], *, now: float, as_of: float | None = None
) -> dict[ImageId, Put[Image]]:
    """Do what :func:`put_image` does for many at once.

    ``as_of`` is when this was true (a listing's beginning), None for now. It decides
    between a listing and what was changed here: a title that was set here meanwhile
    stays, and what is deleted comes back only if it is there after Imgur confirmed the
    deletion. A listing that leaves something out (a size of 0, no uploaded name, no
    deletehash) does not erase what an earlier one told.
    """
    as_of = now if as_of is None else as_of
    known = _known_images(c, (image.id for image in images))
    result: dict[ImageId, Put[Image]] = {}
    for image in images:
        assert image.id, "an image gets its row when Imgur has given it an id"
        if image.id in result:
            continue
        if image.id in known:
            result[image.id] = _update_image(c, known[image.id], image, as_of=as_of)
        else:
            inode = _insert_image(c, image, now=now)
            result[image.id] = Put(inode, image, is_new=True)
    return result


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of ``image`` or ``album`` beside what Imgur told of it."""

    inode: Inode
    gone_at: float | None
    title_held_until: float

    def is_back(self, as_of: float) -> bool:
        """Whether what is seen there at that time came back after its deletion."""
        return self.gone_at is not None and self.gone_at + limits.LISTING_LAG_S < as_of


@dataclass(frozen=True, slots=True)
class _KnownImage(_Known):
    is_size_known: bool
    image: Image


def _known_images(c: Connection, ids: Iterable[ImageId]) -> dict[ImageId, _KnownImage]:
    rows = fetch(
        c,
        "SELECT inode, gone_at, title_held_until, is_size_known, id, type, link,"
        " size_bytes, datetime_s, title, description, name, deletehash, width, height,"
        " is_animated, is_favorite, views"
        " FROM image WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps(list(ids))],
    )
    return {
        image_id: _KnownImage(
            inode,
            gone_at,
            held_until,
            bool(is_size_known),
            image_from_row((image_id, *others)),
        )
        for inode, gone_at, held_until, is_size_known, image_id, *others in rows
    }


def _insert_image(c: Connection, image: Image, *, now: float) -> Inode:
    inode = insert_node(c, NodeKind.IMAGE)
    c.execute(
        "INSERT INTO image (id, type, link, size_bytes, datetime_s, title, description,"
        " name, deletehash, width, height, is_animated, is_favorite, views, inode,"
        " is_size_known, first_seen_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*image_values(image), inode, image.size_bytes > 0, now),
    )
    return inode


def _update_image(
    c: Connection, known: _KnownImage, image: Image, *, as_of: float
) -> Put[Image]:
    inode, old = known.inode, known.image
    is_back = known.is_back(as_of)
    if is_back:
        c.execute("UPDATE image SET gone_at = NULL WHERE inode = ?", (inode,))
    is_hidden = known.gone_at is not None and not is_back
    if old == image:
        return Put(inode, old, is_new=is_back, is_hidden=is_hidden)
    is_held = known.title_held_until > as_of
    new = replace(
        image,
        name=image.name or old.name,
        deletehash=image.deletehash or old.deletehash,
        size_bytes=image.size_bytes or old.size_bytes,
        title=old.title if is_held else image.title,
        description=old.description if is_held else image.description,
    )
    if old == new:
        return Put(inode, old, is_new=is_back, is_hidden=is_hidden)
    c.execute(
        "UPDATE image SET id = ?, type = ?, link = ?, size_bytes = ?, datetime_s = ?,"
        " title = ?, description = ?, name = ?, deletehash = ?, width = ?, height = ?,"
        " is_animated = ?, is_favorite = ?, views = ?, is_size_known = ?"
        " WHERE inode = ?",
        (*image_values(new), known.is_size_known or new.size_bytes > 0, inode),
    )
    if (old.size_bytes, old.datetime_s) != (new.size_bytes, new.datetime_s):
        attributes_changed(c, inode)
    is_renamed = (old.title, old.name, old.type) != (new.title, new.name, new.type)
    return Put(inode, new, is_back, old if is_renamed else None, is_hidden)


def image_values(image: Image) -> tuple[Any, ...]:
    """Return the columns of an Image, in the order of its fields."""
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


def made_now(c: Connection, inode: Inode, *, now: float) -> None:
    """Note that Imgur said just now that a call of ours made this image or album."""
    c.execute("UPDATE image SET made_at = ? WHERE inode = ?", (now, inode))
    c.execute("UPDATE album SET made_at = ? WHERE inode = ?", (now, inode))


def doubt(c: Connection, inode: Inode) -> None:
    """Say that the account's own list does not show an image."""
    c.execute("UPDATE image SET is_in_account = 0 WHERE inode = ?", (inode,))


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


def put_album(
    c: Connection, album: Album, *, now: float, as_of: float | None = None
) -> Inode:
    """Insert the album, or bring what is known about this id up to date."""
    return put_albums(c, [album], now=now, as_of=as_of)[album.id].inode


def put_albums(
    c: Connection, albums: Collection[Album], *, now: float, as_of: float | None = None
) -> dict[AlbumId, Put[Album]]:
    """Do what :func:`put_album` does for many at once; :func:`put_images` tells more.

    An album whose count or cover differs from what was known becomes stale: its
    entries are old. An answer that does not say leaves both as they were.
    """
    as_of = now if as_of is None else as_of
    result: dict[AlbumId, Put[Album]] = {}
    for album in albums:
        assert album.id, "an album gets its row when Imgur has given it an id"
        found = _known_album(c, album.id)
        if found is None:
            result[album.id] = Put(_insert_album(c, album), album, is_new=True)
        else:
            result[album.id] = _update_album(c, found, album, as_of=as_of)
    return result


@dataclass(frozen=True, slots=True)
class _KnownAlbum(_Known):
    is_stale: bool
    album: Album


def _known_album(c: Connection, album_id: AlbumId) -> _KnownAlbum | None:
    rows = fetch(
        c,
        "SELECT inode, gone_at, title_held_until, is_stale, id, title, datetime_s,"
        " description, images_count, cover, privacy, link, deletehash, sort_order"
        " FROM album WHERE id = ?",
        [album_id],
    )
    for inode, gone_at, held_until, is_stale, *others in rows:
        return _KnownAlbum(inode, gone_at, held_until, bool(is_stale), Album(*others))
    return None


def _insert_album(c: Connection, album: Album) -> Inode:
    inode = insert_node(c, NodeKind.ALBUM)
    c.execute(
        "INSERT INTO album (id, title, datetime_s, description, images_count, cover,"
        " privacy, link, deletehash, sort_order, inode)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*album_values(album), inode),
    )
    return inode


def _update_album(
    c: Connection, known: _KnownAlbum, album: Album, *, as_of: float
) -> Put[Album]:
    inode, old = known.inode, known.album
    is_back = known.is_back(as_of)
    if is_back:
        c.execute(
            "UPDATE album SET gone_at = NULL, is_stale = 1 WHERE inode = ?", (inode,)
        )
    is_hidden = known.gone_at is not None and not is_back
    is_count_known = album.images_count >= 0
    is_held = known.title_held_until > as_of
    new = replace(
        album,
        deletehash=album.deletehash or old.deletehash,
        images_count=album.images_count if is_count_known else old.images_count,
        cover=album.cover if is_count_known else album.cover or old.cover,
        title=old.title if is_held else album.title,
        description=old.description if is_held else album.description,
    )
    if old == new:
        return Put(inode, old, is_new=is_back, is_hidden=is_hidden)
    is_stale = (
        is_back
        or known.is_stale
        or (old.images_count, old.cover) != (new.images_count, new.cover)
    )
    c.execute(
        "UPDATE album SET id = ?, title = ?, datetime_s = ?, description = ?,"
        " images_count = ?, cover = ?, privacy = ?, link = ?, deletehash = ?,"
        " sort_order = ?, is_stale = ? WHERE inode = ?",
        (*album_values(new), is_stale, inode),
    )
    if old.datetime_s != new.datetime_s:
        attributes_changed(c, inode)
    was = old if old.title != new.title else None
    return Put(inode, new, is_back, was, is_hidden)


def album_values(album: Album) -> tuple[Any, ...]:
    """Return the columns of an Album."""
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
