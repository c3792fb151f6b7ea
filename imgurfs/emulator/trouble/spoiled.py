"""What faults do to a request and its answer on the way, in ASGI's words.

Wrappers around ``receive`` and ``send``; no rules and no choosing, that is ``faults``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import anyio
from starlette.types import Message, Receive, Scope, Send

from imgurfs.emulator.clock import Clock
from imgurfs.emulator.hosts.connection import ConnectionDropped
from imgurfs.emulator.trouble.faultrules import FaultRule

#: A slow body comes in so many pieces a second.
_PIECES_PER_S = 10
_ZEROS = bytes(65_536)


async def drain(receive: Receive) -> list[Message]:
    """Read the request to its end: the client must have sent all of it."""
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return messages


def replay(messages: list[Message]) -> Receive:
    """Return a ``receive`` that tells what arrived before, then that nobody is there.

    The client that has left is still waited for: whoever handles the request must not
    believe that it was broken off.
    """
    left = list(messages)

    async def receive() -> Message:
        await anyio.lowlevel.checkpoint()
        if left:
            return left.pop(0)
        await anyio.sleep_forever()
        raise AssertionError

    return receive


async def until_client_leaves(receive: Receive) -> None:
    """Return when the client has given up."""
    message = await receive()
    if message["type"] != "http.disconnect":
        # A caller without the notion of leaving: it will cancel us.
        await anyio.sleep_forever()


async def swallow(message: Message) -> None:
    """Take the place of ``send``: what is said reaches nobody."""
    del message
    await anyio.lowlevel.checkpoint()


def asks_for_all(scope: Scope) -> Scope:
    """Return the request without what would spare the server the whole answer."""
    unwanted = {b"range", b"if-range", b"if-none-match"}
    headers = [pair for pair in scope["headers"] if pair[0].lower() not in unwanted]
    return {**scope, "headers": headers}


def _allowance(rule: FaultRule, start: Message) -> int:
    """Return how many bytes of the body a rule lets through."""
    if rule.after_bytes is not None:
        return rule.after_bytes
    assert rule.fraction is not None
    length = dict(start["headers"]).get(b"content-length", b"0")
    return int(int(length) * rule.fraction)


class _Part:
    """A ``send`` that passes on the head and some of the body, and then ends it."""

    def __init__(
        self, send: Send, rule: FaultRule, *, end: Callable[[], Awaitable[None]]
    ) -> None:
        self._send = send
        self._rule = rule
        self._end = end
        self._left = 0

    async def __call__(self, message: Message) -> None:
        """Pass on one message of the answer, or what becomes of it."""
        if message["type"] == "http.response.start":
            self._left = _allowance(self._rule, message)
            await self._send(message)
            return
        body = message.get("body", b"")[: self._left]
        self._left -= len(body)
        if body:
            await self._send(
                {"type": "http.response.body", "body": body, "more_body": True}
            )
        if not self._left or not message.get("more_body", False):
            await self._end()


def cut(send: Send, rule: FaultRule) -> Send:
    """Return a ``send`` that breaks the connection after some of the body."""

    async def end() -> None:
        await anyio.lowlevel.checkpoint()
        raise ConnectionDropped(is_flushed=True)

    return _Part(send, rule, end=end)


def stalled(send: Send, rule: FaultRule, receive: Receive) -> Send:
    """Return a ``send`` that falls silent after some of the body and hangs on."""

    async def end() -> None:
        await until_client_leaves(receive)
        raise ConnectionDropped(is_flushed=False)

    return _Part(send, rule, end=end)


class Slowed:
    """A ``send`` that lets a body through at a pace of its own."""

    def __init__(self, send: Send, rule: FaultRule, clock: Clock) -> None:
        self._send = send
        self._clock = clock
        self._bytes_per_s = rule.bytes_per_s
        self._piece_bytes = max(1, int(rule.bytes_per_s / _PIECES_PER_S))

    async def __call__(self, message: Message) -> None:
        """Pass on one message of the answer, or what becomes of it."""
        if message["type"] == "http.response.start":
            await self._send(message)
            return
        body = message.get("body", b"")
        for start in range(0, len(body), self._piece_bytes):
            piece = body[start : start + self._piece_bytes]
            await self._clock.sleep(len(piece) / self._bytes_per_s)
            await self._send(
                {"type": "http.response.body", "body": piece, "more_body": True}
            )
        if not message.get("more_body", False):
            await self._send(
                {"type": "http.response.body", "body": b"", "more_body": False}
            )


class Resized:
    """A ``send`` that makes a whole answer shorter, or longer with zeros.

    Its length is honest and its ETag another one: as if other bytes were stored.
    """

    def __init__(self, send: Send, rule: FaultRule) -> None:
        self._send = send
        self._rule = rule
        self._left = 0
        self._is_whole = False

    async def __call__(self, message: Message) -> None:
        """Pass on one message of the answer, or what becomes of it."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif not self._is_whole:
            await self._send(message)
        else:
            await self._body(message)

    async def _start(self, message: Message) -> None:
        self._is_whole = message["status"] == 200
        if self._is_whole:
            self._left = _allowance(self._rule, message)
            headers = dict(message["headers"])
            old = headers.get(b"etag", b"") + b"%d" % self._left
            digest = hashlib.md5(old, usedforsecurity=False).hexdigest()
            headers[b"content-length"] = b"%d" % self._left
            headers[b"etag"] = f'"{digest}"'.encode()
            message = {**message, "headers": list(headers.items())}
        await self._send(message)

    async def _body(self, message: Message) -> None:
        body = message.get("body", b"")[: self._left]
        self._left -= len(body)
        is_last = not message.get("more_body", False)
        if body:
            await self._send(
                {"type": "http.response.body", "body": body, "more_body": True}
            )
        while is_last and self._left:
            zeros = _ZEROS[: self._left]
            self._left -= len(zeros)
            await self._send(
                {"type": "http.response.body", "body": zeros, "more_body": True}
            )
        if is_last:
            await self._send(
                {"type": "http.response.body", "body": b"", "more_body": False}
            )
