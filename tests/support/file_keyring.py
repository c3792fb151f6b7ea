"""A keyring in a file, for the package ``keyring``: what a desktop would offer.

Chosen by ``PYTHON_KEYRING_BACKEND``; ``FILE_KEYRING`` says where. A lock beside the
file (``.locked``) makes it refuse, as a locked desktop keyring does.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class FileKeyring(KeyringBackend):
    """Keeps passwords in JSON."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        """Return a password, None when there is none."""
        return self._read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep a password."""
        self._write({**self._read(), f"{service}/{username}": password})

    def delete_password(self, service: str, username: str) -> None:
        """Forget a password."""
        known = self._read()
        if known.pop(f"{service}/{username}", None) is None:
            raise PasswordDeleteError("there is none")
        self._write(known)

    @property
    def _path(self) -> Path:
        return Path(os.environ["FILE_KEYRING"])

    def _read(self) -> dict[str, str]:
        if self._path.with_suffix(".locked").exists():
            raise KeyringLocked("locked")
        if not self._path.exists():
            return {}
        known: dict[str, str] = json.loads(self._path.read_text())
        return known

    def _write(self, known: dict[str, str]) -> None:
        self._path.write_text(json.dumps(known))
