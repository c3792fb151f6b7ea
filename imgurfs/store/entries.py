"""The names by which directories hold albums and images: writing the tree.

Every function takes a connection and runs inside ``Database.write``; each records
what it changed in the change log, in the same transaction, and writes nothing when
nothing changed. The rules (which name, which directory) belong to
:mod:`imgurfs.tree`. Reading (:mod:`imgurfs.store.nodes`) and the records themselves
(:mod:`imgurfs.store.records`) are offered here as well: other packages need only
this module.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import PurePath

from imgurfs import limits
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import changelog, drafts
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection
from imgurfs.store.drafts import DraftState
from imgurfs.store.known import (
    account_albums,
    account_images,
    album_inodes,
    albums_made_since,
    albums_to_list,
    gone_albums,
    gone_images,
    has_doubtful_images,
    has_unplaced_images,
    image_inodes,
    images_made_since,
    is_in_album,
    members,
    nameless_albums,
    only_here,
    shown,
    unplaced_images,
)
from imgurfs.store.nodes import (
    Entry,
    Node,
    NodeKind,
    Totals,
    albums_by_title,
    albums_of,
    child,
    children,
    entries_of,
    images_with_digest,
    node,
    node_of_album,
    node_of_image,
    totals,
)
from imgurfs.store.records import (
    Put,
    attributes_changed,
    count_images,
    doubt,
    doubt_unplaced,
    insert_node,
    made_now,
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
    "account_albums",
    "account_images",
    "album_inodes",
    "albums_by_title",
    "albums_made_since",
    "albums_of",
    "albums_to_list",
    "attributes_changed",
    "attributes_changed_if_linked",
    "child",
    "children",
    "count_images",
    "doubt",
    "doubt_unplaced",
    "entries_of",
    "free_name",
    "gone_albums",
    "gone_images",
    "has_doubtful_images",
    "has_unplaced_images",
    "image_inodes",
    "images_made_since",
    "images_with_digest",
    "insert_node",
    "is_in_album",
    "is_taken",
    "link",
    "made_now",
    "mark_in_account",
    "members",
    "nameless_albums",
    "node",
    "node_of_album",
    "node_of_image",
    "only_here",
    "put_album",
    "put_albums",
    "put_image",
    "put_images",
    "remove",
    "rename",
    "set_etag",
    "set_listed",
    "set_size",
    "shown",
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
    attributes_changed_if_linked(c, inode, more_than=1)


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
        if not is_taken(c, parent, name):
            return name
    raise AssertionError("the candidates for a name never run out")


def is_taken(c: Connection, parent: Inode, name: str) -> bool:
    """Whether a directory has something of this name."""
    row = c.execute(
        "SELECT 1 FROM entry WHERE parent = ? AND name = ?", (parent, name)
    ).fetchone()
    return row is not None


def free_name(c: Connection, parent: Inode, name: str) -> str:
    """Return ``name``, or the first like it with a number that is free."""
    if not is_taken(c, parent, name):
        return name
    extension = PurePath(name).suffix
    stem = name.removesuffix(extension)
    for number in itertools.count(2):
        label = f" ({number}){extension}"
        room = limits.NAME_BYTES_MAX - len(label.encode())
        cut = stem.encode()[:room].decode("utf-8", "ignore")
        if not is_taken(c, parent, cut + label):
            return cut + label
    raise AssertionError("numbers never run out")


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
        attributes_changed_if_linked(c, inode, more_than=0)


def remove(c: Connection, inode: Inode) -> None:
    """Forget an image or album: its row, its entries and what is inside it.

    Images inside an album keep their rows. Its draft is forgotten, too, and the bytes
    with it if the user deleted the file, or Imgur got just these; others are set aside
    when the spool is sorted out next. Harmless when it is gone already.
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
    _forget_draft(c, inode)
    c.execute("DELETE FROM image WHERE inode = ?", (inode,))
    c.execute("DELETE FROM album WHERE inode = ?", (inode,))
    c.execute("DELETE FROM node WHERE inode = ?", (inode,))


def _forget_draft(c: Connection, inode: Inode) -> None:
    draft = drafts.get(c, inode)
    if draft is None:
        return
    drafts.drop(c, inode)
    row = c.execute("SELECT gone_at FROM image WHERE inode = ?", (inode,)).fetchone()
    is_deleted = row is not None and row[0] is not None
    if is_deleted or draft.state is DraftState.SENT:
        drafts.discard(c, draft.spool_name)


def attributes_changed_if_linked(
    c: Connection, inode: Inode, *, more_than: int
) -> None:
    """Record that st_nlink changed, unless nobody can have seen the inode elsewhere.

    ``more_than``: entries that do not count, because they were just made.
    """
    row = c.execute("SELECT count(*) FROM entry WHERE inode = ?", (inode,)).fetchone()
    if row[0] > more_than:
        attributes_changed(c, inode)
