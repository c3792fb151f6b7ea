"""Reading the content cache from outside: whether an image is in it whole, its digest.

The process that sends need not be the one that has the cache, so nothing is locked,
kept or changed here: the sidecar is read before and after the bytes, and only when it
vouches for all of them both times are they believed. Blocks: call it through an
Executor.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from imgurfs import limits
from imgurfs.content import disk
from imgurfs.content.ranges import Ranges
from imgurfs.model import ImageId


def digest_of(directory: Path, image_id: ImageId, size_bytes: int) -> bytes:
    """Return the BLAKE2b of an image's bytes; b"" when they are not all there."""
    if "/" in image_id or image_id.startswith("."):
        return b""
    path = directory / image_id[:2] / image_id
    if not _is_whole(path, size_bytes):
        return b""
    digest = hashlib.blake2b(digest_size=32)
    left = size_bytes
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags), "rb") as file:
            while left and (piece := file.read(min(left, limits.MIB))):
                digest.update(piece)
                left -= len(piece)
    except OSError:
        return b""
    # Content that turned out to be something else is dropped, its sidecar first.
    return digest.digest() if not left and _is_whole(path, size_bytes) else b""


def is_here(directory: Path, image_id: ImageId, size_bytes: int) -> bool:
    """Whether all of an image's bytes are there. Reads no bytes."""
    if "/" in image_id or image_id.startswith("."):
        return False
    return _is_whole(directory / image_id[:2] / image_id, size_bytes)


def _is_whole(path: Path, size_bytes: int) -> bool:
    sidecar = disk.read_sidecar(path, size_bytes)
    if sidecar is None or not size_bytes:
        return False
    return Ranges.of(sidecar.spans).spans == ((0, size_bytes),)
