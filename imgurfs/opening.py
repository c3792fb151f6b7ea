"""Opens, one at a time, what an account needs: its databases, and the way to Imgur.

No rule of its own. ``assembly`` joins the pieces for whoever serves an account,
``logins`` uses them before there is one, and commands open just what they read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from imgurfs import paths
from imgurfs.api.tokens import Token
from imgurfs.clock import Clock
from imgurfs.config import Config
from imgurfs.executor import Executor, ThreadLane
from imgurfs.metered import make_http_client
from imgurfs.paths import AccountPaths
from imgurfs.store.database import Database
from imgurfs.store.ledger import SqliteLedger
from imgurfs.store.schema import STATE_SCHEMA


def open_ledger(
    config: Config, name: str, *, token: Token, clock: Clock, executor: Executor
) -> SqliteLedger:
    """Open the machine's budget for one account.

    What counts per machine is counted per API as well: an emulator's limits are not
    Imgur's.
    """
    return SqliteLedger.open(
        paths.account_paths(name).budget_db,
        machine_key=config.account_named(name).api_url,
        client_id=token.client_id,
        account_key=str(token.account_id),
        clock=clock,
        executor=executor,
        uploads_per_hour=config.budget.uploads_per_hour,
    )


def open_state(account_paths: AccountPaths, executor: Executor) -> Database:
    """Open state.db. Blocks while another process migrates it."""
    return Database.open(
        account_paths.state_db,
        schema=STATE_SCHEMA,
        executor=executor,
        lane=ThreadLane.WRITER,
    )


@asynccontextmanager
async def open_door(
    config: Config,
    name: str,
    client_id: str,
    *,
    clock: Clock,
    executor: Executor,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """Open the way to Imgur for somebody who is not known yet."""
    settings = config.account_named(name)
    nobody = Token("", "", client_id, "", 0, "", 0)
    ledger = open_ledger(config, name, token=nobody, clock=clock, executor=executor)
    try:
        async with make_http_client(
            ledger=ledger,
            clock=clock,
            api_url=settings.api_url,
            cdn_hosts=settings.content_hosts,
            transport=transport,
        ) as http:
            yield http
    finally:
        ledger.close()
