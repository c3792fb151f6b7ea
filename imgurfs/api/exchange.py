"""What is asked of Imgur while somebody logs in: new tokens, and whose they are.

What it is not: it keeps nothing and repeats nothing. ``api.auth`` renews tokens with
it, the login commands get their first one. Every call ends within
``API_CALL_TIMEOUT_S``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import httpx
import trio

from imgurfs import limits
from imgurfs.api import parse, refusals, wire
from imgurfs.api.tokens import LOGIN_HINT, Token
from imgurfs.clock import Clock
from imgurfs.errors import (
    ForbiddenError,
    LoginNeededError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    TokenRejectedError,
)
from imgurfs.model import Account, Lane

#: What Imgur's answer lacks counts as what it was when the answer was documented.
_LIFETIME_S = 3600


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    headers: httpx.Headers


async def exchange_refresh_token(
    *,
    http: httpx.AsyncClient,
    api_url: str,
    client_id: str,
    client_secret: str,
    refresh_token: str,
    clock: Clock,
) -> Token:
    """Ask Imgur for an access token; also the first login of a pasted refresh token.

    Raises LoginNeededError when Imgur says that the refresh token is not valid, and
    only then: every other failure leaves the token as good as it was. ``account_id``
    is 0 and ``account_name`` "" when the answer does not tell them.
    """
    request = wire.exchange(
        client_id=client_id, client_secret=client_secret, refresh_token=refresh_token
    )
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await _ask(http, api_url, request, form)
    now = clock.now()
    _check(request, answer, now=now, what="the refresh token")
    try:
        reply = parse.token(answer.body)
    except parse.Malformed as finding:
        raise OutageError(f"the token endpoint answered with {finding}") from None
    return Token(
        access_token=reply.access_token,
        refresh_token=reply.refresh_token or refresh_token,
        client_id=client_id,
        client_secret=client_secret,
        account_id=reply.account_id,
        account_name=reply.account_name,
        expires_at=now + (reply.expires_in_s or _LIFETIME_S),
    )


async def owner_of(
    *, http: httpx.AsyncClient, api_url: str, access_token: str, clock: Clock
) -> Account:
    """Ask Imgur whose access token this is. Costs a credit.

    Raises LoginNeededError when Imgur does not accept it.
    """
    request = wire.account(Lane.CONTROL)
    header = {"Authorization": f"Bearer {access_token}"}
    answer = await _ask(http, api_url, request, header)
    _check(request, answer, now=clock.now(), what="the access token")
    try:
        return parse.account(parse.data(answer.body))
    except parse.Malformed as finding:
        raise OutageError(f"Imgur answered with {finding}") from None


async def check_client_id(
    *, http: httpx.AsyncClient, api_url: str, client_id: str, clock: Clock
) -> None:
    """Ask Imgur something without an account, to see whether it knows the client id.

    Raises LoginNeededError when it does not.
    """
    request = wire.credit()
    header = {"Authorization": f"Client-ID {client_id}"}
    answer = await _ask(http, api_url, request, header)
    _check(request, answer, now=clock.now(), what="the client id")
    try:
        parse.credit(parse.data(answer.body), clock.now())
    except parse.Malformed as finding:
        raise OutageError(f"Imgur answered with {finding}") from None


async def with_owner(
    token: Token, *, http: httpx.AsyncClient, api_url: str, clock: Clock
) -> Token:
    """Return a token that says whose it is, asking when the login did not tell.

    Raises what :func:`owner_of` raises.
    """
    if token.account_id:
        return token
    owner = await owner_of(
        http=http, api_url=api_url, access_token=token.access_token, clock=clock
    )
    return replace(token, account_id=owner.id, account_name=owner.url)


async def _ask(
    http: httpx.AsyncClient,
    api_url: str,
    request: wire.Request,
    headers: dict[str, str],
) -> _Answer:
    try:
        with trio.fail_after(limits.API_CALL_TIMEOUT_S):
            return await _send(http, api_url, request, headers)
    except trio.TooSlowError:
        raise OutageError(
            f"no token within {limits.API_CALL_TIMEOUT_S:.0f} s"
        ) from None
    except OutcomeUnknownError as error:
        # Asking again is harmless: the refresh token stays valid.
        raise OutageError(error.message) from error


async def _send(
    http: httpx.AsyncClient,
    api_url: str,
    request: wire.Request,
    headers: dict[str, str],
) -> _Answer:
    async with http.stream(
        request.method,
        api_url.rstrip("/") + request.target,
        content=request.body,
        headers=headers,
        extensions={"imgurfs": request.cost},
    ) as response:
        try:
            body = await response.aread()
        except httpx.DecodingError as error:
            raise OutageError(f"{request.path}: {error}") from error
        return _Answer(response.status_code, body, response.headers)


def _check(request: wire.Request, answer: _Answer, *, now: float, what: str) -> None:
    """Raise what a refusal means for the login."""
    refused = refusals.refusal(
        request,
        status=answer.status,
        body=answer.body,
        headers=parse.rate_headers(answer.headers.multi_items(), now),
        now=now,
    )
    match refused:
        case None:
            pass
        case TokenRejectedError() | RejectedError() | ForbiddenError():
            raise LoginNeededError(
                f"Imgur does not accept {what}. {refused.message}", hint=LOGIN_HINT
            )
        case OutcomeUnknownError():
            raise OutageError(refused.message)
        case _:
            raise refused
