"""Extended attributes: what Imgur knows of a file, readable with getfattr.

Pure; used by ``fuse.operations``. The deletehash is a secret and is not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from imgurfs.model import AlbumId
from imgurfs.store.entries import Node

_PREFIX = "user.imgur."


def xattrs_of(node: Node, album_ids: Sequence[AlbumId]) -> dict[bytes, bytes]:
    """Return names and values; an attribute without a value is left out."""
    values: dict[str, str] = {}
    if node.image is not None:
        values = {
            "id": node.image.id,
            "link": node.image.link,
            "type": node.image.type,
            "title": node.image.title,
            "description": node.image.description,
            "datetime": _iso(node.image.datetime_s),
            "views": str(node.image.views),
            "album_ids": ",".join(album_ids),
        }
    elif node.album is not None:
        values = {
            "id": node.album.id,
            "link": node.album.link,
            "title": node.album.title,
            "description": node.album.description,
            "datetime": _iso(node.album.datetime_s),
        }
    return {
        (_PREFIX + name).encode(): value.encode("utf-8", "replace")
        for name, value in values.items()
        if value
    }


def _iso(epoch_s: int) -> str:
    """Return a time as people read it; "" for one that no calendar has."""
    try:
        return datetime.fromtimestamp(epoch_s, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return ""
