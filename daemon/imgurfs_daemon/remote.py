"""Reads from state.db what of the account a plan has to know.

The planner's third tree, for the files that ``base`` has found to differ: which albums
have the titles of their directories, which images bear the marker of their content.
Reads only, on the trio thread.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from imgurfs.jobs import placing
from imgurfs.marker import content_part
from imgurfs.model import AlbumId, ImageId
from imgurfs.store import entries, outbox, synced_reads
from imgurfs.store.database import Connection
from imgurfs_daemon.base import Base
from imgurfs_daemon.planner import Remote, Slot, slot_of


async def is_anything_marked(c: Connection) -> bool:
    """Whether the account has an image with a marker that no file is."""
    for found in synced_reads.unbound_marked(c):
        if found:
            return True
        await trio.lowlevel.checkpoint()
    return False


async def read(
    c: Connection,
    base: Base,
    digests: Mapping[bytes, bytes],
    *,
    are_albums_known: bool,
) -> Remote:
    """Return the account as far as it concerns these files."""
    albums: dict[str, tuple[AlbumId, ...]] | None = None
    if are_albums_known:
        slots = {slot_of(path, base.policy) for path in base.files}
        albums = {}
        for slot in slots:
            if slot is not None:
                nodes = entries.albums_by_title(c, slot.title)
                albums[slot.title] = tuple(
                    node.album.id
                    for node in nodes
                    if node.album and not _is_taken(c, base, slot, node.album.id)
                )
                await trio.lowlevel.checkpoint()
    wanted = {content_part(digest) for digest in digests.values()}
    marked: dict[str, list[ImageId]] = {}
    if wanted:
        for found in synced_reads.unbound_marked(c):
            for marker, image_id in found:
                if marker.content not in wanted:
                    continue
                # Whoever looks for what an upload has made knows what it was made as:
                # taken for another file, it would stay in the album it was sent into.
                if not outbox.unknown_with_marker(c, str(marker)):
                    marked.setdefault(marker.content, []).append(image_id)
            await trio.lowlevel.checkpoint()
    return Remote(
        albums=albums,
        marked={content: tuple(images) for content, images in marked.items()},
        gone=frozenset(base.gone_images),
    )


def _is_taken(c: Connection, base: Base, slot: Slot, album_id: AlbumId) -> bool:
    """Whether an album is another directory's, whatever title the list gives it."""
    folder = base.folder
    return folder is not None and placing.is_taken(
        c, folder.id, slot.directory, album_id
    )
