"""Who may ask at all: authorization, unknown routes, oversized bodies."""

from __future__ import annotations

from typing import Any

import pytest

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.hosts.call import FORM_BYTES_MAX, LINGER_BYTES_MAX
from tests.support.emulated import ManualClock, Visitor, emulate, owner


@pytest.mark.parametrize(
    "path",
    ["/3/account/me", "/3/account/me/images", "/3/credits", "/3/account/sample"],
)
async def test_no_authorization(path: str, dialect: Dialect) -> None:
    """Without any authorization these are 401."""
    answer = await Visitor(emulate(dialect=dialect)).api("GET", path)
    assert (answer.status, answer.error) == (401, "Authentication required")
    assert answer.json["data"] == {
        "error": "Authentication required",
        "request": path,
        "method": "GET",
    }
    assert answer.json["status"] == 401


async def test_album_without_authorization_is_the_errors_list() -> None:
    """GET album has its own shape: no data, no success, a string code."""
    answer = await Visitor(emulate()).api("GET", "/3/album/zzzzzzz")
    assert answer.status == 401
    assert sorted(answer.json) == ["errors"]
    item = answer.json["errors"][0]
    assert item["code"] == "401"
    assert item["status"] == "Unauthorized"
    assert item["detail"] == "The requester is not authorized to access the resource."


async def test_image_without_authorization_depends_on_the_dialect() -> None:
    """The new back-end shows an image to anybody, the legacy one does not."""
    for dialect, status in ((Dialect.NEW, 200), (Dialect.LEGACY, 401)):
        emulator = emulate(dialect=dialect)
        image_id = next(iter(emulator.world.images))
        answer = await Visitor(emulator).api("GET", f"/3/image/{image_id}")
        assert answer.status == status


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "The access token was not found."),
        ("Bearer ", "Malformed auth header"),
        ("Basic abc", "Malformed auth header"),
        ("Client-ID nonsense", "Invalid client_id"),
        ("Bearer nonsense", "The access token provided is invalid."),
    ],
)
async def test_bad_authorization_is_403(header: str, message: str) -> None:
    """The legacy back-end says what is wrong with the header."""
    answer = await Visitor(emulate(), header).api("GET", "/3/account/me")
    assert (answer.status, answer.error) == (403, message)


async def test_bad_token_is_401_in_the_new_dialect() -> None:
    """The new back-end says Unauthorized in the errors list."""
    visitor = Visitor(emulate(dialect=Dialect.NEW), "Bearer nonsense")
    answer = await visitor.api("GET", "/3/account/me")
    assert answer.status == 401
    assert answer.json["errors"][0]["code"] == "401"
    assert answer.headers["content-type"].startswith("application/vnd.imgur.v1+json")


async def test_tokens_expire_on_the_emulators_clock() -> None:
    """A refreshed token lives as long as it was said to."""
    clock = ManualClock()
    emulator = emulate(clock, token_lifetime_s=60)
    known = emulator.credentials
    fields = {
        "grant_type": "refresh_token",
        "client_id": known.client_id,
        "client_secret": known.client_secret,
        "refresh_token": known.refresh_token,
    }
    token = (await Visitor(emulator).api("POST", "/oauth2/token", data=fields)).json
    assert token["expires_in"] == 60
    visitor = Visitor(emulator, "Bearer " + token["access_token"])
    clock.time_s += 59
    assert (await visitor.api("GET", "/3/account/me")).status == 200
    clock.time_s += 1
    assert (await visitor.api("GET", "/3/account/me")).status == 403


async def test_query_parameters_authorize_too() -> None:
    """access_token and client_id in the query stand for the header."""
    emulator = emulate()
    known = emulator.credentials
    visitor = Visitor(emulator)
    me = await visitor.api(
        "GET", "/3/account/me", params={"access_token": known.access_token}
    )
    assert me.status == 200
    other = await visitor.api(
        "GET", "/3/account/sample", params={"client_id": known.client_id}
    )
    assert other.status == 200
    log = str(emulator.observations.log_entries())
    assert known.access_token not in log


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/3/nothing"), ("PATCH", "/3/album"), ("GET", "/"), ("GET", "/3/image")],
)
async def test_unknown_routes_are_a_page(method: str, path: str) -> None:
    """What does not exist is answered with HTML and 404."""
    answer = await owner(emulate()).api(method, path)
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert b"simple 404 page" in answer.body


async def test_dialects_differ_in_slashes_and_link_endings() -> None:
    """Legacy escapes slashes and says .jpg; new does not and says .jpeg."""
    for dialect, expected in ((Dialect.LEGACY, b".jpg"), (Dialect.NEW, b".jpeg")):
        emulator = emulate(dialect=dialect)
        answer = await owner(emulator).api("GET", "/3/account/me/images")
        assert (b"\\/" in answer.body) is (dialect is Dialect.LEGACY)
        assert expected in answer.body
        assert b": " not in answer.body.replace(b"\\/", b"/")
        assert b"\n" not in answer.body


async def test_oversized_body_is_a_page() -> None:
    """The proxy in front refuses with HTML and closes; the rest is thrown away."""
    emulator = emulate()
    piece = {"type": "http.request", "body": bytes(1 << 20), "more_body": True}
    received = refused_after = 0
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        nonlocal received
        received += 1
        return piece

    async def send(message: object) -> None:
        nonlocal refused_after
        refused_after = refused_after or received
        sent.append(message)

    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "path": "/3/image", "headers": form}
    await emulator.api(scope, receive, send)
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert sent[1]["body"].startswith(b"<html>")
    assert refused_after == FORM_BYTES_MAX // (1 << 20) + 1
    # Then it is patient, so that the client comes to read, but not for ever.
    assert received - refused_after == LINGER_BYTES_MAX // (1 << 20)
    assert not sent[-1]["more_body"]
