"""What is known of the account as a whole: what a listing is compared with.

Asked by :mod:`imgurfs.tree`; part of what :mod:`imgurfs.store.entries` offers. Two
views must not be mixed up: :func:`shown` is what the drive shows in an album,
:func:`members` what Imgur has in it, as far as that is known. They differ by the wishes
that no call has confirmed (:mod:`imgurfs.store.membership`).
"""

from __future__ import annotations

from imgurfs.model import AlbumId, ImageId, Inode
from imgurfs.store.database import Connection
from imgurfs.store.nodes import (
    ALBUM_FROM,
    ALBUM_SELECT,
    EXISTS,
    IMAGE_FROM,
    IMAGE_SELECT,
    Node,
    album_node,
    fetch,
    image_node,
)

_HAS_NO_ENTRY = "NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.inode = i.inode)"
_IS_UNPLACED = "i.is_in_account = 1 AND i.gone_at IS NULL AND " + _HAS_NO_ENTRY


def album_inodes(c: Connection) -> dict[AlbumId, Inode]:
    """Return every album that has an id here, also those that are gone."""
    return dict(fetch(c, "SELECT id, inode FROM album WHERE id IS NOT NULL", []))


def image_inodes(c: Connection) -> dict[ImageId, Inode]:
    """Return every image that has an id here, also those that are gone."""
    return dict(fetch(c, "SELECT id, inode FROM image WHERE id IS NOT NULL", []))


def account_images(c: Connection) -> dict[ImageId, Inode]:
    """Return the images that a complete image list should show.

    Those it showed before, and those that left their last album since. An image that
    only an album shows may be somebody else's.
    """
    rows = fetch(
        c,
        "SELECT id, inode FROM image AS i WHERE id IS NOT NULL AND (is_in_account = 1"  # noqa: S608
        " OR " + _HAS_NO_ENTRY + ") AND " + EXISTS,
        [],
    )
    return dict(rows)


def account_albums(c: Connection) -> dict[AlbumId, Inode]:
    """Return the albums that a complete album list should show."""
    sql = "SELECT id, inode FROM album WHERE id IS NOT NULL AND " + EXISTS  # noqa: S608
    return dict(fetch(c, sql, []))


def images_made_since(c: Connection, *, after: float) -> set[ImageId]:
    """Return the images that we uploaded after an epoch."""
    rows = fetch(
        c,
        "SELECT id FROM image WHERE id IS NOT NULL AND made_at > ?",
        [after],
    )
    return {row[0] for row in rows}


def albums_made_since(c: Connection, *, after: float) -> set[AlbumId]:
    """Return the albums that we created after an epoch."""
    rows = fetch(
        c,
        "SELECT id FROM album WHERE id IS NOT NULL AND made_at > ?",
        [after],
    )
    return {row[0] for row in rows}


def gone_images(c: Connection, *, until: float) -> dict[ImageId, Inode]:
    """Return the images of which Imgur said by then that they are deleted."""
    sql = "SELECT id, inode FROM image WHERE id IS NOT NULL AND gone_at <= ?"
    return dict(fetch(c, sql, [until]))


def gone_albums(c: Connection, *, until: float) -> dict[AlbumId, Inode]:
    """Return the albums of which Imgur said by then that they are deleted."""
    sql = "SELECT id, inode FROM album WHERE id IS NOT NULL AND gone_at <= ?"
    return dict(fetch(c, sql, [until]))


def nameless_albums(c: Connection) -> list[Node]:
    """Return the albums of Imgur's that should have a name and have none."""
    rows = fetch(
        c,
        ALBUM_SELECT + ALBUM_FROM + " WHERE a.id IS NOT NULL AND a.gone_at IS NULL"  # noqa: S608
        " AND NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.inode = a.inode)"
        " ORDER BY a.datetime_s, a.id",
        [],
    )
    return [album_node(row) for row in rows]


def shown(c: Connection, album: Inode) -> dict[ImageId, tuple[Inode, int]]:
    """Return the images the drive shows in an album, with inode and position."""
    rows = fetch(
        c,
        "SELECT i.id, i.inode, e.position FROM entry AS e"
        " JOIN image AS i ON i.inode = e.inode"
        " WHERE e.parent = ? AND i.id IS NOT NULL",
        [album],
    )
    return {image_id: (inode, position) for image_id, inode, position in rows}


def only_here(c: Connection, album: Inode) -> set[Inode]:
    """Return the files in an album with bytes that Imgur never got."""
    rows = fetch(
        c,
        "SELECT d.inode FROM draft AS d JOIN entry AS e ON e.inode = d.inode"
        " WHERE d.state NOT IN ('sent', 'kept') AND e.parent = ?",
        [album],
    )
    return {row[0] for row in rows}


def members(c: Connection, album: Inode) -> dict[ImageId, tuple[Inode, int]]:
    """Return the images Imgur has in an album, as far as known, by position.

    Not those that are only wished into it; also those that are only wished away (they
    come last, because their place is forgotten).
    """
    rows = fetch(
        c,
        "SELECT i.id, i.inode, e.position FROM entry AS e"
        " JOIN image AS i ON i.inode = e.inode"
        " LEFT JOIN album AS a ON a.inode = e.parent"
        " LEFT JOIN membership AS m ON m.album_id = a.id AND m.image_id = i.id"
        " WHERE e.parent = ? AND i.id IS NOT NULL AND m.state IS NOT 'adding'"
        " ORDER BY e.position, e.cookie",
        [album],
    )
    found = {image_id: (inode, position) for image_id, inode, position in rows}
    last = max((position for _, position in found.values()), default=-1)
    leaving = fetch(
        c,
        "SELECT i.id, i.inode FROM album AS a"
        " JOIN membership AS m ON m.album_id = a.id"
        " JOIN image AS i ON i.id = m.image_id"
        " WHERE a.inode = ? AND m.state = 'removing'",
        [album],
    )
    for position, (image_id, inode) in enumerate(leaving, last + 1):
        found.setdefault(image_id, (inode, position))
    return found


def is_in_album(c: Connection, inode: Inode) -> bool:
    """Whether an album holds the image, and not only because somebody wishes it."""
    rows = fetch(
        c,
        "SELECT 1 FROM entry AS e JOIN album AS a ON a.inode = e.parent"
        " JOIN image AS i ON i.inode = e.inode"
        " LEFT JOIN membership AS m ON m.album_id = a.id AND m.image_id = i.id"
        " WHERE e.inode = ? AND a.id IS NOT NULL AND m.state IS NOT 'adding' LIMIT 1",
        [inode],
    )
    return bool(rows)


def albums_to_list(c: Connection) -> list[Node]:
    """Return the albums whose entries are old, then those never listed."""
    rows = fetch(
        c,
        ALBUM_SELECT + ALBUM_FROM + " WHERE a.id IS NOT NULL AND a.gone_at IS NULL"
        " AND (a.listed_at IS NULL OR a.is_stale = 1)"
        " ORDER BY a.listed_at IS NULL, a.sort_order, a.inode",
        [],
    )
    return [album_node(row) for row in rows]


def unplaced_images(c: Connection, *, first_seen_until: float) -> list[Node]:
    """Return images of the account that have no name anywhere, known since then."""
    rows = fetch(
        c,
        IMAGE_SELECT
        + IMAGE_FROM
        + " WHERE i.first_seen_at <= ? AND "
        + _IS_UNPLACED
        + " ORDER BY i.datetime_s, i.id",
        [first_seen_until],
    )
    return [image_node(c, row) for row in rows]


def has_unplaced_images(c: Connection, *, first_seen_after: float) -> bool:
    """Whether images of the account without a name wait for a newer album list."""
    rows = fetch(
        c,
        "SELECT 1 FROM image AS i WHERE i.first_seen_at > ? AND "  # noqa: S608
        + _IS_UNPLACED
        + " LIMIT 1",
        [first_seen_after],
    )
    return bool(rows)


def has_doubtful_images(c: Connection) -> bool:
    """Whether some image left its last album and may be gone from the account."""
    rows = fetch(
        c,
        "SELECT 1 FROM image AS i WHERE i.is_in_account = 0 AND i.id IS NOT NULL"  # noqa: S608
        " AND i.gone_at IS NULL AND " + _HAS_NO_ENTRY + " LIMIT 1",
        [],
    )
    return bool(rows)
