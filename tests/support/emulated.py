"""An emulator in this process, asked without sockets, for the emulator's own tests.

Not a transport for the client under test: that is ``tests.support.simtransport``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import trio
from starlette.types import ASGIApp, Message

from imgurfs.emulator.app import Emulator, build
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.trouble.faults import ConnectionDropped

START_S = 1_800_000_000.0


class ManualClock:
    """A clock that moves when a test says so, or when somebody sleeps on it."""

    def __init__(self, now: float = START_S) -> None:
        self.time_s = now

    def now(self) -> float:
        """Return the set time."""
        return self.time_s

    async def sleep(self, duration_s: float) -> None:
        """Let the time pass at once."""
        self.time_s += duration_s
        await trio.lowlevel.checkpoint()


@dataclass(frozen=True)
class Answer:
    """What came back; ``dropped`` when the connection broke, status 0 before a head."""

    status: int
    headers: dict[str, str]
    body: bytes
    dropped: bool = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """``data`` of a successful envelope."""
        assert self.status == 200, self.body
        assert self.json["success"] is True
        return self.json["data"]

    @property
    def error(self) -> Any:
        """``data.error`` of a refusal."""
        assert self.json["success"] is False
        return self.json["data"]["error"]


async def ask(
    app: ASGIApp, request: httpx.Request, *, address: str = "127.0.0.1"
) -> Answer:
    """Send one request to an ASGI application and read its answer to the end."""
    body = request.read()
    inbox: list[Message] = [
        {"type": "http.request", "body": body[:100], "more_body": True},
        {"type": "http.request", "body": body[100:], "more_body": False},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        return inbox.pop(0) if inbox else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    scope = {
        "type": "http",
        "method": request.method,
        "path": request.url.path,
        "query_string": request.url.query,
        "headers": [(k.lower(), v) for k, v in request.headers.raw],
        "client": (address, 50_000),
        "server": ("127.0.0.1", 80),
    }
    dropped = False
    try:
        await app(scope, receive, send)
    except ConnectionDropped:
        dropped = True
    return _answer(sent, dropped=dropped)


def _answer(sent: list[Message], *, dropped: bool) -> Answer:
    if not sent:
        return Answer(0, {}, b"", dropped)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in start["headers"]}
    body = b"".join(bytes(message.get("body", b"")) for message in rest)
    if not dropped:
        assert not rest[-1].get("more_body", False)
    return Answer(start["status"], headers, body, dropped)


class Visitor:
    """Somebody who uses an emulator; ``authorization`` is the header, None for none."""

    def __init__(
        self,
        emulator: Emulator,
        authorization: str | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.emulator = emulator
        self.authorization = authorization
        self.address = address

    async def api(self, method: str, path: str, **options: Any) -> Answer:
        """Ask the API; options are those of httpx.Request (data, files, json, …)."""
        headers = dict(options.pop("headers", {}))
        if self.authorization is not None:
            headers.setdefault("Authorization", self.authorization)
        request = httpx.Request(
            method, "http://api.test" + path, headers=headers, **options
        )
        return await ask(self.emulator.api, request, address=self.address)

    async def cdn(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask the CDN; keyword arguments are headers with _ for -."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        request = httpx.Request(method, "http://cdn.test" + path, headers=named)
        return await ask(self.emulator.cdn, request)


def emulate(clock: ManualClock | None = None, **options: Any) -> Emulator:
    """Return an emulator of a small generated account unless told otherwise."""
    options.setdefault("albums", 2)
    options.setdefault("images", 5)
    return build(EmulatorConfig(**options), clock or ManualClock())


def owner(emulator: Emulator) -> Visitor:
    """Return a visitor logged in as the sample account."""
    return Visitor(emulator, "Bearer " + emulator.credentials.access_token)


def anonymous(emulator: Emulator) -> Visitor:
    """Return a visitor with an application but no account."""
    return Visitor(emulator, "Client-ID " + emulator.credentials.client_id)
