"""How a drive is to be: the options of ``imgurfs mount``, and of mount(8) and fstab.

Not a command and does nothing but read words; used by ``mount`` and ``mount_helper``.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.fuse.attributes import Ownership

#: What others in /etc/fstab's fourth column are meant for: mount(8) itself, systemd,
#: or kinds of files that a drive does not have. ``user=NAME`` is mount(8)'s note of who
#: mounts.
_FOR_OTHERS: Final = frozenset({
    "_netdev", "async", "atime", "auto", "comment", "default_permissions",
    "defaults", "dev", "diratime", "dirsync", "exec", "group", "iversion",
    "lazytime", "loud", "mand", "noatime", "noauto", "nodev", "nodiratime",
    "noexec", "nofail", "noiversion", "nolazytime", "nomand", "norelatime",
    "nostrictatime", "nosuid", "nouser", "nousers", "owner", "relatime",
    "silent", "strictatime", "suid", "sync", "user", "users",
})  # fmt: skip
_NON_MEDIA: Final = ("refuse", "keep-local")
_OCTAL: Final = re.compile(r"0?[0-7]{1,3}")
_NUMBER_MAX: Final = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFlags:
    """How the drive is to be, beyond the configuration; None is the usual.

    ``config_file`` and ``user`` (who serves it) are for mount(8) only. ``source`` is
    the name mount(8) knows it by.
    """

    allow_other: bool = False
    read_only: bool = False
    non_media: str | None = None
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None
    source: str = ""
    #: Of the process that serves; the unit asks for it.
    drop_privileges: bool = False
    config_file: Path | None = None
    user: str = ""

    def as_arguments(self) -> list[str]:
        """Return them for another process of ours."""
        arguments = ["--allow-other"] if self.allow_other else []
        arguments += ["--read-only"] if self.read_only else []
        arguments += ["--source", self.source] if self.source else []
        if self.non_media is not None:
            arguments += ["--non-media", self.non_media]
        if self.uid is not None:
            arguments += ["--uid", str(self.uid)]
        if self.gid is not None:
            arguments += ["--gid", str(self.gid)]
        if self.umask is not None:
            arguments += ["--umask", f"{self.umask:03o}"]
        return arguments

    @property
    def ownership(self) -> Ownership:
        """Whose the files are to be."""
        from imgurfs.fuse.attributes import Ownership

        named = {"uid": self.uid, "gid": self.gid, "umask": self.umask}
        return Ownership(**{key: n for key, n in named.items() if n is not None})


def parse(text: str, *, is_sloppy: bool = False) -> MountFlags:
    """Return what ``-o`` says: words between commas, the last one of a kind counts.

    Raises UsageError for one that nobody knows, unless sloppy, and for bad values.
    """
    flags = MountFlags()
    for option in text.split(","):
        name, _, value = option.strip().partition("=")
        if not name or name in _FOR_OTHERS or name.lower().startswith("x-"):
            continue
        if name in _PLAIN and not value:
            flags = _PLAIN[name](flags)
        elif name in _VALUED and value:
            flags = _VALUED[name](flags, value)
        elif not is_sloppy:
            known = ", ".join([*_PLAIN, *(f"{key}=" for key in _VALUED)])
            raise UsageError(
                f"mount option {option.strip()!r} is not known", hint=f"known: {known}"
            )
    return flags


def user_id(text: str) -> int:
    """Return the number of a user, given by it or by name. Raises UsageError."""
    return _id(text, "user", lambda name: pwd.getpwnam(name).pw_uid)


def group_id(text: str) -> int:
    """Return the number of a group, given by it or by name. Raises UsageError."""
    return _id(text, "group", lambda name: grp.getgrnam(name).gr_gid)


def umask_of(text: str) -> int:
    """Return the permission bits written in octal. Raises UsageError."""
    if not _OCTAL.fullmatch(text):
        raise UsageError(
            f"umask {text!r} is not an octal number", hint="for example 022 or 077"
        )
    return int(text, 8)


def _id(text: str, kind: str, look_up: Callable[[str], int]) -> int:
    if text.isascii() and text.isdigit() and int(text) <= _NUMBER_MAX:
        return int(text)
    try:
        return look_up(text)
    except KeyError:
        raise UsageError(f"there is no {kind} {text!r}") from None


def _non_media(flags: MountFlags, value: str) -> MountFlags:
    if value not in _NON_MEDIA:
        raise UsageError(f"non_media is one of: {', '.join(_NON_MEDIA)}")
    return replace(flags, non_media=value)


def _config(flags: MountFlags, value: str) -> MountFlags:
    path = Path(value)
    if not path.is_absolute():
        raise UsageError(f"config={value}: give the whole path, beginning with /")
    return replace(flags, config_file=path)


_PLAIN: Final[dict[str, Callable[[MountFlags], MountFlags]]] = {
    "ro": lambda flags: replace(flags, read_only=True),
    "rw": lambda flags: replace(flags, read_only=False),
    "allow_other": lambda flags: replace(flags, allow_other=True),
}
_VALUED: Final[dict[str, Callable[[MountFlags, str], MountFlags]]] = {
    "uid": lambda flags, value: replace(flags, uid=user_id(value)),
    "gid": lambda flags, value: replace(flags, gid=group_id(value)),
    "umask": lambda flags, value: replace(flags, umask=umask_of(value)),
    "non_media": _non_media,
    "config": _config,
    "setuid": lambda flags, value: replace(flags, user=value),
}
