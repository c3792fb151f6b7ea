"""Extended attributes: what Imgur knows of a file, and where the file stands.

Pure; used by the request handlers. The deletehash is a secret and is not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from imgurfs.model import AlbumId
from imgurfs.store.drafts import DraftState
from imgurfs.store.entries import Node, NodeKind

_IMGUR: Final = "user.imgur."
_OURS: Final = "user.imgurfs."

TITLE: Final = b"user.imgur.title"
DESCRIPTION: Final = b"user.imgur.description"

#: What ``user.imgurfs.state`` says of a file with bytes in the spool.
_STATES: Final = {
    DraftState.WRITING: "writing",
    DraftState.SCRATCH: "scratch",
    DraftState.LOCAL: "local-only",
    DraftState.WAITING: "waiting",
    DraftState.SENT: "uploaded",
    DraftState.KEPT: "uploaded",
    DraftState.REFUSED: "refused",
}


def xattrs_of(node: Node, album_ids: Sequence[AlbumId]) -> dict[bytes, bytes]:
    """Return names and values; an attribute without a value is left out."""
    values: dict[str, str] = {}
    if node.image is not None:
        values = {
            _IMGUR + "id": node.image.id,
            _IMGUR + "link": node.image.link,
            _IMGUR + "type": node.image.type,
            _IMGUR + "title": node.image.title,
            _IMGUR + "description": node.image.description,
            _IMGUR + "datetime": _iso(node.image.datetime_s),
            _IMGUR + "views": str(node.image.views) if node.image.id else "",
            _IMGUR + "album_ids": ",".join(album_ids),
        }
    elif node.album is not None:
        values = {
            _IMGUR + "id": node.album.id,
            _IMGUR + "link": node.album.link,
            _IMGUR + "title": node.album.title,
            _IMGUR + "description": node.album.description,
            _IMGUR + "datetime": _iso(node.album.datetime_s),
        }
    values |= _standing(node)
    return {
        name.encode(): value.encode("utf-8", "replace")
        for name, value in values.items()
        if value
    }


def _standing(node: Node) -> dict[str, str]:
    """Return where a file or album stands on its way to Imgur."""
    if node.kind is NodeKind.ROOT:
        return {}
    draft = node.draft
    if draft is None:
        known = node.image or node.album
        is_there = known is not None and known.id
        return {_OURS + "state": "uploaded" if is_there else "waiting"}
    return {
        _OURS + "state": _STATES[draft.state],
        _OURS + "error": draft.error,
        _OURS + "lossy": "1" if draft.state is DraftState.KEPT else "",
    }


def _iso(epoch_s: int) -> str:
    """Return a time as people read it; "" for none, and for one no calendar has."""
    if not epoch_s:
        return ""
    try:
        return datetime.fromtimestamp(epoch_s, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return ""
