"""``imgurfs logout``: forget the token of an account; everything else stays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.errors import LoginNeededError, UsageError

if TYPE_CHECKING:
    from imgurfs.api.tokens import TokenStore


@click.command(short_help="Forget the token of an account.")
@click.option("--yes", is_flag=True, help="Do not ask, although something waits.")
@click.option(
    "--all",
    "is_all",
    is_flag=True,
    help="Forget the application's client secret as well.",
)
@pass_context
def logout(context: Context, yes: bool, is_all: bool) -> None:
    """Forget the token. A running mount or daemon stops sending.

    What waits to be sent stays, and is sent after the next login; pictures, cache and
    the application's client id and secret stay as well (--all forgets those).
    """
    from imgurfs import paths
    from imgurfs.api.tokens import TokenStore
    from imgurfs.cli.login_common import alone
    from imgurfs.cli.words import number

    context.load_config().account_named(context.account)
    store = TokenStore(paths.account_paths(context.account).token)
    if not store.exists() or (_is_logged_out(store) and not is_all):
        print("nobody is logged in")
        return
    waiting = _waiting(context)
    if waiting and not yes:
        _ask(f"{number(waiting, 'job waits', 'jobs wait')} to be sent")
    with alone(context):
        run_trio(_log_out, store, is_all)
    print("logged out")
    if waiting:
        print(f"{number(waiting, 'job')} will be sent after the next login")
    if store.exists():
        print("the application's client id and secret are kept (--all forgets them)")
    print(
        "Imgur still lists the application under https://imgur.com/account/settings/apps"
    )


def _is_logged_out(store: TokenStore) -> bool:
    try:
        return store.read().is_logged_out
    except LoginNeededError:
        # Damaged, or gone from the keyring: there is something to clear away.
        return False


async def _log_out(store: TokenStore, is_all: bool) -> None:
    from imgurfs.api.tokens import token_lock
    from imgurfs.executor import ThreadExecutor, ThreadLane

    async with token_lock(store):
        await ThreadExecutor().run(
            ThreadLane.DISK, store.log_out, forget_application=is_all
        )


def _waiting(context: Context) -> int:
    """Return how many jobs are not done; 0 when there is no state."""
    from imgurfs import paths
    from imgurfs.executor import InlineExecutor
    from imgurfs.opening import open_state
    from imgurfs.store import outbox_lists

    places = paths.account_paths(context.account)
    if not places.state_db.exists():
        return 0
    db = open_state(places, InlineExecutor())
    try:
        return outbox_lists.count(db.reader, states=outbox_lists.UNFINISHED)
    finally:
        db.close()


def _ask(what: str) -> None:
    """Raise unless the person means it."""
    if not sys.stdin.isatty():
        raise UsageError(what, hint="say --yes to log out all the same")
    click.confirm(f"{what}. Log out all the same?", abort=True, err=True)
