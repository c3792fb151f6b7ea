"""The CDN host: picture bytes, thumbnails, ranges, validators.

No credits, no authorization. The ending of a link is not checked: the content type
tells the truth. What is not there is a redirect to a picture that says so.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.observations import LogEntry
from imgurfs.emulator.hosts.sending import EDGE_HEADERS, encode_headers
from imgurfs.emulator.rules.quirks import Quirks
from imgurfs.emulator.world import pictures
from imgurfs.emulator.world.content import Content, Stored
from imgurfs.emulator.world.world import Image

#: Bytes handed to the server at a time: what fits the processor's cache is fastest.
PIECE_BYTES: Final = 1 << 20
_MADE_MAX: Final = 512
_PATH = re.compile(r"/([A-Za-z0-9]{5,8})(?:\.[A-Za-z0-9]{1,5})?")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
REMOVED_PATH: Final = "/removed.png"


class RangeUnsatisfiableError(Exception):
    """The range begins beyond the end."""


def parse_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return the (start, stop) that is asked for, None for the whole.

    What is not understood, and several ranges at once, mean the whole, as with S3.
    Raises RangeUnsatisfiableError.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size_bytes)
        if length == 0:
            raise RangeUnsatisfiableError
        return size_bytes - length, size_bytes
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise RangeUnsatisfiableError
    return start, min(int(last) + 1, size_bytes) if last else size_bytes


class CdnHost:
    """ASGI application of the CDN."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._removed = Stored(pictures.removed_picture())
        self._region = Stored(pictures.region_picture())
        #: Thumbnails and other formats, least recently asked for first.
        self._made: OrderedDict[str, Content] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive
        assert scope["type"] == "http"
        if scope["method"] not in {"GET", "HEAD"}:
            await self._empty(scope, send, 405, {"allow": "GET, HEAD"})
            return
        found = self._found(scope)
        if found is None:
            location = self._context.config.cdn_url + REMOVED_PATH
            await self._empty(scope, send, 302, {"location": location})
            return
        content, mime, modified_s = found
        headers = {
            "content-type": mime,
            "etag": f'"{content.md5}"',
            "last-modified": formatdate(modified_s, usegmt=True),
            "cache-control": "public, max-age=31536000",
            "accept-ranges": "bytes",
        }
        if self._quirks.webp == "on":
            headers["vary"] = "accept"
        await self._serve(scope, send, content, headers)

    @property
    def _quirks(self) -> Quirks:
        return self._context.config.quirks

    def _found(self, scope: Scope) -> tuple[Content, str, int] | None:
        """Return what this caller is shown: bytes, type, date; None when gone."""
        if self._quirks.region_block == "on":
            return self._region, "image/png", 0
        found = self._find(scope["path"])
        accepted = Headers(scope=scope).get("accept", "")
        if found is None or self._quirks.webp == "off" or "image/webp" not in accepted:
            return found
        content, mime, modified_s = found
        if mime not in {"image/jpeg", "image/png"}:
            return found
        webp = self._derived(content.md5, pictures.as_webp, content)
        return (webp, "image/webp", modified_s) if webp else found

    def _find(self, path: str) -> tuple[Content, str, int] | None:
        if path == REMOVED_PATH:
            return self._removed, "image/png", 0
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        images = self._context.world.images
        key = match[1]
        image = images.get(key)
        if image is not None:
            if self._context.writer.is_processing(image):
                return None
            return image.content, image.type, image.datetime_s
        # Six or eight characters may be an id and a thumbnail suffix.
        image, suffix = images.get(key[:-1]), key[-1]
        if image is None or suffix not in pictures.THUMBNAIL_PIXELS:
            return None
        return self._thumbnail(image, suffix), "image/jpeg", image.datetime_s

    def _thumbnail(self, image: Image, suffix: str) -> Content:
        def make(data: bytes) -> bytes:
            small = pictures.thumbnail(data, suffix=suffix) if data else None
            title = image.title or image.id
            return small or pictures.video_thumbnail(title, suffix=suffix)

        content = None if image.is_video else image.content
        made = self._derived(image.id + suffix, make, content)
        assert made is not None
        return made

    def _derived(
        self, key: str, make: Callable[[bytes], bytes | None], content: Content | None
    ) -> Content | None:
        """Return what is made of some bytes, made once; None when nothing can be."""
        kept = self._made.get(key)
        if kept is None:
            whole = content.read(0, content.size_bytes) if content else b""
            data = make(bytes(whole))
            if data is None:
                return None
            kept = self._made[key] = Stored(data)
            if len(self._made) > _MADE_MAX:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return kept

    async def _serve(
        self, scope: Scope, send: Send, content: Content, headers: dict[str, str]
    ) -> None:
        request = Headers(scope=scope)
        etag, size = headers["etag"], content.size_bytes
        if _matches(request.get("if-none-match"), etag):
            await self._empty(scope, send, 304, headers)
            return
        status, start, stop = 200, 0, size
        if_range = request.get("if-range")
        if if_range in (None, etag, headers["last-modified"]):
            try:
                part = parse_range(request.get("range"), size)
            except RangeUnsatisfiableError:
                await self._empty(
                    scope, send, 416, {"content-range": f"bytes */{size}"}
                )
                return
            if part is not None:
                status, (start, stop) = 206, part
                headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        headers["content-length"] = str(stop - start)
        await _start(send, status, headers)
        if scope["method"] == "HEAD":
            self._observe(scope, status, 0)
            await send({"type": "http.response.body"})
            return
        # Counted before it is sent: whoever has the answer finds it counted.
        self._observe(scope, status, stop - start)
        await _send_pieces(send, content, start, stop)

    async def _empty(
        self, scope: Scope, send: Send, status: int, headers: dict[str, str]
    ) -> None:
        self._observe(scope, status, 0)
        if status != 304:
            headers = {**headers, "content-length": "0"}
        await _start(send, status, headers)
        await send({"type": "http.response.body"})

    def _observe(self, scope: Scope, status: int, bytes_sent: int) -> None:
        seen = self._context.observations
        seen.cdn_statuses[str(status)] += 1
        seen.cdn_images[scope["path"].removeprefix("/").partition(".")[0][:16]] += 1
        seen.cdn_bytes_sent += bytes_sent
        seen.log.append(
            LogEntry(
                at=self._context.clock.now(),
                host="cdn",
                method=scope["method"],
                path=scope["path"],
                query=scope.get("query_string", b"").decode("latin-1"),
                status=status,
                bytes_sent=bytes_sent,
            )
        )


async def _send_pieces(send: Send, content: Content, start: int, stop: int) -> None:
    position = start
    while True:
        end = min(position + PIECE_BYTES, stop)
        piece = content.read(position, end)
        more = end < stop
        await send({"type": "http.response.body", "body": piece, "more_body": more})
        if not more:
            return
        position = end


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": encode_headers({**EDGE_HEADERS, **headers}),
        }
    )
