"""Noticing what a request changes, and writing it down: without a directory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.types import Message, Receive, Scope, Send

from imgurfs.emulator.world import codec
from imgurfs.emulator.world.content import Content, Stored
from imgurfs.emulator.world.keeping import ChangingHost, Touched, Watched
from imgurfs.emulator.world.world import Album, Image, Settings


def test_codec_writes_and_reads_everything_a_world_has() -> None:
    """Every kind of value comes back equal, and of its type."""
    content = Stored(b"x")
    image = Image(
        id="a",
        deletehash="b",
        owner="",
        content=content,
        type="image/png",
        datetime_s=1,
        title="lone \udce9 \u202e \0",
    )
    values: list[object] = [
        image,
        Album(id="a", deletehash="b", owner="c", datetime_s=1, images={"q": None}),
        Settings(show_mature=True),
        ("a", 1.5, None, True),
        {"a": [1, {"~": 2}], "b": {}},
        {"x", "y"},
        float("inf"),
        {},
    ]

    def unpack(value: object) -> Content:
        assert value == "here"
        return content

    for value in values:
        read = codec.loads(codec.dumps(value, lambda _: "here"), unpack)
        assert (read, type(read)) == (value, type(value))
    for text in ("{", '{"~":"Nothing"}', '{"~":"Image","of":1}'):
        with pytest.raises(codec.CodecError):
            codec.loads(text, unpack)


def test_watched_dictionaries_are_dictionaries() -> None:
    """Whatever is done to one, it is what a plain one would be."""
    watched, plain = Watched("t", {"a": 1, "b": 2}), {"a": 1, "b": 2}
    for it in (watched, plain):
        it["c"] = 3
        it |= {"d": 4}
        it.update(e=5)
        it.setdefault("f", 6)
        it.setdefault("a", 7)
        del it["b"]
        assert it.pop("c") == 3
        assert it.pop("zz", None) is None
        assert it.get("zz") is None
        assert it.popitem() == ("f", 6)
    assert watched == plain == {"a": 1, "d": 4, "e": 5}
    with pytest.raises(KeyError):
        watched.pop("zz")
    watched.clear()
    assert not list(watched.values())


@pytest.mark.parametrize(
    ("look", "noted"),
    [
        (lambda it: it["a"], "a"),
        (lambda it: it.get("b"), "b"),
        (lambda it: it.get("n"), "n"),
        (lambda it: it.update(n=1), "n"),
        (lambda it: it.__setitem__("a", 1), "a"),
        (lambda it: it.__delitem__("a"), "a"),
        (lambda it: it.__ior__({"b": 1}), "b"),
        (lambda it: it.setdefault("n", 1), "n"),
        (lambda it: it.pop("a"), "a"),
        (lambda it: it.popitem(), "b"),
        (lambda it: it.values(), "ab"),
        (lambda it: it.items(), "ab"),
        (lambda it: it.clear(), "ab"),
        (list, ""),
        (len, ""),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_a_changing_request_looks_up_is_kept(
    look: Callable[[Watched], object], noted: str, method: str
) -> None:
    """Every way to reach a thing is noted, and nothing when only looking."""
    table = Watched("t", {"a": 1, "b": 2})
    kept: list[Touched] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        look(table)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Message) -> None:
        # Kept before the answer begins.
        assert bool(kept) is (method == "POST")

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    host = ChangingHost(inner, before=lambda: None, keep=kept.append)
    await host({"method": method, "path": "/3/x"}, receive, send)
    look_ups = {("t", key) for key in noted}
    assert kept == ([look_ups] if method == "POST" else [])
