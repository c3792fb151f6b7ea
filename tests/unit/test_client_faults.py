"""The API client when the way to Imgur, or Imgur, goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from imgurfs import limits
from imgurfs.budget import Scope
from imgurfs.emulator.rules.errors import Shape
from imgurfs.emulator.trouble.faults import Action, FaultRule
from imgurfs.errors import (
    ForbiddenError,
    ImgurfsError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    SourceChangedError,
    ThrottledError,
)
from imgurfs.model import Lane
from tests.support.connected import connected
from tests.support.uploading import UPLOAD, png, upload


@pytest.mark.parametrize(
    ("rule", "on_read", "on_upload"),
    [
        (
            FaultRule(action=Action.HTML, status=503),
            OutageError,
            OutcomeUnknownError,
        ),
        (FaultRule(action=Action.HTML, status=403), ThrottledError, ThrottledError),
        (
            FaultRule(action=Action.HTML, status=503, body="<h1>Guru Meditation</h1>"),
            OutageError,
            OutcomeUnknownError,
        ),
        (FaultRule(action=Action.HTML, status=200), OutageError, OutcomeUnknownError),
        (FaultRule(action=Action.HANG), OutageError, OutcomeUnknownError),
        (FaultRule(action=Action.RESET_BEFORE), OutageError, OutcomeUnknownError),
        (FaultRule(action=Action.RESET_AFTER), OutageError, OutcomeUnknownError),
        (
            FaultRule(action=Action.TRUNCATE, fraction=0.5),
            OutageError,
            OutcomeUnknownError,
        ),
        (
            FaultRule(action=Action.STATUS, body='{"data":{"id":', status=200),
            OutageError,
            OutcomeUnknownError,
        ),
        (
            FaultRule(
                action=Action.STATUS, body='{"data":[],"success":true}', status=200
            ),
            OutageError,
            OutcomeUnknownError,
        ),
        (
            FaultRule(
                action=Action.STATUS,
                status=301,
                headers={"Location": "https://evil.test/"},
            ),
            OutageError,
            OutageError,
        ),
        (
            FaultRule(action=Action.STATUS, status=403, message="Unauthorized"),
            ForbiddenError,
            ForbiddenError,
        ),
        (
            FaultRule(
                action=Action.STATUS,
                status=429,
                shape=Shape.ERRORS,
                message="Too Many Requests",
            ),
            ThrottledError,
            ThrottledError,
        ),
        (
            FaultRule(
                action=Action.STATUS, status=417, message="Internal expectation failed"
            ),
            OutageError,
            OutcomeUnknownError,
        ),
    ],
    ids=lambda value: value.action.value if isinstance(value, FaultRule) else "",
)
async def test_faults(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    rule: FaultRule,
    on_read: type[ImgurfsError],
    on_upload: type[ImgurfsError],
) -> None:
    """Whatever comes back, a read and an upload end with the error that is true."""
    async with connected(tmp_path) as side:
        side.emulator.faults.replace((rule,))
        with pytest.raises(on_read):
            await side.api.account()
        assert "evil.test" not in str(side.transport.requests)
    async with connected(tmp_path / "again") as side:
        side.emulator.faults.replace((rule,))
        with pytest.raises(on_upload):
            await upload(side, png(tmp_path))


async def test_waits_are_bounded(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A server that never answers costs a call the silence allowed, not more."""
    async with connected(tmp_path) as side:
        side.emulator.faults.replace((FaultRule(action=Action.HANG),))
        start = trio.current_time()
        with pytest.raises(OutageError):
            await side.api.account()
        assert trio.current_time() - start <= limits.API_CALL_TIMEOUT_S
        side.transport.silent.add("api.imgur.test")
        start = trio.current_time()
        with pytest.raises(NotSentError):
            await upload(side, png(tmp_path))
        assert trio.current_time() - start == limits.CONNECT_TIMEOUT_S


async def test_slow_upload_answer(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """An upload that Imgur answers late, within the bound of silence, succeeds."""
    async with connected(tmp_path) as side:
        side.transport.latency_s = limits.SOCKET_TIMEOUT_S - 1
        assert await upload(side, png(tmp_path))


async def test_unreachable_gives_the_budget_back(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A refused connection is "not sent": nothing stays reserved."""
    async with connected(tmp_path) as side:
        side.transport.unreachable.add("api.imgur.test")
        with pytest.raises(NotSentError):
            await upload(side, png(tmp_path))
        assert all(w.reserved == 0 for w in side.ledger.state().windows.values())


async def test_unknown_outcome_keeps_the_reservation(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """An upload that may have happened stays paid for until a header covers it."""
    async with connected(tmp_path) as side:
        side.emulator.faults.replace(
            (FaultRule(action=Action.RESET_AFTER, method="POST"),)
        )
        with pytest.raises(OutcomeUnknownError):
            await upload(side, png(tmp_path))
        reserved = side.ledger.state().windows[Scope.USER].reserved
        assert reserved == limits.UPLOAD_CREDITS
        await side.api.account()
        assert side.ledger.state().windows[Scope.USER].reserved == reserved
        await trio.sleep(limits.UPLOAD_TIMEOUT_S + 1)
        await side.api.account()
        assert side.ledger.state().windows[Scope.USER].reserved == 0


async def test_changed_file_is_not_sent(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A file of another size, a directory or nothing at all costs nothing."""
    path = png(tmp_path)
    async with connected(tmp_path) as side:
        for victim, size_bytes in (
            (path, 1),
            (tmp_path, 4096),
            (tmp_path / "gone.png", 10),
        ):
            with pytest.raises(SourceChangedError):
                await side.api.upload(
                    victim,
                    size_bytes=size_bytes,
                    name="x.png",
                    album=None,
                    lane=Lane.FRESH,
                )
        assert side.sent("POST", "/3/upload") == 0


async def test_given_grant_is_used(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A grant that was reserved before is spent; no second one is taken."""
    path = png(tmp_path)
    async with connected(tmp_path) as side:
        grant = await side.ledger.reserve(UPLOAD)
        await side.api.upload(
            path,
            size_bytes=path.stat().st_size,
            name="x.png",
            album=None,
            lane=Lane.FRESH,
            grant=grant,
        )
        assert side.ledger.statistics()["granted"] == 1
