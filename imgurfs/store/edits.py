"""What the user does to the tree: rows that are there before Imgur knows of them.

Everything runs inside ``Database.write`` and records itself in the change log, as
:mod:`imgurfs.store.entries` does for what Imgur told. Rules (what is allowed, what has
to be sent for it) belong to ``imgurfs.writing`` and ``imgurfs.jobs``, who use this.
"""

from __future__ import annotations

from typing import Final

from imgurfs.errors import NameTakenError
from imgurfs.model import Inode
from imgurfs.store import changelog
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection
from imgurfs.store.entries import (
    attributes_changed,
    attributes_changed_if_linked,
    free_name,
    insert_node,
    is_taken,
    unlink,
)
from imgurfs.store.identity import assign_album, assign_image, keep_here, split_off
from imgurfs.store.nodes import PENDING, NodeKind, entries_of, images_with_digest

__all__ = [
    "PENDING",
    "add_entry",
    "assign_album",
    "assign_image",
    "drop_entry",
    "free_name",
    "gone_now",
    "hide_album",
    "hide_image",
    "hold_title",
    "images_with_digest",
    "is_taken",
    "keep_here",
    "make_album",
    "make_file",
    "move_entry",
    "set_digest",
    "show_again",
    "split_off",
    "touch",
]

#: Behind every image of an album, until a listing tells the position.
_AT_THE_END: Final = 1 << 40
_NS_PER_S: Final = 1_000_000_000


# --- New things --------------------------------------------------------------


def make_file(c: Connection, *, now: float) -> Inode:
    """Make a file that Imgur does not know, without a name; its times are ``now``."""
    inode = insert_node(c, NodeKind.IMAGE)
    _set_all_times(c, inode, now)
    c.execute(
        "INSERT INTO image (inode, id, type, link, size_bytes, is_size_known,"
        " datetime_s, first_seen_at) VALUES (?, NULL, '', '', 0, 1, ?, ?)",
        (inode, int(now), now),
    )
    return inode


def make_album(c: Connection, title: str, *, now: float) -> Inode:
    """Make an empty album that Imgur does not know, without a name."""
    inode = insert_node(c, NodeKind.ALBUM)
    _set_all_times(c, inode, now)
    c.execute(
        "INSERT INTO album (inode, id, title, datetime_s, listed_at)"
        " VALUES (?, NULL, ?, ?, ?)",
        (inode, title, int(now), now),
    )
    return inode


def _set_all_times(c: Connection, inode: Inode, now: float) -> None:
    now_ns = int(now * _NS_PER_S)
    c.execute(
        "UPDATE node SET mtime_ns = ?, atime_ns = ?, ctime_ns = ? WHERE inode = ?",
        (now_ns, now_ns, now_ns, inode),
    )


# --- Names -------------------------------------------------------------------


def add_entry(
    c: Connection, parent: Inode, inode: Inode, name: str, *, bare: str | None = None
) -> None:
    """Name something in a directory, exactly so.

    Without ``bare`` (see ``schema``) it keeps this name until Imgur calls it otherwise
    than before. Raises NameTakenError; also when it has a name in the directory.
    """
    taken = c.execute(
        "SELECT 1 FROM entry WHERE parent = ? AND name = ?"
        " UNION ALL SELECT 1 FROM entry WHERE parent = ? AND inode = ?",
        (parent, name, parent, inode),
    ).fetchone()
    if taken is not None:
        raise NameTakenError(f"there is a {name!r} already, or it has a name there")
    c.execute(
        "INSERT INTO entry (parent, name, bare, inode, position)"
        " VALUES (?, ?, ?, ?, ?)",
        (parent, name, bare or "", inode, _AT_THE_END),
    )
    changelog.append(c, parent=parent, name=name, inode=inode, kind=ChangeKind.ADDED)
    attributes_changed_if_linked(c, inode, more_than=1)


def drop_entry(c: Connection, parent: Inode, inode: Inode) -> None:
    """Take something out of a directory; harmless when it is not there."""
    unlink(c, parent, inode)


def move_entry(
    c: Connection, parent: Inode, inode: Inode, new_parent: Inode, name: str
) -> None:
    """Give an entry another name, another directory or both.

    Inside its directory it keeps its cookie. Raises NameTakenError.
    """
    if parent != new_parent:
        add_entry(c, new_parent, inode, name)
        drop_entry(c, parent, inode)
        return
    old = c.execute(
        "SELECT name FROM entry WHERE parent = ? AND inode = ?", (parent, inode)
    ).fetchone()
    assert old is not None, "only an existing entry is renamed"
    if old[0] == name:
        return
    if is_taken(c, parent, name):
        raise NameTakenError(f"there is a {name!r} already")
    c.execute(
        "UPDATE entry SET name = ?, bare = '' WHERE parent = ? AND inode = ?",
        (name, parent, inode),
    )
    for changed, kind in ((old[0], ChangeKind.REMOVED), (name, ChangeKind.ADDED)):
        changelog.append(c, parent=parent, name=changed, inode=inode, kind=kind)


# --- Attributes --------------------------------------------------------------


def touch(
    c: Connection,
    inode: Inode,
    *,
    mtime_ns: int | None = None,
    atime_ns: int | None = None,
    ctime_ns: int | None = None,
) -> None:
    """Set times, in nanoseconds since the epoch; None leaves what is there."""
    c.execute(
        "UPDATE node SET mtime_ns = coalesce(?, mtime_ns),"
        " atime_ns = coalesce(?, atime_ns), ctime_ns = coalesce(?, ctime_ns)"
        " WHERE inode = ?",
        (mtime_ns, atime_ns, ctime_ns, inode),
    )
    attributes_changed(c, inode)


def hold_title(
    c: Connection,
    inode: Inode,
    *,
    until: float,
    title: str | None = None,
    description: str | None = None,
) -> None:
    """Set what an image or album is called; None leaves what is there.

    No listing that began before the epoch ``until`` (:data:`PENDING`: none at all)
    changes either of them.
    """
    for table in ("image", "album"):
        c.execute(
            f"UPDATE {table} SET title = coalesce(?, title),"  # noqa: S608
            " description = coalesce(?, description), title_held_until = ?"
            " WHERE inode = ?",
            (title, description, until, inode),
        )


def set_digest(c: Connection, inode: Inode, digest: bytes) -> None:
    """Note the BLAKE2b of the bytes that the CDN serves for an image; b"" = unknown."""
    c.execute("UPDATE image SET digest = ? WHERE inode = ?", (digest, inode))


# --- Deleting ----------------------------------------------------------------


def hide_image(c: Connection, inode: Inode) -> None:
    """Let an image have no name any more; it is to be deleted on Imgur."""
    _hide(c, "image", inode, PENDING)


def hide_album(c: Connection, inode: Inode) -> None:
    """Let an album have no name any more; it is to be deleted on Imgur.

    What is in it has no name there either.
    """
    inside = c.execute("SELECT inode FROM entry WHERE parent = ?", (inode,)).fetchall()
    for row in inside:
        unlink(c, inode, row[0])
    _hide(c, "album", inode, PENDING)


def show_again(c: Connection, inode: Inode) -> None:
    """Let something that was hidden be as if it never had been; it has no name yet."""
    c.execute("UPDATE image SET gone_at = NULL WHERE inode = ?", (inode,))
    c.execute(
        "UPDATE album SET gone_at = NULL, is_stale = 1"
        " WHERE inode = ? AND gone_at IS NOT NULL",
        (inode,),
    )


def gone_now(c: Connection, inode: Inode, *, now: float) -> None:
    """Record that Imgur has deleted it.

    Its row goes with the first complete listing that was read later and lacks it; one
    that shows it then shows that somebody brought it back.
    """
    for table in ("image", "album"):
        _hide(c, table, inode, now)


def _hide(c: Connection, table: str, inode: Inode, gone_at: float) -> None:
    for parent, _, _ in entries_of(c, inode):
        unlink(c, parent, inode)
    c.execute(
        f"UPDATE {table} SET gone_at = ? WHERE inode = ?",  # noqa: S608
        (gone_at, inode),
    )
