"""Joins the objects one account needs; what the mount, the daemon and commands share.

No rule of its own: it knows which object takes which, and in what order they are
opened and closed. The composition roots (``cli``, ``demo``, ``imgurfs_daemon.cli``)
call it; nothing below imports it.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import httpx

from imgurfs import paths
from imgurfs.api.anonymous import AnonymousClient
from imgurfs.api.auth import Auth
from imgurfs.api.client import Client
from imgurfs.api.given import CLIENT_SECRET, REFRESH_TOKEN, given
from imgurfs.api.register import Entry, Register
from imgurfs.api.tokens import Token, TokenStore
from imgurfs.clock import Clock, SystemClock
from imgurfs.config import AccountConfig, Config
from imgurfs.drain import Drainer
from imgurfs.draining import Draining
from imgurfs.errors import LoginNeededError
from imgurfs.executor import Executor, ThreadExecutor, ThreadLane
from imgurfs.jobs import by_hand
from imgurfs.jobs.listings import Listings
from imgurfs.jobs.steps import Progress
from imgurfs.locks import FileLock
from imgurfs.logins import log_in
from imgurfs.marker import DEVICE_ID_BYTES
from imgurfs.metered import make_http_client
from imgurfs.model import Account
from imgurfs.opening import open_ledger, open_state
from imgurfs.paths import AccountPaths
from imgurfs.store import entries, meta, notices
from imgurfs.store.database import Connection, Database
from imgurfs.store.ledger import SqliteLedger
from imgurfs.store.outbox import Job
from imgurfs.tree.refresh import Refresher

log = logging.getLogger(__name__)


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
    """Open one account's state and the way to Imgur.

    Needs no network, but for the first login with a credential that the service manager
    handed over. Raises LoginNeededError (no token), AccountMismatchError (the state on
    disk belongs to another account), ConfigError, DatabaseError. ``transport`` replaces
    the socket below the budget, for tests.
    """
    clock = clock or SystemClock()
    executor = executor or ThreadExecutor()
    account_config = config.account_named(name)
    account_paths = paths.account_paths(name)
    store = TokenStore(account_paths.token)
    if not store.exists() and (given_token := given(REFRESH_TOKEN)):
        login = functools.partial(log_in, config, name, given_token)
        await login(clock=clock, executor=executor, transport=transport)
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
        register = await _open_register(token, db, account_paths, executor)
        auth, api = _join_api(
            store, http, account_config, register, clock=clock, executor=executor
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
    settings: AccountConfig,
    register: Register | None,
    *,
    clock: Clock,
    executor: Executor,
) -> tuple[Auth, Client]:
    api_url = settings.api_url
    auth = Auth(
        store=store,
        http=http,
        api_url=api_url,
        clock=clock,
        executor=executor,
        client_secret=settings.client_secret or given(CLIENT_SECRET),
    )
    if register is not None:
        return auth, AnonymousClient(
            register=register,
            http=http,
            api_url=api_url,
            auth=auth,
            clock=clock,
            executor=executor,
        )
    api = Client(http=http, api_url=api_url, auth=auth, clock=clock, executor=executor)
    return auth, api


async def _open_register(
    token: Token, db: Database, account_paths: AccountPaths, executor: Executor
) -> Register | None:
    """Open the anonymous uploads, and add what only the state knows of.

    A crash or a full disk came between the two, or the file was lost. None for an
    account. Raises ConfigError.
    """
    if not token.is_anonymous:
        return None
    register = Register(account_paths.register)
    await executor.run(ThreadLane.DISK, register.reload)
    lost = unregistered(db.reader, register)
    try:
        await executor.run(ThreadLane.DISK, lambda: register.put(*lost))
    except OSError as error:
        log.error(  # noqa: TRY400 - a full disk is no bug
            "%s is not up to date: %s", register.path, error.strerror
        )
    return register


def unregistered(c: Connection, register: Register) -> list[Entry]:
    """Return the images and albums of a state that the register does not know."""
    images, albums = entries.account_images(c), entries.account_albums(c)
    found: list[Entry] = []
    for inode in (*images.values(), *albums.values()):
        node = entries.node(c, inode)
        if node is not None and node.image is not None:
            found.append(Entry(image=node.image))
        elif node is not None and node.album is not None:
            album = replace(node.album, images_count=-1, cover="")
            found.append(Entry(album=album))
    return [one for one in found if one.thing and not register.has(one.thing.id)]


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
        on_settled=_clearing(services, on_settled),
        may_send=may_send,
        rng=rng,
    )


def _clearing(
    services: Services, on_settled: Callable[[Job], None] | None
) -> Callable[[Job], None]:
    """Return what is called when a job is over: its copy is not needed any more."""

    def settled(job: Job) -> None:
        try:
            by_hand.settled(services.db.reader, services.paths.outgoing_dir, job)
        except OSError as error:
            log.warning("a copy that was uploaded stays: %s", error)
        if on_settled is not None:
            on_settled(job)

    return settled


def make_draining(
    services: Services,
    refresher: Refresher,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> Draining:
    """Build a share in sending, for as long as no daemon does.

    Of a mount, which reads listings by its refresher, or of a command.
    """
    listings = Listings(
        db=services.db, api=services.api, refresher=refresher, clock=services.clock
    )
    return Draining(
        make=lambda may_send: make_drainer(
            services, listings, may_send=may_send, on_progress=on_progress
        ),
        db=services.db,
        daemon_lock=services.paths.daemon_lock,
        token=services.paths.token,
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
