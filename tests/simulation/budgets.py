"""The two budgets of a simulated month: the real one, and one that knows everything.

``SharedBudget`` is the product's ledger: several processes and accounts over one file,
on a clock that somebody sets. ``IdealBudget`` looks into the server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgurfs.budget import Grant, kept_from_uploads
from imgurfs.emulator.rules.accounting import DAY_S, Accounting, Meter
from imgurfs.errors import BudgetError
from imgurfs.executor import InlineExecutor
from imgurfs.limits import STRIKE_MEMORY_S, STRIKES_PER_MONTH, UPLOAD_CREDITS
from imgurfs.model import RequestClass, RequestKind
from imgurfs.store.ledger import SqliteLedger
from tests.simulation.month_server import ADDRESS, CLIENT, Answer, Month, Server

__all__ = ["DAY_S", "IdealBudget", "SetClock", "SharedBudget"]


@dataclass(slots=True)
class SetClock:
    """A wall clock that is wrong by ``error_s``; the true time is ``at``."""

    at: float = 0.0
    error_s: float = 0.0

    def now(self) -> float:
        """Return what the wall clock shows."""
        return self.at + self.error_s

    def monotonic(self) -> float:
        """Return the seconds since boot, which nobody can set."""
        return self.at - 1_700_000_000.0


class SharedBudget:
    """The ledgers of all processes: ``account process`` by name, over one file."""

    def __init__(self, path: Path, month: Month, server: Server) -> None:
        self._path = path
        self._month = month
        self._server = server
        self.clock = SetClock()
        self._ledgers: dict[str, SqliteLedger] = {}
        #: When consent was given, and until when it held.
        self.consents: list[tuple[float, float]] = []

    def _ledger(self, process: str) -> SqliteLedger:
        if process not in self._ledgers:
            self._ledgers[process] = SqliteLedger.open(
                self._path,
                client_id=CLIENT,
                account_key=process.split(maxsplit=1)[0],
                clock=self.clock,
                executor=InlineExecutor(),
                uploads_per_hour=self._month.configured,
                boot_id="the only one",
            )
        return self._ledgers[process]

    async def reserve(self, process: str, request: RequestClass, at: float) -> Grant:
        """Ask the process's ledger; raises BudgetError and ThrottledError."""
        self.clock.at = at
        return await self._ledger(process).reserve(request)

    def wait_s(self, retry_at: float) -> float:
        """Return how long a process waits that was told an epoch."""
        return retry_at - self.clock.now()

    def arrived(self, process: str, grant: Grant) -> None:
        """Nobody tells us."""

    async def answered(
        self, process: str, grant: Grant, answer: Answer | None, at: float
    ) -> None:
        """Do what the metered transport does with an answer, or with none."""
        self.clock.at = at
        ledger = self._ledger(process)
        await ledger.record(grant, answer.headers if answer else None)
        if answer is None:
            return
        self._server.came(answer)
        if answer.scope:
            until = self.clock.now() + answer.rest_s
            await ledger.throttled(grant, scope=answer.scope, until=until)

    async def consent(self, process: str, at: float) -> None:
        """The user looks at the status, and consents if that is asked for."""
        self.clock.at = at
        ledger = self._ledger(process)
        until = await ledger.consent()
        if until is not None:
            self.consents.append((at, until - self.clock.error_s))

    def crash(self, process: str) -> None:
        """End a process without a word; the next request starts it again."""
        ledger = self._ledgers.pop(process, None)
        if ledger is not None:
            ledger.close()

    def close(self) -> None:
        """End all processes."""
        for process in list(self._ledgers):
            self.crash(process)


class IdealBudget:
    """Grants whatever the server would accept at this moment, within the same rules.

    It only looks: a window begins with the first request in it, here as in the real
    run, or the ideal would have hours that no request has begun.

    ``real`` is the server of the real run: its strikes bind here as well, and so do
    the user's ``consents`` and what a blocked client id was told.
    """

    def __init__(
        self, server: Server, real: Server, consents: Sequence[tuple[float, float]]
    ) -> None:
        self._server = server
        self._real = real
        self._strikes_at = real.strikes_at
        self._consents = consents
        self._on_their_way: Counter[str] = Counter()
        self.clock = SetClock()

    async def reserve(self, process: str, request: RequestClass, at: float) -> Grant:
        """Look into the server; raises BudgetError until the counter that is short."""
        self.clock.at = at
        accounting: Accounting = self._server.accounting
        account = process.split(maxsplit=1)[0]
        is_upload = request.kind is RequestKind.UPLOAD
        cost = UPLOAD_CREDITS if is_upload else 1
        strikes = sum(s <= at < s + STRIKE_MEMORY_S for s in self._strikes_at)
        floor = kept_from_uploads(accounting.client.shown, strikes) if is_upload else 0
        if is_upload and strikes >= 4 and not self._has_consent(at):
            raise BudgetError("not without consent", retry_at=None)
        coming = self._on_their_way
        wanted: list[tuple[Meter, str, int]] = [
            (accounting.user, account, cost + coming[account]),
            (accounting.client, CLIENT, cost + floor + coming[CLIENT]),
        ]
        if request.is_post:
            wanted.append((accounting.posts, ADDRESS, 1 + coming[ADDRESS]))
        if is_upload:
            uploading = coming[f"uploads {account}"]
            wanted.append((accounting.uploads, account, 1 + uploading))
        ends = [
            at + reading.reset_s
            for meter, key, amount in wanted
            if (reading := meter.peek(key, at)).remaining < amount
        ]
        if self._is_blocked(at):
            # The real run asks when its day is over; being refused begins the next.
            ends.append(at + accounting.client.read(CLIENT, at).reset_s)
        if ends:
            raise BudgetError("not now", retry_at=max(ends))
        coming.update(self._costs(account, request))
        return Grant(0, request)

    def _is_blocked(self, at: float) -> bool:
        month = _month(at)
        struck = sum(s <= at and _month(s) == month for s in self._strikes_at)
        was_told = any(begin <= at < end for begin, end in self._real.blocked)
        return was_told or struck >= STRIKES_PER_MONTH

    def _has_consent(self, at: float) -> bool:
        # A refusal of the day ends a consent.
        ended = [r.at for r in self._real.refusals if r.scope == "client"]
        return any(
            begin <= at < end and not any(begin < other <= at for other in ended)
            for begin, end in self._consents
        )

    def _costs(self, account: str, request: RequestClass) -> dict[str, int]:
        is_upload = request.kind is RequestKind.UPLOAD
        cost = self._server.month.upload_cost if is_upload else 1
        return {
            account: cost,
            CLIENT: cost,
            ADDRESS: int(request.is_post),
            f"uploads {account}": int(is_upload),
        }

    def arrived(self, process: str, grant: Grant) -> None:
        """Count the request no longer as on its way: the server has counted it."""
        self._on_their_way.subtract(
            self._costs(process.split(maxsplit=1)[0], grant.request)
        )

    def wait_s(self, retry_at: float) -> float:
        """Return how long to wait: nobody sets this clock."""
        return retry_at - self.clock.at

    async def answered(
        self, process: str, grant: Grant, answer: Answer | None, at: float
    ) -> None:
        """Learn nothing: there is nothing to learn."""

    async def consent(self, process: str, at: float) -> None:
        """The user's word is the real run's."""

    def crash(self, process: str) -> None:
        """Nothing crashes here."""


def _month(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m}"
