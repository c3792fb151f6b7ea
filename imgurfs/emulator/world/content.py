"""Bytes that are made when somebody asks for them.

A :class:`Content` knows its exact size without being drawn or stored, and yields any
range. Immutable; shared freely between images and requests.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Protocol

#: The repeating unit of :class:`Filled`: one stamp, then constant noise.
UNIT_BYTES = 64 * 1024
_STAMP_BYTES = 64
_NOISE = b"".join(
    hashlib.blake2b(number.to_bytes(4, "big")).digest()
    for number in range((UNIT_BYTES - _STAMP_BYTES) // 64)
)
_HASH_PIECE_BYTES = 1 << 20


class Content(Protocol):
    """The stored bytes of one picture."""

    @property
    def size_bytes(self) -> int:
        """Exactly as many bytes as a whole read yields."""
        ...

    @property
    def md5(self) -> str:
        """32 hex digits, as the CDN's ETag shows them."""
        ...

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Return the bytes from ``start`` up to ``stop``, both within the size."""
        ...


def _md5(content: Content) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for start in range(0, content.size_bytes, _HASH_PIECE_BYTES):
        stop = min(start + _HASH_PIECE_BYTES, content.size_bytes)
        digest.update(content.read(start, stop))
    return digest.hexdigest()


class Stored:
    """Bytes held in memory: an upload, a drawn picture."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size_bytes = len(data)

    @cached_property
    def md5(self) -> str:
        """The digest, computed once."""
        return _md5(self)

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Return a slice without copying."""
        if start == 0 and stop == self.size_bytes:
            return self._data
        return memoryview(self._data)[start:stop]


class Spliced:
    """A shared picture with a few bytes of its own put in at ``position``.

    Ten thousand distinct pictures cost ten thousand comments, not drawings.
    """

    def __init__(self, base: bytes, *, position: int, insert: bytes) -> None:
        assert 0 <= position <= len(base)
        self._base = base
        self._position = position
        self._insert = insert
        self.size_bytes = len(base) + len(insert)

    @cached_property
    def md5(self) -> str:
        """The digest, computed once."""
        return _md5(self)

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Return a slice of the whole, put together now."""
        view = memoryview(self._base)
        position = self._position
        whole = b"".join((view[:position], self._insert, view[position:]))
        return memoryview(whole)[start:stop]


class Filled:
    """A head followed by numbered units up to a size: gigabytes from nothing.

    Unit ``n`` begins with the text ``unit n`` at ``len(head) + n * UNIT_BYTES``, so a
    reader that gets the wrong part of the file can be told from one that does not.
    """

    def __init__(self, head: bytes, *, size_bytes: int) -> None:
        assert size_bytes >= len(head)
        self._head = head
        self.size_bytes = size_bytes

    @cached_property
    def md5(self) -> str:
        """The digest, computed once (a second or so for 200 MB)."""
        return _md5(self)

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Return a range, made now."""
        head = self._head
        if stop <= len(head):
            return head[start:stop]
        first = max(0, start - len(head)) // UNIT_BYTES
        last = -(-(stop - len(head)) // UNIT_BYTES)
        parts: list[bytes] = [head] if start < len(head) else []
        origin = 0 if parts else len(head) + first * UNIT_BYTES
        for number in range(first, last):
            parts.append(b"unit %-58d\n" % number)
            parts.append(_NOISE)
        return memoryview(b"".join(parts))[start - origin : stop - origin]


assert len(b"unit %-58d\n" % 0) == _STAMP_BYTES
assert len(_NOISE) == UNIT_BYTES - _STAMP_BYTES
