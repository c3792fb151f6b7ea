"""Requests, answers and refusals as values: both dialects, every known shape."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgurfs import limits
from imgurfs.api import parse, refusals, wire
from imgurfs.errors import (
    ForbiddenError,
    ImgurfsError,
    LoginNeededError,
    NotFoundError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    ThrottledError,
    TokenRejectedError,
)
from imgurfs.model import AlbumId, ImageId, Lane, RateHeaders

NOW = 1_800_000_000.0
FIXTURES = Path(__file__).parent / "fixtures"
READ = wire.image(ImageId("PdvlRWc"), Lane.INTERACTIVE)
LIST = wire.images_page(0, Lane.REFRESH)
CHANGE = wire.delete_image(ImageId("PdvlRWc"), Lane.FRESH)
UPLOAD, _ = wire.upload(
    name="x.png", album_id=None, title="", boundary="b", lane=Lane.FRESH
)


def fixture(name: str) -> bytes:
    """Read an answer as it was seen."""
    return (FIXTURES / name).read_bytes()


# --- Answers ------------------------------------------------------------------


def test_image_legacy() -> None:
    """The legacy dialect: escaped slashes, "0" as text, missing owner fields."""
    image = parse.image(parse.data(fixture("image_legacy.json")))
    assert image.id == "PdvlRWc"
    assert image.link == "https://i.imgur.com/PdvlRWc.jpg"
    assert (image.title, image.name, image.deletehash) == ("", "", "")
    assert (image.size_bytes, image.width, image.views) == (150117, 1600, 20625)


def test_album_new_dialect() -> None:
    """The newer dialect: a video's bytes are in mp4_size, empty texts for null."""
    album, images = parse.album_with_images(parse.data(fixture("album_new.json")))
    assert (album.cover, album.privacy, album.images_count) == ("", "private", 2)
    assert images[0].size_bytes == 15_106_767
    assert images[0].link.endswith(".mp4")
    assert images[1].deletehash == ""


@pytest.mark.parametrize(
    ("fields", "link", "size"),
    [
        ({"link": "https://i.imgur.com/abcdefg.", "type": "video/webm"}, "webm", 7),
        ({"link": "https://i.imgur.com/abcdefgh.gif", "type": "image/gif"}, "gif", 7),
        (
            {
                "link": "https://i.imgur.com/abcdefg.gifv",
                "mp4": "https://i.imgur.com/abcdefg.mp4",
                "type": "image/gif",
                "mp4_size": "595876",
            },
            "mp4",
            595_876,
        ),
        (
            {
                "link": "https://i.imgur.com/abcdefg.mp4",
                "type": "video/mp4",
                "processing": {"status": "pending"},
            },
            "mp4",
            0,
        ),
    ],
)
def test_links_are_mended(fields: dict[str, object], link: str, size: int) -> None:
    """A bare dot, gifv, and the thumbnail of a huge animation become the real file."""
    image = parse.image({"id": "abcdefg", "size": 7, **fields})
    assert image.link == f"https://i.imgur.com/abcdefg.{link}"
    assert image.size_bytes == size


@pytest.mark.parametrize("link", ["javascript:alert(1)", "/etc/passwd", "http://", 5])
def test_links_must_be_addresses(link: object) -> None:
    """Anything but an absolute web address counts as no link."""
    assert parse.image({"id": "abcdefg", "link": link}).link == ""


def test_numbers_in_any_form() -> None:
    """Numbers as text, null, too large or negative never break an image."""
    image = parse.image(
        {
            "id": "abcdefg",
            "size": "150117",
            "width": None,
            "height": -4,
            "views": 10**30,
            "datetime": 1.5e9,
            "animated": "0",
            "favorite": 1,
        }
    )
    assert (image.size_bytes, image.width, image.height, image.views) == (
        150117,
        0,
        0,
        0,
    )
    assert (image.datetime_s, image.animated, image.favorite) == (
        1_500_000_000,
        False,
        True,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"null",
        b"[]",
        b'"text"',
        b'{"data":',
        b'{"success":true,"status":200}',
        b"<html><title>over capacity</title></html>",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"data":"An error occurred","success":true,"status":200}',
        b'{"data":{},"success":true,"status":200}',
        b'{"data":[{"id":"abcdefg"},{"title":"no id"}]}',
        b'{"data":[{"id":"../../x"}]}',
        b'{"data":[null]}',
    ],
)
def test_malformed_lists(body: bytes) -> None:
    """Whatever is not a complete list of images is malformed, and nothing else."""
    with pytest.raises(parse.Malformed) as caught:
        parse.images(parse.data(body))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "album",
    [
        {"id": "abc", "images_count": 3, "images": []},
        {"id": "abc", "images_count": 3, "images": None},
        {"id": "abc", "images_count": 3},
        {"id": "abc"},
        {"id": "abc", "images": {"0": {"id": "abcdefg"}}},
    ],
)
def test_an_emptied_album_is_not_believed(album: dict[str, object]) -> None:
    """No images where some are counted, or no list at all, is malformed."""
    with pytest.raises(parse.Malformed):
        parse.album_with_images(album)


def test_empty_albums() -> None:
    """An empty album is one whose count agrees."""
    listings: tuple[object, ...] = ([], None)
    for images in listings:
        value = {"id": "abc", "images_count": 0, "images": images}
        assert parse.album_with_images(value)[1] == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["data", "id", "link", "size", "error", "errors", "code", "images",
             "message", "status", "success", "images_count", "processing", "type"]
        )
        | st.text(max_size=5),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_parsers_are_total(value: object) -> None:
    """Any JSON gives a value or Malformed; classification never fails."""
    body = msgspec.json.encode(value)
    readers = (
        parse.image, parse.images, parse.album, parse.albums, parse.account,
        parse.album_with_images, parse.created_album, lambda v: parse.credit(v, NOW),
    )  # fmt: skip
    for read in readers:
        with contextlib.suppress(parse.Malformed):
            read(value)
    for status in (200, 400, 403, 429, 500):
        error = refusals.refusal(
            UPLOAD, status=status, body=body, headers=None, now=NOW
        )
        assert status == 200 or isinstance(error, ImgurfsError)


@given(st.binary(max_size=300))
def test_bytes_are_never_too_much(body: bytes) -> None:
    """Arbitrary bytes give Malformed at worst, and a short printable excerpt."""
    with contextlib.suppress(parse.Malformed):
        parse.data(body)
    with contextlib.suppress(parse.Malformed):
        parse.token(body)
    shown = parse.excerpt(body)
    assert len(shown) <= limits.EXCERPT_CHARS_MAX
    assert shown.isprintable()


def test_excerpts_hide_secrets() -> None:
    """Tokens and deletehashes do not get into messages."""
    text = (
        '{"access_token":"0123456789abcdef0123456789abcdef01234567",'
        '"deletehash":"77XpjvzI36sO7Mf"} Bearer abc.def client_secret=xyz'
    )
    shown = parse.excerpt(text)
    for secret in ("0123456789abcdef", "77XpjvzI36sO7Mf", "abc.def", "xyz"):
        assert secret not in shown


# --- Rate headers -------------------------------------------------------------


def test_rate_headers() -> None:
    """Names in any case; a reset is seconds or an epoch; nonsense is absent."""
    headers = parse.rate_headers(
        [
            ("X-RateLimit-UserLimit", "500"),
            ("x-ratelimit-userremaining", "499"),
            ("X-Ratelimit-Userreset", "3600"),
            ("x-ratelimit-clientreset", str(int(NOW) + 500)),
            ("x-post-rate-limit-remaining", "soon"),
            ("content-type", "application/json"),
        ],
        NOW,
    )
    assert headers == RateHeaders(
        user_limit=500, user_remaining=499, user_reset_s=3600, client_reset_s=500
    )
    assert parse.rate_headers([("server", "cat factory 1.0")], NOW) is None
    far = parse.rate_headers([("x-ratelimit-userreset", "99999999")], NOW)
    assert far == RateHeaders(user_reset_s=limits.RESET_AHEAD_MAX_S)


# --- Refusals -----------------------------------------------------------------


def a(text: str) -> bytes:
    """Shape A: a text."""
    return json.dumps({"data": {"error": text}, "success": False}).encode()


def b(text: str, code: int) -> bytes:
    """Shape B: an object."""
    error = {"code": code, "message": text, "type": "ImgurException", "exception": []}
    return json.dumps({"data": {"error": error}, "success": False}).encode()


C_429 = (
    b'{"errors":[{"id":"legacy-api-x","code":"429","status":"Too Many Requests",'
    b'"detail":"Too Many Requests"}]}'
)
F_413 = (
    b'{"data":{"error":{"id":"x","code":413,"detail":"file is over the size limit",'
    b'"status":"Request Entity Too Large"}},"success":false,"status":413}'
)
FAST = "You are uploading too fast. Please wait 59 more minutes."
PAGE_404 = b"<html><title>imgur: the simple 404 page</title></html>"
MISSING = "Unable to find an image with the id, X"


@pytest.mark.parametrize(
    ("request_", "status", "body", "expected"),
    [
        (READ, 401, a("Authentication required"), TokenRejectedError),
        (READ, 403, a("The access token provided is invalid."), TokenRejectedError),
        (READ, 403, a("Malformed auth header"), TokenRejectedError),
        (READ, 403, a("Invalid client_id"), LoginNeededError),
        (READ, 403, a("Unauthorized"), ForbiddenError),
        (CHANGE, 403, a("You must own all the image ids to add"), ForbiddenError),
        (CHANGE, 400, a("You are not the owner of album 'X'"), ForbiddenError),
        (READ, 404, a(MISSING), NotFoundError),
        (READ, 404, PAGE_404, NotFoundError),
        (LIST, 404, PAGE_404, OutageError),
        (READ, 200, a(MISSING), NotFoundError),
        (READ, 200, b'{"data":false,"success":false,"status":400}', RejectedError),
        (UPLOAD, 400, a("No image data was sent to the upload api"), RejectedError),
        (UPLOAD, 400, b("File type invalid (1)", 1003), RejectedError),
        (UPLOAD, 415, b("[album]: File type invalid (1)", 1003), RejectedError),
        (UPLOAD, 400, a("File is over the size limit"), RejectedError),
        (UPLOAD, 413, F_413, RejectedError),
        (UPLOAD, 405, b"<html>405 Not Allowed</html>", RejectedError),
        (UPLOAD, 417, a("Internal expectation failed"), OutcomeUnknownError),
        (UPLOAD, 500, a("Could not process upload!"), OutcomeUnknownError),
        (UPLOAD, 502, b"<html>", OutcomeUnknownError),
        (UPLOAD, 400, a("circuit breaker for redis-viewcounts"), OutcomeUnknownError),
        (CHANGE, 504, b"", OutcomeUnknownError),
        (READ, 500, b("Could not complete request", 500), OutageError),
        (READ, 503, b"<html>Guru Meditation</html>", OutageError),
        (READ, 302, b"", OutageError),
        (READ, 403, b"<html>Forbidden</html>", OutageError),
        (READ, 400, b"<html>400 Bad request</html>", OutageError),
        (READ, 400, b'{"message":"No such key"}', RejectedError),
    ],
)
def test_refusals(
    request_: wire.Request, status: int, body: bytes, expected: type[ImgurfsError]
) -> None:
    """Each known refusal becomes the error that says what to do."""
    error = refusals.refusal(request_, status=status, body=body, headers=None, now=NOW)
    assert type(error) is expected


@pytest.mark.parametrize(
    ("status", "body", "headers", "scope", "wait_s"),
    [
        (429, b(FAST, 429), None, "upload", 59 * 60),
        (400, b(FAST, 429), RateHeaders(user_remaining=400), "upload", 59 * 60),
        (400, a("Uploading file too fast!"), None, "upload", limits.UPLOAD_PAUSE_S),
        (429, C_429, RateHeaders(user_remaining=0, user_reset_s=90), "user", 92),
        (429, C_429, RateHeaders(client_remaining=0), "client", 86_402),
        (403, a("Forbidden"), RateHeaders(user_remaining=0), "user", 3602),
        (429, b"", RateHeaders(post_remaining=0, post_reset_s=9), "posts", 11),
        (429, C_429, None, "capacity", 600),
        (403, a("Imgur is temporarily over capacity."), None, "capacity", 600),
        (400, a("These actions are forbidden."), None, "capacity", 600),
    ],
)
def test_throttles(
    status: int, body: bytes, headers: RateHeaders | None, scope: str, wait_s: float
) -> None:
    """A request to wait names what has to wait, and how long."""
    error = refusals.refusal(UPLOAD, status=status, body=body, headers=headers, now=NOW)
    assert isinstance(error, ThrottledError)
    assert (error.scope, error.retry_at) == (scope, NOW + wait_s)


def test_successes_are_none() -> None:
    """Every known success is no refusal."""
    for body in (
        b'{"data":true,"success":true,"status":200}',
        b'{"data":[],"success":true,"status":200}',
        b'{"data":"favorited","success":true,"status":200}',
        fixture("image_legacy.json"),
        fixture("album_new.json"),
    ):
        error = refusals.refusal(CHANGE, status=200, body=body, headers=None, now=NOW)
        assert error is None


# --- Requests -----------------------------------------------------------------


def test_request_bodies() -> None:
    """Ids are repeated fields; texts survive encoding; only POSTs are posts."""
    request = wire.add_to_album(
        AlbumId("abcde"), [ImageId("x1"), ImageId("x2")], Lane.BULK
    )
    assert request.path == "/3/album/abcde/add"
    assert request.body == b"ids%5B%5D=x1&ids%5B%5D=x2"
    assert request.cost.is_post
    update = wire.update_album(
        AlbumId("abcde"), title="a&b\n\udcff", description=None, cover=None,
        lane=Lane.BULK,
    )  # fmt: skip
    assert update.body == b"title=a%26b%0A%EF%BF%BD"
    assert not update.cost.is_post
    assert wire.albums_page(3, Lane.REFRESH).target == (
        "/3/account/me/albums/3?perPage=100"
    )


def test_upload_frame() -> None:
    """The name travels as a field, untouched; the length is exact."""
    name = 'a"b\\c\r\nd~marker.mp4'
    request, frame = wire.upload(
        name=name, album_id=AlbumId("abc"), title="", boundary="B", lane=Lane.BULK
    )
    assert request.is_upload
    assert name.encode() in frame.head
    assert b'name="video"; filename="video"' in frame.head
    assert frame.length(10) == len(frame.head) + 10 + len(frame.tail)
