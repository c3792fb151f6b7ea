"""Joins the objects one account needs; what the mount, the daemon and commands share.

No rule of its own: it knows which object takes which, and in what order they are
opened and closed. The composition roots (``cli``, ``demo``, ``imgurfs_daemon.cli``)
call it; nothing below imports it.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from imgurfs import paths
from imgurfs.api.auth import Auth, Token, TokenStore
from imgurfs.api.client import Client
from imgurfs.clock import Clock, SystemClock
from imgurfs.config import AccountConfig, Config
from imgurfs.drain import Drainer
from imgurfs.draining import LOGIN_NOTICE, Draining
from imgurfs.errors import LoginNeededError
from imgurfs.executor import Executor, InlineExecutor, ThreadExecutor, ThreadLane
from imgurfs.jobs.listings import Listings
from imgurfs.jobs.steps import Progress
from imgurfs.locks import FileLock
from imgurfs.marker import DEVICE_ID_BYTES
from imgurfs.metered import make_http_client
from imgurfs.model import Account
from imgurfs.paths import AccountPaths
from imgurfs.store import meta, notices
from imgurfs.store.database import Database
from imgurfs.store.ledger import SqliteLedger
from imgurfs.store.outbox import Job
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.tree.refresh import Refresher


@dataclass(frozen=True, slots=True)
class Services:
    """Everything one account needs, open and joined."""

    config: Config
    account_config: AccountConfig
    account: Account
    paths: AccountPaths
    clock: Clock
    executor: Executor
    db: Database
    ledger: SqliteLedger
    http: httpx.AsyncClient
    auth: Auth
    api: Client


@asynccontextmanager
async def open_account(
    config: Config,
    name: str,
    *,
    clock: Clock | None = None,
    executor: Executor | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Services]:
    """Open one account's state and the way to Imgur; needs no network.

    Raises LoginNeededError (no token), AccountMismatchError (the state on disk belongs
    to another account), ConfigError, DatabaseError. ``transport`` replaces the socket
    below the budget, for tests.
    """
    clock = clock or SystemClock()
    executor = executor or ThreadExecutor()
    account_config = config.account_named(name)
    account_paths = paths.account_paths(name)
    store = TokenStore(account_paths.token)
    token = store.load()
    _check_client(account_config, token)
    account = Account(id=token.account_id, url=token.account_name)
    async with AsyncExitStack() as stack:
        db = open_state(account_paths, executor)
        stack.callback(db.close)
        if meta.account_of(db.reader) != account:
            await db.write(lambda c: meta.bind_account(c, account))
        ledger = open_ledger(config, name, token=token, clock=clock, executor=executor)
        stack.callback(ledger.close)
        await _tell_damage(db, account_paths)
        http = await stack.enter_async_context(
            make_http_client(
                ledger=ledger,
                clock=clock,
                api_url=account_config.api_url,
                cdn_hosts=account_config.content_hosts,
                transport=transport,
            )
        )
        auth, api = _join_api(
            store, http, account_config.api_url, clock=clock, executor=executor
        )
        yield Services(
            config=config,
            account_config=account_config,
            account=account,
            paths=account_paths,
            clock=clock,
            executor=executor,
            db=db,
            ledger=ledger,
            http=http,
            auth=auth,
            api=api,
        )


def _join_api(
    store: TokenStore,
    http: httpx.AsyncClient,
    api_url: str,
    *,
    clock: Clock,
    executor: Executor,
) -> tuple[Auth, Client]:
    auth = Auth(store=store, http=http, api_url=api_url, clock=clock, executor=executor)
    api = Client(http=http, api_url=api_url, auth=auth, clock=clock, executor=executor)
    return auth, api


def make_drainer(
    services: Services,
    account: Listings,
    *,
    clock: Clock | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_settled: Callable[[Job], None] | None = None,
    may_send: Callable[[], bool] = lambda: True,
    rng: random.Random | None = None,
) -> Drainer:
    """Build what sends the account's outbox; ``account`` reads its listings.

    Blocks for a moment when this machine has no id yet.
    """
    return Drainer(
        db=services.db,
        api=services.api,
        ledger=services.ledger,
        account=account,
        clock=clock or services.clock,
        executor=services.executor,
        device_id=device_id(services.paths),
        lock=FileLock(services.paths.drain_lock),
        spool_dir=services.paths.spool_dir,
        cache_dir=services.paths.content_dir,
        delete_grace_s=services.config.sync.delete_grace_s,
        is_name_title=services.config.mount.rename == "title",
        names=services.account_config.names,
        quarantine_s=services.config.sync.quarantine_s,
        is_guarded=services.config.sync.guard,
        on_progress=on_progress,
        on_settled=on_settled,
        may_send=may_send,
        rng=rng,
    )


def make_draining(services: Services, refresher: Refresher) -> Draining:
    """Build a mount's share in sending; it reads listings by the mount's refresher."""
    listings = Listings(
        db=services.db, api=services.api, refresher=refresher, clock=services.clock
    )
    return Draining(
        make=lambda may_send: make_drainer(services, listings, may_send=may_send),
        db=services.db,
        daemon_lock=services.paths.daemon_lock,
        token=services.paths.token,
    )


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


async def _tell_damage(db: Database, account_paths: AccountPaths) -> None:
    """Say which damaged databases were saved aside, as long as they are there."""
    saved = [
        file
        for path in (account_paths.state_db, account_paths.budget_db)
        for file in sorted(path.parent.glob(f"{path.name}.damaged-*"))
        if not file.name.endswith(("-wal", "-shm"))
    ]
    text = (
        "a database was damaged and replaced by a new one; what was in it is learned"
        f" again from Imgur. Delete when not needed: {', '.join(map(str, saved))}"
    )
    told = notices.everything(db.reader).get("damaged")
    if saved and told != text:
        await db.write(lambda c: notices.put(c, "damaged", text))
    elif not saved and told is not None:
        await db.write(lambda c: notices.drop(c, "damaged"))


def bind_state(account_paths: AccountPaths, token: Token) -> None:
    """Tie the state on disk to the token's account.

    Raises AccountMismatchError when it belongs to another one already.
    """
    account = Account(id=token.account_id, url=token.account_name)
    db = open_state(account_paths, InlineExecutor())
    try:
        db.write_blocking(lambda c: meta.bind_account(c, account))
        db.write_blocking(lambda c: notices.drop(c, LOGIN_NOTICE))
    finally:
        db.close()


def device_id(account_paths: AccountPaths) -> bytes:
    """Return this machine's random id, made on first use and durable from then on.

    A file of its own, so that losing state.db does not make this machine a stranger to
    its own uploads.
    """
    path = account_paths.device
    try:
        known = path.read_bytes()
    except FileNotFoundError:
        known = b""
    if len(known) == DEVICE_ID_BYTES:
        return known
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = secrets.token_bytes(DEVICE_ID_BYTES)
    temporary = path.with_name(f".device.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(fresh)
        file.flush()
        os.fsync(file.fileno())
    try:
        # link, not rename: of two processes that start at once, one wins.
        os.link(temporary, path)
    except FileExistsError:
        if known:
            temporary.replace(path)
            return fresh
        return path.read_bytes()
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)
    return fresh


def _sync_directory(path: os.PathLike[str]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_client(account_config: AccountConfig, token: Token) -> None:
    """Refuse a token that was issued to another application."""
    wanted = account_config.client_id
    if wanted and wanted != token.client_id:
        raise LoginNeededError(
            "the configured client_id is not the one this account logged in with",
            hint="run 'imgurfs login', or put the old client_id back",
        )
