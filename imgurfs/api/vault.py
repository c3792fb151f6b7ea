"""Secrets in the desktop's keyring, through the package ``keyring``, if asked for.

What it is not: the only place of secrets; without ``secrets = "keyring"`` nothing here
is called, and the package need not be installed. Used by ``api.tokens`` alone. Calls
block, and may ask the user to unlock the keyring.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imgurfs.errors import ConfigError, LoginNeededError

if TYPE_CHECKING:
    from types import ModuleType

_SERVICE = "imgurfs"
_FILE_HINT = 'or set secrets = "file" under [account] and log in again'


def get(key: str) -> str:
    """Return what is kept under ``key``.

    Raises LoginNeededError when there is nothing, ConfigError when there is no keyring.
    """
    with _reachable() as keyring:
        kept = keyring.get_password(_SERVICE, key)
    if kept is None:
        raise LoginNeededError(
            "the keyring does not hold the token any more",
            hint="log in with 'imgurfs login'",
        )
    return str(kept)


def put(key: str, text: str) -> None:
    """Keep ``text`` under ``key``. Raises ConfigError when there is no keyring."""
    with _reachable() as keyring:
        keyring.set_password(_SERVICE, key, text)


def drop(key: str) -> None:
    """Forget what is under ``key``; harmless when there is nothing.

    Raises ConfigError when there is no keyring.
    """
    with _reachable() as keyring:
        if keyring.get_password(_SERVICE, key) is not None:
            keyring.delete_password(_SERVICE, key)


@contextmanager
def _reachable() -> Iterator[ModuleType]:
    """Yield the package; whatever its back-ends raise becomes a ConfigError."""
    try:
        import keyring
        from keyring import errors
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the secrets are to be in the keyring, but {error.name} is not installed",
            hint=f"install imgur-drive[keyring], {_FILE_HINT}",
        ) from None
    try:
        yield keyring
    except (LoginNeededError, ConfigError):
        raise
    except errors.NoKeyringError:
        raise ConfigError(
            "no keyring service runs here",
            hint=f"start one (a desktop session has one), {_FILE_HINT}",
        ) from None
    except Exception as error:  # noqa: BLE001 - raised again as ours
        # Back-ends raise what they like. Not chained: it might quote the secret.
        raise ConfigError(
            f"the keyring cannot be used ({type(error).__name__})",
            hint=f"unlock it, {_FILE_HINT}",
        ) from None
