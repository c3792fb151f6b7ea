"""``POST /oauth2/token``: the refresh grant.

Its answer is not wrapped in the usual envelope. The refresh token stays the same and
earlier access tokens stay valid, as observed (docs/EMULATOR.md, quirks to come).
"""

from __future__ import annotations

from imgurfs.emulator.call import Call
from imgurfs.emulator.context import Context
from imgurfs.emulator.errors import ApiError
from imgurfs.emulator.wire import Reply, dumps


async def token(context: Context, call: Call) -> Reply:
    """Return a new access token for a refresh token of this client."""
    world = context.world
    client_id = call.get("client_id") or ""
    if call.get("grant_type") != "refresh_token":
        raise ApiError(400, "Invalid grant_type parameter or parameter missing")
    if not client_id or world.clients.get(client_id) != call.get("client_secret"):
        raise ApiError(400, "The client credentials are invalid")
    refresh_token = call.get("refresh_token")
    if not refresh_token:
        raise ApiError(400, "Invalid refresh token")
    account_url, owner = world.refresh_tokens.get(refresh_token, ("", ""))
    account = world.account(account_url)
    if account is None or owner != client_id:
        raise ApiError(400, "Refresh token doesn't exist or is invalid for the client")
    lifetime_s = context.config.token_lifetime_s
    access = world.new_access_token(
        account=account.url,
        client_id=client_id,
        expires_at=context.clock.now() + lifetime_s,
    )
    answer = {
        "access_token": access.text,
        "expires_in": lifetime_s,
        "token_type": "bearer",
        "scope": None,
        "refresh_token": refresh_token,
        "account_id": account.id,
        "account_username": account.url,
    }
    return Reply(200, dumps(answer, context.dialect))
