"""Logging in: the page, what it leaves behind, and the grants that take it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from imgurfs.emulator.app import Emulator
from imgurfs.emulator.routes.login import GRANT_LIFETIME_S
from tests.support.emulated import (
    Answer,
    ManualClock,
    Visitor,
    anonymous,
    emulate,
    owner,
)

BACK = "http://127.0.0.1:9/back"
LOGIN = {"username": "sample", "password": "sample", "allow": "1"}


def asked(emulator: Emulator, kind: str, **more: str) -> dict[str, str]:
    """Return what an application asks the page with."""
    return {
        "client_id": emulator.credentials.client_id,
        "response_type": kind,
        "redirect_uri": BACK,
        "state": "a b&c",
        **more,
    }


async def decide(emulator: Emulator, kind: str, **fields: str) -> Answer:
    """Send the form of the page as a browser does that got it with a query."""
    return await Visitor(emulator).api(
        "POST",
        "/oauth2/authorize",
        params=asked(emulator, kind),
        data={**LOGIN, **fields},
    )


async def exchange(emulator: Emulator, **fields: str) -> Answer:
    """Ask the token endpoint as the application."""
    known = emulator.credentials
    usual = {"client_id": known.client_id, "client_secret": known.client_secret}
    return await Visitor(emulator).api(
        "POST", "/oauth2/token", data={**usual, **fields}
    )


async def code_of(emulator: Emulator) -> str:
    """Log in and return the code that comes back."""
    answer = await decide(emulator, "code")
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


async def works(emulator: Emulator, token: str) -> bool:
    """Return whether an access token is good."""
    answer = await Visitor(emulator, "Bearer " + token).api("GET", "/3/account/me")
    return answer.status == 200


async def test_page_is_a_form_with_the_question_in_it() -> None:
    """What was asked is in the page, escaped, so that the form knows it as well."""
    emulator = emulate()
    query = asked(emulator, "token", state='"><script>')
    page = await Visitor(emulator).api("GET", "/oauth2/authorize", params=query)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    text = page.body.decode()
    assert "<script>" not in text
    assert '<form method="post">' in text
    assert f'value="{emulator.credentials.client_id}"' in text
    assert "x-ratelimit-userlimit" not in page.headers


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("change", [{"client_id": ""}, {"response_type": "x"}])
async def test_incomplete_question_is_refused(
    method: str, change: dict[str, str]
) -> None:
    """400 with Imgur's words, about a path that is not quite the one asked for."""
    emulator = emulate()
    query = asked(emulator, "token") | change
    answer = await Visitor(emulator).api(method, "/oauth2/authorize", params=query)
    assert (answer.status, answer.error) == (
        400,
        "client_id and response_type are required",
    )
    assert answer.json["data"]["request"] == "/oauth/authorize"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"client_id": "nobody"}, 403),
        ({"redirect_uri": "x\r\nset-cookie: y"}, 400),
        ({"redirect_uri": "nowhere"}, 400),
    ],
)
async def test_wrong_question_is_refused(change: dict[str, str], status: int) -> None:
    """Unknown applications and unusable addresses do not get a page."""
    emulator = emulate()
    query = asked(emulator, "token") | change
    answer = await Visitor(emulator).api("GET", "/oauth2/authorize", params=query)
    assert answer.status == status


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_page_may_be_dead(method: str) -> None:
    """With the quirk there is an error page for everybody, and nothing is issued."""
    emulator = emulate(quirk_changes={"authorize_page": "dead"})
    tokens = len(emulator.world.access_tokens)
    answer = await Visitor(emulator).api(
        method, "/oauth2/authorize", params={**asked(emulator, "token"), **LOGIN}
    )
    assert b"Error (1024)" in answer.body
    assert "location" not in answer.headers
    assert len(emulator.world.access_tokens) == tokens


async def test_token_flow_tells_everything_in_the_fragment() -> None:
    """The redirect has both tokens that work, the account and the state."""
    emulator = emulate()
    answer = await decide(emulator, "token")
    assert answer.status == 302
    target, _, fragment = answer.headers["location"].partition("#")
    assert target == BACK
    told = dict(parse_qsl(fragment))
    assert list(told) == [
        "access_token",
        "expires_in",
        "token_type",
        "refresh_token",
        "account_username",
        "account_id",
        "state",
    ]
    assert (told["account_username"], told["account_id"]) == ("sample", "135798223")
    assert (told["expires_in"], told["token_type"]) == ("315360000", "bearer")
    assert told["state"] == "a b&c"
    assert await works(emulator, told["access_token"])
    fresh = await exchange(
        emulator, grant_type="refresh_token", refresh_token=told["refresh_token"]
    )
    assert await works(emulator, fresh.json["access_token"])


async def test_denial_comes_back_where_the_answer_would() -> None:
    """access_denied is in the fragment for tokens, else in the query."""
    emulator = emulate()
    for kind, mark in (("token", "#"), ("code", "?"), ("pin", "?")):
        answer = await decide(emulator, kind, allow="0")
        expected = f"{BACK}{mark}error=access_denied&state=a+b%26c"
        assert (answer.status, answer.headers["location"]) == (302, expected)


@pytest.mark.parametrize(
    "wrong", [{"password": "x"}, {"username": "nobody"}, {"password": ""}]
)
async def test_wrong_password_is_unauthorized(wrong: dict[str, str]) -> None:
    """403 and no token."""
    emulator = emulate()
    tokens = len(emulator.world.access_tokens)
    answer = await decide(emulator, "token", **wrong)
    assert (answer.status, answer.error) == (403, "Unauthorized")
    assert len(emulator.world.access_tokens) == tokens


async def test_without_an_address_one_goes_home() -> None:
    """An application that names no address gets Imgur's own page."""
    emulator = emulate()
    query = asked(emulator, "token")
    del query["redirect_uri"], query["state"]
    answer = await Visitor(emulator).api(
        "POST", "/oauth2/authorize", data={**query, **LOGIN}
    )
    assert answer.headers["location"].startswith("https://imgur.com/#access_token=")


async def test_half_a_character_in_the_state_is_replaced() -> None:
    """JSON can carry a lone surrogate; neither the page nor the address breaks."""
    emulator = emulate()
    body = json.dumps({**asked(emulator, "code"), **LOGIN, "state": "\ud800"})
    options = {"content": body, "headers": {"Content-Type": "application/json"}}
    page = await Visitor(emulator).api("GET", "/oauth2/authorize", **options)
    assert b'name="state" value="?"' in page.body
    answer = await Visitor(emulator).api("POST", "/oauth2/authorize", **options)
    assert answer.headers["location"].endswith("&state=%3F")


async def test_code_is_exchanged_once() -> None:
    """A code gives tokens, a second time nothing."""
    emulator = emulate()
    code = await code_of(emulator)
    fields = {"grant_type": "authorization_code", "code": code}
    answer = (await exchange(emulator, **fields)).json
    assert answer["account_username"] == "sample"
    assert await works(emulator, answer["access_token"])
    again = await exchange(emulator, **fields)
    assert (again.status, again.error) == (400, "Invalid authorization code")


async def test_pin_is_shown_and_exchanged_once() -> None:
    """A PIN stands in a page; as a code it is worth nothing."""
    emulator = emulate()
    page = (await decide(emulator, "pin")).body.decode()
    pin = page.partition('name="pin" readonly value="')[2].partition('"')[0]
    assert len(pin) == 10
    as_code = await exchange(emulator, grant_type="authorization_code", code=pin)
    assert as_code.status == 400
    answer = await exchange(emulator, grant_type="pin", pin=pin)
    assert await works(emulator, answer.json["access_token"])
    again = await exchange(emulator, grant_type="pin", pin=pin)
    assert (again.status, again.error) == (400, "Invalid Pin")


async def test_grants_expire_and_are_the_applications_own() -> None:
    """An old code is refused, and so is another application's."""
    clock = ManualClock()
    emulator = emulate(clock)
    emulator.world.clients["another"] = "its secret"
    code = await code_of(emulator)
    foreign = {"client_id": "another", "client_secret": "its secret"}
    fields = {"grant_type": "authorization_code", "code": code}
    assert (await exchange(emulator, **fields, **foreign)).status == 400
    clock.time_s += GRANT_LIFETIME_S
    assert (await exchange(emulator, **fields)).status == 400
    assert (await exchange(emulator, grant_type="pin")).status == 400


@pytest.mark.parametrize("quirk", ["revokes", "keeps"])
async def test_second_login_ends_the_first_session(quirk: str) -> None:
    """The older access token dies unless the quirk is off; refresh tokens live."""
    emulator = emulate(quirk_changes={"second_login": quirk})
    first = (
        await exchange(
            emulator, grant_type="authorization_code", code=await code_of(emulator)
        )
    ).json
    await decide(emulator, "token")
    assert await works(emulator, first["access_token"]) is (quirk == "keeps")
    renewed = await exchange(
        emulator, grant_type="refresh_token", refresh_token=first["refresh_token"]
    )
    assert await works(emulator, renewed.json["access_token"])


@pytest.mark.parametrize("quirk", ["same", "added", "rotated"])
async def test_refresh_token_may_rotate(quirk: str) -> None:
    """The answer has the same token, another one, or the only one that is left."""
    emulator = emulate(quirk_changes={"refresh_token": quirk})
    old = emulator.credentials.refresh_token
    fields = {"grant_type": "refresh_token"}
    answer = (await exchange(emulator, **fields, refresh_token=old)).json
    new = answer["refresh_token"]
    assert (new == old) is (quirk == "same")
    assert (await exchange(emulator, **fields, refresh_token=new)).status == 200
    again = await exchange(emulator, **fields, refresh_token=old)
    assert again.status == (400 if quirk == "rotated" else 200)


async def test_secret_checks_the_token_for_free() -> None:
    """A good token is told so, others are refused, nothing is charged."""
    emulator = emulate()
    answer = await owner(emulator).api("GET", "/oauth2/secret")
    assert answer.data is True
    assert "x-ratelimit-userlimit" not in answer.headers
    assert (await anonymous(emulator).api("GET", "/oauth2/secret")).status == 401
    wrong = await Visitor(emulator, "Bearer " + "0" * 40).api("GET", "/oauth2/secret")
    assert wrong.error == "The access token provided is invalid."
    credits_left: Any = (await owner(emulator).api("GET", "/3/credits")).data
    assert credits_left["UserRemaining"] == 499


async def test_nothing_can_be_registered() -> None:
    """The page for new applications sends everybody home."""
    answer = await Visitor(emulate()).api("GET", "/oauth2/addclient")
    assert (answer.status, answer.headers["location"]) == (301, "https://imgur.com/")


async def test_registered_address_is_where_logins_go() -> None:
    """What an application has registered counts; another one in a request is refused.

    As Imgur does, which takes no address but the registered one.
    """
    registered = "http://127.0.0.1:8723/"
    emulator = emulate(callback_url=registered)
    query = asked(emulator, "token")
    for method in ("GET", "POST"):
        answer = await Visitor(emulator).api(
            method, "/oauth2/authorize", params={**query, **LOGIN}
        )
        assert answer.status == 400
        assert answer.error == "The redirect URI provided is missing or does not match"
    for target in ({"redirect_uri": registered}, {}):
        unnamed = {k: v for k, v in query.items() if k != "redirect_uri"}
        answer = await Visitor(emulator).api(
            "POST", "/oauth2/authorize", params={**unnamed, **target, **LOGIN}
        )
        assert answer.headers["location"].startswith(f"{registered}#access_token=")
