"""What happened on Imgur because of us: one job's result, folded into the tree.

Used by ``imgurfs.jobs`` inside the ``Database.write`` that settles a job, so that the
job and what it did become visible together. These are facts we know first-hand: the
tree follows at once and the next listing merely confirms it. An album or image that
is not known here yet is left to the next listing. What the user has changed on the
drive since the call was made stays as the user made it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import edits, entries, membership
from imgurfs.store.database import Connection
from imgurfs.store.membership import Place
from imgurfs.tree import placing


def image_uploaded(
    c: Connection, image: Image, *, albums: Sequence[AlbumId], now: float
) -> Inode:
    """Show an image we uploaded: in its albums, or in the root when it has none.

    For a file of the drive, which has its inode and names already:
    ``store.edits.assign_image`` and, for the album the call named,
    ``entries.count_images``.
    """
    put = entries.put_images(c, [image], now=now)[image.id]
    entries.mark_in_account(c, [put.inode])
    entries.made_now(c, put.inode, now=now)
    placing.rename_image(c, put)
    for album_id in albums:
        _add(c, put.inode, album_id)
    if not albums and not entries.albums_of(c, put.inode):
        placing.link_image(c, ROOT_INODE, put.inode, put.now)
    return put.inode


def album_created(
    c: Connection, album: Album, *, images: Sequence[ImageId], now: float
) -> Inode:
    """Show an album we created with these images; its content is known to be that."""
    if album.images_count < 0:
        # The answer to a creation says nothing of it; the next album list will.
        cover = album.cover or next(iter(images), "")
        album = replace(album, images_count=len(images), cover=cover)
    put = entries.put_albums(c, [album], now=now)[album.id]
    entries.made_now(c, put.inode, now=now)
    placing.link_album(c, put.inode, put.now)
    nodes = [entries.node_of_image(c, image_id) for image_id in images]
    for position, node in enumerate(nodes):
        if node is not None and node.image is not None and not node.is_hidden:
            placing.link_image(c, put.inode, node.inode, node.image, position=position)
    if None not in nodes:
        entries.set_listed(c, put.inode, listed_at=now)
    return put.inode


def album_retitled(c: Connection, album_id: AlbumId, title: str) -> None:
    """Show an album under the title we gave it, unless one was given on the drive."""
    node = entries.node_of_album(c, album_id)
    if node is None or node.album is None:
        return
    album = replace(node.album, title=title)
    placing.rename_album(c, entries.put_albums(c, [album], now=0.0)[album_id])


def image_added(
    c: Connection, image_id: ImageId, album_id: AlbumId, *, now: float
) -> None:
    """Show an image in one more album, unless it is to leave it again."""
    del now  # a membership keeps no time
    node = entries.node_of_image(c, image_id)
    if node is not None:
        _add(c, node.inode, album_id)


def image_removed(
    c: Connection, image_id: ImageId, album_id: AlbumId, *, now: float
) -> None:
    """Take an image out of an album, unless it is to come back.

    It is still in the account.
    """
    del now
    node = entries.node_of_image(c, image_id)
    album = entries.node_of_album(c, album_id)
    if node is None or album is None:
        return
    wish = membership.one(c, album_id, image_id)
    if wish is None or wish.state in (Place.REMOVING, Place.GONE):
        entries.unlink(c, album.inode, node.inode)
    entries.count_images(c, album.inode, -1)
    _show_unplaced(c, [node.inode])


def image_deleted(
    c: Connection, image_id: ImageId, *, now: float, parents: Collection[Inode] = ()
) -> None:
    """Hide an image that Imgur has deleted, until the listings know it.

    ``parents``: directories it was in when it was deleted on the drive. A file that is
    being written stays, as one that Imgur does not know.
    """
    node = entries.node_of_image(c, image_id)
    if node is None:
        return
    places = {parent for parent, _, _ in entries.entries_of(c, node.inode)}
    for parent in places | set(parents):
        entries.count_images(c, parent, -1)
    inode = node.inode
    if not node.is_hidden and node.is_only_here:
        inode = edits.split_off(c, inode, gone_at=now)
    edits.gone_now(c, inode, now=now)


def album_deleted(
    c: Connection, album_id: AlbumId, *, now: float | None = None
) -> None:
    """Forget an album that is gone; its images stay in the account.

    ``now`` is when Imgur deleted it because of us (then it stays hidden until the
    listings know it), None when we only found out.
    """
    album = entries.node_of_album(c, album_id)
    if album is None:
        return
    inside = placing.empty_album(c, album.inode)
    if now is not None:
        edits.gone_now(c, album.inode, now=now)
    elif not album.is_hidden:
        entries.remove(c, album.inode)
    _show_unplaced(c, inside)


def _add(c: Connection, inode: Inode, album_id: AlbumId) -> None:
    album = entries.node_of_album(c, album_id)
    node = entries.node(c, inode)
    if album is None or node is None or node.image is None:
        return
    entries.count_images(c, album.inode, 1, cover=node.image.id)
    wish = membership.one(c, album_id, node.image.id)
    is_to_leave = wish is not None and wish.state in (Place.REMOVING, Place.GONE)
    if album.is_hidden or node.is_hidden or is_to_leave:
        return
    members = entries.shown(c, album.inode)
    if node.image.id in members:
        return
    last = max((position for _, position in members.values()), default=-1)
    placing.link_image(c, album.inode, inode, node.image, position=last + 1)


def _show_unplaced(c: Connection, inodes: Sequence[Inode]) -> None:
    """Show in the root those images of the account that have no name any more.

    Of one that only an album has shown the next complete image list decides.
    """
    for node in entries.unplaced_images(c, first_seen_until=math.inf):
        if node.inode in inodes and node.image is not None:
            placing.link_image(c, ROOT_INODE, node.inode, node.image)
