"""Emulators with other quirks than Imgur's own, and what to ask of them."""

from __future__ import annotations

from typing import Any

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.world import pictures
from tests.support.emulated import Answer, Visitor, emulate, owner

PNG = pictures.draw_picture("x", number=1, kind="png", width=16, height=16)
#: An id that no image or album has.
MISSING = "zzzzzzz"


def quirky(dialect: Dialect = Dialect.LEGACY, /, **changes: Any) -> Visitor:
    """Return the owner of an emulator with these quirks changed."""
    return owner(emulate(dialect=dialect, quirk_changes=changes))


async def send(visitor: Visitor, data: bytes = PNG, /, **fields: str) -> Answer:
    """Upload bytes as a file."""
    files = {"image": ("a.png", data)}
    return await visitor.api("POST", "/3/upload", files=files, data=fields)


def is_errors(answer: Answer, *, status: int, detail: str) -> bool:
    """Return whether this is the list of errors, and nothing else."""
    assert list(answer.json) == ["errors"]
    item = answer.json["errors"][0]
    assert answer.headers["content-type"].startswith("application/vnd.imgur.v1+json")
    return (answer.status, item["code"], item["detail"]) == (
        status,
        str(status),
        detail,
    )
