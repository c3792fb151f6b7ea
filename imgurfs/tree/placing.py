"""Which names lead to which inode: the naming rules applied to the store's entries.

Shared by :mod:`imgurfs.tree.fold` (what Imgur showed) and
:mod:`imgurfs.tree.changes` (what we did); inside ``Database.write`` only.
"""

from __future__ import annotations

from imgurfs.model import ROOT_INODE, Album, Image, Inode
from imgurfs.store import entries, meta
from imgurfs.store.database import Connection
from imgurfs.tree import naming


def bare_image_name(image: Image) -> str:
    """Return what the image would be called alone in the world."""
    return naming.image_name(
        title=image.title, name=image.name, image_id=image.id, mime_type=image.type
    )


def bare_album_name(album: Album) -> str:
    """Return what the album would be called alone in the world."""
    return naming.album_name(title=album.title, album_id=album.id)


def link_image(
    c: Connection, parent: Inode, inode: Inode, image: Image, *, position: int = 0
) -> None:
    """Name the image in a directory, unless it has a name there.

    An image that is in an album is not in the root.
    """
    bare = bare_image_name(image)
    names = naming.candidates(bare, image.id, is_directory=False)
    entries.link(c, parent, inode, bare=bare, names=names, position=position)
    if parent != ROOT_INODE:
        entries.unlink(c, ROOT_INODE, inode)


def link_album(c: Connection, inode: Inode, album: Album) -> None:
    """Name the album in the root, unless it has a name there."""
    bare = bare_album_name(album)
    names = naming.candidates(bare, album.id, is_directory=True)
    entries.link(c, ROOT_INODE, inode, bare=bare, names=names)


def rename_image(c: Connection, inode: Inode) -> None:
    """Follow a changed title: in every directory that holds the image."""
    node = entries.node(c, inode)
    assert node is not None
    assert node.image is not None
    bare = bare_image_name(node.image)
    for parent, _, _ in entries.entries_of(c, inode):
        names = naming.candidates(bare, node.image.id, is_directory=False)
        entries.rename(c, parent, inode, bare=bare, names=names)


def rename_album(c: Connection, inode: Inode, album: Album) -> None:
    """Follow a changed title."""
    bare = bare_album_name(album)
    names = naming.candidates(bare, album.id, is_directory=True)
    entries.rename(c, ROOT_INODE, inode, bare=bare, names=names)


def show_in_root(c: Connection, *, unlistable: frozenset[Inode] = frozenset()) -> None:
    """Give a name in the root to every image that is known to be in no album.

    That is known once every album's entries are up to date and the album list is
    newer than the image's first appearance. ``unlistable`` albums, which Imgur lists
    but refuses to show, do not count: they would hide the images for ever.
    """
    albums_listed_at = meta.get_time(c, "albums_listed_at")
    if albums_listed_at is None:
        return
    if any(album.inode not in unlistable for album in entries.albums_to_list(c)):
        return
    for node in entries.unplaced_images(c, first_seen_until=albums_listed_at):
        assert node.image is not None
        link_image(c, ROOT_INODE, node.inode, node.image)
