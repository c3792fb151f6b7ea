"""The admin view, and the worlds an emulator starts with."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from typing import Any

import pytest
from PIL import Image as Pillow

from imgurfs.emulator.app import Emulator
from imgurfs.emulator.config import Dialect, EmulatorConfig
from tests.support.emulated import Answer, Visitor, anonymous, emulate, owner


async def admin(emulator: Emulator, method: str, path: str, **options: Any) -> Answer:
    """Ask the admin view, which wants no authorization."""
    return await Visitor(emulator).api(method, "/_emulator" + path, **options)


async def test_counters_name_routes_and_bytes_and_can_be_reset() -> None:
    """API calls by route, CDN bytes, POSTs, uploads; the admin view is not counted."""
    emulator = emulate()
    me = owner(emulator)
    image = (await me.api("GET", "/3/account/me/images/0")).data[0]
    path = "/" + image["link"].rpartition("/")[2]
    await me.cdn(path)
    await me.cdn(path, Range="bytes=0-99")
    await me.cdn("/zzzzzzz.jpg")
    await me.api("POST", "/3/image", files={"image": (await me.cdn(path)).body})
    seen = (await admin(emulator, "GET", "/counters")).json
    assert seen["api_routes"] == {
        "GET /3/account/{user}/images/{page}": 1,
        "POST /3/image": 1,
    }
    assert seen["api_requests"] == 2
    assert (seen["posts"], seen["uploads"]) == (1, 1)
    assert seen["cdn_requests"] == 4
    assert seen["cdn_statuses"] == {"200": 2, "206": 1, "302": 1}
    assert seen["cdn_bytes_sent"] == 2 * image["size"] + 100
    assert seen["cdn_images"][image["id"]] == 3
    await admin(emulator, "DELETE", "/counters")
    seen = (await admin(emulator, "GET", "/counters")).json
    assert (seen["api_requests"], seen["cdn_bytes_sent"]) == (0, 0)


async def test_log_is_in_order_and_holds_status() -> None:
    """Each request is one entry with its answer."""
    emulator = emulate()
    await owner(emulator).api("GET", "/3/account/me/images?page=1")
    await owner(emulator).cdn("/zzzzzzz.jpg")
    log = (await admin(emulator, "GET", "/log")).json
    assert [(it["host"], it["status"], it["query"]) for it in log] == [
        ("api", 200, "page=1"),
        ("cdn", 302, ""),
    ]


async def test_state_tells_everything_with_digests() -> None:
    """The state names albums, members and the MD5 of what the CDN serves."""
    emulator = emulate()
    state = (await admin(emulator, "GET", "/state")).json
    assert state["username"] == "sample"
    assert [len(it["images"]) for it in state["albums"]] == [3, 2]
    for image in state["images"]:
        served = await owner(emulator).cdn(f"/{image['id']}.jpg")
        digest = hashlib.md5(served.body, usedforsecurity=False).hexdigest()
        assert (image["size"], image["md5"]) == (len(served.body), digest)
    assert state["others"][0]["username"] == "passer_by"
    assert state["anonymous"] == {"albums": [], "images": []}


async def test_faults_are_set_described_and_cleared_at_run_time() -> None:
    """Rules come and go by POST and DELETE; bad ones are refused and change nothing."""
    emulator = emulate()
    me = owner(emulator)
    rules = [{"action": "status", "status": 503, "path": "^/"}]
    assert (await admin(emulator, "POST", "/faults", json=rules)).status == 200
    assert (await me.api("GET", "/3/account/me")).status == 503
    described = (await admin(emulator, "GET", "/faults")).json
    assert (described[0]["matched"], described[0]["acted"]) == (1, 1)
    for bad in (b"{", b'[{"action": "x"}]'):
        refused = await admin(emulator, "POST", "/faults", content=bad)
        assert refused.status == 400
        assert "request" in refused.json["error"] or "JSON" in refused.json["error"]
    assert (await me.api("GET", "/3/account/me")).status == 503
    await admin(emulator, "DELETE", "/faults")
    assert (await me.api("GET", "/3/account/me")).status == 200


async def test_access_tokens_can_be_revoked() -> None:
    """Then the token is refused and the refresh token still works."""
    emulator = emulate()
    assert (await admin(emulator, "DELETE", "/access_tokens")).json == {"revoked": 1}
    assert (await owner(emulator).api("GET", "/3/account/me")).status == 403


async def test_unknown_admin_route_lists_the_known_ones() -> None:
    """A mistyped path is told what there is."""
    answer = await admin(emulate(), "GET", "/nothing")
    assert answer.status == 404
    assert "GET /_emulator/state" in answer.json["routes"]


async def test_sample_world_is_as_described() -> None:
    """Real pictures, hostile and twin titles, an empty album, a shared image."""
    emulator = emulate(albums=None, images=None)
    state = emulator.admin.state()
    text = json.dumps(state)
    albums: Any = state["albums"]
    titles = Counter(album["title"] for album in albums)
    assert titles["Twins"] == 2
    assert titles["../../etc"] == 1
    assert [it["title"] for it in albums if not it["images"]] == ["Empty album"]
    member_of = Counter(image for album in albums for image in album["images"])
    assert max(member_of.values()) == 2
    images: Any = state["images"]
    loose = [it for it in images if it["id"] not in member_of]
    assert len(loose) == 4
    assert None in {it["title"] for it in loose}
    assert {"x" * 300, "two\nlines", "../../etc/passwd"} < {
        it["title"] for it in images
    }
    assert "\\u202e" in text
    kinds = Counter(it["type"] for it in images)
    assert set(kinds) == {"image/jpeg", "image/png", "image/gif", "video/mp4"}
    for image in emulator.world.images.values():
        if not image.is_video:
            data = bytes(image.content.read(0, image.content.size_bytes))
            with Pillow.open(io.BytesIO(data)) as picture:
                picture.load()
                assert (picture.width, picture.height) == (image.width, image.height)
                frames = getattr(picture, "n_frames", 1)
                assert (frames > 1) is image.animated
    assert max(it["size"] for it in images) >= 24_000_000


@pytest.mark.parametrize(("albums", "images"), [(0, 0), (3, 0), (0, 4), (3, 10)])
def test_generated_world_has_exactly_so_many(albums: int, images: int) -> None:
    """Albums and images as asked; each image in one album; every picture distinct."""
    emulator = emulate(albums=albums, images=images)
    state: Any = emulator.admin.state()
    assert (len(state["albums"]), len(state["images"])) == (albums, images)
    members = [it for album in state["albums"] for it in album["images"]]
    assert len(set(members)) == len(members) == (images if albums else 0)
    assert len({it["md5"] for it in state["images"]}) == images
    for image in emulator.world.images.values():
        data = bytes(image.content.read(0, image.content.size_bytes))
        with Pillow.open(io.BytesIO(data)) as picture:
            picture.load()


def test_worlds_are_deterministic_by_seed() -> None:
    """Same seed, same ids and tokens; another seed, others."""
    first, same, other = (emulate(seed=seed) for seed in (1, 1, 2))
    assert first.credentials == same.credentials
    assert first.admin.state() == same.admin.state()
    assert first.credentials != other.credentials
    assert set(first.world.images).isdisjoint(other.world.images)
    for image in first.world.images.values():
        assert len(image.id) == 7
        assert image.id.isalnum()
        assert image.id.isascii()
        assert len(image.deletehash) == 15


def test_negative_scale_is_refused() -> None:
    """A configuration with fewer than none is an error."""
    with pytest.raises(ValueError, match="albums must not be negative"):
        EmulatorConfig(albums=-1)


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("name_to_strangers", ["on", "off"])
async def test_stranger_is_what_the_api_tells_one(
    dialect: Dialect, name_to_strangers: str
) -> None:
    """Each image and album as the API shows it to somebody else; names that leak."""
    emulator = emulate(
        dialect=dialect, quirk_changes={"name_to_strangers": name_to_strangers}
    )
    me, somebody = owner(emulator), anonymous(emulator)
    albums = (await me.api("GET", "/3/account/me/albums")).data
    for album, privacy in zip(albums, ("secret", "public"), strict=True):
        path = f"/3/album/{album['id']}"
        assert (await me.api("PUT", path, data={"privacy": privacy})).data is True
    view = (await admin(emulator, "GET", "/stranger")).json
    assert len(view["images"]) == 5
    for image_id, shown in view["images"].items():
        assert (await somebody.api("GET", f"/3/image/{image_id}")).data == shown
    for album_id, shown in view["albums"].items():
        answer = await somebody.api("GET", f"/3/album/{album_id}")
        assert (answer.data if answer.status == 200 else None) == shown
    listed = (await somebody.api("GET", "/3/account/sample/albums")).data
    assert [it["id"] for it in listed] == view["listed_albums"] == [albums[1]["id"]]
    own = {it["name"] for it in (await me.api("GET", "/3/account/me/images")).data}
    assert set(view["names"]) == (own if name_to_strangers == "on" else set())


async def test_log_and_counters_name_faults() -> None:
    """Requests that a fault answered or spoiled are in the log with its action."""
    emulator = emulate()
    me = owner(emulator)
    rules = [
        {"action": "reset_before", "nth": 1},
        {"action": "status", "status": 503, "count": 1},
        {"action": "reset_after", "count": 1},
    ]
    await admin(emulator, "POST", "/faults", json=rules)
    for _ in range(4):
        await me.api("GET", "/3/account/me")
    log = (await admin(emulator, "GET", "/log")).json
    assert [(it["status"], it["fault"]) for it in log] == [
        (0, "reset_before"),
        (503, "status"),
        (200, "reset_after"),
        (200, ""),
    ]
    seen = (await admin(emulator, "GET", "/counters")).json
    assert seen["faults"] == {"reset_before": 1, "status": 1, "reset_after": 1}
    assert seen["api_requests"] == 2


async def test_state_survives_the_end_of_the_account() -> None:
    """A renamed account is still the sample; a deleted one leaves an empty state."""
    emulator = emulate()
    me = owner(emulator)
    renamed = {"username": "another"}
    assert (await me.api("POST", "/3/account/me/settings", data=renamed)).data
    assert (await admin(emulator, "GET", "/state")).json["username"] == "another"
    assert (await me.api("DELETE", "/3/account/another")).status == 200
    assert (await admin(emulator, "GET", "/state")).json["images"] == []
    assert (await admin(emulator, "GET", "/stranger")).json["images"] == {}
