"""Tokens: where they are kept, and how a new one is got.

What it is not: it knows nothing of the endpoints a token is for. ``api.client`` asks
:meth:`Auth.authorization` before every call and :meth:`Auth.refresh` after a rejection.

Several processes share one token file. A refresh is single-flight: in the process by a
trio lock, between processes by a file lock, and whoever gets the lock reads the file
again first, because the other may have refreshed already. The returned refresh token is
always stored: Imgur may or may not rotate it (docs/IMGUR.md, Tokens).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import msgspec
import trio

from imgurfs import limits
from imgurfs.api import parse, refusals, wire
from imgurfs.clock import Clock
from imgurfs.errors import (
    AccountMismatchError,
    ConfigError,
    ForbiddenError,
    LoginNeededError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    TokenRejectedError,
)
from imgurfs.executor import Executor, ThreadLane
from imgurfs.locks import FileLock
from imgurfs.model import Lane

_LOGIN_HINT = "log in with 'imgurfs login'"


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """What stands in for the user's password. ``expires_at`` is an epoch."""

    access_token: str
    refresh_token: str
    client_id: str
    client_secret: str
    account_id: int
    account_name: str
    expires_at: float

    def __repr__(self) -> str:
        return f"<Token of {self.account_name!r} ({self.account_id})>"


class TokenStore:
    """The token file: mode 0600 in a directory of mode 0700, replaced atomically."""

    def __init__(self, path: Path, lock_path: Path | None = None) -> None:
        self.path = path
        self.lock_path = lock_path or path.with_name("token.lock")

    def __repr__(self) -> str:
        return f"<TokenStore {self.path}>"

    def exists(self) -> bool:
        """Whether there is a token file."""
        return self.path.exists()

    def load(self) -> Token:
        """Read the token.

        Raises LoginNeededError when there is none or it cannot be read, ConfigError
        when somebody else could read it.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise LoginNeededError("there is no token", hint=_LOGIN_HINT) from None
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from error
        with open(fd, "rb") as file:  # noqa: PTH123 - the descriptor was checked
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            if mode & 0o077:
                raise ConfigError(
                    f"{self.path} can be read by others (mode {mode:04o})",
                    hint=f"chmod 600 {self.path}; if others have read it, log in again",
                )
            text = file.read(limits.MIB)
        try:
            return msgspec.json.decode(text, type=Token)
        except (msgspec.DecodeError, UnicodeError):
            # Neither quoted nor chained: the text holds the secrets.
            raise LoginNeededError(
                f"{self.path} is damaged", hint=_LOGIN_HINT
            ) from None

    def save(self, token: Token) -> None:
        """Replace the token file: after a crash it holds the old or the new token."""
        directory = self.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o600)
            with open(fd, "wb") as file:  # noqa: PTH123 - created with its mode
                file.write(msgspec.json.encode(token))
                file.flush()
                os.fsync(fd)
            temporary.replace(self.path)
            directory_fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(directory_fd)
            finally:
                os.close(directory_fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise ConfigError(
                f"{self.path} cannot be written: {error.strerror}"
            ) from error


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
    ) -> None:
        self._store = store
        self._http = http
        self._api_url = api_url
        self._clock = clock
        self._executor = executor
        self._token: Token | None = None
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

        Raises what :meth:`refresh` raises.
        """
        del lane  # A token costs no credits; whoever asks gets it.
        token = self._token
        if token is None:
            token = self._token = await self._load()
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
            async with self._locked_between_processes():
                if await self._is_replaced(rejected_access_token):
                    return
                old = self._token
                assert old is not None
                if old.refresh_token == self._refused:
                    raise LoginNeededError(
                        "Imgur no longer accepts the token", hint=_LOGIN_HINT
                    )
                await self._exchange(old)

    async def _exchange(self, old: Token) -> None:
        try:
            new = await exchange_refresh_token(
                http=self._http,
                api_url=self._api_url,
                client_id=old.client_id,
                client_secret=old.client_secret,
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
                hint=_LOGIN_HINT,
            )
        new = replace(
            new,
            account_id=old.account_id,
            account_name=new.account_name or old.account_name,
        )
        await self._executor.run(ThreadLane.DISK, self._store.save, new)
        self._token = new
        self._refreshes += 1

    async def _load(self) -> Token:
        return await self._executor.run(ThreadLane.DISK, self._store.load)

    async def _is_replaced(self, rejected: str) -> bool:
        """Read the file again; whether it holds another token by now."""
        self._token = await self._load()
        is_new = self._token.access_token != rejected
        margin_s = limits.TOKEN_EXPIRY_MARGIN_S
        return is_new and self._token.expires_at - margin_s > self._clock.now()

    @contextlib.asynccontextmanager
    async def _locked_between_processes(self) -> AsyncIterator[None]:
        """Hold token.lock. Polls: a thread blocked in flock could not be cancelled."""
        lock = FileLock(self._store.lock_path)
        with trio.move_on_after(2 * limits.API_CALL_TIMEOUT_S) as scope:
            # Another process lets go without telling us: there is no event to wait for.
            while not lock.acquire_nowait():  # noqa: ASYNC110
                await trio.sleep(limits.TOKEN_LOCK_POLL_S)
        if scope.cancelled_caught:
            raise OutageError(
                f"process {lock.holder() or '?'} holds {self._store.lock_path} too long"
            )
        try:
            yield
        finally:
            lock.release()


async def exchange_refresh_token(
    *,
    http: httpx.AsyncClient,
    api_url: str,
    client_id: str,
    client_secret: str,
    refresh_token: str,
    clock: Clock,
) -> Token:
    """Ask Imgur for an access token; also the first login of a pasted refresh token.

    Raises LoginNeededError when Imgur says that the refresh token is not valid, and
    only then: every other failure leaves the token as good as it was. ``account_id``
    is 0 and ``account_name`` "" when the answer does not tell them.
    """
    request = wire.exchange(
        client_id=client_id, client_secret=client_secret, refresh_token=refresh_token
    )
    try:
        with trio.fail_after(limits.API_CALL_TIMEOUT_S):
            status, body, headers = await _post(http, api_url, request)
    except trio.TooSlowError:
        raise OutageError(
            f"no token within {limits.API_CALL_TIMEOUT_S:.0f} s"
        ) from None
    except OutcomeUnknownError as error:
        # Asking again is harmless: the refresh token stays valid.
        raise OutageError(error.message) from error
    now = clock.now()
    _check(request, status, body, headers, now=now)
    try:
        reply = parse.token(body)
    except parse.Malformed as finding:
        raise OutageError(f"the token endpoint answered with {finding}") from None
    return Token(
        access_token=reply.access_token,
        refresh_token=reply.refresh_token or refresh_token,
        client_id=client_id,
        client_secret=client_secret,
        account_id=reply.account_id,
        account_name=reply.account_name,
        expires_at=now + (reply.expires_in_s or 3600),
    )


def _check(
    request: wire.Request,
    status: int,
    body: bytes,
    headers: httpx.Headers,
    *,
    now: float,
) -> None:
    """Raise what a refusal of the token endpoint means for the login."""
    refused = refusals.refusal(
        request,
        status=status,
        body=body,
        headers=parse.rate_headers(headers.multi_items(), now),
        now=now,
    )
    match refused:
        case None:
            pass
        case TokenRejectedError() | RejectedError() | ForbiddenError():
            raise LoginNeededError(
                f"Imgur does not accept the refresh token. {refused.message}",
                hint=_LOGIN_HINT,
            )
        case OutcomeUnknownError():
            raise OutageError(refused.message)
        case _:
            raise refused


async def _post(
    http: httpx.AsyncClient, api_url: str, request: wire.Request
) -> tuple[int, bytes, httpx.Headers]:
    async with http.stream(
        request.method,
        api_url.rstrip("/") + request.target,
        content=request.body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        extensions={"imgurfs": request.cost},
    ) as response:
        try:
            body = await response.aread()
        except httpx.DecodingError as error:
            raise OutageError(f"the token endpoint: {error}") from error
        return response.status_code, body, response.headers
