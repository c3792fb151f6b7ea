"""budget.db: what survives, what two processes share."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import trio
import trio.testing

from imgurfs import limits
from imgurfs.budget import Scope
from imgurfs.clock import TrioClock
from imgurfs.errors import BudgetError
from imgurfs.executor import Executor, InlineExecutor, ThreadExecutor
from imgurfs.model import Credits, Lane, RateHeaders, RequestClass, RequestKind
from imgurfs.store.ledger import SqliteLedger

EPOCH_S = 1_800_000_000.0
READ = RequestClass(RequestKind.READ, Lane.INTERACTIVE)
UPLOAD = RequestClass(RequestKind.UPLOAD, Lane.FRESH, is_post=True)
TOKEN = RequestClass(RequestKind.FREE, Lane.CONTROL)


def ledger(
    tmp_path: Path, account: str = "a", executor: Executor | None = None
) -> SqliteLedger:
    """Open the file as another process would."""
    return SqliteLedger.open(
        tmp_path / "budget.db",
        client_id="client",
        account_key=account,
        clock=TrioClock(EPOCH_S),
        executor=executor or InlineExecutor(),
    )


def told(remaining: int, reset_s: float = 3000) -> RateHeaders:
    """Return user headers."""
    return RateHeaders(user_limit=500, user_remaining=remaining, user_reset_s=reset_s)


async def drain(one: SqliteLedger, count: int) -> int:
    """Reserve uploads until the budget says no; return how many were granted."""
    for granted in range(count):
        try:
            await one.reserve(UPLOAD)
        except BudgetError:
            return granted
    return count


async def test_two_processes_share_one_budget(tmp_path: Path) -> None:
    """Two ledgers over one file together grant what one would, in real threads."""
    first = ledger(tmp_path, executor=ThreadExecutor())
    second = ledger(tmp_path, executor=ThreadExecutor())
    granted: list[int] = []

    async def run(one: SqliteLedger) -> None:
        granted.append(await drain(one, 100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, first)
        nursery.start_soon(run, second)
    # 500 credits, 20 of them kept from fresh uploads: 48 uploads of 10.
    assert sum(granted) == 48
    assert first.state() == second.state()
    first.close()
    second.close()


async def test_reservation_outlives_the_process(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A crash after a reservation leaves it; it ends with its window."""
    before = ledger(tmp_path)
    await before.reserve(UPLOAD)
    before.close()
    after = ledger(tmp_path)
    assert after.state().windows[Scope.USER].reserved == 10
    await trio.sleep(3600 + limits.RESET_MARGIN_S)
    assert after.state().windows[Scope.USER].reserved == 0
    assert after.state().windows[Scope.CLIENT].reserved == 10
    after.close()


async def test_release_gives_back(tmp_path: Path) -> None:
    """What was not sent costs nothing; releasing twice does no harm."""
    one = ledger(tmp_path)
    grant = await one.reserve(UPLOAD)
    await one.release(grant)
    await one.release(grant)
    assert {w.reserved for w in one.state().windows.values()} == {0}
    one.close()


async def test_headers_settle_only_what_they_cover(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A header settles its own request and those too old to be on their way."""
    one = ledger(tmp_path)
    await one.reserve(READ)  # its process dies
    await trio.sleep(10)
    grant = await one.reserve(READ)
    await one.record(grant, told(490))
    window = one.state().windows[Scope.USER]
    assert (window.remaining, window.reserved, window.spendable) == (490, 1, 489)
    await trio.sleep(limits.UPLOAD_TIMEOUT_S)
    grant = await one.reserve(READ)
    await one.record(grant, told(489, 2400))
    assert one.state().windows[Scope.USER].reserved == 0
    one.close()


async def test_missing_headers_keep_the_reservation(tmp_path: Path) -> None:
    """An answer without rate headers proves nothing about the cost."""
    one = ledger(tmp_path)
    grant = await one.reserve(READ)
    await one.record(grant, None)
    assert one.state().windows[Scope.USER].reserved == 1
    one.close()


async def test_accounts_share_the_client_and_the_machine(tmp_path: Path) -> None:
    """Another account of the same client id has its own hour, not its own day."""
    one, other = ledger(tmp_path, "a"), ledger(tmp_path, "b")
    await one.reserve(UPLOAD)
    windows = other.state().windows
    reserved = {scope: windows[scope].reserved for scope in Scope}
    assert reserved == {
        Scope.POSTS: 1,
        Scope.USER: 0,
        Scope.UPLOAD: 0,
        Scope.CLIENT: 10,
    }
    one.close()
    other.close()


async def test_strikes_count_once_a_window(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Requests refused together are one strike; the next day's is another."""
    one = ledger(tmp_path)
    await one.strike()
    await trio.sleep(30)
    await one.strike()
    assert one.state().strikes == 1
    for day in range(3):
        await trio.sleep_until(trio.current_time() + 86_500)
        await one.strike()
        assert one.state().strikes == day + 2
    wait = one.peek(UPLOAD)
    assert wait is not None
    assert wait.until == math.inf
    with pytest.raises(BudgetError) as caught:
        await one.reserve(UPLOAD)
    assert caught.value.retry_at is None
    await trio.sleep(limits.STRIKE_MEMORY_S + 1)
    assert one.state().strikes == 0
    one.close()


async def test_pauses_grow_only(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A shorter pause does not end a longer one; it ends by itself."""
    one, other = ledger(tmp_path), ledger(tmp_path)
    await one.pause("upload", EPOCH_S + 600)
    await one.pause("upload", EPOCH_S + 60)
    wait = other.peek(UPLOAD)
    assert wait is not None
    assert wait.until == EPOCH_S + 600
    assert other.peek(READ) is None
    await trio.sleep(600)
    assert other.peek(UPLOAD) is None
    one.close()
    other.close()


async def test_credits_are_recorded(tmp_path: Path) -> None:
    """GET /3/credits teaches both windows."""
    one = ledger(tmp_path)
    await one.record_credits(
        Credits(
            user_limit=500,
            user_remaining=7,
            user_reset_at=TrioClock(EPOCH_S).now() + 100,
            client_limit=12_500,
            client_remaining=99,
        )
    )
    windows = one.state().windows
    assert windows[Scope.USER].remaining == 7
    assert windows[Scope.CLIENT].remaining == 99
    with pytest.raises(BudgetError):
        await one.reserve(UPLOAD)
    one.close()


async def test_free_calls_reserve_nothing(tmp_path: Path) -> None:
    """A call without cost leaves no row."""
    one = ledger(tmp_path)
    grant = await one.reserve(TOKEN)
    assert grant.id == 0
    assert grant.charge == {}
    one.close()
