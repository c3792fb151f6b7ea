"""Serves an emulator over sockets: two ports, one process, one loop.

The ports are opened before the emulator is built, so that its links are right and a
client may connect as soon as it has been told. asyncio with uvloop, because this end
must not be the bottleneck of a benchmark; the applications do not know.
"""

from __future__ import annotations

import signal
import socket
import struct
from dataclasses import dataclass
from types import FrameType
from typing import cast

import anyio
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from imgurfs.emulator.app import Emulator
from imgurfs.emulator.faults import ConnectionDropped

_BACKLOG = 2048
#: Requests in flight get this long at the end, then they are cancelled.
_STOP_GRACE_S = 1
_CONNECTION = "imgurfs.emulator.connection"


@dataclass(frozen=True, slots=True)
class Listeners:
    """Two listening sockets."""

    api: socket.socket
    cdn: socket.socket

    @property
    def api_url(self) -> str:
        """The address of the API, without a trailing slash."""
        return _url(self.api)

    @property
    def cdn_url(self) -> str:
        """The address of the CDN, without a trailing slash."""
        return _url(self.cdn)

    def close(self) -> None:
        """Close both."""
        self.api.close()
        self.cdn.close()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def open_listeners(host: str, *, api_port: int, cdn_port: int) -> Listeners:
    """Listen on both ports; 0 means any free one. Raises OSError naming the port."""
    api = _listen(host, api_port)
    try:
        return Listeners(api, _listen(host, cdn_port))
    except OSError:
        api.close()
        raise


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        raise OSError(exc.errno, exc.strerror, f"{host}:{port}") from exc
    listener.settimeout(0)
    return listener


class _Protocol(HttpToolsProtocol):
    """uvicorn's, within reach of the application: a fault may have to break it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, object]", self.scope)[_CONNECTION] = self

    def break_connection(self, *, is_flushed: bool) -> None:
        """End the connection; whatever the request lacks is not made up for."""
        # Said before uvicorn notices itself, or it would write an error page.
        self.cycle.disconnected = True
        if is_flushed:
            self.transport.close()
            return
        # No lingering: the peer gets a reset instead of an orderly end.
        connection = self.transport.get_extra_info("socket")
        no_linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        self.transport.abort()


class _Router:
    """Chooses the host by the port, and breaks connections when told."""

    def __init__(self, emulator: Emulator, cdn_port: int) -> None:
        self._api = emulator.api
        self._cdn = emulator.cdn
        self._cdn_port = cdn_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._cdn if scope["server"][1] == self._cdn_port else self._api
        try:
            await app(scope, receive, send)
        except ConnectionDropped as drop:
            scope[_CONNECTION].break_connection(is_flushed=drop.is_flushed)
        except anyio.get_cancelled_exc_class():
            # The server stops and this request would not end. Not passed on: uvicorn
            # would answer it with a page of its own, which no stopped server does.
            scope[_CONNECTION].break_connection(is_flushed=False)


def serve(emulator: Emulator, listeners: Listeners) -> None:
    """Serve until SIGINT or SIGTERM; returns within two seconds of either.

    Call on the main thread. The listeners are closed at the end.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            _Router(emulator, listeners.cdn.getsockname()[1]),
            loop="uvloop",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_STOP_GRACE_S,
        )
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn raises the signal again when it has finished: it must find a handler
    # that lets the process end in order.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        server.run(sockets=[listeners.api, listeners.cdn])
    finally:
        listeners.close()
