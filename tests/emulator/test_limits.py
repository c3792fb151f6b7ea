"""Enforced limits on a clock that the test moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.rules.accounting import DAY_S, HOUR_S
from imgurfs.emulator.rules.limits import (
    NO_LIMITS,
    REAL_LIMITS,
    Limits,
    LimitsFileError,
    load_limits,
)
from imgurfs.emulator.world import pictures
from tests.support.emulated import (
    Answer,
    ManualClock,
    Visitor,
    anonymous,
    emulate,
    owner,
)

PNG = pictures.draw_picture("x", number=1, kind="png", width=16, height=16)


def left(answer: Answer, meter: str) -> int:
    """Return what a header says is left."""
    name = {
        "user": "x-ratelimit-userremaining",
        "client": "x-ratelimit-clientremaining",
        "post": "x-post-rate-limit-remaining",
    }[meter]
    return int(answer.headers[name])


def assert_refused(answer: Answer) -> None:
    """Assert the refusal of a spent allowance."""
    assert answer.status == 429
    assert answer.headers["content-type"].startswith("application/vnd.imgur.v1+json")
    assert answer.json["errors"][0]["code"] == "429"
    assert answer.json["errors"][0]["status"] == "Too Many Requests"


async def upload(visitor: Visitor) -> Answer:
    """Upload a small picture."""
    return await visitor.api("POST", "/3/image", files={"image": PNG})


async def test_a_call_costs_one_and_an_upload_ten() -> None:
    """The headers count user and client credits and POSTs."""
    me = owner(emulate())
    first = await me.api("GET", "/3/account/me")
    assert (left(first, "user"), left(first, "client")) == (499, 12_499)
    assert "x-post-rate-limit-remaining" not in first.headers
    second = await upload(me)
    assert (left(second, "user"), left(second, "client")) == (489, 12_489)
    assert left(second, "post") == 1_249
    third = await me.api("POST", "/3/album")
    assert (left(third, "user"), left(third, "post")) == (488, 1_248)
    assert third.headers["x-ratelimit-clientreset"] == "86400"
    assert third.headers["x-post-rate-limit-reset"] == "3600"


async def test_upload_cost_is_an_option() -> None:
    """An upload may cost one credit, as some have seen."""
    answer = await upload(owner(emulate(limits=Limits(upload_cost=1))))
    assert left(answer, "user") == 499


async def test_user_credits_run_out_and_come_back(dialect: Dialect) -> None:
    """After the hour's credits: 429 with zero left, until the hour has passed."""
    clock = ManualClock()
    me = owner(emulate(clock, dialect=dialect, limits=Limits(user_credits_per_hour=3)))
    for expected in (2, 1, 0):
        clock.time_s += 10
        answer = await me.api("GET", "/3/account/me")
        assert (answer.status, left(answer, "user")) == (200, expected)
    refused = await me.api("GET", "/3/account/me")
    assert_refused(refused)
    assert left(refused, "user") == 0
    assert refused.headers["x-ratelimit-userreset"] == str(int(HOUR_S) - 20)
    clock.time_s += HOUR_S - 21
    assert_refused(await me.api("GET", "/3/account/me"))
    clock.time_s += 1
    assert (await me.api("GET", "/3/account/me")).status == 200


async def test_last_credits_pay_for_an_upload() -> None:
    """What is left is taken, and then it is zero."""
    me = owner(emulate(limits=Limits(user_credits_per_hour=4)))
    assert left(await upload(me), "user") == 0
    assert_refused(await upload(me))


async def test_users_are_counted_apart_and_clients_together() -> None:
    """Two addresses have an hour each and share the client's day."""
    limits = Limits(user_credits_per_hour=2, client_credits_per_day=3)
    emulator = emulate(limits=limits)
    near, far = anonymous(emulator), anonymous(emulator)
    far.address = "127.0.0.2"
    for visitor in (near, near, far):
        assert (await visitor.api("GET", "/3/account/sample")).status == 200
    refused = await far.api("GET", "/3/account/sample")
    assert_refused(refused)
    assert (left(refused, "user"), left(refused, "client")) == (1, 0)


async def test_five_strikes_block_the_client_for_the_month() -> None:
    """Each day run into its limit is one strike; the fifth ends the month."""
    clock = ManualClock(1_801_440_000.0)  # the first of a month
    emulator = emulate(clock, limits=Limits(client_credits_per_day=1))
    me = owner(emulator)
    for _ in range(5):
        assert (await me.api("GET", "/3/account/me")).status == 200
        for _ in range(3):
            assert_refused(await me.api("GET", "/3/account/me"))
        clock.time_s += DAY_S
    for _ in range(20):
        refused = await me.api("GET", "/3/account/me")
        assert_refused(refused)
        assert left(refused, "client") == 0
        clock.time_s += DAY_S
    clock.time_s += 8 * DAY_S
    assert (await me.api("GET", "/3/account/me")).status == 200


async def test_posts_per_hour_are_counted_by_address() -> None:
    """POSTs run out for one address whoever it is; the token endpoint counts too."""
    clock = ManualClock()
    emulator = emulate(clock, limits=Limits(posts_per_hour=2))
    me = owner(emulator)
    await Visitor(emulator).api("POST", "/oauth2/token")
    assert (await me.api("POST", "/3/album")).status == 200
    refused = await me.api("POST", "/3/album")
    assert_refused(refused)
    assert left(refused, "post") == 0
    assert len(emulator.world.albums) == 2 + 2 + 1
    assert (await me.api("GET", "/3/account/me")).status == 200
    me.address = "127.0.0.9"
    assert (await me.api("POST", "/3/album")).status == 200
    me.address = "127.0.0.1"
    clock.time_s += HOUR_S
    assert (await me.api("POST", "/3/album")).status == 200


async def test_uploading_too_fast() -> None:
    """The refusal counts the minutes; HTTP says 429, the body 400; credits are left."""
    clock = ManualClock()
    emulator = emulate(clock, limits=Limits(uploads_per_hour=2))
    me = owner(emulator)
    await upload(me)
    clock.time_s += 61
    await upload(me)
    before = len(emulator.world.images)
    refused = await upload(me)
    assert (refused.status, refused.json["status"]) == (429, 400)
    assert refused.error["code"] == 429
    assert refused.error["type"] == "ImgurException"
    assert refused.error["message"] == (
        "You are uploading too fast. Please wait 59 more minutes."
    )
    assert left(refused, "user") > 0
    assert len(emulator.world.images) == before
    clock.time_s += HOUR_S - 62
    assert "wait 1 more minutes" in (await upload(me)).error["message"]
    clock.time_s += 1
    assert (await upload(me)).status == 200


async def test_a_refused_picture_does_not_count_as_uploaded() -> None:
    """Only what was stored counts against the uploads of the hour."""
    me = owner(emulate(limits=Limits(uploads_per_hour=1)))
    assert (await me.api("POST", "/3/image", files={"image": b"no"})).status == 400
    assert (await upload(me)).status == 200
    assert (await upload(me)).status == 429


async def test_no_limits_show_the_real_numbers_undiminished() -> None:
    """Switched off, nothing is refused and the headers stay full."""
    me = owner(emulate(limits=NO_LIMITS))
    statuses = {(await upload(me)).status for _ in range(59)}
    assert statuses == {200}
    answer = await upload(me)
    assert (left(answer, "user"), left(answer, "post")) == (500, 1_250)


async def test_tokens_cost_no_credits() -> None:
    """OAuth is free."""
    emulator = emulate()
    await Visitor(emulator).api("POST", "/oauth2/token")
    answer = await owner(emulator).api("GET", "/3/account/me")
    assert left(answer, "user") == 499


def test_limits_files(tmp_path: Path) -> None:
    """TOML and JSON name what differs from the real limits."""
    toml, json = tmp_path / "l.toml", tmp_path / "l.json"
    toml.write_text('uploads_per_hour = "off"\nupload_cost = 1\n')
    json.write_text('{"posts_per_hour": 7}')
    assert load_limits(str(toml)) == Limits(uploads_per_hour=None, upload_cost=1)
    assert load_limits(str(json)) == Limits(posts_per_hour=7)
    assert load_limits("real") == REAL_LIMITS
    assert load_limits("off") == NO_LIMITS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uploads = 3", "unknown limit 'uploads'"),
        ("upload_cost = -1", "upload_cost must be a whole number"),
        ("upload_cost = true", "upload_cost must be a whole number"),
        ('upload_cost = "off"', "upload_cost must be a whole number"),
        ("x =", "Invalid"),
    ],
)
def test_bad_limits_files(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong is named, with the file."""
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(LimitsFileError, match=message) as caught:
        load_limits(str(path))
    assert str(path) in str(caught.value)


def test_missing_limits_file() -> None:
    """A file that is not there is named."""
    with pytest.raises(LimitsFileError, match="No such file"):
        load_limits("/nonexistent/limits.toml")
