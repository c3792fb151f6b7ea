"""Secrets the service manager hands over (``LoadCredential=`` in a unit).

They lie in ``$CREDENTIALS_DIRECTORY`` and cannot be changed from here, so they are
first values only: whatever the token file holds is newer. Read by ``assembly`` and by
the login.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from imgurfs.errors import ConfigError

REFRESH_TOKEN = "imgurfs.refresh_token"  # noqa: S105 - the name of a credential
CLIENT_SECRET = "imgurfs.client_secret"  # noqa: S105 - the name of a credential

_BYTES_MAX = 4096


def given(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a credential, "" when the service manager gave none of that name.

    Raises ConfigError when it cannot be read, or is no word of printable ASCII.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return ""
    path = Path(directory) / name
    # The mode is not looked at: systemd may grant access by ACL, which shows as a
    # readable group.
    try:
        with path.open("rb") as file:
            text = file.read(_BYTES_MAX + 1).strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"the credential {name}: {error.strerror}") from error
    is_word = text.isascii() and text.decode("latin-1").isprintable()
    if not text or len(text) > _BYTES_MAX or not is_word or b" " in text:
        raise ConfigError(
            f"the credential {name} is no token",
            hint="it holds the token alone, on one line",
        )
    return text.decode("ascii")
