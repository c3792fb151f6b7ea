"""Faults in process: each action, each way to choose requests, bad rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from imgurfs.emulator.trouble.faultrules import (
    Action,
    FaultFileError,
    FaultRule,
    load_rules,
    parse_rules,
)
from tests.support.emulated import Answer, ManualClock, Visitor, emulate, owner


def visit(*rules: dict[str, Any], clock: ManualClock | None = None) -> Visitor:
    """Return the owner of an emulator with these rules."""
    emulator = emulate(clock)
    emulator.faults.replace(parse_rules(list(rules), source="test"))
    return owner(emulator)


async def me(visitor: Visitor) -> Answer:
    """Make a cheap call."""
    return await visitor.api("GET", "/3/account/me")


@pytest.mark.parametrize("shape", list("ABCDF"))
async def test_status_in_every_shape(shape: str) -> None:
    """An error answer of any shape, without costing credits."""
    visitor = visit(
        {
            "action": "status",
            "count": 1,
            "status": 403,
            "shape": shape,
            "message": "over capacity",
            "headers": {"retry-after": "0"},
        }
    )
    answer = await me(visitor)
    assert answer.status == 403
    assert "over capacity" in json.dumps(answer.json)
    assert answer.headers["retry-after"] == "0"
    assert ("errors" in answer.json) is (shape == "C")
    assert (await me(visitor)).headers["x-ratelimit-userremaining"] == "499"


async def test_status_with_a_given_body() -> None:
    """A body may be given as text, with its type."""
    rule = {"action": "status", "status": 503, "body": "<x>", "content_type": "text/x"}
    answer = await me(visit(rule))
    assert (answer.status, answer.body) == (503, b"<x>")
    assert answer.headers["content-type"] == "text/x; charset=utf-8"


async def test_html_page_with_status_200() -> None:
    """A page may come with success."""
    answer = await me(visit({"action": "html", "status": 200}))
    assert answer.status == 200
    assert b"over capacity" in answer.body
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("rule", "expected"), [({"after_bytes": 100}, 100), ({"fraction": 0.5}, None)]
)
async def test_truncated_body_keeps_its_length_header(
    rule: dict[str, Any], expected: int | None
) -> None:
    """The whole length is promised, less arrives, the connection ends."""
    visitor = visit({"action": "truncate", "host": "cdn", **rule})
    image = next(iter(visitor.emulator.world.images.values()))
    answer = await visitor.cdn(f"/{image.id}.jpg")
    size = image.content.size_bytes
    assert answer.dropped
    assert answer.headers["content-length"] == str(size)
    assert len(answer.body) == (size // 2 if expected is None else expected)
    assert (await me(visitor)).status == 200


async def test_truncation_beyond_the_end_still_breaks() -> None:
    """A cut after more bytes than there are leaves a complete, broken answer."""
    answer = await me(visit({"action": "truncate", "after_bytes": 10**9}))
    assert answer.dropped
    assert answer.json["success"] is True


async def test_hang_never_answers(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing comes, however long one waits."""
    visitor = visit({"action": "hang"})
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/3/account/me", "headers": []}
    with trio.move_on_after(86_400) as waited:
        await visitor.emulator.api(scope, receive, send)
    assert waited.cancelled_caught
    assert sent == []


async def test_delay_waits_on_the_emulators_clock() -> None:
    """The right answer comes later."""
    clock = ManualClock()
    before = clock.now()
    answer = await me(visit({"action": "delay", "delay_s": 90}, clock=clock))
    assert answer.status == 200
    assert clock.now() - before == 90


@pytest.mark.parametrize(("action", "made"), [("reset_before", 0), ("reset_after", 1)])
async def test_resets_around_the_commit(action: str, made: int) -> None:
    """Both look the same to the client; one has created the album."""
    visitor = visit({"action": action, "method": "post", "path": "/album"})
    before = len(visitor.emulator.world.albums)
    answer = await visitor.api("POST", "/3/album", data={"title": "t"})
    assert answer.dropped
    assert answer.status == 0
    assert len(visitor.emulator.world.albums) == before + made


async def statuses(visitor: Visitor, number: int) -> str:
    """Return one character per call: x for the fault, . for an answer."""
    marks = [(await me(visitor)).status for _ in range(number)]
    return "".join("x" if status == 500 else "." for status in marks)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, "xxxxxx"),
        ({"nth": 3}, "..x..."),
        ({"count": 2}, "xx...."),
        ({"after": 4}, "....xx"),
        ({"after": 1, "count": 2}, ".xx..."),
        ({"probability": 0}, "......"),
        ({"method": "POST"}, "......"),
        ({"host": "cdn"}, "......"),
        ({"host": "api", "path": "^/3/account"}, "xxxxxx"),
        ({"path": "^/account"}, "......"),
    ],
)
async def test_choosing_requests(choice: dict[str, Any], expected: str) -> None:
    """Which of six equal calls go wrong."""
    assert await statuses(visit({"action": "status", **choice}), 6) == expected


async def test_probability_is_replayable_by_seed() -> None:
    """The same seed fails the same calls; another seed others."""
    rule = {"action": "status", "probability": 0.5, "seed": 7}
    first = await statuses(visit(rule), 40)
    assert first == await statuses(visit(rule), 40)
    assert first != await statuses(visit({**rule, "seed": 8}), 40)
    assert {"x", "."} == set(first)


async def test_first_due_rule_acts_alone() -> None:
    """Rules are tried in order; one that is spent lets the next act."""
    visitor = visit(
        {"action": "status", "status": 502, "count": 1},
        {"action": "status", "status": 503, "count": 1},
    )
    assert [(await me(visitor)).status for _ in range(3)] == [502, 503, 200]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "action is missing"),
        ([], "expected an object"),
        ({"action": "explode"}, "explode"),
        ({"action": "hang", "hosts": "api"}, "unknown key 'hosts'"),
        ({"action": "hang", "host": "web"}, "host must be one of"),
        ({"action": "hang", "path": "("}, "not a regular expression"),
        ({"action": "hang", "nth": -1}, "nth must be a whole number"),
        ({"action": "hang", "count": 1.5}, "count must be a whole number"),
        ({"action": "hang", "probability": 2}, "probability must be a number"),
        ({"action": "hang", "method": 3}, "method must be text"),
        ({"action": "delay"}, "needs delay_s"),
        ({"action": "delay", "delay_s": -1}, "delay_s must be"),
        ({"action": "truncate"}, "needs after_bytes or fraction"),
        ({"action": "truncate", "after_bytes": 1, "fraction": 0.1}, "not both"),
        ({"action": "status", "status": 99}, "status must be"),
        ({"action": "status", "shape": "Z"}, "Z"),
        ({"action": "status", "headers": {"a": "b\r\nc"}}, "headers must be"),
        ({"action": "status", "content_type": "€"}, "content_type must be"),
        ({"action": ["hang"]}, "unknown action"),
        ({"action": "hang", "delay_s": float("inf")}, "delay_s must be"),
        ({"action": "stall"}, "needs after_bytes or fraction"),
        ({"action": "slow"}, "needs bytes_per_s"),
        ({"action": "slow", "bytes_per_s": 0}, "bytes_per_s must be"),
        ({"action": "lag", "host": "api"}, "needs lag_s"),
        ({"action": "lag", "lag_s": 1}, 'needs host "api"'),
        ({"action": "late_commit", "host": "api"}, "needs commit_after_s"),
        ({"action": "late_commit", "host": "api", "answer": "x"}, "answer must be"),
        ({"action": "removed"}, 'needs host "cdn"'),
        ({"action": "placeholder", "host": "api"}, 'needs host "cdn"'),
        ({"action": "wrong_size", "host": "cdn"}, "needs after_bytes or fraction"),
        ({"action": "spend"}, "needs per_hour"),
        ({"action": "spend", "per_hour": 0}, "per_hour must be"),
        ({"action": "spend", "per_hour": 10**6}, "per_hour must be"),
        ({"action": "spend", "per_hour": 1, "path": "x"}, "unknown key 'path'"),
        ({"action": "edits", "per_hour": 1, "seed": -1}, "seed must be"),
        ({"action": "edit", "at_s": 1, "path": "/3/x"}, "needs method"),
        ({"action": "edit", "at_s": 1, "method": "GET", "path": "/3/x"}, "method of"),
        ({"action": "edit", "at_s": 1, "method": "PUT", "path": "/x"}, "begin with"),
        (
            {"action": "edit", "at_s": 1, "method": "PUT", "path": "/3/x", "fields": 1},
            "fields must be",
        ),
    ],
)
def test_bad_rules_say_what_is_wrong(rule: object, message: str) -> None:
    """The number of the rule and the reason."""
    with pytest.raises(FaultFileError, match=r"f\.json: rule 2: ") as caught:
        parse_rules([{"action": "hang"}, rule], source="f.json")
    assert message in str(caught.value)


def test_rule_files(tmp_path: Path) -> None:
    """A good file is read; a missing, broken or different one is named."""
    path = tmp_path / "faults.json"
    with pytest.raises(FaultFileError, match="No such file"):
        load_rules(path)
    path.write_text("{")
    with pytest.raises(FaultFileError, match="not JSON"):
        load_rules(path)
    path.write_text("{}")
    with pytest.raises(FaultFileError, match="expected a list"):
        load_rules(path)
    path.write_text('[{"action": "hang", "nth": 2}]')
    assert load_rules(path) == (FaultRule(action=Action.HANG, nth=2),)
