"""When a file's absence from a snapshot means that it is gone.

Everything that ends in a deletion passes here. Absence counts when the walk met no
problem, the folder still is the directory it was when first seen, the file's directory
was read, nothing that is never uploaded has taken the path, and the nearest directory
that is left lies on the disk the file was on.
"""

from __future__ import annotations

from collections.abc import Iterable

from imgurfs_daemon.planning.trees import KnownFile, Synced
from imgurfs_daemon.snapshot import Snapshot, parent_of


def absence_problem(local: Snapshot, synced: Synced) -> str:
    """Return why nothing may be derived from a file's absence, "" when it may."""
    if local.root is None:
        why = local.problems[0].reason if local.problems else "it is not there"
        return f"the folder cannot be read ({why})"
    if synced.root is not None and local.root != synced.root:
        return "the folder is not the directory it was (another disk, or replaced)"
    if local.problems:
        first = local.problems[0]
        where = first.path.decode("utf-8", "replace") or "the folder"
        return f"not all of it could be read ({where}: {first.reason})"
    return ""


def is_gone(known: KnownFile, local: Snapshot) -> bool:
    """Whether a file that is not in the snapshot is not on the disk either.

    For a snapshot without an :func:`absence_problem`.
    """
    path = known.stat.path
    if path in local.files or is_hidden(path, local):
        return False
    return device_left(known.stat.directory, local) == known.stat.device


def is_directory_gone(directory: bytes, local: Snapshot) -> bool:
    """Whether a directory that stands for an album is not on the disk any more."""
    return (
        directory not in local.directories
        and not is_hidden(directory, local)
        and device_left(directory, local) is not None
    )


def vanished(
    directories: Iterable[bytes], local: Snapshot, scope: frozenset[bytes]
) -> set[bytes]:
    """Return which of these, or what they are in, a directory in scope has no more.

    Those that were asked for themselves are left out.
    """
    found: set[bytes] = set()
    for here in directories:
        while here and parent_of(here) not in scope:
            here = parent_of(here)  # noqa: PLW2901 - climbed, not replaced
        if (
            here
            and b"\0" not in here  # the only album of a folder is no directory
            and here not in scope
            and here not in local.below
            and parent_of(here) in local.directories
            and not is_hidden(here, local)
        ):
            found.add(here)
    return found


def device_left(directory: bytes, local: Snapshot) -> int | None:
    """Return the device of a directory, or of the nearest one that is left.

    None when that was not read: nothing is known about what is, or was, below.
    """
    while directory not in local.directories:
        if local.scope is not None and directory not in local.scope:
            return None
        if not directory:
            return None
        directory = parent_of(directory)
    return local.directories[directory].device


def is_hidden(path: bytes, local: Snapshot) -> bool:
    """Whether the path, or a directory it is in, exists as something not uploaded."""
    while path:
        if path in local.others:
            return True
        path = parent_of(path)
    return False


def was_read(path: bytes, local: Snapshot) -> bool:
    """Whether the directory of a path was read, or is known to be gone."""
    return device_left(parent_of(path), local) is not None
