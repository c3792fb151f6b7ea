"""One API request, understood: path, caller, and fields in every encoding Imgur takes.

Bodies may be urlencoded, multipart or JSON, fields may be in the query, ids may be
written in five ways. What cannot be parsed counts as not sent, as with the PHP
back-end: the route then says what is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive, Scope

#: A body beyond this is refused by the "proxy" in front: a 200 MB file as base64
#: with room for the form around it.
BODY_BYTES_MAX: Final = 300_000_000
_FIELDS_MAX: Final = 10_000


class BodyTooLargeError(Exception):
    """The body passed BODY_BYTES_MAX; it was read no further."""


class ClientGoneError(Exception):
    """The client left before its request was complete: nothing may be changed."""


@dataclass(frozen=True, slots=True)
class File:
    """A part of a multipart body that came with a file name."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an application, and the account it acts for (None: anonymous)."""

    client_id: str
    account: str | None


@dataclass(slots=True, kw_only=True)
class Call:
    """A request on its way to a route.

    ``path`` is as sent; ``parameters`` are the values of the route's ``{names}``.
    """

    method: str
    path: str
    address: str
    headers: Headers
    query: list[tuple[str, str]]
    parameters: dict[str, str] = field(default_factory=dict)
    caller: Caller | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, File] = field(default_factory=dict)

    def _pairs(self) -> Iterator[tuple[str, str]]:
        yield from self.fields
        yield from self.query

    def get(self, name: str) -> str | None:
        """Return the last value of a field in the body, else in the query."""
        for pairs in (self.fields, self.query):
            for key, value in reversed(pairs):
                if key == name:
                    return value
        return None

    def has(self, name: str) -> bool:
        """Return whether a list field was sent in any of its encodings."""
        return any(_list_name(key) == name for key, _ in self._pairs())

    def ids(self, name: str) -> list[str]:
        """Return a list field: ``a,b``, repeated, ``name[]``, ``name[0]``, JSON."""
        found: dict[str, None] = {}
        for key, value in self._pairs():
            if _list_name(key) == name:
                found |= dict.fromkeys(v.strip() for v in value.split(","))
        found.pop("", None)
        return list(found)

    def integer(self, name: str, default: int) -> int:
        """Return a whole number from the path, body or query, else ``default``."""
        text = self.parameters.get(name) or self.get(name) or ""
        return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else default


def _list_name(key: str) -> str:
    return re.sub(r"\[\d*\]$", "", key)


def open_call(scope: Scope) -> Call:
    """Return the call as its head tells it; the body comes with ``read_fields``."""
    client = scope.get("client")
    query = scope.get("query_string", b"").decode("utf-8", "replace")
    return Call(
        method=scope["method"],
        path=scope["path"],
        address=client[0] if client else "127.0.0.1",
        headers=Headers(scope=scope),
        query=_parse_pairs(query),
    )


def _parse_pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        return []


async def read_fields(call: Call, receive: Receive) -> None:
    """Read the body to its end and put its fields and files into the call.

    Raises BodyTooLargeError, ClientGoneError.
    """
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        await _read_multipart(call, receive)
        return
    body = b"".join([piece async for piece in _pieces(receive)])
    if not body:
        return
    text = body.decode("utf-8", "replace")
    is_form = kind == "application/x-www-form-urlencoded"
    call.fields = _parse_pairs(text) if is_form else _parse_json(text)


def _parse_json(text: str) -> list[tuple[str, str]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    return [
        (key, part if isinstance(part, str) else json.dumps(part))
        for key, item in value.items()
        for part in (item if isinstance(item, list) else [item])
        if part is not None
    ]


class _Parser(MultiPartParser):
    # Files stay in memory: rolling over to disk would mean a thread, and a thread
    # races with the virtual clock of in-process tests.
    spool_max_size = BODY_BYTES_MAX + 1


async def _read_multipart(call: Call, receive: Receive) -> None:
    pieces = _pieces(receive)
    parser = _Parser(
        call.headers,
        pieces,
        max_files=100,
        max_fields=_FIELDS_MAX,
        max_part_size=BODY_BYTES_MAX,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError):
        async for _ in pieces:
            continue
        return
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            call.files[key] = File(value.filename or "", value.file.read())
            value.file.close()
        else:
            call.fields.append((key, value))


async def _pieces(receive: Receive) -> AsyncGenerator[bytes, None]:
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        total += len(piece)
        if total > BODY_BYTES_MAX:
            raise BodyTooLargeError
        if piece:
            yield piece
        if not message.get("more_body", False):
            return
