"""Five months of uploading in a few seconds; the long form is ``months`` itself.

The yardstick of the months is tested as well: what the ideal sender may not have.
"""

from __future__ import annotations

import pytest

from imgurfs.emulator.rules.accounting import HOUR_S
from imgurfs.errors import BudgetError
from tests.simulation.budgets import DAY_S, IdealBudget
from tests.simulation.month_server import CLIENT, Month, Server
from tests.simulation.month_traffic import BULK
from tests.simulation.months import EPOCH_S, KINDS, USED_SHARE_MIN, months, run_all

SEED = 1


@pytest.mark.timeout(400)
def test_five_months() -> None:
    """S17, S18: no refusal is our own doing, and hardly any spendable budget is
    left over.
    """
    results = list(run_all(months(len(KINDS), SEED), jobs=2))
    shown = "\n".join([f"seed {SEED}", *map(str, results)])
    assert sum(result.self_caused for result in results) == 0, shown
    assert min(result.used_share for result in results) >= USED_SHARE_MIN, shown
    # The months are not empty: uploads, readers, and a limit that had to be learned.
    assert all(result.uploads > 5000 and result.reads > 1000 for result in results)
    assert sum(result.taught for result in results) > 0, shown


IDLE = "b daemon"


async def upload(ideal: IdealBudget, server: Server, at: float) -> None:
    """Send one upload that arrives at once; raises BudgetError."""
    grant = await ideal.reserve(IDLE, BULK, at)
    ideal.arrived(IDLE, grant)
    answer = server.answer("b", BULK, server.sent("b", BULK, at), at)
    assert not answer.scope


async def test_the_ideal_sender_begins_no_hour_by_looking() -> None:
    """An hour begins with its first request for the ideal sender too: it gets one
    hour's uploads when a day begins, not those of an hour it only looked at as well.
    """
    server = Server(Month(seed=1, user_limit=2000, uploads_limit=None))
    ideal = IdealBudget(server, server, [])
    server.spend_elsewhere(0, EPOCH_S, leave=0)
    at = EPOCH_S + 1000.0
    while at < EPOCH_S + DAY_S:
        with pytest.raises(BudgetError):
            await ideal.reserve(IDLE, BULK, at)
        at += 300.0
    morning = EPOCH_S + DAY_S
    for _ in range(200):
        await upload(ideal, server, morning)
    with pytest.raises(BudgetError) as refused:
        await upload(ideal, server, morning)
    assert refused.value.retry_at == morning + HOUR_S


async def test_the_ideal_sender_asks_while_it_is_blocked() -> None:
    """Days follow each other without a gap while the client id is blocked: the ideal
    sender is refused when a day is over, as the real one is, and that begins the next.
    """
    month = Month(seed=1)
    server, real = Server(month), Server(month)
    real.blocked.append((EPOCH_S, EPOCH_S + 2.5 * DAY_S))
    ideal = IdealBudget(server, real, [])
    at = EPOCH_S
    asked = 0
    while at < EPOCH_S + 2.5 * DAY_S:
        with pytest.raises(BudgetError) as refused:
            await ideal.reserve(IDLE, BULK, at)
        assert refused.value.retry_at is not None
        at, asked = refused.value.retry_at, asked + 1
    assert asked == 3
    await upload(ideal, server, EPOCH_S + 2.6 * DAY_S)
    day = server.accounting.client.opened_at(CLIENT, EPOCH_S + 2.6 * DAY_S)
    assert day == EPOCH_S + 2 * DAY_S
