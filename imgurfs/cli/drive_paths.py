"""Paths in a mounted drive: what such a path is, asked of the drive itself.

Extended attributes tell it, so this needs no socket, no account and no database. Not a
command; what the database says of the drive is ``jobs.drive_names``'.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from imgurfs.errors import UnavailableError

#: What "there is no such attribute" and "there are none here" look like.
_NONE = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Found:
    """A file or directory of a drive. ``state`` is "" for the drive's top.

    ``inode`` is its number, the same in the account's database.
    """

    path: Path
    inode: int
    is_directory: bool
    state: str
    image_or_album_id: str
    link: str
    error: str

    @property
    def names(self) -> list[str]:
        """The names that lead to it from the drive's top."""
        names: list[str] = []
        place = self.path.resolve()
        while not place.is_mount():
            names.insert(0, place.name)
            place = place.parent
        return names


def find(path: Path) -> Found | None:
    """Return what a path is on a mounted drive, None when it lies on none.

    None as well when nothing is there. Raises UnavailableError when it cannot be read.
    """
    from imgurfs.fuse.mountpoint import SUBTYPE, mounted_at

    try:
        found = path.lstat()
        state = _attribute(path, "user.imgurfs.state")
        if not state:
            mounted = mounted_at(path.resolve())
            if mounted is None or mounted.type != f"fuse.{SUBTYPE}":
                return None
        return Found(
            path=path,
            inode=found.st_ino,
            is_directory=path.is_dir(),
            state=state,
            image_or_album_id=_attribute(path, "user.imgur.id"),
            link=_attribute(path, "user.imgur.link"),
            error=_attribute(path, "user.imgurfs.error"),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error


def _attribute(path: Path, name: str) -> str:
    try:
        return os.getxattr(path, name, follow_symlinks=False).decode("utf-8", "replace")
    except OSError as error:
        if error.errno in _NONE:
            return ""
        raise
