"""How fast the emulator is, over sockets: it must not be what a benchmark measures.

Asked by a bare socket, because an HTTP client in Python would be the slower side. The
peer of the CDN's figures is a plain socket that sends the same bytes.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

from bench.figures import say
from bench.rig import IMGURFS, Rig, rig

API_REQUESTS_PER_S_MIN = 2_000
CDN_BYTES_PER_S_MIN = 800e6
SMALL_RANGES_PER_S_MIN = 5_000
START_BOUND_S = 2.0
_MIB = 1024 * 1024
_SECONDS = 2.0


def run() -> bool:
    """Measure start, small API requests, whole bodies and ranges."""
    held = [_start()]
    with rig("--limits", "off") as made:
        host = urlsplit(made.address["api_url"]).netloc
        request = (
            f"GET /3/account/me/albums/count HTTP/1.1\r\nHost: {host}\r\n"
            f"Authorization: Bearer {made.address['access_token']}\r\n\r\n"
        )
        count, _ = _ask(made.address["api_url"], [request.encode()])
        held.append(_rate("small API requests", count, "/s", API_REQUESTS_PER_S_MIN))
        link, size = _largest(made)
        for name, length in (
            ("whole bodies of 24 MiB", size),
            ("ranges of 8 MiB", 8 * _MIB),
        ):
            _, speed = _ask(made.address["cdn_url"], _ranges(link, size, length))
            held.append(
                _rate(f"CDN, {name}", speed / 1e6, "MB/s", CDN_BYTES_PER_S_MIN / 1e6)
            )
        count, _ = _ask(made.address["cdn_url"], _ranges(link, size, 128 * 1024))
        held.append(
            _rate("CDN, ranges of 128 KiB", count, "/s", SMALL_RANGES_PER_S_MIN)
        )
    print(f"{'a plain socket on this machine':<58} {_plain_socket() / 1e6:7.0f} MB/s")
    return all(held)


def _start() -> bool:
    """Time until the first line with 10,000 images."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        process = subprocess.Popen(
            [
                *IMGURFS,
                "emulator",
                "--port",
                "0",
                "--albums",
                "100",
                "--images",
                "10000",
            ],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        with process:
            json.loads(process.stdout.readline())
            seconds.append(time.perf_counter() - begin)
            process.terminate()
    return say("imgurfs emulator with 10,000 images", seconds, bound_s=START_BOUND_S)


def _rate(name: str, rate: float, unit: str, bound: float) -> bool:
    held = rate >= bound
    verdict = "held" if held else "MISSED"
    print(f"{name:<58} {rate:7.0f} {unit}  bound {bound:g}: {verdict}")
    return held


def _largest(made: Rig) -> tuple[str, int]:
    import httpx

    state = httpx.get(f"{made.address['api_url']}/_emulator/state").json()
    image = max(state["images"], key=lambda image: int(image["size"]))
    return str(image["link"]), int(image["size"])


def _ranges(link: str, size: int, length: int) -> list[bytes]:
    parts = urlsplit(link)
    heads = []
    for start in range(0, size - length + 1, length):
        span = f"Range: bytes={start}-{start + length - 1}\r\n"
        wanted = "" if length == size else span
        line = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        heads.append(f"{line}{wanted}\r\n".encode())
    return heads


def _ask(url: str, requests: list[bytes]) -> tuple[float, float]:
    """Send requests in turn on one connection; return answers/s and body bytes/s."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    answers = body_bytes = 0
    buffer = bytearray(2 * _MIB)
    with socket.create_connection((parts.hostname, parts.port or 80)) as connection:
        begin = time.perf_counter()
        while time.perf_counter() - begin < _SECONDS:
            connection.sendall(requests[answers % len(requests)])
            body_bytes += _receive(connection, buffer)
            answers += 1
        seconds = time.perf_counter() - begin
    return answers / seconds, body_bytes / seconds


def _receive(connection: socket.socket, buffer: bytearray) -> int:
    """Read one answer; return the length of its body."""
    have = b""
    while b"\r\n\r\n" not in have:
        part = connection.recv(64 * 1024)
        if not part:
            sys.exit("the emulator closed the connection")
        have += part
    head, _, rest = have.partition(b"\r\n\r\n")
    assert head[9:12] in (b"200", b"206"), head
    fields = dict(
        line.lower().split(b": ", 1)
        for line in head.split(b"\r\n")[1:]
        if b": " in line
    )
    length = int(fields[b"content-length"])
    left = length - len(rest)
    while left:
        got = connection.recv_into(buffer, min(left, len(buffer)))
        assert got, "a short body"
        left -= got
    return length


def _plain_socket() -> float:
    """Return the bytes per second between two threads' sockets on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        total = 2048 * _MIB

        def serve() -> None:
            connection, _ = server.accept()
            piece = bytes(_MIB)
            with connection:
                for _ in range(total // _MIB):
                    connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        buffer = bytearray(2 * _MIB)
        begin = time.perf_counter()
        with socket.create_connection(server.getsockname()) as connection:
            while connection.recv_into(buffer):
                pass
        seconds = time.perf_counter() - begin
        thread.join()
    return total / seconds
