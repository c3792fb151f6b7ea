"""One API request, understood: path, caller, and fields in every encoding Imgur takes.

Bodies may be urlencoded, multipart or JSON, fields may be in the query, ids may be
written in five ways. What cannot be parsed counts as not sent, as with the PHP
back-end: the route then says what is missing.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive, Scope

#: A body beyond this is refused by the "proxy" in front: a film of 200 MB with room
#: for the form around it.
BODY_BYTES_MAX: Final = 220_000_000
#: The same for what is no multipart upload: base64, taken for pictures of at most
#: 10 MB, with room for percent signs.
FORM_BYTES_MAX: Final = 30_000_000
_FIELDS_MAX: Final = 10_000
#: So much of a refused body is still read, and thrown away.
LINGER_BYTES_MAX: Final = 2 * 1024**3
#: No number of a page or of anything else is believed to be larger.
INTEGER_MAX: Final = 10**9


class BodyTooLargeError(Exception):
    """The body is longer than is taken; it was read no further, if at all."""


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

    @property
    def meant_method(self) -> str:
        """The method, or the one a POST names in its query as ``_method``.

        For clients that can only GET and POST. A GET changes nothing whatever it says.
        """
        meant = next((v for k, v in self.query if k == "_method"), "").upper()
        is_known = meant in ("PUT", "DELETE", "POST")
        return meant if self.method == "POST" and is_known else self.method

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
        if not re.fullmatch(r"-?[0-9]+", text):
            return default
        # Longer ones are not converted: that takes time, and is refused by Python.
        return (
            int(text) if len(text) < 10 else -INTEGER_MAX if text < "0" else INTEGER_MAX
        )


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


async def read_fields(call: Call, receive: Receive, *, is_upload: bool) -> None:
    """Read the body to its end and put its fields and files into the call.

    Only an upload in parts may be longer than FORM_BYTES_MAX. Raises
    BodyTooLargeError, ClientGoneError.
    """
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_multipart = kind == "multipart/form-data"
    size_max = BODY_BYTES_MAX if is_upload and is_multipart else FORM_BYTES_MAX
    declared = call.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > size_max:
        raise BodyTooLargeError
    if is_multipart:
        await _read_multipart(call, receive, size_max)
        return
    body = b"".join([piece async for piece in _pieces(receive, size_max)])
    if not body:
        return
    text = body.decode("utf-8", "replace")
    is_form = kind == "application/x-www-form-urlencoded"
    call.fields = _parse_pairs(text) if is_form else _parse_json(text)


def _parse_json(text: str) -> list[tuple[str, str]]:
    try:
        value = json.loads(text)
        return _flattened(value) if isinstance(value, dict) else []
    except (ValueError, RecursionError):
        return []


def _flattened(value: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (_whole(key), _whole(part) if isinstance(part, str) else json.dumps(part))
        for key, item in value.items()
        for part in (item if isinstance(item, list) else [item])
        if part is not None
    ]


def _whole(text: str) -> str:
    """Return text without the half characters that JSON can spell."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class _Parser(MultiPartParser):
    # Files stay in memory: rolling over to disk would mean a thread, and a thread
    # races with the virtual clock of in-process tests.
    spool_max_size = BODY_BYTES_MAX + 1

    def drop_unfinished(self) -> None:
        """Close the file of a part that the body broke off in."""
        kept = {id(part.file) for _, part in self.items if not isinstance(part, str)}
        for file in self._files_to_close_on_error:
            if id(file) not in kept:
                file.close()


async def _read_multipart(call: Call, receive: Receive, size_max: int) -> None:
    pieces = _pieces(receive, size_max)
    parser = _Parser(
        call.headers,
        pieces,
        max_files=100,
        max_fields=_FIELDS_MAX,
        max_part_size=BODY_BYTES_MAX,
    )
    try:
        form = await parser.parse()
        parser.drop_unfinished()
    except (MultiPartException, UnicodeError):
        async for _ in pieces:
            continue
        return
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            call.files[key] = File(value.filename or "", _content(value.file))
            value.file.close()
        else:
            call.fields.append((key, value))


def _content(file: BinaryIO) -> bytes:
    """Return what a part's file holds; up to 200 MB, so not twice if it can be helped.

    ``read`` would copy; the buffer inside, which ``_Parser`` keeps in memory, gives its
    bytes away.
    """
    buffer = getattr(file, "_file", None)
    return buffer.getvalue() if isinstance(buffer, io.BytesIO) else file.read()


async def discard(receive: Receive) -> None:
    """Throw away what still comes of a refused body.

    A client that is cut off while it sends would never read the refusal.
    """
    left = LINGER_BYTES_MAX
    while left > 0:
        message = await receive()
        if not message.get("more_body", False):
            return
        left -= len(message["body"]) + 1


async def _pieces(receive: Receive, size_max: int) -> AsyncGenerator[bytes, None]:
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        total += len(piece)
        if total > size_max:
            raise BodyTooLargeError
        if piece:
            yield piece
        if not message.get("more_body", False):
            return
