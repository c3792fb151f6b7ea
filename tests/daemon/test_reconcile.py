"""Comparing with the whole account: when, how often, and what is concluded."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.clock import TrioClock
from imgurfs.errors import BudgetError, ImgurfsError, LoginNeededError, OutageError
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.heartbeat import Heartbeat
from imgurfs.model import Image, ImageId, Lane
from imgurfs.store import meta, notices, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import SyncedFile
from imgurfs.tree import changes
from imgurfs_daemon.reconcile import Reconciler

EPOCH_S = 1_800_000_000.0


@dataclass
class FakeAccount:
    """Stands for the refresher: fails as told, takes ``hang_s``, counts."""

    db: Database
    clock: TrioClock
    failures: list[ImgurfsError] = field(default_factory=list)
    hang_s: float = 0.0
    times: list[float] = field(default_factory=list)

    async def refresh_all(self, lane: Lane) -> None:
        """List everything, or fail."""
        assert lane is Lane.REFRESH
        self.times.append(trio.current_time())
        await trio.sleep(self.hang_s)
        if self.failures:
            raise self.failures.pop(0)
        now = self.clock.now()
        await self.db.write(lambda c: meta.put_time(c, "images_listed_at", now))


@dataclass
class FakeFolder:
    """Counts how often it is to look again."""

    marks: int = 0

    def mark_all(self) -> None:
        """Count."""
        self.marks += 1


@dataclass
class Bench:
    """A reconciler and everything around it."""

    db: Database
    account: FakeAccount
    folder: FakeFolder
    heartbeat: Heartbeat
    reconciler: Reconciler


@asynccontextmanager
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Build a reconciler over a real database."""
    db = Database.open(
        tmp_path / "state.db",
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )
    clock, folder = TrioClock(EPOCH_S), FakeFolder()
    account, heartbeat = FakeAccount(db, clock), Heartbeat("reconciler", clock)
    try:
        yield Bench(
            db,
            account,
            folder,
            heartbeat,
            Reconciler(
                db=db,
                refresher=account,
                folders=lambda: [folder],
                device="ABCDE",
                clock=clock,
                heartbeat=heartbeat,
                rng=random.Random(1),
            ),
        )
    finally:
        db.close()


async def run_for(b: Bench, duration_s: float) -> None:
    """Let the reconciler run; it must keep its promises meanwhile."""
    with trio.move_on_after(duration_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.reconciler.run)
            while True:
                await trio.sleep(60.0)
                assert not b.heartbeat.is_late()


async def test_at_start_and_daily(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A week is eight comparisons or so, not at the same time every day."""
    async with bench(tmp_path) as b:
        await run_for(b, 7 * 86_400.0)
        assert b.account.times[0] == 0.0
        assert 6 <= len(b.account.times) <= 10
        gaps = {round(t % 86_400.0) for t in b.account.times}
        assert len(gaps) == len(b.account.times)
        assert b.folder.marks == len(b.account.times)


@pytest.mark.parametrize(("age_s", "is_listed"), [(60.0, False), (7200.0, True)])
async def test_a_restart_does_not_list_everything_again(
    tmp_path: Path, age_s: float, is_listed: bool, autojump_clock: MockClock
) -> None:
    """A listing of a minute ago is fresh; one of the future is not believed."""
    async with bench(tmp_path) as b:
        b.db.write_blocking(
            lambda c: meta.put_time(c, "images_listed_at", EPOCH_S - age_s)
        )
        await run_for(b, 3600.0)
        assert bool(b.account.times) is is_listed
        b.db.write_blocking(
            lambda c: meta.put_time(c, "images_listed_at", EPOCH_S + 10**6)
        )
        before = len(b.account.times)
        await run_for(b, 60.0)
        assert len(b.account.times) == before + 1


async def test_it_outlives_an_outage(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Pauses grow to a bound, nothing is concluded, and it succeeds in the end."""
    async with bench(tmp_path) as b:
        b.account.failures += [OutageError("HTML") for _ in range(12)]
        await run_for(b, 3600.0)
        gaps = [
            later - earlier
            for earlier, later in zip(
                b.account.times, b.account.times[1:], strict=False
            )
        ]
        assert gaps[:3] == [5.0, 10.0, 20.0]
        assert max(gaps) == limits.REFRESH_BACKOFF_MAX_S
        assert (len(b.account.times), b.folder.marks) == (13, 1)


async def test_it_waits_for_the_budget(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Without credits it does not ask before they are back."""
    async with bench(tmp_path) as b:
        b.account.failures.append(BudgetError("none left", retry_at=EPOCH_S + 1800.0))
        await run_for(b, 3600.0)
        assert b.account.times == [0.0, 1800.0]


async def test_it_is_bounded(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A listing that never ends is given up, and tried again."""
    async with bench(tmp_path) as b:
        b.account.hang_s = 10.0**9
        await run_for(b, 2.5 * limits.RECONCILE_TIMEOUT_S)
        assert len(b.account.times) == 3
        assert b.folder.marks == 0


async def test_a_lost_login_ends_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    """That is the user's to mend; trying again would not help."""
    async with bench(tmp_path) as b:
        b.account.failures.append(LoginNeededError("log in"))
        with trio.fail_after(60), pytest.raises(LoginNeededError):
            await b.reconciler.run()


async def test_a_paused_account_is_not_listed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Paused means that nothing is asked, until the time is over."""
    async with bench(tmp_path) as b:
        until = EPOCH_S + 1000.0
        b.db.write_blocking(lambda c: meta.put(c, "paused_until", repr(until)))
        await run_for(b, 3600.0)
        assert len(b.account.times) == 1
        assert 1000.0 <= b.account.times[0] <= 1060.0


async def test_images_that_others_deleted_are_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A notice names the files, and goes when the images are there again."""

    def arrange(c: Connection) -> None:
        folder = synced.bind_folder(c, b"/photos", device=1, inode=1).id
        for name in ("a", "b"):
            image_id = ImageId(f"image {name}")
            record = SyncedFile(f"{name}.jpg".encode(), 1, 1, 1, 1, b"", image_id)
            synced.put_file(c, folder, record)
        image = Image(ImageId("image a"), "image/png", "", 1, 0)
        changes.image_uploaded(c, image, albums=[], now=EPOCH_S)

    async with bench(tmp_path) as b:
        b.db.write_blocking(arrange)
        await b.reconciler.reconcile()
        text = notices.everything(b.db.reader)["missing"]
        assert "1 file(s)" in text
        assert "/photos/b.jpg" in text
        image = Image(ImageId("image b"), "image/png", "", 1, 0)
        b.db.write_blocking(
            lambda c: changes.image_uploaded(c, image, albums=[], now=EPOCH_S)
        )
        await b.reconciler.reconcile()
        assert notices.everything(b.db.reader) == {}
