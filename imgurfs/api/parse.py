"""Reads Imgur's answers: bytes to model values, whichever back-end wrote them.

Sans-I/O and total: whatever the bytes are, a function here returns a value or raises
:class:`Malformed` with a sentence; never anything else. ``api.client`` turns Malformed
into OutageError or OutcomeUnknownError. Facts: docs/IMGUR.md, Two dialects.

An item of a listing that lacks its id fails the whole listing: a listing that is
silently short would look like deletions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from imgurfs import limits
from imgurfs.api.wire import is_id
from imgurfs.model import (
    Account,
    Album,
    AlbumId,
    Credits,
    Image,
    ImageId,
    RateHeaders,
)

#: Larger numbers do not survive JSON elsewhere, nor SQLite's integers.
_INTEGER_MAX: Final = 2**53
_SECRET: Final = re.compile(
    r"(?:Bearer|Client-ID)\s+\S+|\b[0-9a-fA-F]{32,}\b"
    r"|(?:(?:access|refresh)_token|client_secret|deletehash)\W{1,5}[^\s\"'&<>,;}]+",
    re.IGNORECASE,
)
_INVISIBLE: Final = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>")
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")
_EXTENSIONS: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/webm": "webm",
}


class Malformed(Exception):  # noqa: N818 - a finding, not an error of its own
    """The answer is not what the API is known to say; the text says what it is."""


@dataclass(frozen=True, slots=True, repr=False)
class TokenReply:
    """What the token endpoint answered; "" and 0 where it said nothing."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    account_id: int
    account_name: str

    def __repr__(self) -> str:
        return f"<TokenReply account={self.account_name!r}>"


# --- Text for messages --------------------------------------------------------


def excerpt(body: bytes | str) -> str:
    """Return a short printable piece of a foreign text, without tags or secrets."""
    start = body[:4096]
    text = start if isinstance(start, str) else start.decode("utf-8", "replace")
    text = re.sub(
        r"<(script|style)\b.*?</\1\s*>", " ", text, flags=re.DOTALL | re.IGNORECASE
    )
    text = re.sub(r"<[^<>]*>", " ", text)
    text = _SECRET.sub("[hidden]", text)
    text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split())
    if len(text) > limits.EXCERPT_CHARS_MAX:
        text = text[: limits.EXCERPT_CHARS_MAX - 1] + "…"
    return text


# --- Envelope -----------------------------------------------------------------


def json_value(body: bytes) -> object:
    """Decode JSON; raise Malformed when it is none."""
    if not body.strip():
        raise Malformed("an empty answer")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        kind = "a web page" if body.lstrip()[:1] == b"<" else "no valid JSON"
        raise Malformed(f"{kind}: {excerpt(body)!r}") from error


def data(body: bytes) -> object:
    """Return ``data`` of a successful envelope."""
    envelope = _object(json_value(body), "the answer")
    if "data" not in envelope:
        raise Malformed(f"an answer without data: {excerpt(body)!r}")
    return envelope["data"]


# --- Values -------------------------------------------------------------------


def account(value: object) -> Account:
    """Read ``GET /3/account/me``."""
    item = _object(value, "the account")
    account_id, url = _integer(item.get("id")), _text(item.get("url"))
    if account_id <= 0:
        raise Malformed("an account without an id")
    return Account(id=account_id, url=url)


def credit(value: object, now: float) -> Credits:
    """Read ``GET /3/credits``; the reset may be an epoch or seconds from ``now``."""
    item = _object(value, "the credits")
    keys = ("UserLimit", "UserRemaining", "ClientLimit", "ClientRemaining")
    numbers = [_number(item.get(key)) for key in keys]
    if any(number is None for number in numbers):
        raise Malformed("credits without numbers")
    reset_s = _seconds_ahead(_number(item.get("UserReset")), now)
    user_limit, user_remaining, client_limit, client_remaining = (
        max(0, number or 0) for number in numbers
    )
    return Credits(
        user_limit=user_limit,
        user_remaining=user_remaining,
        user_reset_at=0.0 if reset_s is None else now + reset_s,
        client_limit=client_limit,
        client_remaining=client_remaining,
    )


def image(value: object) -> Image:
    """Read one image in either dialect. Only ``id`` is required."""
    item = _object(value, "an image")
    image_id = _identifier(item.get("id"), "an image")
    mime = _text(item.get("type")).lower()
    link = _image_link(item, image_id, mime)
    return Image(
        id=ImageId(image_id),
        type=mime,
        link=link,
        size_bytes=_image_size(item, link),
        datetime_s=_integer(item.get("datetime")),
        title=_text(item.get("title")),
        description=_text(item.get("description")),
        name=_text(item.get("name")),
        deletehash=_deletehash(item),
        width=_integer(item.get("width")),
        height=_integer(item.get("height")),
        animated=_flag(item.get("animated")),
        favorite=_flag(item.get("favorite")),
        views=_integer(item.get("views")),
    )


def images(value: object) -> list[Image]:
    """Read a page of images; every item must be one."""
    return [image(item) for item in _list(value, "a list of images")]


def count(value: object) -> int:
    """Return a number that is the whole answer."""
    number = _number(value)
    if number is None or number < 0:
        raise Malformed("a number was expected")
    return number


def album(value: object) -> Album:
    """Read one album, its images aside. Only ``id`` is required."""
    item = _object(value, "an album")
    count = _number(item.get("images_count"))
    return Album(
        id=AlbumId(_identifier(item.get("id"), "an album")),
        title=_text(item.get("title")),
        datetime_s=_integer(item.get("datetime")),
        description=_text(item.get("description")),
        images_count=-1 if count is None or count < 0 else count,
        cover=_optional_id(item.get("cover")),
        privacy=_text(item.get("privacy")),
        link=_link(_text(item.get("link"))),
        deletehash=_deletehash(item),
        order=_integer(item.get("order")),
    )


def albums(value: object) -> list[Album]:
    """Read a page of albums; every item must be one."""
    return [album(item) for item in _list(value, "a list of albums")]


def album_with_images(value: object) -> tuple[Album, list[Image]]:
    """Read ``GET /3/album/{id}``.

    No images where the count says there are some is not believed: an empty album
    would look like deletions.
    """
    item = _object(value, "an album")
    parsed = album(item)
    raw = item.get("images")
    # null stands for an empty list, but only where the count agrees.
    listed = [] if raw is None and parsed.images_count == 0 else images(raw)
    if not listed and parsed.images_count > 0:
        raise Malformed(f"an album of {parsed.images_count} images without any")
    return parsed, listed


def created_album(value: object) -> tuple[AlbumId, str]:
    """Read the answer to a creation: id and deletehash."""
    item = _object(value, "the new album")
    return AlbumId(_identifier(item.get("id"), "the new album")), _deletehash(item)


def token(body: bytes) -> TokenReply:
    """Read the token endpoint's answer, wrapped in ``data`` or not."""
    item = _object(json_value(body), "the token answer")
    if "access_token" not in item and isinstance(item.get("data"), dict):
        item = _object(item["data"], "the token answer")
    access, refresh = _text(item.get("access_token")), _text(item.get("refresh_token"))
    if not _TOKEN.fullmatch(access) or (refresh and not _TOKEN.fullmatch(refresh)):
        # What came is not quoted: it may hold half a token.
        raise Malformed("a token answer without a usable token")
    return TokenReply(
        access_token=access,
        refresh_token=refresh,
        expires_in_s=_integer(item.get("expires_in")),
        account_id=_integer(item.get("account_id")),
        account_name=_text(item.get("account_username")),
    )


def rate_headers(headers: Iterable[tuple[str, str]], now: float) -> RateHeaders | None:
    """Read the rate headers of an answer; None when it carries none.

    Names come in any case; a reset is seconds from now or an epoch, whatever the
    documents say (docs/IMGUR.md, Rate limits).
    """
    numbers: dict[str, int | float] = {}
    for name, text in headers:
        key = _RATE_HEADERS.get(name.lower())
        number = _number(text) if key is not None else None
        if key is None or number is None:
            continue
        if key.endswith("_s"):
            reset_s = _seconds_ahead(number, now)
            if reset_s is not None:
                numbers[key] = reset_s
        else:
            numbers[key] = max(0, number)
    return msgspec.convert(numbers, RateHeaders) if numbers else None


_RATE_HEADERS: Final = {
    "x-ratelimit-userlimit": "user_limit",
    "x-ratelimit-userremaining": "user_remaining",
    "x-ratelimit-userreset": "user_reset_s",
    "x-ratelimit-clientlimit": "client_limit",
    "x-ratelimit-clientremaining": "client_remaining",
    "x-ratelimit-clientreset": "client_reset_s",
    "x-post-rate-limit-limit": "post_limit",
    "x-post-rate-limit-remaining": "post_remaining",
    "x-post-rate-limit-reset": "post_reset_s",
}


def _seconds_ahead(reset: int | None, now: float) -> float | None:
    if reset is None or reset < 0:
        return None
    ahead = reset - now if reset >= limits.RESET_EPOCH_MIN else float(reset)
    return min(max(ahead, 0.0), limits.RESET_AHEAD_MAX_S)


# --- Single fields ------------------------------------------------------------


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Malformed(f"{_kind(value)} where {what} was expected")
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise Malformed(f"{_kind(value)} where {what} was expected")
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool() | int() | float():
            return f"the value {value}"
        case str():
            return f"the text {excerpt(value)!r}"
        case list():
            return "a list"
        case _:
            return "an object"


def _text(value: object) -> str:
    """Return a text; null, false and structures count as absent."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) in (int, float) else ""


def _number(value: object) -> int | None:
    """Return an integer from a number or a text that is one; None otherwise."""
    if isinstance(value, str):
        value = value.strip()
        if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]*)?", value):
            return None
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN fails this comparison too.
    return int(value) if -_INTEGER_MAX < value < _INTEGER_MAX else None


def _integer(value: object) -> int:
    return max(0, _number(value) or 0)


def _flag(value: object) -> bool:
    """Return a truth value; the legacy dialect writes 0, 1, "0" and "1"."""
    if isinstance(value, str):
        return value.lower() not in ("", "0", "false", "no")
    return isinstance(value, bool | int) and bool(value)


def _identifier(value: object, what: str) -> str:
    text = _text(value)
    if not is_id(text):
        raise Malformed(f"{what} without a usable id ({excerpt(text)!r})")
    return text


def _optional_id(value: object) -> str:
    text = _text(value)
    return text if is_id(text) else ""


def _deletehash(item: Mapping[str, object]) -> str:
    return _optional_id(item.get("deletehash"))


def _link(text: str) -> str:
    """Return an absolute http(s) address, or "" for anything else."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    return text if is_web and text.isascii() and text.isprintable() else ""


def _image_link(item: Mapping[str, object], image_id: str, mime: str) -> str:
    """Return where the bytes are, mending what Imgur is known to get wrong.

    A link ending in a bare dot lacks its extension; ``….gifv`` is a web page beside
    the video; ``<id>h.gif`` of a very large animation is its thumbnail.
    """
    link = _link(_text(item.get("link")))
    if link.endswith("."):
        return link + _EXTENSIONS.get(mime, "mp4")
    if not link or link.endswith(".gifv"):
        return _link(_text(item.get("mp4"))) or link
    base, slash, file_name = link.rpartition("/")
    if file_name == f"{image_id}h.gif":
        return f"{base}{slash}{image_id}.gif"
    return link


def _image_size(item: Mapping[str, object], link: str) -> int:
    """Return the bytes the CDN serves for ``link``, 0 when that is not known yet."""
    size, mp4_size = _integer(item.get("size")), _integer(item.get("mp4_size"))
    processing = item.get("processing")
    if isinstance(processing, dict) and processing.get("status") == "pending":
        return 0
    if link.endswith(".mp4"):
        # Only for a video do size and mp4_size mean the same bytes.
        is_video = _text(item.get("type")).lower().startswith("video/")
        return mp4_size or (size if is_video else 0)
    return size
