"""From a path that somebody typed to what the database has there. Not a command.

A path is a name on the drive ("Holiday/IMG_1.jpg"), or one in the mounted drive.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imgurfs.cli.words import printable
from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.store.database import Connection
    from imgurfs.store.entries import Entry, Node


def find(c: Connection, path: str) -> tuple[Node, Entry | None]:
    """Return the directory a path leads to, and its entry if it leads to an image.

    "" is the root. Raises UsageError.
    """
    from imgurfs.model import ROOT_INODE
    from imgurfs.store import entries

    directory = entries.node(c, ROOT_INODE)
    assert directory is not None
    parts = _parts(path)
    while parts:
        entry = entries.child(c, directory.inode, parts[0])
        if entry is None or (entry.node.album is None and len(parts) > 1):
            raise UsageError(
                f"there is no '{printable('/'.join(parts))}' on the drive",
                hint="list what there is: imgurfs ls",
            )
        if entry.node.album is None:
            return directory, entry
        directory = entry.node
        parts = parts[1:]
    return directory, None


def _parts(path: str) -> list[str]:
    """Return the names that lead to a path: one in a mount, or one on the drive."""
    from imgurfs.cli import drive_paths

    place = Path(path)
    found = drive_paths.find(place) if path and place.exists() else None
    if found is None:
        return [part for part in path.split("/") if part not in ("", ".")]
    return found.names
