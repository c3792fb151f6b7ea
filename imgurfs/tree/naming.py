"""From what Imgur calls a thing to a legal file name. Pure; property-tested.

The *bare* name is what a thing would be called alone in the world; :func:`candidates`
says what it may be called when the directory already has that name. Which one it
gets, and that it keeps it, is the store's business. Nothing here knows directories.

Whatever the title, a name is NFC, one to 255 bytes of UTF-8, without ``/``, control
characters or direction overrides, not ``.``, ``..`` or ``.imgurfs``, and does not begin
with ``@`` (those names are the drive's own).
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from imgurfs import limits
from imgurfs.marker import strip_marker

#: MIME type -> extensions that fit it; the first is the one we add.
_EXTENSIONS: Final = {
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/jpg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/pjpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/png": ("png", "apng"),
    "image/x-png": ("png", "apng"),
    "image/apng": ("apng", "png"),
    "image/gif": ("gif",),
    "image/webp": ("webp",),
    "image/tiff": ("tiff", "tif"),
    "image/bmp": ("bmp",),
    "image/heic": ("heic", "heif"),
    "image/avif": ("avif",),
    "video/mp4": ("mp4", "m4v"),
    "video/webm": ("webm",),
    "video/quicktime": ("mov", "qt"),
    "video/x-matroska": ("mkv",),
    "video/x-flv": ("flv",),
    "video/x-msvideo": ("avi",),
    "video/x-ms-wmv": ("wmv",),
    "video/mpeg": ("mpeg", "mpg"),
}
#: Extensions that say "a picture or a video".
MEDIA_EXTENSIONS: Final = frozenset(itertools.chain(*_EXTENSIONS.values())) | {"gifv"}
_SUBTYPE = re.compile(r"^[a-z]+/([a-z0-9]{1,8})$")
_RESERVED: Final = frozenset({".", "..", ".imgurfs"})
#: Longest extension that is kept when a name is cut or numbered.
_EXTENSION_CHARS_MAX: Final = 10
#: Ids have 5 or 7 characters; a server that sends a longer one is not believed.
_UNIQUE_BYTES_MAX: Final = 64


def _translation() -> dict[int, str | None]:
    table: dict[int, str | None] = {code: chr(0x2400 + code) for code in range(0x20)}
    table[0x7F] = "\u2421"
    table |= dict.fromkeys(range(128, 160), "�")  # C1 has no pictures
    table |= dict.fromkeys(range(55296, 57344), "�")  # no UTF-8 for these
    table |= {0x2028: "\u2424", 0x2029: "\u2424", ord("/"): "／"}
    # Invisible, and able to make "gpj.exe" of "exe.jpg": direction marks, embeddings,
    # overrides and isolates, the byte order mark and the zero-width space.
    invisible = (0x061C, 0x200B, 0x200E, 0x200F, 0xFEFF)
    for code in (*invisible, *range(0x202A, 0x202F), *range(0x2066, 0x206A)):
        table[code] = None
    return table


_TRANSLATION: Final = _translation()


def album_name(*, title: str, album_id: str) -> str:
    """Return the bare name of an album's directory."""
    name = _clean(title) or _clean(f"Untitled {album_id}")
    return _cut(name, limits.NAME_BYTES_MAX)


def image_name(*, title: str, name: str, image_id: str, mime_type: str) -> str:
    """Return the bare name of an image's file.

    The title, else the uploaded name without its marker, else the id; with the
    extension of the real type, unless it ends in one that fits.
    """
    text = _clean(title) or _clean(strip_marker(name)) or _clean(image_id) or "image"
    fitting = _fitting_extensions(mime_type)
    stem, extension = _split(text)
    if not fitting:
        return _join(stem, extension)
    if extension[1:].lower() in fitting:
        return _join(stem, extension)
    if extension[1:].lower() in MEDIA_EXTENSIONS:
        # Imgur converts (a large PNG becomes a JPEG); the type tells the truth.
        return _join(stem, "." + fitting[0])
    return _join(text, "." + fitting[0])


def candidates(bare: str, unique: str, *, is_directory: bool) -> Iterator[str]:
    """Yield names in order of preference, without end.

    ``bare``, then with ``unique`` (an id) in brackets before the extension, then with
    a number as well.
    """
    yield bare
    stem, extension = (bare, "") if is_directory else _split(bare)
    label = _cut(_clean(unique) or "2", _UNIQUE_BYTES_MAX)
    yield _join(stem, extension, f" ({label})")
    for number in itertools.count(2):
        yield _join(stem, extension, f" ({label} {number})")


def title_of(name: str) -> str:
    """Return the title a file of this name should have: without a media extension."""
    stem, extension = _split(name)
    return stem if extension[1:].lower() in MEDIA_EXTENSIONS else name


def _fitting_extensions(mime_type: str) -> tuple[str, ...]:
    mime_type = mime_type.partition(";")[0].strip().lower()
    if mime_type in _EXTENSIONS:
        return _EXTENSIONS[mime_type]
    match = _SUBTYPE.match(mime_type)
    return (match[1],) if match else ()


def _clean(text: str) -> str:
    """Return the text as a legal name of any length; "" when nothing is left."""
    clean = unicodedata.normalize("NFC", text.translate(_TRANSLATION)).strip()
    if clean.startswith("@"):
        clean = "＠" + clean[1:]
    if clean in _RESERVED:
        clean = clean.replace(".", "．")
    return clean


def _split(name: str) -> tuple[str, str]:
    """Split into stem and extension (with its dot); the stem is never empty."""
    stem, dot, extension = name.rpartition(".")
    if not stem or not extension or len(extension) > _EXTENSION_CHARS_MAX:
        return name, ""
    if any(character.isspace() for character in extension):
        return name, ""
    return stem, dot + extension


def _join(stem: str, extension: str, label: str = "") -> str:
    room = limits.NAME_BYTES_MAX - len((label + extension).encode())
    return _cut(stem, room) + label + extension


def _cut(text: str, bytes_max: int) -> str:
    """Return at most ``bytes_max`` bytes of the text, no character split."""
    raw = text.encode()
    if len(raw) <= bytes_max:
        return text
    return raw[:bytes_max].decode("utf-8", "ignore").rstrip()
