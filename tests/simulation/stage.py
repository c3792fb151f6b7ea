"""One account on one emulator, and daemons that are started and killed around it.

What the campaigns of this directory have in common. An emulator and each daemon are
real processes (forked by ``nest``); this side starts them, kills them by their number,
and judges by what the emulator holds and by the databases as they lie on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgurfs.api.tokens import Token, TokenStore
from imgurfs.clock import SystemClock
from tests.simulation import power
from tests.simulation.fastclock import FastClock

REPOSITORY = Path(__file__).parents[2]
#: A process that does not do within this what it always does is a failure.
_WAIT_S = 60.0

pause = threading.Event().wait


class Nest:
    """The forking process, from this side, for any thread.

    One thing at a time: waiting for a child that lives keeps all others waiting.
    """

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self._running = running
        self._asking = threading.Lock()

    def start(self, **order: object) -> int:
        """Fork a child; return its process number."""
        return int(self._ask({"do": "start", **order})["pid"])

    def wait(self, pid: int) -> int:
        """Wait for a child to end; return its exit code, or minus the signal."""
        return int(self._ask({"do": "wait", "pid": pid})["code"])

    def _ask(self, order: Mapping[str, object]) -> dict[str, Any]:
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        with self._asking:
            self._running.stdin.write(json.dumps(order) + "\n")
            self._running.stdin.flush()
            answer = self._running.stdout.readline()
        assert answer, f"the nest has died: {self._running.poll()}"
        found: dict[str, Any] = json.loads(answer)
        return found


@contextmanager
def nest(**environ: str) -> Iterator[Nest]:
    """Start a nest; ``environ`` is added to its environment, and so to its children."""
    paths = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "daemon")))
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.simulation.nest"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": paths, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        try:
            yield Nest(running)
        finally:
            assert running.stdin is not None
            running.stdin.close()
            running.wait(30)


@dataclass
class Running:
    """A daemon that was started."""

    pid: int
    nest: Nest

    def kill(self) -> int:
        """End it as a power switch would; return its exit code."""
        os.kill(self.pid, signal.SIGKILL)
        return self.nest.wait(self.pid)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.nest.wait(self.pid)

    def is_dead(self) -> bool:
        """Whether it has ended (and waits to be waited for)."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] in "ZX"


@dataclass
class Stage:
    """An emulator with an account, a watched folder, and where the daemon lives."""

    directory: Path
    nest: Nest
    clock: FastClock
    address: dict[str, Any]
    environ: dict[str, str]
    #: What the account held before anybody touched it.
    given: set[str] = field(default_factory=set)
    started: int = 0
    #: Where the processes keep what was synchronised (``power``); None: they do not.
    copies: Path | None = None
    #: Bytes that power cuts took away.
    lost_bytes: int = 0

    @property
    def folder(self) -> Path:
        """The watched folder."""
        return self.directory / "folder"

    @property
    def state_db(self) -> Path:
        """The daemon's state."""
        return self.directory / "state/imgurfs/default/state.db"

    @property
    def budget_db(self) -> Path:
        """The machine's budget."""
        return self.directory / "state/imgurfs/budget.db"

    @property
    def log(self) -> Path:
        """What the daemons said."""
        return self.directory / "daemon.log"

    def daemon(self, **environ: str) -> Running:
        """Start the daemon."""
        self.started += 1
        if self.copies is not None:
            environ |= power.environment(self.copies)
        pid = self.nest.start(
            role="daemon",
            log=str(self.log),
            environ={**self.environ, **environ},
            clock=vars(self.clock),
        )
        return Running(pid, self.nest)

    # --- The emulator ---------------------------------------------------------

    def admin(self, route: str, body: object = None) -> Any:
        """Ask the emulator's other side."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.address['api_url']}/_emulator/{route}", data=data
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def faults(self, *rules: Mapping[str, object]) -> None:
        """Let things go wrong from now on; nothing given: let all go well."""
        self.admin("faults", list(rules))

    def posts(self) -> int:
        """Return how many changing requests the emulator has seen."""
        return sum(n for call, n in self.calls().items() if not call.startswith("GET"))

    def calls(self) -> Counter[str]:
        """Return how often each method and route was asked for."""
        return Counter(self.admin("counters")["api_routes"])

    # --- The databases as they lie on the disk --------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask state.db while the daemon runs; nothing when it does not exist yet."""
        if not self.state_db.exists():
            return []
        uri = f"{self.state_db.as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=5)) as db:
                return db.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []  # its tables are being made

    def states(self) -> dict[str, int]:
        """Return how many jobs are in each state; checks that only look apart."""
        about = "WHERE kind <> 'verify'"
        return dict(
            self.rows(f"SELECT state, count(*) FROM job {about} GROUP BY state")
        )

    def lose_power(self) -> None:
        """After the daemon's death: lose what was not synchronised, if asked for."""
        if self.copies is not None:
            self.lost_bytes += power.cut(self.copies, self.state_db, self.budget_db)

    def autopsy(self) -> tuple[dict[str, int], list[str]]:
        """Look at copies of a dead daemon's databases; the originals stay untouched.

        Return how many jobs are in each state, and what is wrong with the files.
        """
        states: dict[str, int] = {}
        wrong: list[str] = []
        morgue = self.directory / "morgue"
        shutil.rmtree(morgue, ignore_errors=True)
        morgue.mkdir()
        for path in (self.state_db, self.budget_db):
            for part in (path, path.with_name(path.name + "-wal")):
                if part.exists():
                    shutil.copy(part, morgue)
            if not path.exists():
                continue
            with closing(sqlite3.connect(morgue / path.name)) as db:
                said = [row[0] for row in db.execute("PRAGMA integrity_check")]
                wrong += [f"{path.name}: {line}" for line in said if line != "ok"]
                has_jobs = "SELECT 1 FROM sqlite_master WHERE name = 'job'"
                if path == self.state_db and db.execute(has_jobs).fetchone():
                    count = "SELECT state, count(*) FROM job GROUP BY state"
                    states = dict(db.execute(count).fetchall())
        return states, wrong


def wait_for(
    condition: Callable[[], bool], *, what: str, wait_s: float = _WAIT_S
) -> None:
    """Wait until something is so; if it never is, AssertionError says ``what``."""
    deadline_s = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        pause(0.02)


@contextmanager
def stage(
    directory: Path,
    *,
    forks: Nest,
    rate: float = 1.0,
    sync: str = "",
    quirks: Sequence[str] = (),
    has_power_cuts: bool = False,
) -> Iterator[Stage]:
    """Set up an account; ``sync`` is added to the section ``[sync]``.

    ``has_power_cuts``: the nest was started with ``power.library``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "folder").mkdir()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("IMGURFS")}
    environ |= {
        "XDG_STATE_HOME": str(directory / "state"),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "IMGURFS_CONFIG": str(directory / "config.toml"),
    }
    clock = FastClock(rate=rate, began_at=SystemClock().now(), began_s=time.monotonic())
    address = directory / "address.json"
    with ExitStack() as stack:
        pid = forks.start(
            role="emulator",
            log=str(directory / "emulator.log"),
            environ=environ,
            clock=vars(clock),
            address=str(address),
            albums=1,
            images=2,
            quirks=list(quirks),
        )
        stack.callback(forks.wait, pid)
        stack.callback(os.kill, pid, signal.SIGKILL)
        wait_for(address.exists, what="the emulator does not start")
        made = Stage(directory, forks, clock, json.loads(address.read_text()), environ)
        made.copies = directory / "copies" if has_power_cuts else None
        _log_in(made)
        _configure(made, sync)
        made.given = {image["id"] for image in made.admin("state")["images"]}
        yield made


def _log_in(made: Stage) -> None:
    said = made.address
    store = TokenStore(made.state_db.with_name("token.json"))
    store.save(
        Token(
            access_token=said["access_token"],
            refresh_token=said["refresh_token"],
            client_id=said["client_id"],
            client_secret=said["client_secret"],
            account_id=said["account_id"],
            account_name=said["username"],
            expires_at=made.clock.now() + 10**8,
        )
    )


def _configure(made: Stage, sync: str) -> None:
    keys = ("client_id", "client_secret", "api_url", "cdn_url")
    text = "[account]\n" + "".join(f'{key} = "{made.address[key]}"\n' for key in keys)
    text += f"[budget]\nuploads_per_hour = 0\n[sync]\n{sync}\n"
    text += f'[[folder]]\npath = "{made.folder}"\ndeletes = "mirror"\n'
    path = made.directory / "config.toml"
    path.touch(mode=0o600)
    path.write_text(text)
