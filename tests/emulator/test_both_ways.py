"""Every fault, in process and over a socket: what a client sees must be the same.

The same requests go to two emulators of one seed, one behind SimTransport, one in a
process of its own. Answers, error classes and the state afterwards are compared with
each other, and with what the fault promises. Real time on both sides: waits are short.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import httpx
import pytest
import trio

from imgurfs.emulator.app import Emulator, build
from imgurfs.emulator.clock import SystemClock
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.world import pictures
from tests.emulator.conftest import COMMAND, ServerProcess
from tests.support.bothways import Outcome, Side, until
from tests.support.simtransport import SimTransport

API, CDN = "http://api.imgur.test", "http://i.imgur.test"
#: Long enough for any answer; what never comes is waited for briefly.
TIMEOUT_S, BRIEF_S = 10.0, 0.25
PNG = pictures.draw_picture("x", number=1, kind="png", width=16, height=16)
NEVER = ("hang", "stall", "delay")


@pytest.fixture(scope="module")
def in_process() -> Emulator:
    """One emulator for the module: its state goes on like the server's."""
    return build(EmulatorConfig(api_url=API, cdn_url=CDN), SystemClock())


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """One server for the module."""
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield ServerProcess(process, process.stdout.readline())
    process.terminate()
    assert process.wait(timeout=10) == 0
    process.stdout.close()


@pytest.fixture
async def sides(
    in_process: Emulator, server: ServerProcess
) -> AsyncIterator[tuple[Side, Side]]:
    """Return both sides, with the same token."""
    facts = server.facts
    token = in_process.credentials.access_token
    assert facts["access_token"] == token
    options: dict[str, Any] = {
        "headers": {"Authorization": "Bearer " + token},
        "timeout": TIMEOUT_S,
        "trust_env": False,
    }
    transport = SimTransport(in_process.api, in_process.cdn)
    images = list(in_process.world.images)
    async with contextlib.AsyncExitStack() as stack:
        inner = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, **options)
        )
        outer = await stack.enter_async_context(httpx.AsyncClient(**options))
        yield (
            Side(inner, API, CDN, images),
            Side(outer, facts["api_url"], facts["cdn_url"], images),
        )


ASKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "look": ("GET", "/3/account/me", {}),
    "list": ("GET", "/3/account/me/images", {}),
    "create": ("POST", "/3/album", {"data": {"title": "Made {number}"}}),
    "upload": ("POST", "/3/image", {"files": {"image": ("a.png", PNG)}}),
    "picture": ("GET", "/{image}.jpg", {}),
    "head": ("HEAD", "/{image}.jpg", {}),
    "range": ("GET", "/{image}.jpg", {"headers": {"Range": "bytes=100-299"}}),
    "thumbnail": ("GET", "/{image}m.jpg", {}),
}
CDN_ASKS = ("picture", "head", "range", "thumbnail")
API_ASKS = ("look", "list", "create", "upload")

Case = tuple[str, dict[str, Any], str]


def _cases() -> Iterator[Case]:
    """Yield (request, rule, what it must come to: a status or an error)."""
    for ask in API_ASKS:
        for shape in "ABCDEFG":
            yield ask, {"action": "status", "status": 403, "shape": shape}, "403"
        yield ask, {"action": "status_after", "status": 502, "message": "m"}, "502"
        yield ask, {"action": "html", "status": 503}, "503"
        yield ask, {"action": "reset_before"}, "ReadError"
        yield ask, {"action": "reset_after"}, "ReadError"
        yield ask, {"action": "hang"}, "ReadTimeout"
        for body in ({"after_bytes": 0}, {"after_bytes": 7}):
            yield ask, {"action": "truncate", **body}, "RemoteProtocolError"
        yield ask, {"action": "stall", "after_bytes": 7}, "ReadTimeout"
    yield "look", {"action": "truncate", "fraction": 0.5}, "RemoteProtocolError"
    yield "look", {"action": "stall", "fraction": 0.5}, "ReadTimeout"
    yield "look", {"action": "stall", "after_bytes": 0}, "ReadTimeout"
    for ask in CDN_ASKS:
        yield ask, {"action": "status", "status": 503, "body": "x"}, "503"
        yield ask, {"action": "html", "status": 200}, "200"
        yield ask, {"action": "reset_before"}, "ReadError"
        yield ask, {"action": "reset_after"}, "ReadError"
        yield ask, {"action": "removed"}, "302"
        yield ask, {"action": "placeholder"}, "206" if ask == "range" else "200"
        for size in ({"after_bytes": 50}, {"after_bytes": 90_000}, {"fraction": 0.9}):
            yield ask, {"action": "wrong_size", **size}, "200"
        if ask != "head":
            yield ask, {"action": "hang"}, "ReadTimeout"
            yield ask, {"action": "truncate", "fraction": 0.4}, "RemoteProtocolError"
            yield ask, {"action": "stall", "fraction": 0.4}, "ReadTimeout"
            yield ask, {"action": "slow", "bytes_per_s": 200_000}, "2"
    yield "look", {"action": "delay", "delay_s": 0.05}, "200"
    yield "look", {"action": "delay", "delay_s": 5}, "ReadTimeout"
    yield "look", {"action": "slow", "bytes_per_s": 4000}, "200"
    for answer, seen in (("reset", "ReadError"), ("hang", "ReadTimeout")):
        rule = {"action": "late_commit", "commit_after_s": 0.01, "answer": answer}
        yield "create", rule, seen
    rule = {"action": "late_commit", "commit_after_s": 0.01, "answer": "status"}
    yield "create", {**rule, "status": 504, "shape": "E"}, "504"


CASES = list(_cases())


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{a}-{r['action']}" for a, r, _ in CASES]
)
async def test_a_fault_looks_the_same(sides: tuple[Side, Side], number: int) -> None:
    """Status, headers, body or error class are equal, and so is what was changed."""
    ask, rule, expected = CASES[number]
    host = "cdn" if ask in CDN_ASKS else "api"
    seen: dict[Side, tuple[Outcome, int, Any]] = {}

    async def observe(side: Side) -> None:
        seen[side] = await _observe(side, ask, {"host": host, **rule}, number=number)

    async with trio.open_nursery() as nursery:
        for side in sides:
            nursery.start_soon(observe, side)
    assert seen[sides[0]] == seen[sides[1]]
    outcome, acted, _ = seen[sides[0]]
    assert acted == 1
    assert (outcome.error or str(outcome.status)).startswith(expected)


async def _observe(
    side: Side, ask: str, rule: dict[str, Any], *, number: int
) -> tuple[Outcome, int, Any]:
    method, url, options = ASKS[ask]
    url = url.format(image=side.images[0])
    if "data" in options:
        options = {"data": {"title": f"Made {number}"}}
    is_brief = rule["action"] in NEVER or rule.get("answer") == "hang"
    options = {**options, "timeout": BRIEF_S if is_brief else TIMEOUT_S}
    await side.rules(rule)
    outcome = await side.ask(method, url, **options)
    faults = (await side.admin("faults"))[0]
    await side.rules()
    if rule["action"] == "late_commit":
        await until(lambda: side.has_album(f"Made {number}"))
    return outcome, faults["acted"], await side.state()


@pytest.mark.parametrize(
    ("action", "is_made"),
    [
        ("status", False),
        ("html", False),
        ("hang", False),
        ("reset_before", False),
        ("status_after", True),
        ("reset_after", True),
        ("truncate", True),
        ("stall", True),
    ],
)
async def test_what_is_done_before_and_after(
    sides: tuple[Side, Side], action: str, is_made: bool
) -> None:
    """Some faults lose the request, some only the answer."""
    title = f"commit {action}"
    cut = {"after_bytes": 3} if action in {"truncate", "stall"} else {}
    for side in sides:
        await side.rules({"action": action, "method": "POST", "path": "^/3/", **cut})
        wait_s = BRIEF_S if action in NEVER else TIMEOUT_S
        await side.ask("POST", "/3/album", data={"title": title}, timeout=wait_s)
        assert await side.has_album(title) is is_made
        await side.rules()


async def test_slow_bodies_are_whole_and_slow(sides: tuple[Side, Side]) -> None:
    """The rate is kept, and nothing is missing."""
    for side in sides:
        path = f"/{side.images[0]}.jpg"
        whole = await side.ask("GET", path)
        rate = len(whole.body) / 0.3
        await side.rules({"action": "slow", "host": "cdn", "bytes_per_s": rate})
        begun = trio.current_time()
        assert await side.ask("GET", path) == whole
        assert 0.28 <= trio.current_time() - begun < 2
        await side.rules()


async def test_removed_leads_to_the_picture_that_says_so(
    sides: tuple[Side, Side],
) -> None:
    """The redirect goes to removed.png, which is there even under the same rule."""
    seen = []
    for side in sides:
        await side.rules({"action": "removed", "host": "cdn"})
        gone = await side.ask("GET", f"/{side.images[0]}.jpg")
        assert gone.headers["location"] == "CDN/removed.png"
        seen.append(await side.ask("GET", "/removed.png"))
        await side.rules()
    assert seen[0] == seen[1]
    digest = hashlib.md5(seen[0].body, usedforsecurity=False).hexdigest()
    assert (seen[0].status, seen[0].headers["etag"]) == (200, f'"{digest}"')


async def test_the_placeholder_is_the_same_for_all(sides: tuple[Side, Side]) -> None:
    """A success with a PNG of 336×478 that is nobody's picture, wherever one asks."""
    seen = []
    for side in sides:
        await side.rules({"action": "placeholder", "host": "cdn"})
        answers = [await side.ask("GET", f"/{it}.jpg") for it in side.images[:3]]
        assert answers[0].body == answers[1].body == answers[2].body
        seen.append(answers[0])
        await side.rules()
    assert seen[0] == seen[1]
    assert (seen[0].status, seen[0].headers["content-type"]) == (200, "image/png")
    assert seen[0].body[16:24] == (336).to_bytes(4, "big") + (478).to_bytes(4, "big")


async def test_wrong_sizes_are_honest_about_their_length(
    sides: tuple[Side, Side],
) -> None:
    """Shorter or longer than the API says, with another ETag; ranges are ignored."""
    for side in sides:
        path = f"/{side.images[0]}.jpg"
        right = await side.ask("GET", path)
        await side.rules({"action": "wrong_size", "host": "cdn", "after_bytes": 10**5})
        wrong = await side.ask("GET", path, headers={"Range": "bytes=0-9"})
        await side.rules()
        assert wrong.status == 200
        assert wrong.headers["content-length"] == str(len(wrong.body)) == "100000"
        assert wrong.body.startswith(right.body)
        assert wrong.headers["etag"] != right.headers["etag"]


async def test_lists_lag(sides: tuple[Side, Side]) -> None:
    """A list does not show the new album at first, and does so after the lag."""
    lag = {"action": "lag", "host": "api", "lag_s": 0.6, "method": "GET"}
    for side in sides:
        await side.rules(lag)
        made = await side.ask("POST", "/3/album", data={"title": "behind"})
        path = "/3/account/me/albums?perPage=1"
        first = await side.ask("GET", path)
        assert b"behind" not in first.body
        direct = json.loads(made.body)["data"]["id"]
        assert (await side.ask("GET", f"/3/album/{direct}")).status == 200
        await until(partial(_lists, side, path, b"behind"))
        await side.rules()
    states = [await side.state() for side in sides]
    assert states[0] == states[1]


async def _lists(side: Side, path: str, text: bytes) -> bool:
    return text in (await side.ask("GET", path)).body


async def test_late_commits_are_late(sides: tuple[Side, Side]) -> None:
    """The refusal comes at once, the album only when it is due."""
    rule = {"action": "late_commit", "host": "api", "method": "POST", "path": "^/3/"}
    for side in sides:
        wait = {"commit_after_s": 0.6, "answer": "status", "status": 503}
        await side.rules({**rule, **wait})
        refused = await side.ask("POST", "/3/album", data={"title": "late"})
        assert refused.status == 503
        assert not await side.has_album("late")
        await until(partial(side.has_album, "late"))
        await side.rules()


async def test_another_device_edits_by_script(sides: tuple[Side, Side]) -> None:
    """Its requests happen at their time, with names resolved then."""
    script = [
        {"at_s": 0.01, "method": "post", "path": "/3/album", "fields": {"title": "X"}},
        {
            "at_s": 0.02,
            "method": "POST",
            "path": "/3/album/{album:X}/add",
            "fields": {"ids": "{image:Lighthouse}"},
        },
        {"at_s": 0.03, "method": "DELETE", "path": "/3/album/{album:nobody's}"},
    ]
    counts = [await _let_happen(side, *script) for side in sides]
    assert counts == [[(1, 0), (1, 0), (1, 1)]] * 2
    states = [await side.state() for side in sides]
    assert states[0] == states[1]
    made = next(it for it in states[0]["albums"] if it["title"] == "X")
    titles = {it["id"]: it["title"] for it in states[0]["images"]}
    assert [titles[it] for it in made["images"]] == ["Lighthouse"]


async def _let_happen(side: Side, *script: dict[str, Any]) -> list[tuple[int, int]]:
    await side.rules(*({"action": "edit", **edit} for edit in script))
    await until(partial(_have_acted, side, 1))
    faults = await side.admin("faults")
    await side.rules()
    return [(it["acted"], it["refused"]) for it in faults]


async def _have_acted(side: Side, times: int) -> bool:
    return all(it["acted"] >= times for it in await side.admin("faults"))


async def test_another_device_edits_at_random(sides: tuple[Side, Side]) -> None:
    """The same seed makes the same edits in both, whenever somebody looks."""
    rule = {"action": "edits", "per_hour": 100_000, "seed": 5, "count": 40}
    before = await sides[0].state()
    states = []
    for side in sides:
        await side.rules(rule)
        await until(partial(_have_acted, side, 40), timeout_s=20)
        assert (await side.admin("faults"))[0]["acted"] == 40
        await side.rules()
        states.append(await side.state())
    assert states[0] == states[1] != before


async def test_others_spend_the_applications_credits(sides: tuple[Side, Side]) -> None:
    """What is left of the day goes down by itself, besides what the user spends."""
    for side in sides:
        await side.rules({"action": "spend", "per_hour": 100_000, "seed": 2})
        first = await _credits(side)
        await until(partial(_others_have_spent, side, first))
        await side.rules()
        left = await _credits(side)
        again = await _credits(side)
        assert (left[0] - again[0], left[1] - again[1]) == (1, 1)


async def _credits(side: Side) -> tuple[int, int]:
    data = json.loads((await side.ask("GET", "/3/credits")).body)["data"]
    return data["UserRemaining"], data["ClientRemaining"]


async def _others_have_spent(side: Side, first: tuple[int, int]) -> bool:
    user, client = await _credits(side)
    return first[1] - client >= first[0] - user + 3


async def test_both_have_counted_the_same_faults(sides: tuple[Side, Side]) -> None:
    """The counters of the admin view agree, and every action acted."""
    counted = [(await side.admin("counters"))["faults"] for side in sides]
    # How often one polled is up to the clock.
    for faults in counted:
        faults.pop("lag", None)
    assert counted[0] == counted[1]


def test_outcomes_are_compared_field_by_field() -> None:
    """Two outcomes that differ in anything are not equal."""
    same = Outcome(200, {"a": "b"}, b"x", "")
    for name, value in {"status": 1, "headers": {}, "body": b"", "error": "e"}.items():
        assert Outcome(**{**asdict(same), name: value}) != same
