"""A running drainer goes on by itself when what it waits for is over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import control
from imgurfs.clock import TrioClock
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload
from imgurfs.model import Image, ImageId
from imgurfs.store import outbox
from tests.support.jobbing import EPOCH_S, Bench, bench, drain_for, picture


@dataclass(frozen=True)
class RunningClock(TrioClock):
    """Time passes while a program works: a millisecond with every look at the clock."""

    looks: Iterator[int] = field(default_factory=itertools.count)

    def now(self) -> float:
        """Return a later moment every time."""
        return super().now() + next(self.looks) / 1000


async def replaced(b: Bench, name: str, *, grace_s: float) -> None:
    """Queue the deletion of an image that no file is any more."""
    image_id = ImageId(name)
    b.imgur.images[image_id] = Image(image_id, "image/gif", "https://i/x.gif", 1, 1)
    payload = DeleteImagePayload(b.folder.id, image_id, is_replaced=True)
    await b.db.write(
        lambda c: queueing.queue_delete(c, payload, now=EPOCH_S, grace_s=grace_s)
    )


async def test_a_pause_ends_in_a_running_drainer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nobody has to wake it when the time that was asked for is over."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        await b.db.write(lambda c: control.pause(c, EPOCH_S + 7200))
        await drain_for(b, 7100)
        assert b.imgur.calls == []
        await drain_for(b, 200)
        assert len(b.imgur.images) == 1


async def test_a_held_deletion_keeps_no_other_waiting(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Beside one that the guard holds another is sent when its grace is over."""
    async with bench(tmp_path) as b:
        b.is_guarded = True
        await replaced(b, "held", grace_s=0)
        (job,) = outbox.unfinished(b.db.reader)
        await b.db.write(lambda c: outbox.set_guard(c, job.id, "held"))
        await replaced(b, "other", grace_s=600)
        await drain_for(b, 700)
        assert b.imgur.calls == ["delete other"]


async def test_a_deletion_waits_for_the_budget_only_as_long_as_that(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """When the window ends a deletion goes on although nothing else is waiting."""
    async with bench(tmp_path) as b:
        b.ledger.left = 0
        await replaced(b, "old", grace_s=0)
        await drain_for(b, 3700)
        assert b.imgur.calls == ["delete old"]


@pytest.mark.parametrize("due_ms", range(1, 40))
async def test_what_becomes_due_during_a_turn_is_not_overlooked(
    tmp_path: Path, autojump_clock: MockClock, due_ms: int
) -> None:
    """A job may become due between two looks at the clock; the next turn sees it."""
    async with bench(tmp_path) as b:
        b.clock = RunningClock(EPOCH_S)
        await replaced(b, "old", grace_s=due_ms / 1000)
        await drain_for(b, 5)
        assert b.imgur.calls == ["delete old"]


@pytest.mark.parametrize("end_ms", range(1, 40))
async def test_a_window_that_ends_during_a_turn_is_not_overlooked(
    tmp_path: Path, autojump_clock: MockClock, end_ms: int
) -> None:
    """The budget may allow again what it refused a moment before."""
    async with bench(tmp_path) as b:
        b.clock = RunningClock(EPOCH_S)
        b.ledger.clock = b.clock
        b.ledger.left, b.ledger.reset_at = 0, EPOCH_S + end_ms / 1000
        await replaced(b, "old", grace_s=0)
        await drain_for(b, 5)
        assert b.imgur.calls == ["delete old"]


async def test_an_album_is_done_as_soon_as_its_image_is_deleted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What waits for a deletion is woken by it, not a minute later."""
    async with bench(tmp_path) as b:
        b.write_file("trip/a.gif")
        await b.queue("trip/a.gif")
        await drain_for(b, 60)
        (old,) = b.imgur.images
        b.write_file("trip/a.gif", picture("changed"))
        await b.queue("trip/a.gif", replaces=old, deletes_old=True, grace_s=90.0)
        await drain_for(b, 300)
        assert old not in b.imgur.images
        ends = {
            row["kind"]: row["settled_at"]
            for row in b.db.reader.execute("SELECT kind, settled_at FROM job")
        }
        assert 0 <= ends["members"] - ends["delete_image"] < 2
