"""The rows of budget.db: read into the values of ``budget``, and written from them.

Functions over a connection, to be composed in one transaction. Only ``store.ledger``
uses them; which transaction happens when is its business. Times are ledger time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from imgurfs import limits
from imgurfs.budget import (
    CAPACITY,
    DEFAULT_LIMITS,
    OWN_SHARE,
    WINDOW_S,
    Grant,
    LedgerState,
    Scope,
    Window,
    effective,
)
from imgurfs.model import Lane, RateHeaders, RequestClass, RequestKind
from imgurfs.pacing import FULL_BUCKET, Bucket, taken
from imgurfs.store import ledger_lessons
from imgurfs.store.database import Connection
from imgurfs.store.ledger_lessons import Book
from imgurfs.windows import begun, sliding

#: The counters that headers tell of.
TOLD_SCOPES: Final = (Scope.POSTS, Scope.USER, Scope.CLIENT)

#: Permissions are cleared away once in so many.
_CLEARED_EVERY: Final = 64


# --- Reading ------------------------------------------------------------------

_FACTS: Final = """
    SELECT
      (SELECT count(*) FROM strike WHERE client_id = :client AND at >= :since) strikes,
      EXISTS (SELECT 1 FROM consent WHERE client_id = :client AND until_at > :now)
        has_consent,
      (SELECT tokens FROM bucket WHERE owner = :machine) tokens,
      (SELECT at FROM bucket WHERE owner = :machine) filled_at,
      (SELECT cost FROM upload_lesson WHERE owner = :account) upload_cost
"""


def _sum(scope: Scope) -> str:
    return (
        f"SELECT '{scope}' scope, sum(amount) amount, min(counted_at) oldest_at"  # noqa: S608 - no foreign text
        f" FROM reservation WHERE scope = '{scope}' AND owner = ? AND created_at >= ?"
    )


_RESERVED: Final = (
    " UNION ALL ".join(_sum(scope) for scope in (*TOLD_SCOPES, Scope.UPLOAD))
    + " AND counted_at > ?"
)

#: An upload counts so long after its answer.
_UPLOAD_COUNTS_S: Final = WINDOW_S[Scope.UPLOAD] + limits.RESET_MARGIN_S


def load(c: Connection, book: Book, now: float) -> LedgerState:
    """Return everything a decision depends on, as of ``now``."""
    facts = c.execute(
        _FACTS,
        {
            "client": book.owners[Scope.CLIENT],
            "machine": book.owners[CAPACITY],
            "account": book.owners[Scope.UPLOAD],
            "since": now - limits.STRIKE_MEMORY_S,
            "now": now,
        },
    ).fetchone()
    is_full = facts["tokens"] is None
    return LedgerState(
        windows=_windows(c, book, now),
        pauses=_pauses(c, book, now),
        strikes=facts["strikes"],
        has_consent=bool(facts["has_consent"]),
        upload_cost=facts["upload_cost"] or limits.UPLOAD_CREDITS,
        bucket=FULL_BUCKET if is_full else Bucket(facts["tokens"], facts["filled_at"]),
    )


def _pauses(c: Connection, book: Book, now: float) -> dict[str, float]:
    rows = c.execute(
        "SELECT scope, owner, until_at FROM pause WHERE until_at > ?", (now,)
    )
    return {
        row["scope"]: float(row["until_at"])
        for row in rows
        if book.owners[row["scope"]] == row["owner"]
    }


def _windows(c: Connection, book: Book, now: float) -> dict[Scope, Window]:
    """Return the windows as they are now, with the reservations that still count."""
    told = told_windows(c, book, now)
    parameters: list[str | float] = []
    for scope, known in told.items():
        # A request from before the window may have arrived in it. Without a window it
        # counts only while it may still be on its way.
        since = now if known.reset_at is None else min(now, known.started_at)
        parameters += [book.owners[scope], since - limits.UPLOAD_TIMEOUT_S]
    since = now - _UPLOAD_COUNTS_S
    parameters += [book.owners[Scope.UPLOAD], since - limits.UPLOAD_TIMEOUT_S, since]
    sums = {row["scope"]: row for row in c.execute(_RESERVED, parameters)}
    used = _lane_use(c, book, told)
    found = {
        scope: replace(
            known,
            reserved=int(sums[scope]["amount"] or 0),
            lane_use=used.get(scope, {}),
        )
        for scope, known in told.items()
    }
    uploads = sums[Scope.UPLOAD]
    found[Scope.UPLOAD] = sliding(
        Scope.UPLOAD,
        limit=ledger_lessons.uploads_per_hour(c, book),
        count=int(uploads["amount"] or 0),
        oldest_at=uploads["oldest_at"],
    )
    return found


def _lane_use(
    c: Connection, book: Book, told: Mapping[Scope, Window]
) -> dict[Scope, dict[Lane, int]]:
    found: dict[Scope, dict[Lane, int]] = {}
    for row in c.execute("SELECT scope, owner, lane, started_at, amount FROM lane_use"):
        scope = Scope(row["scope"])
        is_ours = book.owners[scope] == row["owner"]
        if is_ours and told[scope].started_at == row["started_at"]:
            found.setdefault(scope, {})[Lane(row["lane"])] = row["amount"]
    return found


def told_windows(c: Connection, book: Book, now: float) -> dict[Scope, Window]:
    """Return the windows that headers tell of as they are now, without reservations."""
    keys = [key for scope in TOLD_SCOPES for key in (str(scope), book.owners[scope])]
    rows = c.execute(
        "SELECT * FROM ledger WHERE (scope, owner) IN (VALUES (?, ?), (?, ?), (?, ?))",
        keys,
    )
    found = {
        scope: Window(limit=DEFAULT_LIMITS[scope], remaining=DEFAULT_LIMITS[scope])
        for scope in TOLD_SCOPES
    }
    for row in rows:
        scope = Scope(row["scope"])
        known = Window(
            limit=row["ceiling"],
            remaining=row["remaining"],
            started_at=row["started_at"],
            reset_at=row["reset_at"],
            is_learned=bool(row["is_learned"]),
        )
        found[scope] = effective(known, scope, now)
    return found


# --- Reserving ------------------------------------------------------------------


def put_window(c: Connection, book: Book, scope: Scope, value: Window) -> None:
    """Write what is known of a window."""
    c.execute(
        "INSERT OR REPLACE INTO ledger"
        " (scope, owner, ceiling, remaining, started_at, reset_at, is_learned)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            str(scope),
            book.owners[scope],
            value.limit,
            value.remaining,
            value.started_at,
            value.reset_at,
            int(value.is_learned),
        ),
    )


def reserve(
    c: Connection,
    book: Book,
    state: LedgerState,
    *,
    request: RequestClass,
    charge: Mapping[Scope, int],
    now: float,
) -> Grant:
    """Write the reservation of a request that was allowed in ``state``."""
    if not charge:
        return Grant(0, request, created_at=now)
    granted = c.execute("INSERT INTO granted (created_at) VALUES (?)", (now,)).lastrowid
    assert granted is not None
    is_upload = request.kind is RequestKind.UPLOAD
    for scope, amount in charge.items():
        known = state.windows[scope]
        if scope is not Scope.UPLOAD:
            _use(c, book, scope, known, lane=request.lane, amount=amount, now=now)
        is_quiet = is_upload and scope is Scope.USER and not known.reserved
        c.execute(
            "INSERT INTO reservation"
            " (granted, scope, owner, amount, created_at, counted_at, quiet)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                granted,
                str(scope),
                book.owners[scope],
                amount,
                now,
                now + limits.UPLOAD_TIMEOUT_S,
                known.remaining if is_quiet else None,
            ),
        )
    if is_upload:
        bucket = taken(state.bucket, now)
        c.execute(
            "INSERT OR REPLACE INTO bucket (owner, tokens, at) VALUES (?, ?, ?)",
            (book.owners[CAPACITY], bucket.tokens, bucket.at),
        )
    if granted % _CLEARED_EVERY == 0:
        # Every window is shorter than the longest reset anybody believes in.
        c.execute(
            "DELETE FROM granted WHERE created_at < ?",
            (now - limits.RESET_AHEAD_MAX_S - limits.UPLOAD_TIMEOUT_S,),
        )
    return Grant(granted, request, charge, now)


def _use(
    c: Connection,
    book: Book,
    scope: Scope,
    known: Window,
    *,
    lane: Lane,
    amount: int,
    now: float,
) -> None:
    """Begin the window if need be, and count the lane's share of it."""
    window = begun(known, scope, now)
    if window is not known:
        put_window(c, book, scope, window)
    if lane not in OWN_SHARE:
        return
    c.execute(
        "INSERT INTO lane_use (scope, owner, lane, started_at, amount)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (scope, owner, lane) DO UPDATE SET"
        " amount = iif(started_at = excluded.started_at, amount, 0) + excluded.amount,"
        " started_at = excluded.started_at",
        (str(scope), book.owners[scope], str(lane), window.started_at, amount),
    )


def settle(c: Connection, book: Book, scopes: Collection[Scope], grant: Grant) -> None:
    """Drop the reservations that a header of ``scopes`` has covered.

    That is the answered request itself, and every request so old that it was either
    counted before this answer or never arrived: no call outlives its deadline.
    """
    oldest_at = grant.created_at - limits.UPLOAD_TIMEOUT_S
    c.executemany(
        "DELETE FROM reservation WHERE scope = ? AND owner = ? AND created_at < ?",
        [(str(scope), book.owners[scope], oldest_at) for scope in scopes],
    )
    c.executemany(
        "DELETE FROM reservation WHERE granted = ? AND scope = ?",
        [(grant.id, str(scope)) for scope in scopes],
    )


def count_upload(c: Connection, grant: Grant, now: float) -> None:
    """Note that an upload was answered: Imgur has counted it by now."""
    c.execute(
        "UPDATE reservation SET counted_at = ? WHERE granted = ? AND scope = 'upload'",
        (now, grant.id),
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What headers say of one counter; None where they do not say it."""

    limit: int | None
    remaining: int
    reset_s: float | None


def told(headers: RateHeaders | None) -> dict[Scope, Told]:
    """Return what the headers say, by counter."""
    if headers is None:
        return {}
    h = headers
    found = {
        Scope.POSTS: (h.post_limit, h.post_remaining, h.post_reset_s),
        Scope.USER: (h.user_limit, h.user_remaining, h.user_reset_s),
        Scope.CLIENT: (h.client_limit, h.client_remaining, h.client_reset_s),
    }
    return {
        scope: Told(limit, remaining, reset_s)
        for scope, (limit, remaining, reset_s) in found.items()
        if remaining is not None
    }
