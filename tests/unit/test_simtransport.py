"""The in-process transport behaves as a socket would."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Self

import httpx
import pytest
import trio
import trio.testing

from imgurfs.emulator.trouble.faults import ConnectionDropped
from tests.support.simtransport import App, Message, SimTransport

URL = "https://api.imgur.test/x"


def client(app: App) -> httpx.AsyncClient:
    """Return a client of one application."""
    return httpx.AsyncClient(transport=SimTransport(app), timeout=10.0)


def answering(
    *pieces: bytes, length: int | None = None, end: Exception | None = None
) -> App:
    """Return an application that sends these pieces and then may fail."""

    async def app(scope: Message, receive: object, send: object) -> None:
        total = sum(map(len, pieces)) if length is None else length
        headers = [(b"content-length", str(total).encode())]
        await send(  # type: ignore[operator]
            {"type": "http.response.start", "status": 200, "headers": headers}
        )
        for piece in pieces:
            await send(  # type: ignore[operator]
                {"type": "http.response.body", "body": piece, "more_body": True}
            )
        if end is not None:
            raise end
        await send({"type": "http.response.body"})  # type: ignore[operator]

    return app


async def test_whole_answer() -> None:
    """Pieces arrive in order and complete."""
    async with client(answering(b"one", b"two")) as http:
        assert (await http.get(URL)).content == b"onetwo"


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (answering(b"one", length=9), httpx.RemoteProtocolError),
        (answering(b"one", length=1), httpx.RemoteProtocolError),
        (
            answering(b"one", end=ConnectionDropped(is_flushed=True), length=9),
            httpx.RemoteProtocolError,
        ),
        (answering(end=ConnectionDropped(is_flushed=False)), httpx.ReadError),
    ],
)
async def test_broken_answers(
    autojump_clock: trio.testing.MockClock,
    app: App,
    expected: type[Exception],
) -> None:
    """A body of the wrong length or a broken connection is never a clean answer."""
    async with client(app) as http:
        with pytest.raises(expected):
            await http.get(URL)


async def test_failing_application(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in the application is a 500 and a logged error, as on a server."""

    async def app(scope: Message, receive: object, send: object) -> None:
        raise ValueError("a bug")

    with caplog.at_level(logging.ERROR):
        async with client(app) as http:
            assert (await http.get(URL)).status_code == 500
    assert "a bug" in caplog.text


async def test_read_timeout(autojump_clock: trio.testing.MockClock) -> None:
    """Silence ends after the read timeout, in virtual time."""

    async def app(scope: Message, receive: object, send: object) -> None:
        await trio.sleep(1000)

    async with client(app) as http:
        start = trio.current_time()
        with pytest.raises(httpx.ReadTimeout):
            await http.get(URL)
        assert trio.current_time() - start == 10


class Endless(httpx.AsyncByteStream):
    """A body without end; no generator, which would need closing."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return b"x" * 1000


async def test_write_timeout(autojump_clock: trio.testing.MockClock) -> None:
    """A server that does not read makes a large body time out."""

    async def app(scope: Message, receive: object, send: object) -> None:
        await trio.sleep(1000)

    async with client(app) as http:
        request = http.build_request("POST", URL)
        del request.headers["Content-Length"]
        request.stream = Endless()
        with pytest.raises(httpx.WriteTimeout):
            await http.send(request)


async def test_short_request_body() -> None:
    """A request shorter than it declares is refused on our side."""
    seen: list[str] = []

    async def app(scope: Message, receive: object, send: object) -> None:
        message = await receive()  # type: ignore[operator]
        while message["type"] != "http.disconnect" and message["more_body"]:
            message = await receive()  # type: ignore[operator]
        seen.append(message["type"])

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"

    async with client(app) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.post(URL, content=body(), headers={"Content-Length": "9"})
        await trio.testing.wait_all_tasks_blocked()
    assert seen == ["http.disconnect"]


async def test_unknown_host() -> None:
    """A host nobody serves refuses the connection."""
    async with client(answering()) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("https://elsewhere.test/")
