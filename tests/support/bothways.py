"""Two emulators asked the same way: what a client sees, made comparable.

``Side`` is an emulator behind any httpx client, in this process or over a socket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

#: How often is asked whether something has come true, in seconds.
_PAUSE_S = 0.02
#: The headers that matter to a client.
HEADERS = (
    "content-type",
    "content-length",
    "content-range",
    "etag",
    "location",
    "retry-after",
    "x-ratelimit-userremaining",
    "x-post-rate-limit-remaining",
    "server",
)


@dataclass
class Outcome:
    """What a client saw of one request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""


class Side:
    """One of the two emulators, as a client sees it."""

    def __init__(
        self, http: httpx.AsyncClient, api_url: str, cdn_url: str, images: list[str]
    ) -> None:
        self.http = http
        self.api_url = api_url
        self.cdn_url = cdn_url
        self.images = images

    async def ask(self, method: str, url: str, **options: Any) -> Outcome:
        """Make a request and take what comes, to the bitter end."""
        seen = Outcome()
        base = self.api_url if url.startswith(("/3", "/_emulator")) else self.cdn_url
        try:
            async with self.http.stream(method, base + url, **options) as response:
                seen.status = response.status_code
                found = {name: response.headers.get(name) for name in HEADERS}
                seen.headers = {
                    key: self._plain(value) for key, value in found.items() if value
                }
                async for piece in response.aiter_raw():
                    seen.body += piece
        except httpx.TransportError as exc:
            seen.error = type(exc).__name__
        if seen.headers.get("content-type", "").startswith("application/"):
            seen.body = self._plain(seen.body.decode()).encode()
            # Addresses differ in length, and when things were made.
            seen.headers.pop("content-length", None)
            seen.headers.pop("etag", None)
        return seen

    def _plain(self, text: str) -> str:
        for url, name in ((self.cdn_url, "CDN"), (self.api_url, "API")):
            for spelling in (url, url.replace("/", "\\/")):
                text = text.replace(spelling, name)
        return re.sub(r'"(datetime|created)":\d+', r'"\1":0', text)

    async def rules(self, *rules: dict[str, Any]) -> None:
        """Put these rules in force."""
        answer = await self.ask("POST", "/_emulator/faults", json=list(rules))
        assert answer.status == 200, answer.body

    async def admin(self, path: str) -> Any:
        """Return what the admin view says."""
        return json.loads((await self.ask("GET", "/_emulator/" + path)).body)

    async def has_album(self, title: str) -> bool:
        """Return whether the account has an album with this title."""
        albums = (await self.admin("state"))["albums"]
        return title in [it["title"] for it in albums]

    async def state(self) -> Any:
        """Return everything that exists, from the admin view."""
        return await self.admin("state")


async def until(
    is_true: Callable[[], Awaitable[bool]], *, timeout_s: float = 10
) -> None:
    """Return when something has come true. Raises trio.TooSlowError."""
    with trio.fail_after(timeout_s):
        while True:
            if await is_true():
                return
            await trio.sleep(_PAUSE_S)
