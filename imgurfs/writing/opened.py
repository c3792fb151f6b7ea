"""What a file of the drive is while somebody has it open; values for ``files``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import trio

from imgurfs.content.fetch import Sequence
from imgurfs.content.spool import SpoolFile
from imgurfs.errors import ContentGoneError, DeadlineError, ImgurfsError
from imgurfs.model import Image, Inode
from imgurfs.store.entries import Node
from imgurfs.writing.arrival import Arrival
from imgurfs.writing.drafting import FIRST_GENERATION, NO_TIMES, Times

GONE: Final = "the file was removed, and its bytes with it"


#: Changes of one file that were not made and are told apart.
SHORTFALLS_MAX: Final = 64


class Change(NamedTuple):
    """A change that was not made.

    ``length``: what the content was to be cut or lengthened to; else None.
    """

    offset: int
    length: int | None = None


#: More changes than are told apart: made good by emptying the file, and by no write.
_MANY: Final = Change(-1, 0)


@dataclass(eq=False, slots=True)
class OpenDraft:
    """A file that somebody has open; only ``files`` changes the fields.

    ``file`` is the content in the spool, and None while the file is an ``image`` whose
    bytes were not changed. ``is_dirty``: it was changed since the last commit, or is
    about to be (``is_changed``: it was; ``is_touched``: since the first of the
    ``writers``, who are those of the ``holders`` that may change it, began).
    ``shortfalls`` are the changes that were not made since then, and what the program
    was told: it is whole when there are none.
    ``refusal`` is what the next one who closes it is told. ``times`` are those that are
    not in the row yet. ``retired`` are contents that somebody may still be reading.
    ``is_unlinked``: a program has taken its last name away. ``is_nameless``: its
    content has no row either, because nothing is left that a row could be about; it is
    always dirty.
    """

    inode: Inode
    holders: int = 0
    writers: int = 0
    is_loaded: bool = False
    image: Image | None = None
    file: SpoolFile | None = None
    generation: int = 0
    is_dirty: bool = False
    is_changed: bool = False
    is_touched: bool = False
    is_unlinked: bool = False
    is_nameless: bool = False
    shortfalls: dict[Change, ImgurfsError] = field(default_factory=dict)
    refusal: ImgurfsError | None = None
    times: Times = NO_TIMES
    arrival: Arrival | None = None
    retired: list[SpoolFile] = field(default_factory=list)
    sequence: Sequence = field(default_factory=Sequence)
    lock: trio.Lock = field(default_factory=trio.Lock)

    @classmethod
    def made(cls, inode: Inode, file: SpoolFile) -> OpenDraft:
        """Return a new file, which the program that made it has open."""
        return cls(
            inode,
            holders=1,
            writers=1,
            is_loaded=True,
            file=file,
            generation=FIRST_GENERATION,
            is_dirty=True,
            is_changed=True,
            is_touched=True,
        )

    @property
    def has_bytes(self) -> bool:
        """Whether the content is in the spool."""
        return self.file is not None

    @property
    def size_bytes(self) -> int:
        """Size of the content, here or on Imgur."""
        if self.file is not None:
            return self.file.size_bytes
        return 0 if self.image is None else self.image.size_bytes

    @property
    def shortfall(self) -> ImgurfsError | None:
        """What the program was told of the first change that was not made."""
        return next(iter(self.shortfalls.values()), None)

    def on_imgur(self) -> Image:
        """Return the image whose bytes the file has. Raises ContentGoneError."""
        if self.image is None or not self.image.id:
            raise ContentGoneError(GONE)
        return self.image

    def end_writing(self) -> None:
        """When all is saved: nobody is left whose changes must be whole together."""
        if not self.writers:
            self.is_touched = False
            self.shortfalls = {}

    async def begin_writing(self, offset: int) -> None:
        """Wait for the lock, which somebody may hold who makes the file durable."""
        try:
            await self.lock.acquire()
        except BaseException as error:
            # What is made durable is not all that was to be written.
            self.fall_short(offset, error)
            raise

    def fall_short(
        self, offset: int, error: BaseException, *, length: int | None = None
    ) -> None:
        """Take note of a change that was not made, or that nobody waits for any more.

        The program may give up: then its content must not pass for a whole one.
        """
        if not isinstance(error, ImgurfsError):
            error = DeadlineError("a change of it was not done in time")
        change = Change(offset, length)
        is_one_more = change not in self.shortfalls
        if is_one_more and len(self.shortfalls) >= SHORTFALLS_MAX:
            first = next(iter(self.shortfalls))
            self.shortfalls = {first: self.shortfalls[first]}
            change = _MANY
        self.shortfalls[change] = error

    def was_written(self, start: int, end: int) -> None:
        """Forget the changes that this write makes good."""
        self.shortfalls = {
            change: error
            for change, error in self.shortfalls.items()
            if not start <= change.offset < end
        }

    def was_cut(self, size_bytes: int) -> None:
        """Forget the changes that cutting, or lengthening, to this size makes good."""
        self.shortfalls = {
            change: error
            for change, error in self.shortfalls.items()
            if size_bytes > change.offset and size_bytes != change.length
        }

    def overlay(self, node: Node) -> Node:
        """Return the node with the size and times that are not in its row yet."""
        if not self.is_dirty:
            return node
        times = self.times
        return replace(
            node,
            size_bytes=self.size_bytes,
            is_size_known=True,
            mtime_ns=node.mtime_ns if times.mtime_ns is None else times.mtime_ns,
            atime_ns=node.atime_ns if times.atime_ns is None else times.atime_ns,
            ctime_ns=node.ctime_ns if times.ctime_ns is None else times.ctime_ns,
        )
