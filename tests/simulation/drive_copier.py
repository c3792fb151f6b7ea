"""A program that copies pictures onto a drive that may die at any moment.

Run by ``drive_kills`` as ``drive_copier.py SOURCE TARGET JOURNAL SEED LASTS_S``, with
nothing but the standard library, so that it starts at once. What has returned is in the
journal, a line each: ``began NAME``, then ``closed NAME``, and for a file that was
copied as rsync does, by a temporary name, ``renamed NAME``. An error of the drive is
the last line, and ends it with 0.
"""

import os
import random
import sys
import threading
from pathlib import Path

pause = threading.Event().wait
#: As rsync's temporary names.
_SUFFIX = ".Ab1Cd2"


def copy(source: Path, target: Path, note: int, seed: str, lasts_s: float) -> None:
    """Copy a directory in pieces, in about this time."""
    rng = random.Random(seed)
    paths = sorted(source.iterdir())
    each_s = lasts_s / len(paths)
    target.mkdir(exist_ok=True)
    for path in paths:
        is_renamed = rng.random() < 0.3
        final = target / path.name
        place = target / f".{path.name}{_SUFFIX}" if is_renamed else final
        _tell(note, "began", path.name)
        _write(place, path.read_bytes(), rng, each_s)
        if is_renamed:
            place.rename(final)
            _tell(note, "renamed", path.name)
        else:
            _tell(note, "closed", path.name)


def _write(place: Path, data: bytes, rng: random.Random, each_s: float) -> None:
    pieces = rng.randint(1, 4)
    size_bytes = len(data) // pieces + 1
    with place.open("wb", buffering=0) as file:
        for start in range(0, len(data), size_bytes):
            file.write(data[start : start + size_bytes])
            pause(rng.uniform(0, 2 * each_s / pieces))
        if rng.random() < 0.2:
            os.fsync(file.fileno())


def _tell(note: int, what: str, name: str) -> None:
    os.write(note, f"{what} {name}\n".encode())


def main() -> None:
    """Copy until done or the drive fails."""
    source, target, journal, seed, lasts_s = sys.argv[1:]
    note = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        copy(Path(source), Path(target), note, seed, float(lasts_s))
    except OSError as error:
        _tell(note, "failed", str(error))


if __name__ == "__main__":
    main()
