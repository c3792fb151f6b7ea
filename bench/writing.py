"""Copying photos onto the drive, and directories of many files.

``python -m bench.writing [--passthrough PATH] [--photos N] [--rounds N]``. PATH is
``examples/passthroughfs.py`` of pyfuse3's sources, which no package installs: the peer
of the first figure. It is run as it is, but for one thing: it synchronises a file with
the disk when it is closed, as the drive does. Both are copied to in turn, by the same
``cp``, while the drive uploads what the budget allows; the emulator's limits are
Imgur's.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from bench.figures import say, say_ratio
from bench.rig import Rig, rig

PHOTOS = 500
PHOTO_BYTES = 1_000_000
ROUNDS = 3
#: Speed of the drive in speeds of the peer.
SPEED_BOUND = 0.7
DIRECTORY_FILES = (1_000, 10_000)
#: So often a small directory is made before the large one, and again after it.
SMALL_ROUNDS = 3
#: Ten times the files, and a fifth for what is not linear on any disk.
GROWTH_BOUND = 12.0
_MOUNT_TIMEOUT_S = 20.0


def run(
    *, passthrough: Path | None = None, photos: int = PHOTOS, rounds: int = ROUNDS
) -> bool:
    """Measure; return whether the figures are within their bounds."""
    with (
        rig("--albums", "1", "--images", "0") as made,
        tempfile.TemporaryDirectory() as temporary,
        made.mounted() as drive,
    ):
        place = Path(temporary)
        _make_photos(place / "photos", photos)
        peers: dict[str, Path] = {"the drive": drive}
        (place / "disk").mkdir()
        if passthrough is None:
            is_fast = _copy(place / "photos", peers, rounds)
        else:
            with _passthrough_mounted(passthrough, place) as peer:
                peers["the passthrough example"] = peer
                is_fast = _copy(place / "photos", peers, rounds)
        is_linear = _directories(made, drive)
    return is_fast and is_linear


def _make_photos(directory: Path, number: int) -> None:
    """Write different files; each begins with a picture, so Imgur takes them."""
    directory.mkdir()
    jpeg = _picture("JPEG")
    filling = os.urandom(PHOTO_BYTES - len(jpeg) - 8)
    for count in range(number):
        data = jpeg + count.to_bytes(8, "big") + filling
        (directory / f"photo {count:04}.jpg").write_bytes(data)


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (90, 90, 30)).save(file, kind)
    return file.getvalue()


def _copy(photos: Path, targets: dict[str, Path], rounds: int) -> bool:
    """Copy to each target in turn; compare the first with the second."""
    seconds: dict[str, list[float]] = {name: [] for name in targets}
    number = len(os.listdir(photos))  # noqa: PTH208
    for count in range(rounds):
        for name, top in targets.items():
            album = top / f"Round {count}"
            # What the round before has left to be written must not count here.
            os.sync()
            began_s = time.perf_counter()
            subprocess.run(["cp", "-r", photos, album], check=True)
            seconds[name].append(time.perf_counter() - began_s)
            copied = [entry.stat().st_size for entry in os.scandir(album)]
            assert copied == [PHOTO_BYTES] * number, len(copied)
            shutil.rmtree(album)
    for name, taken in seconds.items():
        say(f"cp of {number} photos of 1 MB to {name}", taken)
        each_ms = 1000 * statistics.median(taken) / number
        print(f"  {each_ms:.2f} ms a file")
    if len(seconds) == 1:
        print("  no peer: give --passthrough examples/passthroughfs.py of pyfuse3")
        return True
    ours, peers = map(statistics.median, seconds.values())
    held = peers / ours >= SPEED_BOUND
    print(
        f"  speed of the drive / the example: {peers / ours:.2f}"
        f"  bound {SPEED_BOUND:g}: {'held' if held else 'MISSED'}"
    )
    return held


def _directories(made: Rig, drive: Path) -> bool:
    """Create, list and delete directories of two sizes; compare the times."""
    # Nothing is uploaded meanwhile: the time of the emulator is not the drive's.
    made.imgurfs("pause")
    held = True
    steps: dict[str, Callable[[Path, int], None]] = {
        "create": _create,
        "list": _list,
        "delete": lambda album, _: shutil.rmtree(album),
    }
    few, many = DIRECTORY_FILES
    small: dict[str, list[float]] = {name: [] for name in steps}
    large: dict[str, list[float]] = {name: [] for name in steps}
    # Small ones before and after: what else the machine does slows down both.
    before_and_after = [(few, small)] * SMALL_ROUNDS
    plan = [*before_and_after, (many, large), *before_and_after]
    for count, (number, seconds) in enumerate(plan):
        album = drive / f"{number} files, {count}"
        album.mkdir()
        for name, step in steps.items():
            began_s = time.perf_counter()
            step(album, number)
            seconds[name].append(time.perf_counter() - began_s)
    for name in steps:
        say(f"{name} {few} files in a directory", small[name])
        say(f"{name} {many} files in a directory", large[name])
        ratio = statistics.median(large[name]) / statistics.median(small[name])
        is_linear = ratio < GROWTH_BOUND
        held = held and is_linear
        say_ratio(f"  {name}, growth", large[name], small[name])
        print(f"  bound {GROWTH_BOUND:g}: {'held' if is_linear else 'MISSED'}")
    return held


def _create(album: Path, number: int) -> None:
    picture = _picture("PNG")
    for count in range(number):
        data = picture + f"{album.name} {count}".encode()
        (album / f"{count:06}.png").write_bytes(data)


def _list(album: Path, number: int) -> None:
    with os.scandir(album) as entries:
        sizes = [entry.stat().st_size for entry in entries]
    assert len(sizes) == number, len(sizes)
    assert all(sizes)


# --- The peer ---------------------------------------------------------------------

#: Runs the example with the one handler that it lacks.
_PEER = """
import os, runpy, sys
from pathlib import Path
import pyfuse3
path, source, mountpoint = sys.argv[1:]
example = runpy.run_path(path, run_name="passthroughfs")
async def flush(self, fh):
    os.fsync(fh)
example["Operations"].flush = flush
sys.argv = [path, source, mountpoint]
example["main"]()
"""


@contextmanager
def _passthrough_mounted(example: Path, place: Path) -> Iterator[Path]:
    """Mount the example for the length of a with-block."""
    source, mountpoint = place / "peer", place / "peer mounted"
    source.mkdir()
    mountpoint.mkdir()
    command = [sys.executable, "-c", _PEER, str(example), str(source), str(mountpoint)]
    process = subprocess.Popen(command)
    try:
        give_up_at = time.monotonic() + _MOUNT_TIMEOUT_S
        while not mountpoint.is_mount():
            assert process.poll() is None, "the example does not mount"
            assert time.monotonic() < give_up_at, "the example does not mount in time"
        yield mountpoint
    finally:
        subprocess.run(["fusermount3", "-u", str(mountpoint)], check=False)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passthrough", type=Path)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    held = run(
        passthrough=options.passthrough, photos=options.photos, rounds=options.rounds
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
