"""Older verbs and paths, routes under a parent, and forms without an account."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from imgurfs.emulator.app import Emulator
from imgurfs.emulator.config import Dialect
from imgurfs.emulator.world.sample import STRANGER
from tests.support.emulated import Visitor, anonymous, emulate, owner

PIXEL = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def one_album(emulator: Emulator) -> tuple[str, list[str]]:
    """Return the id of the sample account's first album and its images."""
    account = emulator.world.account("sample")
    assert account is not None
    album_id = next(iter(account.albums))
    return album_id, list(emulator.world.albums[album_id].images)


async def upload(visitor: Visitor, **fields: str) -> tuple[str, str]:
    """Upload a picture and return its id and deletehash."""
    answer = await visitor.api("POST", "/3/image", data={"image": PIXEL, **fields})
    return answer.data["id"], answer.data["deletehash"]


@pytest.mark.parametrize("where", ["query", "body"])
async def test_delete_album_with_ids_keeps_the_album(where: str) -> None:
    """The way of 2013 to remove images removes nothing else, even with no ids."""
    emulator = emulate(albums=1, images=3)
    me = owner(emulator)
    album_id, ids = one_album(emulator)
    path = f"/3/album/{album_id}"
    for sent, left in ((ids[0], ids[1:]), ("", ids[1:]), ("unknown", ids[1:])):
        options = {"params" if where == "query" else "data": {"ids": sent}}
        assert (await me.api("DELETE", path, **options)).data is True
        assert list(emulator.world.albums[album_id].images) == left
    assert (await me.api("DELETE", path)).data is True
    assert album_id not in emulator.world.albums


@pytest.mark.parametrize("meant", ["PUT", "put", "DELETE"])
async def test_post_may_mean_another_method(meant: str) -> None:
    """``_method`` in the query of a POST decides, and is no business of a GET."""
    emulator = emulate()
    me = owner(emulator)
    album_id, _ = one_album(emulator)
    path = f"/3/album/{album_id}?_format=json&_method={meant}"
    assert (await me.api("GET", path)).data["id"] == album_id
    answer = await me.api("POST", path, data={"title": "changed"})
    assert answer.data is True
    assert (album_id in emulator.world.albums) is (meant != "DELETE")
    assert "x-post-rate-limit-remaining" in answer.headers


@pytest.mark.parametrize("end", ["", "/", ".json"])
async def test_set_takes_any_ending(end: str) -> None:
    """A slash or .json after the album changes nothing."""
    emulator = emulate(albums=1, images=3)
    album_id, ids = one_album(emulator)
    path = f"/3/album/{album_id}{end}"
    await owner(emulator).api("POST", path, data={"ids": ids[2]})
    assert list(emulator.world.albums[album_id].images) == [ids[2]]


@pytest.mark.parametrize("parent", ["", "/3/account/me", "/3/account/sample"])
async def test_albums_work_the_same_under_the_account(parent: str) -> None:
    """Whatever can be done with an album can be done under its account."""
    emulator = emulate(albums=1, images=4)
    me = owner(emulator)
    album_id, ids = one_album(emulator)
    path = f"{parent or '/3'}/album/{album_id}"
    assert (await me.api("GET", path)).data["images_count"] == 4
    assert len((await me.api("GET", path + "/images")).data) == 4
    sent = {"ids": ",".join(ids[:2])}
    assert (await me.api("PUT", path, data={**sent, "title": "T"})).data is True
    assert (await me.api("POST", path + "/add", data={"ids": ids[3]})).data is True
    removed = await me.api("DELETE", path + "/remove_images?ids=" + ids[0])
    assert removed.data is True
    assert list(emulator.world.albums[album_id].images) == [ids[1], ids[3]]
    assert (await me.api("POST", path + "/favorite")).data == "favorited"
    one = f"{path}/image/{ids[1]}"
    assert (await me.api("GET", one)).data["id"] == ids[1]
    assert (await me.api("POST", one, data={"title": "one"})).data is True
    assert emulator.world.images[ids[1]].title == "one"
    assert (await me.api("POST", one + "/favorite")).data == "favorited"
    assert (await me.api("DELETE", one)).data is True
    assert ids[1] not in emulator.world.images
    outside = await me.api("DELETE", f"{path}/image/{ids[0]}")
    assert outside.data["error"].startswith("Unable to find an image")
    assert ids[0] in emulator.world.images
    assert (await me.api("DELETE", path)).data is True
    assert album_id not in emulator.world.albums


async def test_images_work_the_same_under_the_account() -> None:
    """Title and favourite by id or deletehash; another's image is not found there."""
    emulator = emulate(albums=0, images=1)
    me = owner(emulator)
    image = next(it for it in emulator.world.images.values() if it.owner == "sample")
    for key in (image.id, image.deletehash):
        path = f"/3/account/me/image/{key}"
        assert (await me.api("PUT", path, data={"title": key})).data is True
        assert image.title == key
    stranger = emulator.world.account(STRANGER)
    assert stranger is not None
    foreign = next(iter(stranger.images))
    path = f"/3/account/me/image/{foreign}"
    answer = await me.api("POST", path, data={"title": "mine"})
    assert answer.data["error"].startswith("Unable to find an image")
    assert emulator.world.images[foreign].title == "Not yours"


async def test_account_paths_know_their_own_albums_only() -> None:
    """An album of somebody else is not found under one's own name, nor changed."""
    emulator = emulate()
    me = owner(emulator)
    stranger = emulator.world.account(STRANGER)
    assert stranger is not None
    hidden, secret = stranger.albums
    for method in ("GET", "PUT", "DELETE"):
        answer = await me.api(method, f"/3/account/me/album/{hidden}")
        assert (answer.status, answer.error) == (
            404,
            f"Unable to find an album with the id, {hidden}",
        )
    path = f"/3/account/{STRANGER}/album/"
    assert (await me.api("GET", path + hidden)).data["id"] == hidden
    assert (await me.api("GET", path + secret)).error == "Unauthorized"
    assert (await me.api("DELETE", path + hidden)).status == 403
    assert hidden in emulator.world.albums


async def test_album_ids_and_count_of_others_are_the_public_ones() -> None:
    """Un-authed forms list and count what is public, authed ones everything."""
    emulator = emulate(albums=3, images=0)
    account = emulator.world.account("sample")
    assert account is not None
    public = list(account.albums)[1]
    emulator.world.albums[public].privacy = "public"
    for visitor, name, expected in (
        (owner(emulator), "me", list(reversed(account.albums))),
        (anonymous(emulator), "sample", [public]),
    ):
        path = f"/3/account/{name}/albums"
        assert (await visitor.api("GET", path + "/ids")).data == expected
        assert (await visitor.api("GET", path + "/ids/1")).data == []
        assert (await visitor.api("GET", path + "/count")).data == len(expected)


def encoded(hashes: list[str], encoding: str) -> dict[str, Any]:
    """Return the request options that send deletehashes in this way."""
    text = ",".join(hashes)
    options: dict[str, dict[str, Any]] = {
        "brackets": {"data": {"deletehashes[]": hashes}},
        "comma": {"data": {"deletehashes": text}},
        "json": {"json": {"deletehashes": hashes}},
        "multipart": {"files": [("deletehashes[]", (None, it)) for it in hashes]},
        "query": {"params": {"deletehashes": text}},
    }
    return options[encoding]


@pytest.mark.parametrize(
    "encoding", ["brackets", "comma", "json", "multipart", "query"]
)
async def test_anonymous_albums_live_by_deletehashes(encoding: str) -> None:
    """Create, set, add and remove without an account, in every encoding."""
    # The new back-end does not hear a multipart set.
    emulator = emulate(dialect=Dialect.LEGACY, albums=0, images=0)
    visitor = anonymous(emulator)
    images = [await upload(visitor) for _ in range(3)]
    ids, hashes = [it[0] for it in images], [it[1] for it in images]
    made = (await visitor.api("POST", "/3/album", **encoded(hashes[:2], encoding))).data
    album = emulator.world.albums[made["id"]]
    assert list(album.images) == ids[:2]
    path = "/3/album/" + made["deletehash"]
    for way, sent, expected in (
        ("/add", hashes[2:], ids),
        ("/remove_images", hashes[:1], ids[1:]),
        ("", [hashes[2], hashes[0]], [ids[2], ids[0]]),
    ):
        options = encoded(sent, encoding)
        assert (await visitor.api("POST", path + way, **options)).data is True
        assert list(album.images) == expected
    removed = await visitor.api("POST", path + "/remove_images", data={"ids": ids[0]})
    assert removed.data is True
    assert list(album.images) == [ids[2]]


async def test_anonymous_ids_prove_nothing() -> None:
    """Ids of anonymous images are refused in an anonymous album, left out of a new."""
    emulator = emulate(albums=0, images=0)
    visitor = anonymous(emulator)
    image_id, _ = await upload(visitor)
    made = (await visitor.api("POST", "/3/album", data={"ids": image_id})).data
    assert list(emulator.world.albums[made["id"]].images) == []
    for method, way in (("POST", "/add"), ("PUT", ""), ("POST", "")):
        path = f"/3/album/{made['deletehash']}{way}"
        answer = await visitor.api(method, path, data={"ids": image_id})
        assert (answer.status, answer.error) == (
            403,
            f"You must own all the image ids to add them to album {made['id']}",
        )
    by_id = await visitor.api("PUT", "/3/album/" + made["id"], data={"title": "x"})
    assert (by_id.status, by_id.error) == (403, "Permission Denied")


async def test_account_images_may_be_named_by_deletehash() -> None:
    """Ids and deletehashes together: each image once, in the order sent."""
    emulator = emulate(albums=0, images=3)
    me = owner(emulator)
    images = [it for it in emulator.world.images.values() if it.owner == "sample"]
    first, second = images[0], images[1]
    fields = {"ids[]": first.id, "deletehashes[]": second.deletehash}
    made = (await me.api("POST", "/3/album", data=fields)).data["id"]
    assert list(emulator.world.albums[made].images) == [first.id, second.id]


async def test_anonymous_image_is_changed_and_deleted_by_its_deletehash() -> None:
    """The id is for looking only; the hash is for whoever has it."""
    emulator = emulate(albums=0, images=0)
    visitor = anonymous(emulator)
    image_id, deletehash = await upload(visitor, title="before")
    for method, words in (("POST", "Permission denied"), ("DELETE", "Unauthorized")):
        refused = await visitor.api(method, f"/3/image/{image_id}")
        assert (refused.status, refused.error) == (403, words)
    path = "/3/image/" + deletehash
    assert (await visitor.api("PUT", path, json={"title": "after"})).data is True
    assert (await visitor.api("GET", f"/3/image/{image_id}")).data["title"] == "after"
    assert (await visitor.api("DELETE", path)).data is True
    assert (await visitor.api("GET", f"/3/image/{image_id}")).status == 404
    assert (await visitor.api("DELETE", path)).status == 404


@pytest.mark.parametrize("name", ["album", "album_id"])
async def test_upload_goes_into_an_album_by_either_name(name: str) -> None:
    """``album_id`` is the older ``album``; both take id or deletehash."""
    emulator = emulate(albums=1, images=0)
    album_id, _ = one_album(emulator)
    album = emulator.world.albums[album_id]
    me = owner(emulator)
    uploaded = [await upload(me, **{name: it}) for it in (album_id, album.deletehash)]
    assert list(album.images) == [image_id for image_id, _ in uploaded]


async def test_pages_may_be_short_but_lose_nothing() -> None:
    """With the quirk every page is too short and only an empty one is the end."""
    emulator = emulate(albums=0, images=120, quirk_changes={"short_pages": 1})
    me = owner(emulator)
    seen: list[str] = []
    sizes = []
    for page in range(4):
        ids = (await me.api("GET", f"/3/account/me/images/ids/{page}")).data
        sizes.append(len(ids))
        seen += ids
    assert sizes == [49, 49, 22, 0]
    assert len(set(seen)) == 120
    single = await me.api("GET", "/3/account/me/images/ids", params={"perPage": 1})
    assert len(single.data) == 1


@pytest.mark.parametrize(
    ("quirk", "heard"),
    [
        ("works", {"form", "json", "multipart"}),
        ("multipart_ignored", {"form", "json"}),
        ("ignored", set()),
    ],
)
async def test_set_images_may_say_yes_and_do_nothing(
    quirk: str, heard: set[str]
) -> None:
    """POST with ids may be deaf to them; PUT never is."""
    emulator = emulate(albums=1, images=3, quirk_changes={"set_images": quirk})
    me = owner(emulator)
    album_id, ids = one_album(emulator)
    album, path = emulator.world.albums[album_id], f"/3/album/{album_id}"
    options: dict[str, dict[str, Any]] = {
        "form": {"data": {"ids": ids[1], "title": "form"}},
        "json": {"json": {"ids": ids[1], "title": "json"}},
        "multipart": {
            "files": {"ids": (None, ids[1]), "title": (None, "multipart")},
        },
    }
    for way, sent in options.items():
        album.images = dict.fromkeys(ids)
        assert (await me.api("POST", path, **sent)).data is True
        assert album.title == way
        assert list(album.images) == ([ids[1]] if way in heard else ids)
    await me.api("PUT", path, files={"ids": (None, ids[2])})
    assert list(album.images) == [ids[2]]


async def test_foreign_images_may_be_ignored() -> None:
    """With the quirk, adding what is not one's own fails silently."""
    emulator = emulate(albums=1, images=1, quirk_changes={"foreign_images": "ignored"})
    me = owner(emulator)
    album_id, ids = one_album(emulator)
    stranger = emulator.world.account(STRANGER)
    assert stranger is not None
    sent = f"{next(iter(stranger.images))},unknown"
    answer = await me.api("POST", f"/3/album/{album_id}/add", data={"ids": sent})
    assert answer.data is True
    assert list(emulator.world.albums[album_id].images) == ids


async def test_requests_of_other_clients_are_understood() -> None:
    """Stray fields, mixed places and JSON booleans harm nothing."""
    emulator = emulate(albums=1, images=2)
    me = owner(emulator)
    album_id, ids = one_album(emulator)
    path = f"/3/album/{album_id}"
    stray = {"title": "T", "url": "x", "images": ids[0], "layout": None, "nsfw": False}
    assert (await me.api("PUT", path, json=stray)).data is True
    assert list(emulator.world.albums[album_id].images) == ids
    both = await me.api(
        "DELETE",
        path + "/remove_images",
        params={"ids": ids[0]},
        data={"ids": ids[0]},
    )
    assert both.data is True
    assert list(emulator.world.albums[album_id].images) == ids[1:]
    raw = httpx.Request("POST", "http://x", data={"title": "ä b"}).read()
    await me.api(
        "POST",
        f"/3/image/{ids[1]}",
        content=raw,
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"},
    )
    assert emulator.world.images[ids[1]].title == "ä b"
