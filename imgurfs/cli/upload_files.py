"""The files of ``imgurfs upload``: what they are, and their way into the queue.

Not a command. :func:`items` opens what the user named, :class:`Queuer` puts one after
the other into the queue, :func:`dry_run` says what that would do.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imgurfs import crashpoints, limits
from imgurfs.cli.words import size
from imgurfs.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from imgurfs.assembly import Services
    from imgurfs.cli.context import Context
    from imgurfs.jobs.by_hand import Album
    from imgurfs.jobs.disk import Examined
    from imgurfs.model import ImageId, JobId
    from imgurfs.store.database import Connection

#: Another process that is copying is waited for.
_LOCK_POLL_S = 0.05
#: Room is looked for this often: it comes when something has been uploaded.
ROOM_POLL_S = 0.5


@dataclass(slots=True)
class Item:
    """One file and what has become of it.

    ``text`` is how the user named it, ``name`` what it is called on Imgur. ``error`` is
    "" as long as nothing is wrong; ``is_new``: its bytes were sent.
    """

    text: str
    source: Path
    name: bytes
    size_bytes: int = 0
    job_id: JobId | None = None
    digest: bytes = b""
    image_id: str = ""
    link: str = ""
    is_new: bool = False
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it is known what came of it."""
        return bool(self.link or self.error)

    @property
    def state(self) -> str:
        """Where it stands, in the words of ``--json``."""
        if self.link:
            return "uploaded"
        if self.error:
            return "refused"
        return "new" if self.job_id is None else "waiting"


@contextmanager
def items(context: Context, files: Sequence[str]) -> Iterator[list[Item]]:
    """Yield what the user named; standard input has been read to its end.

    Raises UsageError and UnavailableError when that cannot be.
    """
    del context
    with tempfile.TemporaryDirectory(prefix="imgurfs-") as directory:
        yield [_item(one, Path(directory)) for one in files]


def _item(text: str, directory: Path) -> Item:
    if text == "-":
        source = directory / "stdin"
        return Item("-", source, _read_stdin(source))
    path = Path(text).expanduser()
    # A link is what it leads to; its name is the one the user gave.
    return Item(text, path.resolve(), os.fsencode(path.absolute().name))


def _read_stdin(target: Path) -> bytes:
    """Copy standard input into a file; return a name that fits it."""
    from imgurfs.jobs import disk

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "standard input is the keyboard",
            hint="give it a picture: imgurfs upload - < picture.jpg",
        )
    head, read_bytes = b"", 0
    try:
        with target.open("wb") as file:
            while piece := sys.stdin.buffer.read(limits.MIB):
                head = head or piece[: disk.HEAD_BYTES]
                read_bytes += len(piece)
                if read_bytes > limits.VIDEO_BYTES_MAX:
                    raise UsageError(
                        "standard input is larger than anything Imgur takes"
                    )
                file.write(piece)
    except OSError as error:
        raise UnavailableError(
            f"standard input cannot be kept: {error.strerror}"
        ) from error
    kind = disk.type_of(head)
    return b"stdin" if kind is None else b"stdin." + kind.rpartition("/")[2].encode()


def dry_run(context: Context, items: list[Item]) -> list[Item]:
    """Find out what would be uploaded; change nothing."""
    from imgurfs.cli.opened import opened

    with opened(context) as state:
        for one in items:
            seen = examine(one)
            if seen is not None:
                settle_known(state.reader, one, seen, None)
    return items


def examine(one: Item) -> Examined | None:
    """Read a file whole; None when it cannot be uploaded, and its error says why."""
    from imgurfs.jobs import disk

    if one.source.is_dir():
        one.error = "a directory: 'imgurfs sync' uploads directories"
        return None
    seen = disk.examine(bytes(one.source))
    if isinstance(seen, str):
        one.error = "there is no such file" if seen == disk.FILE_GONE else seen
        return None
    one.size_bytes, one.digest = seen.size_bytes, seen.digest
    return seen


def settle_known(c: Connection, one: Item, seen: Examined, album: Album | None) -> bool:
    """Give a file the link of its content, if it is where it belongs already."""
    from imgurfs.jobs import by_hand
    from imgurfs.store import entries

    image_id = by_hand.known_image(c, seen.digest)
    if image_id is None:
        return False
    if album is not None:
        node = entries.node_of_image(c, image_id)
        assert node is not None
        if album.id not in entries.albums_of(c, node.inode):
            return False
    give_link(c, one, image_id)
    return True


def give_link(c: Connection, one: Item, image_id: ImageId) -> None:
    """Note which image a file is."""
    from imgurfs.store import entries

    node = entries.node_of_image(c, image_id)
    link = node.image.link if node and node.image else ""
    one.image_id = image_id
    # A page shows it also as long as nothing has told where its bytes are.
    one.link = link or f"https://imgur.com/{image_id}"


def find_album(c: Connection, wanted: str) -> Album:
    """Return the album a user means by an id, a name on the drive or a title.

    One to be made, if there is none. Raises UsageError.
    """
    from imgurfs.errors import UserError
    from imgurfs.jobs import by_hand
    from imgurfs.model import ROOT_INODE, AlbumId
    from imgurfs.store import entries

    named = entries.child(c, ROOT_INODE, wanted)
    nodes = [entries.node_of_album(c, AlbumId(wanted))]
    if nodes == [None]:
        # The drive tells two of one title apart by their names; people may not.
        nodes = [named.node if named else None, *entries.albums_by_title(c, wanted)]
    found = [node.album for node in nodes if node and node.album and not node.is_hidden]
    ids = {album.id: album for album in found}
    if len(ids) > 1:
        raise UsageError(
            f"{len(ids)} albums are called that: {', '.join(sorted(ids))}",
            hint="give --album one of these ids",
        )
    if "" in ids:
        raise UserError(
            "that album was made on the drive and is not on Imgur yet",
            hint="wait for it: imgurfs wait",
        )
    for album in ids.values():
        return by_hand.known_album(c, album.id, album.title)
    return by_hand.new_album(wanted)


class Queuer:
    """Puts files into the queue, each with a copy that outlives it."""

    def __init__(
        self, services: Services, *, album: Album | None, image_title: str
    ) -> None:
        self._services = services
        self._directory = services.paths.outgoing_dir
        self._album = album
        self._image_title = image_title

    async def tidy(self) -> list[bytes]:
        """Remove copies that nobody needs; return those that no job was ever about."""
        from imgurfs.content import outgoing
        from imgurfs.jobs import by_hand

        outgoing.prepare(self._directory)
        lock = outgoing.lock(self._directory)
        if not lock.acquire_nowait():
            return []
        with lock:
            return by_hand.tidy(self._services.db.reader, self._directory)

    async def put(self, one: Item) -> bool:
        """Queue a file, or find out why not; False: there is no room for it now."""
        from imgurfs.executor import ThreadLane
        from imgurfs.jobs import by_hand

        executor, db = self._services.executor, self._services.db
        if not one.digest:
            seen = await executor.run(ThreadLane.DISK, examine, one)
            if seen is None or settle_known(db.reader, one, seen, self._album):
                return True
        path = by_hand.path_of(one.digest, one.name, self._album)
        if by_hand.is_queued(db.reader, path):
            await self._copy(one, path)
            return True
        room_bytes = await executor.run(ThreadLane.DISK, self._room_bytes)
        if one.size_bytes > self._services.config.mount.spool_bytes_max:
            one.error = "larger than the queue may ever be ([mount] spool_max)"
            return True
        if one.size_bytes > room_bytes:
            await self.tidy()
            room_bytes = await executor.run(ThreadLane.DISK, self._room_bytes)
        if one.size_bytes > room_bytes:
            return False
        await self._copy(one, path)
        return True

    async def _copy(self, one: Item, path: bytes) -> None:
        import trio

        from imgurfs.content import outgoing
        from imgurfs.jobs import by_hand

        now = self._services.clock.now()
        lock = outgoing.lock(self._directory)
        while not lock.acquire_nowait():  # noqa: ASYNC110 - another process's
            await trio.sleep(_LOCK_POLL_S)
        with lock:
            if not await self._is_copied(one, path):
                return
            one.job_id = await self._services.db.write(
                lambda c: by_hand.queue(
                    c,
                    self._directory,
                    path,
                    size_bytes=one.size_bytes,
                    album=self._album,
                    image_title=self._image_title,
                    now=now,
                )
            )
            crashpoints.reach("upload-queued")

    async def _is_copied(self, one: Item, path: bytes) -> bool:
        """Make a durable copy, unless there is one in the queue already."""
        from imgurfs.executor import ThreadLane
        from imgurfs.jobs import by_hand

        if by_hand.is_queued(self._services.db.reader, path):
            return True
        try:
            is_same = await self._services.executor.run(
                ThreadLane.DISK, self._copy_blocking, one, path
            )
        except OSError as error:
            one.error = f"it cannot be copied: {error.strerror}"
            return False
        if not is_same:
            one.error = "the file is being written"
        return is_same

    def _copy_blocking(self, one: Item, path: bytes) -> bool:
        from imgurfs.content import outgoing

        with _opened(one.source) as source:
            return outgoing.put(self._directory, path, source, digest=one.digest)

    def _room_bytes(self) -> int:
        """Return how many bytes may be kept: what the drive's spool may, together."""
        from imgurfs.content import outgoing, spool_disk

        bound = self._services.config.mount.spool_bytes_max
        bound -= sum(outgoing.scan(self._directory).values())
        spool = self._services.paths.spool_dir
        if spool.is_dir():
            bound -= sum(spool_disk.scan(spool).values())
        free = spool_disk.free_bytes(self._directory) - limits.SPOOL_RESERVE_BYTES
        return min(bound, free)

    def no_room(self) -> str:
        """Return what to say about a file there is no room for."""
        bound = size(self._services.config.mount.spool_bytes_max)
        return (
            f"there is no room for its copy ({bound} at most, [mount] spool_max,"
            " or what the disk has)"
        )


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
