"""What the doctor looks at of the login, and what it asks Imgur: one question.

Not a command; used by ``doctor``. Only what has to be changed is: a token that Imgur
does not take any more is renewed, as anybody would do who needs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from imgurfs import limits, paths
from imgurfs.cli.context import run_trio
from imgurfs.cli.doctor_files import readable_config
from imgurfs.cli.doctor_run import Finding
from imgurfs.cli.words import moment, span

if TYPE_CHECKING:
    import httpx
    import trio

    from imgurfs.api.tokens import Token
    from imgurfs.cli.context import Context
    from imgurfs.clock import Clock
    from imgurfs.config import AccountConfig, Config

_LOGIN = "imgurfs login"
_PUT = "put client_id and client_secret under [account]: imgurfs config path"


def token(context: Context, clock: Clock) -> Iterator[Finding]:
    """Look at the token: there, private, ours, renewable."""
    from imgurfs.api.tokens import TokenStore

    places = paths.account_paths(context.account)
    found = TokenStore(places.token).load()
    settings = readable_config(context)
    account = None
    if settings is not None and context.account in ("default", *settings.accounts):
        account = settings.account_named(context.account)
    other = _owner_of_state(context)
    if other is not None and other[0] != found.account_id:
        what = (
            f"the token belongs to {found.account_name!r},"
            f" the state on disk to {other[1]!r}"
        )
        fix = f"log in as {other[1]!r} ({_LOGIN}), or use another --account"
        yield Finding("token", "problem", what, fix)
    elif account and account.client_id and account.client_id != found.client_id:
        what = "the configured client_id is not the one of the login"
        fix = f"{_LOGIN}, or put {found.client_id} back into the configuration"
        yield Finding("token", "problem", what, fix)
    elif found.is_anonymous:
        yield Finding("token", "ok", "uploads without an account")
    else:
        yield _renewable(found, account, clock)


def _owner_of_state(context: Context) -> tuple[int, str] | None:
    """Return number and name of the account that the state belongs to."""
    from imgurfs.errors import DatabaseError
    from imgurfs.store import meta
    from imgurfs.store.database import reading
    from imgurfs.store.schema import STATE_SCHEMA

    path = paths.account_paths(context.account).state_db
    if not path.exists():
        return None
    try:
        with reading(path, STATE_SCHEMA) as c:
            owner = meta.account_of(c)
    except DatabaseError:
        return None  # the check of the databases says so
    return (owner.id, owner.url) if owner is not None else None


def _renewable(found: Token, account: AccountConfig | None, clock: Clock) -> Finding:
    from imgurfs.api.given import CLIENT_SECRET, given

    secret = found.client_secret or given(CLIENT_SECRET)
    if account is not None:
        secret = account.client_secret or secret
    who = f"logged in as {found.account_name!r}"
    if secret and found.refresh_token:
        return Finding("token", "ok", who)
    lacks = "client secret" if found.refresh_token else "refresh token"
    fix = _PUT if found.refresh_token else _LOGIN
    if found.expires_at <= clock.now():
        what = f"the login has ended, and without a {lacks} it cannot be renewed"
        return Finding("token", "problem", what, fix)
    what = f"{who} until {moment(found.expires_at)}; no {lacks} to renew it"
    return Finding("token", "warning", what, fix)


# --- Asking Imgur --------------------------------------------------------------


def imgur(context: Context, clock: Clock) -> list[Finding]:
    """Ask Imgur for the limits, which is free, and compare the clocks."""
    from imgurfs.errors import ImgurfsError, LoginNeededError, RemoteError

    settings = context.load_config()
    dates: list[str] = []
    try:
        found = run_trio(_ask, settings, context.account, dates)
    except LoginNeededError as error:
        found = [Finding("imgur", "problem", error.message, error.hint or _LOGIN)]
    except RemoteError as error:
        fix = error.hint or "is there a network? What waits is sent when Imgur answers"
        found = [Finding("imgur", "warning", error.message, fix)]
    except ImgurfsError as error:
        found = [Finding("imgur", "problem", error.message, error.hint)]
    return found + compare_clocks(dates[0] if dates else "", now=clock.now())


async def _ask(settings: Config, name: str, dates: list[str]) -> list[Finding]:
    import trio

    from imgurfs.assembly import open_account

    with trio.move_on_after(limits.DOCTOR_CHECK_S) as scope:
        transport = _dated(dates, scope)
        async with open_account(settings, name, transport=transport) as services:
            left = await services.api.credits()
            await services.ledger.record_credits(left)
            what = f"Imgur answers; {left.user_remaining} credits are left"
            return [Finding("imgur", "ok", what)]
    what = f"Imgur did not answer within {limits.DOCTOR_CHECK_S:.0f} s"
    return [Finding("imgur", "warning", what, "is the network slow? Try again")]


def _dated(dates: list[str], scope: trio.CancelScope) -> httpx.AsyncBaseTransport:
    """Return a way to Imgur that writes down what date it says it is.

    It lets a renewal of the token take its time: Imgur may have ended the old one.
    """
    import httpx

    class Dated(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                scope.deadline = math.inf
            response = await super().handle_async_request(request)
            dates.extend(response.headers.get_list("date"))
            return response

    return Dated(trust_env=False)


def compare_clocks(date: str, *, now: float) -> list[Finding]:
    """Compare the ``Date`` of an answer with our clock; "" was no answer."""
    try:
        ahead_s = now - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return []
    off_s = abs(ahead_s)
    if off_s <= limits.CLOCK_SKEW_WARN_S:
        return [Finding("clock", "ok", "the clock agrees with Imgur's")]
    way = "ahead of" if ahead_s > 0 else "behind"
    return [
        Finding(
            "clock",
            "problem" if off_s > limits.CLOCK_SKEW_S else "warning",
            f"this machine's clock is {span(off_s)} {way} Imgur's",
            "sudo timedatectl set-ntp true",
        )
    ]
