"""``imgurfs login --refresh-token-stdin``: a token that another program got."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.api.tokens import Token
    from imgurfs.cli.login_common import Application

#: A refresh token is 40 characters; whatever is longer than this is a wrong paste.
_TOKEN_CHARS_MAX = 1024


def read_refresh_token() -> str:
    """Return what standard input holds. Raises UsageError."""
    if sys.stdin.isatty():
        import getpass

        text = getpass.getpass("Refresh token (not shown): ").strip()
    else:
        text = sys.stdin.read(_TOKEN_CHARS_MAX + 1).strip()
    is_word = text.isascii() and text.isprintable() and " " not in text
    if not text or len(text) > _TOKEN_CHARS_MAX or not is_word:
        raise UsageError("standard input does not hold a refresh token")
    return text


async def by_refresh_token(asked: Application, refresh_token: str) -> Token:
    """Exchange a refresh token and keep what comes.

    Raises LoginNeededError when it or the application is not accepted.
    """
    from imgurfs.clock import SystemClock
    from imgurfs.executor import ThreadExecutor
    from imgurfs.logins import log_in

    return await log_in(
        asked.config,
        asked.account,
        refresh_token,
        clock=SystemClock(),
        executor=ThreadExecutor(),
        client=(asked.client_id, asked.client_secret),
    )
