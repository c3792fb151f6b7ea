"""The only way out: what it refuses, what it learns, what it translates."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from email.utils import format_datetime
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
UPLOAD = RequestClass(RequestKind.UPLOAD, Lane.BULK, is_post=True)
TOKEN = RequestClass(RequestKind.FREE, Lane.CONTROL)


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


# --- What each refusal does to the budget -----------------------------------------


HOUR = {"X-RateLimit-UserLimit": "500", "X-RateLimit-UserReset": "1200"}
USED_UP = {**HOUR, "X-RateLimit-UserRemaining": "0"}
DAY_OVER = {
    "X-RateLimit-ClientLimit": "12500",
    "X-RateLimit-ClientRemaining": "0",
    "X-RateLimit-ClientReset": "40000",
}
NO_POSTS = {
    "X-Post-Rate-Limit-Limit": "1250",
    "X-Post-Rate-Limit-Remaining": "0",
    "X-Post-Rate-Limit-Reset": "900",
}


def said(status: int, message: str = "", **fields: object) -> FaultRule:
    """Return a rule that answers every request with a refusal."""
    values = {"action": Action.STATUS, "status": status, "message": message, **fields}
    return FaultRule(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "pauses", "strikes"),
    [
        (
            said(400, "You are uploading too fast. Please wait 7 more minutes."),
            {"upload": 420},
            0,
        ),
        (
            said(429, "You are uploading too fast. Please wait 59 more minutes."),
            {"upload": 3540},
            0,
        ),
        (said(400, "Uploading file too fast!"), {"upload": 3600}, 0),
        (said(429, "Too Many Requests", headers=USED_UP), {"user": 1202}, 0),
        (said(403, "Forbidden", headers=USED_UP), {"user": 1202}, 0),
        (said(429, "Too Many Requests", headers=NO_POSTS), {"posts": 902}, 0),
        (said(429, "Too Many Requests", headers=DAY_OVER), {"client": 40_002}, 1),
        (said(429, "Too Many Requests"), {"capacity": 600}, 0),
        (said(403, "Imgur is temporarily over capacity."), {"capacity": 600}, 0),
        (said(503, "Imgur is temporarily over capacity."), {}, 0),
        (FaultRule(action=Action.HTML, status=502, body="<h1>502</h1>"), {}, 0),
        (said(401, "The access token provided is invalid."), {}, 0),
        (said(403, "Malformed auth header"), {}, 0),
        (said(400, "File type invalid", headers=HOUR), {}, 0),
        (said(413, "file is over the size limit"), {}, 0),
        (said(415, "File type invalid"), {}, 0),
        (said(417, "Internal expectation failed"), {}, 0),
        (said(500, "oops"), {}, 0),
    ],
    ids=lambda value: (
        f"{value.status} {value.message}".strip()
        if isinstance(value, FaultRule)
        else ""
    ),
)
async def test_what_a_refusal_pauses(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    rule: FaultRule,
    pauses: dict[str, float],
    strikes: int,
) -> None:
    """Each kind of refusal silences what it is about, as long as it says, no more."""
    async with connected(tmp_path) as side:
        side.emulator.faults.replace((rule,))
        answer = await side.http.post(
            f"{API_URL}/3/image", extensions={"imgurfs": UPLOAD}
        )
        assert answer.status_code == rule.status
        state = side.ledger.state()
        left_s = {
            scope: until - side.clock.now() for scope, until in state.pauses.items()
        }
        assert left_s == pytest.approx(pauses, abs=1)
        assert state.strikes == strikes
        assert (side.ledger.peek(UPLOAD) is None) == (not pauses)
        # Tokens are refreshed all the same; reads mind what concerns them.
        assert side.ledger.peek(TOKEN) is None
        is_about_uploads = not pauses.keys() & {"user", "client", "capacity"}
        assert (side.ledger.peek(READ) is None) == is_about_uploads


async def test_a_reset_as_an_epoch_is_on_imgurs_clock(tmp_path: Path) -> None:
    """Our clock may be wrong: an epoch is compared with the answer's own date."""
    async with connected(tmp_path) as side:
        at = datetime(2030, 5, 6, 12, 0, tzinfo=UTC)
        headers = {
            "Date": format_datetime(at, usegmt=True),
            "X-RateLimit-UserLimit": "500",
            "X-RateLimit-UserRemaining": "77",
            "X-RateLimit-UserReset": str(int(at.timestamp()) + 1500),
        }
        rule = said(
            200, body='{"data":{},"success":true,"status":200}', headers=headers
        )
        side.emulator.faults.replace((rule,))
        await side.http.get(f"{API_URL}/3/credits", extensions={"imgurfs": READ})
        window = side.ledger.state().windows[Scope.USER]
        assert window.remaining == 77
        assert window.reset_at is not None
        assert window.reset_at - side.clock.now() == pytest.approx(1502, abs=2)
