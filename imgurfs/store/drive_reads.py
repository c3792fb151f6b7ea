"""What jobs from the drive ask of the tree's rows. Reads only.

Beside :mod:`imgurfs.store.nodes`, which answers the drive itself. Used by
``imgurfs.jobs``.
"""

from __future__ import annotations

from imgurfs.model import ImageId, Inode
from imgurfs.store.database import Connection
from imgurfs.store.nodes import EXISTS


def is_deleted(c: Connection, image_id: ImageId) -> bool:
    """Whether Imgur has said that an image is deleted, and it has not come back."""
    row = c.execute(
        f"SELECT 1 FROM image WHERE id = ? AND NOT {EXISTS}",  # noqa: S608
        (image_id,),
    ).fetchone()
    return row is not None


def is_title_held(c: Connection, inode: Inode, *, now: float) -> bool:
    """Whether title and description of something were set here and are not on Imgur."""
    row = c.execute(
        "SELECT 1 FROM image WHERE inode = ? AND title_held_until > ?"
        " UNION ALL SELECT 1 FROM album WHERE inode = ? AND title_held_until > ?",
        (inode, now, inode, now),
    ).fetchone()
    return row is not None


def without_digest(
    c: Connection, *, size_bytes: int, limit: int
) -> list[tuple[Inode, ImageId]]:
    """Return images of a size whose bytes nobody has compared yet, newest first."""
    rows = c.execute(
        "SELECT inode, id FROM image WHERE size_bytes = ? AND digest = x''"  # noqa: S608
        f" AND id IS NOT NULL AND {EXISTS} ORDER BY first_seen_at DESC LIMIT ?",
        (size_bytes, limit),
    )
    return [(Inode(row[0]), ImageId(row[1])) for row in rows]
