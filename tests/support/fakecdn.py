"""A CDN in memory for tests of ``content``: one image, and answers that can be spoiled.

Not the emulator: it exists to send what the emulator cannot be asked to send.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
import trio

from imgurfs.limits import CHUNK_BYTES
from imgurfs.model import Image, ImageId

HOST = "cdn.test"
CONTENT = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(400_000))
IMAGE = Image(
    id=ImageId("abcdefg"),
    type="image/jpeg",
    link=f"https://{HOST}/abcdefg.jpg",
    size_bytes=len(CONTENT),
    datetime_s=0,
)

Change = Callable[[httpx.Response], httpx.Response]


class Body(httpx.AsyncByteStream):
    """A body in pieces."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 300_000):
            await trio.lowlevel.checkpoint()
            yield self.data[start : start + 300_000]


@dataclass
class FakeCdn(httpx.AsyncBaseTransport):
    """Serves ranges of CONTENT after a while; ``changes`` spoil the next answers."""

    requests: list[httpx.Request] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    content: bytes = CONTENT
    etag: str = "e1"
    latency_s: float = 0.1
    type: str = "image/jpeg"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.requests.append(request)
        await trio.sleep(self.latency_s)
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["range"])
        assert match is not None
        start, end = int(match[1]), min(int(match[2]) + 1, len(self.content))
        response = httpx.Response(
            206,
            headers={
                "content-type": self.type,
                "etag": f'"{self.etag}"',
                "content-length": str(end - start),
                "content-range": f"bytes {start}-{end - 1}/{len(self.content)}",
            },
            stream=Body(self.content[start:end]),
        )
        return self.changes.pop(0)(response) if self.changes else response

    @property
    def starts(self) -> list[int]:
        """The chunk numbers asked for."""
        found = [int(r.headers["range"][6:].partition("-")[0]) for r in self.requests]
        assert not any(start % CHUNK_BYTES for start in found)
        return [start // CHUNK_BYTES for start in found]
