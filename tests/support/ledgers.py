"""budget.db as several processes open it, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trio

from imgurfs.budget import Grant, Scope
from imgurfs.clock import Clock, TrioClock
from imgurfs.errors import BudgetError
from imgurfs.executor import Executor, InlineExecutor
from imgurfs.model import Lane, RateHeaders, RequestClass, RequestKind
from imgurfs.store.ledger import SqliteLedger

EPOCH_S = 1_800_000_000.0
READ = RequestClass(RequestKind.READ, Lane.INTERACTIVE)
UPLOAD = RequestClass(RequestKind.UPLOAD, Lane.FRESH, is_post=True)
TOKEN = RequestClass(RequestKind.FREE, Lane.CONTROL)
NOTHING = Grant(0, TOKEN)


@dataclass
class SetClock:
    """A wall clock that somebody sets, beside the time since boot."""

    error_s: float = 0.0

    def now(self) -> float:
        """Return what the wall clock shows."""
        return EPOCH_S + trio.current_time() + self.error_s

    def monotonic(self) -> float:
        """Return the time since boot."""
        return trio.current_time()


def ledger(
    tmp_path: Path,
    account: str = "a",
    executor: Executor | None = None,
    *,
    clock: Clock | None = None,
    uploads_per_hour: int = 50,
    boot_id: str = "this",
) -> SqliteLedger:
    """Open the file as another process would."""
    return SqliteLedger.open(
        tmp_path / "budget.db",
        client_id="client",
        account_key=account,
        clock=clock or TrioClock(EPOCH_S),
        executor=executor or InlineExecutor(),
        uploads_per_hour=uploads_per_hour,
        boot_id=boot_id,
    )


def told(remaining: int, reset_s: float = 3000) -> RateHeaders:
    """Return user headers."""
    return RateHeaders(user_limit=500, user_remaining=remaining, user_reset_s=reset_s)


async def strike(one: SqliteLedger) -> None:
    """Run into the client id's day; its end is not told."""
    until = one.state().windows[Scope.CLIENT].reset_at or EPOCH_S
    await one.throttled(NOTHING, scope="client", until=until)


async def next_day() -> None:
    """Let the client id's day end, whenever in it Imgur began to count."""
    await trio.sleep_until(trio.current_time() + 87_100)


async def drain(one: SqliteLedger, count: int) -> int:
    """Reserve uploads until the budget says no; return how many were granted."""
    for granted in range(count):
        try:
            await one.reserve(UPLOAD)
        except BudgetError:
            return granted
    return count
