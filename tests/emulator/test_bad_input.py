"""What nobody should send: Imgur's own refusals, never a failure of the emulator's."""

from __future__ import annotations

import base64
import io
import json
from random import Random
from typing import Any

import pytest
from PIL import Image as Drawing

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.rules.limits import NO_LIMITS
from imgurfs.emulator.world.sample import STRANGER
from tests.support.emulated import ManualClock, Visitor, anonymous, emulate, owner
from tests.support.knocking import FORM, check_shape, form, knock

NO_DATA = "No image data was sent to the upload api"


# --- Numbers ------------------------------------------------------------------

HUGE = "9" * 5_000


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("page=-1", "01234"),
        ("page=-" + HUGE, "01234"),
        ("page=abc", "01234"),
        ("page=1e3", "01234"),
        ("page=", "01234"),
        ("page=\uff11", "01234"),
        ("page=1", ""),
        ("page=9999999999", ""),
        ("page=" + HUGE, ""),
        ("perPage=2&page=2", "4"),
        ("perPage=0", "01234"),
        ("perPage=-3", "01234"),
        ("perPage=x", "01234"),
        ("perPage=" + HUGE, "01234"),
        ("perPage=" + HUGE + "&page=" + HUGE, ""),
    ],
)
async def test_pages_that_are_none(query: str, ids: str, dialect: Dialect) -> None:
    """A number below zero or no number is the first page, a huge one an empty page."""
    emulator = emulate(dialect=dialect)
    me = owner(emulator)
    newest_first = list(emulator.world.accounts["sample"].images)[::-1]
    expected = [newest_first[int(digit)] for digit in ids]
    for route in ("images", "images/ids"):
        answer = await me.api("GET", f"/3/account/me/{route}?{query}")
        found = [it if isinstance(it, str) else it["id"] for it in answer.data]
        assert found == expected


@pytest.mark.parametrize(("page", "count"), [("-1", 5), ("99999999999999", 0)])
async def test_pages_in_the_path(page: str, count: int) -> None:
    """The same in the path as in the query."""
    me = owner(emulate())
    for route in ("images", "images/ids"):
        assert len((await me.api("GET", f"/3/account/me/{route}/{page}")).data) == count


# --- Bodies -------------------------------------------------------------------

PART = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nbytes'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--b\r\n" + PART + b"\r\n--b--\r\n"),
        ("multipart/form-data; boundary=", b"--b\r\n" + PART + b"\r\n--b--\r\n"),
        ("multipart/form-data; boundary=c", b"--b\r\n" + PART + b"\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--b\r\n" + PART),
        ("multipart/form-data; boundary=b", b"--b\r\n" + PART[:30]),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disp"),
        ("multipart/form-data; boundary=b", b"\xff" * 5000),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nbytes\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b; charset=none", b"--b\r\n: \r\n\r\n--b--"),
        ("multipart/form-data; boundary=" + "b" * 300, b"--" + b"b" * 300 + b"\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + PART[:60] + b"\r\n\r\n" * 9),
        (FORM, b"\xff\xfe\x00=%zz&&&==&%ff"),
        (FORM, b"&".join(b"a%d=1" % n for n in range(20_000))),
        ("application/json", b"[" * 200_000),
        ("application/json", b'{"a":' * 200_000),
        ("application/json", b'{"image":' + b"[" * 900 + b"]" * 900 + b"}"),
        ("application/json", b'{"image":null}'),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"[1,2"),
        ("application/json", b'["image"]'),
        ("application/json", b"null"),
        ("application/json", b"12"),
        ("", b"image"),
        ("application/octet-stream", b"\x89PNG\r\n\x1a\n"),
    ],
)
async def test_bodies_without_a_picture(
    kind: str, body: bytes, dialect: Dialect
) -> None:
    """What cannot be parsed counts as not sent; nothing is stored."""
    emulator = emulate(dialect=dialect)
    before = len(emulator.world.images)
    answer = await form(emulator, "POST", "/3/upload", body, kind)
    assert answer.status == 400
    if not body.startswith(b'{"image":['):
        assert answer.error == NO_DATA
    assert len(emulator.world.images) == before


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        True,
        {},
        [],
        [[]],
        {"a": {"b": 1}},
        "\x00",
        "\ud800",
        "a,,b",
        10**400,
        float("nan"),
        ["a", None, 3],
        "x" * 100_000,
    ],
)
@pytest.mark.parametrize("name", ["ids", "title", "cover", "privacy", "deletehashes"])
async def test_fields_of_the_wrong_kind(
    name: str, value: object, dialect: Dialect
) -> None:
    """JSON of any shape in any field: an album, or a refusal, and readable after."""
    emulator = emulate(dialect=dialect)
    body = json.dumps({name: value}).encode()
    album = next(iter(emulator.world.accounts["sample"].albums))
    for path in ("/3/album", f"/3/album/{album}", f"/3/album/{album}/add"):
        await form(emulator, "POST", path, body, "application/json")
    for path in ("/3/account/me/albums", f"/3/album/{album}"):
        answer = await owner(emulator).api("GET", path)
        json.dumps(answer.data).encode()


async def test_text_that_is_not_utf_8(dialect: Dialect) -> None:
    """Broken bytes are replaced, NULs do no harm, and the answer is JSON in UTF-8."""
    emulator = emulate(dialect=dialect)
    album = next(iter(emulator.world.accounts["sample"].albums))
    path = f"/3/album/{album}"
    for body, kind, title in (
        (b"title=%ff%00x", FORM, "\ufffd\x00x"),
        (b"title=\xff\xfe", FORM, "\ufffd\ufffd"),
        (b'{"title":"a\\ud800b"}', "application/json", "a?b"),
        (b'{"title":"\\ud83d\\ude00"}', "application/json", "\U0001f600"),
    ):
        assert (await form(emulator, "POST", path, body, kind)).data is True
        assert (await owner(emulator).api("GET", path)).data["title"] == title


# --- Who and what -------------------------------------------------------------


@pytest.mark.parametrize("word", ["zzzzzzz", "a", "x" * 5_000, "%00", "%ff", "..%2f..",
                                  "%F0%9F%98%80", "null", "0", "-1"])  # fmt: skip
async def test_unknown_ids(word: str, dialect: Dialect) -> None:
    """An id that names nothing is not found, however it looks."""
    me = owner(emulate(dialect=dialect))
    for method, path in (
        ("GET", f"/3/image/{word}"),
        ("POST", f"/3/image/{word}"),
        ("DELETE", f"/3/image/{word}"),
        ("POST", f"/3/image/{word}/favorite"),
        ("GET", f"/3/album/{word}"),
        ("PUT", f"/3/album/{word}"),
        ("POST", f"/3/album/{word}/add"),
        ("DELETE", f"/3/album/{word}"),
        ("GET", f"/3/account/{word}"),
    ):
        answer = await me.api(method, path)
        check_shape(answer)
        assert answer.status == 404, (method, path, answer)


async def test_missing_inside_a_success(dialect: Dialect) -> None:
    """Two routes say of a missing image that it is, with status 200."""
    emulator = emulate(dialect=dialect)
    album = next(iter(emulator.world.accounts["sample"].albums))
    for path in ("/3/account/me/image/zzzzzzz", f"/3/album/{album}/image/zzzzzzz"):
        answer = await owner(emulator).api("GET", path)
        error = answer.data["error"]
        assert error == "Unable to find an image with the id, zzzzzzz"


async def test_somebody_elses_things(dialect: Dialect) -> None:
    """Changing what is another's is 403, and changes nothing."""
    emulator = emulate(dialect=dialect)
    world = emulator.world
    other = world.accounts[STRANGER]
    image, album = next(iter(other.images)), next(iter(other.albums))
    mine = next(iter(world.accounts["sample"].albums))
    before = emulator.admin.state()
    for visitor in (owner(emulator), anonymous(emulator)):
        for method, path, data in (
            ("DELETE", f"/3/image/{image}", {}),
            ("POST", f"/3/image/{image}", {"title": "x"}),
            ("DELETE", f"/3/album/{album}", {}),
            ("PUT", f"/3/album/{album}", {"title": "x"}),
            ("POST", f"/3/album/{album}/add", {"ids": image}),
            ("POST", f"/3/album/{album}/remove_images", {"ids": image}),
        ):
            answer = await visitor.api(method, path, data=data)
            check_shape(answer)
            assert answer.status == 403, (method, path, answer)
    added = await owner(emulator).api(
        "POST", f"/3/album/{mine}/add", data={"ids": image}
    )
    assert added.error == f"You must own all the image ids to add them to album {mine}"
    deleted = await owner(emulator).api(
        "DELETE", f"/3/account/{STRANGER}/image/{image}"
    )
    assert deleted.status == 403
    assert emulator.admin.state() == before


@pytest.mark.parametrize("header", ["Bearer " + "x" * 100_000, "Bearer \x00", "bearer",
                                    "Bearer a b", "Client-ID", "Client-ID é",
                                    "\xff\xfe", "Token x", " "])  # fmt: skip
async def test_tokens_that_are_none(header: str, dialect: Dialect) -> None:
    """Malformed authorization is refused as such, never believed or choked on."""
    emulator = emulate(dialect=dialect)
    raw = header.encode("latin-1")
    for path in ("/3/account/me", "/3/credits"):
        answer = await knock(emulator.api, "GET", path, headers={"authorization": raw})
        check_shape(answer)
        assert answer.status in (401, 403)


async def test_expired_and_revoked_tokens(dialect: Dialect) -> None:
    """A token that was good is refused like one that never was."""
    clock = ManualClock()
    emulator = emulate(clock, dialect=dialect, token_lifetime_s=60)
    known = emulator.credentials
    fields = {
        "grant_type": "refresh_token",
        "client_id": known.client_id,
        "client_secret": known.client_secret,
        "refresh_token": known.refresh_token,
    }
    never = await Visitor(emulator, "Bearer " + "0" * 40).api("GET", "/3/account/me")
    token = (await Visitor(emulator).api("POST", "/oauth2/token", data=fields)).json
    visitor = Visitor(emulator, "Bearer " + token["access_token"])
    assert (await visitor.api("GET", "/3/account/me")).status == 200
    clock.time_s += 61
    expired = await visitor.api("GET", "/3/account/me")
    assert (expired.status, expired.json) == (never.status, never.json)
    await Visitor(emulator).api("DELETE", "/_emulator/access_tokens")
    revoked = await owner(emulator).api("GET", "/3/account/me")
    assert (revoked.status, revoked.json) == (never.status, never.json)
    assert never.status == (401 if dialect is Dialect.NEW else 403)


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "FOO", "get", "", "P\xd6ST"])
async def test_unknown_methods(method: str) -> None:
    """A method nobody knows has no route, and changes nothing."""
    emulator = emulate()
    before = emulator.admin.state()
    for path in ("/3/album", "/3/account/me", "/3/image/x"):
        answer = await knock(emulator.api, method, path)
        assert (answer.status, answer.body[:9]) == (404, b"<!doctype")
    assert emulator.admin.state() == before


# --- Pictures -----------------------------------------------------------------


def drawn(kind: str) -> bytes:
    """Return a small picture of a kind, animated where that is possible."""
    buffer = io.BytesIO()
    frames = [Drawing.effect_noise((24, 18), 50 + n).convert("P") for n in range(3)]
    more = {"save_all": True, "append_images": frames[1:]} if kind == "GIF" else {}
    picture = frames[0] if kind in ("GIF", "PNG") else frames[0].convert("RGB")
    picture.save(buffer, kind, **more)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF"])
async def test_damaged_pictures(kind: str, dialect: Dialect) -> None:
    """With wrong or missing bytes a picture is refused, or stored and then shown."""
    emulator = emulate(dialect=dialect, limits=NO_LIMITS)
    whole = drawn(kind)
    chance = Random(kind)
    for _ in range(150):
        data = bytearray(whole[: chance.randint(1, len(whole))])
        for _ in range(chance.choice([0, 1, 3, 20])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        body = json.dumps({"image": base64.b64encode(data).decode()}).encode()
        answer = await form(emulator, "POST", "/3/image", body, "application/json")
        assert answer.status in (200, 400, 413, 415)
        if answer.status == 200:
            image_id = answer.data["id"]
            for path in (f"/{image_id}.jpg", f"/{image_id}s.jpg"):
                headers = {"accept": b"image/webp"}
                shown = await knock(emulator.cdn, "GET", path, headers=headers)
                assert shown.status == 200


async def test_a_picture_that_claims_to_be_enormous(dialect: Dialect) -> None:
    """A few bytes that promise gigapixels are not unpacked."""
    emulator = emulate(dialect=dialect, limits=NO_LIMITS)
    png = bytearray(drawn("PNG"))
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    body = json.dumps({"image": base64.b64encode(png).decode()}).encode()
    answer = await form(emulator, "POST", "/3/image", body, "application/json")
    assert answer.status in (200, 400)


# --- The admin view ---


@pytest.mark.parametrize(
    "body", [b"\xff", b"[" * 100_000, b"{}", b"[1]", b"[{}]", b"null"]
)
async def test_the_admin_view_refuses_nonsense(body: bytes) -> None:
    """Rules that are none are 400 with a reason, and leave the old ones."""
    emulator = emulate()
    answer = await knock(emulator.api, "POST", "/_emulator/faults", body=body)
    assert answer.status == 400
    told: dict[str, Any] = answer.json
    assert told["error"]
