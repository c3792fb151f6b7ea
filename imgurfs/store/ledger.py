"""budget.db: what every process of this machine has promised to Imgur's limits.

Implements :class:`imgurfs.budget.Ledger`; the rules are there, the rows are here
(``store.ledger_schema``). It neither sends nor waits.

Concurrency: a reservation is one ``BEGIN IMMEDIATE`` transaction that reads, decides
and writes, so two processes can never both take the last credit. Reads for
:meth:`SqliteLedger.peek` and :meth:`SqliteLedger.state` use the reading connection on
the trio thread. ``now`` is taken before the transaction: the clock belongs to trio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from imgurfs import limits
from imgurfs.budget import (
    CAPACITY,
    DEFAULT_LIMITS,
    Allow,
    Grant,
    LedgerState,
    Refuse,
    Scope,
    Wait,
    Window,
    anchored,
    begun,
    decide,
    effective,
    learned,
)
from imgurfs.clock import Clock
from imgurfs.errors import BudgetError, ThrottledError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.model import Credits, Lane, RateHeaders, RequestClass, RequestKind
from imgurfs.store.database import Connection, Database
from imgurfs.store.ledger_schema import BUDGET_SCHEMA

_SCOPES: Final = tuple(Scope)


class SqliteLedger:
    """The budget of one client id and account, kept in a file shared by all."""

    def __init__(
        self,
        *,
        db: Database,
        owners: Mapping[str, str],
        ceilings: Mapping[Scope, int],
        clock: Clock,
        has_consent: bool = False,
    ) -> None:
        self._db = db
        self._owners = owners
        self._ceilings = ceilings
        self._clock = clock
        self._has_consent = has_consent
        self._granted = 0
        self._denied = 0

    def __repr__(self) -> str:
        return f"<SqliteLedger {self._db.path} granted={self._granted}>"

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        client_id: str,
        account_key: str,
        clock: Clock,
        executor: Executor,
        machine_key: str = "",
        uploads_per_hour: int = limits.UPLOADS_PER_HOUR,
        has_consent: bool = False,
    ) -> SqliteLedger:
        """Open or create budget.db; blocks like Database.open and raises what it does.

        ``account_key`` tells accounts of one client id apart; ``machine_key`` tells
        services apart that count this machine's POSTs separately (an emulator).
        ``has_consent``: the user allowed uploads after the fourth strike.
        """
        db = Database.open(
            path, schema=BUDGET_SCHEMA, executor=executor, lane=ThreadLane.LEDGER
        )
        account = f"{client_id} {account_key}"
        return cls(
            db=db,
            owners={
                Scope.POSTS: machine_key,
                Scope.USER: account,
                Scope.UPLOAD: account,
                Scope.CLIENT: client_id,
                CAPACITY: machine_key,
            },
            ceilings={**DEFAULT_LIMITS, Scope.UPLOAD: uploads_per_hour},
            clock=clock,
            has_consent=has_consent,
        )

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def statistics(self) -> dict[str, int]:
        """Return how many requests this process was granted and denied."""
        return {"granted": self._granted, "denied": self._denied}

    # --- Asking ---------------------------------------------------------------

    def state(self) -> LedgerState:
        """Return the state as of now, windows that have ended shown full."""
        return self._load(self._db.reader, self._clock.now())

    def peek(self, request: RequestClass) -> Wait | None:
        """Return why the request would have to wait now, None when it would not.

        Reserves nothing. A refusal that no waiting mends is a wait until infinity.
        """
        match decide(self.state(), request, self._clock.now()):
            case Allow():
                return None
            case Wait() as wait:
                return wait
            case Refuse(reason=reason):
                return Wait(math.inf, reason)

    async def reserve(self, request: RequestClass) -> Grant:
        """Reserve what the request may cost; durable when this returns.

        Raises BudgetError, whose ``retry_at`` is None when only the user can help, and
        ThrottledError while Imgur wants to be left alone.
        """
        now = self._clock.now()

        def transaction(c: Connection) -> Grant | Wait | Refuse:
            decision = decide(self._load(c, now), request, now)
            if isinstance(decision, Allow):
                return self._grant(c, request=request, charge=decision.charge, now=now)
            return decision

        outcome = await self._db.write(transaction)
        match outcome:
            case Grant():
                self._granted += 1
                return outcome
            case Wait(until=until, reason=reason, is_throttle=True):
                self._denied += 1
                raise ThrottledError(reason, retry_at=until, scope=CAPACITY)
            case Wait(until=until, reason=reason):
                self._denied += 1
                raise BudgetError(f"the budget says wait: {reason}", retry_at=until)
            case Refuse(reason=reason):
                self._denied += 1
                raise BudgetError(
                    f"the budget says no: {reason}",
                    retry_at=None,
                    hint="see 'imgurfs credits'",
                )

    # --- Learning -------------------------------------------------------------

    async def record(self, grant: Grant, headers: RateHeaders | None) -> None:
        """Learn from the headers of the answer to ``grant``.

        None: it was answered without rate headers, or may have been; the reservation
        stays until its window ends.
        """
        now = self._clock.now()

        def transaction(c: Connection) -> None:
            for scope in _SCOPES:
                told = _told(headers, scope)
                if told is None and scope not in grant.charge:
                    continue
                window = self._window(c, scope, now)
                if told is None:
                    self._put(c, scope, anchored(window, scope, now))
                    continue
                limit, remaining, reset_s = told
                self._put(
                    c,
                    scope,
                    learned(
                        window,
                        scope,
                        limit=limit,
                        remaining=remaining,
                        reset_s=reset_s,
                        sent_at=grant.created_at,
                        now=now,
                    ),
                )
                self._settle(c, scope, grant)

        await self._db.write(transaction)

    async def record_credits(self, credit: Credits) -> None:
        """Learn from the body of ``GET /3/credits``; settles no reservation."""
        now = self._clock.now()
        reset_s = max(0.0, credit.user_reset_at - now)
        headers = RateHeaders(
            user_limit=credit.user_limit,
            user_remaining=credit.user_remaining,
            user_reset_s=reset_s if credit.user_reset_at > 0 else None,
            client_limit=credit.client_limit,
            client_remaining=credit.client_remaining,
        )
        nothing = RequestClass(RequestKind.FREE, Lane.CONTROL)
        await self.record(Grant(0, nothing, created_at=now), headers)

    async def release(self, grant: Grant) -> None:
        """Give a reservation back: nothing was sent."""
        await self._db.write(
            lambda c: c.execute("DELETE FROM granted WHERE id = ?", (grant.id,))
        )

    async def pause(self, scope: str, until: float) -> None:
        """Send nothing of ``scope`` before ``until`` (an epoch)."""
        assert scope == CAPACITY or scope in _SCOPES, scope
        owner = self._owners[scope]
        await self._db.write(
            lambda c: c.execute(
                "INSERT INTO pause (scope, owner, until_at) VALUES (?, ?, ?)"
                " ON CONFLICT (scope, owner) DO UPDATE"
                " SET until_at = max(until_at, excluded.until_at)",
                (str(scope), owner, until),
            )
        )

    async def strike(self) -> None:
        """Remember that the client id's daily limit was hit, once in a window."""
        now = self._clock.now()
        client_id = self._owners[Scope.CLIENT]

        def transaction(c: Connection) -> None:
            window = begun(self._window(c, Scope.CLIENT, now), Scope.CLIENT, now)
            self._put(c, Scope.CLIENT, window)
            # Several requests in flight are refused together: that is one strike.
            since = window.started_at
            c.execute(
                "INSERT INTO strike (client_id, at) SELECT ?, ? WHERE NOT EXISTS"
                " (SELECT 1 FROM strike WHERE client_id = ? AND at >= ?)",
                (client_id, now, client_id, since),
            )
            c.execute(
                "DELETE FROM strike WHERE at < ?", (now - limits.STRIKE_MEMORY_S,)
            )

        await self._db.write(transaction)

    # --- Rows -----------------------------------------------------------------

    def _load(self, c: Connection, now: float) -> LedgerState:
        pauses = {
            scope: float(row["until_at"])
            for scope, owner in self._owners.items()
            for row in c.execute(
                "SELECT until_at FROM pause WHERE scope = ? AND owner = ?",
                (str(scope), owner),
            )
        }
        strikes = c.execute(
            "SELECT count(*) FROM strike WHERE client_id = ? AND at >= ?",
            (self._owners[Scope.CLIENT], now - limits.STRIKE_MEMORY_S),
        ).fetchone()[0]
        return LedgerState(
            windows={scope: self._window(c, scope, now) for scope in _SCOPES},
            pauses=pauses,
            strikes=strikes,
            has_consent=self._has_consent,
        )

    def _window(self, c: Connection, scope: Scope, now: float) -> Window:
        """Return a window as it is now, with the reservations that still count."""
        owner = self._owners[scope]
        row = c.execute(
            "SELECT * FROM ledger WHERE scope = ? AND owner = ?", (str(scope), owner)
        ).fetchone()
        ceiling = self._ceilings[scope]
        if row is None:
            window = Window(limit=ceiling, remaining=ceiling)
        else:
            # No header tells the upload limit: the configuration does.
            limit = ceiling if scope is Scope.UPLOAD else int(row["ceiling"])
            window = effective(
                Window(
                    limit=limit,
                    remaining=min(limit, int(row["remaining"])),
                    started_at=float(row["started_at"]),
                    reset_at=row["reset_at"],
                    is_learned=bool(row["is_learned"]),
                ),
                scope,
                now,
            )
        # A reservation from before the window counts only while its request may still
        # be on its way.
        since = now - limits.UPLOAD_TIMEOUT_S
        if window.reset_at is not None:
            since = min(since, window.started_at)
        reserved = c.execute(
            "SELECT coalesce(sum(amount), 0) FROM reservation"
            " WHERE scope = ? AND owner = ? AND created_at >= ?",
            (str(scope), owner, since),
        ).fetchone()[0]
        return replace(window, reserved=int(reserved))

    def _put(self, c: Connection, scope: Scope, window: Window) -> None:
        c.execute(
            "INSERT OR REPLACE INTO ledger"
            " (scope, owner, ceiling, remaining, started_at, reset_at, is_learned)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                str(scope),
                self._owners[scope],
                window.limit,
                window.remaining,
                window.started_at,
                window.reset_at,
                int(window.is_learned),
            ),
        )

    def _grant(
        self,
        c: Connection,
        *,
        request: RequestClass,
        charge: Mapping[Scope, int],
        now: float,
    ) -> Grant:
        if not charge:
            return Grant(0, request, created_at=now)
        granted = c.execute(
            "INSERT INTO granted (kind, lane, created_at) VALUES (?, ?, ?)",
            (str(request.kind), str(request.lane), now),
        ).lastrowid
        assert granted is not None
        for scope, amount in charge.items():
            self._put(c, scope, begun(self._window(c, scope, now), scope, now))
            c.execute(
                "INSERT INTO reservation (granted, scope, owner, amount, created_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (granted, str(scope), self._owners[scope], amount, now),
            )
        # Every window is shorter than the longest reset anybody believes in.
        c.execute(
            "DELETE FROM granted WHERE created_at < ?",
            (now - limits.RESET_AHEAD_MAX_S - limits.UPLOAD_TIMEOUT_S,),
        )
        return Grant(granted, request, charge, now)

    def _settle(self, c: Connection, scope: Scope, grant: Grant) -> None:
        """Drop the reservations that a header has covered.

        That is the answered request itself, and every request so old that it was
        either counted before this answer or never arrived: no call outlives its
        deadline.
        """
        c.execute(
            "DELETE FROM reservation WHERE scope = ? AND owner = ?"
            " AND (granted = ? OR created_at < ?)",
            (
                str(scope),
                self._owners[scope],
                grant.id,
                grant.created_at - limits.UPLOAD_TIMEOUT_S,
            ),
        )


def _told(
    headers: RateHeaders | None, scope: Scope
) -> tuple[int | None, int, float | None] | None:
    """Return (limit, remaining, reset_s) as the headers tell them, or None."""
    if headers is None:
        return None
    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    match scope:
        case Scope.POSTS:
            limit, remaining = headers.post_limit, headers.post_remaining
            reset_s = headers.post_reset_s
        case Scope.USER:
            limit, remaining = headers.user_limit, headers.user_remaining
            reset_s = headers.user_reset_s
        case Scope.CLIENT:
            limit, remaining = headers.client_limit, headers.client_remaining
            reset_s = headers.client_reset_s
        case Scope.UPLOAD:
            pass
    return None if remaining is None else (limit, remaining, reset_s)
