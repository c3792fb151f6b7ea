"""Who one is: settings, avatar, marks, blocks, and the end of an account."""

from __future__ import annotations

from typing import Any

import pytest

from imgurfs.emulator.app import Emulator
from imgurfs.emulator.config import Dialect
from imgurfs.emulator.world.sample import STRANGER
from tests.support.emulated import Visitor, anonymous, emulate, owner


def other(emulator: Emulator) -> Visitor:
    """Return a visitor logged in as somebody else."""
    token = emulator.world.new_access_token(
        account=STRANGER,
        client_id=emulator.credentials.client_id,
        expires_at=float("inf"),
    )
    return Visitor(emulator, "Bearer " + token.text)


async def test_account_is_found_by_number() -> None:
    """``account_id`` decides, whatever name the path has; a wrong one is 404."""
    visitor = anonymous(emulate())
    for path in ("/3/account/anything", "/3/account", "/3/account/"):
        found = await visitor.api("GET", path, params={"account_id": 135798223})
        assert found.data["url"] == "sample"
        for wrong in ("7", "x", "-1", ""):
            answer = await visitor.api("GET", path, params={"account_id": wrong})
            assert answer.status == 404
    assert (await visitor.api("GET", "/3/account")).status == 401


async def test_settings_have_the_keys_of_today() -> None:
    """``high_quality`` is gone; a new account is private and verified."""
    settings = (await owner(emulate()).api("GET", "/3/account/me/settings")).data
    assert "high_quality" not in settings
    assert settings["account_url"] == "sample"
    assert settings["email"] in settings["active_emails"]
    assert (settings["public_images"], settings["album_privacy"]) == (False, "hidden")
    assert settings["messaging_enabled"] is settings["first_party"] is True


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("encoding", ["data", "json"])
async def test_settings_are_changed(method: str, encoding: str) -> None:
    """What is sent changes, the rest stays, nonsense is not heard."""
    emulator = emulate()
    me = owner(emulator)
    fields: dict[str, Any] = {
        "bio": "Long time lurker",
        "public_images": "true",
        "newsletter_subscribed": "0",
        "album_privacy": "public",
        "show_mature": "maybe",
        "avatar": "flavor/taco",
    }
    path = "/3/account/me/settings"
    assert (await me.api(method, path, **{encoding: fields})).data is True
    settings = (await me.api("GET", path)).data
    assert settings["public_images"] is True
    assert settings["newsletter_subscribed"] is False
    assert settings["show_mature"] is False
    assert settings["accepted_gallery_terms"] is False
    base = (await me.api("GET", "/3/account/me")).data
    assert (base["bio"], base["avatar_name"]) == ("Long time lurker", "flavor/taco")
    await me.api(method, path, **{encoding: {"album_privacy": "odd", "bio": " "}})
    assert (await me.api("GET", path)).data["album_privacy"] == "public"
    assert (await me.api("GET", "/3/account/me")).data["bio"] is None


async def test_new_albums_have_the_privacy_of_the_settings() -> None:
    """Only an album with an account asks the settings, and what is sent wins."""
    emulator = emulate()
    me = owner(emulator)
    await me.api("PUT", "/3/account/me/settings", data={"album_privacy": "secret"})
    for visitor, fields, expected in (
        (me, {}, "secret"),
        (me, {"privacy": "public"}, "public"),
        (anonymous(emulator), {}, "hidden"),
    ):
        made = (await visitor.api("POST", "/3/album", data=fields)).data["id"]
        assert emulator.world.albums[made].privacy == expected


async def test_renamed_account_keeps_everything() -> None:
    """A new name: things, token and refresh token are still the account's."""
    emulator = emulate()
    me = owner(emulator)
    ids = (await me.api("GET", "/3/account/me/images/ids")).data
    path = "/3/account/me/settings"
    assert (await me.api("PUT", path, data={"username": "Renamed1"})).data is True
    base = (await me.api("GET", "/3/account/me")).data
    assert (base["url"], base["id"]) == ("Renamed1", 135798223)
    assert (await me.api("GET", "/3/account/renamed1/images/ids")).data == ids
    assert (await me.api("DELETE", f"/3/image/{ids[0]}")).data is True
    known = emulator.credentials
    refresh = await Visitor(emulator).api(
        "POST",
        "/oauth2/token",
        data={
            "grant_type": "refresh_token",
            "client_id": known.client_id,
            "client_secret": known.client_secret,
            "refresh_token": known.refresh_token,
        },
    )
    assert refresh.json["account_username"] == "Renamed1"
    assert (await me.api("GET", "/3/account/sample")).status == 404
    # Another spelling of one's own name is free.
    assert (await me.api("PUT", path, data={"username": "RENAMED1"})).data is True
    assert (await me.api("GET", "/3/account/me")).data["url"] == "RENAMED1"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"username": "abc"}, 400),
        ({"username": "with space"}, 400),
        ({"username": "x" * 64}, 400),
        ({"avatar": "nothing/there"}, 400),
        ({"username": "stranger1"}, 409),
    ],
)
async def test_refused_settings_change_nothing(
    fields: dict[str, str], status: int
) -> None:
    """One bad value refuses the call; the good ones in it are not taken."""
    emulator = emulate()
    emulator.world.add_account("Stranger1", account_id=5, now=0)
    me = owner(emulator)
    answer = await me.api(
        "PUT", "/3/account/me/settings", data={**fields, "bio": "new"}
    )
    assert answer.status == status
    base = (await me.api("GET", "/3/account/me")).data
    assert (base["url"], base["bio"]) == ("sample", None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "settings"),
        ("PUT", "settings"),
        ("GET", "verifyemail"),
        ("POST", "verifyemail"),
        ("GET", "avatar"),
        ("GET", "favorites"),
        ("GET", "block"),
        ("POST", "follow/tag/cats"),
        ("DELETE", "follow/tag/cats"),
        ("POST", "delete"),
        ("DELETE", ""),
    ],
)
async def test_private_matters_are_the_owners(method: str, path: str) -> None:
    """Without an account 401, for somebody else 403, and nothing happens."""
    emulator = emulate()
    where = f"/3/account/{{}}/{path}".rstrip("/")
    nobody = await anonymous(emulator).api(method, where.format("me"))
    assert (nobody.status, nobody.error) == (401, "Authentication required")
    foreign = await owner(emulator).api(method, where.format(STRANGER))
    assert (foreign.status, foreign.error) == (403, "Unauthorized")
    assert emulator.world.account(STRANGER) is not None


async def test_email_is_verified_by_asking() -> None:
    """The question is answered truly before and after the letter."""
    emulator = emulate()
    account = emulator.world.account("sample")
    assert account is not None
    account.is_email_verified = False
    me, path = owner(emulator), "/3/account/me/verifyemail"
    assert (await me.api("GET", path)).data is False
    assert (await me.api("POST", path)).data is True
    assert (await me.api("GET", path)).data is True


async def test_avatars() -> None:
    """Anybody sees the choice; one's own is among it."""
    emulator = emulate()
    listed = await anonymous(emulator).api("GET", "/3/account/nobody/available_avatars")
    names = [it["name"] for it in listed.data["available_avatars"]]
    assert listed.data["available_avatars_count"] == len(names)
    mine = (await owner(emulator).api("GET", "/3/account/me/avatar")).data
    assert mine["avatar_name"] in names
    assert mine["avatar"].startswith("https://")


async def test_favorites_are_of_who_marks(dialect: Dialect) -> None:
    """A mark is seen by who made it, in items, lists and the listing of marks."""
    emulator = emulate(dialect=dialect)
    me, them = owner(emulator), other(emulator)
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    for kind, thing_id in (("image", image_id), ("album", album_id)):
        path = f"/3/{kind}/{thing_id}"
        assert (await me.api("POST", path + "/favorite")).data == "favorited"
        assert (await me.api("GET", path)).data["favorite"] is True
        assert (await them.api("GET", path)).data["favorite"] is False
        assert (await them.api("POST", path + "/favorite")).data == "favorited"
        assert (await me.api("POST", path + "/favorite")).data == "unfavorited"
        assert (await me.api("GET", path)).data["favorite"] is False
    assert (await me.api("GET", "/3/account/me/favorites")).data == []
    marked = (await them.api("GET", "/3/account/me/favorites")).data
    assert [it["id"] for it in marked] == [album_id, image_id]
    album, image = marked
    assert album["link"] == f"https://imgur.com/gallery/{album_id}"
    assert (album["is_album"], image["is_album"]) == (True, False)
    assert "deletehash" not in album
    assert not image.get("deletehash")
    assert (image["size"] == 0) is (dialect is Dialect.NEW)
    assert image["ups"] is image["points"] is None


async def test_favorites_are_paged_sorted_and_forget_what_is_gone() -> None:
    """Newest first or oldest, page in the path; deleted and secret things go."""
    emulator = emulate(albums=1, images=4)
    me, them = owner(emulator), other(emulator)
    ids = (await me.api("GET", "/3/account/me/images/ids")).data
    for image_id in ids:
        await them.api("POST", f"/3/image/{image_id}/favorite")
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    await them.api("POST", f"/3/album/{album_id}/favorite")
    await me.api("PUT", f"/3/album/{album_id}", data={"privacy": "secret"})
    await me.api("DELETE", f"/3/image/{ids[1]}")
    path = "/3/account/me/favorites"
    newest = [it["id"] for it in (await them.api("GET", path)).data]
    assert newest == [ids[3], ids[2], ids[0]]
    oldest = (await them.api("GET", path + "/0/oldest")).data
    assert [it["id"] for it in oldest] == newest[::-1]
    second = await them.api("GET", path + "/1/newest", params={"perPage": 2})
    assert [it["id"] for it in second.data] == [ids[0]]
    assert (await them.api("GET", path + "/2?perPage=2")).data == []


async def test_favorite_may_only_set() -> None:
    """With the quirk a second call leaves the mark."""
    emulator = emulate(quirk_changes={"favorite": "sets"})
    me = owner(emulator)
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    for _ in range(2):
        answer = await me.api("POST", f"/3/image/{image_id}/favorite")
        assert answer.data == "favorited"


async def test_blocks() -> None:
    """Blocking is told by the status, the list, the settings and the account."""
    emulator = emulate()
    me, path = owner(emulator), f"/account/v1/{STRANGER}/block"
    assert (await me.api("GET", path)).json == {"data": {"blocked": False}}
    for _ in range(2):
        assert (await me.api("POST", path)).json == {"data": {"blocked": True}}
    assert (await me.api("GET", path)).json == {"data": {"blocked": True}}
    listed = (await me.api("GET", "/3/account/me/block")).data
    assert listed == {"items": [{"url": STRANGER}], "next": None}
    assert (await me.api("GET", f"/3/account/{STRANGER}")).data["is_blocked"] is True
    settings = (await me.api("GET", "/3/account/me/settings")).data
    assert settings["blocked_users"] == [STRANGER]
    for _ in range(2):
        assert (await me.api("DELETE", path)).json == {"data": {"blocked": False}}
    assert (await me.api("GET", "/3/account/me/block")).data["items"] == []
    assert (await me.api("POST", "/account/v1/nobody/block")).status == 404


async def test_tags_are_followed_once() -> None:
    """Unfollowing what is not followed is a conflict with Imgur's words."""
    me = owner(emulate())
    path = "/3/account/me/follow/tag/funny"
    assert (await me.api("POST", path)).data is True
    assert (await me.api("DELETE", path)).data is True
    again = await me.api("DELETE", path)
    assert again.json == {
        "data": {"error": "Not following tag", "request": path, "method": "DELETE"},
        "success": False,
        "status": 409,
    }


@pytest.mark.parametrize("way", ["POST", "DELETE"])
async def test_deleted_account_takes_everything_along(way: str) -> None:
    """Images, albums and tokens are gone; others' things stay."""
    emulator = emulate()
    me = owner(emulator)
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    album = emulator.world.add_album(owner=STRANGER, now=0, images=[image_id])
    if way == "POST":
        body = {"password": "sample", "reasons": ["a", "b"], "feedback": "cats"}
        answer = await me.api("POST", "/3/account/me/delete", json=body)
    else:
        answer = await me.api("DELETE", "/3/account/sample")
    assert answer.data is True
    assert (await me.api("GET", "/3/account/me")).status == 403
    visitor = anonymous(emulator)
    assert (await visitor.api("GET", "/3/account/sample")).status == 404
    assert (await visitor.api("GET", f"/3/image/{image_id}")).status == 404
    assert list(album.images) == []
    assert {it.owner for it in emulator.world.albums.values()} == {STRANGER}
    assert emulator.world.refresh_tokens == {}
    state = await visitor.api("GET", "/_emulator/state")
    assert state.status == 200


@pytest.mark.parametrize("password", [None, "", "wrong"])
async def test_account_is_not_deleted_without_its_password(
    password: str | None,
) -> None:
    """The published body with its empty password deletes nothing."""
    emulator = emulate()
    me = owner(emulator)
    body = {} if password is None else {"password": password}
    answer = await me.api("POST", "/3/account/me/delete", json=body)
    assert (answer.status, answer.error) == (403, "Unauthorized")
    assert (await me.api("GET", "/3/account/me/images/count")).data == 5
