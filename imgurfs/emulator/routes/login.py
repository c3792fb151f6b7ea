"""``/oauth2/authorize``: the page where somebody lets an application in.

A plain form: name and password, allow or deny. What it leaves behind (tokens in the
fragment of a redirect, a code, a PIN) is what Imgur leaves; how the page looks is not.
"""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import urlencode

from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.call import Call
from imgurfs.emulator.routes import oauth
from imgurfs.emulator.rules.errors import ApiError
from imgurfs.emulator.rules.wire import Reply, error_reply
from imgurfs.emulator.world.world import Account

#: How long a code or PIN waits to be exchanged, in seconds.
GRANT_LIFETIME_S: Final = 600
#: Where who asks for a new application is sent.
HOME: Final = "https://imgur.com/"
_KINDS: Final = {"token": "token", "code": "authorization_code", "pin": "pin"}
_PAGE: Final = """<!doctype html><html><head><meta charset="utf-8">\
<title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>"""
_FORM: Final = """<form method="post">{hidden}\
<label>Username <input name="username"></label>\
<label>Password <input name="password" type="password"></label>\
<button name="allow" value="1">Allow</button>\
<button name="allow" value="0">Deny</button></form>"""
_ASKED: Final = ("client_id", "response_type", "state", "redirect_uri")


def _html(title: str, body: str) -> Reply:
    page = _PAGE.format(title=html.escape(title), body=body)
    return Reply(200, page.encode("utf-8", "replace"), "text/html; charset=utf-8")


def _refusal(context: Context, call: Call) -> Reply | None:
    """Return what an application is told that gets no form, None for one that does."""
    if context.config.quirks.authorize_page == "dead":
        return _html("Error (1024)", "<p>Something went wrong.</p>")
    client_id, kind = call.get("client_id"), call.get("response_type")
    if not client_id or kind not in _KINDS:
        error = ApiError(400, "client_id and response_type are required")
        # Imgur names the path without the 2 here.
        return error_reply(
            error, context.dialect, path="/oauth/authorize", method=call.method
        )
    if client_id not in context.world.clients:
        raise ApiError(403, "Invalid client_id")
    target, registered = call.get("redirect_uri"), context.config.callback_url
    if target and registered and target != registered:
        raise ApiError(400, "The redirect URI provided is missing or does not match")
    if target and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", target):
        raise ApiError(400, "Invalid redirect_uri")
    return None


async def page(context: Context, call: Call) -> Reply:
    """Show the form."""
    refusal = _refusal(context, call)
    if refusal is not None:
        return refusal
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
        for name in _ASKED
        if (value := call.get(name)) is not None
    )
    return _html("Let this application use your account?", _FORM.format(hidden=hidden))


async def decide(context: Context, call: Call) -> Reply:
    """Go back to the application with tokens, a code or a refusal; or show the PIN.

    Raises ApiError 403 for a wrong name or password.
    """
    refusal = _refusal(context, call)
    if refusal is not None:
        return refusal
    kind = call.get("response_type") or ""
    if call.get("allow") not in ("1", "true", "Allow"):
        denied = {"error": "access_denied"}
        return _back(context, call, denied, in_fragment=kind == "token")
    account = context.world.account(call.get("username") or "")
    if account is None or call.get("password") != account.password:
        raise ApiError(403, "Unauthorized")
    if kind == "token":
        told = _told_tokens(context, call, account)
        return _back(context, call, told, in_fragment=True)
    grant = context.world.new_grant(
        kind=_KINDS[kind],
        account=account.url,
        client_id=call.get("client_id") or "",
        expires_at=context.clock.now() + GRANT_LIFETIME_S,
    )
    if kind == "pin":
        shown = f'<input name="pin" readonly value="{grant.text}">'
        return _html("Your PIN", shown)
    return _back(context, call, {"code": grant.text}, in_fragment=False)


def _told_tokens(context: Context, call: Call, account: Account) -> dict[str, str]:
    session = oauth.log_in(context, account, call.get("client_id") or "")
    keys = (
        "access_token expires_in token_type refresh_token account_username account_id"
    )
    return {key: str(session[key]) for key in keys.split()}


def _back(
    context: Context, call: Call, values: dict[str, str], *, in_fragment: bool
) -> Reply:
    config = context.config
    target = call.get("redirect_uri") or config.callback_url or config.home_url
    state = call.get("state")
    if state is not None:
        values = {**values, "state": state}
    mark = "#" if in_fragment else "&" if "?" in target else "?"
    # JSON can carry what no address can: half of a character.
    told = urlencode(values, errors="replace")
    location = target.partition("#")[0] + mark + told
    return Reply(302, b"", "text/html", {"location": location})


async def add_client(context: Context, call: Call) -> Reply:
    """Send whoever wants to register an application away, as Imgur does now."""
    del context, call
    return Reply(301, b"", "text/html", {"location": HOME})
