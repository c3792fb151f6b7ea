"""The server a browser comes back to: one answer, from its own page only."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from imgurfs import limits
from imgurfs.api.authorize import Answer
from imgurfs.cli.callback import Callback
from imgurfs.errors import (
    DeadlineError,
    ForeignAnswerError,
    LoginNeededError,
    OutageError,
    UnavailableError,
)

IMGUR = "https://api.imgur.test/oauth2/authorize?state=hidden"
ANSWER = Answer("a", "r", 1, 2, "me")


@dataclass
class Waiting:
    """A callback that waits, and what was made of what it got."""

    callback: Callback
    took: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    keeping: trio.Event = field(default_factory=trio.Event)
    may_keep: trio.Event = field(default_factory=trio.Event)
    problem: Exception | None = None
    ended: BaseException | None = None

    @property
    def origin(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.callback.port}"

    async def raw(self, text: bytes) -> bytes:
        """Send bytes and return everything that comes back."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.callback.port)
        async with stream:
            await stream.send_all(text)
            return b"".join([bytes(piece) async for piece in stream])

    async def ask(
        self, method: str, path: str, body: str = "", **headers: str
    ) -> tuple[int, str]:
        """Send a request as a browser would; return status and whole answer."""
        sent = {
            "Host": f"127.0.0.1:{self.callback.port}",
            "Content-Length": str(len(body.encode())),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        text = await self.raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n{body}".encode())
        return int(text.split()[1]), text.decode()

    async def ticket(self) -> str:
        """Open the page and return its ticket."""
        _, page = await self.ask("GET", "/")
        found = re.search(r'"X-Imgurfs-Ticket": "([^"]+)"', page)
        assert found is not None
        return found[1]

    async def post(self, body: str, **headers: str) -> tuple[int, str]:
        """Post as a fresh page does, but for the headers given."""
        known = {"X_Imgurfs_Ticket": await self.ticket(), "Origin": self.origin}
        return await self.ask("POST", "/answer", body, **{**known, **headers})


@asynccontextmanager
async def waiting(timeout_s: float = 60.0) -> AsyncIterator[Waiting]:
    """Run a callback that takes "good", is refused by "denied", and waits for more."""

    def judge(text: str) -> Answer:
        if text == "denied":
            raise LoginNeededError("refused", hint="nothing was changed")
        if text != "good":
            raise ForeignAnswerError("not ours")
        return ANSWER

    async def keep(answer: Answer) -> str:
        found.took.append(answer.account_name)
        found.keeping.set()
        await found.may_keep.wait()
        if found.problem is not None:
            raise found.problem
        return "welcome"

    async def run() -> None:
        try:
            await found.callback.run(timeout_s)
        except Exception as error:  # noqa: BLE001 - the tests look at it
            found.ended = error

    foreign: list[str] = []
    callback = Callback(
        authorize_url=IMGUR,
        judge=judge,
        keep=keep,
        on_foreign=foreign.append,
    )
    found = Waiting(callback, foreign=foreign)
    found.may_keep.set()
    await callback.listen(0)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield found
            nursery.cancel_scope.cancel()


async def test_answer_is_taken_once() -> None:
    """The page's post is kept, the page told, and the server gone."""
    async with waiting() as found:
        status, text = await found.post("good")
        assert (status, text.endswith("welcome")) == (200, True)
        await trio.testing.wait_all_tasks_blocked()
        assert found.took == ["me"]
        assert found.ended is None
        with pytest.raises(OSError, match=r"refused|failed"):
            await found.ask("GET", "/")


async def test_second_answer_while_the_first_is_kept() -> None:
    """While Imgur is asked about the first answer, a second one is told "used"."""
    async with waiting() as found:
        found.may_keep = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.post, "good")
            await found.keeping.wait()
            status, text = await found.post("good")
            assert (status, "used already" in text) == (409, True)
            found.may_keep.set()
        assert found.took == ["me"]


@pytest.mark.parametrize("problem", [OutageError("Imgur is out", hint="later")])
async def test_failure_is_told_to_both_sides(problem: OutageError) -> None:
    """What goes wrong while it is kept ends the login, and the page says so."""
    async with waiting() as found:
        found.problem = problem
        status, text = await found.post("good")
        assert status == 403
        assert text.endswith("Not logged in: Imgur is out. Later.")
        await trio.testing.wait_all_tasks_blocked()
        assert found.ended is problem


async def test_refusal_ends_it() -> None:
    """A refusal by the person is an end as well."""
    async with waiting() as found:
        status, text = await found.post("denied")
        assert (status, "Not logged in: refused" in text) == (403, True)
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(found.ended, LoginNeededError)


async def test_what_is_not_ours_changes_nothing() -> None:
    """Foreign answers are refused and told, and the right one still counts."""
    async with waiting() as found:
        for _ in range(3):
            assert (await found.post("who knows"))[0] == 400
        assert found.foreign == ["not ours"] * 3
        assert found.took == []
        assert (await found.post("good"))[0] == 200


async def test_only_its_own_page_posts() -> None:
    """No ticket, a used one, another origin or host: refused before it is read."""
    async with waiting() as found:
        port = found.callback.port
        ticket = await found.ticket()
        own = {"Origin": found.origin, "X_Imgurfs_Ticket": ticket}
        for wrong in (
            {"Origin": "http://evil.test"},
            {"Origin": "null"},
            {"Origin": f"https://127.0.0.1:{port}"},
            {"X_Imgurfs_Ticket": ""},
            {"X_Imgurfs_Ticket": "x" * 32},
        ):
            assert (await found.ask("POST", "/answer", "good", **own | wrong))[0] == 403
        for host in ("evil.test", f"evil.test:{port}", "127.0.0.1", "127.0.0.1:1"):
            assert (await found.ask("POST", "/answer", "good", Host=host, **own))[
                0
            ] == 421
            assert (await found.ask("GET", "/", Host=host))[0] == 421
        assert (await found.ask("POST", "/answer", "bad", **own))[0] == 400
        assert (await found.ask("POST", "/answer", "good", **own))[0] == 403
        assert found.took == []


async def test_page_is_locked_down() -> None:
    """The page runs its own script only, is kept nowhere and framed by nobody."""
    async with waiting() as found:
        _, page = await found.ask("GET", "/some/callback?x=1")
        head, _, body = page.partition("\r\n\r\n")
        nonce = re.findall(r"script-src 'nonce-([^']+)'", head)[0]
        assert f'<script nonce="{nonce}">' in body
        assert "default-src 'none'" in head
        assert "frame-ancestors 'none'" in head
        assert "Cache-Control: no-store" in head
        assert "Referrer-Policy: no-referrer" in head
        assert head.lower().count("content-security-policy") == 1
        assert "hidden" not in page
        _, other = await found.ask("GET", "/")
        assert nonce not in other
        assert not re.search(r"(src|href)=", body)


async def test_start_address_leads_to_imgur_once() -> None:
    """The address that other users may see in the process list is spent by its use."""
    async with waiting() as found:
        path = found.callback.start_url.removeprefix(found.origin)
        assert "hidden" not in path
        assert (await found.ask("GET", path + "x"))[0] == 410
        status, text = await found.ask("GET", path)
        assert (status, f"Location: {IMGUR}" in text) == (302, True)
        status, text = await found.ask("GET", path)
        assert (status, "hidden" in text) == (410, False)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"DELETE / HTTP/1.1\r\nHost: HERE\r\n\r\n", b"405"),
        (b"GET /favicon.ico HTTP/1.1\r\nHost: HERE\r\n\r\n", b"404"),
        (
            b"POST /answer HTTP/1.1\r\nHost: HERE\r\nContent-Length: 9000\r\n\r\n"
            + b"x" * 9000,
            b"413",
        ),
    ],
)
async def test_nonsense_is_answered_and_forgotten(text: bytes, status: bytes) -> None:
    """What no browser sends gets a refusal, and the login goes on."""
    async with waiting() as found:
        here = f"127.0.0.1:{found.callback.port}".encode()
        assert (await found.raw(text.replace(b"HERE", here))).split()[1] == status
        assert (await found.post("good"))[0] == 200


async def _send_without_end(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"x" * 65_536)


async def test_endless_head_is_cut_off() -> None:
    """A head without end is not collected in memory, and the login goes on."""
    async with waiting() as found:
        stream = await trio.open_tcp_stream("127.0.0.1", found.callback.port)
        with pytest.raises(trio.BrokenResourceError):
            await _send_without_end(stream)
        await stream.aclose()
        assert (await found.post("good"))[0] == 200


async def test_silent_peers_do_not_stand_in_the_way() -> None:
    """Connections that say nothing are dropped beyond a number; a browser gets in."""
    async with waiting() as found:
        port = found.callback.port
        silent = [
            await trio.open_tcp_stream("127.0.0.1", port)
            for _ in range(limits.CALLBACK_CONNECTIONS_MAX + 5)
        ]
        await trio.testing.wait_all_tasks_blocked()
        for one in silent[:10]:
            await one.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await found.post("good"))[0] == 200
        for one in silent:
            await one.aclose()


async def test_slow_peer_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """A request that does not come to its end is refused after a while."""
    assert autojump_clock.autojump_threshold == 0
    callback = Callback(authorize_url=IMGUR, judge=lambda _: ANSWER, keep=_never)
    ours, theirs = trio.testing.memory_stream_pair()
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(callback.serve, theirs)
        await ours.send_all(b"GET / HTTP/1.1\r\nHost:")
        assert b" 400 " in await ours.receive_some()
    assert trio.current_time() - began_s == limits.CALLBACK_REQUEST_S


async def _never(_: Answer) -> str:
    raise AssertionError("nothing was to be kept")


async def test_it_waits_so_long(autojump_clock: trio.testing.MockClock) -> None:
    """Without an answer it ends in time, and says how to go on."""
    assert autojump_clock.autojump_threshold == 0
    callback = Callback(authorize_url=IMGUR, judge=lambda _: ANSWER, keep=_never)
    await callback.listen(0)
    began_s = trio.current_time()
    with pytest.raises(DeadlineError, match="within 300 s") as caught:
        await callback.run(300.0)
    assert trio.current_time() - began_s == 300.0
    assert "--paste" in caught.value.hint


async def test_taken_port_is_named() -> None:
    """A port in use is told with the way out."""
    async with waiting() as found:
        other = Callback(authorize_url=IMGUR, judge=lambda _: ANSWER, keep=_never)
        with pytest.raises(UnavailableError, match=str(found.callback.port)) as caught:
            await other.listen(found.callback.port)
        assert "--port" in caught.value.hint
