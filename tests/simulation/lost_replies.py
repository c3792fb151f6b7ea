"""Every answer to an upload is lost, for a whole folder.

    python -m tests.simulation.lost_replies [--uploads 200] [--seed 1]

The emulator carries every upload and every creation of an album out, and then breaks
the connection or answers with an error: nobody ever hears that anything worked. In the
end every picture must be there once, in its album, and what it took to find that out is
counted.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.campaign import Life, Verdict, judge, wait_agreed
from tests.simulation.stage import nest, stage

RATE = 25.0
_SYNC = "settle_s = 0.5\nguard = false\nquarantine_s = 12"
_IMAGE_LIST = re.compile(r"GET .*/account/.*/images")
_DIRECTORIES = ("", "rome", "oslo", "2024/may")


@dataclass(frozen=True)
class Loss:
    """What came of it. ``calls`` are requests by what they ask for."""

    uploads: int
    calls: Counter[str]
    unfinished: dict[str, int]
    verdict: Verdict
    seconds: float

    @property
    def images_listed(self) -> int:
        """How many pages of the account's images were read."""
        return sum(
            n
            for call, n in self.calls.items()
            if call.startswith("GET") and "/images" in call and "account" in call
        )

    @property
    def sent(self) -> int:
        """How many pictures were sent."""
        return self.calls["POST /3/upload"] + self.calls["POST /3/image"]

    def __str__(self) -> str:
        lines = [
            f"{self.uploads} pictures, {self.sent} uploads, in {self.seconds:.0f} s",
            f"  pages of the image list read: {self.images_listed}",
            f"  wrong: {self.verdict or 'nothing'}; unfinished: {self.unfinished}",
        ]
        lines += [f"  {n:5} {call}" for call, n in self.calls.most_common()]
        return "\n".join(lines)


def run(directory: Path, *, uploads: int, seed: int, is_lossy: bool = True) -> Loss:
    """Upload a folder in a directory of its own; ``is_lossy`` False: all goes well."""
    began_s = time.monotonic()
    with (
        nest() as forks,
        stage(
            directory, forks=forks, rate=RATE, sync=_SYNC, quirks=("listing_lag_s=1.5",)
        ) as made,
    ):
        life = Life(made, random.Random(seed))
        for number in range(uploads):
            place = _DIRECTORIES[number % len(_DIRECTORIES)]
            life.write(made.folder / place / f"{number}.png")
        if is_lossy:
            about = {
                "host": "api",
                "method": "POST",
                "path": "^/3/(image|upload|album)$",
            }
            half = {"probability": 0.5, "seed": seed}
            made.faults(
                {**about, **half, "action": "status_after", "status": 503},
                {**about, "action": "reset_after"},
            )
        daemon = made.daemon()
        left = wait_agreed(made, hold_s=6, is_hopeless=daemon.is_dead, wait_s=3_000)
        verdict = judge(made)
        assert not daemon.is_dead(), made.log.read_text()[-2000:]
        daemon.kill()
        return Loss(uploads, made.calls(), left, verdict, time.monotonic() - began_s)


def main() -> int:
    """Run from the command line; the exit code says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = [
            run(
                Path(temporary) / str(lossy),
                uploads=options.uploads,
                seed=options.seed,
                is_lossy=lossy,
            )
            for lossy in (False, True)
        ]
    for text, loss in zip(("all well", "all lost"), results, strict=True):
        print(f"{text}: {loss}")
    is_wrong = any(it.verdict or it.unfinished for it in results)
    return 1 if is_wrong or results[1].sent != options.uploads else 0


if __name__ == "__main__":
    sys.exit(main())
