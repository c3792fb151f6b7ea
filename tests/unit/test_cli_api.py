"""``imgurfs api``: what it understands, refuses, sends, pages and prints."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgurfs.api import wire
from imgurfs.cli.api import is_irrevocable, page_places, understand, walk
from imgurfs.errors import OutageError, UsageError
from imgurfs.model import Lane, RequestClass, RequestKind
from tests.support.processes import Place, fill, place


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An emulator with one album of two images, and a configuration logged in."""
    with place(tmp_path_factory.mktemp("api")) as found:
        yield found


# --- Understanding ------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("/3/account/me", "/3/account/me"),
        ("3/account/me", "/3/account/me"),
        ("account/me", "/3/account/me"),
        ("gallery/search?q=kaffee müde", "/3/gallery/search?q=kaffee%20m%C3%BCde"),
        ("album/a%2Fb", "/3/album/a%2Fb"),
        ("/post/v1/albums/x", "/post/v1/albums/x"),
    ],
)
def test_routes_may_be_short(typed: str, sent: str) -> None:
    """Without the first slash a route is below /3/; what is not ASCII is encoded."""
    assert understand("get", typed, typed=[], raw=[]).route == sent


@pytest.mark.parametrize(
    "route",
    [
        "https://evil.test/3/account/me",
        "//evil.test/x",
        "/3/../oauth2/token",
        "/3/%2e%2e/x",
        "/oauth2/token",
        "/%6fauth2/token",
        "/3/image/x#y",
    ],
)
def test_routes_that_are_none(route: str) -> None:
    """Addresses, ways up and tokens are refused before anything is opened."""
    with pytest.raises(UsageError):
        understand("GET", route, typed=[], raw=[])


def test_fields_are_text_files_or_pictures(tmp_path: Path) -> None:
    """-F reads @FILE, as a picture for image and as text elsewhere; -f does not."""
    notes, cat = tmp_path / "notes.txt", tmp_path / "cat.png"
    notes.write_text("sailing at dawn")
    cat.write_bytes(b"\x89PNG")
    question = understand(
        "POST",
        "image",
        typed=[f"image=@{cat}", f"description=@{notes}", "title=a=b"],
        raw=["title=@home"],
    )
    assert question.fields == (
        ("description", "sailing at dawn"),
        ("title", "a=b"),
        ("title", "@home"),
    )
    assert question.file is not None
    assert (question.file.name, question.file.size_bytes) == ("image", 4)


@pytest.mark.parametrize(
    "typed",
    [
        ["novalue"],
        ["=x"],
        ["image=@missing.png"],
        ["image=@."],
        ["title=@missing.txt"],
        ["title=@{blob}"],
        ["image=@{blob}", "video=@{blob}"],
        ["_method=DELETE"],
    ],
)
def test_fields_that_are_none(typed: list[str], tmp_path: Path) -> None:
    """What cannot be sent is a usage error."""
    blob = tmp_path / "blob"
    blob.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError):
        understand(
            "POST", "image", typed=[it.format(blob=blob) for it in typed], raw=[]
        )


def test_files_go_where_pictures_are_uploaded(tmp_path: Path) -> None:
    """No other endpoint takes a file, nor does a GET."""
    blob = tmp_path / "blob"
    blob.write_bytes(b"x")
    for method, route in (("POST", "album"), ("GET", "image"), ("PUT", "upload")):
        with pytest.raises(UsageError, match="does not take a file"):
            understand(method, route, typed=[f"image=@{blob}"], raw=[])


@pytest.mark.parametrize(
    ("method", "route", "kind"),
    [
        ("GET", "/3/image", RequestKind.READ),
        ("POST", "/3/image", RequestKind.UPLOAD),
        ("POST", "/3/UPLOAD.json?x=1", RequestKind.UPLOAD),
        ("POST", "/3/%69mage/", RequestKind.UPLOAD),
        ("POST", "/3/image/abc1234", RequestKind.CHANGE),
        ("PUT", "/3/image", RequestKind.CHANGE),
        ("DELETE", "/3/album/abc1234", RequestKind.CHANGE),
    ],
)
def test_what_a_call_costs(method: str, route: str, kind: RequestKind) -> None:
    """A POST to where pictures go is an upload to the budget, however it is written."""
    request = wire.any_call(method, route, fields=[("a", "b")], lane=Lane.INTERACTIVE)
    cost = RequestClass(kind, Lane.INTERACTIVE, is_post=method == "POST")
    assert request.cost == cost


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("DELETE", "/3/account/me"),
        ("DELETE", "/3/account/me/image/abc1234"),
        ("DELETE", "/3/Account/me/"),
        ("DELETE", "/3//account/me"),
        ("DELETE", "/3/%61ccount/me"),
        ("DELETE", "/3/%2561ccount/me"),
        ("POST", "/3/account/me/delete"),
        ("POST", "/3/account/me/delete.json?x=1"),
        ("PUT", "/3/account/me/DELETE/"),
    ],
)
def test_what_cannot_be_undone(method: str, route: str) -> None:
    """Every way of writing the calls that delete an account is recognised."""
    assert is_irrevocable(method, route)


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("GET", "/3/account/me"),
        ("POST", "/3/account/me/settings"),
        ("DELETE", "/3/image/abc1234"),
        ("DELETE", "/3/album/abc1234"),
        ("POST", "/3/album/abc1234/add?x=/account/delete"),
    ],
)
def test_what_needs_no_consent(method: str, route: str) -> None:
    """Everything else is done without being asked twice."""
    assert not is_irrevocable(method, route)


# --- Paging -------------------------------------------------------------------


def test_where_the_page_goes() -> None:
    """At {page}, in place of a number that ends the path, else into the query."""
    per_page = (("perPage", "100"),)
    assert page_places("/3/a/images", ()) == ("/3/a/images", per_page, 0)
    assert page_places("/3/a/images/7", ()) == ("/3/a/images/{page}", per_page, 7)
    assert page_places("/3/a/7.json?x=1", ())[0] == "/3/a/{page}.json?x=1"
    assert page_places("/3/g/{page}/7", ())[0] == "/3/g/{page}/7"
    fields = (("page", "3"), ("perPage", "20"))
    assert page_places("/3/a", fields) == ("/3/a", (("perPage", "20"),), 3)
    with pytest.raises(UsageError):
        page_places("/3/a", (("page", "x"),))


async def test_walk_ends_at_the_empty_page_only() -> None:
    """A short page is not the last one."""
    pages = [[1, 2], [3], [4, 5], [], [6]]
    items: list[object] = []

    async def read(page: int) -> object:
        return pages[page]

    await walk(read, first=0, items=items)
    assert items == [1, 2, 3, 4, 5]


async def test_walk_never_walks_for_ever() -> None:
    """A listing without pages is noticed, and one without an end is left."""

    async def same(_page: int) -> object:
        return ["x"]

    async def endless(page: int) -> object:
        return [page]

    async def no_list(_page: int) -> object:
        return {"id": 1}

    for read in (same, no_list):
        with pytest.raises(UsageError):
            await walk(read, first=0, items=[])
    with pytest.raises(OutageError):
        await walk(endless, first=0, items=[])


# --- Against an emulator ------------------------------------------------------


def admin(at: Place, what: str, body: object = None) -> Any:
    """Ask or tell the emulator's admin view."""
    request = urllib.request.Request(
        f"{at.emulator['api_url']}/_emulator/{what}",
        data=None if body is None else json.dumps(body).encode(),
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def api(at: Place, *arguments: str) -> object:
    """Run the command; return the data of the answer it printed as one line."""
    done = at.run("api", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    answer = json.loads(done.stdout)
    assert (answer["success"], answer["status"]) == (True, 200)
    return answer["data"]


def test_an_upload_and_its_album(at: Place) -> None:
    """A picture is uploaded, put into an album, renamed, listed and deleted."""
    fill(at.directory, "cat.png")
    image = api(at, "POST", "image", "-F", "image=@cat.png", "-F", "title=Cat")
    assert isinstance(image, dict)
    image_id = image["id"]
    stored = at.get(f"/3/image/{image_id}")
    assert (stored["title"], stored["name"]) == ("Cat", "cat.png")
    assert stored["size"] == (at.directory / "cat.png").stat().st_size
    album = api(at, "POST", "/3/album", "-F", "title=Two", "-F", f"ids[]={image_id}")
    assert isinstance(album, dict)
    named = api(at, "POST", "upload", "-F", "image=@cat.png", "-F", "name=x")
    assert isinstance(named, dict)
    assert at.get(f"/3/image/{named['id']}")["name"] == "x"
    assert api(at, "DELETE", f"image/{named['id']}") is True
    assert api(at, "put", f"album/{album['id']}", "-f", "title=@home") is True
    assert at.get(f"/3/album/{album['id']}")["title"] == "@home"
    assert at.get(f"/3/album/{album['id']}")["images_count"] == 1
    assert api(at, "DELETE", f"image/{image_id}") is True
    assert at.get(f"/3/album/{album['id']}")["images_count"] == 0


def test_paginate_concatenates(at: Place) -> None:
    """All pages come as one list, whichever way the page is written."""
    ids = at.get("/3/account/me/images/ids")
    assert len(ids) == 2
    route = "account/me/images/ids"
    small = ["-F", "perPage=1"]
    assert api(at, "GET", route, "--paginate", *small) == ids
    assert api(at, "GET", f"{route}/0", "--paginate", *small) == ids
    assert api(at, "GET", route + "/{page}", "--paginate", *small) == ids
    assert api(at, "GET", f"{route}/1", "--paginate", *small) == ids[1:]


def test_paginate_keeps_what_it_read(at: Place) -> None:
    """An error between the pages: what came is printed, the exit code says 75."""
    rule = {"path": "images/ids", "action": "status", "status": 503, "after": 1}
    admin(at, "faults", [rule])
    done = at.run(
        "api", "GET", "account/me/images/ids", "--paginate", "-F", "perPage=1"
    )
    admin(at, "faults", [])
    assert done.returncode == 75
    assert len(json.loads(done.stdout)["data"]) == 1
    assert "only the 1 items" in done.stderr
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["GET", "image/zzzzzzz"], 1, "Unable to find an image"),
        (["GET", "no/such/route"], 1, "404"),
        (["POST", "image", "-F", "image=@c.toml"], 2, "not a file"),
        (["POST", "image", "-F", "title=x"], 1, "No image data"),
        (["FETCH", "image/x"], 2, "FETCH"),
        (["GET", "account/me", "--paginate"], 2, "not a list"),
        (["POST", "album", "--paginate"], 2, "GET"),
        (["DELETE", "account/me"], 2, "--yes"),
        (["POST", "account/me/delete"], 2, "--yes"),
        (["GET", "/3/account/me/images", "--account", "nobody"], 78, "nobody"),
    ],
)
def test_errors_are_short_and_have_their_code(
    arguments: list[str], code: int, words: str, at: Place
) -> None:
    """Nothing on stdout, a line or two on stderr, and the exit code of the table."""
    done = at.run("api", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


def test_without_consent_nothing_is_sent(at: Place) -> None:
    """The account's image goes only with --yes, and only then a request is made."""
    image_id = at.get("/3/account/me/images/ids")[0]
    route = f"account/me/image/{image_id}"
    before = admin(at, "counters")["api_requests"]
    assert at.run("api", "DELETE", route).returncode == 2
    assert admin(at, "counters")["api_requests"] == before
    assert api(at, "DELETE", route, "--yes") is True
    assert image_id not in at.get("/3/account/me/images/ids")


def test_the_budget_is_asked(at: Place) -> None:
    """Every call is in the ledger that all processes share."""
    before = json.loads(at.run("status", "--json").stdout)["budget"]
    api(at, "GET", "account/me")
    after = json.loads(at.run("status", "--json").stdout)["budget"]
    assert before != after


def test_a_terminal_gets_lines_and_no_control_characters(at: Place) -> None:
    """On a terminal JSON is indented, and a title cannot steer the terminal."""
    title = "red \x1b[31m \x9b31m ü"
    album = api(at, "POST", "album", "-F", f"title={title}")
    assert isinstance(album, dict)
    main, other = pty.openpty()
    command = [sys.executable, "-m", "imgurfs", "--config", str(at.config), "api"]
    subprocess.run(
        [*command, "GET", f"album/{album['id']}"],
        env={**at.environ, "PYTHONUTF8": "1"},
        stdout=other,
        check=True,
        timeout=60,
    )
    os.close(other)
    shown = os.read(main, 65_536).decode()
    os.close(main)
    assert shown.count("\n") > 10
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert json.loads(shown)["data"]["title"] == title
