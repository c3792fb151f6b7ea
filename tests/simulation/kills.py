"""kill -9 at random points of a real daemon on a real emulator server.

    python -m tests.simulation.kills --kills 2000 --seed 1 [--power]

While pictures come, move, change and go, the daemon is killed and started again. The
emulator answers slowly, loses answers, carries requests out late and lists with a lag.
At the end everything is mended and the account must be what the folder is: every
picture once, every album once, nothing elsewhere. After every kill both databases are
checked, and that no picture is there twice.

Six of ten kills wait until a job is ``sending`` (its intent is written and its result
is not); the others come at any moment, the start included. With ``--power`` every kill
is a power cut: the databases fall back to what was synchronised (``power``).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation import power
from tests.simulation.campaign import Life, Verdict, duplicates, judge, wait_agreed
from tests.simulation.stage import Running, Stage, nest, pause, stage

#: Emulator and daemon live this much faster than the machine.
RATE = 10.0
#: In the time of the emulator: longer than it may take to carry a request out, plus
#: its listing lag.
_SYNC = "settle_s = 0.5\ndelete_grace_s = 5\nguard = false\nquarantine_s = 12"
_QUIRKS = ("listing_lag_s=1.5",)
_ABOUT = {"host": "api", "path": "^/3/(image|upload|album)"}


def troubles(seed: int) -> list[dict[str, object]]:
    """Return what goes wrong: most calls are in the air for a while."""
    chances: list[tuple[float, dict[str, object]]] = [
        (0.04, {"action": "late_commit", "commit_after_s": 4, "answer": "reset"}),
        (0.04, {"action": "reset_after"}),
        (0.04, {"action": "reset_before"}),
        (0.04, {"action": "status_after", "status": 503}),
        (0.04, {"action": "status", "status": 500}),
        (0.45, {"action": "slow", "bytes_per_s": 400}),
        (0.90, {"action": "delay", "delay_s": 1.0}),
    ]
    return [
        {**_ABOUT, "method": method, "probability": p, "seed": seed + i, **rule}
        for i, (p, rule) in enumerate(chances)
        for method in ("POST", "DELETE", "PUT")
    ]


@dataclass
class Report:
    """What a campaign found."""

    seed: int
    kills: int = 0
    in_the_air: int = 0
    fell: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    unfinished: dict[str, int] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    images: int = 0
    repeated: int = 0
    lost_bytes: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all is wrong."""
        wrong = (self.damaged, self.twice, self.died, self.unfinished, self.repeated)
        return not any(wrong) and not self.verdict

    def __str__(self) -> str:
        share = 100 * self.in_the_air / max(1, self.kills)
        lines = [
            f"seed {self.seed}: {self.kills} kills in {self.seconds:.0f} s",
            f"  between intent and settle: {self.in_the_air} ({share:.0f} %)",
            f"  states of the jobs at the kills: {dict(self.fell)}",
            f"  what the user did: {dict(self.done)}",
            f"  images of the folder at the end: {self.images}",
            f"  wrong at the end: {self.verdict or 'nothing'}",
            f"  twice at any moment: {self.twice or 'nothing'}",
            f"  damaged databases: {self.damaged or 'none'}",
            f"  ended by itself: {self.died[:3] or 'never'}",
            f"  jobs that never ended: {self.unfinished or 'none'}",
            f"  bytes lost with the power: {self.lost_bytes}",
            f"  calls after everything was done: {self.repeated}",
        ]
        return "\n".join(lines)


def run(
    directory: Path,
    *,
    kills: int,
    seed: int,
    rate: float = RATE,
    is_power: bool = False,
) -> Report:
    """Run one campaign in a directory of its own."""
    directory.mkdir(parents=True)
    environ = {"LD_PRELOAD": str(power.library(directory))} if is_power else {}
    began_s = time.monotonic()
    report = Report(seed)
    rng = random.Random(seed)
    with (
        nest(**environ) as forks,
        stage(
            directory,
            forks=forks,
            rate=rate,
            sync=_SYNC,
            quirks=_QUIRKS,
            has_power_cuts=is_power,
        ) as made,
    ):
        life = Life(made, rng)
        made.faults(*troubles(seed))
        for _ in range(kills):
            _kill_once(made, life, report)
        made.faults()
        _finish(made, report)
        report.done, report.lost_bytes = life.done, made.lost_bytes
    report.seconds = time.monotonic() - began_s
    return report


def _kill_once(made: Stage, life: Life, report: Report) -> None:
    """Start the daemon, let the user do something, and kill it somewhere in there."""
    rng, rate = life.rng, made.clock.rate
    with _started(made, report) as daemon:
        is_aimed = rng.random() < 0.6
        for _ in range(rng.randint(1 if is_aimed else 0, 3)):
            life.act()
            pause(rng.uniform(0, 0.5) / rate)
        if is_aimed:
            _wait_sending(made, daemon, wait_s=10 / rate)
            pause(rng.uniform(0, 1.0) / rate)
        else:
            pause(rng.uniform(0, 8) / rate)
    report.kills += 1
    states, wrong = made.autopsy()
    report.damaged += [f"kill {report.kills}: {line}" for line in wrong]
    report.in_the_air += bool(states.get("sending"))
    report.fell.update(states.keys() - {"done", "cancelled"} or {"idle"})
    twice = duplicates(made.admin("state"), made.given)
    report.twice += [f"kill {report.kills}: {it}" for it in twice]


def _wait_sending(made: Stage, daemon: Running, *, wait_s: float) -> None:
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s and not daemon.is_dead():
        if made.rows("SELECT 1 FROM job WHERE state = 'sending' LIMIT 1"):
            return
        pause(0.002)


@contextmanager
def _started(made: Stage, report: Report) -> Iterator[Running]:
    """Run the daemon for a block and kill it; note when it ended by itself."""
    daemon = made.daemon()
    try:
        yield daemon
    finally:
        if daemon.is_dead():
            last = made.log.read_text().splitlines()[-3:]
            report.died.append(f"kill {report.kills + 1}: {last}")
        daemon.kill()
        made.lose_power()


def _finish(made: Stage, report: Report) -> None:
    """Let the daemon finish everything; judge; see that a restart does nothing more."""
    with _started(made, report) as daemon:
        report.unfinished = wait_agreed(made, hold_s=8, is_hopeless=daemon.is_dead)
        report.verdict = judge(made)
    report.images = len(made.admin("state")["images"]) - len(made.given)
    before = made.posts()
    with _started(made, report):
        pause(15 / made.clock.rate)
    report.repeated = made.posts() - before


def main() -> int:
    """Run campaigns from the command line; the exit code says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--keep", type=Path, help="a new directory to leave behind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary) / f"kills{options.seed}"
        report = run(
            directory,
            kills=options.kills,
            seed=options.seed,
            rate=options.rate,
            is_power=options.power,
        )
    print(report)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
