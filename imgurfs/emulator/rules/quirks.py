"""What Imgur does although nobody would expect it: one switch for each oddity.

A plain value per switch; every back-end has its own real defaults. Only the values and
their reading from text are here; the odd behaviour is where the plain one is, and
docs/EMULATOR.md has the table of all switches (a test compares it with this module).
"""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final, Literal

from imgurfs.emulator.rules.dialect import Dialect

Switch = Literal["on", "off"]
Value = str | int | float


class QuirkError(ValueError):
    """A quirk cannot be set that way; the text says what is possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """Every switch. The defaults of the class are those of the legacy back-end."""

    # --- Uploads ---
    album_on_upload: Annotated[
        Literal["honoured", "ignored"],
        "whether `album=` at an upload puts the image into the album",
    ] = "honoured"
    name_on_upload: Annotated[
        Literal["kept", "dropped", "truncated", "sanitised"],
        "what becomes of the file name: 20 characters, or letters, digits, ._-",
    ] = "kept"
    recompress: Annotated[
        Literal["off", "large", "gifs"],
        "stills above 5 MB (anonymous: 1 MB) become smaller JPEGs; `gifs`: every GIF "
        "is written anew as well",
    ] = "large"
    png_to_jpeg: Annotated[Switch, "whether a PNG above those sizes becomes a JPEG"] = (
        "on"
    )
    video_processing_s: Annotated[
        float, "seconds until a film is `completed`; before, no bytes to fetch"
    ] = 0.0
    webm_link: Annotated[
        Literal["whole", "dot"],
        "link in the answer to a WebM upload; `dot`: it ends before `webm`",
    ] = "whole"
    upload_cost: Annotated[
        Literal["limits", "1", "10"],
        "credits of an upload; `limits`: what the limits say, really 10",
    ] = "limits"
    foreign_format: Annotated[
        Literal["400", "415", "text"],
        "refusal of what is no picture: code 1003 in 400 or 415, or only text",
    ] = "400"
    too_big: Annotated[
        Literal["400", "413", "413_nested", "405_page"],
        "refusal of a file above the size limit",
    ] = "400"
    too_fast: Annotated[
        Literal["429", "400", "old"],
        "HTTP status of the upload throttle; `old`: 400 without the minutes",
    ] = "429"
    foreign_album: Annotated[
        Literal["403", "400"], "status of an upload into somebody else's album"
    ] = "403"
    # --- Images and albums ---
    name_to_strangers: Annotated[Switch, "whether everybody is told the file name"] = (
        "off"
    )
    missing_image: Annotated[
        Literal["json", "page"], "404 of an unknown image: JSON, or the simple 404 page"
    ] = "json"
    foreign_images: Annotated[
        Literal["refused", "ignored"],
        "adding images that are not the caller's to an album",
    ] = "refused"
    set_images: Annotated[
        Literal["works", "multipart_ignored", "ignored"],
        "`POST /3/album/{id}` with ids: whether it replaces the images, or says yes "
        "and does nothing (always, or only for a multipart body)",
    ] = "works"
    favorite: Annotated[
        Literal["toggles", "sets"], "whether a second favourite call undoes the first"
    ] = "toggles"
    short_pages: Annotated[int, "so many items are missing from a full page's size"] = 0
    listing_lag_s: Annotated[
        float, "lists and albums show the state of so many seconds ago"
    ] = 0.0
    # --- Sessions ---
    invalid_token: Annotated[
        Literal["403", "401", "429"], "status of an unknown or expired access token"
    ] = "403"  # noqa: S105
    refresh_token: Annotated[
        Literal["same", "added", "rotated"],
        "a refresh answers the same refresh token, another one, or the only one",
    ] = "same"  # noqa: S105
    second_login: Annotated[
        Literal["keeps", "revokes"],
        "whether a login ends the access tokens of this client's earlier one",
    ] = "revokes"
    authorize_page: Annotated[
        Literal["works", "dead"],
        "whether one can log in, or finds only an error page as since mid-2025",
    ] = "works"
    # --- Headers and hosts ---
    reset_header: Annotated[
        Literal["seconds", "epoch"],
        "`x-ratelimit-userreset` counts down, or is a date as documented",
    ] = "seconds"
    api_etag: Annotated[Switch, "ETag on API answers, and 304 (costs a credit)"] = "on"
    sunset: Annotated[str, "HTTP date for a `Sunset` header on every API answer"] = (
        "off"
    )
    webp: Annotated[Switch, "the CDN sends WebP to whoever accepts `image/webp`"] = "on"
    region_block: Annotated[
        Switch, "the CDN shows every address as one and the same placeholder"
    ] = "off"


#: Where the new back-end differs.
_NEW: Final[dict[str, Value]] = {
    "video_processing_s": 5.0,
    "too_big": "413",
    "name_to_strangers": "on",
    "set_images": "multipart_ignored",
    "invalid_token": "401",
}


def quirks_of(dialect: Dialect, changes: Mapping[str, Value] | None = None) -> Quirks:
    """Return the real quirks of a back-end with some changed. Raises QuirkError."""
    values: dict[str, Any] = dict(_NEW) if dialect is Dialect.NEW else {}
    for name, value in (changes or {}).items():
        values[name] = _checked(name, value)
    return Quirks(**values)


def parse_quirks(texts: Iterable[str]) -> dict[str, Value]:
    """Return the changes that ``NAME=VALUE`` texts ask for. Raises QuirkError."""
    changes: dict[str, Value] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise QuirkError(f"{text!r} is not NAME=VALUE")
        changes[name] = _checked(name, value)
    return changes


def possible_values(name: str) -> str:
    """Return what a switch may be set to, for people."""
    if name == "sunset":
        return "off, an HTTP date"
    kind = _KINDS[name]
    if kind is int:
        return "a whole number"
    if kind is float:
        return "seconds"
    return ", ".join(typing.get_args(kind))


def meaning_of(name: str) -> str:
    """Return what a switch does, for people."""
    meaning: str = _HINTS[name].__metadata__[0]
    return meaning


NAMES: Final = tuple(it.name for it in fields(Quirks))
_HINTS: Final = typing.get_type_hints(Quirks, include_extras=True)
_KINDS: Final = typing.get_type_hints(Quirks)


def _checked(name: str, value: Value) -> Value:
    if name not in NAMES:
        raise QuirkError(f"unknown quirk {name!r}; known are {', '.join(NAMES)}")
    try:
        return _converted(name, value)
    except (ValueError, TypeError):
        raise QuirkError(
            f"{name} cannot be {value!r}; possible are {possible_values(name)}"
        ) from None


def _converted(name: str, value: Value) -> Value:
    kind = _KINDS[name]
    if kind in (int, float):
        number: int | float = kind(value)
        if number < 0 or not math.isfinite(number):
            raise ValueError(value)
        return number
    if name == "sunset":
        text = str(value)
        # The parser is lenient; a line break would be a second header.
        if text != "off" and not (text.isascii() and text.isprintable()):
            raise ValueError(value)
        if text != "off":
            parsedate_to_datetime(text)
        return text
    if str(value) not in typing.get_args(kind):
        raise ValueError(value)
    return str(value)
