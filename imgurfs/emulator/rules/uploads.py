"""What arrives as an upload: where its bytes are, and what they are.

Bytes come as a file, as base64 or as an address; only ``data:`` addresses, those of
this emulator's own CDN and those on this machine are fetched. What they are is read
from the bytes, never from a name or a header. Large stills are not kept as they came.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

import httpx

from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.call import Call, File
from imgurfs.emulator.rules.errors import ApiError, invalid_type, too_big
from imgurfs.emulator.rules.quirks import Quirks
from imgurfs.emulator.world import films, pictures
from imgurfs.emulator.world.content import Content, Stored

STILL_BYTES_MAX: Final = 10_000_000
MOVING_BYTES_MAX: Final = 200_000_000
#: Stills above these are written anew, in accounts and without one.
LOSSLESS_BYTES_MAX: Final = 5_000_000
ANONYMOUS_LOSSLESS_BYTES_MAX: Final = 1_000_000
_NAME_CHARS_MAX: Final = 20
_FETCH_TIMEOUT_S: Final = 20.0
_NO_DATA: Final = "No image data was sent to the upload api"
_SNIFF_BYTES: Final = 32
#: Brands of the ISO container that are pictures Imgur does not take.
_PICTURE_BRANDS: Final = (b"hei", b"hev", b"mif", b"msf", b"avi")


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found in the bytes of an upload."""

    content: Content
    mime: str
    width: int
    height: int
    animated: bool


async def find_source(context: Context, call: Call) -> File:
    """Return the bytes that were sent and the file name they came with, if any.

    Raises ApiError 400 when there are none.
    """
    declared = (call.get("type") or "").lower()
    file = call.files.get("image") or call.files.get("video")
    if file is not None:
        if declared == "base64":
            raise invalid_type()
        if not file.data:
            raise ApiError(400, _NO_DATA)
        return file
    text = call.get("image") or call.get("video") or call.get("url") or ""
    if not text:
        raise ApiError(400, _NO_DATA)
    if text.startswith(("http://", "https://")) or (
        declared == "url" and not text.startswith("data:")
    ):
        return File("", await _fetch(context, text))
    return File("", _decode(text))


def _decode(text: str) -> bytes:
    """Return the bytes of base64 text, with or without a ``data:`` prefix."""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            return unquote_to_bytes(text)
    # A form field that was not percent-encoded has lost its plus signs.
    packed = "".join(text.replace(" ", "+").split()).replace("-", "+").replace("_", "/")
    packed += "=" * (-len(packed) % 4)
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_type() from None


async def _fetch(context: Context, url: str) -> bytes:
    prefix = context.config.cdn_url + "/"
    if url.startswith(prefix):
        image = context.world.images.get(url.removeprefix(prefix).partition(".")[0])
        if image is not None:
            return bytes(image.content.read(0, image.content.size_bytes))
    if not _is_loopback(url):
        raise ApiError(400, f"Invalid URL ({url})")
    data = bytearray()
    try:
        async with (
            httpx.AsyncClient(timeout=_FETCH_TIMEOUT_S, trust_env=False) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            async for piece in response.aiter_bytes():
                data += piece
                if len(data) > MOVING_BYTES_MAX:
                    break
    except (httpx.HTTPStatusError, httpx.InvalidURL):
        raise ApiError(400, f"Invalid URL ({url})") from None
    except httpx.HTTPError:
        raise ApiError(400, "Unable to process upload!") from None
    return bytes(data)


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def sniff(data: bytes) -> str | None:
    """Return the MIME type the first bytes tell, None when Imgur takes no such file."""
    head = data[:_SNIFF_BYTES]
    starts = {
        b"\xff\xd8\xff": "image/jpeg",
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"GIF87a": "image/gif",
        b"GIF89a": "image/gif",
        b"II*\0": "image/tiff",
        b"MM\0*": "image/tiff",
        b"\0\0\1\xba": "video/mpeg",
        b"\0\0\1\xb3": "video/mpeg",
    }
    for start, mime in starts.items():
        if head.startswith(start):
            return mime
    if head[4:8] == b"ftyp" and not head[8:12].startswith(_PICTURE_BRANDS):
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in data[:64] else "video/x-matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "video/x-msvideo"
    return None


def inspect(data: bytes, *, quirks: Quirks, is_anonymous: bool) -> Inspected:
    """Return type, dimensions, and the bytes as they are kept.

    Raises ApiError for what Imgur refuses.
    """
    mime = sniff(data)
    if mime is None:
        raise invalid_type()
    is_still = mime.startswith("image/") and mime != "image/gif"
    if len(data) > (STILL_BYTES_MAX if is_still else MOVING_BYTES_MAX):
        raise too_big()
    if mime.startswith("video/"):
        width, height = films.measure(data, mime=mime)
        return Inspected(Stored(data), mime, width, height, animated=True)
    measured = pictures.measure(data)
    if measured is None:
        raise ApiError(400, "Image format not supported, or image is corrupt.")
    kept, kept_mime = _kept(data, mime, quirks=quirks, is_anonymous=is_anonymous)
    return Inspected(
        Stored(kept),
        kept_mime,
        measured.width,
        measured.height,
        animated=mime == "image/gif" and measured.frames > 1,
    )


def _kept(
    data: bytes, mime: str, *, quirks: Quirks, is_anonymous: bool
) -> tuple[bytes, str]:
    """Return bytes and type of a picture as Imgur keeps it."""
    if mime == "image/gif":
        anew = pictures.gif_anew(data) if quirks.recompress == "gifs" else None
        return anew or data, mime
    lossless = ANONYMOUS_LOSSLESS_BYTES_MAX if is_anonymous else LOSSLESS_BYTES_MAX
    is_png = mime == "image/png"
    is_wanted = quirks.png_to_jpeg == "on" if is_png else quirks.recompress != "off"
    if len(data) <= lossless or not is_wanted:
        return data, mime
    jpeg = pictures.as_jpeg(data)
    if jpeg is None or (len(jpeg) >= len(data) and not is_png):
        return data, mime
    return jpeg, "image/jpeg"


def kept_name(name: str, *, quirks: Quirks) -> str:
    """Return what becomes of a file name."""
    match quirks.name_on_upload:
        case "kept":
            return name
        case "dropped":
            return ""
        case "truncated":
            return name[:_NAME_CHARS_MAX]
        case "sanitised":
            return re.sub(r"[^A-Za-z0-9._-]", "_", name)
