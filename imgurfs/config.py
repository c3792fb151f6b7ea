"""The configuration file as frozen values; everything wrong with it is said here.

TOML in, :class:`Config` out. An unknown key, a wrong type or an impossible value is a
ConfigError that names the line and, for a typo, the nearest key. Defaults are the ones
in config.example.toml (a test compares them). No secrets are ever put in a message.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
import tomli

from imgurfs import limits, paths
from imgurfs.errors import ConfigError

DEFAULT_ACCOUNT = "default"

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\s*")
_UNITS = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip

Seconds = Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)]


class AccountConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Imgur account: the application's credentials and where Imgur is."""

    client_id: str = ""
    client_secret: str = ""
    api_url: str = "https://api.imgur.com"
    cdn_url: str = "https://i.imgur.com"
    cdn_hosts: tuple[str, ...] = ()
    names: Literal["keep", "neutral"] = "keep"
    secrets: Literal["file", "keyring"] = "file"

    def __repr__(self) -> str:
        return f"AccountConfig(client_id={self.client_id!r}, api_url={self.api_url!r})"

    @property
    def content_hosts(self) -> frozenset[str]:
        """Hosts (``host`` or ``host:port``) that picture bytes may come from."""
        return frozenset(self.cdn_hosts) | {urlsplit(self.cdn_url).netloc}


class CacheConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content cache."""

    size_max: str | int = "2 GiB"

    @property
    def size_bytes_max(self) -> int:
        """The bound in bytes."""
        return parse_size(self.size_max)


class BudgetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be spent; everything else is learned from Imgur's answers."""

    #: 0 = no such limit.
    uploads_per_hour: Annotated[int, msgspec.Meta(ge=0)] = limits.UPLOADS_PER_HOUR


class MountConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What writing to the drive means."""

    non_media: Literal["refuse", "keep-local"] = "refuse"
    lossy: Literal["refuse", "accept"] = "refuse"
    rename: Literal["title", "local"] = "title"
    #: Room for bytes that are not uploaded yet.
    spool_max: str | int = "10 GiB"

    @property
    def spool_bytes_max(self) -> int:
        """The bound in bytes."""
        return parse_size(self.spool_max)

    @property
    def lossless_still_bytes_max(self) -> int:
        """Up to which size Imgur keeps a still as it is; not configured."""
        return limits.LOSSLESS_STILL_BYTES_MAX

    def without_account(self) -> AnonymousMountConfig:
        """Return the same for uploads without an account."""
        return AnonymousMountConfig(**msgspec.structs.asdict(self))


class AnonymousMountConfig(MountConfig, frozen=True):
    """What writing to the drive means when there is no account."""

    @property
    def lossless_still_bytes_max(self) -> int:
        """Imgur makes smaller pictures of more, and of smaller ones."""
        return limits.LOSSLESS_ANONYMOUS_BYTES_MAX


class SyncConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the daemon treats what changes in watched folders."""

    settle_s: Seconds = limits.SETTLE_S
    delete_grace_s: Seconds = limits.DELETE_GRACE_S
    guard: bool = True
    quarantine_s: Seconds = limits.QUARANTINE_S


class FolderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One watched folder and what becomes of it."""

    path: str
    account: str = DEFAULT_ACCOUNT
    albums: str = "subfolders"
    deletes: Literal["keep", "mirror"] = "mirror"
    dedupe: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration file."""

    account: AccountConfig = AccountConfig()
    accounts: dict[str, AccountConfig] = {}
    cache: CacheConfig = CacheConfig()
    budget: BudgetConfig = BudgetConfig()
    mount: MountConfig = MountConfig()
    sync: SyncConfig = SyncConfig()
    folder: tuple[FolderConfig, ...] = ()

    def account_named(self, name: str) -> AccountConfig:
        """Return the settings of an account. Raises ConfigError for an unknown one."""
        if name == DEFAULT_ACCOUNT:
            return self.account
        if name in self.accounts:
            return self.accounts[name]
        known = ", ".join([DEFAULT_ACCOUNT, *sorted(self.accounts)])
        raise ConfigError(f"there is no account {name!r}", hint=f"known are: {known}")

    def folders_of(self, name: str) -> tuple[FolderConfig, ...]:
        """Return the watched folders of one account."""
        return tuple(folder for folder in self.folder if folder.account == name)


def parse_size(text: str | int) -> int:
    """Return bytes for ``"2 GiB"``, ``"500MB"`` or a number of bytes."""
    if isinstance(text, int):
        if text < 0:
            raise ValueError("a size is not negative")
        return text
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not a size; write for example "2 GiB"')
    return int(float(match[1]) * _UNITS[match[2] or "B"])


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration file and apply the environment's overrides.

    ``path`` None means ``$IMGURFS_CONFIG`` or the default place. A missing default
    file gives the defaults; a missing file that was asked for is an error.
    """
    asked = path or (Path(p) if (p := environ.get("IMGURFS_CONFIG")) else None)
    source = asked or paths.config_path()
    try:
        with source.open("rb") as file:
            text, mode = file.read().decode(), os.fstat(file.fileno()).st_mode
    except FileNotFoundError:
        if asked is not None:
            raise ConfigError(
                f"{source}: no such configuration file",
                hint=f"write one with: imgurfs --config {source} config init",
            ) from None
        text, mode = "", 0
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source} cannot be read: {error}") from error
    config = parse(text, source=str(source))
    _check_secrets(config, source, mode)
    return _with_environment(config, environ)


def parse(text: str, *, source: str = "configuration") -> Config:
    """Return the configuration in ``text``, or raise ConfigError naming the line."""
    try:
        document = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from error
    _check_keys(document, Config, (), text=text, source=source)
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        field = _field_of(str(error))
        line = _line_of(text, field)
        raise ConfigError(f"{source}:{line}: {_plain(str(error))}") from error
    _check_values(config, text=text, source=source)
    return config


def _check_keys(
    table: Mapping[str, Any],
    struct: type[msgspec.Struct],
    where: tuple[str, ...],
    *,
    text: str,
    source: str,
) -> None:
    """Raise ConfigError for the first key the struct does not know."""
    known = struct.__struct_fields__
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            line = _line_of(text, (*where, key))
            name = ".".join((*where, key))
            raise ConfigError(
                f"{source}:{line}: unknown key '{name}'",
                hint=f"did you mean '{near[0]}'?"
                if near
                else f"known here: {', '.join(known)}",
            )
        for inner, inner_where, inner_struct in _tables(key, value, where):
            _check_keys(inner, inner_struct, inner_where, text=text, source=source)


_STRUCTS: Mapping[str, type[msgspec.Struct]] = {
    "account": AccountConfig,
    "cache": CacheConfig,
    "budget": BudgetConfig,
    "mount": MountConfig,
    "sync": SyncConfig,
    "folder": FolderConfig,
}


def _tables(
    key: str, value: object, where: tuple[str, ...]
) -> list[tuple[Mapping[str, Any], tuple[str, ...], type[msgspec.Struct]]]:
    """Return the tables below a top-level key, with the struct each must fit."""
    if where:
        return []
    if key == "accounts" and isinstance(value, dict):
        return [
            (table, (key, name), AccountConfig)
            for name, table in value.items()
            if isinstance(table, dict)
        ]
    items = value if isinstance(value, list) else [value]
    return [
        (item, (key,), _STRUCTS[key])
        for item in items
        if key in _STRUCTS and isinstance(item, dict)
    ]


def _line_of(text: str, where: tuple[str, ...]) -> int:
    """Return the line (from 1) where a key is set; its table's line failing that."""
    table, key, found = "", where[-1] if where else "", 1
    assignment = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""")
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line)
        if header:
            table = header[1].replace('"', "").replace(" ", "")
            if table == ".".join(where):
                return number
            if table == ".".join(where[:-1]):
                found = number
        elif table == ".".join(where[:-1]) and assignment.match(line):
            return number
    return found


def _field_of(message: str) -> tuple[str, ...]:
    match = re.search(r"at `\$\.([^`]+)`", message)
    return tuple(re.sub(r"\[[^\]]*\]", "", match[1]).split(".")) if match else ()


def _plain(message: str) -> str:
    """Return msgspec's message in the words of the file."""
    return re.sub(r" - at `\$\.?([^`]*)`", r" (\1)", message)


def _check_values(config: Config, *, text: str, source: str) -> None:
    """Raise ConfigError for values that are well-formed but impossible."""

    def fail(where: tuple[str, ...], message: str, hint: str = "") -> None:
        raise ConfigError(f"{source}:{_line_of(text, where)}: {message}", hint=hint)

    sizes = {
        ("cache", "size_max"): config.cache.size_max,
        ("mount", "spool_max"): config.mount.spool_max,
    }
    for where_size, size in sizes.items():
        try:
            parse_size(size)
        except ValueError as error:
            fail(where_size, str(error))
    named: list[tuple[tuple[str, ...], AccountConfig]] = [
        (("account",), config.account)
    ]
    named += [(("accounts", name), a) for name, a in config.accounts.items()]
    for where, account in named:
        for key in ("api_url", "cdn_url"):
            if problem := _url_problem(getattr(account, key)):
                fail((*where, key), f"{key}: {problem}")
    for name in config.accounts:
        if name == DEFAULT_ACCOUNT:
            fail(("accounts", name), "the default account is [account]")
        paths.account_paths(name)
    for folder in config.folder:
        _check_folder(config, folder, fail)


def _check_folder(config: Config, folder: FolderConfig, fail: Any) -> None:
    if not Path(folder.path).expanduser().is_absolute():
        fail(("folder", "path"), f"path {folder.path!r} is not absolute")
    if folder.albums not in ("subfolders", "none") and not (
        folder.albums.startswith("one:") and folder.albums[4:].strip()
    ):
        fail(
            ("folder", "albums"),
            f"albums = {folder.albums!r} is not known",
            'use "subfolders", "none" or "one:<title>"',
        )
    if folder.account != DEFAULT_ACCOUNT and folder.account not in config.accounts:
        fail(("folder", "account"), f"there is no account {folder.account!r}")


def _url_problem(url: str) -> str:
    """Return what is wrong with a base URL, or ""."""
    parts = urlsplit(url)
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "not a URL like https://host"
    if parts.scheme == "http" and not loopback:
        return "plain http is accepted for this machine only"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return "give the address without a path (no /3)"
    if parts.username or parts.password:
        return "no user name or password belongs here"
    return ""


def _check_secrets(config: Config, source: Path, mode: int) -> None:
    accounts = [config.account, *config.accounts.values()]
    if any(a.client_secret for a in accounts) and stat.S_IMODE(mode) & 0o077:
        raise ConfigError(
            f"{source} holds a client_secret and others can read it",
            hint=f"chmod 600 {source}",
        )


def _with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """Apply ``IMGURFS_API_URL`` and ``IMGURFS_CDN_URL`` to every account."""
    changes = {
        field: value
        for field, variable in (
            ("api_url", "IMGURFS_API_URL"),
            ("cdn_url", "IMGURFS_CDN_URL"),
        )
        if (value := environ.get(variable))
    }
    for field, value in changes.items():
        if problem := _url_problem(value):
            raise ConfigError(f"IMGURFS_{field.upper()}: {problem}")
    if not changes:
        return config
    replace = msgspec.structs.replace
    return replace(
        config,
        account=replace(config.account, **changes),
        accounts={n: replace(a, **changes) for n, a in config.accounts.items()},
    )
