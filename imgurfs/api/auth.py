"""Hands out the token of a call, and gets a new one when it is refused.

What it is not: it knows nothing of the endpoints a token is for. ``api.client`` asks
:meth:`Auth.authorization` before every call and :meth:`Auth.refresh` after a rejection.

Several processes share one token file (``api.tokens``). A refresh is single-flight: in
the process by a trio lock, between processes by a file lock, and whoever gets the lock
reads the file again first, because the other may have refreshed already. The returned
refresh token is always stored: Imgur may or may not rotate it (docs/IMGUR.md, Tokens).
A login or logout of another process counts from the next call on.
"""

from __future__ import annotations

from dataclasses import replace

import httpx
import trio

from imgurfs import limits
from imgurfs.api.exchange import exchange_refresh_token
from imgurfs.api.tokens import LOGIN_HINT, Stamp, Token, TokenStore, token_lock
from imgurfs.clock import Clock
from imgurfs.errors import AccountMismatchError, LoginNeededError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.model import Lane


class Auth:
    """Hands out the Authorization header and gets a new token when one is refused."""

    def __init__(
        self,
        *,
        store: TokenStore,
        http: httpx.AsyncClient,
        api_url: str,
        clock: Clock,
        executor: Executor,
        client_secret: str = "",
    ) -> None:
        """``client_secret`` is used instead of the one that came with the token."""
        self._store = store
        self._http = http
        self._api_url = api_url
        self._clock = clock
        self._executor = executor
        self._client_secret = client_secret
        self._token: Token | None = None
        # The file the token was read from: another one is another login.
        self._stamp: Stamp = None
        self._lock = trio.Lock()
        # A refresh token that Imgur has refused: it is not offered again.
        self._refused = ""
        self._refreshes = 0

    def __repr__(self) -> str:
        return f"<Auth {self._token!r} refreshes={self._refreshes}>"

    def statistics(self) -> dict[str, int]:
        """Return how often this process has fetched a new token."""
        return {"refreshes": self._refreshes}

    async def authorization(self, lane: Lane = Lane.CONTROL) -> str:
        """Return the value of the Authorization header; refreshes an expired token.

        Raises what :meth:`refresh` raises, and AccountMismatchError when another
        account's token is there now.
        """
        del lane  # A token costs no credits; whoever asks gets it.
        token = self._token
        if token is None or self._store.stamp() != self._stamp:
            token = await self._load()
        if token.is_anonymous:
            return f"Client-ID {token.client_id}"
        margin_s = limits.TOKEN_EXPIRY_MARGIN_S
        if token.expires_at - margin_s <= self._clock.now():
            await self.refresh(token.access_token)
            token = self._token
            assert token is not None
        return f"Bearer {token.access_token}"

    async def refresh(self, rejected_access_token: str) -> None:
        """Get another access token than ``rejected_access_token``.

        Raises LoginNeededError when the refresh token is refused or absent, and
        OutageError, NotSentError, ThrottledError, BudgetError when it is not known.
        """
        async with self._lock:
            if await self._is_replaced(rejected_access_token):
                return
            async with token_lock(self._store):
                if await self._is_replaced(rejected_access_token):
                    return
                old = self._token
                assert old is not None
                if old.is_anonymous:
                    raise LoginNeededError(
                        "Imgur does not accept the client id", hint=LOGIN_HINT
                    )
                if old.refresh_token and old.refresh_token == self._refused:
                    raise LoginNeededError(
                        "Imgur no longer accepts the token", hint=LOGIN_HINT
                    )
                await self._exchange(old)

    async def _exchange(self, old: Token) -> None:
        client_secret = self._client_secret or old.client_secret
        if not client_secret or not old.refresh_token:
            what = "client secret" if old.refresh_token else "refresh token"
            raise LoginNeededError(
                f"the login has ended, and without a {what} it cannot be renewed",
                hint="put client_secret under [account] of the configuration"
                if old.refresh_token
                else LOGIN_HINT,
            )
        try:
            new = await exchange_refresh_token(
                http=self._http,
                api_url=self._api_url,
                client_id=old.client_id,
                client_secret=client_secret,
                refresh_token=old.refresh_token,
                clock=self._clock,
            )
        except LoginNeededError:
            self._refused = old.refresh_token
            raise
        if new.account_id not in (0, old.account_id):
            raise AccountMismatchError(
                f"the new token belongs to {new.account_name!r},"
                f" not to {old.account_name!r}",
                hint=LOGIN_HINT,
            )
        new = replace(
            new,
            account_id=old.account_id,
            account_name=new.account_name or old.account_name,
            kept_in=old.kept_in,
        )
        await self._executor.run(ThreadLane.DISK, self._store.save, new)
        self._token, self._stamp = new, self._store.stamp()
        self._refreshes += 1

    async def _load(self) -> Token:
        """Read the file; the stamp is the older of the two, so that nothing is missed.

        Raises what ``TokenStore.load`` raises, and AccountMismatchError.
        """
        stamp = self._store.stamp()
        token = await self._executor.run(ThreadLane.DISK, self._store.load)
        before = self._token
        if before is not None and before.account_id != token.account_id:
            raise AccountMismatchError(
                f"the token now belongs to {token.account_name!r},"
                f" not to {before.account_name!r}",
                hint="log in as before, or start the program again",
            )
        if before is not None and before.access_token != token.access_token:
            # Somebody renewed it, perhaps with the refresh token that was refused.
            self._refused = ""
        self._token, self._stamp = token, stamp
        return token

    async def _is_replaced(self, rejected: str) -> bool:
        """Read the file again; whether it holds another token by now."""
        token = await self._load()
        is_new = token.access_token != rejected
        margin_s = limits.TOKEN_EXPIRY_MARGIN_S
        return is_new and token.expires_at - margin_s > self._clock.now()
