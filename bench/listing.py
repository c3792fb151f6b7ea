"""Listing 10,000 images after a restart, with no Imgur to ask.

The peer is ``ls -lU`` on a real directory of as many empty files, in the same run.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench.figures import command_seconds, say, say_ratio
from bench.rig import Rig, counting_listeners, rig

IMAGES = 10_000
ONE_DIRECTORY_BOUND_S = 0.5
_FIRST_LISTING_TIMEOUT_S = 300.0
_RUNS = 5


def run() -> bool:
    """Measure one directory of 10,000 and 100 directories of 100."""
    with tempfile.TemporaryDirectory() as place:
        for number in range(IMAGES):
            Path(place, f"{number:07}.jpg").touch()
        peer = command_seconds(["ls", "-lU", place], runs=_RUNS)
    say(f"ls -lU, {IMAGES} empty files on this disk", peer)
    one = _measure(1, ["ls", "-lU"], "one directory", bound_s=ONE_DIRECTORY_BOUND_S)
    say_ratio("one directory / this disk", one[0], peer)
    many = _measure(100, ["ls", "-lUR"], "100 directories, walked")
    say_ratio("100 directories / this disk", many[0], peer)
    return one[1] and many[1]


def _measure(
    albums: int, command: list[str], name: str, *, bound_s: float | None = None
) -> tuple[list[float], bool]:
    """List once with the emulator, then again and again without it."""
    arguments = ["--albums", str(albums), "--images", str(IMAGES), "--limits", "off"]
    seconds: list[float] = []
    with rig(*arguments) as made:
        with made.mounted():
            _wait_for_all(made, albums)
        made.stop_emulator()
        urls = (made.address["api_url"], made.address["cdn_url"])
        with counting_listeners(*urls) as calls:
            shown = b""
            for _ in range(_RUNS):
                # A new mount each time: the kernel remembers nothing.
                with made.mounted() as drive:
                    target = str(drive if albums > 1 else _only_album(drive))
                    seconds += command_seconds([*command, target], runs=1)
                    shown = subprocess.run(
                        [*command, target], check=True, capture_output=True
                    ).stdout
            files = sum(line.startswith(b"-") for line in shown.splitlines())
    held = say(
        f"{command[0]} {command[1]}, {IMAGES} images, {name}", seconds, bound_s=bound_s
    )
    print(f"  after a restart, emulator stopped: {files} files, {len(calls)} calls")
    return seconds, held and files == IMAGES and not calls


def _only_album(drive: Path) -> Path:
    (name,) = os.listdir(drive)  # noqa: PTH208
    return drive / name


def _wait_for_all(made: Rig, albums: int) -> None:
    """Walk until everything has been listed once."""
    deadline = time.monotonic() + _FIRST_LISTING_TIMEOUT_S
    while time.monotonic() < deadline:
        walk = list(os.walk(made.mountpoint))
        tree = made.status()["tree"]
        complete = tree["albums_listed_at"] and tree["images_listed_at"]
        if complete and sum(len(files) for _, _, files in walk) == IMAGES:
            return
    raise TimeoutError(f"{albums} albums were not listed in time")
