"""Real processes for end-to-end tests: an emulator, an account, our programs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

REPOSITORY = Path(__file__).parents[2]
_WAIT_S = 30.0


@dataclass(frozen=True)
class Place:
    """A directory of its own for configuration, state and cache, and an emulator."""

    directory: Path
    emulator: dict[str, str]
    environ: dict[str, str]

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "config.toml"

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``imgurfs`` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "imgurfs", "--config", str(self.config), *arguments],
            env=self.environ,
            cwd=self.directory,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def get(self, route: str) -> Any:
        """Ask the emulator as a client that nobody here wrote."""
        request = urllib.request.Request(
            self.emulator["api_url"] + route,
            headers={"Authorization": f"Bearer {self.emulator['access_token']}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["data"]

    def break_uploads(self, **rule: object) -> None:
        """Let the emulator do this to every upload from now on."""
        self._set_faults([{"method": "POST", "path": "/3/(image|upload)", **rule}])

    def break_api(self, **rule: object) -> None:
        """Let the emulator do this to some of the calls from now on."""
        self._set_faults([rule])

    def mend_uploads(self) -> None:
        """Let the emulator serve again."""
        self._set_faults([])

    def _set_faults(self, rules: list[dict[str, object]]) -> None:
        request = urllib.request.Request(
            self.emulator["api_url"] + "/_emulator/faults",
            data=json.dumps(rules).encode(),
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def images(self) -> list[dict[str, Any]]:
        """Return the account's newest images."""
        found: list[dict[str, Any]] = self.get("/3/account/me/images/0")
        return found

    def albums(self) -> dict[str, int]:
        """Return the account's albums: title to number of images."""
        found = self.get("/3/account/me/albums/0")
        return {album["title"]: album["images_count"] for album in found}


def environment(directory: Path, **more: str) -> dict[str, str]:
    """Return an environment with directories of its own and our packages."""
    return {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'daemon'}",
        "XDG_STATE_HOME": str(directory / "state"),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "XDG_CONFIG_HOME": str(directory / "config"),
        **more,
    }


@contextmanager
def process(
    *arguments: str, environ: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    """Run a module of ours until the block ends."""
    with log.open("w") as stderr:
        running = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()


@contextmanager
def place(directory: Path, *, settings: str = "") -> Iterator[Place]:
    """Start an emulator and log in; ``settings`` is added to the configuration."""
    environ = environment(directory)
    with process(
        "imgurfs", "emulator", "--port", "0", "--albums", "1", "--images", "2",
        environ=environ, log=directory / "emulator.log",
    ) as emulator:  # fmt: skip
        assert emulator.stdout is not None
        said = json.loads(emulator.stdout.readline())
        config = "[account]\n" + "".join(
            f'{key} = "{said[key]}"\n'
            for key in ("client_id", "client_secret", "api_url", "cdn_url")
        )
        found = Place(directory, said, environ)
        found.config.write_text(config + settings)
        found.config.chmod(0o600)
        login = found.run("login", "--refresh-token-stdin", text=said["refresh_token"])
        assert login.returncode == 0, login.stderr
        yield found


def fill(folder: Path, *paths: str) -> None:
    """Put small real pictures, all different, into a folder."""
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.blake2b(path.encode(), digest_size=3).digest()
        Image.new("RGB", (16, 16), tuple(digest)).save(file)


def mirrored(folder: Path, *, grace_s: float = 0) -> str:
    """Return a configuration for one mirrored folder."""
    return (
        f"[sync]\nsettle_s = 0.1\ndelete_grace_s = {grace_s}\n"
        f'[[folder]]\npath = "{folder}"\ndeletes = "mirror"\n'
    )


def sync(at: Place, folder: Path, *more: str) -> tuple[int, str]:
    """Run ``imgurfs sync --once``; return its exit code and what it said."""
    done = at.run("sync", str(folder), "--once", *more)
    return done.returncode, done.stdout + done.stderr


def wait_until(condition: Callable[[], bool], *, log: Path) -> None:
    """Wait for something another process does; show its log when it does not."""
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        # Asking may cost the account a credit, and other processes need the machine.
        threading.Event().wait(0.2)
