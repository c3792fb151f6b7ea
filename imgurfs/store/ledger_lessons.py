"""What Imgur's answers teach about uploads: the price, and the number an hour.

Functions over a connection to budget.db, composed by ``store.ledger``; nobody else uses
them. Nothing is ever sent to learn: these look at what happens anyway. Times are ledger
time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imgurfs import limits
from imgurfs.budget import UNLIMITED, WINDOW_S, Grant, Scope
from imgurfs.store.database import Connection


@dataclass(frozen=True, slots=True)
class Book:
    """Whose counters are meant, and the setting that no answer tells.

    ``owners`` has a key for every scope and for CAPACITY. ``uploads_per_hour`` 0 means
    that there is no such limit.
    """

    owners: Mapping[str, str]
    uploads_per_hour: int


def uploads_per_hour(c: Connection, book: Book) -> int:
    """Return how many uploads an hour are possible, UNLIMITED if nothing says so."""
    row = c.execute(
        "SELECT ceiling FROM upload_lesson WHERE owner = ?",
        (book.owners[Scope.UPLOAD],),
    ).fetchone()
    configured = book.uploads_per_hour or UNLIMITED
    is_taught = row is not None and row["ceiling"] is not None
    return min(int(row["ceiling"]), configured) if is_taught else configured


def learn_cost(c: Connection, book: Book, grant: Grant, remaining: int) -> None:
    """Learn from the credits left after an upload, if it alone can explain them.

    Nothing of the account was on its way when it was reserved, nothing is now, and no
    answer came in between. Two such uploads have to agree before it is believed.
    """
    owner = book.owners[Scope.USER]
    row = c.execute(
        "SELECT mine.quiet FROM reservation AS mine JOIN ledger USING (scope, owner)"
        " WHERE mine.granted = ? AND mine.scope = 'user'"
        " AND mine.quiet = ledger.remaining"
        " AND NOT EXISTS (SELECT 1 FROM reservation AS other WHERE other.scope = 'user'"
        " AND other.owner = mine.owner AND other.granted != mine.granted)",
        (grant.id,),
    ).fetchone()
    cost = 0 if row is None else int(row["quiet"]) - remaining
    if cost <= 0:
        return
    c.execute(
        "INSERT INTO upload_lesson (owner, configured, seen_cost) VALUES (?, ?, ?)"
        " ON CONFLICT (owner) DO UPDATE SET seen_cost = excluded.seen_cost,"
        " cost = iif(seen_cost = excluded.seen_cost, seen_cost, cost)",
        (owner, book.uploads_per_hour, cost),
    )


def learn_ceiling(c: Connection, book: Book, grant: Grant, now: float) -> None:
    """Learn from "uploading too fast" how many uploads an hour are possible.

    What counts is all of the last hour that was not refused, in whatever order it
    arrived; what is on its way and will be refused as well corrects this then. The
    refused one is given back. A refusal after very few was brought about by somebody
    else and teaches nothing.
    """
    owner = book.owners[Scope.UPLOAD]
    c.execute(
        "DELETE FROM reservation WHERE granted = ? AND scope = 'upload'", (grant.id,)
    )
    count = c.execute(
        "SELECT count(*) FROM reservation WHERE scope = 'upload' AND owner = ?"
        " AND counted_at > ?",
        (owner, now - WINDOW_S[Scope.UPLOAD]),
    ).fetchone()[0]
    if count < limits.UPLOADS_LEARNED_MIN:
        return
    c.execute(
        "INSERT INTO upload_lesson (owner, configured, ceiling) VALUES (?, ?, ?)"
        " ON CONFLICT (owner) DO UPDATE SET"
        " ceiling = min(coalesce(ceiling, excluded.ceiling), excluded.ceiling)",
        (owner, book.uploads_per_hour, count),
    )


def forget_other_setting(c: Connection, book: Book) -> None:
    """Drop a ceiling that was learned under another setting."""
    c.execute(
        "UPDATE upload_lesson SET ceiling = NULL, configured = ?"
        " WHERE owner = ? AND configured != ?",
        (book.uploads_per_hour, book.owners[Scope.UPLOAD], book.uploads_per_hour),
    )
