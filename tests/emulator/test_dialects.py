"""The shapes of refusals, and those of callers, images and albums.

One test for each row of what was observed, in both dialects: those that come of
themselves and those that a quirk chooses. ``test_upload_refusals`` and
``test_headers`` have the others.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.rules.errors import ApiError, Shape
from imgurfs.emulator.rules.wire import error_reply
from imgurfs.emulator.world.sample import STRANGER
from tests.support.emulated import Visitor, anonymous, emulate
from tests.support.quirky import MISSING, is_errors, quirky, send

# --- The shapes ---

_ERROR = ApiError(400, "no/thing", code=1003)
_SHAPES = {
    Shape.STRING: '{"data":{"error":"no\\/thing","request":"\\/3\\/image",'
    '"method":"POST"},"success":false,"status":400}',
    Shape.OBJECT: '{"data":{"error":{"code":1003,"message":"no\\/thing",'
    '"type":"ImgurException","exception":[]},"request":"\\/3\\/image",'
    '"method":"POST"},"success":false,"status":400}',
    Shape.ERRORS: '{"errors":[{"id":"legacy-api-7f9c4d5b68-emul8\\/Ab3dE5gH-1000001",'
    '"code":"1003","status":"Bad Request","detail":"no\\/thing"}]}',
    Shape.EDGE: '{"data":{"error":"no\\/thing"},"success":false,"status":400}',
    Shape.HTML: "no/thing",
    Shape.NESTED: '{"data":{"error":{"id":"legacy-api-7f9c4d5b68-emul8\\/Ab3dE5gH-'
    '1000001","code":1003,"status":"Bad Request","detail":"no\\/thing"},'
    '"request":"\\/3\\/image","method":"POST"},"success":false,"status":400}',
    Shape.MESSAGE: '{"message":"no\\/thing"}',
}


@pytest.mark.parametrize("shape", list(Shape))
def test_shapes_to_the_letter(shape: Shape) -> None:
    """Each shape is written exactly so: compact, in this order, slashes escaped."""
    error = ApiError(400, "no/thing", code=1003, shape=shape)
    reply = error_reply(error, Dialect.LEGACY, path="/3/image", method="POST")
    assert reply.body.decode() == _SHAPES[shape]
    assert reply.status == 400


@pytest.mark.parametrize("shape", [it for it in Shape if it is not Shape.HTML])
def test_new_back_end_leaves_slashes_alone(shape: Shape) -> None:
    """The new back-end says the same without escapes, and {} for the exception."""
    error = ApiError(400, "no/thing", code=1003, shape=shape)
    reply = error_reply(error, Dialect.NEW, path="/3/image", method="POST")
    expected = json.loads(_SHAPES[shape])
    if shape is Shape.OBJECT:
        expected["data"]["error"]["exception"] = {}
    assert json.loads(reply.body) == expected
    assert b"\\" not in reply.body


# --- Who may ask ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/3/account/me"),
        ("GET", "/3/credits"),
        ("POST", "/3/album"),
        ("POST", "/3/image"),
        ("POST", "/3/image/abcdefg"),
        ("DELETE", "/3/album/abcdefg"),
    ],
)
async def test_no_authorization_is_401(
    method: str, path: str, dialect: Dialect
) -> None:
    """Without any authorization: 401 and a plain text, in both dialects."""
    answer = await Visitor(emulate(dialect=dialect)).api(method, path)
    assert (answer.status, answer.error) == (401, "Authentication required")
    assert answer.json["data"]["request"] == path


@pytest.mark.parametrize(
    ("value", "status", "detail"),
    [
        ("403", 403, "The access token provided is invalid."),
        ("401", 401, "Unauthorized"),
        ("429", 429, "Too Many Requests"),
    ],
)
async def test_invalid_token(
    value: str, status: int, detail: str, dialect: Dialect
) -> None:
    """An invalid token has been seen refused with three statuses."""
    emulator = emulate(dialect=dialect, quirk_changes={"invalid_token": value})
    answer = await Visitor(emulator, "Bearer expired").api("GET", "/3/account/me")
    if status == 403:
        assert (answer.status, answer.error) == (403, detail)
    else:
        assert is_errors(answer, status=status, detail=detail)


async def test_invalid_token_by_default() -> None:
    """Unless told otherwise it is 403 in the legacy back-end and 401 in the new."""
    for dialect, status in ((Dialect.LEGACY, 403), (Dialect.NEW, 401)):
        visitor = Visitor(emulate(dialect=dialect), "Bearer expired")
        assert (await visitor.api("GET", "/3/account/me")).status == status


async def test_private_things_of_others_are_403(dialect: Dialect) -> None:
    """Somebody else's images and secret album: Unauthorized."""
    me = quirky(dialect)
    world = me.emulator.world
    secret = next(it for it in world.albums.values() if it.privacy == "secret")
    for path in (f"/3/account/{STRANGER}/images", f"/3/album/{secret.id}"):
        answer = await me.api("GET", path)
        assert (answer.status, answer.error) == (403, "Unauthorized")


@pytest.mark.parametrize(
    ("method", "words"), [("DELETE", "Unauthorized"), ("POST", "Permission denied")]
)
async def test_id_with_an_application_only_is_403(
    method: str, words: str, dialect: Dialect
) -> None:
    """Who is not logged in needs the deletehash; the id is refused."""
    emulator = emulate(dialect=dialect)
    image_id = next(iter(emulator.world.images))
    answer = await anonymous(emulator).api(method, f"/3/image/{image_id}")
    assert (answer.status, answer.error) == (403, words)


# --- What is not there ---

_IMAGE_CALLS = [
    ("GET", f"/3/image/{MISSING}"),
    ("POST", f"/3/image/{MISSING}"),
    ("POST", f"/3/image/{MISSING}/favorite"),
    ("DELETE", f"/3/image/{MISSING}"),
    ("DELETE", "/3/image/abcdefghijklmno"),
]


@pytest.mark.parametrize(("method", "path"), _IMAGE_CALLS)
async def test_missing_image(method: str, path: str, dialect: Dialect) -> None:
    """404 as JSON with the id, or with the quirk as a page."""
    key = path.split("/")[3]
    answer = await quirky(dialect).api(method, path)
    expected = (404, f"Unable to find an image with the id, {key}")
    assert (answer.status, answer.error) == expected
    page = await quirky(dialect, missing_image="page").api(method, path)
    assert page.status == 404
    assert page.headers["content-type"].startswith("text/html")
    assert b"imgur: the simple 404 page" in page.body


async def test_missing_album(dialect: Dialect) -> None:
    """404 as JSON with the path that was asked for, whatever the image quirk."""
    path = f"/3/album/{MISSING}/images"
    answer = await quirky(dialect, missing_image="page").api("GET", path)
    expected = (404, f"Unable to find an album with the id, {MISSING}")
    assert (answer.status, answer.error) == expected
    assert answer.json["data"]["request"] == path


async def test_missing_image_of_account_or_album_is_an_error_inside_200(
    dialect: Dialect,
) -> None:
    """Success by status and flag, an error in the data; the quirk does not help."""
    me = quirky(dialect, missing_image="page")
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    for path in (
        f"/3/account/me/image/{MISSING}",
        f"/3/album/{album_id}/image/{MISSING}",
    ):
        answer = await me.api("GET", path)
        expected = f"Unable to find an image with the id, {MISSING}"
        assert answer.data["error"] == expected
        assert answer.json["status"] == 200


async def test_deleting_from_the_account_twice_is_200(dialect: Dialect) -> None:
    """The account's own delete does not mind what is gone."""
    me = quirky(dialect)
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    for _ in range(2):
        path = f"/3/account/me/image/{image_id}"
        assert (await me.api("DELETE", path)).data is True


# --- Albums ---


async def test_adding_foreign_images(dialect: Dialect) -> None:
    """All or nothing with the album's id in the refusal; or silently without them."""
    for value in ("refused", "ignored"):
        me = quirky(dialect, foreign_images=value)
        album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
        own = (await me.api("GET", "/3/account/me/images/ids")).data[0]
        me.emulator.world.albums[album_id].images.clear()
        data = {"ids": f"{own},{MISSING}"}
        answer = await me.api("POST", f"/3/album/{album_id}/add", data=data)
        images = list(me.emulator.world.albums[album_id].images)
        if value == "ignored":
            assert (answer.data, images) == (True, [own])
            continue
        assert answer.status == 403
        assert answer.error == (
            f"You must own all the image ids to add them to album {album_id}"
        )
        assert images == []


@pytest.mark.parametrize("value", ["403", "400"])
async def test_upload_into_a_foreign_album(value: str, dialect: Dialect) -> None:
    """The same words under either status."""
    me = quirky(dialect, foreign_album=value)
    stranger = me.emulator.world.account(STRANGER)
    assert stranger is not None
    album_id = next(iter(stranger.albums))
    answer = await send(me, album=album_id)
    assert answer.status == answer.json["status"] == int(value)
    assert answer.error == (
        f"You are not the owner of album '{album_id}', which means you can't add "
        "images to it. For anonymous albums, use the album deletehash."
    )


@pytest.mark.parametrize("quirk", ["works", "multipart_ignored", "ignored"])
@pytest.mark.parametrize("body", ["data", "files", "json"])
async def test_set_images(quirk: str, body: str) -> None:
    """POST with ids replaces the images, or says yes and does not."""
    me = quirky(set_images=quirk)
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    ids = (await me.api("GET", "/3/account/me/images/ids")).data[:1]
    album = me.emulator.world.albums[album_id]
    album.images = dict.fromkeys(list(me.emulator.world.images)[1:3])
    before = list(album.images)
    value: Any = (None, ids[0]) if body == "files" else ids[0]
    options = {body: {"ids": value}}
    answer = await me.api("POST", f"/3/album/{album_id}/", **options)
    assert answer.data is True
    works = quirk == "works" or (quirk == "multipart_ignored" and body != "files")
    assert list(album.images) == (ids if works else before)
