"""budget.db: what survives, what two processes share."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import trio
import trio.testing

from imgurfs import limits
from imgurfs.budget import OWN_SHARE, Scope
from imgurfs.clock import TrioClock
from imgurfs.errors import BudgetError
from imgurfs.executor import ThreadExecutor
from imgurfs.model import Credits, Lane, RequestClass, RequestKind
from imgurfs.store.ledger import SqliteLedger
from tests.support.ledgers import (
    EPOCH_S,
    NOTHING,
    READ,
    TOKEN,
    UPLOAD,
    SetClock,
    drain,
    ledger,
    next_day,
    strike,
    told,
)


async def test_two_processes_share_one_budget(tmp_path: Path) -> None:
    """S17: two ledgers over one file together grant what one would, in real
    threads.
    """
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
    await trio.sleep(3600 + limits.RESET_MARGIN_S + limits.UPLOAD_TIMEOUT_S)
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


async def test_a_lost_request_does_not_begin_the_window(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """What was lost on its way dates nothing: the next one opens Imgur's hour.

    Found by a simulated month: the hour was taken to end 24 seconds early.
    """
    one = ledger(tmp_path)
    begun_at = trio.current_time()
    await one.record(await one.reserve(READ), None)
    await trio.sleep(24)
    await one.record(await one.reserve(READ), told(3, reset_s=3600))
    await trio.sleep(begun_at + 24 + 3600 - trio.current_time())
    with pytest.raises(BudgetError):
        await one.reserve(UPLOAD)
    await trio.sleep(limits.RESET_MARGIN_S)
    await one.reserve(UPLOAD)
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
    await strike(one)
    await trio.sleep(30)
    await strike(one)
    assert one.state().strikes == 1
    for day in range(3):
        await next_day()
        await strike(one)
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
    for seconds in (600, 60):
        await one.throttled(NOTHING, scope="upload", until=EPOCH_S + seconds)
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


# --- Time ---------------------------------------------------------------------


@pytest.mark.parametrize("error_s", [7200.0, -7200.0, 400 * 86_400.0])
async def test_a_clock_that_is_set_moves_no_window(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, error_s: float
) -> None:
    """Imgur's window goes on when the wall clock jumps; waits are told in its time."""
    clock = SetClock()
    one = ledger(tmp_path, clock=clock)
    await one.record(await one.reserve(READ), told(0, reset_s=1000))
    await trio.sleep(100)
    clock.error_s = error_s
    for process in (one, ledger(tmp_path, clock=clock)):
        wait = process.peek(UPLOAD)
        assert wait is not None
        assert wait.until - clock.now() == pytest.approx(902, abs=0.01)
        reset_at = process.state().windows[Scope.USER].reset_at
        assert reset_at == pytest.approx(wait.until, abs=0.01)
        with pytest.raises(BudgetError) as caught:
            await process.reserve(UPLOAD)
        assert caught.value.retry_at == pytest.approx(wait.until, abs=0.01)
    await trio.sleep(903)
    assert one.peek(UPLOAD) is None
    one.close()


async def test_a_boot_with_a_wrong_clock_strands_nothing(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A reservation made before a boot into the past still ends with its window."""
    one = ledger(tmp_path)
    await one.reserve(UPLOAD)
    one.close()
    after = ledger(tmp_path, clock=SetClock(-(10**8)), boot_id="the next")
    assert after.state().windows[Scope.USER].reserved == 10
    await trio.sleep(3600 + limits.RESET_MARGIN_S + limits.UPLOAD_TIMEOUT_S)
    assert after.state().windows[Scope.USER].reserved == 0
    after.close()


# --- Consent ------------------------------------------------------------------


async def four_strikes(one: SqliteLedger) -> None:
    """Run into the limit on four days."""
    for _ in range(4):
        await strike(one)
        await next_day()


async def test_consent_lasts_until_the_strike_is_forgotten(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """S19: the user's word lets uploads go on, in every process, for a month at
    most.
    """
    one, other = ledger(tmp_path), ledger(tmp_path, "b")
    assert await one.consent() is None
    await four_strikes(one)
    assert other.peek(UPLOAD) is not None
    until = await one.consent()
    assert until is not None
    assert other.state().has_consent
    assert other.peek(UPLOAD) is None
    assert until == pytest.approx(EPOCH_S + 3 * 87_100 + limits.STRIKE_MEMORY_S, abs=1)
    await trio.sleep(until - TrioClock(EPOCH_S).now() + 1)
    assert not one.state().has_consent
    assert one.state().strikes == 0
    one.close()
    other.close()


async def test_another_strike_ends_the_consent(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Consent to go on after four is not consent to go on after five."""
    one = ledger(tmp_path)
    await four_strikes(one)
    await one.consent()
    await strike(one)
    assert not one.state().has_consent
    await next_day()
    with pytest.raises(BudgetError):
        await one.reserve(UPLOAD)
    assert await one.consent() is not None
    await one.reserve(UPLOAD)
    one.close()


async def test_a_backlog_does_not_starve_the_refresher(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """S18: with the window down to the uploads' floor, refreshing has a share of
    its own.
    """
    one = ledger(tmp_path)
    await one.record(await one.reserve(READ), told(25, reset_s=3600))
    assert one.peek(UPLOAD) is not None
    refresh = RequestClass(RequestKind.READ, Lane.REFRESH)
    granted = 0
    while one.peek(refresh) is None:
        await one.record(await one.reserve(refresh), told(24 - granted, reset_s=3600))
        granted += 1
    assert granted == 500 * OWN_SHARE[Lane.REFRESH]
    assert one.peek(READ) is None
    one.close()
