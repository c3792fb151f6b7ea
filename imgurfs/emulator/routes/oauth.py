"""``/oauth2/token`` and ``/oauth2/secret``: tokens for what a login left.

Answers of the token endpoint are not wrapped in the usual envelope. The page where one
logs in is in ``login``.
"""

from __future__ import annotations

from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.call import Call
from imgurfs.emulator.rules.errors import ApiError
from imgurfs.emulator.rules.wire import Json, Reply, dumps
from imgurfs.emulator.world.world import Account


async def token(context: Context, call: Call) -> Reply:
    """Return a new access token for a refresh token, a code or a PIN of this client."""
    client_id = call.get("client_id") or ""
    grant_type = call.get("grant_type")
    if grant_type not in ("refresh_token", "authorization_code", "pin"):
        raise ApiError(400, "Invalid grant_type parameter or parameter missing")
    known = context.world.clients
    if not client_id or known.get(client_id) != call.get("client_secret"):
        raise ApiError(400, "The client credentials are invalid")
    if grant_type == "refresh_token":
        answer = _refresh(context, call, client_id)
    else:
        account = _redeem(context, call, kind=grant_type, client_id=client_id)
        answer = log_in(context, account, client_id)
    return Reply(200, dumps(answer, context.dialect))


def _refresh(context: Context, call: Call, client_id: str) -> Json:
    world = context.world
    old = call.get("refresh_token")
    if not old:
        raise ApiError(400, "Invalid refresh token")
    account_url, owner = world.refresh_tokens.get(old, ("", ""))
    account = world.account(account_url)
    if account is None or owner != client_id:
        raise ApiError(400, "Refresh token doesn't exist or is invalid for the client")
    quirk = context.config.quirks.refresh_token
    new = old
    if quirk != "same":
        new = world.new_refresh_token(account=account.url, client_id=client_id)
    if quirk == "rotated":
        del world.refresh_tokens[old]
    return _session(context, account, client_id, refresh_token=new)


def _redeem(context: Context, call: Call, *, kind: str, client_id: str) -> Account:
    """Use up a code or PIN. Raises ApiError 400 for one that is not good any more."""
    world = context.world
    field, refusal = {
        "authorization_code": ("code", "Invalid authorization code"),
        "pin": ("pin", "Invalid Pin"),
    }[kind]
    grant = world.grants.get(call.get(field) or "")
    if grant is None or (grant.kind, grant.client_id) != (kind, client_id):
        raise ApiError(400, refusal)
    del world.grants[grant.text]
    account = world.account(grant.account)
    if account is None or grant.expires_at <= context.clock.now():
        raise ApiError(400, refusal)
    return account


def log_in(context: Context, account: Account, client_id: str) -> Json:
    """Begin a session: new tokens of both kinds, as the token endpoint tells them.

    As observed, the access tokens of an earlier session of the same application end;
    the quirk ``second_login`` lets them live.
    """
    world = context.world
    if context.config.quirks.second_login == "revokes":
        world.revoke_access_tokens(account=account.url, client_id=client_id)
    refresh_token = world.new_refresh_token(account=account.url, client_id=client_id)
    return _session(context, account, client_id, refresh_token=refresh_token)


def _session(
    context: Context, account: Account, client_id: str, *, refresh_token: str
) -> Json:
    lifetime_s = context.config.token_lifetime_s
    access = context.world.new_access_token(
        account=account.url,
        client_id=client_id,
        expires_at=context.clock.now() + lifetime_s,
    )
    return {
        "access_token": access.text,
        "expires_in": lifetime_s,
        "token_type": "bearer",
        "scope": None,
        "refresh_token": refresh_token,
        "account_id": account.id,
        "account_username": account.url,
    }


async def secret(context: Context, call: Call) -> object:
    """Say whether the bearer token in the header is good. Raises ApiError 401."""
    context.require_account(call)
    return True
