"""What answers teach the ledger about uploads: how many an hour, at what price."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from imgurfs import limits
from imgurfs.budget import UNLIMITED, Grant, Scope, Wait
from imgurfs.store.ledger import SqliteLedger
from tests.support.ledgers import (
    EPOCH_S,
    NOTHING,
    READ,
    UPLOAD,
    drain,
    ledger,
    told,
)

# --- Uploads an hour ------------------------------------------------------------


async def send(one: SqliteLedger, count: int) -> Grant:
    """Send uploads that Imgur takes; return the last grant."""
    grant = NOTHING
    for _ in range(count):
        grant = await one.reserve(UPLOAD)
        await one.record(grant, None)
    return grant


async def refuse(one: SqliteLedger) -> int:
    """Have one upload refused as too fast; return the limit learned from it."""
    grant = await one.reserve(UPLOAD)
    await one.record(grant, None)
    await one.throttled(grant, scope="upload", until=EPOCH_S)
    return one.state().windows[Scope.UPLOAD].limit


async def test_too_fast_teaches_the_ceiling(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """S17: what went through in the hour before a refusal is the ceiling from then
    on.
    """
    one = ledger(tmp_path)
    await send(one, 12)
    assert await refuse(one) == 12
    assert isinstance(one.peek(UPLOAD), Wait)
    assert one.peek(READ) is None
    await trio.sleep(3700)
    # Fewer in the hour before: lower; a later refusal never raises it.
    await send(one, 10)
    assert await refuse(one) == 10
    again = ledger(tmp_path)
    assert again.state().windows[Scope.UPLOAD].limit == 10
    other = ledger(tmp_path, "b")
    assert other.state().windows[Scope.UPLOAD].limit == 50
    for each in (one, again, other):
        each.close()


@pytest.mark.parametrize(
    ("order", "limits_seen"), [((0, 1, 2), [14, 13, 12]), ((2, 1, 0), [14, 13, 12])]
)
async def test_requests_refused_together_teach_the_same(
    tmp_path: Path, order: tuple[int, ...], limits_seen: list[int]
) -> None:
    """Of three in the air beyond the limit none counts as having gone through."""
    one = ledger(tmp_path)
    await send(one, 12)
    grants = [await one.reserve(UPLOAD) for _ in range(3)]
    for number, limit in zip(order, limits_seen, strict=True):
        await one.record(grants[number], None)
        await one.throttled(grants[number], scope="upload", until=EPOCH_S)
        assert one.state().windows[Scope.UPLOAD].limit == limit
    assert one.state().windows[Scope.UPLOAD].limit == 12
    one.close()


async def test_one_that_others_overtook_teaches_no_less(tmp_path: Path) -> None:
    """What went through after it was granted counts as well.

    Found by a simulated month: an upload that travelled for two minutes taught a
    ceiling of a third, for good.
    """
    one = ledger(tmp_path)
    await send(one, 3)
    slow = await one.reserve(UPLOAD)
    await send(one, 9)
    await one.record(slow, None)
    await one.throttled(slow, scope="upload", until=EPOCH_S)
    assert one.state().windows[Scope.UPLOAD].limit == 12
    one.close()


async def test_a_refusal_after_few_uploads_teaches_nothing(tmp_path: Path) -> None:
    """Somebody else has used the hour up: a limit of two would be for ever."""
    one = ledger(tmp_path)
    await send(one, 2)
    assert await refuse(one) == 50
    one.close()


async def test_another_setting_forgets_the_ceiling(tmp_path: Path) -> None:
    """Who changes the setting wants it to be tried."""
    one = ledger(tmp_path)
    await send(one, 12)
    assert await refuse(one) == 12
    one.close()
    for setting, limit in ((60, 60), (50, 50)):
        changed = ledger(tmp_path, uploads_per_hour=setting)
        assert changed.state().windows[Scope.UPLOAD].limit == limit
        changed.close()


async def test_no_limit_is_no_limit_until_taught(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The setting 0 lets everything through, and still learns."""
    one = ledger(tmp_path, uploads_per_hour=0)
    assert one.state().windows[Scope.UPLOAD].limit >= UNLIMITED
    await send(one, 45)
    assert await refuse(one) == 45
    one.close()


async def test_an_upload_counts_for_an_hour_from_its_answer(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Slots come back one by one; one whose answer never came counts longer."""
    one = ledger(tmp_path)
    await one.reserve(UPLOAD)  # its process dies
    slow = await one.reserve(UPLOAD)
    await trio.sleep(100)
    await one.record(slow, None)
    await trio.sleep(3600)
    assert one.state().windows[Scope.UPLOAD].reserved == 2
    await trio.sleep(3)
    assert one.state().windows[Scope.UPLOAD].reserved == 1
    await trio.sleep(500)
    window = one.state().windows[Scope.UPLOAD]
    assert (window.reserved, window.reset_at) == (0, None)
    one.close()


async def test_uploads_are_spread_over_all_processes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """After the burst uploads go at a rate, whichever process sends them."""
    one = ledger(tmp_path, uploads_per_hour=0)
    other = ledger(tmp_path, "b", uploads_per_hour=0)
    for process in (one, other):
        assert await drain(process, 30) == 30
    for process in (one, other):
        wait = process.peek(UPLOAD)
        assert wait is not None
        assert wait.until - EPOCH_S == pytest.approx(1 / limits.UPLOADS_PER_S_MAX)
    await trio.sleep(2 / limits.UPLOADS_PER_S_MAX + 0.01)
    assert await drain(other, 5) == 2
    one.close()
    other.close()


# --- What an upload costs ---------------------------------------------------------


async def lone_upload(one: SqliteLedger, remaining: int) -> int:
    """Send one upload; return the cost that is believed in then."""
    await one.record(await one.reserve(UPLOAD), told(remaining))
    return one.state().upload_cost


async def test_cost_is_learned_from_lone_uploads(tmp_path: Path) -> None:
    """Two that agree are believed; what is reserved stays the documented price."""
    one = ledger(tmp_path)
    await one.record(await one.reserve(READ), told(480))
    assert await lone_upload(one, 479) == 10
    assert await lone_upload(one, 478) == 1
    assert (await one.reserve(UPLOAD)).charge[Scope.USER] == 10
    other = ledger(tmp_path, "b")
    assert other.state().upload_cost == 10
    one.close()
    other.close()


async def test_cost_is_not_learned_from_company(tmp_path: Path) -> None:
    """With another request on its way, or answered meanwhile, nothing is learned."""
    one = ledger(tmp_path)
    await one.record(await one.reserve(READ), told(480))
    for left in (470, 460, 450):
        upload, read = await one.reserve(UPLOAD), await one.reserve(READ)
        await one.record(upload, told(left))
        await one.record(read, told(left - 1))
    for left in (440, 430):
        upload = await one.reserve(UPLOAD)
        await one.record(await one.reserve(READ), told(left))
        await one.record(upload, told(left - 1))
    await one.reserve(READ)  # its process dies
    assert await lone_upload(one, 428) == 10
    assert await lone_upload(one, 427) == 10
    one.close()


async def test_a_higher_price_is_reserved(tmp_path: Path) -> None:
    """When uploads are seen to cost more than documented, that is reserved."""
    one = ledger(tmp_path)
    await one.record(await one.reserve(READ), told(480))
    for left in (460, 440):
        await lone_upload(one, left)
    assert (await one.reserve(UPLOAD)).charge[Scope.USER] == 20
    one.close()
