"""The token file, and refreshing from several processes at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from imgurfs.api.auth import Auth
from imgurfs.api.exchange import exchange_refresh_token
from imgurfs.api.tokens import Token, TokenStore
from imgurfs.emulator.trouble.faults import Action, FaultRule
from imgurfs.errors import (
    AccountMismatchError,
    ConfigError,
    LoginNeededError,
    OutageError,
    ThrottledError,
)
from imgurfs.executor import InlineExecutor
from imgurfs.locks import FileLock
from tests.support.connected import API_URL, Connected, connected

TOKEN = Token("a" * 40, "r" * 40, "client", "secret", 7, "me", 2e9)


def second_process(side: Connected) -> Auth:
    """Return what another process would have: its own memory, the same file."""
    return Auth(
        store=TokenStore(side.store.path),
        http=side.http,
        api_url=API_URL,
        clock=side.clock,
        executor=InlineExecutor(),
    )


def test_file_is_private(tmp_path: Path) -> None:
    """The file is 0600 in a 0700 directory, and nothing temporary stays."""
    store = TokenStore(tmp_path / "account" / "token.json")
    assert not store.exists()
    store.save(TOKEN)
    store.save(replace(TOKEN, access_token="b"))
    assert store.load().access_token == "b"
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.path.parent.stat().st_mode & 0o777 == 0o700
    assert list(store.path.parent.iterdir()) == [store.path]


def test_absent_token(tmp_path: Path) -> None:
    """No file means log in."""
    with pytest.raises(LoginNeededError):
        TokenStore(tmp_path / "token.json").load()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_readable_by_others(tmp_path: Path, mode: int) -> None:
    """A file others can read is refused, with the way out in the hint."""
    store = TokenStore(tmp_path / "token.json")
    store.save(TOKEN)
    store.path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        store.load()
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", '{"access_token":1}', "[]", "\xff"])
def test_damaged_file(tmp_path: Path, text: str) -> None:
    """A damaged file means log in; its text is not shown."""
    store = TokenStore(tmp_path / "token.json")
    store.path.write_bytes(text.encode("latin-1"))
    store.path.chmod(0o600)
    with pytest.raises(LoginNeededError):
        store.load()


async def test_expired_token_is_refreshed_before_use(tmp_path: Path) -> None:
    """A token at its end is replaced without a refused call."""
    async with connected(tmp_path) as side:
        side.store.save(replace(side.store.load(), expires_at=side.clock.now() + 1))
        await side.api.account()
        assert [method for method, _ in side.transport.requests] == ["POST", "GET"]


async def test_two_processes_refresh_once(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Two processes with the same dead token make one refresh between them."""
    async with connected(tmp_path, access_token="0" * 40) as side:
        side.transport.latency_s = 3
        other = second_process(side)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side.auth.refresh, "0" * 40)
            nursery.start_soon(other.refresh, "0" * 40)
        assert side.sent("POST", "/oauth2/token") == 1
        assert await side.auth.authorization() == await other.authorization()


async def test_a_stuck_holder_is_named(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A process that holds the lock for ever costs a bounded wait."""
    async with connected(tmp_path, access_token="0" * 40) as side:
        lock = FileLock(side.store.lock_path)
        assert lock.acquire_nowait()
        with pytest.raises(OutageError, match="holds"):
            await side.auth.refresh("0" * 40)
        lock.release()
        await side.auth.refresh("0" * 40)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (FaultRule(action=Action.HTML, status=400, body="<p>x"), OutageError),
        (FaultRule(action=Action.HTML, status=503, body="<p>x"), OutageError),
        (FaultRule(action=Action.HTML, status=200), OutageError),
        (FaultRule(action=Action.STATUS, status=200, body="{}"), OutageError),
        (FaultRule(action=Action.HANG), OutageError),
        (FaultRule(action=Action.RESET_AFTER), OutageError),
        (
            FaultRule(
                action=Action.STATUS,
                status=400,
                message="These actions are forbidden.",
            ),
            ThrottledError,
        ),
        (
            FaultRule(
                action=Action.STATUS,
                status=400,
                body='{"error":"invalid_grant"}',
                content_type="application/json",
            ),
            LoginNeededError,
        ),
    ],
)
async def test_only_a_clear_no_ends_the_login(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    rule: FaultRule,
    expected: type[Exception],
) -> None:
    """Whatever else the token endpoint does, the login stays good."""
    async with connected(tmp_path, access_token="0" * 40) as side:
        before = side.store.load()
        side.emulator.faults.replace((rule,))
        with pytest.raises(expected):
            await side.auth.refresh(before.access_token)
        assert side.store.load() == before


async def test_a_refresh_token_that_works_again_is_offered_again(
    tmp_path: Path,
) -> None:
    """A new login with the token that was refused before renews itself like any."""
    async with connected(tmp_path) as side:
        refusal = FaultRule(
            action=Action.STATUS,
            status=400,
            body='{"error":"invalid_grant"}',
            content_type="application/json",
        )
        side.emulator.faults.replace((refusal,))
        with pytest.raises(LoginNeededError):
            await side.auth.refresh(side.store.load().access_token)
        side.emulator.faults.replace(())
        again = second_process(side)
        await again.refresh(side.store.load().access_token)
        await side.auth.authorization()
        before = side.store.load()
        await side.auth.refresh(before.access_token)
        assert side.store.load().access_token != before.access_token


async def test_another_accounts_token_is_not_stored(tmp_path: Path) -> None:
    """A refresh that answers with another account's token changes nothing."""
    async with connected(tmp_path, access_token="0" * 40) as side:
        before = replace(side.store.load(), account_id=1)
        side.store.save(before)
        with pytest.raises(AccountMismatchError):
            await side.auth.refresh("0" * 40)
        assert side.store.load() == before


async def test_exchange_tells_the_account(tmp_path: Path) -> None:
    """A pasted refresh token gives a complete token."""
    async with connected(tmp_path) as side:
        known = side.store.load()
        token = await exchange_refresh_token(
            http=side.http,
            api_url=API_URL,
            client_id=known.client_id,
            client_secret=known.client_secret,
            refresh_token=known.refresh_token,
            clock=side.clock,
        )
        assert token.account_name == "sample"
        assert token.account_id == known.account_id
        assert token.expires_at > side.clock.now()
