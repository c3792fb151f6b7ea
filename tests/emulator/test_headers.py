"""What the headers tell: limits, validators, an end, and commercial use."""

from __future__ import annotations

import pytest

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.rules.limits import Limits
from tests.support.emulated import Visitor, anonymous, emulate, owner
from tests.support.quirky import MISSING, is_errors, quirky

# --- Limits ---


@pytest.mark.parametrize(
    ("limits", "header"),
    [
        (Limits(user_credits_per_hour=0), "x-ratelimit-userremaining"),
        (Limits(client_credits_per_day=0), "x-ratelimit-clientremaining"),
        (Limits(posts_per_hour=0), "x-post-rate-limit-remaining"),
    ],
)
async def test_spent_allowance(limits: Limits, header: str, dialect: Dialect) -> None:
    """429 with the list of errors, zero in the header at fault, no retry-after."""
    me = owner(emulate(dialect=dialect, limits=limits))
    answer = await me.api("POST", "/3/album")
    assert is_errors(answer, status=429, detail="Too Many Requests")
    assert answer.headers[header] == "0"
    assert "retry-after" not in answer.headers


# --- Headers ---


async def test_headers_of_the_edge(dialect: Dialect) -> None:
    """Lower-case names, a server called cat factory, JSON with a charset."""
    answer = await quirky(dialect).api("GET", "/3/account/me")
    assert answer.headers["server"] == "cat factory 1.0"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert all(name == name.lower() for name in answer.headers)


async def test_etag_is_known_again_and_costs_a_credit(dialect: Dialect) -> None:
    """The same answer again is 304 without a body, and is charged all the same."""
    me = quirky(dialect)
    path = "/3/account/me/images"
    first = await me.api("GET", path)
    tag = first.headers["etag"]
    assert len(tag) == 42
    assert int(tag.strip('"'), 16) >= 0
    again = await me.api("GET", path, headers={"If-None-Match": tag})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert "content-length" not in again.headers
    left = "x-ratelimit-userremaining"
    assert int(again.headers[left]) == int(first.headers[left]) - 1
    image_id = first.data[0]["id"]
    await me.api("POST", f"/3/image/{image_id}", data={"title": "other"})
    changed = await me.api("GET", path, headers={"If-None-Match": f'"x", {tag}'})
    assert changed.status == 200
    assert changed.headers["etag"] != tag


async def test_etag_only_of_what_was_read_well() -> None:
    """Neither changes nor errors have one, and the quirk takes it away."""
    me = quirky()
    assert "etag" not in (await me.api("POST", "/3/album")).headers
    assert "etag" not in (await me.api("GET", f"/3/album/{MISSING}")).headers
    without = await quirky(api_etag="off").api("GET", "/3/account/me")
    assert "etag" not in without.headers


async def test_sunset_on_demand() -> None:
    """Nothing is said of the end unless the quirk names a date."""
    date = "Sat, 01 May 2027 00:00:00 GMT"
    assert "sunset" not in (await quirky().api("GET", "/3/account/me")).headers
    for path in ("/3/account/me", f"/3/image/{MISSING}"):
        answer = await quirky(sunset=date).api("GET", path)
        assert answer.headers["sunset"] == date


async def test_reset_header() -> None:
    """Seconds that are left, or the date the documentation promises."""
    name = "x-ratelimit-userreset"
    answer = await quirky().api("GET", "/3/account/me")
    assert answer.headers[name] == "3600"
    dated = await quirky(reset_header="epoch").api("GET", "/3/account/me")
    assert dated.headers[name] == "1800003600"
    assert dated.headers["x-ratelimit-clientreset"] == "86400"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Mashape-Key": "paid"},
        {"X-Mashape-Key": "paid", "Host": "imgur-apiv3.p.rapidapi.com"},
    ],
)
async def test_commercial_use_knows_no_limit_of_posts(headers: dict[str, str]) -> None:
    """With a key POSTs are neither counted nor told; credits are."""
    me = owner(emulate(limits=Limits(posts_per_hour=0)))
    answer = await me.api("POST", "/3/album", headers=headers)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-post")]
    assert answer.headers["x-ratelimit-userremaining"] == "499"


@pytest.mark.parametrize("key", [None, ""])
async def test_commercial_host_wants_a_key(key: str | None) -> None:
    """Its gateway has words of its own for who does not pay."""
    me = owner(emulate())
    headers = {"Host": "imgur-apiv3.p.mashape.com"}
    if key is not None:
        headers["X-Mashape-Key"] = key
    answer = await me.api("GET", "/3/account/me", headers=headers)
    assert answer.status == 401
    assert answer.json == {"message": "Missing RapidAPI application key."}


async def test_credits_are_counted_for_each_application(dialect: Dialect) -> None:
    """A user who has spent one application's hour may use another."""
    emulator = emulate(dialect=dialect, limits=Limits(user_credits_per_hour=1))
    emulator.world.clients["second"] = "secret"
    first, second = anonymous(emulator), Visitor(emulator, "Client-ID second")
    path = "/3/account/sample"
    statuses = [(await it.api("GET", path)).status for it in (first, first, second)]
    assert statuses == [200, 429, 200]
    assert (await anonymous(emulator).api("GET", "/3/credits")).status == 429
