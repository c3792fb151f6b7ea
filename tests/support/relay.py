"""A port of this machine that leads to another one, and knows what passed it.

Give every process a relay of its own to the same emulator, and it is known who sent
what, and when: from the first byte of a request to the first one of its answer.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

_CHUNK_BYTES = 65_536
_ADDRESS = "127.0.0.1"


@dataclass
class Call:
    """One request that passed; ``ended_at`` is None until its answer begins."""

    method: str
    path: str
    began_at: float
    ended_at: float | None = None

    def overlaps(self, other: Call) -> bool:
        """Whether both were in the air at some moment."""
        ends = [one.ended_at or float("inf") for one in (self, other)]
        return max(self.began_at, other.began_at) < min(ends)


class Relay(socketserver.ThreadingTCPServer):
    """Passes on what comes, in both directions, and notes each request."""

    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        """Listen on a free port for who wants to reach ``port``."""
        super().__init__((_ADDRESS, 0), _Connection)
        self.target = port
        self.calls: list[Call] = []

    @property
    def url(self) -> str:
        """What takes the place of the other port's address."""
        return f"http://{_ADDRESS}:{self.server_address[1]}"

    def note(self, head: bytes) -> Call:
        """Note the request that begins with these bytes."""
        method, path, *_ = head.split(b" ", 2)
        call = Call(method.decode(), path.partition(b"?")[0].decode(), time.monotonic())
        self.calls.append(call)
        return call

    def uploads(self) -> list[Call]:
        """Return the uploads that passed, in the order they began."""
        return [c for c in self.changes() if c.path in ("/3/image", "/3/upload")]

    def changes(self) -> list[Call]:
        """Return the requests that change something."""
        return [
            call
            for call in list(self.calls)
            if call.method != "GET" and not call.path.startswith("/oauth2")
        ]


class _Connection(socketserver.BaseRequestHandler):
    """One connection and the one to the other port."""

    def handle(self) -> None:
        assert isinstance(self.server, Relay)
        near: socket.socket = self.request
        call: Call | None = None
        # One of the two is killed in many a test, and there is nothing more to pass on.
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection((_ADDRESS, self.server.target)) as far,
        ):
            while True:
                ready, _, _ = select.select([near, far], [], [])
                source = ready[0]
                data = source.recv(_CHUNK_BYTES)
                if not data:
                    break
                if source is near and (call is None or call.ended_at is not None):
                    call = self.server.note(data)
                elif source is far and call is not None:
                    call.ended_at = time.monotonic()
                (far if source is near else near).sendall(data)
        if call is not None and call.ended_at is None:
            call.ended_at = time.monotonic()


@contextlib.contextmanager
def relay(url: str) -> Iterator[Relay]:
    """Run a relay to an address of this machine. Its connections must end before it."""
    with Relay(int(url.rpartition(":")[2])) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
