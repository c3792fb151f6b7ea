"""``imgurfs login --anonymous``: no account, only an application's client id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgurfs.cli.login_common import tell

if TYPE_CHECKING:
    from imgurfs.api.tokens import Token
    from imgurfs.cli.login_common import Application


async def without_account(asked: Application) -> Token:
    """Prove that Imgur accepts the client id, and keep it as the login.

    Raises LoginNeededError when Imgur does not accept it, AccountMismatchError when
    the state belongs to an account.
    """
    from imgurfs.api.exchange import check_client_id
    from imgurfs.api.tokens import Token
    from imgurfs.clock import SystemClock
    from imgurfs.executor import ThreadExecutor
    from imgurfs.logins import keep_token
    from imgurfs.model import ANONYMOUS
    from imgurfs.opening import open_door

    clock, executor = SystemClock(), ThreadExecutor()
    async with open_door(
        asked.config, asked.account, asked.client_id, clock=clock, executor=executor
    ) as http:
        await check_client_id(
            http=http,
            api_url=asked.settings.api_url,
            client_id=asked.client_id,
            clock=clock,
        )
    token = Token("", "", asked.client_id, "", ANONYMOUS.id, ANONYMOUS.url, 0)
    return await keep_token(asked.config, asked.account, token, executor=executor)


def finish(asked: Application) -> None:
    """Say what that means, and where what must not be lost is."""
    from imgurfs import paths

    register = paths.account_paths(asked.account).register
    print("uploads are anonymous from now on: there is no account")
    tell(
        "Imgur lists no anonymous uploads and may delete them when it likes: keep your"
        f" originals. Back up {register}, which will hold the deletehashes: who has"
        " none can never change or delete an upload, and who has them can."
    )
