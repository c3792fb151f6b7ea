"""A crash at every named place of a script of twenty operations.

    python -m tests.simulation.crash_points [--every N] [--seed N] [--power] [--keep D]

First the script runs through and the places are counted (``imgurfs.crashpoints``).
Then it runs once for each place and each time it was reached: the daemon kills itself
there, is started again, and finishes the script. Whatever the place, the account must
be what the folder is, with no picture twice at any moment and both databases sound.

The places behind a crash (what a start finds in the air, what becomes of it) are
counted in a run that has crashed once, and are crashed at for a second time.

With ``--power`` a crash is a power cut: the databases fall back to what was
synchronised (``power``). What a run that went wrong has left is kept in ``D``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation import power
from tests.simulation.campaign import Life, duplicates, judge, wait_agreed
from tests.simulation.stage import Nest, Running, Stage, nest, pause, stage

RATE = 25.0
#: Runs at a time. Nine tenths of a run are waiting, even at this rate.
_AT_ONCE = 10
_SYNC = "settle_s = 0.5\ndelete_grace_s = 5\nguard = false\nquarantine_s = 12"
#: Where the first of two crashes happens: an upload has left, nobody has answered.
_FIRST = "request-sent:4"
#: What only a start after a crash, or an unknown outcome, comes to.
_AFTERWARDS = frozenset({"recovered", "resolve-looked"})
_UNFINISHED = (
    "SELECT id, kind, key, state, attempts, looks, not_before, error FROM job"
    " WHERE state NOT IN ('done', 'cancelled')"
)


def script(life: Life) -> list[list[Callable[[], object]]]:
    """Return twenty operations in three acts; each act begins when the last is over."""
    at = life.stage.folder

    def move(old: str, new: str) -> None:
        (at / new).parent.mkdir(parents=True, exist_ok=True)
        (at / old).rename(at / new)

    def copy(old: str, new: str) -> None:
        life.put(at / new, (at / old).read_bytes())

    return [
        [
            lambda: life.write(at / "root.png"),
            lambda: life.write(at / "rome/1.png"),
            lambda: life.write(at / "rome/2.png"),
            lambda: life.write(at / "oslo/1.png"),
            lambda: copy("rome/1.png", "oslo/copy.png"),
            lambda: life.write(at / "2024/may/1.png"),
        ],
        [
            lambda: life.write(at / "rome/3.png"),
            lambda: life.write(at / "rome/2.png"),
            lambda: move("oslo/1.png", "rome/from oslo.png"),
            lambda: move("root.png", "oslo/from root.png"),
            lambda: move("2024/may", "2024/june"),
            lambda: life.write(at / "lost answer.png"),
            lambda: copy("rome/1.png", "rome/again.png"),
        ],
        [
            (at / "rome/3.png").unlink,
            lambda: move("rome/2.png", "2.png"),
            lambda: shutil.rmtree(at / "oslo"),
            lambda: life.write(at / "lost answer.png"),
            lambda: move("2024/june/1.png", "2024/june/one.png"),
            lambda: life.write(at / "2024/june/2.png"),
            lambda: copy("rome/1.png", "new/copy.png"),
        ],
    ]


@dataclass
class Outcome:
    """What came of one run of the script."""

    crashes: tuple[str, ...]
    crashed: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    lost_bytes: int = 0

    @property
    def is_reached(self) -> bool:
        """Whether every crash that was asked for happened."""
        return self.crashed == len(self.crashes)


class _Performance:
    """One run of the script, with a daemon that is started again when it crashes."""

    def __init__(self, made: Stage, outcome: Outcome, log: Path | None) -> None:
        self.made = made
        self.outcome = outcome
        self._log = log
        self._coming = list(outcome.crashes)
        self.daemon = self._start()

    def _start(self) -> Running:
        environ: dict[str, str] = {}
        if self._coming:
            environ["IMGURFS_CRASH_AT"] = self._coming.pop(0)
        elif self._log is not None:
            environ["IMGURFS_CRASH_LOG"] = str(self._log)
        return self.made.daemon(**environ)

    def is_over(self) -> bool:
        """Start the daemon again if it has crashed; whether it ended otherwise."""
        if not self.daemon.is_dead():
            return False
        code = self.daemon.kill()
        self.made.lose_power()
        _, damaged = self.made.autopsy()
        twice = duplicates(self.made.admin("state"), self.made.given)
        self.outcome.wrong += damaged + twice
        if code != -9:
            last = self.made.log.read_text().splitlines()[-10:]
            self.outcome.wrong.append(f"ended with {code}: {last}")
        self.outcome.crashed += 1
        self.daemon = self._start()
        return code != -9

    def play(self, acts: Sequence[Sequence[Callable[[], object]]]) -> None:
        """Play all acts; judge each."""
        rate = self.made.clock.rate
        for number, act in enumerate(acts):
            for operate in act:
                operate()
                pause(0.3 / rate)
            is_last = number == len(acts) - 1
            left = wait_agreed(
                self.made, hold_s=6 if is_last else 1, is_hopeless=self.is_over
            )
            wrong = judge(self.made)
            if left or wrong:
                jobs = self.made.rows(_UNFINISHED)
                self.outcome.wrong.append(f"act {number + 1}: {left} {wrong} {jobs}")
                return
        self.outcome.wrong += duplicates(self.made.admin("state"), self.made.given)


def perform(
    forks: Nest,
    directory: Path,
    *crashes: str,
    log: Path | None = None,
    is_power: bool = False,
) -> Outcome:
    """Run the script once in a new directory; the n-th start crashes at ``crashes[n]``.

    ``log``: file for the names of what the first start without a crash reaches.
    """
    outcome = Outcome(crashes)
    began_s = time.monotonic()
    with stage(
        directory, forks=forks, rate=RATE, sync=_SYNC, has_power_cuts=is_power
    ) as made:
        lost = {"host": "api", "method": "POST", "path": "^/3/(image|upload)"}
        made.faults({**lost, "action": "reset_after", "nth": 7})
        performance = _Performance(made, outcome, log)
        try:
            performance.play(script(Life(made, random.Random(1))))
        finally:
            performance.daemon.kill()
        outcome.lost_bytes = made.lost_bytes
    outcome.seconds = time.monotonic() - began_s
    return outcome


def points(forks: Nest, directory: Path) -> list[tuple[str, ...]]:
    """Run the script twice and return every crash, or pair of crashes, there can be."""
    found: list[tuple[str, ...]] = []
    for before in ((), (_FIRST,)):
        log = directory / f"points{len(before)}"
        outcome = perform(forks, directory / f"count{len(before)}", *before, log=log)
        assert not outcome.wrong, outcome.wrong
        counts = Counter(log.read_text().split())
        found += [
            (*before, f"{name}:{n}")
            for name, count in sorted(counts.items())
            for n in range(1, count + 1)
            if not before or name in _AFTERWARDS
        ]
    return found


def choose(
    every_point: Sequence[tuple[str, ...]], *, every: int, seed: int
) -> list[tuple[str, ...]]:
    """Return each ``every``-th place of each name, but one of each name at least.

    Which ones depends on ``seed``: as many seeds as ``every`` come to all places.
    """
    by_name: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for crashes in every_point:
        name = crashes[-1].partition(":")[0]
        by_name[(*crashes[:-1], name)].append(crashes)
    return [
        crashes
        for places in by_name.values()
        for crashes in places[seed % min(every, len(places)) :: every]
    ]


def run(
    directory: Path,
    *,
    every: int,
    seed: int,
    is_power: bool = False,
    show: Callable[[Outcome], object] = lambda _: None,
) -> tuple[list[Outcome], int]:
    """Crash at the places ``choose`` says; return the outcomes and the number of all.

    ``show`` is told of each as it comes. What a wrong one has left stays where it is.
    """
    environ = {"LD_PRELOAD": str(power.library(directory))} if is_power else {}
    with nest(**environ) as forks:
        every_point = points(forks, directory)
        chosen = choose(every_point, every=every, seed=seed)

        def one(item: tuple[int, tuple[str, ...]]) -> Outcome:
            number, crashes = item
            place = directory / f"run{number}"
            outcome = perform(forks, place, *crashes, is_power=is_power)
            if outcome.wrong:
                outcome.wrong.append(str(place))
            else:
                shutil.rmtree(place)
            show(outcome)
            return outcome

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(one, enumerate(chosen))), len(every_point)


def describe(outcomes: Sequence[Outcome], total: int) -> str:
    """Return what was found, as lines."""
    reached = Counter(o.crashes[-1].partition(":")[0] for o in outcomes if o.is_reached)
    missed = [" ".join(o.crashes) for o in outcomes if not o.is_reached]
    lines = [
        f"{len(outcomes)} of {total} places, {sum(reached.values())} of them reached",
        f"  {dict(reached)}",
        f"  bytes lost with the power: {sum(it.lost_bytes for it in outcomes)}",
        f"  not reached this time: {missed or 'none'}",
    ]
    lines += [
        f"  WRONG after {' '.join(it.crashes)}: {'; '.join(it.wrong)}"
        for it in outcomes
        if it.wrong
    ]
    return "\n".join(lines)


def main() -> int:
    """Run from the command line; the exit code says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    began_s = time.monotonic()

    def show(outcome: Outcome) -> None:
        said = f"WRONG {outcome.wrong}" if outcome.wrong else "well"
        print(f"{' '.join(outcome.crashes)}: {said}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        outcomes, total = run(
            directory,
            every=options.every,
            seed=options.seed,
            is_power=options.power,
            show=show,
        )
    print(describe(outcomes, total))
    print(f"  {time.monotonic() - began_s:.0f} s")
    return 1 if any(it.wrong for it in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
