"""Brings an image's bytes into the spool, because somebody is about to change them.

What it is not: it knows no rows. ``files`` starts it in a nursery of its own,
``contents`` decides what its outcome means. One that fails, or is not wanted any more,
leaves nothing behind.
"""

from __future__ import annotations

import logging

import trio

from imgurfs import limits
from imgurfs.content.fetch import Fetcher, Sequence
from imgurfs.content.spool import Spool, SpoolFile
from imgurfs.errors import ImgurfsError, OutageError
from imgurfs.model import Image, Inode
from imgurfs.store import drafts

logger = logging.getLogger(__name__)


class Arrival:
    """The first ``bytes_max`` bytes of an image (None: all) on their way.

    They come as the content ``generation`` of the file ``inode``.
    """

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        spool: Spool,
        inode: Inode,
        generation: int,
        image: Image,
        bytes_max: int | None,
    ) -> None:
        self.generation = generation
        self._inode = inode
        self._fetcher = fetcher
        self._spool = spool
        self._image = image
        self._bytes_max = bytes_max
        self._file: SpoolFile | None = None
        self._error: ImgurfsError | None = None
        self._done = trio.Event()
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Arrival of image {self._image.id} is_done={self._done.is_set()}>"

    @property
    def is_failed(self) -> bool:
        """Whether it has ended without success."""
        return self._done.is_set() and self._file is None

    def covers(self, bytes_max: int | None) -> bool:
        """Whether it brings at least that much of the image."""
        if self._bytes_max is None or bytes_max is None:
            return self._bytes_max is None
        return self._bytes_max >= bytes_max

    async def wait(self) -> SpoolFile:
        """Return the content, which stays this object's, or raise what went wrong.

        Raises what ``Fetcher.read`` and ``Spool.write`` raise.
        """
        await self._done.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)
        assert self._file is not None
        return self._file

    def take(self) -> None:
        """Say that the content is somebody else's from now on."""
        self._file = None

    async def discard(self) -> None:
        """End it, and remove what it has brought and nobody took."""
        self._scope.cancel()
        # Nobody else has it: who does this ends it, also when his own time is over.
        with trio.CancelScope(shield=True):
            await self._done.wait()
            file, self._file = self._file, None
            if file is not None:
                self._spool.close_file(file)
                await self._spool.remove(file.name)

    async def run(self) -> None:
        """Bring the bytes. Raises nothing but cancellation from outside."""
        file: SpoolFile | None = None
        try:
            with self._scope:
                size_bytes = await self._fetcher.size(self._image)
                if self._bytes_max is not None:
                    size_bytes = min(size_bytes, self._bytes_max)
                name = drafts.spool_name(self._inode, self.generation)
                file = await self._spool.create(name)
                await self._fill(file, size_bytes)
                self._file = file
        except ImgurfsError as error:
            self._error = error
        except Exception as error:
            # A bug must reach the writer as an error, and must not end the nursery.
            logger.exception("image %s cannot be brought", self._image.id)
            self._error = OutageError(f"image {self._image.id}: {error!r}")
        finally:
            if self._file is None:
                self._error = self._error or OutageError("the drive is being unmounted")
                if file is not None:
                    self._spool.close_file(file)
                    with trio.CancelScope(shield=True):
                        await self._spool.remove(file.name)
            self._done.set()

    async def _fill(self, file: SpoolFile, size_bytes: int) -> None:
        sequence = Sequence()
        for offset in range(0, size_bytes, limits.SPOOL_PIECE_BYTES):
            length = min(limits.SPOOL_PIECE_BYTES, size_bytes - offset)
            data = await self._fetcher.read(
                self._image, offset, length, sequence=sequence
            )
            await self._spool.write(file, offset, data)
