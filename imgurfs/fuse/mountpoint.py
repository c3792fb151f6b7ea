"""Whether a directory can become a mountpoint, and detaching what is mounted there.

Knows no session: ``fuse.session`` and the commands ``mount`` and ``unmount`` use it
before and after one. Everything here blocks for a moment.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imgurfs.errors import MountpointError, UnavailableError

#: What follows "fuse." in the type of our mounts.
SUBTYPE: Final = "imgurfs"
_DEVICE: Final = Path("/dev/fuse")
_HELPER: Final = "fusermount3"
_MOUNTS: Final = Path("/proc/self/mountinfo")
_FUSE_CONFIG: Final = Path("/etc/fuse.conf")
_HELPER_TIMEOUT_S: Final = 10.0
_INSTALL_HINT: Final = "install FUSE: apt-get install fuse3"


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of the kernel's mount table."""

    mountpoint: str
    type: str


def require_fuse(*, allow_other: bool) -> None:
    """Raise UnavailableError, with the fix, when this machine cannot mount."""
    if not _DEVICE.exists():
        raise UnavailableError(
            f"{_DEVICE} does not exist: this system has no FUSE",
            hint=f"{_INSTALL_HINT}; in a container also: --device /dev/fuse",
        )
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise UnavailableError(
            f"you may not use {_DEVICE}",
            hint="your administrator can add you to the group that owns it",
        )
    if shutil.which(_HELPER) is None:
        raise UnavailableError(f"the program {_HELPER} is missing", hint=_INSTALL_HINT)
    if allow_other and os.geteuid() != 0 and not _is_allow_other_permitted():
        raise UnavailableError(
            "--allow-other is not permitted on this machine",
            hint=f"put the line user_allow_other into {_FUSE_CONFIG}",
        )


def _is_allow_other_permitted() -> bool:
    try:
        lines = _FUSE_CONFIG.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def prepare(mountpoint: Path, *, forbidden: Sequence[Path]) -> Path:
    """Return the absolute path of a directory that can be mounted on.

    A mount of ours whose process died is detached first. Raises MountpointError for
    anything that is not an empty, unmounted directory, and for one that contains a
    ``forbidden`` directory (our state, a watched folder) or lies inside one.
    """
    path = _resolved(mountpoint)
    mounted = mounted_at(path)
    if mounted is not None:
        if mounted.type != f"fuse.{SUBTYPE}" or not is_dead(path):
            raise MountpointError(
                f"{path} is mounted already", hint=f"imgurfs unmount {path}"
            )
        detach(path)
        if mounted_at(path) is not None:
            raise MountpointError(
                f"{path} holds a dead mount that cannot be detached",
                hint=f"as root: umount -l {path}",
            )
    _check_nesting(path, forbidden)
    try:
        is_empty = not any(path.iterdir())
    except FileNotFoundError:
        raise MountpointError(
            f"{path} does not exist", hint=f"mkdir -p {path}"
        ) from None
    except NotADirectoryError:
        raise MountpointError(f"{path} is not a directory") from None
    except OSError as error:
        raise MountpointError(f"{path} cannot be used: {error.strerror}") from error
    if not is_empty:
        raise MountpointError(
            f"{path} is not empty", hint="mount on an empty directory"
        )
    return path


def _resolved(path: Path) -> Path:
    """Resolve the directory above only: a dead mount cannot be looked at."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - pure; resolve() would stat
    return absolute.parent.resolve() / absolute.name if absolute.name else absolute


def _check_nesting(path: Path, forbidden: Sequence[Path]) -> None:
    real = path.resolve()
    for other in forbidden:
        other_real = other.resolve()
        if real.is_relative_to(other_real) or other_real.is_relative_to(real):
            raise MountpointError(
                f"{path} and {other} lie inside each other",
                hint="choose a mountpoint away from watched folders and from our state",
            )


def is_dead(path: Path) -> bool:
    """Whether the process behind a FUSE mount has gone.

    Not by stat: the kernel remembers attributes longer than the process lives.
    """
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def mounted_at(path: Path) -> Mounted | None:
    """Return what is mounted exactly there, by the kernel's table alone."""
    found: Mounted | None = None
    for line in _MOUNTS.read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        place = _unescaped(left.split(" ")[4])
        if place == str(path):
            found = Mounted(place, right.split(" ")[0])  # the last one lies on top
    return found


def places() -> list[Path]:
    """Return where drives of ours are mounted, by the kernel's table alone."""
    found = []
    for line in _MOUNTS.read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        if right.split(" ")[0] == f"fuse.{SUBTYPE}":
            found.append(Path(_unescaped(left.split(" ")[4])))
    return found


def _unescaped(text: str) -> str:
    """Undo the octal escapes of the mount table."""
    for escape, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n")):
        text = text.replace(escape, char)
    return text.replace("\\134", "\\")


def detach(path: Path) -> None:
    """Take a mount out of the tree at once, whoever still stands in it."""
    _run_helper("-u", "-z", str(path))


def unmount(mountpoint: Path) -> None:
    """Unmount a drive of ours; the process behind it then ends by itself.

    Raises MountpointError when nothing of ours is mounted there or it is in use.
    """
    path = _resolved(mountpoint)
    mounted = mounted_at(path)
    if mounted is None:
        raise MountpointError(f"nothing is mounted on {path}")
    if mounted.type != f"fuse.{SUBTYPE}":
        raise MountpointError(f"what is mounted on {path} is not ours")
    result = _run_helper("-u", str(path))
    if result.returncode and mounted_at(path) is not None:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MountpointError(
            f"{path} could not be unmounted: {reason}",
            hint="close the programs that use it and try again",
        )


def _run_helper(*arguments: str) -> subprocess.CompletedProcess[str]:
    helper = shutil.which(_HELPER)
    if helper is None:
        raise UnavailableError(f"the program {_HELPER} is missing", hint=_INSTALL_HINT)
    try:
        return subprocess.run(  # noqa: S603 - our own arguments, no shell
            [helper, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_HELPER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{_HELPER} does not come back") from error
