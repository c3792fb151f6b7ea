"""What was written through the drive and is not on Imgur yet: table ``draft``.

Rows only (their columns are told in ``schema``); the bytes are ``content.spool``'s.
Used inside ``Database.write`` by ``imgurfs.writing`` and ``imgurfs.jobs``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from imgurfs.model import ImageId, Inode
from imgurfs.store import meta
from imgurfs.store.database import Connection, Row


class DraftState(enum.StrEnum):
    """What becomes of a draft; ``schema`` says what each means."""

    WRITING = "writing"
    SCRATCH = "scratch"
    LOCAL = "local"
    WAITING = "waiting"
    SENT = "sent"
    KEPT = "kept"
    REFUSED = "refused"


_DISCARDED: Final = "discarded:"
_NOTHING: Final = ImageId("")

#: What is in a draft of these states has been on Imgur as the inode's image.
ON_IMGUR: Final = frozenset({DraftState.SENT, DraftState.KEPT})


@dataclass(frozen=True, slots=True)
class Draft:
    """One row of the table. ``changed_at`` is an epoch."""

    inode: Inode
    generation: int
    state: DraftState
    size_bytes: int
    changed_at: float
    replaces: ImageId = _NOTHING
    error: str = ""
    is_grown: bool = False

    @property
    def spool_name(self) -> str:
        """Name of the file in the spool that has the bytes."""
        return spool_name(self.inode, self.generation)


def spool_name(inode: Inode, generation: int) -> str:
    """Return the name in the spool of one content of a file."""
    return f"{inode}.{generation}"


def get(c: Connection, inode: Inode) -> Draft | None:
    """Return the draft of an inode."""
    row = c.execute("SELECT * FROM draft WHERE inode = ?", (inode,)).fetchone()
    return None if row is None else _draft(row)


def put(c: Connection, draft: Draft) -> None:
    """Write a draft's row, new or not."""
    c.execute(
        "INSERT OR REPLACE INTO draft (inode, generation, state, size_bytes,"
        " changed_at, replaces, error, is_grown) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            draft.inode,
            draft.generation,
            draft.state.value,
            draft.size_bytes,
            draft.changed_at,
            draft.replaces,
            draft.error,
            draft.is_grown,
        ),
    )


def drop(c: Connection, inode: Inode) -> None:
    """Forget a draft; harmless when there is none."""
    c.execute("DELETE FROM draft WHERE inode = ?", (inode,))


def everything(
    c: Connection, states: Collection[DraftState] = tuple(DraftState)
) -> list[Draft]:
    """Return the drafts in some states, by inode."""
    marks = ", ".join("?" for _ in states)
    rows = c.execute(
        f"SELECT * FROM draft WHERE state IN ({marks}) ORDER BY inode",  # noqa: S608
        tuple(state.value for state in states),
    )
    return [_draft(row) for row in rows]


def inside(c: Connection, parent: Inode, *states: DraftState) -> list[Draft]:
    """Return the drafts in some states of the files of a directory, by inode."""
    marks = ", ".join("?" for _ in states)
    rows = c.execute(
        # "+": by the few drafts in these states, not by everything in the directory.
        "SELECT d.* FROM draft AS d JOIN entry AS e ON e.inode = d.inode"  # noqa: S608
        f" WHERE d.state IN ({marks}) AND +e.parent = ? ORDER BY d.inode",
        (*(state.value for state in states), parent),
    )
    return [_draft(row) for row in rows]


def between(
    c: Connection, parent: Inode, after_cookie: int, last_cookie: int
) -> dict[Inode, Draft]:
    """Return the drafts of a directory's entries behind a cookie, up to another one."""
    rows = c.execute(
        "SELECT d.* FROM entry AS e CROSS JOIN draft AS d ON d.inode = e.inode"
        " WHERE e.parent = ? AND e.cookie > ? AND e.cookie <= ?",
        (parent, after_cookie, last_cookie),
    )
    return {row["inode"]: _draft(row) for row in rows}


def waiting_in(c: Connection, parent: Inode) -> list[Draft]:
    """Return the files of a directory that wait for their upload."""
    return inside(c, parent, DraftState.WAITING)


def waiting_of_size(c: Connection, size_bytes: int) -> list[Draft]:
    """Return the files of a size that wait for their upload, by inode."""
    rows = c.execute(
        "SELECT * FROM draft WHERE state = 'waiting' AND size_bytes = ? ORDER BY inode",
        (size_bytes,),
    )
    return [_draft(row) for row in rows]


def discard(c: Connection, name: str) -> None:
    """Say of a content in the spool that nobody needs it any more."""
    meta.put(c, _DISCARDED + name, "")


def discarded(c: Connection) -> set[str]:
    """Return the contents that nobody needs, as far as they were not removed yet."""
    rows = c.execute(
        "SELECT key FROM meta WHERE key >= ? AND key < ?",
        (_DISCARDED, _DISCARDED + "\U0010ffff"),
    )
    return {row[0].removeprefix(_DISCARDED) for row in rows}


def removed(c: Connection, names: Collection[str]) -> None:
    """Say that discarded contents are not in the spool any more."""
    for name in names:
        meta.drop(c, _DISCARDED + name)


def of_deleted(c: Connection) -> list[Draft]:
    """Return the drafts of images that were deleted here and, by its word, on Imgur."""
    rows = c.execute(
        "SELECT draft.* FROM draft JOIN image USING (inode) WHERE image.gone_at < 9e999"
    )
    return [_draft(row) for row in rows]


def _draft(row: Row) -> Draft:
    return Draft(
        inode=Inode(row["inode"]),
        generation=row["generation"],
        state=DraftState(row["state"]),
        size_bytes=row["size_bytes"],
        changed_at=row["changed_at"],
        replaces=ImageId(row["replaces"]),
        error=row["error"],
        is_grown=bool(row["is_grown"]),
    )
