"""The refresher shares readings, runs in the background, and survives outages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from imgurfs import limits
from imgurfs.errors import (
    BudgetError,
    NotSentError,
    OutageError,
)
from imgurfs.model import Lane
from tests.support.account import album, image
from tests.support.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A tree of nothing."""
    made = Tree(tmp_path / "state.db")
    yield made
    made.db.close()


async def test_concurrent_callers_share_one_reading(
    tree: Tree, autojump_clock: object
) -> None:
    """Twenty who ask at once cost one listing, and share its failure too."""
    tree.account.put(album(1, "A"))

    async def slow(what: str) -> None:
        await trio.sleep(1)

    tree.account.before_request = slow
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(tree.refresher.refresh_albums, Lane.INTERACTIVE)
    assert tree.account.calls["albums"] == 2  # the page, and the empty one

    tree.account.failure = OutageError("HTML")
    failed = []

    async def expect_failure() -> None:
        with pytest.raises(OutageError):
            await tree.refresher.refresh_albums(Lane.INTERACTIVE)
        failed.append(1)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(expect_failure)
    assert len(failed) == 5
    assert tree.account.calls["albums"] == 3


async def test_a_cancelled_leader_is_replaced(
    tree: Tree, autojump_clock: object
) -> None:
    """One caller's deadline does not fail the others."""
    tree.account.put(album(1, "A"))

    async def slow(what: str) -> None:
        await trio.sleep(2)

    tree.account.before_request = slow

    async def impatient() -> None:
        with trio.move_on_after(1):
            await tree.refresher.refresh_albums(Lane.INTERACTIVE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(impatient)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(tree.refresher.refresh_albums, Lane.INTERACTIVE)
    assert tree.names() == ["A"]


async def test_an_urgent_caller_is_not_refused_for_a_lazy_one(
    tree: Tree, autojump_clock: object
) -> None:
    """The prefetch lane's empty budget is no answer to somebody who waits."""
    tree.account.put(album(1, "A"))

    async def poor(what: str) -> None:
        await trio.sleep(1)
        if tree.account.lanes[-1] is Lane.PREFETCH:
            raise BudgetError("no credits to spare", retry_at=None)

    tree.account.before_request = poor

    async def prefetch() -> None:
        with pytest.raises(BudgetError):
            await tree.refresher.refresh_albums(Lane.PREFETCH)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(prefetch)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(tree.refresher.refresh_albums, Lane.INTERACTIVE)
    assert tree.names() == ["A"]


async def test_run_crawls_what_was_never_listed_and_then_rests(
    tree: Tree, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """At first everything is read; then nothing, for a day, while nobody looks."""
    tree.account.put(album(1, "A"), image(1))
    tree.account.put_images(image(2))
    await nursery.start(tree.refresher.run)
    await trio.sleep(1)
    assert tree.names() == ["A", "img0002.jpg"]
    calls = tree.account.calls.total()
    await trio.sleep(86_400)
    assert tree.account.calls.total() == calls
    tree.refresher.note_access()
    await trio.sleep(1)
    assert tree.account.calls.total() > calls


async def test_run_refreshes_at_the_interval_while_somebody_looks(
    tree: Tree, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """However often somebody looks, the album list is read once per interval."""
    tree.account.put(album(1, "A"), image(1))
    await nursery.start(tree.refresher.run)
    await trio.sleep(1)
    before = tree.account.calls["albums"]
    for _ in range(90):
        tree.refresher.note_access()
        await trio.sleep(10)
    readings = (tree.account.calls["albums"] - before) // 2
    assert readings in (2, 3)


async def test_run_survives_an_outage_and_warns_once(
    tree: Tree,
    nursery: trio.Nursery,
    autojump_clock: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An hour without network: one warning, few attempts, and then it goes on."""
    caplog.set_level(logging.INFO, logger="imgurfs.tree.refresh")
    tree.account.put(album(1, "A"))
    tree.account.failure = NotSentError("no network")
    await nursery.start(tree.refresher.run)
    await trio.sleep(3600)
    assert tree.account.calls.total() < 25
    tree.account.failure = None
    await trio.sleep(limits.REFRESH_BACKOFF_MAX_S + 1)
    assert tree.names() == ["A"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_run_waits_for_credits_as_long_as_the_budget_says(
    tree: Tree, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Nothing is tried before the moment the budget named."""
    tree.account.put(album(1, "A"))
    retry_at = tree.clock.now() + 2000
    tree.account.failure = BudgetError("no credits", retry_at=retry_at)
    await nursery.start(tree.refresher.run)
    await trio.sleep(1999)
    assert tree.account.calls.total() == 1
    tree.account.failure = None
    await trio.sleep(10)
    assert tree.names() == ["A"]


async def test_run_keeps_a_reading_when_its_caller_gives_up(
    tree: Tree, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A reader's deadline passes; what it asked for arrives all the same."""
    await nursery.start(tree.refresher.run)
    await trio.sleep(1)
    tree.account.put(album(1, "A"), image(1))

    async def slow(what: str) -> None:
        await trio.sleep(5)

    tree.account.before_request = slow
    with trio.move_on_after(1) as scope:
        await tree.refresher.refresh_albums(Lane.INTERACTIVE)
    assert scope.cancelled_caught
    await trio.sleep(60)
    assert tree.names() == ["A"]
    assert tree.account.calls["albums"] == 3
