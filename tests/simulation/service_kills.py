"""Kills the daemon and the drive of a real systemd again and again while both upload.

    python -m tests.simulation.service_kills --kills 50 --uploads 100

Half of the pictures are put into the watched folder, half are copied onto the drive,
each again until the copy went well, as somebody does whose drive just went away. At the
end each is on the account once. The units are those that 'imgurfs service install'
writes; only the patience of systemd and the quarantine are shortened.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.campaign import picture
from tests.simulation.stage import pause
from tests.support.mounted import emulator_process
from tests.support.serviced import IMPATIENT, Served, configure
from tests.support.usermanager import user_manager, wait_for

#: An upload takes this long, so that kills fall into many.
_UPLOAD_S = 0.4
_FINISH_S = 90.0
#: On the drive only: while nothing is mounted, no copy can end up below it.
_ALBUM = "copied"
#: What the daemon and the drive say when they find what a kill interrupted.
_IN_THE_AIR = "may or may not have happened when the program stopped"


@dataclass
class Report:
    """What was done, and what is wrong at the end."""

    kills: Counter[str] = field(default_factory=Counter)
    in_the_air: int = 0
    restart_s: list[float] = field(default_factory=list)
    repeated_copies: int = 0
    expected: int = 0
    images: int = 0
    twice: list[str] = field(default_factory=list)
    is_stale: bool = False
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether each picture is there once and the drive answers."""
        is_whole = self.images == self.expected
        return is_whole and not self.twice and not self.is_stale

    def __str__(self) -> str:
        waits = sorted(self.restart_s) or [0.0]
        middle = waits[len(waits) // 2]
        lines = [
            f"kills: {dict(self.kills)} in {self.seconds:.0f} s",
            f"  starts that found a call in the air: {self.in_the_air}",
            f"  until it runs again: median {middle:.1f} s, at most {waits[-1]:.1f} s",
            f"  copies onto the drive made again: {self.repeated_copies}",
            f"  images: {self.images} of {self.expected}",
            f"  twice: {self.twice or 'none'}",
            f"  stale mount at the end: {'yes' if self.is_stale else 'no'}",
        ]
        return "\n".join(lines)


#: What the killed ones have reserved is not given back: much more than is needed.
_LIMITS = """
user_credits_per_hour = 100000
client_credits_per_day = 1000000
posts_per_hour = 100000
uploads_per_hour = "off"
"""


@contextmanager
def _served(directory: Path) -> Iterator[Served]:
    limits = directory / "limits.toml"
    limits.write_text(_LIMITS)
    world = ("--albums", "0", "--images", "0", "--limits", str(limits))
    with (
        emulator_process(*world) as emulator,
        user_manager(directory / "log") as manager,
    ):
        account = Served(manager, emulator)
        configure(manager, account)
        account.log_in()
        account.imgurfs("service", "install", "--no-start")
        for unit in (account.sync, account.mount):
            account.drop_in(unit, IMPATIENT)
            manager.systemctl("start", unit)
        account.manager.call("mkdir", str(account.drive / _ALBUM))
        slow = {"action": "delay", "delay_s": _UPLOAD_S, "path": "/3/(image|upload)"}
        account.admin("faults", [slow])
        yield account
        account.admin("faults", [])


def run(directory: Path, *, kills: int, uploads: int, seed: int) -> Report:
    """Run one campaign; both programs are killed about equally often."""
    report, rng, began_s = (
        Report(expected=uploads),
        random.Random(seed),
        time.monotonic(),
    )
    with _served(directory) as account:
        turns = ["upload"] * (uploads - 2) + ["kill"] * kills
        rng.shuffle(turns)
        for number, turn in enumerate(["upload", "upload", *turns]):
            if turn == "kill":
                _kill(account, rng, report)
            elif number % 2:
                account.put(f"folder{number}.png")
            else:
                _copy(account, f"{_ALBUM}/drive{number}.png", report)
        _finish(account, report)
    report.seconds = time.monotonic() - began_s
    return report


def _kill(account: Served, rng: random.Random, report: Report) -> None:
    """Kill the daemon, the drive or both somewhere in their work."""
    which = rng.choice(["sync", "mount", "both"])
    units = {"sync": [account.sync], "mount": [account.mount]}.get(
        which, [account.sync, account.mount]
    )
    pause(rng.uniform(0, 0.4))
    report.kills[which] += 1
    before = {unit: account.kill(unit) for unit in units}
    began_s = time.monotonic()
    for unit, process in before.items():
        account.wait_restarted(unit, process)
    report.restart_s.append(time.monotonic() - began_s)


def _copy(account: Served, name: str, report: Report) -> None:
    """Copy a picture onto the drive; when it went away meanwhile, once more."""
    target = str(account.drive / name)
    command = account.manager.command("dd", f"of={target}", "conv=fsync", "status=none")

    def copied() -> bool:
        # Into the empty directory below the drive it would be lost: look first.
        done = (
            account.is_alive()
            and not subprocess.run(
                command, input=picture(name), capture_output=True
            ).returncode
        )
        report.repeated_copies += not done
        return done

    wait_for(copied, account.manager.said)


def _finish(account: Served, report: Report) -> None:
    """Wait until everything is sent, and look at the account."""
    account.admin("faults", [])

    def is_done() -> bool:
        counts = Counter(image["md5"] for image in account.images())
        text = account.manager.show(account.sync, "StatusText")
        # A look at the album may wait for minutes; nothing is uploaded by it.
        is_sent = "photo" not in text and "unknown" not in text
        return len(counts) >= report.expected and is_sent

    try:
        wait_for(is_done, account.manager.said, wait_s=_FINISH_S)
    except AssertionError:
        print(account.manager.said(), file=sys.stderr)
    counts = Counter(image["md5"] for image in account.images())
    report.images = sum(counts.values())
    report.twice = [md5 for md5, count in counts.items() if count > 1]
    report.is_stale = not account.is_alive()
    report.in_the_air = account.manager.log.read_text().count(_IN_THE_AIR)


def main() -> int:
    """Run a campaign from the command line; the exit code says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--uploads", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report = run(
            Path(temporary),
            kills=options.kills,
            uploads=options.uploads,
            seed=options.seed,
        )
    print(report)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
