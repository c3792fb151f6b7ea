"""What changed in the tree, in commit order: the table ``change``.

Rows are written in the transaction of the change itself and read by every process
that shows the tree (the mount turns them into kernel invalidations). A reader
remembers the last sequence number it has handled; one that is further behind than
:func:`oldest_seq` has missed rows and must start afresh.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from imgurfs.model import Inode
from imgurfs.store.database import Connection

#: The parent of a change that concerns an inode and no name.
NO_PARENT = Inode(0)


class ChangeKind(enum.StrEnum):
    """What happened to an entry or an inode."""

    ADDED = "added"
    REMOVED = "removed"
    ATTRIBUTES = "attributes"


@dataclass(frozen=True, slots=True)
class Change:
    """One row. ``parent`` is 0 and ``name`` "" when only the inode is concerned."""

    seq: int
    parent: Inode
    name: str
    inode: Inode
    kind: ChangeKind


def append(
    c: Connection, *, parent: Inode, name: str, inode: Inode, kind: ChangeKind
) -> None:
    """Record one change. For use inside the transaction that makes it."""
    assert (parent == NO_PARENT) == (name == "")
    c.execute(
        "INSERT INTO change (parent, name, inode, kind) VALUES (?, ?, ?, ?)",
        (parent, name, inode, kind.value),
    )


def since(c: Connection, seq: int, limit: int) -> list[Change]:
    """Return at most ``limit`` changes after ``seq``, oldest first."""
    rows = c.execute(
        "SELECT seq, parent, name, inode, kind FROM change"
        " WHERE seq > ? ORDER BY seq LIMIT ?",
        (seq, limit),
    )
    return [
        Change(number, parent, name, inode, ChangeKind(kind))
        for number, parent, name, inode, kind in rows
    ]


def last_seq(c: Connection) -> int:
    """Return the number of the newest change ever written, 0 before the first."""
    row = c.execute("SELECT seq FROM sqlite_sequence WHERE name = 'change'").fetchone()
    return 0 if row is None else int(row[0])


def oldest_seq(c: Connection) -> int:
    """Return the number of the oldest change still kept.

    One past :func:`last_seq` when none is. A reader whose last handled number is
    smaller than this by more than one has missed changes.
    """
    row = c.execute("SELECT min(seq) FROM change").fetchone()
    return last_seq(c) + 1 if row[0] is None else int(row[0])


def trim(c: Connection, keep: int) -> None:
    """Forget all but the newest ``keep`` changes."""
    c.execute("DELETE FROM change WHERE seq <= ?", (last_seq(c) - keep,))
