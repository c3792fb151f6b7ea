"""Estimates: against arithmetic, and against the ledger and the server played out."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from imgurfs.budget import DEFAULT_LIMITS, UNLIMITED, LedgerState, Scope, Window
from imgurfs.errors import BudgetError
from imgurfs.eta import Estimate, Work, describe, estimate
from imgurfs.executor import InlineExecutor
from imgurfs.model import Lane, RequestClass, RequestKind
from imgurfs.store.ledger import SqliteLedger
from tests.simulation.budgets import SetClock
from tests.simulation.month_server import Month, Server

NOW = 1_800_000_000.0  # a Friday, 08:00 UTC
BACKLOG = Work(uploads=2000, changes=40)
UPLOAD = RequestClass(RequestKind.UPLOAD, Lane.BULK, is_post=True)


def full(**limits: int) -> LedgerState:
    """Return a ledger nothing was spent from, with some limits changed."""
    wanted = {**DEFAULT_LIMITS, **{Scope(name): n for name, n in limits.items()}}
    return LedgerState({scope: Window(n, n) for scope, n in wanted.items()})


@pytest.mark.parametrize(
    ("limits", "hours", "limited_by"),
    [
        ({}, 40.0, Scope.USER),
        ({"user": 2000, "upload": UNLIMITED}, 27.2, Scope.CLIENT),
        ({"user": UNLIMITED, "upload": UNLIMITED}, 24.1, Scope.CLIENT),
        (
            {"user": UNLIMITED, "client": UNLIMITED, "upload": UNLIMITED},
            1.11,
            Scope.POSTS,
        ),
    ],
)
def test_backlog(limits: dict[str, int], hours: float, limited_by: Scope) -> None:
    """2,000 photos in 40 albums take what the windows allow, whichever binds."""
    state = full(**limits)
    plan = estimate(state, BACKLOG, NOW, upload_cost=10, seconds_per_upload=0.5)
    assert (plan.posts, plan.credits) == (2040, 20_040)
    assert plan.hours == pytest.approx(hours, rel=0.01)
    assert plan.finish_at == NOW + plan.hours * 3600
    assert plan.limited_by == limited_by


def test_a_small_work_is_limited_by_the_line() -> None:
    """What fits into every window takes as long as sending it."""
    plan = estimate(full(), Work(uploads=10), NOW, seconds_per_upload=3.0)
    assert (plan.finish_at, plan.limited_by) == (NOW + 30.0, "speed")
    assert estimate(full(), Work(), NOW).finish_at == NOW


def test_the_learned_price_counts() -> None:
    """At one credit an upload the hour's uploads bind, not the credits."""
    plan = estimate(replace(full(), upload_cost=1), BACKLOG, NOW)
    assert (plan.credits, plan.limited_by) == (2040, Scope.UPLOAD)
    assert plan.hours == pytest.approx(40.0, rel=0.02)


def test_spent_windows_and_pauses_are_waited_for() -> None:
    """What is spent already, reserved or paused is not there."""
    state = full()
    user = replace(state.windows[Scope.USER], remaining=5, reset_at=NOW + 1800.0)
    spent = replace(state, windows={**state.windows, Scope.USER: user})
    plan = estimate(spent, Work(uploads=1), NOW)
    assert plan.finish_at == pytest.approx(NOW + 1800, abs=5)
    paused = replace(state, pauses={"upload": NOW + 600})
    plan = estimate(paused, Work(uploads=1), NOW)
    assert plan.finish_at == pytest.approx(NOW + 600, abs=5)
    assert estimate(paused, Work(deletes=1), NOW).hours < 0.01


def test_what_never_ends() -> None:
    """Without consent, or with a limit below the price, there is no date."""
    plan = estimate(replace(full(), strikes=4), Work(uploads=1), NOW)
    assert (plan.finish_at, plan.limited_by) == (None, "consent")
    assert estimate(full(user=9), Work(uploads=1), NOW).finish_at is None
    assert estimate(full(), Work(uploads=10**8), NOW).finish_at is None


def test_large_backlogs_are_quick_to_estimate() -> None:
    """200,000 uploads take milliseconds: days that are alike are skipped."""
    work, spans = Work(uploads=200_000, changes=4000), []
    for _ in range(5):
        began_s = time.perf_counter()
        estimate(full(), work, NOW)
        spans.append(time.perf_counter() - began_s)
    assert min(spans) < 0.005
    plan = estimate(full(), work, NOW)
    assert plan.hours == pytest.approx(204_400 * 10 / 500 * (2_004 / 2_044), rel=0.03)


def test_whole_days_are_skipped_exactly() -> None:
    """An estimate made in one go equals one continued day by day."""
    state = full(user=UNLIMITED, upload=UNLIMITED)
    for count in (1212, 1213, 12_120, 12_121, 24_240):
        days = (count - 1) // 1212
        plan = estimate(state, Work(uploads=count), NOW, upload_cost=10)
        assert plan.hours // 24 == days


# --- Against what really happens -------------------------------------------------


async def played(
    month: Month, count: int, tmp_path: Path, *, seconds: float
) -> tuple[float, list[Estimate]]:
    """Send ``count`` uploads; return the end, and what was said on the way."""
    server, clock = Server(month), SetClock(NOW)
    ledger = SqliteLedger.open(
        tmp_path / "budget.db",
        client_id="client",
        account_key="a",
        clock=clock,
        executor=InlineExecutor(),
        uploads_per_hour=month.configured,
    )
    said: list[Estimate] = []
    for done in range(count):
        if done in (1, count // 2):
            work = Work(uploads=count - done)
            said.append(
                estimate(
                    ledger.state(),
                    work,
                    clock.at,
                    upload_cost=month.upload_cost,
                    seconds_per_upload=seconds,
                )
            )
        grant = None
        while grant is None:
            try:
                grant = await ledger.reserve(UPLOAD)
            except BudgetError as error:
                clock.at = max(clock.at + 0.01, error.retry_at or NOW)
        clock.at += seconds
        answer = server.answer(
            "a", UPLOAD, server.sent("a", UPLOAD, clock.at), clock.at
        )
        server.came(answer)
        await ledger.record(grant, answer.headers)
    ledger.close()
    assert not server.refusals
    return clock.at, said


@pytest.mark.parametrize(
    ("month", "count"),
    [
        (Month(1), 640),
        (Month(1, upload_cost=1), 640),
        (Month(1, user_limit=2000, uploads_limit=None), 1400),
        (Month(1, user_limit=2000), 640),
    ],
)
async def test_estimates_come_true(tmp_path: Path, month: Month, count: int) -> None:
    """The ledger and the server, played out, end within a few percent of it.

    It is asked after one answer at the earliest: nobody knows the limits before.
    """
    ended_at, said = await played(month, count, tmp_path, seconds=2.0)
    assert len(said) == 2
    for plan in said:
        assert plan.finish_at is not None
        assert abs(plan.finish_at - ended_at) <= 0.05 * (ended_at - NOW)


# --- In words -------------------------------------------------------------------


def test_in_words() -> None:
    """The date is as near as it needs to be."""
    for hours, expected in (
        (2.0, "2,000 photos, done 10:00, limited by your credits per hour"),
        (54.2, "2,000 photos, done Sunday 14:12, limited by your credits per hour"),
        (400.0, "2,000 photos, done 2027-02-01, limited by your credits per hour"),
    ):
        plan = Estimate(NOW + hours * 3600, Scope.USER, 2040, 20_040, hours)
        assert describe(BACKLOG, plan, NOW, zone=UTC) == expected
    one = estimate(full(), Work(uploads=1), NOW)
    assert describe(Work(uploads=1), one, NOW, zone=UTC).startswith(
        "1 photo, done 08:0"
    )
    asked = estimate(replace(full(), strikes=4), BACKLOG, NOW)
    assert "consent" in describe(BACKLOG, asked, NOW, zone=UTC)
    never = estimate(full(user=9), Work(deletes=3, uploads=1), NOW)
    assert "not to be finished" in describe(Work(uploads=1), never, NOW, zone=UTC)
