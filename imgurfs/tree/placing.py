"""Which names lead to which inode: the naming rules applied to the store's entries.

Shared by :mod:`imgurfs.tree.fold` (what Imgur showed) and
:mod:`imgurfs.tree.changes` (what we did); inside ``Database.write`` only. What was
deleted through the drive gets no name here, whatever Imgur shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from imgurfs.marker import parse_marker
from imgurfs.model import ROOT_INODE, Album, Image, Inode
from imgurfs.store import edits, entries, meta, notices, outbox
from imgurfs.store.database import Connection
from imgurfs.store.entries import Put
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

    An image that is in an album is not in the root. The caller knows that it is not
    hidden.
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


def rename_image(c: Connection, put: Put[Image]) -> None:
    """Follow what putting an image changed: in every directory that holds it.

    A name that was given on the drive stays when nothing else is different.
    """
    if put.was is None:
        return
    bare = bare_image_name(put.now)
    if bare == bare_image_name(put.was):
        return
    for parent, _, _ in entries.entries_of(c, put.inode):
        names = naming.candidates(bare, put.now.id, is_directory=False)
        entries.rename(c, parent, put.inode, bare=bare, names=names)


def rename_album(c: Connection, put: Put[Album]) -> None:
    """Follow what putting an album changed."""
    if put.was is None:
        return
    bare = bare_album_name(put.now)
    if bare == bare_album_name(put.was):
        return
    for parent, _, _ in entries.entries_of(c, put.inode):
        names = naming.candidates(bare, put.now.id, is_directory=True)
        entries.rename(c, parent, put.inode, bare=bare, names=names)


def empty_album(c: Connection, inode: Inode) -> list[Inode]:
    """Take everything out of an album; return the images of Imgur's among it.

    A file with bytes that are only here is not lost with it: if it is nowhere else it
    comes into the root, under its name.
    """
    inside = [(one.node, one.name) for one in entries.children(c, inode)]
    moved = []
    for node, name in inside:
        entries.unlink(c, inode, node.inode)
        if node.is_only_here and node.links == 1:
            free = entries.free_name(c, ROOT_INODE, name)
            edits.add_entry(c, ROOT_INODE, node.inode, free)
            moved.append(free)
    if moved:
        _tell_moved(c, inode, moved)
    return [node.inode for node, _ in inside if node.image and node.image.id]


def _tell_moved(c: Connection, album: Inode, names: list[str]) -> None:
    node = entries.node(c, album)
    title = node.album.title if node and node.album else ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    text = (
        f"album {title!r} was deleted on Imgur while files were written into it: they"
        f" are in the root now, and are uploaded without an album ({names[0]!r}{more})"
    )
    notices.put(c, f"album:{album}", text)


def is_hidden(c: Connection, inode: Inode) -> bool:
    """Whether the image or album was deleted through the drive."""
    node = entries.node(c, inode)
    return node is not None and node.is_hidden


def remove_from_account(c: Connection, inodes: Iterable[Inode], *, now: float) -> int:
    """Forget images that the account's list of ``now`` does not show any more.

    One that an album holds (on Imgur, not only by a wish) stays, as that album's; a
    file with bytes that are only here stays, as one that Imgur does not know. Returns
    how many were forgotten.
    """
    removed = 0
    for inode in inodes:
        if entries.is_in_album(c, inode):
            entries.unlink(c, ROOT_INODE, inode)
            entries.doubt(c, inode)
        elif is_hidden(c, inode):
            edits.gone_now(c, inode, now=now)
        elif not edits.keep_here(c, inode):
            entries.remove(c, inode)
            removed += 1
    return removed


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
    marks = outbox.drive_marks_in_doubt(c)
    for node in entries.unplaced_images(c, first_seen_until=albums_listed_at):
        assert node.image is not None
        if not is_awaited(node.image, marks):
            link_image(c, ROOT_INODE, node.inode, node.image)


def is_awaited(image: Image, marks: AbstractSet[str]) -> bool:
    """Whether an image without a name is what one of these uploads may have made.

    It is the file that is shown already, then, and gets no name besides.
    """
    return str(parse_marker(image.name)) in marks
