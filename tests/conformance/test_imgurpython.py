"""imgurpython 1.1.7, Imgur's own and unmaintained client, unmodified.

Everything of it that the sections account, album, image, credits and OAuth serve. Where
the client is broken, the test says so and asserts how it breaks.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.network import Client, Network, Raised


@pytest.fixture
def client(imgur: Network, python_client: Client) -> Client:
    """The client, logged in."""
    log_in(imgur, python_client)
    return python_client


@pytest.fixture
def stranger(imgur: Network, python_client: Client) -> Client:
    """The client with an application but no account."""
    facts = imgur.facts
    python_client.new(facts["client_id"], facts["client_secret"])
    return python_client


def log_in(imgur: Network, client: Client, token: str = "") -> None:
    """Construct the client with the account's tokens."""
    facts = imgur.facts
    tokens = (token or facts["access_token"], facts["refresh_token"])
    client.new(facts["client_id"], facts["client_secret"], *tokens)


def upload(client: Client, picture: Path, **config: str) -> dict[str, Any]:
    """Upload a picture to the account."""
    made: dict[str, Any] = client.call("upload_from_path", str(picture), config, False)
    return made


def ids(things: list[dict[str, Any]]) -> list[str]:
    """Return their ids."""
    return [it["id"] for it in things]


def walk(client: Client, method: str) -> list[Any]:
    """Return all pages of a listing, until the empty one."""
    found: list[Any] = []
    page = 0
    while items := client.call(method, "me", page):
        found += items
        page += 1
    return found


# --- Credits and headers ---


def test_credits(client: Client) -> None:
    """The constructor asks for credits; every call reads the headers instead."""
    first = client.read("credits")
    assert (first["UserLimit"], first["ClientLimit"]) == (500, 12500)
    asked = client.call("get_credits")
    assert asked["UserReset"] > 1_600_000_000
    told = client.read("credits")
    # In headers everything is text, and the reset counts down.
    assert int(told["UserRemaining"]) == asked["UserRemaining"]
    assert 0 < int(told["UserReset"]) <= 3600
    client.call("get_account", "me")
    assert int(client.read("credits")["ClientRemaining"]) < asked["ClientRemaining"]


# --- Account ---


def test_account(client: Client) -> None:
    """An account by name and as me; an unknown one is an error with its status."""
    account = client.call("get_account", "sample")
    assert account == client.call("get_account", "me")
    assert account["url"] == "sample"
    assert account["pro_expiration"] is False
    with pytest.raises(Raised, match=r"^ImgurClientError: \(404\)"):
        client.call("get_account", "nobodyatall")


def test_me_needs_a_login(stranger: Client) -> None:
    """The client refuses by itself; by name the emulator refuses."""
    with pytest.raises(Raised, match="'me' can only be used"):
        stranger.call("get_account_images", "me")
    with pytest.raises(Raised, match=r"^ImgurClientError: \(40[13]\)"):
        stranger.call("get_account_images", "sample")
    assert stranger.call("get_account", "sample")["url"] == "sample"


def test_settings(imgur: Network, client: Client) -> None:
    """Broken in the client: it insists on ``high_quality``, which Imgur has dropped."""
    with pytest.raises(Raised, match="KeyError: 'high_quality'"):
        client.call("get_account_settings", "me")
    fields = {"bio": "at sea", "album_privacy": "public", "not_a_setting": "x"}
    assert client.call("change_account_settings", "me", fields) is True
    assert client.call("get_account", "me")["bio"] == "at sea"
    assert imgur.data("/3/account/me/settings")["album_privacy"] == "public"
    client.call("change_account_settings", "me", {"album_privacy": "hidden"})
    assert imgur.data("/3/account/me/settings")["album_privacy"] == "hidden"


def test_email(client: Client) -> None:
    """The verification of the address can be asked for and sent."""
    assert client.call("send_verification_email", "me") is True
    assert client.call("get_email_verification_status", "me") is True


def test_image_listings(client: Client) -> None:
    """Pages of fifty until the empty one; objects, ids and count agree."""
    images = walk(client, "get_account_images")
    assert len(client.call("get_account_images", "me")) == 50
    assert ids(images) == walk(client, "get_account_image_ids")
    assert len(set(ids(images))) == client.call("get_account_images_count", "me") >= 120
    assert all(it["deletehash"] for it in images)


def test_album_listings(client: Client) -> None:
    """Albums come without their images; objects, ids and count agree."""
    albums = walk(client, "get_account_albums")
    assert ids(albums) == walk(client, "get_account_album_ids")
    assert len(albums) == client.call("get_account_album_count", "me") >= 3
    assert not any("images" in it for it in albums)


def test_favorites(client: Client, picture: Path) -> None:
    """What is marked is listed as the gallery has it, images and albums."""
    image = upload(client, picture)["id"]
    album = client.call("create_album", {"title": "marked"})["id"]
    assert client.call("favorite_image", image) == "favorited"
    assert client.call("album_favorite", album) == "favorited"
    listed = client.call("get_account_favorites", "me")
    newest = [(it["class"], it["id"]) for it in listed[:2]]
    assert newest == [("GalleryAlbum", album), ("GalleryImage", image)]
    assert client.call("favorite_image", image) == "unfavorited"
    assert client.call("album_favorite", album) == "unfavorited"
    assert not {image, album} & set(ids(client.call("get_account_favorites", "me")))


# --- Albums ---


def test_album_life(client: Client, picture: Path) -> None:
    """Create with images, show, add, remove, set, change and delete."""
    one, two, three = (upload(client, picture)["id"] for _ in range(3))
    fields = {"title": "A title", "description": "words", "ids": [one, two]}
    # The client sends such a list as the same key twice.
    made = client.call("create_album", fields)
    album = made["id"]
    assert len(made["deletehash"]) == 15
    shown = client.call("get_album", album)
    assert (shown["title"], shown["description"]) == ("A title", "words")
    assert shown["privacy"] == "hidden"
    assert ids(shown["images"]) == [one, two]
    assert client.call("album_add_images", album, [three]) is True
    assert ids(client.call("get_album_images", album)) == [one, two, three]
    assert client.call("album_remove_images", album, [one, three]) is True
    assert ids(client.call("get_album_images", album)) == [two]
    assert client.call("album_set_images", album, [three, one]) is True
    assert ids(client.call("get_album_images", album)) == [three, one]
    changes = {"title": "Another", "ids": [one, two], "privacy": "public"}
    client.call("update_album", album, changes)
    shown = client.call("get_album", album)
    assert (shown["title"], shown["privacy"]) == ("Another", "public")
    assert ids(shown["images"]) == [one, two]
    assert client.call("album_delete", album) is True
    with pytest.raises(Raised, match=r"\(404\) Unable to find an album with the id"):
        client.call("get_album", album)
    assert client.call("get_image", one)["id"] == one


def test_update_album_needs_ids(client: Client) -> None:
    """Broken in the client: without ids it fails before it sends anything."""
    album = client.call("create_album", {"title": "as it was"})["id"]
    with pytest.raises(Raised, match="KeyError: 'ids'"):
        client.call("update_album", album, {"title": "new"})
    assert client.call("get_album", album)["title"] == "as it was"


def test_foreign_images_are_refused(client: Client) -> None:
    """Adding what is not one's own is refused with Imgur's words."""
    album = client.call("create_album", {"title": "mine"})["id"]
    with pytest.raises(Raised, match=r"\(403\) You must own all the image ids"):
        client.call("album_add_images", album, ["nosuchi"])


def test_anonymous_album(stranger: Client, picture: Path) -> None:
    """Without an account the deletehash is the key to the album."""
    made = stranger.call("create_album", {"title": "nobody's"})
    image = stranger.call("upload_from_path", str(picture))
    renamed = {"ids": [], "title": "still nobody's"}
    stranger.call("update_album", made["deletehash"], renamed)
    assert stranger.call("get_album", made["id"])["title"] == "still nobody's"
    with pytest.raises(Raised, match=r"\(403\)"):
        stranger.call("album_add_images", made["id"], [image["id"]])
    with pytest.raises(Raised, match=r"\(403\)"):
        stranger.call("album_delete", made["id"])
    assert stranger.call("album_delete", made["deletehash"]) is True


# --- Images ---


def test_upload_from_path(imgur: Network, client: Client, picture: Path) -> None:
    """A file goes up as base64 and comes back as it was, at Imgur's own address."""
    album = client.call("create_album", {"title": "for it"})["id"]
    config = {"album": album, "name": "n.png", "title": "t", "description": "d"}
    made = upload(client, picture, **config)
    assert (made["width"], made["height"], made["type"]) == (32, 24, "image/png")
    assert (made["title"], made["description"], made["name"]) == ("t", "d", "n.png")
    assert made["link"] == f"https://i.imgur.com/{made['id']}.png"
    md5 = hashlib.md5(picture.read_bytes()).hexdigest()
    assert imgur.ask("GET", made["link"])["md5"] == md5
    download = f"https://imgur.com/download/{made['id']}/undefined"
    assert imgur.ask("GET", download)["md5"] == md5
    assert ids(client.call("get_album_images", album)) == [made["id"]]
    assert client.call("get_image", made["id"])["name"] == "n.png"
    assert client.call("delete_image", made["id"]) is True
    with pytest.raises(Raised, match=r"^ImgurClientError: \(404\)"):
        client.call("get_image", made["id"])
    assert client.call("get_album_images", album) == []
    assert imgur.ask("GET", made["link"])["url"] == "https://i.imgur.com/removed.png"


def test_upload_from_url(client: Client, picture: Path) -> None:
    """An address is fetched by the server; one that leads nowhere is refused."""
    data = base64.b64encode(picture.read_bytes()).decode()
    url = f"data:image/png;base64,{data}"
    made = client.call("upload_from_url", url, {"title": "t"}, False)
    assert (made["size"], made["title"]) == (picture.stat().st_size, "t")
    with pytest.raises(Raised, match=r"\(400\) Unable to process upload!"):
        client.call("upload_from_url", "http://127.0.0.1:9/a.png")


def test_anonymous_upload(stranger: Client, picture: Path) -> None:
    """By default uploads belong to nobody; only the deletehash deletes them."""
    made = stranger.call("upload_from_path", str(picture))
    assert made["deletehash"]
    assert not stranger.call("get_image", made["id"]).get("deletehash")
    with pytest.raises(Raised, match=r"\(403\) Unauthorized"):
        stranger.call("delete_image", made["id"])
    assert stranger.call("delete_image", made["deletehash"]) is True


def test_what_is_no_picture(client: Client, tmp_path: Path) -> None:
    """The refusal is an object, which the client passes on as it is."""
    text = tmp_path / "a.png"
    text.write_text("no picture at all")
    with pytest.raises(Raised, match="File type invalid"):
        upload(client, text)


# --- Tokens ---


def test_expired_token(imgur: Network, client: Client) -> None:
    """Refreshed on 403 only: the client is broken on the newer back-end's 401.

    There the refusal has no ``data`` either, so that the client takes it for an answer
    and fails on the missing key.
    """
    log_in(imgur, client, "0" * 40)
    if imgur.is_new:
        with pytest.raises(Raised, match="KeyError: 'id'"):
            client.call("get_account", "me")
        assert client.read("auth.current_access_token") == "0" * 40
        return
    assert client.call("get_account", "me")["url"] == "sample"
    assert re.fullmatch("[0-9a-f]{40}", client.read("auth.current_access_token"))
    assert client.read("auth.current_access_token") != "0" * 40


def test_wrong_refresh_token(imgur: Network, client: Client) -> None:
    """A refused refresh is an error of the client's own."""
    if imgur.is_new:
        # Never refreshed there, see above: only a 403 of another cause does it.
        refused = [{"action": "status", "status": 403, "path": "/3/account"}]
    else:
        refused = []
    facts = imgur.facts
    client.new(facts["client_id"], facts["client_secret"], "0" * 40, "1" * 40)
    with (
        imgur.faults(*refused),
        pytest.raises(Raised, match=r"\(400\) Error refreshing access token!"),
    ):
        client.call("get_account", "me")


@pytest.mark.parametrize("kind", ["pin", "code"])
def test_authorize(imgur: Network, client: Client, kind: str) -> None:
    """The address it shows leads to a login; what that leaves becomes tokens."""
    url = client.call("get_auth_url", kind)
    page = imgur.ask("GET", url, headers={})
    assert page["status"] == 200
    assert "<form" in page["text"]
    form = {"username": "sample", "password": "sample", "allow": "1"}
    left = imgur.ask("POST", url, headers={}, form=form)
    if kind == "pin":
        given = re.findall('name="pin" readonly value="([^"]+)"', left["text"])[0]
        grant = "pin"
    else:
        given = re.findall("[?]code=([^&]+)", left["url"])[0]
        grant = "authorization_code"
    tokens = client.call("authorize", given, grant)
    assert tokens["account_username"] == "sample"
    client.call("set_user_auth", tokens["access_token"], tokens["refresh_token"])
    assert client.call("get_account", "me")["url"] == "sample"
    # A later login may end the access tokens of the one before, as with Imgur.
    refreshed = imgur.api(
        "POST",
        "/oauth2/token",
        headers={},
        form={
            "grant_type": "refresh_token",
            **{
                key: imgur.facts[key]
                for key in ("client_id", "client_secret", "refresh_token")
            },
        },
    )
    imgur.facts["access_token"] = refreshed["access_token"]
    with pytest.raises(Raised, match=r"\(400\)"):
        client.call("authorize", given, grant)


# --- What goes wrong ---


def test_limit_and_pages(imgur: Network, client: Client) -> None:
    """429 has an exception of its own; a page instead of JSON is said to be none."""
    refused = {"action": "status", "status": 429, "shape": "C", "path": "/3/account"}
    with imgur.faults(refused), pytest.raises(Raised, match=r"^ImgurClientRateLimit"):
        client.call("get_account", "me")
    page = {"action": "html", "status": 503, "path": "/3/account"}
    with imgur.faults(page), pytest.raises(Raised, match="JSON decoding of response"):
        client.call("get_account", "me")
    assert client.call("get_account", "me")["url"] == "sample"


def test_commercial_address(imgur: Network, client: Client) -> None:
    """With a Mashape key it turns to another host, which is the emulator as well."""
    facts = imgur.facts
    client.new(facts["client_id"], facts["client_secret"], mashape_key="k" * 50)
    assert client.call("get_account", "sample")["url"] == "sample"
    assert client.call("get_client_id") == facts["client_id"]
