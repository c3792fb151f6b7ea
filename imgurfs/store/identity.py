"""What was made here becomes an image or album of Imgur's, and keeps its inode.

Called in the transaction that settles an upload or a creation. A listing may have shown
the result before its answer came: then there are two inodes of one thing, and the one
the user made absorbs the other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from imgurfs.model import ROOT_INODE, Album, Image, Inode
from imgurfs.store import changelog, drafts
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection
from imgurfs.store.entries import (
    attributes_changed,
    entries_of,
    free_name,
    insert_node,
    remove,
    unlink,
)
from imgurfs.store.nodes import PENDING, NodeKind, fetch
from imgurfs.store.records import album_values, image_values

#: Columns of ``image`` that belong to the id and not to the inode.
_OF_THE_ID = (
    "title, description, name, type, link, size_bytes, is_size_known, datetime_s,"
    " deletehash, width, height, is_animated, is_favorite, views, etag, is_in_account,"
    " first_seen_at, made_at, digest"
)


def assign_image(
    c: Connection,
    inode: Inode,
    image: Image,
    *,
    now: float,
    digest: bytes = b"",
    left: Collection[Inode] = (),
) -> None:
    """Let an inode be this image from now on; ``digest`` is that of its bytes.

    Its names and times stay, and so does a title that was set here. The image it was
    before becomes a hidden row, to be deleted. If a listing has shown the image
    meanwhile, the names it got by that lead to this inode, but not where the inode has
    a name already, nor in the directories it has ``left`` since it was sent. A file
    that has no name any more was deleted meanwhile: its image is hidden.
    """
    assert image.id, "an image that happened has an id"
    ((old_id, title, description, held_until),) = fetch(
        c,
        "SELECT id, title, description, title_held_until FROM image WHERE inode = ?",
        [inode],
    )
    if old_id is not None and old_id != image.id:
        split_off(c, inode, gone_at=PENDING)
    has_name = bool(entries_of(c, inode))
    for (other,) in fetch(
        c, "SELECT inode FROM image WHERE id = ? AND inode <> ?", [image.id, inode]
    ):
        _absorb_image(c, inode, other, left=left if has_name else None)
    if held_until > now:
        image = replace(image, title=title, description=description)
    c.execute(
        "UPDATE image SET id = ?, type = ?, link = ?, size_bytes = ?, datetime_s = ?,"
        " title = ?, description = ?, name = ?, deletehash = ?, width = ?, height = ?,"
        " is_animated = ?, is_favorite = ?, views = ?, is_size_known = ?, digest = ?,"
        " etag = '', is_in_account = 1, first_seen_at = ?, made_at = ? WHERE inode = ?",
        (*image_values(image), image.size_bytes > 0, digest, now, now, inode),
    )
    _settle_names(c, "image", inode, is_deleted=not has_name)


def assign_album(c: Connection, inode: Inode, album: Album, *, now: float) -> None:
    """Let an inode be this album from now on; it is listed as of ``now``.

    What is told of images does for albums as well: names and times stay, a row that a
    listing has made meanwhile is absorbed, and one that has no name any more is hidden.
    """
    assert album.id, "an album that happened has an id"
    ((title, description, held_until),) = fetch(
        c,
        "SELECT title, description, title_held_until FROM album WHERE inode = ?",
        [inode],
    )
    for (other,) in fetch(
        c, "SELECT inode FROM album WHERE id = ? AND inode <> ?", [album.id, inode]
    ):
        _absorb_album(c, inode, other)
    if held_until > now:
        album = replace(album, title=title, description=description)
    album = replace(album, images_count=max(album.images_count, 0))
    c.execute(
        "UPDATE album SET id = ?, title = ?, datetime_s = ?, description = ?,"
        " images_count = ?, cover = ?, privacy = ?, link = ?, deletehash = ?,"
        " sort_order = ?, is_stale = 0, listed_at = ?, made_at = ?"
        " WHERE inode = ?",
        (*album_values(album), now, now, inode),
    )
    _settle_names(c, "album", inode, is_deleted=not entries_of(c, inode))


def split_off(c: Connection, inode: Inode, *, gone_at: float) -> Inode:
    """Give the image an inode is a hidden row of its own; return that row's inode.

    The inode is a file without an id afterwards.
    """
    other = insert_node(c, NodeKind.IMAGE)
    c.execute(
        f"INSERT INTO image (inode, gone_at, {_OF_THE_ID})"  # noqa: S608
        f" SELECT ?, ?, {_OF_THE_ID} FROM image WHERE inode = ?",
        (other, gone_at, inode),
    )
    ((image_id,),) = fetch(c, "SELECT id FROM image WHERE inode = ?", [inode])
    forget_id(c, inode)
    c.execute("UPDATE image SET id = ? WHERE inode = ?", (image_id, other))
    return other


def forget_id(c: Connection, inode: Inode) -> None:
    """Let a file be unknown to Imgur again; its names stay."""
    c.execute(
        "UPDATE image SET id = NULL, is_in_account = 0, digest = x'', etag = '',"
        " link = '', deletehash = '' WHERE inode = ?",
        (inode,),
    )


def keep_here(c: Connection, inode: Inode) -> bool:
    """Let an image that is gone from Imgur stay, if we have bytes of it never sent.

    Return whether it stays: as a file that Imgur does not know. A hidden one does not.
    """
    draft = drafts.get(c, inode)
    if draft is None or draft.state in drafts.ON_IMGUR:
        return False
    ((gone_at,),) = fetch(c, "SELECT gone_at FROM image WHERE inode = ?", [inode])
    if gone_at is not None:
        return False
    forget_id(c, inode)
    return True


def _absorb_image(
    c: Connection, inode: Inode, other: Inode, *, left: Collection[Inode] | None
) -> None:
    """Let the names of ``other`` lead to ``inode``, and forget it.

    None of them does when ``left`` is None.
    """
    if keep_here(c, other):
        return  # it was written to meanwhile: a file of its own from now on
    names = fetch(
        c,
        "SELECT parent, name, position FROM entry AS e WHERE inode = ? AND NOT EXISTS"
        " (SELECT 1 FROM entry AS o WHERE o.parent = e.parent AND o.inode = ?)"
        " ORDER BY cookie",
        [other, inode],
    )
    remove(c, other)
    attributes_changed(c, other)
    for parent, name, position in names if left is not None else ():
        if parent not in (left or ()):
            _insert_entry(c, parent, inode, name, position)
    if any(parent != ROOT_INODE for parent, _, _ in entries_of(c, inode)):
        unlink(c, ROOT_INODE, inode)


def _absorb_album(c: Connection, inode: Inode, other: Inode) -> None:
    """Put what a listing has shown in ``other`` into ``inode``; forget ``other``."""
    inside = fetch(
        c,
        "SELECT inode, name, position FROM entry AS e WHERE parent = ? AND NOT EXISTS"
        " (SELECT 1 FROM entry AS o WHERE o.parent = ? AND o.inode = e.inode)"
        " ORDER BY cookie",
        [other, inode],
    )
    remove(c, other)
    attributes_changed(c, other)
    for member, name, position in inside:
        _insert_entry(c, inode, member, free_name(c, inode, name), position)


def _insert_entry(
    c: Connection, parent: Inode, inode: Inode, name: str, position: int
) -> None:
    c.execute(
        "INSERT INTO entry (parent, name, bare, inode, position)"
        " VALUES (?, ?, '', ?, ?)",
        (parent, name, inode, position),
    )
    changelog.append(c, parent=parent, name=name, inode=inode, kind=ChangeKind.ADDED)


def _settle_names(c: Connection, table: str, inode: Inode, *, is_deleted: bool) -> None:
    """Let the names stay until Imgur changes what the thing is called there."""
    c.execute("UPDATE entry SET bare = '' WHERE inode = ?", (inode,))
    if is_deleted:
        c.execute(
            f"UPDATE {table} SET gone_at = ?"  # noqa: S608
            " WHERE inode = ? AND gone_at IS NULL",
            (PENDING, inode),
        )
    attributes_changed(c, inode)
