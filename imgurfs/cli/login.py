"""``imgurfs login``: take an account's refresh token, prove it works, keep it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.errors import LoginNeededError, OutageError, UsageError

if TYPE_CHECKING:
    from imgurfs.api.auth import Token

#: A refresh token is 40 characters; whatever is longer than this is a wrong paste.
_TOKEN_CHARS_MAX = 1024


@click.command(short_help="Store the token of an account.")
@click.option("--client-id", default="", help="The application's client id.")
@click.option(
    "--refresh-token-stdin",
    is_flag=True,
    help="Read a refresh token from standard input (never from the command line).",
)
@pass_context
def login(context: Context, client_id: str, refresh_token_stdin: bool) -> None:
    """Exchange a refresh token for an access token and keep both, readable by you only.

    The client id and secret come from the configuration file.
    """
    if not refresh_token_stdin:
        raise UsageError(
            "say where the refresh token comes from",
            hint='echo "$REFRESH_TOKEN" | imgurfs login --refresh-token-stdin',
        )
    text = sys.stdin.read(_TOKEN_CHARS_MAX + 1).strip()
    if (
        not text
        or len(text) > _TOKEN_CHARS_MAX
        or not text.isprintable()
        or " " in text
    ):
        raise UsageError("standard input does not hold a refresh token")
    token = run_trio(_login, context, client_id, text)
    print(f"logged in as {token.account_name} (account {token.account_id})")


async def _login(context: Context, client_id: str, refresh_token: str) -> Token:
    from imgurfs import assembly, paths
    from imgurfs.api.auth import Token, TokenStore, exchange_refresh_token
    from imgurfs.clock import SystemClock
    from imgurfs.executor import ThreadExecutor
    from imgurfs.metered import make_http_client

    config = context.load_config()
    account = config.account_named(context.account)
    client_id = client_id or account.client_id
    if not client_id or not account.client_secret:
        raise LoginNeededError(
            "the configuration has no client_id and client_secret",
            hint="put them under [account]; 'imgurfs config path' says in which file",
        )
    places = paths.account_paths(context.account)
    clock = SystemClock()
    nobody = Token(
        access_token="",
        refresh_token="",
        client_id=client_id,
        client_secret="",
        account_id=0,
        account_name="",
        expires_at=0,
    )
    ledger = assembly.open_ledger(
        config, context.account, token=nobody, clock=clock, executor=ThreadExecutor()
    )
    try:
        async with make_http_client(
            ledger=ledger,
            clock=clock,
            api_url=account.api_url,
            cdn_hosts=account.content_hosts,
        ) as http:
            token = await exchange_refresh_token(
                http=http,
                api_url=account.api_url,
                client_id=client_id,
                client_secret=account.client_secret,
                refresh_token=refresh_token,
                clock=clock,
            )
    finally:
        ledger.close()
    if not token.account_id:
        raise OutageError("Imgur did not say whose token this is; nothing was stored")
    assembly.bind_state(places, token)
    TokenStore(places.token).save(token)
    return token
