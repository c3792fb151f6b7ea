"""Image routes and uploads."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.rules import uploads
from imgurfs.emulator.world import pictures
from imgurfs.emulator.world.sample import STRANGER
from tests.support.emulated import ManualClock, Visitor, anonymous, emulate, owner

PNG = pictures.draw_picture("A test", number=1, kind="png", width=64, height=48)
JPEG = pictures.draw_picture("A test", number=1, kind="jpeg", width=64, height=48)
GIF = pictures.draw_picture("A test", number=1, kind="gif", width=64, height=48)
MOVING = pictures.draw_animation("A test", number=1, width=64, height=48)
MP4 = pictures.large_video_head(1000) + bytes(960)


def ways(data: bytes) -> dict[str, dict[str, Any]]:
    """Return the request options of each way to upload."""
    text = base64.b64encode(data).decode()
    return {
        "multipart file": {"files": {"image": ("name.png", data)}},
        "multipart video": {"files": {"video": ("name.png", data)}},
        "multipart text": {"files": {"image": (None, text)}},
        "form": {"data": {"image": text, "type": "base64"}},
        "wrong type": {"data": {"image": text, "type": "file"}},
        "json": {"json": {"image": text, "type": "base64"}},
        "data address": {"data": {"image": "data:image/png;base64," + text}},
        "data url": {"data": {"url": "data:image/png;base64," + text, "type": "URL"}},
    }


@pytest.mark.parametrize("way", ways(b""))
@pytest.mark.parametrize("path", ["/3/image", "/3/upload", "/3/image.json"])
async def test_upload_keeps_the_bytes_in_every_way(way: str, path: str) -> None:
    """What is uploaded is what the CDN serves."""
    me = owner(emulate())
    uploaded = (await me.api("POST", path, **ways(PNG)[way])).data
    assert uploaded["size"] == len(PNG)
    served = await me.cdn(f"/{uploaded['id']}.png")
    assert served.body == PNG


@pytest.mark.parametrize(
    ("data", "mime", "extension"),
    [
        (JPEG, "image/jpeg", "jpg"),
        (PNG, "image/png", "png"),
        (GIF, "image/gif", "gif"),
        (MP4, "video/mp4", "mp4"),
    ],
)
async def test_type_is_read_from_the_bytes(
    data: bytes, mime: str, extension: str
) -> None:
    """A wrong file name does not matter; link and type tell the truth."""
    me = owner(emulate())
    files = {"image": ("lie.txt", data, "text/plain")}
    uploaded = (await me.api("POST", "/3/image", files=files)).data
    assert uploaded["type"] == mime
    assert uploaded["link"].endswith(f"/{uploaded['id']}.{extension}")
    if mime != "video/mp4":
        assert (uploaded["width"], uploaded["height"]) == (64, 48)


async def test_upload_echoes_texts_and_name(dialect: Dialect) -> None:
    """Title and description are kept, blank ones are null, the name is echoed."""
    me = owner(emulate(dialect=dialect))
    files = {"image": ("file~mark.png", PNG)}
    fields = {"title": "T/ü", "description": " "}
    answer = await me.api("POST", "/3/image", data=fields, files=files)
    uploaded = answer.data
    assert (uploaded["title"], uploaded["description"]) == ("T/ü", None)
    assert uploaded["name"] == "file~mark.png"
    assert len(uploaded["deletehash"]) == 15
    named = await me.api("POST", "/3/image", data={"name": "n.png"}, files=files)
    assert named.data["name"] == "n.png"
    plain = base64.b64encode(PNG).decode()
    assert (await me.api("POST", "/3/image", data={"image": plain})).data["name"] == ""


async def test_same_bytes_twice_are_two_images() -> None:
    """Imgur does not recognise twins."""
    me = owner(emulate(albums=0, images=0))
    first = (await me.api("POST", "/3/image", files={"image": PNG})).data
    second = (await me.api("POST", "/3/image", files={"image": PNG})).data
    assert first["id"] != second["id"]
    assert (await me.api("GET", "/3/account/me/images/count")).data == 2
    newest = (await me.api("GET", "/3/account/me/images/ids")).data
    assert newest == [second["id"], first["id"]]


@pytest.mark.parametrize("field", ["album", "album_id"])
async def test_upload_into_an_album(field: str) -> None:
    """The image is appended to the album named under either name."""
    emulator = emulate(albums=1, images=1)
    me = owner(emulator)
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    files = {"image": PNG}
    uploaded = await me.api("POST", "/3/image", data={field: album_id}, files=files)
    assert list(emulator.world.albums[album_id].images)[-1] == uploaded.data["id"]


async def test_upload_into_a_foreign_album_is_refused_and_stores_nothing() -> None:
    """Not the owner: Imgur's own words, and no image."""
    emulator = emulate()
    me = owner(emulator)
    stranger = emulator.world.account(STRANGER)
    assert stranger is not None
    before = len(emulator.world.images)
    album_id = next(iter(stranger.albums))
    answer = await me.api(
        "POST", "/3/image", data={"album": album_id}, files={"image": PNG}
    )
    assert answer.status == 403
    assert answer.error.startswith(f"You are not the owner of album '{album_id}'")
    assert len(emulator.world.images) == before


async def test_upload_from_the_own_cdn_and_refusal_of_the_world() -> None:
    """Addresses of this emulator work; others are refused without a look."""
    emulator = emulate()
    me = owner(emulator)
    link = (await me.api("GET", "/3/account/me/images")).data[0]["link"]
    copied = await me.api("POST", "/3/image", data={"image": link, "type": "url"})
    assert copied.data["size"] > 0
    for bad in ("http://192.0.2.1/x.png", "https://example.com/", "http://[", "ftp:x"):
        answer = await me.api("POST", "/3/image", data={"image": bad, "type": "url"})
        assert (answer.status, answer.error) == (400, f"Invalid URL ({bad})")


async def test_upload_without_image() -> None:
    """No image, an empty file, an empty field: no image data."""
    me = owner(emulate())
    nothing: list[dict[str, Any]] = [
        {},
        {"files": {"image": ("x.png", b"")}},
        {"data": {"image": ""}},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
    ]
    for options in nothing:
        answer = await me.api("POST", "/3/image", **options)
        assert answer.status == 400
        assert answer.error == "No image data was sent to the upload api"
        assert answer.json["data"]["method"] == "POST"


@pytest.mark.parametrize(
    "data",
    [
        b"plain text",
        b"RIFF\x10\0\0\0WEBPVP8 " + bytes(32),
        b"\0\0\0\x18ftypheic" + bytes(32),
        b"\0\0\0\x18ftypavif" + bytes(32),
        b"<svg/>",
    ],
)
async def test_foreign_formats_are_code_1003(data: bytes, dialect: Dialect) -> None:
    """WebP, HEIC, AVIF and text get the object with code 1003."""
    me = owner(emulate(dialect=dialect))
    answer = await me.api("POST", "/3/image", files={"image": ("x.jpg", data)})
    assert answer.status == 400
    assert answer.error == {
        "code": 1003,
        "message": "File type invalid (1)",
        "type": "ImgurException",
        "exception": [] if dialect is Dialect.LEGACY else {},
    }


async def test_base64_that_is_none_and_file_called_base64() -> None:
    """Both are an invalid type."""
    me = owner(emulate())
    text = await me.api("POST", "/3/image", data={"image": "!!", "type": "base64"})
    assert text.error["code"] == 1003
    files = {"image": ("x.png", PNG)}
    file = await me.api("POST", "/3/image", data={"type": "base64"}, files=files)
    assert file.error["code"] == 1003


async def test_corrupt_picture_is_refused() -> None:
    """A picture's first bytes are not a picture."""
    me = owner(emulate())
    answer = await me.api("POST", "/3/image", files={"image": JPEG[:20]})
    assert answer.status == 400
    assert answer.error == "Image format not supported, or image is corrupt."


async def test_size_limit_of_stills(dialect: Dialect) -> None:
    """One byte above ten million is too much for a still, not for an animation."""
    me = owner(emulate(dialect=dialect))
    exact = PNG + bytes(uploads.STILL_BYTES_MAX - len(PNG))
    assert (await me.api("POST", "/3/image", files={"image": exact})).status == 200
    answer = await me.api("POST", "/3/image", files={"image": exact + b"."})
    if dialect is Dialect.NEW:
        assert (answer.status, answer.error) == (413, "file is over the size limit")
    else:
        assert (answer.status, answer.error) == (400, "File is over the size limit")
    moving = await me.api("POST", "/3/image", files={"image": MOVING + exact})
    assert moving.status == 200


async def test_unfinished_request_changes_nothing() -> None:
    """A client that leaves in the middle of an upload has uploaded nothing."""
    emulator = emulate()
    before = len(emulator.world.images)
    text = base64.b64encode(JPEG)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/3/image",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"authorization", b"Bearer " + owner_token(emulator)),
        ],
    }
    inbox = [{"type": "http.request", "body": b"image=" + text, "more_body": True}]

    async def receive() -> Any:
        return inbox.pop() if inbox else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await emulator.api(scope, receive, send)
    assert len(emulator.world.images) == before


def owner_token(emulator: Any) -> bytes:
    """Return the access token as bytes."""
    token: str = emulator.credentials.access_token
    return token.encode()


async def test_animation_and_video_fields(dialect: Dialect) -> None:
    """Films have size 0 in the new dialect, and their bytes in mp4_size."""
    clock = ManualClock()
    me = owner(emulate(clock, dialect=dialect))
    film = (await me.api("POST", "/3/upload", files={"video": MP4})).data
    clock.time_s += 10
    shown = (await me.api("GET", f"/3/image/{film['id']}")).data
    assert shown["mp4_size"] == len(MP4)
    assert shown["animated"] is True
    assert shown["size"] == (0 if dialect is Dialect.NEW else len(MP4))
    gif = (await me.api("POST", "/3/image", files={"image": MOVING})).data
    assert gif["animated"] is (dialect is Dialect.LEGACY)
    shown = (await me.api("GET", f"/3/image/{gif['id']}")).data
    assert shown["animated"] is True
    assert shown["size"] == len(MOVING)
    assert ("looping" in shown) is (dialect is Dialect.LEGACY)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("body", ["data", "json", "files"])
async def test_update_changes_texts_only(method: str, body: str) -> None:
    """Title and description change, the name never does; blank clears."""
    emulator = emulate()
    me = owner(emulator)
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    name = emulator.world.images[image_id].name
    fields: dict[str, Any] = {"title": "new", "description": "", "name": "other"}
    if body == "files":
        fields = {key: (None, value) for key, value in fields.items()}
    path = f"/3/image/{image_id}"
    assert (await me.api(method, path, **{body: fields})).data is True
    image = emulator.world.images[image_id]
    assert (image.title, image.description, image.name) == ("new", None, name)


async def test_deleted_image_leaves_albums_and_cdn() -> None:
    """DELETE image removes it everywhere; a second time it is unknown."""
    emulator = emulate(albums=1, images=2)
    me = owner(emulator)
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    assert (await me.api("DELETE", f"/3/image/{image_id}")).data is True
    album = next(iter(emulator.world.albums.values()))
    assert image_id not in album.images
    assert (await me.cdn(f"/{image_id}.jpg")).status == 302
    again = await me.api("DELETE", f"/3/image/{image_id}")
    assert (again.status, again.error) == (
        404,
        f"Unable to find an image with the id, {image_id}",
    )


async def test_foreign_image_is_readable_but_not_changed(dialect: Dialect) -> None:
    """The name leaks to strangers in the new dialect only; changing is refused."""
    emulator = emulate(dialect=dialect)
    me = owner(emulator)
    stranger = emulator.world.account(STRANGER)
    assert stranger is not None
    path = "/3/image/" + next(iter(stranger.images))
    shown = (await me.api("GET", path)).data
    if dialect is Dialect.NEW:
        assert (shown["name"], shown["deletehash"]) == ("notyours.jpg", "")
    else:
        assert "name" not in shown
        assert "deletehash" not in shown
    deleted = await me.api("DELETE", path)
    assert (deleted.status, deleted.error) == (403, "Unauthorized")
    updated = await me.api("POST", path, data={"title": "x"})
    assert (updated.status, updated.error) == (403, "Permission denied")


async def test_deletehash_allows_what_an_id_does_not() -> None:
    """An anonymous upload is changed and deleted by its deletehash alone."""
    emulator = emulate()
    visitor = anonymous(emulator)
    made = (await visitor.api("POST", "/3/image", files={"image": PNG})).data
    assert made["account_id"] == 0
    assert (await visitor.api("DELETE", f"/3/image/{made['id']}")).status == 403
    path = f"/3/image/{made['deletehash']}"
    assert (await visitor.api("POST", path, data={"title": "t"})).data is True
    assert emulator.world.images[made["id"]].title == "t"
    assert (await visitor.api("DELETE", path)).data is True
    assert made["id"] not in emulator.world.images


async def test_favorite_toggles() -> None:
    """The same call twice undoes itself."""
    me = owner(emulate())
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    path = f"/3/image/{image_id}/favorite"
    assert (await me.api("POST", path)).data == "favorited"
    assert (await me.api("POST", path)).data == "unfavorited"


async def test_upload_without_application() -> None:
    """Somebody without any authorization uploads nothing."""
    answer = await Visitor(emulate()).api("POST", "/3/image", files={"image": PNG})
    assert (answer.status, answer.error) == (401, "Authentication required")


async def test_md5_is_that_of_the_bytes() -> None:
    """The admin state and the ETag tell the digest of the upload."""
    emulator = emulate()
    me = owner(emulator)
    made = (await me.api("POST", "/3/image", files={"image": PNG})).data
    digest = hashlib.md5(PNG, usedforsecurity=False).hexdigest()
    assert (await me.cdn(f"/{made['id']}.png")).headers["etag"] == f'"{digest}"'
