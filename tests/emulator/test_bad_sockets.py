"""Bytes over a socket that no HTTP client sends: refused, in bounded memory."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.processes import environment, process

GIGABYTE = 10**9
PIECE = bytes(1 << 20)
#: What a refusal may cost at most: a whole upload as large as one may be.
UPLOAD_RSS_BYTES = 400_000_000
OTHER_RSS_BYTES = 80_000_000


@dataclass(frozen=True)
class Server:
    """A running emulator and its first line."""

    pid: int
    facts: dict[str, str]

    def resident_bytes(self, what: str) -> int:
        """Return the size in memory: VmRSS, or VmHWM for the largest since a reset."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    @contextlib.contextmanager
    def in_memory(self, bytes_max: int) -> Iterator[None]:
        """Fail when the process grows by more than that meanwhile."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        before = self.resident_bytes("VmRSS")
        yield
        assert self.resident_bytes("VmHWM") - before < bytes_max


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all that comes, which must have nothing to say about it."""
    directory = tmp_path_factory.mktemp("server")
    log = directory / "log"
    command = ["imgurfs", "emulator", "--albums", "1", "--images", "1"]
    with process(*command, environ=environment(directory), log=log) as started:
        assert started.stdout is not None
        yield Server(started.pid, json.loads(started.stdout.readline()))
    assert started.returncode == 0
    assert "Traceback" not in log.read_text()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server, which must still serve when the test is over."""
    yield running
    request = urllib.request.Request(
        running.facts["api_url"] + "/3/account/me/images",
        headers={"Authorization": f"Bearer {running.facts['access_token']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert len(json.load(answer)["data"]) == 1


def connect(server: Server, which: str = "api_url") -> socket.socket:
    """Open a connection to one of the ports."""
    address = urlsplit(server.facts[which])
    return socket.create_connection((address.hostname, address.port), timeout=60)


def head(server: Server, path: str, *lines: str) -> bytes:
    """Return the head of an authorized POST."""
    token = server.facts["access_token"]
    text = [f"POST {path} HTTP/1.1", "host: x", f"authorization: Bearer {token}"]
    return "\r\n".join([*text, *lines, "", ""]).encode()


def answer(connection: socket.socket) -> bytes:
    """Return what comes until the connection ends."""
    found = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            found += piece
    return bytes(found)


@pytest.mark.parametrize("path", ["/3/upload", "/3/album", "/nothing"])
def test_a_gigabyte_that_was_announced(server: Server, path: str) -> None:
    """It is refused before it is read, and the client may still send it all."""
    with server.in_memory(OTHER_RSS_BYTES), connect(server) as connection:
        length = f"content-length: {GIGABYTE}"
        kind = "content-type: multipart/form-data; boundary=b"
        connection.sendall(head(server, path, kind, length))
        # Nothing of the body has been sent yet.
        said = connection.recv(1 << 16)
        assert said.startswith(b"HTTP/1.1 413")
        for _ in range(GIGABYTE // len(PIECE)):
            connection.sendall(PIECE)
        connection.sendall(bytes(GIGABYTE % len(PIECE)))
        said += answer(connection)
    assert said.endswith(b"</html>")


@pytest.mark.parametrize(
    ("path", "kind", "rss_bytes"),
    [
        ("/3/upload", "multipart/form-data; boundary=b", UPLOAD_RSS_BYTES),
        ("/3/upload", "application/x-www-form-urlencoded", OTHER_RSS_BYTES),
        ("/3/album", "application/json", OTHER_RSS_BYTES),
    ],
)
def test_a_gigabyte_that_was_not(
    server: Server, path: str, kind: str, rss_bytes: int
) -> None:
    """In chunks of unknown number it is refused when it is too much."""
    chunk = b"100000\r\n" + PIECE + b"\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    with server.in_memory(rss_bytes), connect(server) as connection:
        lines = (f"content-type: {kind}", "transfer-encoding: chunked")
        connection.sendall(head(server, path, *lines))
        connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        for _ in range(GIGABYTE // len(PIECE)):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        said = answer(connection)
    assert said.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("which", ["api_url", "cdn_url"])
def test_headers_without_end(server: Server, which: str) -> None:
    """A head that goes on is refused long before it fills the memory."""
    sent = 0
    with server.in_memory(OTHER_RSS_BYTES), connect(server, which) as connection:
        connection.sendall(b"GET /3/credits HTTP/1.1\r\nhost: x\r\nx-long: ")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 200_000_000:
                connection.sendall(b"a" * 10_000)
                sent += 10_000
    assert sent < 50_000_000


def test_long_but_legal_headers(server: Server) -> None:
    """A head in many small pieces and one of 30 KB are understood."""
    request = f"GET /3/account/me HTTP/1.1\r\nhost: x\r\nx-long: {'a' * 30_000}\r\n"
    request += f"authorization: Bearer {server.facts['access_token']}\r\n"
    request += "connection: close\r\n\r\n"
    with connect(server) as connection:
        for at in range(0, len(request), 3_000):
            connection.sendall(request[at : at + 3_000].encode())
        assert answer(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"FOO /3/credits HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /3/credits HTTP/9.9\r\nhost: x\r\n\r\n",
        b"POST /3/image HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /3/image HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        b"POST /3/image HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
@pytest.mark.parametrize("which", ["api_url", "cdn_url"])
def test_what_is_hardly_http(server: Server, request_bytes: bytes, which: str) -> None:
    """It is 400 or not found, and the connection ends."""
    with connect(server, which) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        said = answer(connection)
    assert not said or said.split()[1] in {b"302", b"400", b"401", b"404"}


@pytest.mark.parametrize("path", ["/3/image/%00", "/3/image/%ff", "/3/album/%2e%2e/add",
                                  "/3/image/" + "x" * 20_000])  # fmt: skip
def test_paths_over_a_socket(server: Server, path: str) -> None:
    """Percent-encoded oddities in a path are unknown ids."""
    request = urllib.request.Request(
        server.facts["api_url"] + path,
        headers={"Authorization": f"Bearer {server.facts['access_token']}"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as page:
        assert page.code == 404
