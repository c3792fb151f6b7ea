"""A place for real programs: a plain directory, or a mounted drive with its account.

The same test runs on both. On a plain directory it shows that what the test expects is
what a disk does; on the drive, the account is compared with what the user sees.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
from PIL import Image

from tests.support.mounted import Machine, emulator_process

#: A program that does not end within this is stuck.
PROGRAM_TIMEOUT_S = 60.0
#: A queue that has not moved for this long is stuck.
_STALL_S = 20.0
_POLL_S = 0.05
#: Deletions are final after a moment, and nobody asks about them.
SETTINGS = "[sync]\ndelete_grace_s = 0.1\nguard = false\n"

pause = threading.Event().wait


def picture(text: str, *, kind: str = "PNG", side: int = 32) -> bytes:
    """Return a picture whose pixels follow from the text."""
    pixels = random.Random(text).randbytes(3 * side * side)
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), pixels).save(file, kind)
    return file.getvalue()


def run(*command: str | Path, stdin: bytes = b"", cwd: Path | None = None) -> str:
    """Run a program that must succeed and say nothing wrong; return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        timeout=PROGRAM_TIMEOUT_S,
        cwd=cwd,
        check=False,
    )
    said = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert done.returncode == 0, (command, *said)
    assert not done.stderr, (command, *said)
    return said[0]


def md5(data: bytes) -> str:
    """Return what Imgur's CDN gives as ETag."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def contents(directory: Path) -> dict[str, bytes]:
    """Return name and bytes of every file in a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@dataclass
class Ground:
    """A plain directory."""

    top: Path
    is_drive: bool = False

    def settle(self) -> None:
        """Wait until the account is what the user sees, and compare them."""

    def uploads(self) -> int:
        """Return how often bytes were sent since the ground was made."""
        return 0

    def expect_uploads(self, number: int) -> None:
        """Compare the number of uploads; a plain directory has none."""


@dataclass
class DriveGround(Ground):
    """A mounted drive, the state behind it, and its account."""

    machine: Machine = field(kw_only=True)
    http: httpx.Client = field(kw_only=True)
    is_drive: bool = True
    _sent_before: int = 0

    def __post_init__(self) -> None:
        """Begin to count."""
        self._sent_before = self._sent()

    # --- What the account has ---------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what the account holds."""
        answer = self.http.get("/_emulator/state").raise_for_status()
        return cast("dict[str, Any]", answer.json())

    def image_ids(self, album: str) -> list[str]:
        """Return the images of the album with a title."""
        found = [it for it in self.state()["albums"] if it["title"] == album]
        assert len(found) == 1, found
        return list(found[0]["images"])

    def titles(self, album: str) -> set[str]:
        """Return the titles that images of the album with a title have."""
        inside = self.image_ids(album)
        images = self.state()["images"]
        return {it["title"] for it in images if it["id"] in inside and it["title"]}

    def held(self) -> dict[str, Counter[str]]:
        """Return the MD5 sums of each album by its title; "" = in no album."""
        state = self.state()
        sums = {image["id"]: image["md5"] for image in state["images"]}
        albums = {it["title"]: it["images"] for it in state["albums"]}
        assert len(albums) == len(state["albums"]), "two albums of one title"
        inside = {image for images in albums.values() for image in images}
        albums[""] = [image for image in sums if image not in inside]
        return {
            title: Counter(sums[it] for it in images)
            for title, images in albums.items()
        }

    def shown(self) -> dict[str, Counter[str]]:
        """Return the MD5 sums of what the user sees, in the same form."""
        found: dict[str, Counter[str]] = {"": Counter()}
        for path in self.top.iterdir():
            if path.is_dir():
                found[path.name] = Counter(map(md5, contents(path).values()))
            else:
                found[""][md5(path.read_bytes())] += 1
        return found

    def _sent(self) -> int:
        routes = self.http.get("/_emulator/counters").json()["api_routes"]
        return sum(
            n
            for route, n in routes.items()
            if route in ("POST /3/image", "POST /3/upload")
        )

    def uploads(self) -> int:
        """Return how often bytes were sent to the account."""
        return self._sent() - self._sent_before

    def expect_uploads(self, number: int) -> None:
        """Compare the number of uploads."""
        assert self.uploads() == number, self.http.get("/_emulator/log").json()[-20:]

    def break_api(self, *rules: dict[str, object]) -> None:
        """Let the emulator do this from now on, and nothing else; () mends it."""
        self.http.post("/_emulator/faults", json=rules).raise_for_status()

    def standing(self, path: Path) -> str:
        """Return where a file stands on its way to Imgur."""
        return os.getxattr(path, "user.imgurfs.state").decode()

    def stored(self) -> int:
        """Return how many uploads were carried out; refused ones are none."""
        counters = self.http.get("/_emulator/counters").raise_for_status().json()
        return int(counters["uploads"])

    def status(self) -> dict[str, Any]:
        """Return what ``imgurfs status`` says."""
        done = self.machine.run("status", "--json")
        assert done.returncode == 0, done.stderr
        return cast("dict[str, Any]", json.loads(done.stdout))

    # --- Waiting ----------------------------------------------------------------

    def settle(self) -> None:
        """Wait until the queue is empty, then compare account and drive by bytes."""
        self.wait_until_idle()
        shown, held = self.shown(), self.held()
        assert shown == held, f"shown: {shown}\nheld: {held}"

    def wait_until_idle(self) -> None:
        """Wait until no job is open and no draft is on its way."""
        last: object = None
        moved_at = time.monotonic()
        while left := self.left():
            if left != last:
                last, moved_at = left, time.monotonic()
            assert time.monotonic() - moved_at < _STALL_S, left
            assert all(process.poll() is None for process in self.machine.processes)
            pause(_POLL_S)

    def left(self) -> list[tuple[Any, ...]]:
        """Return the open jobs, and the drafts that are on their way."""
        jobs = (
            "SELECT kind, state, attempts, error FROM job"
            " WHERE state NOT IN ('done', 'cancelled')"
        )
        drafts = (
            "SELECT 'draft', state, inode, error FROM draft"
            " WHERE state IN ('writing', 'waiting', 'sent')"
        )
        return self.rows(jobs) + self.rows(drafts)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the state of the mount."""
        uri = f"{(self.machine.state_dir / 'state.db').as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as db:
            return db.execute(query).fetchall()


class Grounds:
    """Drives that several tests use one after the other, as long as they are clean."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._shared: DriveGround | None = None
        self._made = 0

    @contextlib.contextmanager
    def drive(self) -> Iterator[DriveGround]:
        """Return a mounted, idle account; what earlier tests made may be in it."""
        shared = self._shared or self._mount()
        self._shared = None
        shared.__post_init__()
        yield shared
        # A test may have left it in a state that is none: the next gets a new one then.
        shared.settle()
        self._shared = shared

    def _mount(self) -> DriveGround:
        self._made += 1
        directory = self._directory / str(self._made)
        directory.mkdir()
        return self._stack.enter_context(new_drive(directory))

    def close(self) -> None:
        """Unmount and end everything."""
        self._stack.close()


@contextlib.contextmanager
def new_drive(
    directory: Path, *emulator_options: str, settings: str = ""
) -> Iterator[DriveGround]:
    """Mount an empty account of its own; ``settings`` are added to the usual ones."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        nothing = ("--albums", "0", "--images", "0")
        emulator = enter(emulator_process(*nothing, *emulator_options))
        machine = Machine(directory, emulator)
        stack.callback(machine.clean_up)
        machine.log_in()
        machine.configure(SETTINGS + settings)
        machine.mount()
        http = enter(httpx.Client(base_url=emulator.address["api_url"]))
        yield DriveGround(machine.mountpoint, machine=machine, http=http)


def until(is_so: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Look at a condition until it holds."""
    give_up_at = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < give_up_at, what
        pause(_POLL_S)


def fill(directory: Path, names: Sequence[str]) -> None:
    """Make a directory of pictures of their own with old dates."""
    directory.mkdir()
    for number, name in enumerate(names):
        path = directory / name
        kind = "JPEG" if path.suffix == ".jpg" else "PNG"
        path.write_bytes(picture(f"{directory.name} {name}", kind=kind))
        set_date(path, 1_700_000_000 + number)


def set_date(path: Path, epoch_s: int) -> None:
    """Set both dates of a file."""
    os.utime(path, ns=(epoch_s * 10**9 + 123_456_789,) * 2)
