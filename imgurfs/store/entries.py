"""The names by which directories hold albums and images: writing the tree.

Every function takes a connection and runs inside ``Database.write``; each records
what it changed in the change log, in the same transaction, and writes nothing when
nothing changed. The rules (which name, which directory) belong to
:mod:`imgurfs.tree`. Reading (:mod:`imgurfs.store.nodes`) and the records themselves
(:mod:`imgurfs.store.records`) are offered here as well: other packages need only
this module.
"""

from __future__ import annotations

from collections.abc import Iterable

from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import changelog
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection
from imgurfs.store.nodes import (
    Entry,
    Node,
    NodeKind,
    Totals,
    account_images,
    album_inodes,
    albums_by_title,
    albums_of,
    albums_to_list,
    child,
    children,
    entries_of,
    has_doubtful_images,
    has_unplaced_images,
    image_inodes,
    members,
    node,
    node_of_album,
    node_of_image,
    totals,
    unplaced_images,
)
from imgurfs.store.records import (
    Put,
    attributes_changed,
    count_images,
    doubt_unplaced,
    mark_in_account,
    put_album,
    put_albums,
    put_image,
    put_images,
    set_etag,
    set_listed,
    set_size,
)

__all__ = [
    "Entry",
    "Node",
    "NodeKind",
    "Put",
    "Totals",
    "account_images",
    "album_inodes",
    "albums_by_title",
    "albums_of",
    "albums_to_list",
    "child",
    "children",
    "count_images",
    "doubt_unplaced",
    "entries_of",
    "has_doubtful_images",
    "has_unplaced_images",
    "image_inodes",
    "link",
    "mark_in_account",
    "members",
    "node",
    "node_of_album",
    "node_of_image",
    "put_album",
    "put_albums",
    "put_image",
    "put_images",
    "remove",
    "remove_from_account",
    "rename",
    "set_etag",
    "set_listed",
    "set_size",
    "totals",
    "unlink",
    "unplaced_images",
]


def link(
    c: Connection,
    parent: Inode,
    inode: Inode,
    *,
    bare: str,
    names: Iterable[str],
    position: int = 0,
) -> None:
    """Put ``inode`` into the directory under the first of ``names`` that is free.

    An inode that is there already keeps its entry and name; only its position moves.
    ``names`` is in order of preference and must not run out.
    """
    row = c.execute(
        "SELECT position FROM entry WHERE parent = ? AND inode = ?", (parent, inode)
    ).fetchone()
    if row is not None:
        if row[0] != position:
            c.execute(
                "UPDATE entry SET position = ? WHERE parent = ? AND inode = ?",
                (position, parent, inode),
            )
        return
    name = _first_free(c, parent, names)
    c.execute(
        "INSERT INTO entry (parent, name, bare, inode, position)"
        " VALUES (?, ?, ?, ?, ?)",
        (parent, name, bare, inode, position),
    )
    changelog.append(c, parent=parent, name=name, inode=inode, kind=ChangeKind.ADDED)
    _attributes_changed_if_linked(c, inode, more_than=1)


def rename(
    c: Connection, parent: Inode, inode: Inode, *, bare: str, names: Iterable[str]
) -> None:
    """Give an entry whose bare name changed another name; the cookie stays."""
    old = c.execute(
        "SELECT name, bare FROM entry WHERE parent = ? AND inode = ?", (parent, inode)
    ).fetchone()
    assert old is not None, "only an existing entry is renamed"
    if old["bare"] == bare:
        return
    name = _first_free(c, parent, names, own=old["name"])
    c.execute(
        "UPDATE entry SET name = ?, bare = ? WHERE parent = ? AND inode = ?",
        (name, bare, parent, inode),
    )
    if name != old["name"]:
        changelog.append(
            c,
            parent=parent,
            name=old["name"],
            inode=inode,
            kind=ChangeKind.REMOVED,
        )
        changelog.append(
            c, parent=parent, name=name, inode=inode, kind=ChangeKind.ADDED
        )


def _first_free(
    c: Connection, parent: Inode, names: Iterable[str], *, own: str | None = None
) -> str:
    for name in names:
        if name == own:
            return name
        taken = c.execute(
            "SELECT 1 FROM entry WHERE parent = ? AND name = ?", (parent, name)
        ).fetchone()
        if taken is None:
            return name
    raise AssertionError("the candidates for a name never run out")


def unlink(c: Connection, parent: Inode, inode: Inode) -> None:
    """Take ``inode`` out of the directory; harmless when it is not there."""
    row = c.execute(
        "DELETE FROM entry WHERE parent = ? AND inode = ? RETURNING name",
        (parent, inode),
    ).fetchone()
    if row is not None:
        changelog.append(
            c, parent=parent, name=row[0], inode=inode, kind=ChangeKind.REMOVED
        )
        _attributes_changed_if_linked(c, inode, more_than=0)


def remove(c: Connection, inode: Inode) -> None:
    """Forget an image or album: its row, its entries and what is inside it.

    Images inside an album keep their rows. Harmless when it is gone already.
    """
    assert inode != ROOT_INODE
    for parent, name, _ in entries_of(c, inode):
        changelog.append(
            c, parent=parent, name=name, inode=inode, kind=ChangeKind.REMOVED
        )
    c.execute("DELETE FROM entry WHERE inode = ?", (inode,))
    inside = c.execute("SELECT inode FROM entry WHERE parent = ?", (inode,)).fetchall()
    for row in inside:
        unlink(c, inode, row[0])
    c.execute("DELETE FROM image WHERE inode = ?", (inode,))
    c.execute("DELETE FROM album WHERE inode = ?", (inode,))
    c.execute("DELETE FROM node WHERE inode = ?", (inode,))


def remove_from_account(c: Connection, inodes: Iterable[Inode]) -> int:
    """Forget images that the account's list does not show any more.

    One that an album holds stays, as that album's. Returns how many were forgotten.
    """
    removed = 0
    for inode in inodes:
        if albums_of(c, inode):
            unlink(c, ROOT_INODE, inode)
            c.execute("UPDATE image SET is_in_account = 0 WHERE inode = ?", (inode,))
        else:
            remove(c, inode)
            removed += 1
    return removed


def _attributes_changed_if_linked(
    c: Connection, inode: Inode, *, more_than: int
) -> None:
    """Record that st_nlink changed, unless nobody can have seen the inode elsewhere."""
    row = c.execute("SELECT count(*) FROM entry WHERE inode = ?", (inode,)).fetchone()
    if row[0] > more_than:
        attributes_changed(c, inode)
