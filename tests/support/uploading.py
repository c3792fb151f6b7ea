"""A small picture, and uploading it through the API client."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image as Drawing

from imgurfs.model import ImageId, Lane, RequestClass, RequestKind
from tests.support.connected import Connected

UPLOAD = RequestClass(RequestKind.UPLOAD, Lane.FRESH, is_post=True)


def png(tmp_path: Path, *, noise: int = 0) -> Path:
    """Draw a small picture into a file."""
    buffer = io.BytesIO()
    Drawing.new("RGB", (40 + noise, 30), (200, 30, noise % 256)).save(buffer, "PNG")
    path = tmp_path / f"picture{noise}.png"
    path.write_bytes(buffer.getvalue())
    return path


async def upload(side: Connected, path: Path, name: str = "sunset~x.png") -> ImageId:
    """Upload a file as fresh; return the id it got."""
    image = await side.api.upload(
        path, size_bytes=path.stat().st_size, name=name, album=None, lane=Lane.FRESH
    )
    return image.id
