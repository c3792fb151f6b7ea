"""What a plain directory cannot tell of its files: where they stand with the account.

The plain directory is the truth about names, links and bytes. Here is, for each of its
files, what the drive has promised beyond that (docs/SEMANTICS.md): whether it is going
to be uploaded, what a program is told when it closes it, what the account has of it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

from imgurfs.emulator.world import pictures
from tests.simulation.pushed_ground import Mode
from tests.support.beside_side import Shown, Side
from tests.support.drive_model import DONE, PICTURE, Errnos
from tests.support.pictures import small_picture

#: What a large picture begins with; Imgur makes something else of it.
STILL = small_picture("large")
LOSSLESS_BYTES = 5_000_000
#: States in which a content is known to be a picture.
_MEDIA = frozenset({"waiting", "uploaded"})
#: States of a file that may come to be on Imgur: what it replaces stays until then.
_COMING = frozenset({"writing", "waiting", "refused"})


@dataclass(eq=False)
class Fact:
    """A file. ``remote`` is what its image holds, None when it has none."""

    is_dirty: bool = True
    #: What a program is told when it closes the file next.
    told: Errnos = DONE
    state: str = "writing"
    remote: bytes | None = None
    #: What is deleted from the account when this file has been uploaded.
    replaces: bytes | None = None
    mtime_ns: int | None = None
    #: Whether its names or bytes have changed since everything was sent.
    is_changed: bool = True
    #: Others have put it there, and nobody has read it: its bytes may not be here.
    is_unread: bool = False
    #: The contents it has had since it was last made durable.
    versions: list[bytes] = field(default_factory=lambda: [b""])

    @property
    def is_media(self) -> bool:
        """Whether any name will do for it (W13)."""
        return self.remote is not None or self.state in _MEDIA


@dataclass(frozen=True)
class Opened:
    """An open file; ``access`` is O_RDONLY, O_WRONLY or O_RDWR."""

    inode: int
    access: int


def is_temporary(name: str) -> bool:
    """Whether a name, of those that are tried, is one of W12."""
    return name.startswith(".") or name.endswith(("~", ".part"))


def kept(content: bytes) -> bytes:
    """Return what Imgur makes of a content."""
    if content.startswith(PICTURE) or len(content) <= LOSSLESS_BYTES:
        return content
    return pictures.as_jpeg(content) or content


@dataclass
class Facts:
    """The files and albums of a plain directory, by their inode numbers."""

    plain: Side
    mode: Mode
    files: dict[int, Fact] = field(default_factory=dict)
    #: Under which title the account knows a directory.
    titles: dict[int, str] = field(default_factory=dict)
    #: Directories that were renamed since everything was sent.
    renamed: set[int] = field(default_factory=set)
    #: Open files by their numbers.
    opened: dict[int, Opened] = field(default_factory=dict)

    # --- Looking -------------------------------------------------------------

    def at(self, path: str) -> Fact:
        """Return the fact of the file at a path."""
        return self.files[self.plain.shown(path).inode]

    def paths_of(self, inode: int) -> list[str]:
        """Return the names of a file."""
        return [p for p, one in self.plain.look().items() if one.inode == inode]

    def is_open(self, inode: int) -> bool:
        """Whether any number is open for it."""
        return any(one.inode == inode for one in self.opened.values())

    def readers(self, inode: int) -> list[int]:
        """Return the numbers through which a file can be read."""
        return [
            number
            for number, one in self.opened.items()
            if one.inode == inode and one.access != os.O_WRONLY
        ]

    def writers(self) -> list[int]:
        """Return the numbers through which anything can be written."""
        return [n for n, one in self.opened.items() if one.access != os.O_RDONLY]

    def is_settled(self, path: str) -> bool:
        """Whether drive and account agree about a file that nobody has open."""
        inode = self.plain.shown(path).inode
        fact = self.files[inode]
        is_there = fact.state == "uploaded" and not (fact.is_dirty or fact.is_changed)
        return is_there and not self.is_open(inode)

    def settled_albums(self) -> list[str]:
        """Return the directories that the account knows under their names."""
        held = [self.titles[one.inode] for one in self._known()]
        return [
            path
            for path, one in self.plain.look().items()
            if one in self._known()
            and one.inode not in self.renamed
            and self.titles[one.inode] == path
            and held.count(path) == 1
        ]

    def _known(self) -> list[Shown]:
        return [it for it in self.plain.look().values() if it.inode in self.titles]

    def account(self) -> list[tuple[str, list[bytes]]]:
        """Return what the account holds: titles and contents, "" for no album."""
        look = self.plain.look()
        placed: set[int] = set()
        found: list[tuple[str, list[bytes]]] = []
        for path, one in look.items():
            if not one.is_directory or one.inode not in self.titles:
                continue
            inside = _inside(look, path)
            placed |= set(inside)
            found.append((self.titles[one.inode], self._remotes(inside)))
        rest = {one.inode for one in look.values() if not one.is_directory} - placed
        return [("", self._remotes(sorted(rest))), *sorted(found)]

    def _remotes(self, inodes: list[int]) -> list[bytes]:
        facts = [self.files[inode] for inode in inodes]
        return sorted(one.remote for one in facts if one.remote is not None)

    def lingering(self) -> set[bytes]:
        """Return what the account may still have: replaced by what is not there yet."""
        return {one.replaces for one in self.files.values() if one.replaces is not None}

    # --- Bytes ---------------------------------------------------------------

    def changed(
        self, inode: int, content: bytes, *, is_same_size: bool = False
    ) -> None:
        """Note that a program has changed the bytes of a file."""
        fact = self.files[inode]
        is_there = fact.state == "uploaded" and not fact.is_dirty
        if is_same_size and is_there and content:
            return
        fact.is_dirty, fact.state, fact.mtime_ns = True, "writing", None
        fact.is_changed = True
        fact.versions.append(content)

    def commit(self, inode: int, content: bytes) -> None:
        """Note that a file was made durable; decide what becomes of it (W12 to W17)."""
        fact = self.files[inode]
        if not fact.is_dirty:
            return
        fact.is_dirty, fact.versions = False, [content]
        fact.state, fact.told = self._judged(inode, content)

    def _judged(self, inode: int, content: bytes) -> tuple[str, Errnos]:
        if self.is_scratch(inode):
            return "scratch", DONE
        if not content.startswith((PICTURE, STILL)):
            if self.mode.non_media == "keep-local":
                return "local-only", DONE
            return "refused", frozenset({errno.EINVAL}) if content else DONE
        is_lossy = kept(content) != content
        if is_lossy and self.mode.lossy == "refuse":
            return "refused", frozenset({errno.EFBIG})
        return "waiting", DONE

    def is_scratch(self, inode: int) -> bool:
        """Whether every name of a file, or its directory's, is temporary (W12)."""
        return all(
            any(map(is_temporary, path.split("/"))) for path in self.paths_of(inode)
        )

    # --- Names ---------------------------------------------------------------

    def named(self, inode: int) -> None:
        """Decide again about a file whose names, or whose directory's, have changed."""
        fact = self.files[inode]
        fact.is_changed = True
        is_scratch = fact.state == "scratch"
        if fact.is_dirty or fact.state not in {"scratch", "waiting"}:
            return
        if self.is_scratch(inode) != is_scratch:
            content = self.plain.content(self.paths_of(inode)[0])
            fact.state, _ = self._judged(inode, content)

    def unnamed(self, inode: int) -> list[bytes]:
        """Note that a name went; return what the account has and nothing shows."""
        fact = self.files[inode]
        fact.is_changed = True
        if self.paths_of(inode):
            self.named(inode)
            return []
        unseen = [one for one in (fact.remote, fact.replaces) if one is not None]
        fact.remote = fact.replaces = None
        return unseen

    def succeed(self, inode: int, unseen: list[bytes]) -> None:
        """Note that a file has taken the name of images (W8)."""
        fact = self.files[inode]
        if unseen and fact.state in _COMING and fact.replaces is None:
            fact.replaces = unseen[0]

    def album_named(self, path: str) -> None:
        """Note that a directory has another name (W7, W12)."""
        inode = self.plain.shown(path).inode
        self.renamed.add(inode)
        if inode in self.titles and not is_temporary(path):
            self.titles[inode] = path
        for file in set(_inside(self.plain.look(), path)):
            self.named(file)

    # --- The world -----------------------------------------------------------

    def sent(self) -> None:
        """Note that everything was sent."""
        self.renamed.clear()
        for path, one in self.plain.look().items():
            if one.is_directory and not is_temporary(path):
                self.titles[one.inode] = path
            elif not one.is_directory:
                fact = self.files[one.inode]
                fact.is_changed = fact.is_unread = False
                if fact.state == "waiting":
                    self.uploaded(one.inode, self.plain.content(path))

    def uploaded(self, inode: int, content: bytes) -> None:
        """Note that a content is an image now, in place of what it replaces."""
        fact = self.files[inode]
        fact.state, fact.remote, fact.replaces = "uploaded", kept(content), None

    def came(self, path: str, content: bytes) -> None:
        """Put an image there that somebody else has put into the account."""
        (self.plain.top / path).write_bytes(content)
        self.files[self.plain.shown(path).inode] = Fact(
            is_dirty=False,
            state="uploaded",
            remote=content,
            is_changed=False,
            is_unread=True,
            versions=[content],
        )


def _inside(look: dict[str, Shown], directory: str) -> list[int]:
    return sorted(
        one.inode for path, one in look.items() if path.startswith(f"{directory}/")
    )
