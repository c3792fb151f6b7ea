"""A watched folder with 200,000 files in 2,000 directories, and no Imgur to ask.

``python -m bench.scale [--files N] [--directories N] [--idle SECONDS] [--at PLACE]``.
The work is done by a process of its own that has loaded what the daemon loads, so that
its memory and its processor time are those of the daemon. Every file has the size of
many others: the worst case, in which a first look has to read them all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio

FILES = 200_000
DIRECTORIES = 2_000
#: The long form is 600 s.
IDLE_S = 60.0
RSS_BOUND_BYTES = 150_000_000
#: Of processor time, in 600 s.
IDLE_BOUND_S = 0.6
_LONG_IDLE_S = 600.0
_GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00"


def run(
    *,
    files: int = FILES,
    directories: int = DIRECTORIES,
    idle_s: float = IDLE_S,
    at: Path | None = None,
) -> bool:
    """Measure; return whether memory and idle time are within their bounds."""
    with tempfile.TemporaryDirectory(dir=at) as place:
        folder = Path(place, "folder")
        fill(folder, files=files, directories=directories)
        done = subprocess.run(
            [sys.executable, "-m", "bench.scale", "--measure", place, str(idle_s)],
            check=True,
            stdout=subprocess.PIPE,
        )
    measured: dict[str, Any] = json.loads(done.stdout)
    figures: dict[str, float] = measured["figures"]
    print(f"{files} files in {directories} directories")
    print(f"  uploads queued: {measured['uploads']}")
    for name, value in figures.items():
        unit = "MB" if name.endswith("memory") else "s"
        print(f"  {name:<56} {value:8.3f} {unit}")
    peak = max(value for name, value in figures.items() if name.endswith("memory"))
    idle = figures["idle, processor time"] * _LONG_IDLE_S / idle_s
    is_small, is_idle = peak * 1e6 < RSS_BOUND_BYTES, idle <= IDLE_BOUND_S
    print(
        f"  most memory {peak:.0f} MB, bound {RSS_BOUND_BYTES / 1e6:.0f} MB:", end=" "
    )
    print("held" if is_small else "MISSED")
    print(f"  idle {idle:.2f} s in 10 minutes, bound {IDLE_BOUND_S} s:", end=" ")
    print("held" if is_idle else "MISSED")
    return is_small and is_idle and measured["uploads"] == files


def fill(folder: Path, *, files: int, directories: int) -> None:
    """Make a folder of small pictures, all different and none of them new."""
    old_s = 1_700_000_000.0
    for number in range(directories):
        (folder / f"{number % 50:02}" / f"{number:05}").mkdir(parents=True)
    for number in range(files):
        place = number % directories
        path = folder / f"{place % 50:02}" / f"{place:05}" / f"IMG_{number:06}.gif"
        path.write_bytes(_GIF + b"%08d" % number + b"x" * (number % 1000))
        os.utime(path, (old_s, old_s))


async def _measure(place: Path, idle_s: float) -> dict[str, Any]:
    """Go through the life of a daemon; return the figures."""
    # What the daemon loads, for its memory.
    import imgurfs_daemon.supervisor
    from bench.scaling import Measured

    del imgurfs_daemon
    async with Measured.opened(place) as measured:
        await measured.first_look()
        await measured.look_while_all_wait()
        await measured.pretend_that_all_was_sent()
        await measured.look_when_all_is_done()
        await measured.look_at_one_directory()
        await measured.idle(idle_s)
        return {"uploads": measured.uploads, "figures": measured.figures}


def main() -> int:
    """Run from a command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--directories", type=int, default=DIRECTORIES)
    parser.add_argument("--idle", type=float, default=IDLE_S, metavar="SECONDS")
    parser.add_argument("--at", type=Path, help="where the folder is made")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        place, idle_s = given.measure
        print(json.dumps(trio.run(_measure, Path(place), float(idle_s))))
        return 0
    held = run(
        files=given.files,
        directories=given.directories,
        idle_s=given.idle,
        at=given.at,
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
