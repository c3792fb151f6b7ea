"""What the user wants kept in the content cache: images, and albums with all in them.

The table ``pin`` of state.db. The commands ``pin`` and ``unpin`` write it; whoever owns
the cache asks :func:`image_ids` before it removes anything.
"""

from __future__ import annotations

from imgurfs.model import ImageId, Inode
from imgurfs.store.database import Connection

_IMAGES = """
SELECT image.id FROM pin JOIN image ON image.inode = pin.inode
WHERE image.id IS NOT NULL
UNION
SELECT image.id FROM pin JOIN entry ON entry.parent = pin.inode
JOIN image ON image.inode = entry.inode
WHERE image.id IS NOT NULL
"""


def put(c: Connection, inode: Inode, *, now: float) -> None:
    """Keep an image, or whatever is in an album; harmless when it is kept already."""
    c.execute(
        "INSERT INTO pin (inode, pinned_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (inode, now),
    )


def drop(c: Connection, inode: Inode) -> bool:
    """Keep it no longer; return whether it was kept."""
    return c.execute("DELETE FROM pin WHERE inode = ?", (inode,)).rowcount > 0


def everything(c: Connection) -> list[Inode]:
    """Return the images and albums that were pinned, in the order of pinning."""
    rows = c.execute("SELECT inode FROM pin ORDER BY pinned_at, inode")
    return [Inode(row[0]) for row in rows]


def image_ids(c: Connection) -> frozenset[ImageId]:
    """Return the images whose bytes are kept."""
    return frozenset(ImageId(row[0]) for row in c.execute(_IMAGES))
