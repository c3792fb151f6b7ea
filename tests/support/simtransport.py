"""Drives ASGI applications as an httpx transport, under trio and in virtual time.

Not ``httpx.ASGITransport``: that one ignores timeouts and turns a cut body into a
clean answer. This one behaves as a socket would. Timeouts are httpx's own, measured on
trio's clock (so ``autojump_clock`` makes them instant); both bodies stream with a
bounded buffer; a body that does not match its Content-Length, or an application that
breaks off, ends in the exception that httpx raises for it over a real connection.

Each application call runs in a task of its own that outlives the client's interest:
as on a real server, a client that leaves does not undo what the server does.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Self
from urllib.parse import unquote

import httpx
import trio

from imgurfs.emulator.trouble.faults import ConnectionDropped

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

#: Pieces of a body in flight: the socket's buffers.
_BUFFER = 4

log = logging.getLogger(__name__)


class SimTransport(httpx.AsyncBaseTransport):
    """Sends requests for two hosts to two applications.

    ``latency_s`` passes before each answer begins. ``unreachable`` names hosts that
    refuse connections, ``silent`` hosts to which connecting never succeeds; both may be
    changed at any time. ``requests`` lists (method, url) of everything that arrived.
    """

    def __init__(
        self,
        api: App,
        cdn: App | None = None,
        *,
        api_host: str = "api.imgur.test",
        cdn_host: str = "i.imgur.test",
        latency_s: float = 0.0,
    ) -> None:
        self._apps: dict[str, App] = {api_host: api}
        if cdn is not None:
            self._apps[cdn_host] = cdn
        self.latency_s = latency_s
        self.unreachable: set[str] = set()
        self.silent: set[str] = set()
        self.requests: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Connect, send the body, and return as soon as the answer begins."""
        timeouts = request.extensions.get("timeout", {})
        host = request.url.netloc.decode("ascii")
        await trio.lowlevel.checkpoint()
        if host in self.silent:
            with trio.move_on_after(_seconds(timeouts, "connect")):
                await trio.sleep_forever()
            raise httpx.ConnectTimeout(f"connecting to {host}", request=request)
        if host in self.unreachable or host not in self._apps:
            raise httpx.ConnectError(f"{host}: connection refused", request=request)
        self.requests.append((request.method, str(request.url)))
        exchange = _Exchange(request, timeouts)
        trio.lowlevel.spawn_system_task(exchange.serve, self._apps[host])
        try:
            await exchange.send_body()
            await trio.sleep(self.latency_s)
            return await exchange.response()
        except BaseException:
            exchange.leave()
            raise


class _Exchange:
    """One request and its answer, between the client's task and the application's."""

    def __init__(self, request: httpx.Request, timeouts: dict[str, Any]) -> None:
        self.request = request
        self._timeouts = timeouts
        self._to_app, self._app_reads = trio.open_memory_channel[bytes](_BUFFER)
        self._app_writes, self._from_app = trio.open_memory_channel[bytes](_BUFFER)
        self._left = trio.Event()
        self._started = trio.Event()
        self._is_request_whole = False
        self._is_answer_whole = False
        self._broken: httpx.TransportError | None = None
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []

    # --- The application's side -----------------------------------------------

    async def serve(self, app: App) -> None:
        """Run the application; translate how it ended."""
        try:
            await app(self._scope(), self._receive, self._send)
        except BaseException as error:
            dropped = _dropped(error)
            if isinstance(error, trio.Cancelled | KeyboardInterrupt):
                raise
            if dropped is not None:
                self._drop(dropped)
            else:
                log.exception("the application failed: %s", self.request.url)
                self._fail()
        else:
            if not self._is_answer_whole:
                self._drop(ConnectionDropped(is_flushed=True))
        finally:
            # Whoever still writes or waits finds the connection closed.
            self._app_reads.close()
            self._app_writes.close()
            self._started.set()

    def _scope(self) -> Message:
        url = self.request.url
        path, _, query = url.raw_path.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.request.method,
            "scheme": url.scheme,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(k.lower(), v) for k, v in self.request.headers.raw],
            "client": ("127.0.0.1", 50_000),
            "server": (url.host, url.port or 443),
            "state": {},
        }

    async def _receive(self) -> Message:
        """Return the next piece of the request, or that the client has gone."""
        if not self._is_request_whole:
            try:
                piece = await self._app_reads.receive()
            except trio.EndOfChannel:
                self._is_request_whole = True
                if not self._left.is_set():
                    return {"type": "http.request", "body": b"", "more_body": False}
            else:
                return {"type": "http.request", "body": piece, "more_body": True}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message.get("headers", []))
            self._started.set()
            await trio.lowlevel.checkpoint()
            return
        # To a client that has gone, writing succeeds and goes nowhere.
        body = message.get("body", b"") if self.request.method != "HEAD" else b""
        if body and not self._left.is_set():
            try:
                await self._app_writes.send(bytes(body))
            except trio.BrokenResourceError:
                self._left.set()
        if not message.get("more_body", False):
            self._is_answer_whole = True
            self._app_writes.close()
        await trio.lowlevel.checkpoint()

    def _drop(self, dropped: ConnectionDropped) -> None:
        if dropped.is_flushed and self._started.is_set():
            why = "peer closed connection without sending complete message body"
            self._broken = httpx.RemoteProtocolError(why, request=self.request)
        elif dropped.is_flushed:
            why = "Server disconnected without sending a response."
            self._broken = httpx.RemoteProtocolError(why, request=self.request)
        else:
            why = "Connection reset by peer"
            self._broken = httpx.ReadError(why, request=self.request)

    def _fail(self) -> None:
        if self._started.is_set():
            self._drop(ConnectionDropped(is_flushed=True))
            return
        self._status = 500
        self._headers = [(b"content-type", b"text/plain"), (b"content-length", b"0")]
        self._is_answer_whole = True

    # --- The client's side ----------------------------------------------------

    async def send_body(self) -> None:
        """Send the request's body; stop early when the application has ended."""
        assert isinstance(self.request.stream, httpx.AsyncByteStream)
        declared = self.request.headers.get("content-length")
        sent = 0
        async for piece in self.request.stream:
            sent += len(piece)
            if declared is not None and sent > int(declared):
                raise httpx.LocalProtocolError(
                    "Too much data for declared Content-Length", request=self.request
                )
            if not piece:
                continue
            with trio.move_on_after(_seconds(self._timeouts, "write")) as scope:
                try:
                    await self._to_app.send(piece)
                except trio.BrokenResourceError:
                    # The answer may be there already: a refusal of a large body.
                    return
            if scope.cancelled_caught:
                raise httpx.WriteTimeout("nobody reads", request=self.request)
        if declared is not None and sent < int(declared):
            raise httpx.LocalProtocolError(
                "Too little data for declared Content-Length", request=self.request
            )
        self._to_app.close()

    async def response(self) -> httpx.Response:
        """Wait for the answer's head."""
        with trio.move_on_after(_seconds(self._timeouts, "read")) as scope:
            await self._started.wait()
        if scope.cancelled_caught:
            raise httpx.ReadTimeout("no answer", request=self.request)
        if not self._status:
            assert self._broken is not None
            raise self._broken
        return httpx.Response(
            self._status,
            headers=self._headers,
            stream=_AnswerStream(self),
            request=self.request,
        )

    async def next_piece(self) -> bytes | None:
        """Return the next piece of the answer, None at its end."""
        with trio.move_on_after(_seconds(self._timeouts, "read")) as scope:
            try:
                return await self._from_app.receive()
            except trio.EndOfChannel:
                pass
        if scope.cancelled_caught:
            raise httpx.ReadTimeout("silence in a body", request=self.request)
        if self._broken is not None:
            raise self._broken
        return None

    def leave(self) -> None:
        """Tell the application that nobody listens any more."""
        self._left.set()
        self._to_app.close()
        self._from_app.close()

    def expected_length(self) -> int | None:
        """Return the length the answer's head promises, None when it does not."""
        is_bodiless = self.request.method == "HEAD" or self._status in (204, 304)
        declared = dict(self._headers).get(b"content-length")
        return None if is_bodiless or declared is None else int(declared)


class _AnswerStream(httpx.AsyncByteStream):
    """The answer's body; checks that it is as long as its head promises."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._received = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._exchange.next_piece()
        expected = self._exchange.expected_length()
        if piece is not None:
            self._received += len(piece)
            if expected is not None and self._received > expected:
                raise httpx.RemoteProtocolError(
                    "Too much data for declared Content-Length",
                    request=self._exchange.request,
                )
            return piece
        if expected is not None and self._received < expected:
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body"
                f" (received {self._received} bytes, expected {expected})",
                request=self._exchange.request,
            )
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._exchange.leave()
        await trio.lowlevel.checkpoint()


def _seconds(timeouts: dict[str, Any], name: str) -> float:
    value = timeouts.get(name)
    return float("inf") if value is None else float(value)


def _dropped(error: BaseException) -> ConnectionDropped | None:
    """Find the event in an exception or in a group of them."""
    if isinstance(error, ConnectionDropped):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [_dropped(inner) for inner in error.exceptions]
        return next((one for one in found if one is not None), None)
    return None
