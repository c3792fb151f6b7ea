"""A whole daemon over emulated accounts in this process: real files, virtual time.

:func:`served` runs the supervisor as ``imgurfs-daemon`` does. Each account has an
emulator of its own; what the service manager is told is received on a real socket.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from imgurfs import config, paths
from imgurfs.api.tokens import Token, TokenStore
from imgurfs.assembly import Services, open_account
from imgurfs.config import Config
from imgurfs.emulator.app import Emulator, build
from imgurfs.emulator.clock import LoopClock
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.rules.limits import NO_LIMITS
from imgurfs.executor import Executor, InlineExecutor, ThreadLane
from imgurfs.notify import Notifier
from imgurfs_daemon.supervisor import Supervisor
from tests.support.mirrored import (
    API_URL,
    CDN_URL,
    EPOCH_S,
    Message,
    Receive,
    Send,
    SetClock,
)
from tests.support.pictures import small_picture
from tests.support.simtransport import SimTransport

#: Longest that something is waited for, in virtual time.
_PATIENCE_S = 3_600.0


class Gate:
    """The emulator's API; uploads that arrive while it is shut are never answered."""

    def __init__(self, emulator: Emulator) -> None:
        self._app = emulator.api
        self.is_shut = False
        self.waiting = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, or keep it."""
        if self.is_shut and scope["path"] in ("/3/upload", "/3/image"):
            self.waiting += 1
            await trio.sleep_forever()
        await self._app(scope, receive, send)


class HangingExecutor(InlineExecutor):
    """Blocks on the disk, once told to, until it is told to go on."""

    def __init__(self) -> None:
        self.hangs = False
        self.go_on = trio.Event()

    async def run(self, lane: ThreadLane, fn, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Run, or wait."""
        if self.hangs and lane is ThreadLane.DISK:
            await self.go_on.wait()
        return await super().run(lane, fn, *args, **kwargs)


@dataclass
class Served:
    """Accounts, their emulators and folders, and how to serve them."""

    directory: Path
    clock: SetClock
    manager: socket.socket
    notifier: Notifier
    executor: Executor = field(default_factory=InlineExecutor)
    text: str = ""
    only: str | None = None
    emulators: dict[str, Emulator] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)
    transports: dict[str, SimTransport] = field(default_factory=dict)
    services: dict[str, Services] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    supervisor: Supervisor = field(init=False)

    def add_account(self, name: str, *, is_logged_in: bool = True) -> None:
        """Add an account to the configuration, with an emulator of its own."""
        emulator = build(
            EmulatorConfig(
                api_url=API_URL, cdn_url=CDN_URL, albums=0, images=0, limits=NO_LIMITS
            ),
            LoopClock(EPOCH_S),
        )
        self.emulators[name] = emulator
        gate = self.gates[name] = Gate(emulator)
        self.transports[name] = SimTransport(gate, emulator.cdn)
        section = "account" if name == config.DEFAULT_ACCOUNT else f"accounts.{name}"
        self.text += f'[{section}]\napi_url = "{API_URL}"\ncdn_url = "{CDN_URL}"\n'
        if is_logged_in:
            self.log_in(name)

    def log_in(self, name: str) -> None:
        """Save the account's token."""
        said = self.emulators[name].credentials
        account = self.emulators[name].world.account(said.username)
        assert account is not None
        TokenStore(paths.account_paths(name).token).save(
            Token(
                access_token=said.access_token,
                refresh_token=said.refresh_token,
                client_id=said.client_id,
                client_secret=said.client_secret,
                account_id=account.id,
                account_name=said.username,
                expires_at=EPOCH_S + 10**8,
            )
        )

    def add_folder(self, name: str, *, account: str = "default") -> Path:
        """Add a folder to the configuration."""
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        self.text += f'[[folder]]\npath = "{folder}"\naccount = "{account}"\n'
        return folder

    def load(self) -> Config:
        """Read the configuration as it is now."""
        return config.parse(self.text)

    def open(
        self, settings: Config, name: str
    ) -> AbstractAsyncContextManager[Services]:
        """Open an account over its emulator."""
        self.opened.append(name)
        return self._open(settings, name)

    @asynccontextmanager
    async def _open(self, settings: Config, name: str) -> AsyncIterator[Services]:
        async with open_account(
            settings,
            name,
            clock=self.clock,
            executor=self.executor,
            transport=self.transports[name],
        ) as services:
            self.services[name] = services
            yield services

    def holds(self, account: str, *texts: str) -> bool:
        """Whether the account's images are exactly these pictures."""
        emulator = self.emulators[account]
        mine = emulator.credentials.username
        images = emulator.world.images.values()
        found = sorted(one.content.md5 for one in images if one.owner == mine)
        return found == sorted(
            hashlib.md5(small_picture(text), usedforsecurity=False).hexdigest()
            for text in texts
        )

    def said(self) -> list[str]:
        """Return what the service manager was told since the last time."""
        found = []
        while True:
            try:
                found.append(self.manager.recv(65_536).decode())
            except BlockingIOError:
                return found

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; the daemon's status tells why it is not."""
        with trio.move_on_after(_PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - of another's state
                await trio.sleep(0.5)
            return
        raise AssertionError(self.supervisor.status())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Supervisor]:
        """Serve until the block ends; then stop, in time."""
        self.supervisor = Supervisor(
            self.load,
            only=self.only,
            notifier=self.notifier,
            clock=self.clock,
            opener=self.open,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(self.supervisor.run)
            yield self.supervisor
            self.supervisor.stop()


@asynccontextmanager
async def served(
    directory: Path, environ: Callable[[str, str], None]
) -> AsyncIterator[Served]:
    """Prepare a daemon in a directory; ``environ`` sets an environment variable."""
    for name in ("STATE", "CACHE", "CONFIG"):
        environ(f"XDG_{name}_HOME", str(directory / name.lower()))
    address = str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "120000000"})
        yield Served(directory, SetClock(EPOCH_S), manager, notifier)


def put(folder: Path, *texts: str) -> None:
    """Put pictures into a folder, closed and settled long ago."""
    for text in texts:
        (folder / f"{text}.png").write_bytes(small_picture(text))
