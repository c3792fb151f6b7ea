"""Asks the CDN for a part of an image and judges what comes back.

What it is not: it keeps nothing and shares nothing between readers; ``content.fetch``
does. Nothing leaves this module that was not proven to be the bytes asked for: the
right host, status 206, a media type, the range and the total that were expected, and
exactly as many bytes as promised (docs/IMGUR.md, Pictures).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import httpx
import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.errors import (
    ContentGoneError,
    ContentMismatchError,
    OutageError,
    ThrottledError,
)
from imgurfs.metered import is_cdn
from imgurfs.model import Image, Lane, RequestClass, RequestKind

#: No webp: with it the CDN sends other bytes than the ones that were uploaded.
_ACCEPT: Final = "image/jpeg,image/png,image/gif,image/apng,video/mp4,*/*;q=0.5"
#: Imgur's "the image you are requesting does not exist" (docs/IMGUR.md, Pictures).
_REMOVED_PATH: Final = "/removed.png"
_REMOVED_ETAG: Final = "d835884373f4d6c8f24742ceabe74946"
#: Pause before another attempt, times the number of attempts made.
_RETRY_PAUSE_S: Final = 0.5
#: How long "429 Too Many Requests" is believed when it names no time.
_THROTTLE_S: Final = 60.0
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Answer:
    """Proven bytes: ``data`` begins at ``start`` of ``total_bytes``; ``etag`` or ""."""

    start: int
    data: bytes
    total_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What the CDN says of an image's bytes. The ETag of an upload is its MD5."""

    etag: str
    size_bytes: int


class Cdn:
    """Fetches spans of images, with a bounded number of attempts."""

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        cdn_url: str,
        cdn_hosts: frozenset[str],
        clock: Clock,
    ) -> None:
        self._http = http
        self._cdn_url = httpx.URL(cdn_url)
        self._cdn_hosts = cdn_hosts | {self._cdn_url.netloc.decode("ascii")}
        self._clock = clock

    async def fetch(
        self, image: Image, *, start: int, size_bytes: int | None, lane: Lane
    ) -> Answer:
        """Return the chunk that begins at ``start``; ``size_bytes`` None = not known.

        Raises ContentGoneError, ContentMismatchError, ThrottledError and NotSentError
        at once, OutageError after DOWNLOAD_ATTEMPTS_MAX attempts.
        """
        url = self.url_of(image)
        for attempt in range(1, limits.DOWNLOAD_ATTEMPTS_MAX + 1):
            try:
                with trio.fail_after(limits.API_CALL_TIMEOUT_S):
                    return await self._attempt(
                        image, url=url, start=start, size_bytes=size_bytes, lane=lane
                    )
            except trio.TooSlowError:
                raise OutageError(
                    f"the CDN is too slow: image {image.id} did not come within"
                    f" {limits.API_CALL_TIMEOUT_S:.0f} s"
                ) from None
            except OutageError:
                if attempt == limits.DOWNLOAD_ATTEMPTS_MAX:
                    raise
            await trio.sleep(_RETRY_PAUSE_S * attempt)
        raise AssertionError("the last attempt returns or raises")

    async def identify(self, image: Image, *, lane: Lane) -> Identity:
        """Return what the CDN has under the image's link, without its bytes.

        One attempt. Raises ContentGoneError, ContentMismatchError, ThrottledError,
        NotSentError and OutageError.
        """
        request = self._http.build_request(
            "HEAD",
            self.url_of(image),
            headers={"Accept": _ACCEPT},
            extensions={"imgurfs": RequestClass(RequestKind.CDN, lane)},
        )
        try:
            with trio.fail_after(limits.API_CALL_TIMEOUT_S):
                response = await self._http.send(request)
        except trio.TooSlowError:
            raise OutageError(f"the CDN does not tell of image {image.id}") from None
        self._check_status(image, response, wanted=200)
        etag = _check_headers(image, response)
        length: str = response.headers.get("content-length", "")
        if not length.isdecimal():
            raise ContentMismatchError(f"image {image.id}: the CDN tells no length")
        return Identity(etag=etag, size_bytes=int(length))

    def url_of(self, image: Image) -> httpx.URL:
        """Return where to ask: the link's path on the configured CDN.

        Raises ContentMismatchError for a link to a host that is not a CDN host.
        """
        try:
            link = httpx.URL(image.link)
        except httpx.InvalidURL as error:
            raise ContentMismatchError(
                f"image {image.id} has a link that is no address"
            ) from error
        if not is_cdn(link, self._cdn_hosts) or link.scheme not in ("http", "https"):
            raise ContentMismatchError(
                f"image {image.id} links to {link.host or 'nowhere'},"
                " which is not a CDN host of the configuration",
                hint="add the host to cdn_hosts if you trust it",
            )
        return self._cdn_url.copy_with(raw_path=link.raw_path)

    async def _attempt(
        self,
        image: Image,
        *,
        url: httpx.URL,
        start: int,
        size_bytes: int | None,
        lane: Lane,
    ) -> Answer:
        end = start + limits.CHUNK_BYTES
        if size_bytes is not None:
            end = min(end, size_bytes)
        request = self._http.build_request(
            "GET",
            url,
            headers={"Accept": _ACCEPT, "Range": f"bytes={start}-{end - 1}"},
            extensions={"imgurfs": RequestClass(RequestKind.CDN, lane)},
        )
        response = await self._http.send(request, stream=True)
        try:
            self._check_status(image, response)
            total_bytes = _check_range(image, response, start, end, size_bytes)
            etag = _check_headers(image, response)
            expected = min(end, total_bytes) - start
            _check_length(image, response, expected)
            data = await _body(image, response, expected)
        finally:
            await response.aclose()
        return Answer(start=start, data=data, total_bytes=total_bytes, etag=etag)

    def _check_status(
        self, image: Image, response: httpx.Response, *, wanted: int = 206
    ) -> None:
        """Raise unless the answer claims to be a part of an image, or all of it."""
        status = response.status_code
        if status == wanted:
            return
        if status in (404, 410):
            raise ContentGoneError(f"image {image.id} is not on the CDN any more")
        if response.is_redirect:
            target = response.headers.get("location", "")
            if target.partition("?")[0].endswith(_REMOVED_PATH):
                raise ContentGoneError(f"image {image.id} was removed from Imgur")
            raise ContentMismatchError(f"image {image.id} redirects to {target!r}")
        if status == 429:
            wait_s = response.headers.get("retry-after", "")
            pause_s = float(wait_s) if wait_s.isdecimal() else _THROTTLE_S
            raise ThrottledError(
                "the CDN asks to slow down",
                retry_at=self._clock.now() + pause_s,
                scope="cdn",
            )
        if status >= 500:
            raise OutageError(f"the CDN answers with status {status}")
        if status == 200 and _etag_of(response) == _REMOVED_ETAG:
            raise ContentGoneError(f"image {image.id} was removed from Imgur")
        raise ContentMismatchError(
            f"the CDN answers with status {status} instead of a part of"
            f" image {image.id}"
        )


def _etag_of(response: httpx.Response) -> str:
    etag: str = response.headers.get("etag", "")
    return etag.removeprefix("W/").strip('"')


def _check_headers(image: Image, response: httpx.Response) -> str:
    """Return the ETag; raise if the answer is a placeholder or no picture at all."""
    etag = _etag_of(response)
    if etag == _REMOVED_ETAG:
        raise ContentGoneError(f"image {image.id} was removed from Imgur")
    content_type: str = response.headers.get("content-type", "")
    family = content_type.partition("/")[0].strip().lower()
    # A placeholder for a video whose size nobody told us is a picture.
    is_video_wanted = image.size_bytes == 0 and image.type.startswith("video/")
    wanted = ("video",) if is_video_wanted else ("image", "video")
    if family not in wanted:
        raise ContentMismatchError(
            f"the CDN sends {content_type or 'something without a type'}"
            f" instead of image {image.id}"
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ContentMismatchError(f"the CDN sends image {image.id} encoded")
    return etag


def _check_range(
    image: Image, response: httpx.Response, start: int, end: int, size: int | None
) -> int:
    """Return the total size; raise unless exactly the span asked for is coming."""
    text = response.headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        raise ContentMismatchError(f"image {image.id}: no Content-Range in the answer")
    first, last, total_bytes = (int(group) for group in match.groups())
    if size is not None and total_bytes != size:
        raise ContentMismatchError(
            f"image {image.id} has {size} bytes, the CDN offers {total_bytes}:"
            " a placeholder or another picture"
        )
    if (first, last + 1) != (start, min(end, total_bytes)):
        raise ContentMismatchError(f"image {image.id}: the CDN sends {text!r}")
    return total_bytes


def _check_length(image: Image, response: httpx.Response, expected: int) -> None:
    """Raise unless the body is announced with the length of the span.

    An announced length also bounds what the HTTP library will deliver.
    """
    announced = response.headers.get("content-length", "")
    if announced != str(expected):
        raise ContentMismatchError(
            f"image {image.id}: the CDN announces {announced or 'no number of'} bytes"
            f" instead of {expected}"
        )


async def _body(image: Image, response: httpx.Response, expected: int) -> bytes:
    """Return exactly ``expected`` bytes; a shorter body is an outage, never content."""
    # To the end, always: a body that is abandoned halfway leaves generators behind.
    data = b"".join([piece async for piece in response.aiter_raw()])
    if len(data) > expected:
        raise ContentMismatchError(f"image {image.id}: more bytes than promised")
    if len(data) < expected:
        raise OutageError(
            f"image {image.id}: {len(data)} bytes came instead of {expected}"
        )
    return data
