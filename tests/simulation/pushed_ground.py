"""The test's side of ``pushed``: an account, its emulator, its mount, and their time.

A :class:`Ground` is one account on an emulator process, mounted by a mount process.
:func:`grounds` hands out one for each way a drive can be configured, and makes it anew
when a test has left it in an unknown state.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgurfs.api.tokens import Token, TokenStore
from tests.simulation.pushed import EPOCH_S, make_clock
from tests.simulation.stage import REPOSITORY, Nest, Running, wait_for

#: A process of ours that does not answer within this is stuck.
STUCK_S = 60.0
_SETTINGS = (
    "[sync]\nguard = false\ndelete_grace_s = 1\n[budget]\nuploads_per_hour = 0\n"
)


@dataclass(frozen=True)
class Mode:
    """How a drive is configured."""

    non_media: str = "refuse"
    lossy: str = "refuse"


@dataclass
class Ground:
    """One account, mounted. ``top`` is the mountpoint."""

    directory: Path
    nest: Nest
    mode: Mode
    address: dict[str, Any] = field(default_factory=dict)
    _running: ExitStack = field(default_factory=ExitStack)
    _mounted: Running | None = None
    _control: socket.socket | None = None

    @property
    def top(self) -> Path:
        """The mountpoint."""
        return self.directory / "drive"

    @property
    def spool(self) -> Path:
        """Where bytes wait that are not uploaded."""
        return self.directory / "state/imgurfs/default/spool"

    @property
    def log(self) -> str:
        """What the mount has warned of."""
        path = self.directory / "mount.log"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        """Make the account and mount it."""
        for name in ("drive", "plain"):
            (self.directory / name).mkdir(parents=True)
        make_clock(self.directory / "time")
        address = self.directory / "address.json"
        pid = self._start(
            "emulator", address=str(address), albums=0, images=0, quirks=[]
        )
        self._running.callback(self.nest.wait, pid)
        self._running.callback(os.kill, pid, signal.SIGKILL)
        wait_for(address.exists, what="the emulator does not start")
        self.address = json.loads(address.read_text())
        self._configure()
        self.mount()

    def _start(self, role: str, **order: object) -> int:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("IMGURFS_")}
        own = {
            f"XDG_{name}_HOME": str(self.directory / name.lower())
            for name in ("STATE", "CACHE", "CONFIG")
        }
        return self.nest.start(
            role=role,
            log=str(self.directory / f"{role}.log"),
            environ={
                **kept,
                **own,
                "IMGURFS_CONFIG": str(self.directory / "config.toml"),
            },
            clock={"rate": 1.0, "began_at": EPOCH_S, "began_s": 0.0},
            time=str(self.directory / "time"),
            **order,
        )

    def _configure(self) -> None:
        said = self.address
        keys = ("client_id", "client_secret", "api_url", "cdn_url")
        lines = ["[account]", *(f'{key} = "{said[key]}"' for key in keys), _SETTINGS]
        lines += ["[mount]", f'non_media = "{self.mode.non_media}"']
        lines += [f'lossy = "{self.mode.lossy}"', ""]
        path = self.directory / "config.toml"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines))
        TokenStore(self.spool.with_name("token.json")).save(
            Token(
                access_token=said["access_token"],
                refresh_token=said["refresh_token"],
                client_id=said["client_id"],
                client_secret=said["client_secret"],
                account_id=said["account_id"],
                account_name=said["username"],
                expires_at=EPOCH_S + 10**8,
            )
        )

    # --- The mount ---------------------------------------------------------------

    def mount(self) -> None:
        """Mount, and return when the drive answers and takes orders."""
        address = self.directory / "control"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(address))
            listener.listen()
            listener.settimeout(0.1)
            pid = self._start("mount", mountpoint=str(self.top), control=str(address))
            self._mounted = Running(pid, self.nest)
            self._control = _accepted(listener, self._mounted, self)
        self._control.settimeout(STUCK_S)

    def unmount(self, *, is_killed: bool = False) -> None:
        """End the mount, as a user would or as the kernel's killer would."""
        assert self._mounted is not None
        if self._control is not None:
            self._control.close()
        mounted, self._mounted = self._mounted, None
        if is_killed:
            mounted.kill()
        else:
            code = mounted.stop()
            assert code == 0, f"the mount ended with {code}: {self.log[-2000:]}"

    def order(self, do: str, **arguments: object) -> dict[str, Any]:
        """Have the mount do something about time or listings; return its answer."""
        assert self._control is not None
        line = json.dumps({"do": do, **arguments}).encode() + b"\n"
        self._control.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            part = self._control.recv(65_536)
            assert part, f"the mount has ended: {self.log[-2000:]}"
            answer += part
        found: dict[str, Any] = json.loads(answer)
        return found

    # --- The account ---------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what exists on the emulator."""
        found: dict[str, Any] = self.ask("GET", "/_emulator/state")
        return found

    def uploads(self) -> int:
        """Return how many uploads the emulator has taken."""
        return int(self.ask("GET", "/_emulator/counters")["uploads"])

    def ask(
        self, method: str, path: str, fields: Mapping[str, str] | None = None
    ) -> Any:
        """Ask the emulator, as another device of the same account."""
        place = urllib.parse.urlsplit(self.address["api_url"])
        # One for each question: between two of them it may be idle for long.
        connection = http.client.HTTPConnection(place.netloc, timeout=STUCK_S)
        body = None if fields is None else urllib.parse.urlencode(fields)
        headers = {"Authorization": f"Bearer {self.address['access_token']}"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        assert answer.status == 200, (method, path, data)
        return json.loads(data)

    def close(self) -> None:
        """End every process, and leave nothing mounted or on the disk."""
        if self._mounted is not None:
            self.unmount(is_killed=True)
        self._running.close()
        command = ("fusermount3", "-u", "-z", self.top)
        # The mount was killed: the kernel has not noticed, or has.
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.directory)


def _accepted(listener: socket.socket, mount: Running, of: Ground) -> socket.socket:
    found: list[socket.socket] = []

    def is_there() -> bool:
        assert not mount.is_dead(), f"the mount does not start: {of.log[-2000:]}"
        try:
            found.append(listener.accept()[0])
        except TimeoutError:
            return False
        return True

    wait_for(is_there, what="the drive does not mount")
    return found[0]


@dataclass
class Grounds:
    """A ground for each mode."""

    directory: Path
    nest: Nest
    _grounds: dict[Mode, Ground] = field(default_factory=dict)

    def ground(self, mode: Mode) -> Ground:
        """Return the ground for a mode, mounted."""
        found = self._grounds.get(mode)
        if found is None:
            place = self.directory / uuid.uuid4().hex
            found = self._grounds[mode] = Ground(place, self.nest, mode)
            found.start()
        return found

    def drop(self, mode: Mode) -> None:
        """Give a ground up: nobody knows what state it is in."""
        self._grounds.pop(mode).close()

    def close(self) -> None:
        """End all."""
        for mode in list(self._grounds):
            self.drop(mode)


@contextmanager
def in_memory() -> Iterator[Path]:
    """Have a directory for grounds, in memory if there is a place for that."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as directory:
        yield Path(directory)


@contextmanager
def grounds(directory: Path) -> Iterator[Grounds]:
    """Have grounds below a directory."""
    paths = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "daemon")))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.simulation.pushed"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        made = Grounds(directory, Nest(running))
        try:
            yield made
        finally:
            made.close()
            assert running.stdin is not None
            running.stdin.close()
            running.wait(STUCK_S)
