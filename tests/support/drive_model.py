"""What a writable drive has to show: a small model of its files and their bytes.

What names mean, and what the account becomes of them, is ``drive_names_model``'s. It
knows names, bytes, links and open files, and nothing of inodes, jobs, rows or time.
Every operation returns what a program may be told: the errnos that fit, or an empty set
when it must succeed. Several fit when several things are wrong at once.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

#: The smallest picture; what follows it makes contents differ.
PICTURE: Final = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00"
    b"\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
#: The errnos that fit; none: it succeeds.
Errnos: TypeAlias = frozenset[int]

DONE: Final[Errnos] = frozenset()


@dataclass(eq=False)
class File:
    """A file. ``remote`` is the content that the account has of it, None for none."""

    content: bytes = b""
    is_dirty: bool = True
    #: What a program is told when it closes the file next.
    refusal: Errnos = DONE
    state: str = "writing"
    remote: bytes | None = None
    #: The content of the image that is deleted when this file has been uploaded.
    replaces: bytes | None = None
    mtime_ns: int | None = None
    #: Whether its names have changed since everything was sent.
    is_moved: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether drive and account agree about it."""
        is_same = self.remote == self.content and self.replaces is None
        return is_same and not (self.is_dirty or self.is_moved)


@dataclass(eq=False)
class Folder:
    """An album. ``title`` is the one that the account knows, None: it knows none."""

    files: dict[str, File] = field(default_factory=dict)
    title: str | None = None


@dataclass(eq=False)
class Opened:
    """An open file."""

    file: File
    is_for_writing: bool


@dataclass(frozen=True)
class Shown:
    """What the drive shows of a file."""

    content: bytes
    links: int
    mtime_ns: int | None


#: Path to what is there; None: a directory.
Picture: TypeAlias = dict[str, Shown | None]
#: Title to contents; "" for the images that are in no album.
Account: TypeAlias = dict[str, list[bytes]]


def is_temporary(name: str) -> bool:
    """Whether a name, of those that are tried, means that something is not finished."""
    return name.startswith(".") or name.endswith(("~", ".part"))


class Contents:
    """The drive's files and their bytes. Paths have at most two names."""

    def __init__(self) -> None:
        self.root: dict[str, File | Folder] = {}
        self.opened: dict[int, Opened] = {}
        self._last_handle = 0

    # --- Looking ---------------------------------------------------------------

    def view(self) -> Picture:
        """Return everything that is to be seen."""
        found: Picture = {}
        for path, thing in self._walk():
            if isinstance(thing, File):
                found[path] = Shown(thing.content, self.links(thing), thing.mtime_ns)
            else:
                found[path] = None
        return found

    def account(self) -> Account:
        """Return what the account holds when everything has been sent."""
        found: Account = {"": []}
        for thing in self.root.values():
            if isinstance(thing, Folder):
                if thing.title is not None:
                    found[thing.title] = _remote(thing.files.values())
            elif thing.remote is not None:
                found[""].append(thing.remote)
        return {title: sorted(held) for title, held in found.items()}

    def lingering(self) -> set[bytes]:
        """Return contents that the account may still have: replaced, and not yet by."""
        files = [*self._files(), *(one.file for one in self.opened.values())]
        return {one.replaces for one in files if one.replaces is not None}

    def links(self, file: File) -> int:
        """Return how many names a file has."""
        return sum(one is file for one in self._files())

    def paths(self, *, directories: bool = True) -> list[str]:
        """Return every path, in a stable order."""
        return sorted(
            path
            for path, thing in self._walk()
            if directories or isinstance(thing, File)
        )

    def folders(self) -> list[str]:
        """Return the paths of the directories, the top among them."""
        return ["", *(p for p, thing in self._walk() if isinstance(thing, Folder))]

    def _walk(self) -> Iterator[tuple[str, File | Folder]]:
        for name, thing in self.root.items():
            yield name, thing
            if isinstance(thing, Folder):
                for inner, file in thing.files.items():
                    yield f"{name}/{inner}", file

    def _files(self) -> Iterator[File]:
        return (thing for _, thing in self._walk() if isinstance(thing, File))

    def _names(self, file: File) -> list[str]:
        return [p.rpartition("/")[2] for p, thing in self._walk() if thing is file]

    def find(self, path: str) -> File | Folder | None:
        """Return what is at a path."""
        return dict(self._walk()).get(path)

    def _place(self, path: str) -> tuple[dict[str, File], str] | int:
        """Return a directory's entries and the name in it, or what is wrong."""
        parent, _, name = path.rpartition("/")
        if not parent:
            return self.root, name  # type: ignore[return-value]  # albums are there too
        thing = self.find(parent)
        if thing is None:
            return errno.ENOENT
        return (thing.files, name) if isinstance(thing, Folder) else errno.ENOTDIR

    # --- Bytes -----------------------------------------------------------------

    def open(
        self, path: str, *, creates: bool, excludes: bool, truncates: bool, writes: bool
    ) -> tuple[Errnos, int]:
        """Open a file; return the errnos, and the number of the handle."""
        place = self._place(path)
        if isinstance(place, int):
            return frozenset([place]), 0
        entries, name = place
        thing = self.find(path)
        if isinstance(thing, Folder):
            both = creates and excludes
            return frozenset([errno.EEXIST if both else errno.EISDIR]), 0
        if thing is None:
            wrong = name_errnos(name) if creates else {errno.ENOENT}
            if wrong:
                return frozenset(wrong), 0
            thing = entries[name] = File()
        elif creates and excludes:
            return frozenset([errno.EEXIST]), 0
        elif truncates:
            self._change(thing, b"")
        self._last_handle += 1
        self.opened[self._last_handle] = Opened(thing, writes)
        return DONE, self._last_handle

    def write(self, handle: int, data: bytes, offset: int | None) -> Errnos:
        """Write at an offset, None for the end."""
        file = self.opened[handle].file
        start = len(file.content) if offset is None else offset
        padded = file.content.ljust(start, b"\0")
        self._change(file, padded[:start] + data + padded[start + len(data) :])
        return DONE

    def cut(self, handle: int, size_bytes: int) -> Errnos:
        """Set the size of an open file."""
        self._resize(self.opened[handle].file, size_bytes)
        return DONE

    def truncate(self, path: str, size_bytes: int) -> Errnos:
        """Set the size of a file by its path."""
        file = self._file(path)
        if isinstance(file, frozenset):
            return file
        self._resize(file, size_bytes)
        if not any(one.file is file for one in self.opened.values()):
            self._commit(file)
            file.refusal = DONE
        return DONE

    def _resize(self, file: File, size_bytes: int) -> None:
        is_there = file.state == "uploaded" and not file.is_dirty
        if is_there and size_bytes == len(file.content) > 0:
            return
        self._change(file, file.content[:size_bytes].ljust(size_bytes, b"\0"))

    def _change(self, file: File, content: bytes) -> None:
        file.content = content
        file.is_dirty, file.state, file.mtime_ns = True, "writing", None

    def fsync(self, handle: int) -> Errnos:
        """Make durable; whether Imgur takes it is told when it is closed."""
        self._commit(self.opened[handle].file)
        return DONE

    def close(self, handle: int) -> Errnos:
        """Make durable, let go, and be told what is wrong with the content."""
        file = self.opened.pop(handle).file
        self._commit(file)
        told, file.refusal = file.refusal, DONE
        return told

    def _commit(self, file: File) -> None:
        if not file.is_dirty:
            return
        file.is_dirty = False
        file.state = self._judged(file)
        is_bad = file.state == "refused" and file.content != b""
        file.refusal = frozenset([errno.EINVAL]) if is_bad else DONE

    def _judged(self, file: File) -> str:
        if all(is_temporary(name) for name in self._names(file)):
            return "scratch"
        return "waiting" if file.content.startswith(PICTURE) else "refused"

    def set_mtime(self, path: str, mtime_ns: int) -> Errnos:
        """Set the time of a file."""
        file = self._file(path)
        if isinstance(file, frozenset):
            return file
        file.mtime_ns = mtime_ns
        return DONE

    def _file(self, path: str) -> File | Errnos:
        place = self._place(path)
        if isinstance(place, int):
            return frozenset([place])
        thing = self.find(path)
        if thing is None:
            return frozenset([errno.ENOENT])
        if isinstance(thing, Folder):
            return frozenset([errno.EISDIR])
        return thing


def name_errnos(name: str) -> set[int]:
    """Return why no new file may be called so."""
    if name.startswith("@"):
        return {errno.EPERM}
    is_bad = name.endswith(".txt")
    return {errno.EOPNOTSUPP} if is_bad else set()


def _remote(files: object) -> list[bytes]:
    assert hasattr(files, "__iter__")
    return [one.remote for one in files if one.remote is not None]
