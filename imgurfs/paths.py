"""Where everything lives on disk, per account. Names only: nothing is created here.

Follows the XDG base directories, so that two environments with different
``XDG_STATE_HOME`` behave as two machines. What losing each file means is told in
docs/ARCHITECTURE.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from imgurfs.errors import ConfigError

_APP = "imgurfs"
_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class AccountPaths:
    """The files of one account, and the machine-wide ones beside them."""

    state_dir: Path
    cache_dir: Path
    budget_db: Path

    @property
    def token(self) -> Path:
        """Secrets: client secret, refresh and access token (0600)."""
        return self.state_dir / "token.json"

    @property
    def login_lock(self) -> Path:
        """Held while somebody logs in or out."""
        return self.state_dir / "login.lock"

    @property
    def state_db(self) -> Path:
        """Tree, outbox, sync state, change log."""
        return self.state_dir / "state.db"

    @property
    def register(self) -> Path:
        """Secrets: what was uploaded without an account, with deletehashes (0600)."""
        return self.state_dir / "anonymous.jsonl"

    @property
    def device(self) -> Path:
        """This machine's random id, a file of its own so that it survives state.db."""
        return self.state_dir / "device"

    @property
    def drain_lock(self) -> Path:
        """Held by the one process that sends jobs."""
        return self.state_dir / "drain.lock"

    @property
    def daemon_lock(self) -> Path:
        """Held by the daemon for its life."""
        return self.state_dir / "daemon.lock"

    @property
    def content_dir(self) -> Path:
        """The content cache."""
        return self.cache_dir / "content"

    @property
    def spool_dir(self) -> Path:
        """Bytes written through the drive and not uploaded yet."""
        return self.state_dir / "spool"

    @property
    def outgoing_dir(self) -> Path:
        """Copies of the files that were given to ``imgurfs upload``."""
        return self.state_dir / "outgoing"

    @property
    def mount_log(self) -> Path:
        """What a mount in the background has to say."""
        return self.state_dir / "mount.log"

    @property
    def own_directories(self) -> tuple[Path, ...]:
        """Directories that must not lie inside a mount or a watched folder."""
        return (self.state_dir, self.cache_dir)


def config_path() -> Path:
    """Return the default configuration file."""
    return platformdirs.user_config_path(_APP) / "config.toml"


def account_paths(name: str) -> AccountPaths:
    """Return the paths of the account called ``name`` in the configuration."""
    if not _ACCOUNT_NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not an account name",
            hint="use letters, digits, '-', '_' and '.', 64 at most",
        )
    state = platformdirs.user_state_path(_APP)
    return AccountPaths(
        state_dir=state / name,
        cache_dir=platformdirs.user_cache_path(_APP) / name,
        budget_db=state / "budget.db",
    )
