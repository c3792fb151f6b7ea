"""What has to hold before a name on the drive may change, in the order POSIX wants.

Functions over a connection, for the transactions of :mod:`imgurfs.writing.moves` and
:mod:`imgurfs.writing.albums`; they change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from imgurfs.config import MountConfig
from imgurfs.errors import (
    IsDirectoryError,
    NameTakenError,
    NoDirectoryError,
    NotAllowedError,
    NotFoundError,
)
from imgurfs.model import Inode
from imgurfs.store import edits, entries
from imgurfs.store.database import Connection
from imgurfs.store.drafts import DraftState
from imgurfs.store.entries import Node, NodeKind
from imgurfs.writing import judge

#: A content in one of these has been looked at and is media.
_MEDIA: Final = frozenset({DraftState.WAITING, DraftState.SENT, DraftState.KEPT})


@dataclass(frozen=True, slots=True)
class Edit:
    """The circumstances of one change: its transaction, its moment, the settings.

    ``now`` is an epoch; deletions it asks for are sent ``delete_grace_s`` later.
    """

    c: Connection
    now: float
    settings: MountConfig
    delete_grace_s: float

    @property
    def now_ns(self) -> int:
        """The moment as file times have it."""
        return round(self.now * 1_000_000_000)

    def touch_directory(self, inode: Inode) -> None:
        """Note that the names in a directory changed."""
        edits.touch(self.c, inode, mtime_ns=self.now_ns, ctime_ns=self.now_ns)

    def touch_file(self, inode: Inode) -> None:
        """Note that the names of a file changed."""
        edits.touch(self.c, inode, ctime_ns=self.now_ns)


def directory(c: Connection, inode: Inode) -> Node:
    """Return a directory. Raises NotFoundError, NoDirectoryError."""
    node = entries.node(c, inode)
    if node is None or node.is_hidden:
        raise NotFoundError("the directory does not exist any more")
    if node.kind is NodeKind.IMAGE:
        raise NoDirectoryError("it is a file")
    return node


def found(c: Connection, parent: Inode, name: str) -> Node:
    """Return what has a name. Raises NotFoundError."""
    entry = entries.child(c, parent, name)
    if entry is None:
        raise NotFoundError(f"there is no {name!r}")
    return entry.node


def found_file(c: Connection, parent: Inode, name: str) -> Node:
    """Return the file that has a name. Raises NotFoundError, IsDirectoryError."""
    node = found(c, parent, name)
    if node.kind is not NodeKind.IMAGE:
        raise IsDirectoryError(f"{name!r} is an album")
    return node


def found_album(c: Connection, parent: Inode, name: str) -> Node:
    """Return the album that has a name. Raises NotFoundError, NoDirectoryError."""
    node = found(c, parent, name)
    if node.album is None:
        raise NoDirectoryError(f"{name!r} is a file")
    return node


def free(c: Connection, parent: Inode, name: str) -> None:
    """Raise NameTakenError when something has the name."""
    if entries.child(c, parent, name) is not None:
        raise NameTakenError(f"there is a {name!r} already")


def directory_name(name: str) -> None:
    """Raise EditError when an album cannot be called that on the drive."""
    problem = judge.name_problem(name, takes_any=True)
    if problem is not None:
        raise problem
    if name == ".Trash" or name.startswith(".Trash-"):
        raise NotAllowedError(
            "the drive has no trash of its own",
            hint="deletions can be undone for a while: imgurfs undo",
        )


def file_name(edit: Edit, node: Node, name: str) -> None:
    """Raise EditError when this file cannot be called that.

    A file that is media by its content may have any name; another one only what it
    could have been created with.
    """
    is_media = node.image is not None and node.image.id != ""
    if node.draft is not None and node.draft.state in _MEDIA:
        is_media = True
    takes_any = is_media or edit.settings.non_media == "keep-local"
    problem = judge.name_problem(name, takes_any=takes_any)
    if problem is not None:
        raise problem
