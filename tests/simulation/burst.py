"""A program: a burst of files while nobody reads the events. All must be found.

``python -m tests.simulation.burst [--files 50000] [--directories 100] [--seed N]``. A
process follows a folder; it is stopped (SIGSTOP) while the files are made, renamed and
partly removed, so that the kernel's queue overflows; then it goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import trio

from imgurfs.clock import SystemClock
from imgurfs.executor import ThreadExecutor, ThreadLane
from imgurfs.jobs.queueing import UploadPayload, decode
from imgurfs.store import outbox_reads
from imgurfs.store.database import Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs_daemon.filters import Filters
from imgurfs_daemon.folder import FolderSync
from imgurfs_daemon.planner import Policy
from tests.support.jobbing import picture

_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Outcome:
    """What became of a burst."""

    made: int
    found: int
    missed: int
    overflows: int
    seconds: float


class _NoAlbums:
    is_known = False


def open_state(place: Path) -> Database:
    """Open the state beside the folder."""
    return Database.open(
        place / "state.db",
        schema=STATE_SCHEMA,
        executor=ThreadExecutor(),
        lane=ThreadLane.WRITER,
    )


async def follow(place: Path) -> None:
    """Follow the folder until the parent closes our input; print the statistics."""
    with closing(open_state(place)) as db:
        folder = FolderSync(
            path=bytes(place / "folder"),
            policy=Policy(),
            filters=Filters(),
            db=db,
            albums=_NoAlbums(),
            clock=SystemClock(),
            executor=ThreadExecutor(),
            settle_s=0.5,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(folder.run)
            print("following", flush=True)
            await trio.lowlevel.wait_readable(0)
            print(json.dumps(folder.statistics()), flush=True)
            nursery.cancel_scope.cancel()


def burst(*, files: int, directories: int, seed: int) -> Outcome:
    """Run one burst."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "folder").mkdir()
        for number in range(directories // 2):
            (place / "folder" / f"old{number}").mkdir()
        command = [sys.executable, "-m", "tests.simulation.burst", "--follow"]
        with subprocess.Popen(
            [*command, temporary],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                assert child.stdout.readline() == "following\n"
                child.send_signal(signal.SIGSTOP)
                expected = _make(place / "folder", files, directories, rng)
                began_s = time.monotonic()
                child.send_signal(signal.SIGCONT)
                with closing(open_state(place)) as db:
                    _wait_until(
                        lambda: (
                            outbox_reads.statistics(db.reader).queued >= len(expected)
                        )
                    )
                    seconds = time.monotonic() - began_s
                    found = _queued(db)
                child.stdin.close()
                statistics = json.loads(child.stdout.readline())
            finally:
                child.kill()
    return Outcome(
        made=len(expected),
        found=len(found & expected),
        missed=len(expected - found),
        overflows=statistics["overflows"],
        seconds=seconds,
    )


def _make(folder: Path, files: int, directories: int, rng: random.Random) -> set[bytes]:
    """Make files in old and new directories in several ways; return what is there."""
    there: set[bytes] = set()
    for number in range(files):
        at = rng.randrange(directories)
        kind = "old" if at < directories // 2 else "new"
        directory = folder / f"{kind}{at % (directories // 2)}"
        directory.mkdir(exist_ok=True)
        path = directory / f"{number}.gif"
        path.write_bytes(picture(str(number)))
        if number % 3 == 0:
            path = path.rename(directory / f"renamed{number}.gif")
        if number % 10 == 9:
            path.unlink()
        else:
            there.add(os.fsencode(path.relative_to(folder)))
    return there


def _queued(db: Database) -> set[bytes]:
    rows = db.reader.execute("SELECT id FROM job WHERE kind = 'upload'")
    jobs = [outbox_reads.job(db.reader, row[0]) for row in rows.fetchall()]
    return {decode(job, UploadPayload).path for job in jobs if job is not None}


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    waiting = threading.Event()
    while not holds() and time.monotonic() < deadline_s:
        waiting.wait(0.05)


def main() -> int:
    """Run from a command line; 1 when something was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.burst")
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--directories", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--follow", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.follow:
        trio.run(follow, given.follow)
        return 0
    outcome = burst(files=given.files, directories=given.directories, seed=given.seed)
    print(f"seed {given.seed}: {outcome}")
    return 0 if outcome.found == outcome.made and outcome.overflows else 1


if __name__ == "__main__":
    sys.exit(main())
