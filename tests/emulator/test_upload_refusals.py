"""Refusals of uploads, and failures that are Imgur's own, as they were observed.

The latter nobody can provoke: a fault rule sends them.
"""

from __future__ import annotations

from typing import Any

import pytest

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.rules import uploads
from imgurfs.emulator.rules.limits import Limits
from imgurfs.emulator.trouble.faults import parse_rules
from tests.support.emulated import emulate, owner
from tests.support.quirky import PNG, quirky, send

TOO_BIG = PNG + bytes(uploads.STILL_BYTES_MAX)

# --- Uploads ---


async def test_upload_without_an_image(dialect: Dialect) -> None:
    """No image data, in plain text."""
    answer = await quirky(dialect).api("POST", "/3/upload")
    expected = (400, "No image data was sent to the upload api")
    assert (answer.status, answer.error) == expected


async def test_upload_from_a_bad_address(dialect: Dialect) -> None:
    """An address that may not be fetched, and one where nobody answers."""
    me = quirky(dialect)
    url = "http://imgur.invalid/a.png"
    answer = await me.api("POST", "/3/upload", data={"image": url, "type": "url"})
    assert (answer.status, answer.error) == (400, f"Invalid URL ({url})")
    nobody = {"image": "http://127.0.0.1:9/a.png", "type": "url"}
    answer = await me.api("POST", "/3/upload", data=nobody)
    assert (answer.status, answer.error) == (400, "Unable to process upload!")


@pytest.mark.parametrize(
    ("value", "status", "message", "exception"),
    [
        ("400", 400, "File type invalid (1)", "ImgurException"),
        ("415", 415, "[album]: File type invalid (1)", "Exception_UploadError"),
    ],
)
async def test_foreign_format(
    value: str, status: int, message: str, exception: str
) -> None:
    """Code 1003 in two forms; WebP is no picture."""
    me = quirky(foreign_format=value)
    answer = await send(me, b"RIFF\x10\0\0\0WEBPVP8 " + bytes(32))
    assert answer.status == answer.json["status"] == status
    assert answer.error == {
        "code": 1003,
        "message": message,
        "type": exception,
        "exception": [] if status == 400 else {},
    }


async def test_foreign_format_as_text() -> None:
    """The same refusal without a code."""
    answer = await send(quirky(foreign_format="text"), b"text")
    assert (answer.status, answer.error) == (400, "We don't support that file type!")


async def test_corrupt_picture(dialect: Dialect) -> None:
    """The head of a picture and nothing more."""
    answer = await send(quirky(dialect), PNG[:20])
    expected = (400, "Image format not supported, or image is corrupt.")
    assert (answer.status, answer.error) == expected


@pytest.mark.parametrize(
    ("changes", "dialect", "status", "text"),
    [
        ({}, Dialect.LEGACY, 400, '"error":"File is over the size limit"'),
        ({}, Dialect.NEW, 413, '"error":"file is over the size limit"'),
        ({"too_big": "400"}, Dialect.NEW, 400, '"error":"File is over the size limit"'),
        ({"too_big": "413"}, Dialect.LEGACY, 413, '"error":"file is over the'),
        ({"too_big": "413_nested"}, Dialect.NEW, 413, '"status":"Request Entity Too'),
        ({"too_big": "405_page"}, Dialect.LEGACY, 405, "<h1>405 Not Allowed</h1>"),
    ],
)
async def test_too_big(
    changes: dict[str, str], dialect: Dialect, status: int, text: str
) -> None:
    """A still above the limit: four answers have been seen; the bytes are not kept."""
    me = quirky(dialect, **changes)
    before = len(me.emulator.world.images)
    answer = await send(me, TOO_BIG)
    assert answer.status == status
    assert text in answer.body.decode()
    if changes.get("too_big") == "413_nested":
        assert answer.error["code"] == 413
        assert answer.error["detail"] == "file is over the size limit"
    assert len(me.emulator.world.images) == before


@pytest.mark.parametrize(
    ("value", "status", "message"),
    [
        ("429", 429, "You are uploading too fast. Please wait 60 more minutes."),
        ("400", 400, "You are uploading too fast. Please wait 60 more minutes."),
        ("old", 400, "Uploading file too fast!"),
    ],
)
async def test_too_fast(
    value: str, status: int, message: str, dialect: Dialect
) -> None:
    """The throttle's body says 400, whatever HTTP says; credits are left."""
    limits = Limits(uploads_per_hour=0)
    changes = {"too_fast": value}
    me = owner(emulate(dialect=dialect, limits=limits, quirk_changes=changes))
    answer = await send(me)
    assert (answer.status, answer.json["status"]) == (status, 400)
    if value == "old":
        assert answer.error == message
    else:
        assert (answer.error["code"], answer.error["message"]) == (429, message)
    assert int(answer.headers["x-ratelimit-userremaining"]) > 0


# --- What nobody can provoke: fault rules ---

_FAULTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "over capacity": (
        {
            "status": 403,
            "shape": "D",
            "message": "Imgur is temporarily over capacity. Please try again later.",
        },
        403,
        (
            '{"data":{"error":"Imgur is temporarily over capacity. Please try again '
            'later."},"success":false,"status":403}'
        ),
    ),
    "edge ban": (
        {
            "status": 400,
            "shape": "D",
            "message": "These actions are forbidden.",
            "headers": {"cdn-error": "yes", "retry-after": "0"},
        },
        400,
        (
            '{"data":{"error":"These actions are forbidden."},"success":false,'
            '"status":400}'
        ),
    ),
    "upload back-end": (
        {"status": 417, "message": "Internal expectation failed"},
        417,
        (
            '{"data":{"error":"Internal expectation failed","request":"\\/3\\/upload",'
            '"method":"POST"},"success":false,"status":417}'
        ),
    ),
    "could not process": (
        {"status": 500, "message": "Could not process upload!"},
        500,
        (
            '{"data":{"error":"Could not process upload!","request":"\\/3\\/upload",'
            '"method":"POST"},"success":false,"status":500}'
        ),
    ),
    "could not complete": (
        {"status": 500, "shape": "B", "message": "Could not complete request"},
        500,
        (
            '{"data":{"error":{"code":500,"message":"Could not complete request",'
            '"type":"ImgurException","exception":[]},"request":"\\/3\\/upload",'
            '"method":"POST"},"success":false,"status":500}'
        ),
    ),
    "circuit breaker": (
        {"status": 400, "message": "circuit breaker for redis-viewcounts"},
        400,
        (
            '{"data":{"error":"circuit breaker for redis-viewcounts","request":'
            '"\\/3\\/upload","method":"POST"},"success":false,"status":400}'
        ),
    ),
    "bad gateway": ({"status": 502, "body": "Try again"}, 502, "Try again"),
    "varnish": (
        {
            "status": 503,
            "body": "<h1>Guru Meditation</h1>",
            "content_type": "text/html",
            "headers": {"retry-after": "0"},
        },
        503,
        "<h1>Guru Meditation</h1>",
    ),
    "data is text": (
        {
            "status": 200,
            "body": '{"data":"An error occurred","success":true,"status":200}',
            "content_type": "application/json",
        },
        200,
        '{"data":"An error occurred","success":true,"status":200}',
    ),
    "data is false": (
        {
            "status": 400,
            "body": '{"data":false,"success":false,"status":400}',
            "content_type": "application/json",
        },
        400,
        '{"data":false,"success":false,"status":400}',
    ),
    "message": (
        {"status": 429, "shape": "G", "message": "Too many requests"},
        429,
        '{"message":"Too many requests"}',
    ),
}


@pytest.mark.parametrize("row", _FAULTS)
async def test_failures_of_theirs(row: str) -> None:
    """A rule sends to the letter what was seen, and nothing is stored."""
    rule, status, body = _FAULTS[row]
    me = quirky()
    me.emulator.faults.replace(
        parse_rules([{"action": "status", "method": "POST", **rule}], source="test")
    )
    before = len(me.emulator.world.images)
    answer = await send(me)
    assert (answer.status, answer.body.decode()) == (status, body)
    for name, value in rule.get("headers", {}).items():
        assert answer.headers[name] == value
    assert len(me.emulator.world.images) == before
