"""A daemon's parts over an emulator in this process: real files, virtual time.

:func:`mirror` opens an account as the program does and joins folder and drainer as the
daemon does; only the socket is replaced. What arrives at the emulator can be meddled
with (:attr:`Mirror.meddle`), so that a file changes at the moment its bytes are sent.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from imgurfs import config, paths
from imgurfs.api.tokens import Token, TokenStore
from imgurfs.assembly import Services, open_account
from imgurfs.cli import status
from imgurfs.cli.facts import gather
from imgurfs.cli.opened import Opened
from imgurfs.emulator.app import Emulator, build
from imgurfs.emulator.clock import LoopClock
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.rules.limits import NO_LIMITS
from imgurfs.executor import InlineExecutor
from imgurfs.store import outbox
from imgurfs_daemon.service import Daemon
from tests.support.simtransport import SimTransport

API_URL = "https://api.imgur.test"
CDN_URL = "https://i.imgur.test"
EPOCH_S = 1_800_000_000.0
#: Longest a mirror is waited for, in virtual time.
_PATIENCE_S = 3_600.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class SetClock:
    """Virtual time; what the wall clock says beside it may be set anew."""

    def __init__(self, epoch_s: float) -> None:
        self.epoch_s = epoch_s

    def now(self) -> float:
        """Return the wall time as it is set."""
        return self.epoch_s + trio.current_time()

    def monotonic(self) -> float:
        """Return trio's time, whatever is set."""
        return trio.current_time()


class _Meddled:
    """The emulator's API; something happens when an upload's first bytes arrive."""

    def __init__(self, emulator: Emulator) -> None:
        self._app = emulator.api
        self.meddle: Callable[[], None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        is_upload = scope["path"] in ("/3/upload", "/3/image")

        async def receive_and_meddle() -> Message:
            message = await receive()
            if is_upload and self.meddle is not None:
                meddle, self.meddle = self.meddle, None
                meddle()
            return message

        await self._app(scope, receive_and_meddle, send)


@dataclass
class Mirror:
    """A watched folder, its daemon, and the account it becomes."""

    root: Path
    services: Services
    daemon: Daemon
    emulator: Emulator
    api: _Meddled
    clock: SetClock

    def write(self, path: str | bytes, content: bytes) -> Path:
        """Put a file into the folder, modified now."""
        file = self.root / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        now_s = self.clock.now()
        os.utime(file, (now_s, now_s))
        return file

    async def sync(self) -> None:
        """Look and send until nothing is left to be done."""
        folder = self.daemon.folders[0]
        with trio.fail_after(_PATIENCE_S):
            while True:
                look = await folder.sync()
                while look.settles_in_s is not None:
                    await trio.sleep(look.settles_in_s)
                    look = await folder.sync()
                await self.daemon.drainer.run_until_idle(patience_s=_PATIENCE_S)
                if not (await folder.sync()).actions:
                    return

    def images(self) -> list[str]:
        """Return the MD5 of every image of the account."""
        found = self.emulator.world.images.values()
        mine = self.emulator.credentials.username
        return sorted(one.content.md5 for one in found if one.owner == mine)

    def holds(self, *contents: bytes) -> bool:
        """Whether the account's images are exactly these."""
        digests = (hashlib.md5(one, usedforsecurity=False) for one in contents)
        return self.images() == sorted(digest.hexdigest() for digest in digests)

    def unfinished(self) -> int:
        """Return how many jobs are left."""
        return outbox.statistics(self.services.db.reader).unfinished

    def status(self) -> str:
        """Return what ``imgurfs status`` prints."""
        opened = Opened(
            config=self.services.config,
            places=self.services.paths,
            db=self.services.db,
            ledger=self.services.ledger,
            clock=self.clock,
        )
        return "\n".join(status._lines(gather(opened)))


@asynccontextmanager
async def mirror(
    directory: Path, environ: Callable[[str, str], None], *, settings: str = ""
) -> AsyncIterator[Mirror]:
    """Open a mirror in a directory; ``environ`` sets an environment variable.

    ``settings`` is added to the configuration.
    """
    for name in ("STATE", "CACHE", "CONFIG"):
        environ(f"XDG_{name}_HOME", str(directory / name.lower()))
    root = directory / "folder"
    root.mkdir(exist_ok=True)
    emulator = build(
        EmulatorConfig(
            api_url=API_URL, cdn_url=CDN_URL, albums=0, images=0, limits=NO_LIMITS
        ),
        LoopClock(EPOCH_S),
    )
    api = _Meddled(emulator)
    said = emulator.credentials
    text = (
        f'[account]\napi_url = "{API_URL}"\ncdn_url = "{CDN_URL}"\n'
        f"[budget]\nuploads_per_hour = 0\n{settings}"
        f'[[folder]]\npath = "{root}"\ndeletes = "mirror"\n'
    )
    parsed = config.parse(text)
    account = emulator.world.account(said.username)
    assert account is not None
    TokenStore(paths.account_paths("default").token).save(
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
    clock = SetClock(EPOCH_S)
    async with open_account(
        parsed,
        "default",
        clock=clock,
        executor=InlineExecutor(),
        transport=SimTransport(api, emulator.cdn),
    ) as services:
        daemon = Daemon(services, parsed.folder, rng=random.Random(1))
        yield Mirror(root, services, daemon, emulator, api, clock)
