"""The files of the service: which there are, what is in them, writing and removing.

Not a command and no talk with systemd (``service_manager``); used by ``imgurfs
service``. The units travel with the program (``systemd/``) and are written where the
user's systemd looks, with this installation's programs. What belongs to one account
stands in drop-ins. Every file begins with :data:`HEADER`, and only such files are ever
replaced or removed.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from imgurfs import paths
from imgurfs.api.given import CLIENT_SECRET, REFRESH_TOKEN
from imgurfs.errors import UnavailableError, UsageError

HEADER: Final = (
    "# Written by 'imgurfs service install'; 'imgurfs service uninstall' removes it.\n"
)
TARGET: Final = "imgurfs.target"
SYNC: Final = "imgurfs-sync@"
MOUNT: Final = "imgurfs-mount@"
#: The variable of the mount unit that says where it mounts.
MOUNTPOINT: Final = "IMGURFS_MOUNTPOINT"
#: Drop-ins that are used where they start, in this order.
HARDENING: Final = ("sync-calls.conf", "sync-sandbox.conf")

_PLACE: Final = "10-place.conf"
_CREDENTIALS: Final = "40-credentials.conf"
_XDG: Final = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.+@:,-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be installed for one account."""

    account: str
    has_sync: bool
    mountpoint: Path | None
    config_file: Path | None
    credentials: Path | None
    environ: Mapping[str, str]

    @property
    def units(self) -> list[str]:
        """The unit names, in the order they are started."""
        names = [unit(SYNC, self.account)] if self.has_sync else []
        if self.mountpoint is not None:
            names.append(unit(MOUNT, self.account))
        return names

    def variables(self) -> dict[str, str]:
        """Return what the service must know of this shell's environment."""
        found = {name: self.environ[name] for name in _XDG if self.environ.get(name)}
        if self.config_file is not None:
            found["IMGURFS_CONFIG"] = str(self.config_file.absolute())
        return found


def unit(prefix: str, account: str) -> str:
    """Return the name of an account's unit."""
    return f"{prefix}{account}.service"


def directory() -> Path:
    """Return where a user's own units lie."""
    return platformdirs.user_config_path("systemd") / "user"


def programs() -> dict[str, str]:
    """Return the packager's paths in our units, and what stands for them here.

    Raises UnavailableError when this installation lacks one.
    """
    scripts = Path(sysconfig.get_path("scripts"))
    found: dict[str, str] = {}
    for name in ("imgurfs-daemon", "imgurfs"):
        if not os.access(scripts / name, os.X_OK):
            raise UnavailableError(
                f"this installation has no program {scripts / name}",
                hint="install imgurfs with pip, pipx or a package",
            )
        found[f"/usr/bin/{name}"] = str(scripts / name)
    found["/usr/bin/fusermount3"] = (
        shutil.which("fusermount3") or "/usr/bin/fusermount3"
    )
    return found


def shipped(name: str) -> str:
    """Return a file of ``systemd/``, which travels inside the wheel."""
    from importlib.resources import files

    packaged = files("imgurfs").joinpath("systemd", name)
    if packaged.is_file():
        return packaged.read_text()
    return (Path(__file__).parents[2] / "systemd" / name).read_text()


def common_files() -> dict[Path, str]:
    """Return the files that all accounts share. Raises UnavailableError."""
    replaced = programs()
    texts = {}
    for name in (f"{SYNC}.service", f"{MOUNT}.service", TARGET):
        text = shipped(name)
        for standard, here in replaced.items():
            # A word of its own: one program's name begins with the other's.
            text = re.sub(rf"{re.escape(standard)}(?=\s)", _literally(here), text)
        texts[directory() / name] = HEADER + text
    return texts


def account_files(wanted: Wanted) -> dict[Path, str]:
    """Return the drop-ins of one account, but for the hardening. Raises UsageError."""
    texts = {}
    for name in wanted.units:
        variables = wanted.variables()
        if name.startswith(MOUNT):
            variables[MOUNTPOINT] = str(wanted.mountpoint)
        lines = [f"Environment={quoted(f'{k}={v}')}" for k, v in variables.items()]
        texts[_drop_in(name, _PLACE)] = _section(lines)
        if wanted.credentials is not None:
            texts[_drop_in(name, _CREDENTIALS)] = _section(credentials(wanted))
    return texts


def credentials(wanted: Wanted) -> list[str]:
    """Return the settings for the secrets that systemd is to hand over. UsageError."""
    where = wanted.credentials
    if where is None:
        return []
    found = [n for n in (REFRESH_TOKEN, CLIENT_SECRET) if (where / n).is_file()]
    if not found:
        raise UsageError(
            f"{where} holds no credential",
            hint=f"put files named {REFRESH_TOKEN} and {CLIENT_SECRET} there",
        )
    texts = [f"LoadCredential={name}:{where.absolute() / name}" for name in found]
    if not all(text.isprintable() for text in texts):
        raise UsageError(f"{str(where)!r} cannot stand in a unit file")
    return [text.replace("%", "%%") for text in texts]


def hardening_file(name: str, account: str) -> tuple[Path, str]:
    """Return where a hardening drop-in of an account's sync unit goes, and its text."""
    text = shipped(name)
    if name == "sync-sandbox.conf":
        places = " ".join(quoted(f"-{path}") for path in writable(account))
        text += f"# Its own state and cache.\nReadWritePaths={places}\n"
        for path in hidden():
            text += f"# The program itself.\nBindReadOnlyPaths={quoted(str(path))}\n"
    number = 20 + 10 * HARDENING.index(name)
    file_name = f"{number}-{name.removeprefix('sync-')}"
    return _drop_in(unit(SYNC, account), file_name), HEADER + text


def writable(account: str) -> list[Path]:
    """Return the directories the sync daemon writes to."""
    own = paths.account_paths(account)
    return [own.budget_db.parent, own.cache_dir.parent]


def hidden() -> list[Path]:
    """Return the parts of this installation that PrivateTmp= would hide."""
    package = Path(__file__).parents[2]
    parts = {Path(sys.prefix), Path(sys.base_prefix), package}
    hiding = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - to be looked for, not used
    return sorted(p for p in parts if any(p.is_relative_to(one) for one in hiding))


def properties(text: str) -> list[str]:
    """Return the settings of a drop-in as systemd-run takes them."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if "=" in line and not line.startswith("#")]


def mountpoint_of(account: str) -> Path | None:
    """Return where an installed mount unit mounts."""
    try:
        text = _drop_in(unit(MOUNT, account), _PLACE).read_text()
    except OSError:
        return None
    match = re.search(rf'^Environment="{MOUNTPOINT}=(.*)"$', text, re.MULTILINE)
    if match is None:
        return None
    plain = re.sub(r'\\(["\\])', r"\1", match[1])
    return Path(plain.replace("%%", "%"))


def installed() -> list[str]:
    """Return the units of all accounts that were installed here."""
    found = directory().glob("imgurfs-*@?*.service.d/" + _PLACE)
    names = [file.parent.name.removesuffix(".d") for file in found if is_ours(file)]
    return sorted(names, key=lambda name: (name.partition("@")[2], name))


def is_ours(file: Path) -> bool:
    """Whether a file may be replaced or removed."""
    try:
        return file.read_text(errors="replace").startswith(HEADER)
    except OSError:
        return False


def write(texts: Mapping[Path, str]) -> list[Path]:
    """Write files; return those that are new or changed.

    Raises UsageError before anything is written when somebody else's file is in the
    way, UnavailableError when it cannot be written.
    """
    for file in texts:
        if file.exists() and not is_ours(file):
            raise UsageError(
                f"{file} was not written by 'imgurfs service install'",
                hint="move it away first",
            )
    changed = []
    for file, text in texts.items():
        if is_ours(file) and file.read_text() == text:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{file.name}.new")
            temporary.write_text(text)
            temporary.replace(file)
        except OSError as error:
            raise UnavailableError(
                f"{file} cannot be written: {error.strerror}"
            ) from error
        changed.append(file)
    return changed


def remove(files: Iterable[Path]) -> list[Path]:
    """Remove files of ours, and directories that are empty then; return which."""
    removed = []
    for file in files:
        if not is_ours(file):
            continue
        file.unlink()
        removed.append(file)
        if file.parent.name.endswith(".d") and not any(file.parent.iterdir()):
            file.parent.rmdir()
    return removed


def drop_ins(name: str) -> list[Path]:
    """Return the drop-ins of a unit that we wrote."""
    found = (directory() / f"{name}.d").glob("*.conf")
    return sorted(file for file in found if is_ours(file))


def quoted(text: str) -> str:
    """Return text as one word of a unit file. Raises UsageError for what cannot be."""
    if not text.isprintable():
        raise UsageError(f"{text!r} cannot stand in a unit file")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _word(path: str) -> str:
    return path if _PLAIN.fullmatch(path) else quoted(path)


def _literally(path: str) -> str:
    """Return a path as a replacement of re.sub, which gives backslashes a meaning."""
    return _word(path).replace("\\", "\\\\")


def _drop_in(name: str, file_name: str) -> Path:
    return directory() / f"{name}.d" / file_name


def _section(lines: Iterable[str]) -> str:
    return HEADER + "\n[Service]\n" + "".join(f"{line}\n" for line in lines)
