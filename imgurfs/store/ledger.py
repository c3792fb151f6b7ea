"""budget.db: what every process of this machine has promised to Imgur's limits.

Implements :class:`imgurfs.budget.Ledger`; the rules are in ``budget``, the rows in
``store.ledger_rows``, here are the transactions. It neither sends nor waits.

Concurrency: a reservation is one ``BEGIN IMMEDIATE`` transaction that reads, decides
and writes, so two processes can never both take the last credit. Reads for
:meth:`SqliteLedger.peek` and :meth:`SqliteLedger.state` use the reading connection on
the trio thread. ``now`` is taken before the transaction: the clock belongs to trio.

Time: everything stored is in ledger time, which counts evenly from boot to boot
whatever becomes of the wall clock; every epoch that comes in or goes out is the wall
clock's. Imgur's windows do not end because somebody set this machine's clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from imgurfs import limits
from imgurfs.budget import (
    CAPACITY,
    Allow,
    Grant,
    LedgerState,
    Refuse,
    Scope,
    Wait,
    Window,
    decide,
    needs_consent,
)
from imgurfs.clock import Clock
from imgurfs.errors import BudgetError, ThrottledError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.model import Credits, Lane, RateHeaders, RequestClass, RequestKind
from imgurfs.store import ledger_lessons, ledger_rows
from imgurfs.store.database import Connection, Database
from imgurfs.store.ledger_lessons import Book
from imgurfs.store.ledger_rows import Told
from imgurfs.store.ledger_schema import BUDGET_SCHEMA
from imgurfs.windows import begun, learned

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SqliteLedger:
    """The budget of one client id and account, kept in a file shared by all."""

    def __init__(
        self, *, db: Database, book: Book, clock: Clock, ahead_s: float
    ) -> None:
        self._db = db
        self._book = book
        self._clock = clock
        self._ahead_s = ahead_s
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
        boot_id: str | None = None,
    ) -> SqliteLedger:
        """Open or create budget.db; blocks like Database.open and raises what it does.

        ``account_key`` tells accounts of one client id apart; ``machine_key`` tells
        services apart that count this machine's POSTs separately (an emulator).
        ``uploads_per_hour`` is the setting, 0 = no such limit. ``boot_id`` is for
        tests: which boot of the machine this is.
        """
        db = Database.open(
            path, schema=BUDGET_SCHEMA, executor=executor, lane=ThreadLane.LEDGER
        )
        account = f"{client_id} {account_key}"
        owners: Mapping[str, str] = {
            Scope.POSTS: machine_key,
            Scope.USER: account,
            Scope.UPLOAD: account,
            Scope.CLIENT: client_id,
            CAPACITY: machine_key,
        }
        book = Book(owners, uploads_per_hour)
        boot = _boot_id() if boot_id is None else boot_id

        def transaction(c: Connection) -> float:
            ledger_lessons.forget_other_setting(c, book)
            return _begin_era(c, boot, now=clock.now(), since_boot_s=clock.monotonic())

        try:
            ahead_s = db.write_blocking(transaction)
        except BaseException:
            db.close()
            raise
        return cls(db=db, book=book, clock=clock, ahead_s=ahead_s)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def statistics(self) -> dict[str, int]:
        """Return how many requests this process was granted and denied."""
        return {"granted": self._granted, "denied": self._denied}

    # --- Asking ---------------------------------------------------------------

    def state(self) -> LedgerState:
        """Return the state as of now, windows that have ended shown full."""
        return _shifted(
            ledger_rows.load(self._db.reader, self._book, self._now()), self._offset()
        )

    def peek(self, request: RequestClass) -> Wait | None:
        """Return why the request would have to wait now, None when it would not.

        Reserves nothing. A refusal that no waiting mends is a wait until infinity.
        """
        now = self._now()
        state = ledger_rows.load(self._db.reader, self._book, now)
        match decide(state, request, now):
            case Allow():
                return None
            case Wait() as wait:
                return replace(wait, until=wait.until + self._offset())
            case Refuse(reason=reason):
                return Wait(math.inf, reason)

    async def reserve(self, request: RequestClass) -> Grant:
        """Reserve what the request may cost; durable when this returns.

        Raises BudgetError, whose ``retry_at`` is None when only the user can help, and
        ThrottledError while Imgur wants to be left alone.
        """
        now, offset = self._now(), self._offset()

        def transaction(c: Connection) -> Grant | Wait | Refuse:
            state = ledger_rows.load(c, self._book, now)
            decision = decide(state, request, now)
            if not isinstance(decision, Allow):
                return decision
            return ledger_rows.reserve(
                c, self._book, state, request=request, charge=decision.charge, now=now
            )

        outcome = await self._db.write(transaction)
        match outcome:
            case Grant():
                self._granted += 1
                return outcome
            case Wait(until=until, reason=reason, is_throttle=True):
                self._denied += 1
                raise ThrottledError(reason, retry_at=until + offset, scope=CAPACITY)
            case Wait(until=until, reason=reason):
                self._denied += 1
                raise BudgetError(
                    f"the budget says wait: {reason}", retry_at=until + offset
                )
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
        stays until its window ends. Nothing is learned of the window: what was lost on
        the way, or refused at Imgur's edge, did not begin one.
        """
        now = self._now()

        def transaction(c: Connection) -> None:
            if Scope.UPLOAD in grant.charge:
                ledger_rows.count_upload(c, grant, now)
            told = ledger_rows.told(headers)
            known = ledger_rows.told_windows(c, self._book, now)
            for scope, before in known.items():
                if scope in told:
                    self._learn(c, scope, before, told[scope], grant=grant, now=now)
            ledger_rows.settle(c, self._book, told, grant)

        await self._db.write(transaction)

    def _learn(
        self,
        c: Connection,
        scope: Scope,
        before: Window,
        told: Told,
        *,
        grant: Grant,
        now: float,
    ) -> None:
        after = learned(
            before,
            scope,
            limit=told.limit,
            remaining=told.remaining,
            reset_s=told.reset_s,
            sent_at=grant.created_at,
            now=now,
        )
        is_upload = Scope.UPLOAD in grant.charge
        if is_upload and scope is Scope.USER and _is_same(before, after):
            ledger_lessons.learn_cost(c, self._book, grant, told.remaining)
        if after != before:
            ledger_rows.put_window(c, self._book, scope, after)

    async def record_credits(self, credit: Credits) -> None:
        """Learn from the body of ``GET /3/credits``; settles no reservation.

        Its reset is an epoch of Imgur's clock, which need not be ours: the end of the
        window is left to the headers.
        """
        headers = RateHeaders(
            user_limit=credit.user_limit,
            user_remaining=credit.user_remaining,
            client_limit=credit.client_limit,
            client_remaining=credit.client_remaining,
        )
        nothing = RequestClass(RequestKind.FREE, Lane.CONTROL)
        await self.record(Grant(0, nothing, created_at=self._now()), headers)

    async def release(self, grant: Grant) -> None:
        """Give a reservation back: nothing was sent."""
        await self._db.write(
            lambda c: c.execute("DELETE FROM granted WHERE id = ?", (grant.id,))
        )

    async def throttled(self, grant: Grant, *, scope: str, until: float) -> None:
        """Note that Imgur refused the request and wants ``scope`` to rest till then.

        Pauses only ever grow. The client's day is a strike as well, at most one in a
        window; "uploading too fast" teaches how many uploads an hour are possible.
        """
        assert scope in self._book.owners, scope
        now, until = self._now(), until - self._offset()

        def transaction(c: Connection) -> None:
            c.execute(
                "INSERT INTO pause (scope, owner, until_at) VALUES (?, ?, ?)"
                " ON CONFLICT (scope, owner) DO UPDATE"
                " SET until_at = max(until_at, excluded.until_at)",
                (str(scope), self._book.owners[scope], until),
            )
            if scope == Scope.CLIENT:
                self._strike(c, now)
            if scope == Scope.UPLOAD:
                ledger_lessons.learn_ceiling(c, self._book, grant, now)

        await self._db.write(transaction)

    def _strike(self, c: Connection, now: float) -> None:
        """Remember that the client id's daily limit was hit, once in a window."""
        client_id = self._book.owners[Scope.CLIENT]
        known = ledger_rows.told_windows(c, self._book, now)[Scope.CLIENT]
        window = begun(known, Scope.CLIENT, now)
        ledger_rows.put_window(c, self._book, Scope.CLIENT, window)
        # Several requests in flight are refused together: that is one strike.
        count = c.execute(
            "INSERT INTO strike (client_id, at) SELECT ?, ? WHERE NOT EXISTS"
            " (SELECT 1 FROM strike WHERE client_id = ? AND at >= ?)",
            (client_id, now, client_id, window.started_at),
        ).rowcount
        if count:
            # The user agreed to less than this.
            c.execute("DELETE FROM consent WHERE client_id = ?", (client_id,))
        c.execute("DELETE FROM strike WHERE at < ?", (now - limits.STRIKE_MEMORY_S,))

    # --- The user's word --------------------------------------------------------

    async def consent(self) -> float | None:
        """Allow uploads in spite of four strikes; return until when (an epoch).

        It holds until the strike that made it necessary is forgotten, and ends with
        the next strike. None: nothing waits for consent.
        """
        now, offset = self._now(), self._offset()
        client_id = self._book.owners[Scope.CLIENT]

        def transaction(c: Connection) -> float | None:
            if not needs_consent(ledger_rows.load(c, self._book, now)):
                return None
            newest_at = c.execute(
                "SELECT max(at) FROM strike WHERE client_id = ?", (client_id,)
            ).fetchone()[0]
            until = float(newest_at) + limits.STRIKE_MEMORY_S
            c.execute(
                "INSERT OR REPLACE INTO consent (client_id, until_at) VALUES (?, ?)",
                (client_id, until),
            )
            return until + offset

        return await self._db.write(transaction)

    # --- Time -------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.monotonic() + self._ahead_s

    def _offset(self) -> float:
        """Return how far the wall clock is ahead of ledger time, to a millisecond."""
        return round(self._clock.now() - self._now(), 3)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _begin_era(c: Connection, boot: str, *, now: float, since_boot_s: float) -> float:
    """Return by how much ledger time is ahead of the time since boot.

    After a boot it goes on from the wall clock, but never back: what a wrong clock
    wrote would otherwise lie in the future and count for ever.
    """
    row = c.execute("SELECT boot, ahead_s FROM era").fetchone()
    if row is not None and row["boot"] == boot:
        return float(row["ahead_s"])
    newest_at = c.execute("SELECT max(created_at) FROM granted").fetchone()[0]
    ahead_s = max(now, newest_at or now) - since_boot_s
    c.execute(
        "INSERT OR REPLACE INTO era (id, boot, ahead_s) VALUES (1, ?, ?)",
        (boot, ahead_s),
    )
    return ahead_s


def _is_same(before: Window, after: Window) -> bool:
    """Whether an answer was about the window that was known."""
    return (
        before.is_learned
        and before.reset_at is not None
        and after.reset_at is not None
        and after.reset_at <= before.reset_at
    )


def _shifted(state: LedgerState, offset: float) -> LedgerState:
    """Return the state with its times moved by ``offset`` seconds."""

    def moved(at: float | None) -> float | None:
        return None if at is None else at + offset

    return replace(
        state,
        windows={
            scope: replace(
                window,
                started_at=window.started_at + offset,
                reset_at=moved(window.reset_at),
            )
            for scope, window in state.windows.items()
        },
        pauses={scope: until + offset for scope, until in state.pauses.items()},
        bucket=replace(state.bucket, at=state.bucket.at + offset),
    )
