"""Who owns what, and which album holds which images: a model that knows no emulator.

For the property test of the emulator, with the little that sends its calls.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

ME, NOBODY = "me", ""
Fields = list[tuple[str, str]]


@dataclass
class Picture:
    """An image that was uploaded; ``owner`` is "" for an anonymous one."""

    id: str
    deletehash: str
    owner: str


@dataclass
class Collection:
    """An album and the ids of its images, in order."""

    id: str
    deletehash: str
    owner: str
    title: str | None = None
    members: list[str] = field(default_factory=list)


@dataclass
class Model:
    """What has to exist; both in order of creation."""

    pictures: dict[str, Picture] = field(default_factory=dict)
    albums: dict[str, Collection] = field(default_factory=dict)

    def usable(self, caller: str, ids: list[str]) -> list[str]:
        """Return the ids, once each, of images the caller's account owns."""
        return [
            it
            for it in dict.fromkeys(ids)
            if it in self.pictures and caller == ME == self.pictures[it].owner
        ]

    def forget(self, image_id: str) -> None:
        """Delete an image everywhere."""
        self.pictures.pop(image_id, None)
        for album in self.albums.values():
            album.members = [it for it in album.members if it != image_id]


@dataclass(frozen=True)
class Reply:
    """Status and decoded body; None when it is no JSON."""

    status: int
    body: Any

    @property
    def data(self) -> Any:
        """What came with a success."""
        assert self.status == 200, self
        return self.body["data"]


def encoded(kind: str, fields: Fields) -> tuple[bytes, bytes]:
    """Return content type and body of a form in one of the three encodings."""
    if kind == "form":
        return b"application/x-www-form-urlencoded", urlencode(fields).encode()
    if kind == "json":
        table: dict[str, Any] = {}
        for key, value in fields:
            table.setdefault(key.removesuffix("[]"), []).append(value)
        plain = {k: v[0] if len(v) == 1 else v for k, v in table.items()}
        return b"application/json", json.dumps(plain).encode()
    head = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    text = "".join(head.format(key, value) for key, value in fields) + "--b--\r\n"
    return b"multipart/form-data; boundary=b", text.encode()
