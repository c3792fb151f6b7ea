"""The account's routes: who one is, pages, counts, ids."""

from __future__ import annotations

import pytest

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.rules.limits import NO_LIMITS
from tests.support.emulated import Visitor, anonymous, emulate, owner


async def test_account_base_tells_id_and_name(dialect: Dialect) -> None:
    """An account is found as me by its token and by name by anybody."""
    emulator = emulate(dialect=dialect)
    mine = (await owner(emulator).api("GET", "/3/account/me")).data
    named = (await anonymous(emulator).api("GET", "/3/account/SAMPLE")).data
    assert mine == named
    assert (mine["url"], mine["id"]) == ("sample", 135798223)


async def test_unknown_account_is_404() -> None:
    """A name nobody has is not found."""
    answer = await owner(emulate()).api("GET", "/3/account/nobody")
    assert answer.status == 404


@pytest.mark.parametrize("thing", ["images", "albums"])
@pytest.mark.parametrize("style", ["path", "query", "json", "slash"])
async def test_pages_cover_everything_once_and_end_empty(
    thing: str, style: str
) -> None:
    """All pages together are the whole listing; the one after them is empty."""
    me = owner(emulate(albums=120, images=120, limits=NO_LIMITS))
    seen: list[str] = []
    for page in range(4):
        path, params = {
            "path": (f"/3/account/me/{thing}/{page}", {}),
            "query": (f"/3/account/me/{thing}", {"page": page}),
            "json": (f"/3/account/me/{thing}/{page}.json", {}),
            "slash": (f"/3/account/me/{thing}/{page}/", {}),
        }[style]
        items = (await me.api("GET", path, params=params)).data
        assert len(items) == [50, 50, 20, 0][page]
        seen += [item["id"] for item in items]
    assert len(set(seen)) == len(seen) == 120


async def test_ids_and_count_agree_with_the_listing() -> None:
    """The ids are those of the listing in its order; the count is their number."""
    me = owner(emulate(albums=3, images=7))
    for thing in ("images", "albums"):
        listed = (await me.api("GET", f"/3/account/me/{thing}")).data
        ids = (await me.api("GET", f"/3/account/me/{thing}/ids")).data
        count = (await me.api("GET", f"/3/account/me/{thing}/count")).data
        assert [item["id"] for item in listed] == ids
        assert count == len(ids)


@pytest.mark.parametrize(
    ("per_page", "expected"), [("1000", 100), ("7", 7), ("0", 50), ("x", 50)]
)
async def test_per_page_is_bounded(per_page: str, expected: int) -> None:
    """A page holds at most 100 items and 50 unless told."""
    me = owner(emulate(albums=0, images=150))
    answer = await me.api("GET", "/3/account/me/images", params={"perPage": per_page})
    assert len(answer.data) == expected


async def test_negative_page_is_the_first() -> None:
    """A page below zero is no error of ours."""
    me = owner(emulate())
    first = (await me.api("GET", "/3/account/me/images")).data
    assert (await me.api("GET", "/3/account/me/images?page=-3")).data == first


async def test_album_listing_has_no_images_and_image_listing_no_albums() -> None:
    """Membership is told by GET album only, as on Imgur."""
    me = owner(emulate())
    album = (await me.api("GET", "/3/account/me/albums")).data[0]
    image = (await me.api("GET", "/3/account/me/images")).data[0]
    assert "images" not in album
    assert album["images_count"] == 2
    assert len(album["deletehash"]) == len(image["deletehash"]) == 15
    assert not [key for key in image if "album" in key]


async def test_listings_belong_to_their_owner() -> None:
    """Somebody else's images are 403; without an account it is 401."""
    emulator = emulate()
    other = await owner(emulator).api("GET", "/3/account/passer_by/images")
    assert (other.status, other.error) == (403, "Unauthorized")
    nobody = await anonymous(emulator).api("GET", "/3/account/me/images")
    assert (nobody.status, nobody.error) == (401, "Authentication required")


async def test_missing_account_image_is_an_error_inside_success() -> None:
    """HTTP 200, success true, and the refusal in data."""
    answer = await owner(emulate()).api("GET", "/3/account/me/image/zzzzzzz")
    assert answer.data["error"] == "Unable to find an image with the id, zzzzzzz"


async def test_account_image_is_deleted_twice_without_complaint() -> None:
    """DELETE account image is idempotent."""
    emulator = emulate()
    me = owner(emulator)
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    for _ in range(2):
        deleted = await me.api("DELETE", f"/3/account/me/image/{image_id}")
        assert deleted.data is True
    assert image_id not in emulator.world.images


async def test_account_album_shows_own_albums_only() -> None:
    """The album route under the account refuses what is not there."""
    emulator = emulate()
    me = owner(emulator)
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    shown = (await me.api("GET", f"/3/account/me/album/{album_id}")).data
    assert shown["id"] == album_id
    assert (await me.api("GET", "/3/account/me/album/zzzzzzz")).status == 404


async def test_stranger_sees_only_public_albums() -> None:
    """Hidden albums are not listed for others."""
    emulator = emulate(albums=2, images=0)
    album = next(iter(emulator.world.albums.values()))
    album.privacy = "public"
    listed = (await anonymous(emulator).api("GET", "/3/account/sample/albums")).data
    assert [item["id"] for item in listed] == [album.id]
    assert "deletehash" not in listed[0]


async def test_credits_reports_what_is_left_with_an_epoch() -> None:
    """UserReset in the body is an epoch although the header counts seconds."""
    emulator = emulate()
    answer = await owner(emulator).api("GET", "/3/credits")
    assert answer.data == {
        "UserLimit": 500,
        "UserRemaining": 499,
        "UserReset": 1_800_003_600,
        "ClientLimit": 12_500,
        "ClientRemaining": 12_499,
    }
    assert answer.headers["x-ratelimit-userreset"] == "3600"


async def test_token_answers_form_multipart_and_json_unwrapped() -> None:
    """The refresh grant is taken in three encodings; the new token works."""
    emulator = emulate()
    known = emulator.credentials
    fields = {
        "grant_type": "refresh_token",
        "client_id": known.client_id,
        "client_secret": known.client_secret,
        "refresh_token": known.refresh_token,
    }
    multipart = {key: (None, value) for key, value in fields.items()}
    for options in ({"data": fields}, {"json": fields}, {"files": multipart}):
        answer = await Visitor(emulator).api("POST", "/oauth2/token", **options)
        token = answer.json
        assert token["account_username"] == "sample"
        assert token["refresh_token"] == known.refresh_token
        assert "x-ratelimit-userlimit" not in answer.headers
        fresh = Visitor(emulator, "Bearer " + token["access_token"])
        assert (await fresh.api("GET", "/3/account/me")).status == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"refresh_token": ""}, "Invalid refresh token"),
        (
            {"refresh_token": "0" * 40},
            "Refresh token doesn't exist or is invalid for the client",
        ),
        ({"client_secret": "wrong"}, "The client credentials are invalid"),
        ({"client_id": ""}, "The client credentials are invalid"),
        (
            {"grant_type": "x"},
            "Invalid grant_type parameter or parameter missing",
        ),
    ],
)
async def test_token_refusals(change: dict[str, str], message: str) -> None:
    """Each wrong field of the refresh grant has its own 400."""
    emulator = emulate()
    known = emulator.credentials
    fields = {
        "grant_type": "refresh_token",
        "client_id": known.client_id,
        "client_secret": known.client_secret,
        "refresh_token": known.refresh_token,
        **change,
    }
    answer = await Visitor(emulator).api("POST", "/oauth2/token", data=fields)
    assert (answer.status, answer.error) == (400, message)
    assert answer.json["data"]["request"] == "/oauth2/token"
