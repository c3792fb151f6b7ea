"""``imgurfs login``: get an account's token, prove that it works, keep it.

Each way of logging in is a module of its own; this one chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imgurfs import limits
from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.api.tokens import Token
    from imgurfs.cli.login_common import Application


@click.command(short_help="Log in to an account.")
@click.option("--client-id", default="", help="The application's client id.")
@click.option(
    "--paste",
    "is_pasted",
    is_flag=True,
    help="Paste the address the browser ended at, instead of waiting for it.",
)
@click.option(
    "--refresh-token-stdin",
    "is_token",
    is_flag=True,
    help="Read a refresh token from standard input (never from the command line).",
)
@click.option(
    "--anonymous",
    "is_anonymous",
    is_flag=True,
    help="Use no account: upload with the client id alone.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=limits.CALLBACK_PORT,
    show_default=True,
    metavar="N",
    help="Port of this machine that the application's redirect address names.",
)
@click.option(
    "--timeout",
    default="5m",
    show_default=True,
    metavar="TIME",
    help="How long to wait for the browser.",
)
@click.option("--no-browser", is_flag=True, help="Print the address, open nothing.")
@pass_context
def login(
    context: Context,
    *,
    client_id: str,
    is_pasted: bool,
    is_token: bool,
    is_anonymous: bool,
    port: int,
    timeout: str,
    no_browser: bool,
) -> None:
    """Log in, and keep the token readable by you only.

    A browser opens Imgur's page and comes back to this machine. For that the redirect
    address of your application must be http://127.0.0.1:8723/ (or another port, with
    --port); if it is anything else, use --paste.

    You need the client id of an application, best in the configuration. Imgur has
    registered no new applications since mid-2025, and its login page has been seen to
    answer "Error (1024)" ever since. Applications that exist still work, and so do the
    refresh tokens they were given: --refresh-token-stdin takes one, and needs the
    application's client_secret as well.

    Without an account (--anonymous) the client id is enough. What you upload so is
    listed nowhere: only this machine knows it, and the deletehashes that change and
    delete it. Exactly what is recorded here is shown in the mount and synced.

    Exit codes: 77 refused, 75 no answer or no network, 78 another account's state.
    """
    from imgurfs.cli import login_anonymous, login_common, login_token
    from imgurfs.cli.words import parse_duration

    if is_pasted + is_token + is_anonymous > 1:
        raise UsageError(
            "--paste, --refresh-token-stdin and --anonymous are different ways:"
            " choose one"
        )
    timeout_s = parse_duration(timeout)
    with login_common.alone(context):
        if is_anonymous:
            asked = login_common.application(context, client_id)
            run_trio(login_anonymous.without_account, asked)
            login_anonymous.finish(asked)
            return
        if is_token:
            refresh_token = login_token.read_refresh_token()
            asked = login_common.application(context, client_id)
            token = run_trio(login_token.by_refresh_token, asked, refresh_token)
        else:
            asked = login_common.application(context, client_id)
            asked = login_common.with_asked_secret(asked)
            token = run_trio(
                _by_address, asked, is_pasted, port, timeout_s, not no_browser
            )
        login_common.finish(context, asked, token)


async def _by_address(
    asked: Application, is_pasted: bool, port: int, timeout_s: float, is_opened: bool
) -> Token:
    from imgurfs.cli import login_browser

    if is_pasted:
        return await login_browser.by_paste(asked)
    return await login_browser.by_browser(
        asked, port=port, timeout_s=timeout_s, is_opened=is_opened
    )
