"""The idempotency key inside an image's ``name``.

Imgur knows no idempotency keys, so every upload carries one in the form field
``name``: ``stem~<marker>.ext``. Sixteen base32 characters: ten of the content's
BLAKE2b, five of this machine's device id, one check character, so that a user's own
``x~y.jpg`` is hardly ever taken for one. The content part lets any machine recognise
its owner's pictures; the device part says whose twin may be removed.

Pure: no I/O. Used by ``jobs`` (writing), ``tree.naming`` (stripping) and whoever
resolves unknown outcomes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

_CONTENT_CHARS = 10
_DEVICE_CHARS = 5
_STEM_BYTES_MAX = 100
_PATTERN = re.compile(
    r"^(?P<stem>.*)~(?P<marker>[a-z2-7]{16})(?P<ext>\.[^.~/]*)?$", re.DOTALL
)

#: Bytes of a random device id, kept in a file beside state.db.
DEVICE_ID_BYTES = 10


@dataclass(frozen=True, slots=True)
class Marker:
    """A parsed marker; ``str()`` gives its sixteen characters."""

    content: str
    device: str

    def __post_init__(self) -> None:
        assert len(self.content) == _CONTENT_CHARS
        assert len(self.device) == _DEVICE_CHARS

    def __str__(self) -> str:
        body = self.content + self.device
        return body + _check(body)


def _base32(data: bytes, chars: int) -> str:
    return base64.b32encode(data).decode("ascii").lower()[:chars]


def _check(body: str) -> str:
    return _base32(hashlib.blake2b(body.encode("ascii"), digest_size=5).digest(), 1)


def make_marker(content_digest: bytes, device_id: bytes) -> Marker:
    """Return the marker for content with this BLAKE2b digest sent by this device."""
    assert len(content_digest) >= 10
    return Marker(content_part(content_digest), device_part(device_id))


def content_part(content_digest: bytes) -> str:
    """Return the part of a marker that stands for content with this digest."""
    return _base32(content_digest, _CONTENT_CHARS)


def device_part(device_id: bytes) -> str:
    """Return the part of a marker that stands for this device."""
    assert len(device_id) == DEVICE_ID_BYTES
    return _base32(hashlib.blake2b(device_id, digest_size=5).digest(), _DEVICE_CHARS)


def parse_marker(name: str) -> Marker | None:
    """Return the marker inside an uploaded name, or None when there is none."""
    match = _PATTERN.match(name)
    if match is None:
        return None
    text = match["marker"]
    if _check(text[:-1]) != text[-1]:
        return None
    return Marker(text[:_CONTENT_CHARS], text[_CONTENT_CHARS:-1])


def strip_marker(name: str) -> str:
    """Return the name as the user gave it: without a marker, if it has one."""
    if parse_marker(name) is None:
        return name
    match = _PATTERN.match(name)
    assert match is not None
    return match["stem"] + (match["ext"] or "")


def name_with_marker(file_name: str, marker: Marker) -> str:
    """Return the ``name`` to upload: the stem (at most 100 bytes), marker, extension.

    Undecodable bytes (surrogate escapes) become U+FFFD.
    """
    clean = file_name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    stem, dot, extension = clean.rpartition(".")
    if not dot or not stem or len(extension) > 10:
        stem, dot, extension = clean, "", ""
    cut = stem.encode("utf-8")[:_STEM_BYTES_MAX].decode("utf-8", "ignore")
    return f"{cut}~{marker}{dot}{extension}"
