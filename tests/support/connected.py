"""The whole client side over an emulator in this process: no sockets, virtual time.

``connected(tmp_path)`` builds what ``imgurfs.assembly`` builds (token file, ledger,
metered client, API), with the inline executor and a clock driven by trio's.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from imgurfs.api.auth import Auth
from imgurfs.api.client import Client
from imgurfs.api.tokens import Token, TokenStore
from imgurfs.clock import TrioClock
from imgurfs.emulator.app import Emulator, build
from imgurfs.emulator.clock import LoopClock
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.executor import InlineExecutor
from imgurfs.metered import make_http_client
from imgurfs.store.ledger import SqliteLedger
from tests.support.simtransport import SimTransport

API_URL = "https://api.imgur.test"
CDN_URL = "https://i.imgur.test"
CDN_HOSTS = frozenset({"i.imgur.test"})
EPOCH_S = 1_800_000_000.0


@dataclass(frozen=True)
class Connected:
    """Everything between a caller of the API and the emulator."""

    emulator: Emulator
    transport: SimTransport
    ledger: SqliteLedger
    http: httpx.AsyncClient
    store: TokenStore
    auth: Auth
    api: Client
    clock: TrioClock

    def sent(self, method: str, path: str) -> int:
        """Return how many requests with this method and path prefix arrived."""
        return sum(
            1
            for made, url in self.transport.requests
            if made == method and httpx.URL(url).path.startswith(path)
        )


def config(**fields: object) -> EmulatorConfig:
    """Return an emulator configuration whose links fit the transport's hosts."""
    values = {"api_url": API_URL, "cdn_url": CDN_URL, **fields}
    return EmulatorConfig(**values)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def connected(
    tmp_path: Path,
    emulator_config: EmulatorConfig | None = None,
    *,
    access_token: str | None = None,
    refresh_token: str | None = None,
) -> AsyncIterator[Connected]:
    """Build the client side over a new emulator; the tokens can be made wrong."""
    emulator = build(emulator_config or config(), LoopClock(EPOCH_S))
    clock, executor = TrioClock(EPOCH_S), InlineExecutor()
    credentials = emulator.credentials
    store = TokenStore(tmp_path / "account" / "token.json")
    store.save(
        Token(
            access_token=access_token or credentials.access_token,
            refresh_token=refresh_token or credentials.refresh_token,
            client_id=credentials.client_id,
            client_secret=credentials.client_secret,
            account_id=_account_id(emulator),
            account_name=credentials.username,
            expires_at=EPOCH_S + 10**8,
        )
    )
    ledger = SqliteLedger.open(
        tmp_path / "budget.db",
        client_id=credentials.client_id,
        account_key="1",
        clock=clock,
        executor=executor,
    )
    transport = SimTransport(emulator.api, emulator.cdn)
    http = make_http_client(
        ledger=ledger,
        clock=clock,
        api_url=API_URL,
        cdn_hosts=CDN_HOSTS,
        transport=transport,
    )
    auth = Auth(store=store, http=http, api_url=API_URL, clock=clock, executor=executor)
    api = Client(http=http, api_url=API_URL, auth=auth, clock=clock, executor=executor)
    try:
        async with http:
            yield Connected(emulator, transport, ledger, http, store, auth, api, clock)
    finally:
        ledger.close()


def _account_id(emulator: Emulator) -> int:
    account = emulator.world.account(emulator.credentials.username)
    assert account is not None
    return account.id
