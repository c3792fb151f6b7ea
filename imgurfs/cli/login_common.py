"""What all ways of logging in share: whose application it is, and what is left to do.

Not a command. ``login`` chooses the way, ``login_browser`` and ``login_token`` are the
ways; ``imgurfs.logins`` stores what they got.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from imgurfs.errors import (
    AlreadyRunningError,
    ConfigError,
    ImgurfsError,
    LoginNeededError,
    UnavailableError,
)

if TYPE_CHECKING:
    from imgurfs.api.tokens import Token
    from imgurfs.cli.context import Context
    from imgurfs.config import AccountConfig, Config

#: What everybody who lacks something should know.
STILL_WORKS = (
    "Imgur has registered no new applications since mid-2025; one that was registered"
    " before still works"
)


@dataclass(frozen=True, slots=True, repr=False)
class Application:
    """The application that is to be let in, and the account of the configuration.

    ``client_secret`` is "" when nobody knows it: then the login cannot be renewed.
    """

    config: Config
    account: str
    settings: AccountConfig
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"<Application {self.client_id} for {self.account!r}>"


@contextmanager
def alone(context: Context) -> Iterator[None]:
    """Keep other logins and logouts of the account away; a second one is refused.

    Raises ConfigError for an account that is not in the configuration,
    AlreadyRunningError, UnavailableError.
    """
    from imgurfs import paths
    from imgurfs.locks import FileLock

    context.load_config().account_named(context.account)
    lock = FileLock(paths.account_paths(context.account).login_lock)
    try:
        lock.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_ours = lock.acquire_nowait()
    except OSError as error:
        raise UnavailableError(f"{lock.path}: {error.strerror}") from error
    if not is_ours:
        raise AlreadyRunningError(
            f"somebody is logging in already (process {lock.holder() or '?'})",
            hint="end that login first, or finish it",
        )
    with lock:
        yield


def application(context: Context, client_id: str) -> Application:
    """Return the application by option, configuration, credential and last login.

    Raises LoginNeededError without a client id, ConfigError for one that contradicts
    the configuration.
    """
    from imgurfs.api.given import CLIENT_SECRET, given

    config = context.load_config()
    settings = config.account_named(context.account)
    if client_id and settings.client_id and client_id != settings.client_id:
        raise ConfigError(
            "--client-id is not the client_id of the configuration",
            hint="change it there: 'imgurfs config path' says in which file",
        )
    before = _before(context)
    client_id = client_id or settings.client_id or (before.client_id if before else "")
    if not client_id:
        raise LoginNeededError(
            f"there is no client_id. {STILL_WORKS}",
            hint="put client_id and client_secret under [account]; 'imgurfs config"
            " path' says in which file",
        )
    known = before.client_secret if before and before.client_id == client_id else ""
    secret = settings.client_secret or given(CLIENT_SECRET) or known
    return Application(config, context.account, settings, client_id, secret)


def _before(context: Context) -> Token | None:
    """Return what the last login left, if it can be read; a new one mends the rest."""
    from imgurfs import paths
    from imgurfs.api.tokens import TokenStore

    try:
        return TokenStore(paths.account_paths(context.account).token).read()
    except ImgurfsError:
        return None


def with_asked_secret(asking: Application) -> Application:
    """Ask for the client secret when it is not known and somebody can answer."""
    if asking.client_secret or not sys.stdin.isatty():
        return asking
    secret = click.prompt(
        "Client secret of the application (not shown; Enter if you do not have it)",
        default="",
        hide_input=True,
        show_default=False,
        err=True,
    )
    return replace(asking, client_secret=secret.strip())


def tell(text: str) -> None:
    """Say something to the person who logs in; results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def finish(context: Context, asked: Application, token: Token) -> None:
    """Say who is logged in, and take the secret out of the configuration."""
    from imgurfs.cli.words import moment

    print(f"logged in as {token.account_name} (account {token.account_id})")
    missing = [
        what
        for what, value in (
            ("refresh token", token.refresh_token),
            ("client secret", token.client_secret),
        )
        if not value
    ]
    if missing:
        tell(
            f"There is no {' and no '.join(missing)}: the login ends with its access"
            f" token ({moment(token.expires_at)}) or when Imgur ends that earlier."
        )
    if missing == ["client secret"]:
        tell("Put client_secret under [account] before then, and it is renewed.")
    if not asked.settings.client_secret or not token.client_secret:
        return
    if context.config_file is None:
        _move_secret(context)
    else:
        # A file that is named may serve other machines, which still need the secret.
        tell(f"{context.config_file} needs no client_secret any more.")


def _move_secret(context: Context) -> None:
    """Take client_secret out of the configuration file: it is with the token now."""
    from imgurfs.cli.config_file import editing

    try:
        with editing(context.config_file) as edit:
            edit.remove_client_secret(context.account)
    except ImgurfsError as error:
        tell(f"client_secret stays in the configuration as well: {error.message}")
    else:
        tell("client_secret was moved from the configuration to where the token is.")
