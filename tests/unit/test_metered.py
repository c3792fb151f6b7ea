"""The only way out: what it refuses, what it learns, what it translates."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from imgurfs import limits
from imgurfs.budget import Scope
from imgurfs.emulator.trouble.faults import Action, FaultRule
from imgurfs.errors import NotSentError, OutageError, RejectedError
from imgurfs.metered import is_cdn, make_http_client
from imgurfs.model import Lane, RequestClass, RequestKind
from tests.support.connected import API_URL, CDN_URL, connected

READ = RequestClass(RequestKind.READ, Lane.CONTROL)
CDN = RequestClass(RequestKind.CDN, Lane.INTERACTIVE)


@pytest.mark.parametrize(
    ("url", "cost"),
    [
        ("https://evil.test/3/account/me", READ),
        ("http://api.imgur.test/3/account/me", READ),
        ("https://api.imgur.test:8443/3/account/me", READ),
        ("https://i.imgur.test/a.png", READ),
        ("https://api.imgur.test/3/credits", CDN),
        ("https://i.imgur.test:8443/a.png", CDN),
        ("http://169.254.169.254/latest", CDN),
        ("https://user@evil.test/a.png", CDN),
    ],
)
async def test_foreign_destinations(
    tmp_path: Path, url: str, cost: RequestClass
) -> None:
    """Nothing goes to another host, port or in plain text; nothing is reserved."""
    async with connected(tmp_path) as side:
        with pytest.raises(RejectedError):
            await side.http.get(url, extensions={"imgurfs": cost})
        assert side.transport.requests == []
        assert side.ledger.statistics()["granted"] == 0


async def test_mistakes_of_ours_are_loud(tmp_path: Path) -> None:
    """No class, or a token on its way to the CDN, is a bug and not sent."""
    async with connected(tmp_path) as side:
        with pytest.raises(TypeError):
            await side.http.get(f"{API_URL}/3/credits")
        with pytest.raises(TypeError):
            await side.http.get(
                f"{CDN_URL}/a.png",
                headers={"Authorization": "Bearer x"},
                extensions={"imgurfs": CDN},
            )
        assert side.transport.requests == []


async def test_cdn_costs_nothing(tmp_path: Path) -> None:
    """Picture bytes take no reservation; redirects are shown, not followed."""
    async with connected(tmp_path) as side:
        answer = await side.http.get(
            f"{CDN_URL}/nothere.png", extensions={"imgurfs": CDN}
        )
        assert answer.status_code == 302
        assert side.ledger.statistics() == {"granted": 0, "denied": 0}
        assert len(side.transport.requests) == 1


async def test_refusal_bodies_stay_readable(tmp_path: Path) -> None:
    """What metered reads to learn from is still there for the caller."""
    async with connected(tmp_path) as side:
        answer = await side.http.get(
            f"{API_URL}/3/account/me", extensions={"imgurfs": READ}
        )
        assert answer.status_code == 401
        assert answer.json()["success"] is False


async def test_over_capacity_pauses_everything(tmp_path: Path) -> None:
    """One "over capacity" stops all calls of all processes for ten minutes."""
    async with connected(tmp_path) as side:
        busy = "Imgur is temporarily over capacity. Please try again later."
        rule = FaultRule(action=Action.STATUS, status=403, message=busy)
        side.emulator.faults.replace((rule,))
        await side.http.get(f"{API_URL}/3/credits", extensions={"imgurfs": READ})
        wait = side.ledger.peek(READ)
        assert wait is not None
        assert 0 < wait.until - side.clock.now() <= limits.CAPACITY_PAUSE_S


async def test_daily_limit_is_a_strike(tmp_path: Path) -> None:
    """A refusal with no client credits left is remembered for a month."""
    async with connected(tmp_path) as side:
        rule = FaultRule(
            action=Action.STATUS,
            status=429,
            message="Too Many Requests",
            headers={
                "X-RateLimit-ClientLimit": "12500",
                "X-RateLimit-ClientRemaining": "0",
            },
        )
        side.emulator.faults.replace((rule,))
        await side.http.get(f"{API_URL}/3/credits", extensions={"imgurfs": READ})
        assert side.ledger.state().strikes == 1
        assert side.ledger.state().windows[Scope.CLIENT].remaining == 0
        assert side.ledger.peek(READ) is not None


async def test_cut_body_is_an_outage(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A picture that stops in the middle is an error, never a short picture."""
    async with connected(tmp_path) as side:
        images = await side.api.images_page(0, Lane.REFRESH)
        rule = FaultRule(action=Action.TRUNCATE, fraction=0.5, host="cdn")
        side.emulator.faults.replace((rule,))
        with pytest.raises(OutageError):
            await side.http.get(images[0].link, extensions={"imgurfs": CDN})


async def test_real_refused_connection(tmp_path: Path) -> None:
    """Over a real socket, nobody listening is "not sent"."""
    with trio.socket.socket() as held:
        await held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        async with (
            connected(tmp_path) as side,
            make_http_client(
                ledger=side.ledger,
                clock=side.clock,
                api_url=url,
                cdn_hosts=frozenset(),
            ) as http,
        ):
            with pytest.raises(NotSentError):
                await http.get(f"{url}/3/credits", extensions={"imgurfs": READ})
            assert side.ledger.state().windows[Scope.USER].reserved == 0


async def test_debug_logs_hold_no_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even the most talkative log shows a token."""
    with caplog.at_level(logging.DEBUG):
        async with connected(tmp_path) as side:
            await side.api.account()
            token = side.store.load()
    assert token.access_token not in caplog.text


def test_cdn_hosts() -> None:
    """A host without a port means the scheme's own port, with one exactly that."""
    hosts = frozenset({"i.imgur.com", "127.0.0.1:8081"})
    for url, expected in (
        ("https://i.imgur.com/a.png", True),
        ("https://i.imgur.com:443/a.png", True),
        ("https://i.imgur.com:444/a.png", False),
        ("https://i.imgur.com.evil.test/a.png", False),
        ("http://127.0.0.1:8081/a.png", True),
        ("http://127.0.0.1:8082/a.png", False),
    ):
        assert is_cdn(httpx.URL(url), hosts) is expected
