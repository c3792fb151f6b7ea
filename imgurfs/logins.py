"""Logging in and out, without the questions: what becomes of tokens, and in what order.

What it is not: it neither asks nor tells anybody anything (``cli.login`` does). Nothing
is stored before Imgur has said whose the token is, and whatever goes wrong, the token
that was there stays.
"""

from __future__ import annotations

from dataclasses import replace

import httpx

from imgurfs import paths
from imgurfs.api.exchange import exchange_refresh_token, owner_of, with_owner
from imgurfs.api.given import CLIENT_SECRET, given
from imgurfs.api.tokens import Token, TokenStore, token_lock
from imgurfs.clock import Clock
from imgurfs.config import Config
from imgurfs.draining import LOGIN_NOTICE
from imgurfs.errors import AccountMismatchError, LoginNeededError
from imgurfs.executor import Executor, InlineExecutor, ThreadLane
from imgurfs.model import ANONYMOUS, Account
from imgurfs.opening import open_door, open_state
from imgurfs.store import meta, notices


async def log_in(
    config: Config,
    name: str,
    refresh_token: str,
    *,
    clock: Clock,
    executor: Executor,
    transport: httpx.AsyncBaseTransport | None = None,
    client: tuple[str, str] | None = None,
) -> Token:
    """Get the first token for a refresh token, and keep it.

    ``client`` is id and secret of the application, by default what the configuration
    and the service manager say. Raises LoginNeededError when something is missing or
    Imgur does not accept it, AccountMismatchError for another account than the state's.
    """
    settings = config.account_named(name)
    client_id, client_secret = client or (
        settings.client_id,
        settings.client_secret or given(CLIENT_SECRET),
    )
    if not client_id or not client_secret:
        raise LoginNeededError(
            "a refresh token is of no use without client_id and client_secret",
            hint="put them under [account]; 'imgurfs config path' says in which file",
        )
    async with open_door(
        config, name, client_id, clock=clock, executor=executor, transport=transport
    ) as http:
        token = await exchange_refresh_token(
            http=http,
            api_url=settings.api_url,
            client_id=client_id,
            client_secret=client_secret,
            refresh_token=refresh_token,
            clock=clock,
        )
        token = await with_owner(
            token, http=http, api_url=settings.api_url, clock=clock
        )
    return await keep_token(config, name, token, executor=executor)


async def proven(
    token: Token, *, http: httpx.AsyncClient, api_url: str, clock: Clock
) -> Token:
    """Return a token that came by way of a browser, with whose it is by Imgur's word.

    Another login with the same application, in a second tab say, ends its access token
    at once (docs/IMGUR.md, Tokens): then it is renewed, if that is possible. Raises
    LoginNeededError when Imgur does not accept it, AccountMismatchError when it is not
    whose the browser said.
    """
    said, name = token.account_id, token.account_name
    try:
        owner = await owner_of(
            http=http, api_url=api_url, access_token=token.access_token, clock=clock
        )
    except LoginNeededError:
        if not token.refresh_token or not token.client_secret:
            raise
        token = await exchange_refresh_token(
            http=http,
            api_url=api_url,
            client_id=token.client_id,
            client_secret=token.client_secret,
            refresh_token=token.refresh_token,
            clock=clock,
        )
        token = await with_owner(token, http=http, api_url=api_url, clock=clock)
    else:
        token = replace(token, account_id=owner.id, account_name=owner.url)
    if said not in (0, token.account_id):
        raise AccountMismatchError(
            f"the token is not {name!r}'s, whom the browser named, but"
            f" {token.account_name!r}'s",
            hint="nothing was changed; log in again",
        )
    return token


async def keep_token(
    config: Config, name: str, token: Token, *, executor: Executor
) -> Token:
    """Store the token of a login, and tie the state on disk to its account.

    The old token stays whatever goes wrong. Raises AccountMismatchError when the state
    belongs to another account, ConfigError, DatabaseError.
    """
    places = paths.account_paths(name)
    account = Account(id=token.account_id, url=token.account_name)
    token = replace(token, kept_in=config.account_named(name).secrets)
    store = TokenStore(places.token)
    if account != ANONYMOUS and places.register.exists():
        raise AccountMismatchError(
            f"there are uploads without an account here ({places.register})",
            hint="give the account a section of its own in the configuration",
        )
    db = open_state(places, InlineExecutor())
    try:
        if meta.account_of(db.reader) is not None:
            db.write_blocking(lambda c: meta.bind_account(c, account))
        async with token_lock(store):
            await executor.run(ThreadLane.DISK, store.save, token)
        db.write_blocking(lambda c: meta.bind_account(c, account))
        db.write_blocking(lambda c: notices.drop(c, LOGIN_NOTICE))
    finally:
        db.close()
    return token
