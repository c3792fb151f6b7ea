"""Files for ``imgurfs upload``, and what came of them on the emulator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.processes import Place, fill

#: What a lost answer waits for is short here; nothing in the emulator is late.
SETTINGS = "[sync]\nquarantine_s = 1\n"


def pictures(at: Place, *names: str) -> list[str]:
    """Make small pictures, all different; return their paths."""
    fill(at.directory, *names)
    return [str(at.directory / name) for name in names]


def noise(path: Path, *, side: int) -> None:
    """Make a picture of three bytes for each pixel."""
    Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(path)


def new_images(at: Place) -> list[dict[str, Any]]:
    """Return what was uploaded: the account began with two images."""
    return at.images()[:-2]


def copies(at: Place) -> list[str]:
    """Return the copies that are kept."""
    outgoing = at.directory / "state/imgurfs/default/outgoing"
    return [path.name for path in outgoing.glob("*/*")]
