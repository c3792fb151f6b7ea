"""Small pictures that Imgur takes, each different from the others."""

from __future__ import annotations

import hashlib
import io

from PIL import Image


def small_picture(text: str) -> bytes:
    """Return a PNG of 4 x 4 pixels whose colours follow from the text."""
    seed = hashlib.blake2b(text.encode(), digest_size=48).digest()
    file = io.BytesIO()
    Image.frombytes("RGB", (4, 4), seed).save(file, "PNG")
    return file.getvalue()
