"""Serves an emulator over sockets: two ports or one, one process, one loop.

The ports are opened before the emulator is built, so that its links are right and a
client may connect as soon as it has been told. asyncio with uvloop, because this end
must not be the bottleneck of a benchmark; the applications do not know.

Which host is meant: the name in the request when it is one of Imgur's, otherwise the
port. One port may serve all of them, as Imgur's 443 does.
"""

from __future__ import annotations

import signal
import socket
import ssl
import struct
from dataclasses import dataclass
from types import FrameType
from typing import cast

import anyio
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from imgurfs.emulator.app import Emulator
from imgurfs.emulator.hosts.tls import (
    API_NAME,
    CDN_NAME,
    COMMERCIAL_NAMES,
    HTTPS_PORT,
    WEB_NAMES,
    names_mapped_to,
)
from imgurfs.emulator.hosts.web import WebHost
from imgurfs.emulator.trouble.faults import ConnectionDropped

_BACKLOG = 2048
#: Requests in flight get this long at the end, then they are cancelled.
_STOP_GRACE_S = 1
_CONNECTION = "imgurfs.emulator.hosts.connection"
#: Longest head of a request, beyond the piece it begins in.
HEAD_BYTES_MAX = 65_536
_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\n"
    b"content-length: 28\r\nconnection: close\r\n\r\n<html>400 Bad request</html>"
)


@dataclass(frozen=True, slots=True)
class Listeners:
    """Two listening sockets, or one twice when one port serves everything.

    ``scheme`` is http or https and only says what addresses look like.
    """

    api: socket.socket
    cdn: socket.socket
    scheme: str = "http"

    @property
    def api_url(self) -> str:
        """The address of the API, without a trailing slash."""
        return self._url(self.api, API_NAME)

    @property
    def cdn_url(self) -> str:
        """The address of the CDN, without a trailing slash."""
        return self._url(self.cdn, CDN_NAME)

    def _url(self, listener: socket.socket, name: str) -> str:
        host, port = listener.getsockname()[:2]
        ports = {it.getsockname()[1] for it in (self.api, self.cdn)}
        is_usual = self.scheme == "https" and HTTPS_PORT in ports
        # Imgur's own names, if they lead here: never to the real one.
        if is_usual and name in names_mapped_to(host):
            return f"https://{name}"
        address = f"[{host}]" if ":" in host else host
        is_implied = self.scheme == "https" and port == HTTPS_PORT
        return f"{self.scheme}://{address}" + ("" if is_implied else f":{port}")

    def close(self) -> None:
        """Close both."""
        self.api.close()
        self.cdn.close()


def open_listeners(
    host: str, *, api_port: int, cdn_port: int, scheme: str = "http"
) -> Listeners:
    """Listen on both ports; 0 means any free one, the same number one for both.

    Raises OSError naming the port.
    """
    api = _listen(host, api_port)
    if api_port and api_port == cdn_port:
        return Listeners(api, api, scheme)
    try:
        return Listeners(api, _listen(host, cdn_port), scheme)
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
    """uvicorn's, within reach of the application: a fault may have to break it.

    It also refuses endless headers, which uvicorn would collect in memory.
    """

    _is_in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        was_in_head = self._is_in_head
        super().data_received(data)
        # What came with the beginning of the head is not counted: it may be the end
        # of another request.
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self.transport.write(_BAD_REQUEST)
                self.transport.close()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()
        cast("dict[str, object]", self.scope)[_CONNECTION] = self

    def shutdown(self) -> None:
        """End the connection when it has nothing more to say.

        An orderly end of TLS waits for the peer's consent, which an idle peer gives
        late or never.
        """
        super().shutdown()
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.transport.abort()

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
    """Chooses the host by name, port or path, and breaks connections when told."""

    def __init__(self, emulator: Emulator, listeners: Listeners) -> None:
        self._api = emulator.api
        self._cdn = emulator.cdn
        self._api_port = listeners.api.getsockname()[1]
        self._cdn_port = listeners.cdn.getsockname()[1]
        self._named: dict[str, ASGIApp] = {
            API_NAME: emulator.api,
            CDN_NAME: emulator.cdn,
            **dict.fromkeys(WEB_NAMES, WebHost(emulator.cdn)),
            **dict.fromkeys(COMMERCIAL_NAMES, emulator.api),
        }

    def _choose(self, scope: Scope) -> ASGIApp:
        for header, value in scope["headers"]:
            if header == b"host":
                name = value.decode("latin-1").partition(":")[0].lower()
                if name in self._named:
                    return self._named[name]
                break
        if self._api_port == self._cdn_port:
            # Pictures have no folders, the API has nothing else.
            is_api = scope["path"].count("/") > 1
        else:
            is_api = scope["server"][1] == self._api_port
        return self._api if is_api else self._cdn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._choose(scope)(scope, receive, send)
        except ConnectionDropped as drop:
            scope[_CONNECTION].break_connection(is_flushed=drop.is_flushed)
        except anyio.get_cancelled_exc_class():
            # The server stops and this request would not end. Not passed on: uvicorn
            # would answer it with a page of its own, which no stopped server does.
            scope[_CONNECTION].break_connection(is_flushed=False)


def serve(
    emulator: Emulator, listeners: Listeners, *, tls: ssl.SSLContext | None = None
) -> None:
    """Serve until SIGINT or SIGTERM; returns within two seconds of either.

    Call on the main thread. The listeners are closed at the end. With ``tls`` both
    ports speak HTTPS and nothing else.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            _Router(emulator, listeners),
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
            ssl_context_factory=(lambda *_: tls) if tls else None,
        )
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn raises the signal again when it has finished: it must find a handler
    # that lets the process end in order.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        server.run(sockets=list(dict.fromkeys((listeners.api, listeners.cdn))))
    finally:
        listeners.close()
