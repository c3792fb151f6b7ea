"""Tokens, and the file that keeps them.

What it is not: nothing here talks to Imgur (``api.auth`` and ``api.exchange`` do).
Several processes share the file. Who replaces it holds ``lock_path``
(:func:`token_lock`); who reads it needs no lock, because it is replaced atomically.

The file says where the secrets are: in itself, or in the keyring (``api.vault``). It
is there in both cases, so that its stamp tells every process of a login or logout.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import trio

from imgurfs import limits
from imgurfs.api import vault
from imgurfs.errors import ConfigError, LoginNeededError, OutageError
from imgurfs.locks import FileLock
from imgurfs.model import ANONYMOUS

LOGIN_HINT = "log in with 'imgurfs login'"

#: What changes whenever the file is replaced; None when there is none.
Stamp: TypeAlias = tuple[int, int] | None


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """What stands in for the user's password. ``expires_at`` is an epoch.

    ``client_secret`` and ``refresh_token`` may be "": such a login ends with its access
    token. ``kept_in`` says where the secrets are kept.
    """

    access_token: str
    refresh_token: str
    client_id: str
    client_secret: str
    account_id: int
    account_name: str
    expires_at: float
    kept_in: Literal["file", "keyring"] = "file"

    def __repr__(self) -> str:
        return f"<Token of {self.account_name!r} ({self.account_id})>"

    @property
    def is_anonymous(self) -> bool:
        """Whether the client id alone is used, without an account."""
        return (self.account_id, self.account_name) == (ANONYMOUS.id, ANONYMOUS.url)

    @property
    def is_logged_out(self) -> bool:
        """Whether only the application's credentials are left."""
        has_token = self.access_token or self.refresh_token
        return not has_token and not self.is_anonymous

    def without_secrets(self) -> Token:
        """Return what may be said in a file when the secrets are elsewhere."""
        return replace(self, access_token="", refresh_token="", client_secret="")


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

    def stamp(self) -> Stamp:
        """Return what is another after every login, refresh and logout."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def load(self) -> Token:
        """Read the token of a login.

        Raises LoginNeededError when there is none or it cannot be read, ConfigError
        when somebody else could read it or the keyring cannot be reached.
        """
        token = self.read()
        if token.is_logged_out:
            raise LoginNeededError("nobody is logged in", hint=LOGIN_HINT)
        return token

    def read(self) -> Token:
        """Read the file, which after a logout may hold the application only.

        Raises what :meth:`load` raises.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise LoginNeededError("there is no token", hint=LOGIN_HINT) from None
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
        token = _decoded(text, f"{self.path} is damaged")
        if token.kept_in == "file":
            return token
        kept = vault.get(self._key)
        return _decoded(kept.encode(), "what the keyring holds is damaged")

    def save(self, token: Token) -> None:
        """Replace the token file: after a crash it holds the old or the new token.

        Raises ConfigError when the disk or the keyring says no.
        """
        was_in_keyring = self._is_in_keyring()
        if token.kept_in == "keyring":
            vault.put(self._key, msgspec.json.encode(token).decode())
            self._write(token.without_secrets())
            return
        self._write(token)
        if was_in_keyring:
            vault.drop(self._key)

    def log_out(self, *, forget_application: bool) -> None:
        """Forget the tokens; the application's id and secret stay unless told to go.

        Raises ConfigError.
        """
        try:
            token = self.read()
        except LoginNeededError:
            token = None
        if token is not None and token.client_secret and not forget_application:
            self.save(
                replace(
                    token, access_token="", refresh_token="", account_id=0,
                    account_name="", expires_at=0,
                )
            )  # fmt: skip
            return
        was_in_keyring = self._is_in_keyring()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be removed: {error.strerror}"
            ) from error
        if was_in_keyring:
            vault.drop(self._key)

    @property
    def _key(self) -> str:
        """What the keyring calls this file: two homes are two logins."""
        return str(self.path.absolute())

    def _is_in_keyring(self) -> bool:
        try:
            return msgspec.json.decode(
                self.path.read_bytes(), type=Token
            ).kept_in == "keyring"  # fmt: skip
        except (OSError, msgspec.DecodeError, UnicodeError):
            return False

    def _write(self, token: Token) -> None:
        directory = self.path.parent
        # Always the same name: what a killed process left is removed by the next.
        temporary = self.path.with_name(f".{self.path.name}.new")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
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


def _decoded(text: bytes, damage: str) -> Token:
    try:
        return msgspec.json.decode(text, type=Token)
    except (msgspec.DecodeError, UnicodeError):
        # Neither quoted nor chained: the text holds the secrets.
        raise LoginNeededError(damage, hint=LOGIN_HINT) from None


@contextlib.asynccontextmanager
async def token_lock(store: TokenStore) -> AsyncIterator[None]:
    """Hold the lock of who replaces the token.

    Polls: a thread that waits for a lock could not be cancelled. Raises OutageError
    when another process keeps it for longer than two calls of Imgur may take.
    """
    lock = FileLock(store.lock_path)
    with trio.move_on_after(2 * limits.API_CALL_TIMEOUT_S) as scope:
        # Another process lets go without telling us: there is no event to wait for.
        while not lock.acquire_nowait():  # noqa: ASYNC110
            await trio.sleep(limits.TOKEN_LOCK_POLL_S)
    if scope.cancelled_caught:
        raise OutageError(
            f"process {lock.holder() or '?'} holds {store.lock_path} too long"
        )
    try:
        yield
    finally:
        lock.release()
