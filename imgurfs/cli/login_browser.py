"""``imgurfs login`` with a browser, and ``--paste`` with a browser somewhere else.

Imgur's page sends the browser to the application's registered address with the tokens
behind the ``#``. ``by_browser`` waits there (``callback``); ``by_paste`` lets a person
carry the address over.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from imgurfs.cli.login_common import tell
from imgurfs.cli.words import span

if TYPE_CHECKING:
    import httpx

    from imgurfs.api.authorize import Answer
    from imgurfs.api.tokens import Token
    from imgurfs.cli.login_common import Application
    from imgurfs.clock import Clock
    from imgurfs.executor import Executor

_OPENER = "xdg-open"
_OPENER_TIMEOUT_S = 10.0
_DEAD = (
    'If the page says "Error (1024)", Imgur\'s login page is out of service, as it\n'
    "has been since mid-2025: press Ctrl-C. A refresh token of an earlier login\n"
    "still works; hand it over with 'imgurfs login --refresh-token-stdin'."
)


async def by_browser(
    asked: Application, *, port: int, timeout_s: float, is_opened: bool
) -> Token:
    """Let a person log in with a browser of this machine, and keep what comes.

    Raises LoginNeededError for a refusal, DeadlineError when nothing comes,
    UnavailableError when the port is taken.
    """
    import trio

    from imgurfs.api.authorize import authorize_url, read_answer
    from imgurfs.cli.callback import Callback
    from imgurfs.clock import SystemClock
    from imgurfs.executor import ThreadExecutor, ThreadLane
    from imgurfs.opening import open_door

    clock, executor = SystemClock(), ThreadExecutor()
    state = secrets.token_urlsafe(24)
    kept: list[Token] = []
    async with open_door(
        asked.config, asked.account, asked.client_id, clock=clock, executor=executor
    ) as http:

        async def keep(answer: Answer) -> str:
            kept.append(
                await _keep(asked, answer, http=http, clock=clock, executor=executor)
            )
            return f"Logged in as {kept[0].account_name}. You can close this tab."

        url = authorize_url(
            api_url=asked.settings.api_url, client_id=asked.client_id, state=state
        )
        callback = Callback(
            authorize_url=url,
            judge=lambda text: read_answer(text, state=state),
            keep=keep,
            on_foreign=lambda why: tell(f"Something came from the browser: {why}."),
        )
        await callback.listen(port)
        is_opened = is_opened and _has_desktop(os.environ)
        tell(_instructions(url, callback.port, timeout_s, is_opened=is_opened))
        async with trio.open_nursery() as nursery:
            if is_opened:
                nursery.start_soon(
                    executor.run, ThreadLane.DISK, _open, callback.start_url
                )
            await callback.run(timeout_s)
    return kept[0]


async def by_paste(asked: Application) -> Token:
    """Let a person log in anywhere and paste the address the browser ended at.

    Raises ForeignAnswerError for what is no answer, LoginNeededError for a refusal.
    """
    from imgurfs.api.authorize import authorize_url, read_answer
    from imgurfs.clock import SystemClock
    from imgurfs.executor import ThreadExecutor
    from imgurfs.opening import open_door

    clock, executor = SystemClock(), ThreadExecutor()
    state = secrets.token_urlsafe(24)
    url = authorize_url(
        api_url=asked.settings.api_url, client_id=asked.client_id, state=state
    )
    tell(
        f"Open this address in a browser and log in:\n\n  {url}\n\n"
        "The browser ends at an address with access_token in it; the page there may\n"
        f"be an error. Copy the whole address and paste it here.\n{_DEAD}"
    )
    # A person carries it over: what has no state at all is their own doing.
    answer = read_answer(_read_pasted(), state=state, is_state_needed=False)
    async with open_door(
        asked.config, asked.account, asked.client_id, clock=clock, executor=executor
    ) as http:
        return await _keep(asked, answer, http=http, clock=clock, executor=executor)


async def _keep(
    asked: Application,
    answer: Answer,
    *,
    http: httpx.AsyncClient,
    clock: Clock,
    executor: Executor,
) -> Token:
    """Ask Imgur whose the token is, and keep it.

    Raises LoginNeededError when Imgur does not know it, AccountMismatchError.
    """
    from imgurfs.api.tokens import Token
    from imgurfs.logins import keep_token, proven

    token = Token(
        access_token=answer.access_token,
        refresh_token=answer.refresh_token,
        client_id=asked.client_id,
        client_secret=asked.client_secret,
        account_id=answer.account_id,
        account_name=answer.account_name,
        expires_at=clock.now() + answer.expires_in_s,
    )
    token = await proven(token, http=http, api_url=asked.settings.api_url, clock=clock)
    return await keep_token(asked.config, asked.account, token, executor=executor)


def _read_pasted() -> str:
    """Return what was pasted; on a terminal it is not shown, and in no history."""
    from imgurfs.api.authorize import ANSWER_CHARS_MAX

    if sys.stdin.isatty():
        import getpass

        return getpass.getpass("Address (not shown): ")
    return sys.stdin.read(ANSWER_CHARS_MAX + 1)


def _instructions(url: str, port: int, timeout_s: float, *, is_opened: bool) -> str:
    begin = (
        "Your browser opens Imgur's login page. If it does not, open this address:"
        if is_opened
        else "Open this address in a browser on this machine:"
    )
    return (
        f"{begin}\n\n  {url}\n\n"
        f"Waiting {span(timeout_s)} for it to come back to http://127.0.0.1:{port}/,\n"
        "which must be the application's registered redirect address; if that is\n"
        f"another one, use --port or --paste.\n{_DEAD}"
    )


def _has_desktop(environ: Mapping[str, str]) -> bool:
    """Whether there is anything to open an address with.

    Without a desktop xdg-open would start a browser in the terminal, which runs no
    scripts.
    """
    wanted = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return any(environ.get(name) for name in wanted) and bool(shutil.which(_OPENER))


def _open(url: str) -> None:
    """Hand an address to the desktop; a browser that stays in front is left alone."""
    program = shutil.which(_OPENER) or _OPENER
    try:
        started = subprocess.Popen(  # noqa: S603 - our own address, no shell
            [program, url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        code = started.wait(_OPENER_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return
    except OSError:
        code = 1
    if code:
        tell("No browser could be opened: use the address above.")
