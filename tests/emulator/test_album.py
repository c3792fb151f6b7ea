"""Album routes: creation, membership in every encoding, metadata, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from imgurfs.emulator.app import Emulator
from imgurfs.emulator.config import Dialect
from imgurfs.emulator.world.sample import STRANGER
from tests.support.emulated import Visitor, anonymous, emulate, owner

ENCODINGS = ["comma", "brackets", "repeated", "json", "json list", "multipart", "query"]


def encode(ids: list[str], encoding: str) -> dict[str, Any]:
    """Return the request options that send ids in this way."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    text = ",".join(ids)
    options: dict[str, dict[str, Any]] = {
        "comma": {"data": {"ids": text}},
        "brackets": {
            "content": "&".join(f"ids%5B%5D={it}" for it in ids),
            "headers": form,
        },
        "repeated": {"content": "&".join(f"ids={it}" for it in ids), "headers": form},
        "json": {"json": {"ids": text}},
        "json list": {"json": {"ids": ids}},
        "multipart": {"files": [("ids", (None, it)) for it in ids]},
        "query": {"params": {"ids": text}},
    }
    return options[encoding]


def images_of(emulator: Emulator) -> list[str]:
    """Return the sample account's image ids, oldest first."""
    account = emulator.world.account("sample")
    assert account is not None
    return list(account.images)


def members(emulator: Emulator, album_id: str) -> list[str]:
    """Return what the album really holds."""
    return list(emulator.world.albums[album_id].images)


async def make_album(visitor: Visitor, **fields: str) -> str:
    """Create an album and return its id."""
    answer = await visitor.api("POST", "/3/album", data=fields)
    album_id: str = answer.data["id"]
    return album_id


async def test_created_album_is_hidden_and_empty(dialect: Dialect) -> None:
    """An album starts with the account's default privacy and no cover."""
    me = owner(emulate(dialect=dialect))
    answer = await me.api("POST", "/3/album/", json={"title": "New", "privacy": "odd"})
    assert sorted(answer.data) == ["deletehash", "id"]
    album = (await me.api("GET", "/3/album/" + answer.data["id"])).data
    assert (album["title"], album["privacy"]) == ("New", "hidden")
    assert (album["images"], album["images_count"]) == ([], 0)
    assert album["cover"] == ("" if dialect is Dialect.NEW else None)
    assert album["layout"] == "blog"
    assert album["deletehash"] == answer.data["deletehash"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_add_takes_ids_in_every_encoding(encoding: str, method: str) -> None:
    """Images are appended in the order of the ids; those there keep their place."""
    emulator = emulate(albums=0)
    me, ids = owner(emulator), images_of(emulator)
    album_id = await make_album(me, ids=ids[3])
    sent = encode([ids[0], ids[3], ids[2]], encoding)
    answer = await me.api(method, f"/3/album/{album_id}/add", **sent)
    assert answer.data is True
    assert members(emulator, album_id) == [ids[3], ids[0], ids[2]]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_remove_images_in_every_encoding(encoding: str, method: str) -> None:
    """Members go, ids that are no members are ignored, the images stay."""
    emulator = emulate(albums=0)
    me, ids = owner(emulator), images_of(emulator)
    album_id = await make_album(me, ids=",".join(ids[:3]))
    sent = encode([ids[0], ids[4], "unknown"], encoding)
    answer = await me.api(method, f"/3/album/{album_id}/remove_images", **sent)
    assert answer.data is True
    assert members(emulator, album_id) == ids[1:3]
    assert images_of(emulator) == ids


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_ids_in_an_update_replace_the_images(encoding: str, method: str) -> None:
    """POST or PUT album with ids sets them in their order."""
    emulator = emulate(albums=0)
    me, ids = owner(emulator), images_of(emulator)
    album_id = await make_album(me, ids=",".join(ids[:3]))
    sent = encode([ids[4], ids[1]], encoding)
    await me.api(method, f"/3/album/{album_id}/", **sent)
    assert members(emulator, album_id) == [ids[4], ids[1]]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_update_without_ids_keeps_the_images(method: str) -> None:
    """Only what is sent changes; blank text becomes null."""
    emulator = emulate()
    me = owner(emulator)
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    before = members(emulator, album_id)
    fields = {"title": " ", "description": "d/é", "privacy": "public"}
    assert (await me.api(method, f"/3/album/{album_id}", data=fields)).data is True
    album = (await me.api("GET", f"/3/album/{album_id}")).data
    assert (album["title"], album["description"]) == (None, "d/é")
    assert album["privacy"] == "public"
    assert members(emulator, album_id) == before


async def test_empty_ids_empty_the_album() -> None:
    """Set with an empty list is a list."""
    emulator = emulate()
    me = owner(emulator)
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    await me.api("PUT", f"/3/album/{album_id}", data={"ids": ""})
    assert members(emulator, album_id) == []


async def test_add_refuses_what_is_not_owned_entirely() -> None:
    """One foreign or unknown id refuses the whole call, with Imgur's words."""
    emulator = emulate(albums=0)
    me, ids = owner(emulator), images_of(emulator)
    album_id = await make_album(me)
    stranger = emulator.world.account(STRANGER)
    assert stranger is not None
    for foreign in (next(iter(stranger.images)), "unknown"):
        answer = await me.api(
            "POST", f"/3/album/{album_id}/add", data={"ids": f"{ids[0]},{foreign}"}
        )
        assert answer.status == 403
        assert answer.error == (
            f"You must own all the image ids to add them to album {album_id}"
        )
    assert members(emulator, album_id) == []


async def test_create_leaves_foreign_ids_out_silently() -> None:
    """Creation keeps only the caller's images."""
    emulator = emulate(albums=0)
    me, ids = owner(emulator), images_of(emulator)
    album_id = await make_album(me, ids=f"unknown,{ids[1]}")
    assert members(emulator, album_id) == [ids[1]]


async def test_images_of_an_album_are_not_paged() -> None:
    """All images come at once, in album order, without the account."""
    emulator = emulate(albums=1, images=130)
    me = owner(emulator)
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    listed = (await me.api("GET", f"/3/album/{album_id}/images")).data
    assert [item["id"] for item in listed] == members(emulator, album_id)
    assert len(listed) == 130
    assert listed[0]["account_url"] is None
    assert len(listed[0]["deletehash"]) == 15


async def test_deleted_album_leaves_its_images() -> None:
    """DELETE album removes the album only; then it is unknown."""
    emulator = emulate()
    me, ids = owner(emulator), images_of(emulator)
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    assert (await me.api("DELETE", f"/3/album/{album_id}")).data is True
    gone = await me.api("GET", f"/3/album/{album_id}")
    assert (gone.status, gone.error) == (
        404,
        f"Unable to find an album with the id, {album_id}",
    )
    assert images_of(emulator) == ids


async def test_foreign_albums_can_be_read_but_not_changed() -> None:
    """Hidden albums are readable by id; changing needs the owner or the deletehash."""
    emulator = emulate()
    me = owner(emulator)
    stranger = emulator.world.account(STRANGER)
    assert stranger is not None
    hidden, secret = stranger.albums
    shown = (await me.api("GET", f"/3/album/{hidden}")).data
    assert "deletehash" not in shown
    for method, path in (
        ("PUT", f"/3/album/{hidden}"),
        ("POST", f"/3/album/{hidden}/add"),
        ("DELETE", f"/3/album/{hidden}"),
        ("POST", f"/3/album/{hidden}/remove_images"),
    ):
        assert (await me.api(method, path)).status == 403
    refused = await me.api("GET", f"/3/album/{secret}")
    assert (refused.status, refused.error) == (403, "Unauthorized")


async def test_anonymous_album_is_changed_by_deletehash() -> None:
    """With an application only, album and images are reached by deletehashes."""
    emulator = emulate()
    visitor = anonymous(emulator)
    image = emulator.world.images[images_of(emulator)[0]]
    created = (await visitor.api("POST", "/3/album", data={"title": "A"})).data
    answer = await visitor.api(
        "POST",
        f"/3/album/{created['deletehash']}/add",
        content=f"deletehashes[]={image.deletehash}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.data is True
    assert members(emulator, created["id"]) == [image.id]
    by_id = await visitor.api("DELETE", f"/3/album/{created['id']}")
    assert by_id.status == 403
    gone = await visitor.api("DELETE", f"/3/album/{created['deletehash']}")
    assert gone.data is True


async def test_cover_is_chosen_or_the_first_image() -> None:
    """A cover that left the album is replaced by the first image."""
    emulator = emulate(albums=0)
    me, ids = owner(emulator), images_of(emulator)
    album_id = await make_album(me, ids=",".join(ids[:3]), cover=ids[2])
    path = f"/3/album/{album_id}"
    assert (await me.api("GET", path)).data["cover"] == ids[2]
    await me.api("DELETE", f"/3/image/{ids[2]}")
    album = (await me.api("GET", path)).data
    assert (album["cover"], album["images_count"]) == (ids[0], 2)


async def test_album_image_and_favorite() -> None:
    """An image in an album is shown; another is an error in success; ♥ toggles."""
    emulator = emulate(albums=1, images=2)
    me, ids = owner(emulator), images_of(emulator)
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    shown = (await me.api("GET", f"/3/album/{album_id}/image/{ids[1]}")).data
    assert shown["id"] == ids[1]
    missing = (await me.api("GET", f"/3/album/{album_id}/image/zzzzzzz")).data
    assert missing["error"] == "Unable to find an image with the id, zzzzzzz"
    path = f"/3/album/{album_id}/favorite"
    assert (await me.api("POST", path)).data == "favorited"
    assert (await me.api("POST", path)).data == "unfavorited"


async def test_bad_bodies_count_as_not_sent() -> None:
    """Broken JSON and multipart leave an album without the fields, not an error."""
    emulator = emulate(albums=0, images=0)
    me = owner(emulator)
    broken = [
        (b'{"title": ', "application/json"),
        (b"[1,2]", "application/json"),
        (b"nonsense", "multipart/form-data; boundary=x"),
        (b"nonsense", "multipart/form-data"),
        (b"\xff\xfe=%ff", "application/x-www-form-urlencoded"),
    ]
    for content, kind in broken:
        answer = await me.api(
            "POST", "/3/album", content=content, headers={"Content-Type": kind}
        )
        album = emulator.world.albums[answer.data["id"]]
        assert album.title is None
