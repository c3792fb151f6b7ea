"""kill -9 of the mount at random points, while pictures are copied onto the drive.

    python -m tests.simulation.drive_kills [--kills 200] [--files 20] [--seed 1]

Each time the drive is mounted, a program begins to copy a directory of new pictures
into an album of its own, and the mount is killed: anywhere, or while an upload is in
the air. The next mount goes on with what the ones before have left. In the end every
file whose copy has returned must be in the account once, whole, in its album; one whose
copy had not returned may be there, but never twice and never in part, and if it is not,
then what was written is still on the drive, or nothing was. Nobody may be stuck.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from imgurfs import limits
from tests.simulation.stage import Running, Stage, nest, pause, stage, wait_for
from tests.support.programs import picture

FILES = 20
#: How long an upload is in the air, and how long nobody looks for a lost one.
_DELAYS = (0.5, 0.15)
_SYNC = "guard = false\nquarantine_s = 2"
_COPIER = Path(__file__).with_name("drive_copier.py")
#: A program that does not end within this after the death of the drive is stuck.
_WEDGED_S = 10.0
#: Beside the time that the uploads take, of which so many a second are let through.
_IDLE_TIMEOUT_S = 240.0


@dataclass
class Report:
    """What a campaign found."""

    seed: int
    kills: int = 0
    in_the_air: int = 0
    returned: int = 0
    cut_short: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    wedged: int = 0
    damaged: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    in_part: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not (self.wedged or any(self._wrong().values()))

    def _wrong(self) -> dict[str, list[str]]:
        return {
            "files that returned and are not in the account": self.lost,
            "pictures in the account twice": self.twice,
            "pictures in the account in part": self.in_part,
            "pictures not in their album": self.misplaced,
            "files that the drive shows otherwise": self.unread,
            "damaged databases": self.damaged,
            "mounts that ended by themselves": self.died,
            "jobs and files that never settled": self.unfinished,
        }

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.kills} kills in {self.seconds:.0f} s",
            f"  with an upload in the air: {self.in_the_air}",
            f"  copies that returned: {self.returned}; cut short: {self.cut_short}",
            f"  what became of those cut short: {dict(self.kept)}",
            f"  stuck processes: {self.wedged}",
        ]
        for what, found in self._wrong().items():
            lines.append(f"  {what}: {len(found)} {found[:4] if found else ''}")
        return "\n".join(lines)


@dataclass
class Copies:
    """The pictures that were to be copied, and how far each has come."""

    directory: Path
    #: By album and name.
    wanted: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def make(self, number: int, files: int, rng: random.Random) -> Path:
        """Make a directory of pictures that have not been before."""
        album = f"Album {number:03}"
        source = self.directory / "sources" / album
        source.mkdir(parents=True)
        for count in range(files):
            name = f"{count:02}.png"
            data = picture(f"{album} {name}", side=rng.randint(8, 200))
            (source / name).write_bytes(data)
            self.wanted[album, name] = data
        return source

    def journal(self, album: str) -> Path:
        """Return where the copier notes what has returned."""
        return self.directory / f"{album}.journal"

    def told(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """Return the files whose copies have returned, and those that began only."""
        began, returned = set(), set()
        for album in {album for album, _ in self.wanted}:
            journal = self.journal(album)
            lines = journal.read_text().splitlines() if journal.exists() else []
            for line in lines:
                what, _, name = line.partition(" ")
                if what == "began":
                    began.add((album, name))
                elif what != "failed":
                    returned.add((album, name))
        return returned, began - returned


def run(directory: Path, *, kills: int, seed: int, files: int = FILES) -> Report:
    """Run one campaign in a directory of its own."""
    directory.mkdir(parents=True)
    began_s = time.monotonic()
    report, rng = Report(seed), random.Random(seed)
    copies = Copies(directory)
    (directory / "drive").mkdir()
    with (
        nest() as forks,
        stage(directory, forks=forks, sync=_SYNC) as made,
    ):
        try:
            for number in range(kills):
                made.faults(*_delays(rng.randrange(2**31)))
                _kill_once(made, copies, report, number=number, files=files, rng=rng)
            made.faults()
            _finish(made, copies, report)
        finally:
            unmount = ("fusermount3", "-u", "-z", directory / "drive")
            subprocess.run(unmount, check=False, stderr=subprocess.DEVNULL)
    report.seconds = time.monotonic() - began_s
    return report


def _delays(seed: int) -> list[dict[str, object]]:
    share, delay_s = _DELAYS
    about = {"host": "api", "path": "^/3/(image|upload|album)", "method": "POST"}
    return [
        {**about, "action": "delay", "delay_s": delay_s, "probability": share}
        | {"seed": seed}
    ]


def _kill_once(
    made: Stage,
    copies: Copies,
    report: Report,
    *,
    number: int,
    files: int,
    rng: random.Random,
) -> None:
    """Mount, let a program copy, kill the mount somewhere in there."""
    source = copies.make(number, files, rng)
    album, lasts_s = source.name, rng.uniform(0.1, 1.5)
    target = made.directory / "drive" / album
    mount = _mounted(made)
    command = [sys.executable, "-S", str(_COPIER), str(source), str(target)]
    command += [str(copies.journal(album)), f"{report.seed} {number}", str(lasts_s)]
    copier = subprocess.Popen(command)
    pause(rng.uniform(0, 1.3 * lasts_s))
    if rng.random() < 0.5:
        _wait_sending(made, mount, wait_s=3)
        pause(rng.uniform(0, 0.2))
    if mount.is_dead():
        report.died.append(f"{number}: {made.log.read_text().splitlines()[-3:]}")
    mount.kill()
    report.kills += 1
    try:
        assert copier.wait(_WEDGED_S) == 0
    except subprocess.TimeoutExpired:
        report.wedged += 1
        copier.kill()
    states, wrong = made.autopsy()
    report.damaged += [f"kill {report.kills}: {line}" for line in wrong]
    report.in_the_air += bool(states.get("sending"))


def _mounted(made: Stage) -> Running:
    """Mount and wait until the drive answers."""
    place = made.directory / "drive"
    pid = made.nest.start(
        role="mount",
        log=str(made.log),
        environ=made.environ,
        clock=vars(made.clock),
        mountpoint=str(place),
    )
    running = Running(pid, made.nest)
    wait_for(
        lambda: _answers(place) or running.is_dead(), what="the drive does not mount"
    )
    assert not running.is_dead(), made.log.read_text()[-2000:]
    return running


def _answers(place: Path) -> bool:
    try:
        # The kernel remembers what stat would say, even of a dead mount; not this.
        os.statvfs(place)
        return place.is_mount()
    except OSError:
        return False  # the dead one, still


def _wait_sending(made: Stage, mount: Running, *, wait_s: float) -> None:
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s and not mount.is_dead():
        if made.rows("SELECT 1 FROM job WHERE state = 'sending' LIMIT 1"):
            return
        pause(0.002)


def _finish(made: Stage, copies: Copies, report: Report) -> None:
    """Mount once more, let everything be done, and judge."""
    mount = _mounted(made)
    uploads_s = len(copies.wanted) / limits.UPLOADS_PER_S_MAX
    report.unfinished = _wait_idle(made, mount, wait_s=_IDLE_TIMEOUT_S + uploads_s)
    if mount.is_dead():
        report.died.append(f"end: {made.log.read_text().splitlines()[-3:]}")
    else:
        _judge_drive(made, copies, report)
    _judge_account(made, copies, report)
    mount.stop()


def _wait_idle(made: Stage, mount: Running, *, wait_s: float) -> list[str]:
    """Wait until nothing is on its way; return what is after too long."""
    deadline_s = time.monotonic() + wait_s
    jobs = (
        "SELECT kind, state, error FROM job WHERE kind <> 'verify'"
        " AND state NOT IN ('done', 'cancelled')"
    )
    drafts = (
        "SELECT 'draft', state, error FROM draft"
        " WHERE state IN ('writing', 'waiting', 'sent')"
    )
    while left := made.rows(jobs) + made.rows(drafts):
        if time.monotonic() > deadline_s or mount.is_dead():
            break
        pause(0.05)
    return [str(row) for row in left]


def _judge_account(made: Stage, copies: Copies, report: Report) -> None:
    """Compare the account with what was copied, by the bytes."""
    state = made.admin("state")
    ours = {it["id"]: it for it in state["images"] if it["id"] not in made.given}
    sums = {_md5(data): key for key, data in copies.wanted.items()}
    found = Counter(image["md5"] for image in ours.values())
    report.twice = [str(sums.get(md5)) for md5, n in found.items() if n > 1]
    report.in_part = [it["name"] for it in ours.values() if it["md5"] not in sums]
    placed: dict[str, set[str]] = {}
    for album in state["albums"]:
        inside = {ours[it]["md5"] for it in album["images"] if it in ours}
        placed.setdefault(album["title"], set()).update(inside)
    returned, cut_short = copies.told()
    report.returned, report.cut_short = len(returned), len(cut_short)
    for album_name, name in sorted(returned):
        md5 = _md5(copies.wanted[album_name, name])
        if md5 not in found:
            report.lost.append(f"{album_name}/{name}")
        elif md5 not in placed.get(album_name, set()):
            report.misplaced.append(f"{album_name}/{name}")
    for key in cut_short:
        report.kept["uploaded" if _md5(copies.wanted[key]) in found else "not"] += 1


def _judge_drive(made: Stage, copies: Copies, report: Report) -> None:
    """See that the drive shows every file that returned, and no other bytes."""
    returned, cut_short = copies.told()
    for album, name in sorted(returned | cut_short):
        data = copies.wanted[album, name]
        path = made.directory / "drive" / album / name
        try:
            shown = path.read_bytes()
        except FileNotFoundError:
            shown = b""
        is_right = shown == data or (
            (album, name) in cut_short and data.startswith(shown)
        )
        if not is_right:
            report.unread.append(f"{album}/{name}: {len(shown)} of {len(data)}")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def main() -> int:
    """Run campaigns from the command line; the exit code says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new directory to leave behind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary) / f"kills{options.seed}"
        report = run(
            directory, kills=options.kills, seed=options.seed, files=options.files
        )
    print(report)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
