"""Editing the configuration file: comments stay, and it is whole at every moment.

Not a command; used by ``imgurfs folder`` and ``imgurfs login``. What the settings mean
is ``config``'s.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from imgurfs.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from imgurfs.config import Config

#: The first line of a table, and of a watched folder's.
_HEADER = re.compile(r"\s*\[\[?[^\[\]]+\]\]?\s*(#.*)?$")
_FOLDER = re.compile(r"\s*\[\[\s*[\"']?folder[\"']?\s*\]\]")
#: Times that another editor may replace the file while we wait for it.
_ATTEMPTS_MAX = 10


class Edit:
    """The configuration while it is edited. ``config`` is as it was before."""

    def __init__(self, text: str, config: Config) -> None:
        self.text = text
        self.config = config

    def add_folder(self, settings: Mapping[str, Any]) -> None:
        """Put a [[folder]] at the end; everything before it stays as it is."""
        import tomlkit

        before = self.text.rstrip()
        table = tomlkit.dumps(settings)
        self.text = (before + "\n\n" if before else "") + "[[folder]]\n" + table

    def remove_folder(self, index: int) -> None:
        """Take the [[folder]] with this number (from 0) out; comments stay.

        Raises ConfigError when the file is written so unusually that this would change
        something else.
        """
        from imgurfs import config

        lines = self.text.splitlines(keepends=True)
        headers = [i for i, line in enumerate(lines) if _HEADER.match(line)]
        folders = [i for i in headers if _FOLDER.match(lines[i])]
        before = config.parse(self.text)
        wanted = before.folder[:index] + before.folder[index + 1 :]
        text = self.text
        if index < len(folders):
            start = folders[index]
            end = min((i for i in headers if i > start), default=len(lines))
            # A comment at the end is about what follows.
            while lines[end - 1].lstrip()[:1] in ("", "#") and end - 1 > start:
                end -= 1
            text = "".join(lines[:start] + lines[end:])
        if _parsed(text) != msgspec.structs.replace(before, folder=wanted):
            raise ConfigError(
                "this [[folder]] cannot be told from the rest of the configuration",
                hint="take it out yourself: 'imgurfs config path' says where it is",
            )
        self.text = text

    def remove_client_secret(self, account: str) -> None:
        """Take an account's client_secret out; everything else stays as it is.

        Raises ConfigError when the file is written so unusually that this would change
        something else.
        """
        import tomlkit

        from imgurfs import config

        before = config.parse(self.text)
        changed = msgspec.structs.replace(
            before.account_named(account), client_secret=""
        )
        document = tomlkit.parse(self.text)
        if account == config.DEFAULT_ACCOUNT:
            wanted = msgspec.structs.replace(before, account=changed)
            table: Any = document.get("account", {})
        else:
            accounts = {**before.accounts, account: changed}
            wanted = msgspec.structs.replace(before, accounts=accounts)
            table = document.get("accounts", {}).get(account, {})
        table.pop("client_secret", None)
        text = tomlkit.dumps(document)
        if _parsed(text) != wanted:
            raise ConfigError(
                "client_secret cannot be told from the rest of the configuration",
                hint="take it out yourself: 'imgurfs config path' says where it is",
            )
        self.text = text


def _parsed(text: str) -> Config | None:
    from imgurfs import config

    try:
        return config.parse(text)
    except ConfigError:
        return None


@contextmanager
def editing(asked: Path | None) -> Iterator[Edit]:
    """Read the configuration file, let it be edited, and replace it.

    ``asked`` None means ``$IMGURFS_CONFIG`` or the default place. A default file that
    is not there is made. Nothing is written when the block raises, nor when the result
    would not be a configuration: that is a ConfigError. Raises UnavailableError when
    the disk says no.
    """
    from imgurfs import config

    before = config.load(asked, environ=_without_addresses())
    wanted = asked or (Path(p) if (p := os.environ.get("IMGURFS_CONFIG")) else None)
    with _translated(wanted), _locked(wanted) as path:
        # What is read under the lock counts.
        text = path.read_text()
        before = config.parse(text, source=str(path)) if text else before
        edit = Edit(text, before)
        yield edit
        config.parse(edit.text, source=str(path))
        _replace(path, edit.text)


def _without_addresses() -> dict[str, str]:
    """Return what of the environment says where the file is, and no more."""
    known = os.environ.get("IMGURFS_CONFIG")
    return {"IMGURFS_CONFIG": known} if known else {}


@contextmanager
def _translated(wanted: Path | None) -> Iterator[None]:
    from imgurfs import paths

    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"{wanted or paths.config_path()} cannot be changed: {error.strerror}",
            hint="check its permissions and the disk's free space",
        ) from error


@contextmanager
def _locked(wanted: Path | None) -> Iterator[Path]:
    """Keep other editors of ours away; yield the real file, a link's target."""
    from imgurfs import paths

    shown = wanted or paths.config_path()
    if wanted is None:
        shown.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS_MAX):
        path = shown.resolve()
        is_new = not path.exists()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_file(fd, path):
                yield path
                return
        except BaseException:
            if is_new and os.fstat(fd).st_size == 0:
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
    raise ConfigError(f"{shown} is being replaced all the time", hint="try again")


def _is_file(fd: int, path: Path) -> bool:
    """Whether the open file still is the one at the path."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), there)


def _replace(path: Path, text: str) -> None:
    """Put a whole new file, with the old one's mode, in the place of the old one."""
    mode = stat.S_IMODE(path.stat().st_mode)
    fd, name = tempfile.mkstemp(prefix=".config.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
