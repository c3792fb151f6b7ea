"""The token file between processes: logins and logouts that others do, secrets kept."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest

from imgurfs.api.auth import Auth
from imgurfs.api.exchange import owner_of
from imgurfs.api.tokens import Token, TokenStore
from imgurfs.errors import AccountMismatchError, ConfigError, LoginNeededError
from imgurfs.executor import InlineExecutor
from tests.support.connected import API_URL, Connected, connected

TOKEN = Token("a" * 40, "r" * 40, "client", "secret", 7, "me", 2e9)


def auth_with(side: Connected, client_secret: str) -> Auth:
    """Return what a process has whose configuration says this secret."""
    return Auth(
        store=side.store,
        http=side.http,
        api_url=API_URL,
        clock=side.clock,
        executor=InlineExecutor(),
        client_secret=client_secret,
    )


def test_logout_keeps_the_application_only(tmp_path: Path) -> None:
    """The file then has no token, and whoever loads it is told to log in."""
    store = TokenStore(tmp_path / "token.json")
    store.save(TOKEN)
    store.log_out(forget_application=False)
    left = store.read()
    assert (left.client_id, left.client_secret) == ("client", "secret")
    assert left.is_logged_out
    text = store.path.read_text()
    assert TOKEN.access_token not in text
    assert TOKEN.refresh_token not in text
    with pytest.raises(LoginNeededError, match="nobody is logged in"):
        store.load()
    store.log_out(forget_application=True)
    assert not store.exists()
    store.log_out(forget_application=True)


def test_logout_without_anything_to_keep_removes_the_file(tmp_path: Path) -> None:
    """A login without a client secret leaves nothing behind."""
    store = TokenStore(tmp_path / "token.json")
    store.save(replace(TOKEN, client_secret=""))
    store.log_out(forget_application=False)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    """A half-written file of another mode is neither used nor in the way."""
    store = TokenStore(tmp_path / "token.json")
    left = tmp_path / ".token.json.new"
    left.write_text('{"access_token": "half')
    left.chmod(0o644)
    store.save(TOKEN)
    assert store.load() == TOKEN
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [store.path]


def test_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    """Neither reading nor saving goes to where a link points."""
    elsewhere = TokenStore(tmp_path / "elsewhere.json")
    elsewhere.save(TOKEN)
    store = TokenStore(tmp_path / "token.json")
    store.path.symlink_to(elsewhere.path)
    with pytest.raises(ConfigError):
        store.load()
    store.save(replace(TOKEN, account_name="another"))
    assert elsewhere.load() == TOKEN
    assert not store.path.is_symlink()


def test_stamp_changes_with_every_save(tmp_path: Path) -> None:
    """Also within the clock's grain, and when the file goes."""
    store = TokenStore(tmp_path / "token.json")
    stamps = [store.stamp()]
    for _ in range(3):
        store.save(TOKEN)
        os.utime(store.path, (0, 0))
        stamps.append(store.stamp())
    assert stamps[0] is None
    assert all(a != b for a, b in itertools.pairwise(stamps))


async def test_logout_counts_from_the_next_call(tmp_path: Path) -> None:
    """A running process sends nothing more once another has logged out."""
    async with connected(tmp_path) as side:
        await side.api.account()
        sent = len(side.transport.requests)
        side.store.log_out(forget_application=False)
        with pytest.raises(LoginNeededError, match="nobody is logged in"):
            await side.api.account()
        side.store.log_out(forget_application=True)
        with pytest.raises(LoginNeededError, match="there is no token"):
            await side.api.account()
        assert len(side.transport.requests) == sent


async def test_login_counts_from_the_next_call(tmp_path: Path) -> None:
    """A running process uses the token of a new login without being refused first."""
    async with connected(tmp_path) as side:
        token = side.store.load()
        side.store.save(replace(token, access_token="0" * 40))
        assert await side.auth.authorization() == "Bearer " + "0" * 40
        side.store.save(token)
        await side.api.account()
        assert side.auth.statistics() == {"refreshes": 0}


async def test_running_process_never_changes_accounts(tmp_path: Path) -> None:
    """Another account's token in the file stops a process that serves the first."""
    async with connected(tmp_path) as side:
        await side.api.account()
        sent = len(side.transport.requests)
        token = side.store.load()
        side.store.save(replace(token, account_id=1, account_name="somebody"))
        with pytest.raises(AccountMismatchError, match="somebody"):
            await side.api.account()
        assert len(side.transport.requests) == sent
        side.store.save(token)
        await side.api.account()


@pytest.mark.parametrize("lost", ["client_secret", "refresh_token"])
async def test_login_that_cannot_be_renewed(tmp_path: Path, lost: str) -> None:
    """Without secret or refresh token nothing is sent: only a person can help."""
    async with connected(tmp_path) as side:
        token = replace(side.store.load(), expires_at=0, **{lost: ""})  # type: ignore[arg-type]
        side.store.save(token)
        words = f"without a {lost.replace('_', ' ')}"
        with pytest.raises(LoginNeededError, match=words):
            await side.api.account()
        assert side.transport.requests == []


async def test_secret_of_the_configuration_comes_first(tmp_path: Path) -> None:
    """A secret that was put into the configuration renews the login, and is kept."""
    async with connected(tmp_path) as side:
        right = side.store.load().client_secret
        side.store.save(replace(side.store.load(), client_secret="old", expires_at=0))
        assert await auth_with(side, right).authorization()
        assert side.store.load().client_secret == right


async def test_renewed_token_stays_where_it_was(tmp_path: Path) -> None:
    """Where the secrets are kept is decided by the login, not by a renewal."""
    async with connected(tmp_path, access_token="0" * 40) as side:
        await side.api.account()
        assert side.store.load().kept_in == "file"
        assert side.auth.statistics() == {"refreshes": 1}


async def test_owner_of_a_token(tmp_path: Path) -> None:
    """Imgur says whose a token is; one it does not know needs a login."""
    async with connected(tmp_path) as side:
        token = side.store.load()
        known = {"http": side.http, "api_url": API_URL, "clock": side.clock}
        found = await owner_of(access_token=token.access_token, **known)  # type: ignore[arg-type]
        assert (found.id, found.url) == (token.account_id, token.account_name)
        with pytest.raises(LoginNeededError, match="access token"):
            await owner_of(access_token="0" * 40, **known)  # type: ignore[arg-type]
