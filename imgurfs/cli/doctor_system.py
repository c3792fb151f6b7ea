"""What the doctor looks at on this machine: FUSE, mounts, versions.

Not a command; used by ``doctor``. Every function returns findings and changes nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imgurfs import __version__
from imgurfs.cli.doctor_run import Check, Finding, run

if TYPE_CHECKING:
    from imgurfs.clock import Clock

_TYPE: Final = "fuse.imgurfs"
_CAPABILITIES: Final = "security.capability"
_ALLOW: Final = "user_allow_other"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Where things lie on this machine, and who asks."""

    device: Path = Path("/dev/fuse")
    fuse_config: Path = Path("/etc/fuse.conf")
    fstab: Path = Path("/etc/fstab")
    helpers: Path = Path("/sbin")
    is_root: bool = os.geteuid() == 0


def versions() -> Iterator[Finding]:
    """Tell the versions of what everything stands on."""
    import pyfuse3
    import trio

    known = f"{sys.version_info.major}.{sys.version_info.minor}"
    yield Finding(
        "versions",
        "ok",
        f"imgurfs {__version__}, Python {known}.{sys.version_info.micro},"
        f" pyfuse3 {pyfuse3.__version__}, trio {trio.__version__}",
    )


def device(system: System) -> Iterator[Finding]:
    """Look whether the kernel's FUSE is there and may be used."""
    path = system.device
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        fix = "sudo apt-get install fuse3; in a container also: --device /dev/fuse"
        yield Finding("fuse", "problem", f"{path} does not exist", fix)
    except PermissionError:
        fix = f"sudo chmod 666 {path}, or join the group that owns it"
        yield Finding("fuse", "problem", f"{path} may not be used by you", fix)
    except OSError as error:
        what = f"{path}: {error.strerror}"
        yield Finding("fuse", "problem", what, "sudo modprobe fuse")
    else:
        yield Finding("fuse", "ok", f"{path} can be used")


def unmounter(system: System) -> Iterator[Finding]:
    """Look whether the program that mounts for users is there and may do it."""
    found = shutil.which("fusermount3")
    if found is None:
        fix = "sudo apt-get install fuse3"
        yield Finding(
            "fusermount3", "problem", "the program fusermount3 is missing", fix
        )
    elif not system.is_root and not _has_rights(Path(found)):
        fix = f"sudo chown root {found} && sudo chmod 4755 {found}"
        what = f"{found} is not setuid root, so users cannot mount"
        yield Finding("fusermount3", "problem", what, fix)
    else:
        yield Finding("fusermount3", "ok", found)


def _has_rights(path: Path) -> bool:
    found = path.stat()
    if found.st_mode & stat.S_ISUID and found.st_uid == 0:
        return True
    try:
        return bool(os.getxattr(path, _CAPABILITIES))
    except OSError:
        return False


def allow_other(system: System) -> Iterator[Finding]:
    """Look whether users may let others see their drives, where that is asked for."""
    asking = [
        place
        for place, options in _lines(system)
        if "allow_other" in options
        and (not system.is_root or any(o.startswith("setuid=") for o in options))
    ]
    try:
        text = system.fuse_config.read_text(errors="replace")
    except OSError:
        text = ""
    if _ALLOW in (line.strip() for line in text.splitlines()):
        yield Finding("allow_other", "ok", "users may let others see their drives")
    elif asking:
        what = f"{', '.join(asking)} is to be seen by others, which users may not allow"
        fix = f"echo {_ALLOW} | sudo tee -a {system.fuse_config}"
        yield Finding("allow_other", "problem", what, fix)
    else:
        what = (
            f"only root may (no {_ALLOW} in {system.fuse_config}); nobody asks for it"
        )
        yield Finding("allow_other", "ok", what)


def fstab(system: System) -> Iterator[Finding]:
    """Look whether mount(8) finds the program for the lines of our type."""
    places = [place for place, _ in _lines(system)]
    helper = system.helpers / f"mount.{_TYPE}"
    if not places:
        return
    if os.access(helper, os.X_OK):
        yield Finding("fstab", "ok", f"{', '.join(places)}: mounted by {helper}")
        return
    script = Path(sysconfig.get_path("scripts")) / helper.name
    what = f"mount(8) needs {helper} for {', '.join(places)}"
    fix = f"sudo ln -sf {shlex.quote(str(script))} {system.helpers}/"
    yield Finding("fstab", "problem", what, fix)


def _lines(system: System) -> list[tuple[str, list[str]]]:
    """Return place and options of the lines that are ours."""
    try:
        text = system.fstab.read_text(errors="replace")
    except OSError:
        return []
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return [(r[1], r[3].split(",")) for r in rows if len(r) > 3 and r[2] == _TYPE]


def mounts(clock: Clock) -> Iterator[Finding]:
    """Look for mounts of ours that nobody serves any more, each on its own."""
    from imgurfs.fuse import mountpoint

    places = mountpoint.places()
    if not places:
        yield Finding("mounts", "ok", "no drive is mounted")
    yield from run(
        [
            Check(name="mounts", look=partial(_mount, p), fix_if_silent=_detach(p))
            for p in places
        ],
        clock=clock,
    )


def _mount(place: Path) -> Iterator[Finding]:
    from imgurfs.fuse import mountpoint

    if mountpoint.is_dead(place):
        what = f"{place}: the process behind the mount is gone"
        yield Finding("mounts", "problem", what, _detach(place))
    else:
        yield Finding("mounts", "ok", f"{place} is mounted")


def _detach(place: Path) -> str:
    return f"fusermount3 -uz {shlex.quote(str(place))}, and mount it again"
