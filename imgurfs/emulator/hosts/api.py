"""The API host: from an ASGI request to an answer with rate headers.

The order of Imgur's questions is here and nowhere else: is there such a route, may
this address POST, who is calling, are there credits, and only then what is asked.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import partial

from starlette.types import Receive, Scope, Send

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.admin import Admin
from imgurfs.emulator.hosts.call import (
    BodyTooLargeError,
    Call,
    Caller,
    ClientGoneError,
    discard,
    open_call,
    read_fields,
)
from imgurfs.emulator.hosts.observations import LogEntry
from imgurfs.emulator.hosts.sending import send_reply
from imgurfs.emulator.routes.table import Route, Table
from imgurfs.emulator.rules.errors import (
    ApiError,
    Shape,
    invalid_token,
    no_commercial_key,
    out_of_credits,
)
from imgurfs.emulator.rules.refusals import in_other_words
from imgurfs.emulator.rules.wire import NOT_FOUND_PAGE, Reply, error_reply, success

_TOO_LARGE_PAGE = (
    "<html><head><title>413 Request Entity Too Large</title></head></html>"
)
#: The gateway that sells commercial use, by its first name and by its later one.
_COMMERCIAL_KEYS = ("x-mashape-key", "x-rapidapi-key")


class ApiHost:
    """ASGI application of the API; ``/_emulator/…`` goes to ``admin``."""

    def __init__(self, context: Context, admin: Admin) -> None:
        self._context = context
        self._admin = admin
        self._table = Table()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] == "http"
        if scope["path"].startswith(Admin.PREFIX):
            await self._admin(scope, receive, send)
            return
        call = open_call(scope)
        found = self._table.find(call.meant_method, call.path)
        route = found[0] if found else None
        if found:
            call.parameters = found[1]
        try:
            reply = await self._read_and_answer(call, route, receive)
        except ClientGoneError:
            return
        self._observe(call, route, scope, reply)
        is_spent = reply.headers.get("connection") == "close"
        await send_reply(
            send,
            reply,
            headers=self._rate_headers(call, route),
            rest=partial(discard, receive) if is_spent else None,
        )

    async def _read_and_answer(
        self, call: Call, route: Route | None, receive: Receive
    ) -> Reply:
        try:
            is_upload = route is not None and route.is_upload
            await read_fields(call, receive, is_upload=is_upload)
        except BodyTooLargeError:
            page = Reply(413, _TOO_LARGE_PAGE.encode(), "text/html")
            # The rest of the body is still on its way: this connection is spent.
            return replace(page, headers={"connection": "close"})
        try:
            if route is None:
                raise ApiError(404, NOT_FOUND_PAGE, shape=Shape.HTML)
            reply = await self._answer(call, route)
        except ApiError as error:
            return error_reply(
                in_other_words(error, self._context.config.quirks),
                self._context.dialect,
                path=call.path,
                method=call.method,
            )
        is_tagged = self._context.config.quirks.api_etag == "on"
        return _tagged(call, reply) if is_tagged and not route.is_free else reply

    async def _answer(self, call: Call, route: Route) -> Reply:
        context = self._context
        now = context.clock.now()
        if call.method == "POST":
            context.observations.posts += 1
        is_commercial = _is_commercial(call)
        if is_commercial and not any(
            call.headers.get(name) for name in _COMMERCIAL_KEYS
        ):
            raise no_commercial_key()
        if call.method == "POST" and not (
            is_commercial or context.accounting.charge_post(call.address, now)
        ):
            raise out_of_credits()
        if route.is_identified or not route.is_free:
            call.caller = self._authenticate(call)
            self._require_application(call, route)
        if not route.is_free:
            self._charge(call, route)
        result = await route.handler(context, call)
        return result if isinstance(result, Reply) else success(result, context.dialect)

    def _require_application(self, call: Call, route: Route) -> None:
        if call.caller is not None:
            return
        if route.is_open and self._context.dialect is Dialect.NEW:
            return
        if route.template.startswith("/3/album/{album}") and call.method == "GET":
            # The route has its own words for this.
            return
        raise ApiError(401, "Authentication required")

    def _charge(self, call: Call, route: Route) -> None:
        if call.caller is None:
            return
        context = self._context
        allowed = context.accounting.charge(
            user=context.credit_key(call),
            client=call.caller.client_id,
            cost=context.config.limits.upload_cost if route.is_upload else 1,
            now=context.clock.now(),
        )
        if not allowed:
            raise out_of_credits()

    # --- Who calls ---

    def _authenticate(self, call: Call) -> Caller | None:
        header = call.headers.get("authorization")
        if header is None:
            return self._authenticate_query(call)
        kind, _, value = header.strip().partition(" ")
        value = value.strip()
        if not kind:
            raise ApiError(403, "The access token was not found.")
        if kind.lower() == "client-id":
            return self._anonymous(value)
        if kind.lower() != "bearer" or not value:
            raise ApiError(403, "Malformed auth header")
        return self._bearer(value)

    def _authenticate_query(self, call: Call) -> Caller | None:
        token, client_id = call.get("access_token"), call.get("client_id")
        if token:
            return self._bearer(token)
        return self._anonymous(client_id) if client_id else None

    def _anonymous(self, client_id: str) -> Caller:
        if client_id not in self._context.world.clients:
            raise ApiError(403, "Invalid client_id")
        return Caller(client_id, None)

    def _bearer(self, text: str) -> Caller:
        token = self._context.world.access_tokens.get(text)
        if token is None or token.expires_at <= self._context.clock.now():
            raise invalid_token()
        return Caller(token.client_id, token.account)

    # --- What is told besides the answer ---

    def _rate_headers(self, call: Call, route: Route | None) -> dict[str, str]:
        context = self._context
        now = context.clock.now()
        headers: dict[str, str] = {}
        if route is None or not route.is_free:
            user = context.accounting.user.read(context.credit_key(call), now)
            client_id = call.caller.client_id if call.caller else ""
            client = context.accounting.client.read(client_id, now)
            if context.accounting.is_blocked(client_id, now):
                client = replace(client, remaining=0)
            # Really seconds from now, although the documentation says epoch.
            is_date = context.config.quirks.reset_header == "epoch"
            headers |= {
                "x-ratelimit-userlimit": str(user.limit),
                "x-ratelimit-userremaining": str(user.remaining),
                "x-ratelimit-userreset": str(user.reset_s + int(now) * is_date),
                "x-ratelimit-clientlimit": str(client.limit),
                "x-ratelimit-clientremaining": str(client.remaining),
                "x-ratelimit-clientreset": str(client.reset_s),
            }
        if context.config.quirks.sunset != "off":
            headers["sunset"] = context.config.quirks.sunset
        if call.method == "POST" and not _is_commercial(call):
            posts = context.accounting.posts.read(call.address, now)
            headers |= {
                "x-post-rate-limit-limit": str(posts.limit),
                "x-post-rate-limit-remaining": str(posts.remaining),
                "x-post-rate-limit-reset": str(posts.reset_s),
            }
        return headers

    def _observe(
        self, call: Call, route: Route | None, scope: Scope, reply: Reply
    ) -> None:
        seen = self._context.observations
        seen.api_routes[str(route) if route else f"{call.method} (unknown)"] += 1
        seen.api_statuses[str(reply.status)] += 1
        query = scope.get("query_string", b"").decode("latin-1")
        seen.log.append(
            LogEntry(
                at=self._context.clock.now(),
                host="api",
                method=call.method,
                path=call.path,
                query=_SECRETS.sub(r"\1=…", query),
                status=reply.status,
                bytes_sent=len(reply.body),
            )
        )


def _is_commercial(call: Call) -> bool:
    """Return whether the call comes by the host, or with the key, of paying clients."""
    host = call.headers.get("host", "").lower()
    has_key = any(name in call.headers for name in _COMMERCIAL_KEYS)
    return has_key or host.startswith("imgur-apiv3.")


def _tagged(call: Call, reply: Reply) -> Reply:
    """Return a read's answer with its ETag, without a body if the caller has it."""
    if call.method != "GET" or reply.status != 200:
        return reply
    digest = hashlib.sha1(reply.body, usedforsecurity=False).hexdigest()
    tag = f'"{digest}"'
    headers = {**reply.headers, "etag": tag}
    known = call.headers.get("if-none-match", "").replace("W/", "")
    if tag in (it.strip() for it in known.split(",")):
        return Reply(304, b"", headers=headers)
    return replace(reply, headers=headers)


_SECRETS = re.compile(r"(access_token|client_secret|refresh_token)=[^&]*")
