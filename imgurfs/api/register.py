"""What was uploaded without an account, with the deletehashes, in a file.

Imgur lists nothing of anonymous uploads, and who loses a deletehash can never change
or delete what it belongs to. So this file stands where an account's listings do: one
line of JSON for each image and album and each change of one, the newest counts. A line
is on the disk before the answer that told the deletehash goes any further; what is in
``state.db`` is a second copy, and either can be made again from the other.

Theory of operation. Several processes append (``O_APPEND``, one write, then fsync) and
read on from where they were. A line that a crash cut short ends at the next append,
which begins with a newline, and is passed over. Nothing is ever removed: a deletehash
of something that is gone stays in the file. Calls block (``Executor``); one at a time.
Used by ``api.anonymous``; ``assembly`` opens it.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from imgurfs import limits
from imgurfs.api import wire
from imgurfs.errors import ConfigError, ImgurfsError
from imgurfs.model import Album, AlbumId, Image, ImageId

log = logging.getLogger(__name__)

Thing = TypeVar("Thing", Image, Album)

_WORD = re.compile(r"[A-Za-z0-9_-]{5,64}")


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: an image or an album as it is known now, and whether it is gone.

    ``gone``: "" it exists; "deleted" we have deleted it; "missing" Imgur does not know
    it (any more, or for now).
    """

    image: Image | None = None
    album: Album | None = None
    gone: Literal["", "deleted", "missing"] = ""

    @property
    def thing(self) -> Image | Album | None:
        """The image or the album; None for a line that says neither."""
        return self.image or self.album

    @property
    def id(self) -> str:
        """Its id; "" for a line that says neither."""
        return self.thing.id if self.thing else ""


class Register:
    """The images and albums that this state has uploaded anonymously."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, Entry] = {}
        # Which file was read, and how far.
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self._unwritten = b""

    def __repr__(self) -> str:
        return f"<Register {self.path} entries={len(self._entries)}>"

    # --- What is known (without looking at the file) ----------------------------

    def images(self) -> list[Image]:
        """Return the images that exist, newest first."""
        found = [e.image for e in self._entries.values() if e.image and not e.gone]
        return sorted(found, key=lambda image: -image.datetime_s)

    def albums(self) -> list[Album]:
        """Return the albums that exist, newest first."""
        found = [e.album for e in self._entries.values() if e.album and not e.gone]
        return sorted(found, key=lambda album: -album.datetime_s)

    def missing(self) -> list[Entry]:
        """Return what Imgur did not know when it was asked for it."""
        return [one for one in self._entries.values() if one.gone == "missing"]

    def entry(self, thing_id: str) -> Entry | None:
        """Return what is known of an image or album, None if nothing, or deleted."""
        entry = self._entries.get(thing_id)
        return entry if entry and entry.gone != "deleted" else None

    def is_missing(self, thing_id: str) -> bool:
        """Whether Imgur did not know an image or album when it was asked for it."""
        entry = self._entries.get(thing_id)
        return entry is not None and entry.gone == "missing"

    def image(self, image_id: ImageId) -> Image | None:
        """Return an image, None for one that we deleted or that is not in the file."""
        entry = self.entry(image_id)
        return entry.image if entry else None

    def album(self, album_id: AlbumId) -> Album | None:
        """Return an album, None for one that we deleted or that is not in the file."""
        entry = self.entry(album_id)
        return entry.album if entry else None

    def deletehash(self, thing_id: str) -> str:
        """Return the deletehash of an image or album, also of one that is gone.

        "" when it is not known.
        """
        entry = self._entries.get(thing_id)
        return entry.thing.deletehash if entry and entry.thing else ""

    def has(self, thing_id: str) -> bool:
        """Whether the file tells of an image or album, be it gone."""
        return thing_id in self._entries

    def without_secrets(self, text: str) -> str:
        """Return a text for logs and people, with ids in place of deletehashes."""
        secrets = {
            entry.thing.deletehash: entry.thing.id
            for entry in self._entries.values()
            if entry.thing
        }
        return _WORD.sub(lambda word: secrets.get(word[0], word[0]), text)

    def cleaned(self, error: ImgurfsError) -> ImgurfsError:
        """Take the deletehashes out of an error's text; return it."""
        error.message = self.without_secrets(error.message)
        error.args = (error.message,)
        return error

    # --- The file ------------------------------------------------------------------

    def reload(self) -> None:
        """Read what other processes have appended; a missing file is an empty one.

        Raises ConfigError when others can read the file, or we cannot.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(self.path, flags)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from error
        try:
            text = self._read_on(fd)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from error
        finally:
            os.close(fd)
        # A line without its end is being written, or was cut short.
        whole = text.rfind(b"\n") + 1
        self._offset += whole
        self._take(_read(text[:whole].splitlines()))

    def _read_on(self, fd: int) -> bytes:
        """Return what follows what was read before; from the start of another file."""
        found = os.fstat(fd)
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"{self.path} can be read by others (mode {mode:04o})",
                hint=f"chmod 600 {self.path}; who has read it can delete what it tells"
                " of",
            )
        identity = found.st_dev, found.st_ino
        if identity != self._file or found.st_size < self._offset:
            self._file, self._offset = identity, 0
        pieces = []
        at = self._offset
        while piece := os.pread(fd, limits.MIB, at):
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def put(self, *entries: Entry) -> None:
        """Append entries; on return they are on the disk.

        Raises OSError when they are not: they are known all the same, and the next
        call, or :meth:`flush`, writes them.
        """
        self._take(entries)
        lines = [self._entries[e.thing.id] for e in entries if e.thing]
        self._unwritten += b"".join(msgspec.json.encode(e) + b"\n" for e in lines)
        self.flush()

    def flush(self) -> None:
        """Write what an earlier call could not write. Raises OSError."""
        if not self._unwritten:
            return
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.path, flags, 0o600)
        try:
            size = os.fstat(fd).st_size
            is_cut = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            data = b"\n" * is_cut + self._unwritten
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)
        if not size:
            self._sync_directory()
        self._unwritten = b""

    def _sync_directory(self) -> None:
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _take(self, entries: Iterable[Entry]) -> None:
        """Let these count; a deletehash that was known is never forgotten."""
        # A new dictionary: somebody may be looking at the old one.
        known = dict(self._entries)
        for entry in entries:
            if entry.thing is not None:
                known[entry.thing.id] = _merged(known.get(entry.thing.id), entry)
        self._entries = known


def _merged(before: Entry | None, entry: Entry) -> Entry:
    """Return an entry, with an earlier one's deletehash if it tells none itself."""
    if before is None or before.thing is None:
        return entry
    if entry.thing is None or entry.thing.deletehash:
        return entry
    deletehash = before.thing.deletehash
    image = replace(entry.image, deletehash=deletehash) if entry.image else None
    album = replace(entry.album, deletehash=deletehash) if entry.album else None
    return Entry(image, album, entry.gone)


def _read(lines: list[bytes]) -> list[Entry]:
    """Return what lines say; what is no line of ours is passed over."""
    found, damaged = [], 0
    for line in filter(None, lines):
        try:
            found.append(msgspec.json.decode(line, type=Entry))
        except (msgspec.DecodeError, UnicodeError):
            damaged += 1
    if damaged:
        # Not quoted: a damaged line may hold a deletehash.
        log.warning("%d line(s) about anonymous uploads cannot be read", damaged)
    return found


def retitled(thing: Thing, title: str | None, description: str | None) -> Thing:
    """Return an image or album with the texts that are given, as Imgur has got them."""
    return replace(
        thing,
        title=thing.title if title is None else wire.plain(title),
        description=(
            thing.description if description is None else wire.plain(description)
        ),
    )
