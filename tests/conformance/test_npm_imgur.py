"""npm ``imgur`` 2.5.0, the maintained JavaScript client, unmodified.

Everything of it that the sections account, album, image and OAuth serve. Its answers
are always an object of data, status and success; it does not raise for a refusal. Where
the client is broken, the test says so and asserts how it breaks.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.network import Client, Network, Raised


def log_in(imgur: Network, client: Client, **changes: str) -> None:
    """Construct the client with a refresh token, as its manual shows."""
    facts = imgur.facts
    credentials = {
        "clientId": facts["client_id"],
        "clientSecret": facts["client_secret"],
        "refreshToken": facts["refresh_token"],
    }
    client.new({**credentials, **changes})


@pytest.fixture
def client(imgur: Network, npm_client: Client) -> Client:
    """The client, logged in."""
    log_in(imgur, npm_client)
    return npm_client


@pytest.fixture
def stranger(imgur: Network, npm_client: Client) -> Client:
    """The client with an application but no account."""
    npm_client.new({"clientId": imgur.facts["client_id"]})
    return npm_client


def good(answer: Any) -> Any:
    """Return the data of a success."""
    assert (answer["success"], answer["status"]) == (True, 200), answer
    return answer["data"]


def base64_of(picture: Path) -> str:
    """Return a file as the client wants it for type base64."""
    return base64.b64encode(picture.read_bytes()).decode()


def upload(client: Client, picture: Path, **more: str) -> Any:
    """Upload a file as a stream and return what Imgur made of it."""
    payload = {"image": {"$stream": str(picture)}, "type": "stream", **more}
    return good(client.call("upload", payload))


# --- Tokens ---


def test_refresh_token_becomes_access_token(client: Client) -> None:
    """The first call exchanges it, with a body of JSON; later calls use the result."""
    assert good(client.call("getAlbumsIds", "me"))
    token = client.read("credentials.accessToken")
    assert len(token) == 40
    assert good(client.call("getAlbumsIds", "me"))
    assert client.read("credentials.accessToken") == token
    assert client.read("credentials.refreshToken")


def test_wrong_refresh_token(imgur: Network, client: Client) -> None:
    """The refusal of the exchange becomes the answer of the call that needed it."""
    log_in(imgur, client, refreshToken="0" * 40)
    answer = client.call("getAlbumsIds", "me")
    assert (answer["success"], answer["status"]) == (False, 400)
    assert "invalid" in answer["data"]


def test_dead_access_token(imgur: Network, client: Client) -> None:
    """Never refreshed once there is one: the refusal is what the caller gets."""
    log_in(imgur, client, accessToken="0" * 40)
    answer = client.call("getAlbumsIds", "me")
    assert answer["success"] is False
    if imgur.is_new:
        assert (answer["status"], answer["data"]) == (401, ["Unauthorized"])
    else:
        assert answer["status"] == 403
        assert answer["data"] == "The access token provided is invalid."


# --- Account ---


def test_account_is_asked_without_credentials(client: Client) -> None:
    """Broken in the client: it asks with its plain fetcher, which is not logged in."""
    answer = client.call("getAccount", "me")
    assert (answer["success"], answer["status"]) == (False, 401)
    assert answer["data"] == "Authentication required"


def test_album_listings(client: Client) -> None:
    """The first page is a path that ends in a slash; objects and ids agree."""
    albums = good(client.call("getAlbums", "me"))
    assert len(albums) >= 3
    assert [it["id"] for it in albums] == good(client.call("getAlbumsIds", "me"))
    assert good(client.call("getAlbums", "me", 9)) == []
    assert good(client.call("getAlbumsIds", "me", 9)) == []


# --- Albums ---


def test_albums(imgur: Network, client: Client) -> None:
    """A new album has the id and deletehash of Imgur and the title of the client."""
    made = good(client.call("createAlbum", "A title", "words"))
    assert (made["title"], made["description"]) == ("A title", "words")
    assert len(made["deletehash"]) == 15
    shown = good(client.call("getAlbum", made["id"]))
    assert (shown["title"], shown["description"]) == ("A title", "words")
    assert shown["images"] == []
    assert shown["deletehash"] == made["deletehash"]
    assert imgur.data(f"/3/album/{made['id']}")["title"] == "A title"


def test_album_without_a_title(client: Client) -> None:
    """Without arguments the client sends an empty form."""
    made = good(client.call("createAlbum"))
    assert good(client.call("getAlbum", made["id"]))["title"] is None


# --- Images ---


def test_upload_of_a_stream(imgur: Network, client: Client, picture: Path) -> None:
    """Multipart with the file's name; the bytes come back as they were."""
    album = good(client.call("createAlbum", "for it"))["id"]
    made = upload(client, picture, album=album, title="t", description="d")
    assert (made["width"], made["height"], made["type"]) == (32, 24, "image/png")
    assert (made["title"], made["description"]) == ("t", "d")
    assert made["name"] == "holiday.png"
    md5 = hashlib.md5(picture.read_bytes()).hexdigest()
    assert imgur.ask("GET", made["link"])["md5"] == md5
    shown = good(client.call("getAlbum", album))
    assert [it["id"] for it in shown["images"]] == [made["id"]]
    # It tells how far it is, and ends with everything: the file and its wrapping.
    assert client.read("uploadProgress")[-1] > picture.stat().st_size


def test_upload_of_base64_and_address(client: Client, picture: Path) -> None:
    """Text as a part without a file name, and an address to fetch."""
    text = base64_of(picture)
    for payload in (
        {"image": text, "type": "base64", "name": "n.png"},
        {"image": f"data:image/png;base64,{text}", "type": "url", "name": "n.png"},
    ):
        made = good(client.call("upload", payload))
        assert (made["size"], made["name"]) == (picture.stat().st_size, "n.png")
        assert good(client.call("getImage", made["id"]))["type"] == "image/png"


def test_upload_of_a_film(imgur: Network, client: Client, tmp_path: Path) -> None:
    """A stream of such a name goes to the other address, which is the same."""
    film = tmp_path / "film.mp4"
    head = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
    film.write_bytes(head + bytes(4096))
    made = upload(client, film)
    assert made["type"] == "video/mp4"
    # Only the newer back-end says that it is still busy with it.
    pending = {"status": "pending"} if imgur.is_new else None
    assert made.get("processing") == pending


def test_image_life(client: Client, picture: Path) -> None:
    """Show, change, mark, unmark, delete."""
    image = upload(client, picture)["id"]
    changes = {"imageHash": image, "title": "Seen", "description": "from here"}
    assert good(client.call("updateImage", changes)) is True
    shown = good(client.call("getImage", image))
    assert (shown["title"], shown["description"]) == ("Seen", "from here")
    assert shown["deletehash"]
    assert good(client.call("favoriteImage", image)) == "favorited"
    assert good(client.call("getImage", image))["favorite"] is True
    assert good(client.call("favoriteImage", image)) == "unfavorited"
    assert good(client.call("deleteImage", image)) is True
    gone = client.call("getImage", image)
    assert (gone["success"], gone["status"]) == (False, 404)
    assert gone["data"] == f"Unable to find an image with the id, {image}"


def test_update_needs_something(client: Client) -> None:
    """The client refuses by itself."""
    with pytest.raises(Raised, match="Update requires a title and/or description"):
        client.call("updateImage", {"imageHash": "aaaaaaa"})


def test_anonymous_images(stranger: Client, picture: Path) -> None:
    """The deletehash changes and deletes what belongs to nobody; the id does not."""
    payload = {"image": base64_of(picture), "type": "base64"}
    made = good(stranger.call("upload", payload))
    assert not good(stranger.call("getImage", made["id"])).get("deletehash")
    refused = stranger.call("deleteImage", made["id"])
    assert (refused["status"], refused["data"]) == (403, "Unauthorized")
    change = {"imageHash": made["id"], "title": "mine?"}
    refused = stranger.call("updateImage", change)
    assert (refused["status"], refused["data"]) == (403, "Permission denied")
    change["imageHash"] = made["deletehash"]
    assert good(stranger.call("updateImage", change)) is True
    assert good(stranger.call("getImage", made["id"]))["title"] == "mine?"
    assert good(stranger.call("deleteImage", made["deletehash"])) is True


# --- What goes wrong ---


def test_what_is_no_picture(client: Client) -> None:
    """Of an error that is an object, the client takes the code for the status."""
    text = base64.b64encode(b"no picture at all").decode()
    answer = client.call("upload", {"image": text, "type": "base64"})
    assert (answer["success"], answer["status"]) == (False, 1003)
    assert "File type invalid" in answer["data"]


def test_upload_of_nothing(client: Client) -> None:
    """A form without an image is refused with Imgur's words."""
    answer = client.call("upload", {"title": "nothing"})
    assert (answer["success"], answer["status"]) == (False, 400)
    assert answer["data"] == "No image data was sent to the upload api"


def test_limit(imgur: Network, client: Client) -> None:
    """Of the list of errors the client takes the details."""
    refused = {"action": "status", "status": 429, "shape": "C", "path": "/3/album"}
    refused["message"] = "Too Many Requests"
    with imgur.faults(refused):
        answer = client.call("getAlbum", "aaaaaaa")
    assert (answer["success"], answer["status"]) == (False, 429)
    assert answer["data"] == ["Too Many Requests"]


def test_pages_and_broken_connections(imgur: Network, client: Client) -> None:
    """A page becomes the data of a failure; a broken connection loses its reason."""
    assert good(client.call("getAlbumsIds", "me"))
    page = {"action": "html", "status": 503, "path": "/3/image"}
    with imgur.faults(page):
        answer = client.call("getImage", "aaaaaaa")
    assert (answer["success"], answer["status"]) == (False, 503)
    assert answer["data"].lstrip().startswith("<")
    with imgur.faults({"action": "reset_before", "path": "/3/image"}):
        answer = client.call("getImage", "aaaaaaa")
    assert (answer["success"], answer["status"]) == (False, 500)
    assert answer["data"] == "response was empty"


def test_commercial_address(imgur: Network, stranger: Client) -> None:
    """With a key it turns to the gateway's later name; that is the emulator as well."""
    stranger.new({"clientId": imgur.facts["client_id"], "rapidApiKey": "k" * 50})
    answer = stranger.call("getImage", "aaaaaaa")
    assert (answer["success"], answer["status"]) == (False, 404)
    assert answer["data"] == "Unable to find an image with the id, aaaaaaa"
    # Only with the key: a bare request to that host gets the gateway's own refusal.
    bare = imgur.ask("GET", "https://imgur-apiv3.p.rapidapi.com/3/image/aaaaaaa")
    assert list(bare["json"]) == ["message"]
