"""What the kernel allows to be watched, and what the user would have to allow.

Reads ``/proc`` and blocks; for the daemon, when watches were refused, and for the
doctor.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_SYSCTL = _PROC / "sys"
_LINK = "anon_inode:inotify"
#: Room for what others will want to watch.
_SPARE = 1.25


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes whose files we may look at have: instances and watches."""

    instances: int
    watches: int


def usage(*, without: int = 0) -> Usage:
    """Count inotify instances and watches, those of this user at least.

    Not those of the process ``without``.
    """
    instances = watches = 0
    for process in _PROC.iterdir():
        if not process.name.isdigit() or process.name == str(without):
            continue
        try:
            numbers = os.listdir(process / "fd")  # noqa: PTH208 - names only
        except OSError:
            continue
        for number in numbers:
            try:
                if os.readlink(process / "fd" / number) != _LINK:  # noqa: PTH115
                    continue
                info = (process / "fdinfo" / number).read_bytes()
            except OSError:
                continue
            instances += 1
            watches += info.count(b"inotify wd:")
    return Usage(instances, watches)


def allowed() -> Usage:
    """Return how many instances and watches the user may have."""
    return Usage(_limit(_binding("instances")), _limit(_binding("watches")))


def advice(*, missing: int, without: int = 0) -> str:
    """Return the command that makes room for ``missing`` more watched directories."""
    used = usage(without=without)
    if not _is_instance_left(used):
        wanted = _rounded(used.instances + 1)
        return f"sudo sysctl -w {_binding('instances')}={wanted}"
    wanted = _rounded(used.watches + missing)
    return f"sudo sysctl -w {_binding('watches')}={wanted}"


def _is_instance_left(used: Usage) -> bool:
    return used.instances < _limit(_binding("instances"))


def _binding(what: str) -> str:
    """Return which setting is the lower one: this name space's or the machine's."""
    names = (f"fs.inotify.max_user_{what}", f"user.max_inotify_{what}")
    return min(names, key=_limit)


def _limit(name: str) -> int:
    try:
        return int((_SYSCTL / name.replace(".", "/")).read_bytes())
    except (OSError, ValueError):
        return 2**31 - 1


def _rounded(count: int) -> int:
    """Return a power of two with room to spare."""
    return 1 << int(count * _SPARE).bit_length()
