"""What is mounted in and around a watched folder.

A mount over a directory sends no file event, so the folder's task compares the table
now and then (:func:`concerning`); :func:`refuse_mounts` keeps the drives of ours apart
from the folders. The arguments named ``mountinfo`` are what :func:`read_mountinfo`
returns: the content of ``/proc/self/mountinfo``.
"""

from __future__ import annotations

import os
from pathlib import Path

from imgurfs.errors import MountpointError


def read_mountinfo() -> bytes:
    """Return what is mounted; takes well below a millisecond."""
    return Path("/proc/self/mountinfo").read_bytes()


def refuse_mounts(folder: bytes, *, mountinfo: bytes) -> None:
    """Raise MountpointError when a folder lies in a drive of ours or holds one.

    Uploading the account into itself would never end.
    """
    real = os.path.realpath(folder)
    for line in mountinfo.splitlines():
        fields = line.split(b" ")
        types = fields[fields.index(b"-") + 1 :] if b"-" in fields else []
        if not types or types[0] != b"fuse.imgurfs":
            continue
        mounted = _unescape(fields[4])
        if _is_within(real, mounted) or _is_within(mounted, real):
            raise MountpointError(
                f"{os.fsdecode(folder)} and the mounted drive {os.fsdecode(mounted)}"
                " lie in one another",
                hint="watch another folder, or mount the drive elsewhere",
            )


def concerning(folder: bytes, *, mountinfo: bytes) -> frozenset[tuple[bytes, bytes]]:
    """Return the mounts, as (id, where), that a folder lies on or that lie in it."""
    found = set()
    for line in mountinfo.splitlines():
        fields = line.split(b" ")
        mounted = _unescape(fields[4])
        if _is_within(folder, mounted) or _is_within(mounted, folder):
            found.add((fields[0], mounted))
    return frozenset(found)


def _unescape(path: bytes) -> bytes:
    r"""Undo the octal escapes of mountinfo (``\040`` is a space)."""
    head, *rest = path.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def _is_within(inner: bytes, outer: bytes) -> bool:
    return inner == outer or inner.startswith(outer.rstrip(b"/") + b"/")
