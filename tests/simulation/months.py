"""Months of uploading in virtual time, against the emulator's own bookkeeping.

    python -m tests.simulation.months [--months 200] [--seed N] [--jobs 2]

One month: two accounts of one client id, three processes over one budget file, a
backlog that never ends, readers, and other programs that spend the same client id.
Answers are late or lose their headers, processes die in the middle of a call, the wall
clock is set. The server is ``imgurfs.emulator.rules.accounting``, asked as the
emulator asks it, without HTTP.

What is counted:

* A refusal is *self-caused* when the remaining budget of the last header that came,
  less what we had reserved since, did not cover the call. "uploading too fast" is
  self-caused unless the server allows fewer than configured, which nothing tells
  before: that one is *taught*.
* The *spendable* budget is what a sender with perfect knowledge (``ideal``) uploads in
  the same month: same limits, readers and other programs, knowing every counter of the
  server at every moment, and bound by the same rules. Hours and days begin with the
  first request in them, not with a look at the counter; the client's day has the floor
  of the real run's strikes; no upload goes on fewer credits than its documented price;
  where the real run's strikes got the client id blocked, it is blocked as well, and
  asks once a day as the real run does. What floors and other programs took is therefore
  not spendable; what caution, stale headers, crashes and late answers cost is. Neither
  sender knows when others will take the rest of a day: that may favour either.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import trio

from tests.simulation.budgets import DAY_S, IdealBudget, SharedBudget
from tests.simulation.month_server import Month, Server
from tests.simulation.month_traffic import Traffic

EPOCH_S = 1_800_000_000.0
MONTH_S = 31 * DAY_S
#: So much of the spendable budget has to be used.
USED_SHARE_MIN = 0.98


@dataclass(frozen=True, slots=True)
class Result:
    """What one month came to; ``ideal`` are the uploads of perfect knowledge."""

    month: Month
    uploads: int
    ideal: int
    refusals: int
    self_caused: int
    taught: int
    strikes: int
    reads: int
    refresh_wait_s: float
    notes: tuple[str, ...] = field(default=())

    @property
    def used_share(self) -> float:
        """The part of the spendable budget that was used."""
        return self.uploads / self.ideal if self.ideal else 1.0

    def __str__(self) -> str:
        return (
            f"{self.month}: {self.uploads} of {self.ideal} uploads"
            f" ({self.used_share:.2%}), {self.refusals} refusals"
            f" ({self.self_caused} self-caused, {self.taught} taught),"
            f" {self.strikes} strikes, {self.reads} reads,"
            f" a refresh waited {self.refresh_wait_s / 60:.0f} min at most"
        )


def run_month(month: Month, *, length_s: float = MONTH_S) -> Result:
    """Run one month twice: as we are, and as the ideal sender."""
    with _fast_directory() as directory:
        server = Server(month)
        budget = SharedBudget(directory / "budget.db", month, server)
        traffic = Traffic(month, server, budget, is_ideal=False)
        try:
            trio.run(traffic.run, EPOCH_S, EPOCH_S + length_s)
        finally:
            budget.close()
    perfect = Server(month)
    known = IdealBudget(perfect, server, budget.consents)
    ideal = Traffic(month, perfect, known, is_ideal=True)
    trio.run(ideal.run, EPOCH_S, EPOCH_S + length_s)
    return Result(
        month=month,
        uploads=traffic.uploads,
        ideal=ideal.uploads,
        refusals=len(server.refusals),
        self_caused=sum(r.is_self_caused for r in server.refusals),
        taught=sum(r.is_taught for r in server.refusals),
        strikes=len(server.strikes_at),
        reads=traffic.reads,
        refresh_wait_s=traffic.refresh_wait_s,
        notes=tuple(str(r) for r in server.refusals if not r.is_taught),
    )


@contextmanager
def _fast_directory() -> Iterator[Path]:
    """Yield a directory in memory where there is one: a month is 100,000 commits."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="months-", dir=parent) as name:
        yield Path(name)


#: What the short form runs: every limit and both prices.
KINDS = (
    {"user_limit": 500, "upload_cost": 10, "uploads_limit": 50},
    {"user_limit": 500, "upload_cost": 1, "uploads_limit": 50, "accounts": 1},
    {"user_limit": 2000, "uploads_limit": None, "client_limit": 5000},
    {"user_limit": None, "uploads_limit": None, "client_limit": 5000},
    {"user_limit": 2000, "uploads_limit": 40, "client_limit": 5000},
)


def months(count: int, seed: int) -> list[Month]:
    """Return ``count`` months; the same seed gives the same months.

    After the first of each kind all have the documented day of credits.
    """
    rng = Random(seed)
    chosen = [
        Month(seed=rng.randrange(10**9), **KINDS[number % len(KINDS)])
        for number in range(count)
    ]
    return [
        replace(month, client_limit=12_500) if number >= len(KINDS) else month
        for number, month in enumerate(chosen)
    ]


def run_all(chosen: list[Month], *, jobs: int) -> Iterator[Result]:
    """Run months in ``jobs`` processes; yield results as they come."""
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_month, chosen)


def main() -> int:
    """Run the long form; return 1 when a month misses its bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    write = sys.stdout.write
    write(f"seed {options.seed}, {options.months} months\n")
    results = []
    for result in run_all(months(options.months, options.seed), jobs=options.jobs):
        results.append(result)
        write(f"{result}\n" + "".join(f"    {note}\n" for note in result.notes))
        sys.stdout.flush()
    lowest = min(result.used_share for result in results)
    mine = sum(result.self_caused for result in results)
    write(
        f"{len(results)} months: {sum(r.uploads for r in results)} uploads,"
        f" {sum(r.refusals for r in results)} refusals, {mine} self-caused,"
        f" {sum(r.taught for r in results)} taught; lowest share {lowest:.2%}\n"
    )
    return int(mine > 0 or lowest < USED_SHARE_MIN)


if __name__ == "__main__":
    sys.exit(main())
