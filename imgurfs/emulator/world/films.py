"""How large the picture of a film is, read from the head of its container.

Pure, and content with not knowing: (0, 0). Nothing is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

#: Parts of a file looked at; a hostile file has millions of empty ones.
_PARTS_MAX: Final = 10_000
_UNKNOWN: Final = (0, 0)

#: From data and a range to the parts in it: (name, start, stop) of each one's inside.
_Split = Callable[[memoryview, int, int], Iterator[tuple[bytes, int, int]]]


def measure(data: bytes, *, mime: str) -> tuple[int, int]:
    """Return width and height in pixels, (0, 0) when they are not to be found."""
    view = memoryview(data)
    try:
        match mime:
            case "video/mp4" | "video/quicktime":
                return _measure_boxes(view)
            case "video/webm" | "video/x-matroska":
                return _measure_elements(view)
            case "video/x-msvideo":
                width, height = struct.unpack_from("<II", data, 64)
                return (width, height) if data[24:28] == b"avih" else _UNKNOWN
            case "video/mpeg":
                return _measure_sequence(data)
            case _:
                return _UNKNOWN
    except (struct.error, IndexError):
        return _UNKNOWN


def _inside(
    view: memoryview, start: int, stop: int, *, path: tuple[bytes, ...], split: _Split
) -> Iterator[tuple[int, int]]:
    """Yield the range of every part that a path of names leads to."""
    for count, (name, inner, end) in enumerate(split(view, start, stop)):
        if count >= _PARTS_MAX:
            return
        if name != path[0]:
            continue
        if len(path) == 1:
            yield inner, end
        else:
            yield from _inside(view, inner, end, path=path[1:], split=split)


# --- MP4 and QuickTime: boxes ---


def _boxes(view: memoryview, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= stop:
        size, name = struct.unpack_from(">I4s", view, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", view, start + 8)
            head = 16
        end = stop if size == 0 else min(start + size, stop)
        if end < start + head:
            return
        yield name, start + head, end
        start = end


def _measure_boxes(view: memoryview) -> tuple[int, int]:
    path = (b"moov", b"trak", b"tkhd")
    for start, stop in _inside(view, 0, len(view), path=path, split=_boxes):
        if stop - start < 84:
            continue
        # The last two numbers of a track's header, in 65536ths; sound has zeros.
        width, height = struct.unpack_from(">II", view, stop - 8)
        if width and height:
            return width >> 16, height >> 16
    return _UNKNOWN


# --- WebM and Matroska: elements ---


def _elements(
    view: memoryview, start: int, stop: int
) -> Iterator[tuple[bytes, int, int]]:
    while start < stop:
        id_length = 9 - view[start].bit_length()
        name = bytes(view[start : start + id_length])
        start += id_length
        length = 9 - view[start].bit_length()
        if id_length > 8 or length > 8:
            return
        mask = (1 << 7 * length) - 1
        size = int.from_bytes(view[start : start + length]) & mask
        start += length
        # All ones: as far as it goes, as in a live stream.
        end = stop if size == mask else min(start + size, stop)
        yield name, start, end
        start = end


def _measure_elements(view: memoryview) -> tuple[int, int]:
    video = (b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0")
    found = [0, 0]
    for place, name in enumerate((b"\xb0", b"\xba")):
        path = (*video, name)
        for start, stop in _inside(view, 0, len(view), path=path, split=_elements):
            found[place] = found[place] or int.from_bytes(view[start:stop][:8])
    return found[0], found[1]


# --- MPEG ---


def _measure_sequence(data: bytes) -> tuple[int, int]:
    at = data.find(b"\0\0\1\xb3", 0, 1 << 20)
    if at < 0:
        return _UNKNOWN
    both = int.from_bytes(data[at + 4 : at + 7])
    return both >> 12, both & 0xFFF
