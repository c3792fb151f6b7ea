"""What happened on Imgur because of us: one job's result, folded into the tree.

Used by ``imgurfs.jobs`` inside the ``Database.write`` that settles a job, so that the
job and what it did become visible together. These are facts we know first-hand: the
tree follows at once and the next listing merely confirms it. An album or image that
is not known here yet is left to the next listing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import entries
from imgurfs.store.database import Connection
from imgurfs.tree import placing


def image_uploaded(
    c: Connection, image: Image, *, albums: Sequence[AlbumId], now: float
) -> Inode:
    """Show an image we uploaded: in its albums, or in the root when it has none."""
    put = entries.put_images(c, [image], now=now)[image.id]
    entries.mark_in_account(c, [put.inode])
    if put.is_renamed:
        placing.rename_image(c, put.inode)
    for album_id in albums:
        _add(c, put.inode, album_id)
    if not albums and not entries.albums_of(c, put.inode):
        placing.link_image(c, ROOT_INODE, put.inode, image)
    return put.inode


def album_created(
    c: Connection, album: Album, *, images: Sequence[ImageId], now: float
) -> Inode:
    """Show an album we created with these images; its content is known to be that."""
    if album.images_count < 0:
        # The answer to a creation says nothing of it; the next album list will.
        cover = album.cover or next(iter(images), "")
        album = replace(album, images_count=len(images), cover=cover)
    put = entries.put_albums(c, [album])[album.id]
    placing.link_album(c, put.inode, album)
    nodes = [entries.node_of_image(c, image_id) for image_id in images]
    for position, node in enumerate(nodes):
        if node is not None and node.image is not None:
            placing.link_image(c, put.inode, node.inode, node.image, position=position)
    if None not in nodes:
        entries.set_listed(c, put.inode, listed_at=now)
    return put.inode


def album_retitled(c: Connection, album_id: AlbumId, title: str) -> None:
    """Show an album under the title we gave it."""
    node = entries.node_of_album(c, album_id)
    if node is None or node.album is None:
        return
    album = replace(node.album, title=title)
    if entries.put_albums(c, [album])[album_id].is_renamed:
        placing.rename_album(c, node.inode, album)


def image_added(
    c: Connection, image_id: ImageId, album_id: AlbumId, *, now: float
) -> None:
    """Show an image in one more album."""
    del now  # a membership keeps no time
    node = entries.node_of_image(c, image_id)
    if node is not None:
        _add(c, node.inode, album_id)


def image_removed(
    c: Connection, image_id: ImageId, album_id: AlbumId, *, now: float
) -> None:
    """Take an image out of an album; it is still in the account."""
    del now
    node = entries.node_of_image(c, image_id)
    album = entries.node_of_album(c, album_id)
    if node is None or album is None:
        return
    if album_id in entries.albums_of(c, node.inode):
        entries.unlink(c, album.inode, node.inode)
        entries.count_images(c, album.inode, -1)
    _show_unplaced(c, [node.inode])


def image_deleted(c: Connection, image_id: ImageId) -> None:
    """Forget an image that does not exist any more."""
    node = entries.node_of_image(c, image_id)
    if node is None:
        return
    for album_id in entries.albums_of(c, node.inode):
        album = entries.node_of_album(c, album_id)
        assert album is not None
        entries.count_images(c, album.inode, -1)
    entries.remove(c, node.inode)


def album_deleted(c: Connection, album_id: AlbumId) -> None:
    """Forget an album; its images stay in the account."""
    album = entries.node_of_album(c, album_id)
    if album is None:
        return
    inside = [inode for inode, _ in entries.members(c, album.inode).values()]
    entries.remove(c, album.inode)
    _show_unplaced(c, inside)


def _add(c: Connection, inode: Inode, album_id: AlbumId) -> None:
    album = entries.node_of_album(c, album_id)
    node = entries.node(c, inode)
    if album is None or node is None or node.image is None:
        return
    members = entries.members(c, album.inode)
    if node.image.id in members:
        return
    last = max((position for _, position in members.values()), default=-1)
    placing.link_image(c, album.inode, inode, node.image, position=last + 1)
    entries.count_images(c, album.inode, 1, cover=node.image.id)


def _show_unplaced(c: Connection, inodes: Sequence[Inode]) -> None:
    """Show in the root those images of ours that no album holds any more."""
    ours = set(entries.account_images(c).values())
    for inode in inodes:
        node = entries.node(c, inode)
        if node is None or node.image is None or inode not in ours:
            continue
        if not entries.albums_of(c, inode):
            placing.link_image(c, ROOT_INODE, inode, node.image)
