"""Keeps the store's picture of the account up to date: reads listings, folds them.

What it is not: it does not decide what an entry is called (``naming``), nor what a
listing means for the rows (``fold``). It decides *when* to read, *what* to believe,
and what to do when Imgur cannot be read.

Never delete on absence of evidence: a listing that failed on any page is no listing;
a listing of several pages in which something is missing is read once more, because a
deletion in between shifts what follows over the edge of a page; and when everything,
or a large part, is missing, one of the missing must be confirmed gone by Imgur itself.
If it is not, the rows stay and ``meta['brake']`` says why.

Concurrency: everything runs on the trio thread, folds in one transaction each on the
writer thread. The same listing is read once for all who wait (``flight``). While
:meth:`Refresher.run` runs, listings are its children and survive their callers.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from typing import NoReturn, cast

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.errors import (
    BudgetError,
    ForbiddenError,
    ImgurfsError,
    NotFoundError,
    OutageError,
    RejectedError,
    ThrottledError,
)
from imgurfs.model import ImageId, Inode, Lane
from imgurfs.store import entries, meta
from imgurfs.store.database import Connection, Database
from imgurfs.tree import fold
from imgurfs.tree.flight import SingleFlight
from imgurfs.tree.listing import Listings, needs_proof, proof, read_pages

__all__ = ["Listings", "Refresher"]

logger = logging.getLogger(__name__)

#: About this one album, not about Imgur: others may still be listed.
_ALBUM_ERRORS = (NotFoundError, ForbiddenError, RejectedError)


class Refresher:
    """Reads Imgur's listings into the store, on request and in the background."""

    def __init__(
        self,
        *,
        db: Database,
        api: Listings,
        clock: Clock,
        album_list_ttl_s: float = limits.ALBUM_LIST_TTL_S,
    ) -> None:
        self._db = db
        self._api = api
        self._clock = clock
        self._album_list_ttl_s = album_list_ttl_s
        self._flights = SingleFlight()
        self._wake = trio.Event()
        self._looked_at: float | None = None
        self._is_idle = False
        self._wanted: dict[Inode, None] = {}
        # Albums that the album list shows and Imgur refuses: until when, and why.
        self._refused: dict[Inode, tuple[float, ImgurfsError]] = {}
        self._is_album_list_doubted = False
        self._failures = 0
        self._image_pages = 1
        self._readings = 0

    def __repr__(self) -> str:
        return f"<Refresher readings={self._readings} failures={self._failures}>"

    def statistics(self) -> dict[str, int]:
        """Return how many listings were read, and failures since the last success."""
        return {"readings": self._readings, "failures": self._failures}

    # --- On request ------------------------------------------------------------

    async def refresh_albums(self, lane: Lane) -> None:
        """Read the album list. Raises RemoteError; nothing is changed then."""
        await self._flights.run("albums", lane, self._read_albums)

    async def refresh_album(self, inode: Inode, lane: Lane) -> tuple[ImageId, ...]:
        """Read one album's content; return what Imgur showed in it, in its order.

        That may differ from what the drive shows by what is wished. Raises RemoteError,
        NotFoundError; the latter removes nothing: only the album list does, which is
        read next.
        """

        async def read(lane: Lane) -> tuple[ImageId, ...]:
            return await self._read_album(inode, lane)

        result = await self._flights.run(("album", inode), lane, read)
        return cast("tuple[ImageId, ...]", result)

    async def refresh_images(self, lane: Lane) -> None:
        """Read the whole image list. Raises RemoteError; nothing is changed then."""
        await self._flights.run("images", lane, self._read_images)

    async def refresh_all(self, lane: Lane) -> None:
        """Bring everything up to date: images, album list, albums that changed.

        In this order the tree is complete afterwards: every album is known as of a
        later moment than every image. An album that Imgur refuses is passed over.
        """
        await self.refresh_images(lane)
        await self.refresh_albums(lane)
        for album in entries.albums_to_list(self._db.reader):
            try:
                await self.refresh_album(album.inode, lane)
            except _ALBUM_ERRORS:
                continue  # noted in _refused, and logged there
        if entries.has_doubtful_images(self._db.reader):
            # Something left its last album just now: is it still in the account?
            await self.refresh_images(lane)

    # --- In the background -------------------------------------------------------

    def note_access(self) -> None:
        """Say that somebody looks: what is old is worth reading again. Cheap."""
        self._looked_at = self._clock.now()
        if self._is_idle:
            self._wake.set()

    def want(self, album: Inode) -> None:
        """Ask for an album to be read again soon."""
        if album not in self._wanted:
            self._wanted[album] = None
            self._wake.set()

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Read what was never read and, while somebody looks, what is old; for ever.

        Survives every ImgurfsError: warns once, pauses longer and longer, goes on.
        """
        async with trio.open_nursery() as nursery:
            self._flights.nursery = nursery
            try:
                task_status.started()
                while True:
                    await self._step()
            finally:
                self._flights.nursery = None
        raise AssertionError("unreachable")

    async def _step(self) -> None:
        work = self._due()
        if work is None:
            await self._wait_until_due()
            return
        try:
            await work()
        except ImgurfsError as error:
            await self._back_off(error)
        else:
            if self._failures:
                logger.info("Imgur's listings can be read again")
            self._failures = 0

    def _due(self) -> Callable[[], Awaitable[None]] | None:
        """Return the next thing to read, None when nothing is due."""
        reader = self._db.reader
        if self._is_old("images_listed_at", self._image_list_ttl_s()):
            return self._read_again("images_listed_at", self.refresh_images)
        if self._is_album_list_doubted or self._is_old(
            "albums_listed_at", self._album_list_ttl_s
        ):
            return self._read_again("albums_listed_at", self.refresh_albums)
        albums = [*self._wanted, *(a.inode for a in entries.albums_to_list(reader))]
        now = self._clock.now()
        for inode in albums:
            self._wanted.pop(inode, None)
            if self._refused_until(inode) <= now:
                return self._read_album_again(inode)
        if entries.has_doubtful_images(reader) and self._is_old(
            "images_listed_at", self._album_list_ttl_s
        ):
            return self._read_again("images_listed_at", self.refresh_images)
        if entries.has_unplaced_images(
            reader, first_seen_after=meta.get_time(reader, "albums_listed_at") or 0.0
        ):
            return self._read_again("albums_listed_at", self.refresh_albums)
        return None

    def _read_again(
        self, key: str, refresh: Callable[[Lane], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        is_first = meta.get(self._db.reader, key) is None
        return lambda: refresh(Lane.PREFETCH if is_first else Lane.REFRESH)

    def _read_album_again(self, inode: Inode) -> Callable[[], Awaitable[None]]:
        async def read() -> None:
            node = entries.node(self._db.reader, inode)
            is_first = node is not None and node.listed_at is None
            with contextlib.suppress(*_ALBUM_ERRORS):  # noted in _refused
                await self.refresh_album(
                    inode, Lane.PREFETCH if is_first else Lane.REFRESH
                )

        return read

    async def _wait_until_due(self) -> None:
        moments = [until for until, _ in self._refused.values()]
        for key, ttl_s in self._lists():
            if self._was_looked_at_since(key):
                listed_at = meta.get_time(self._db.reader, key)
                assert listed_at is not None, "a list never read is due"
                moments.append(listed_at + ttl_s)
        now = self._clock.now()
        moments = [at for at in moments if at > now]
        wait_s = min(moments, default=math.inf) - now
        self._is_idle = not all(
            self._was_looked_at_since(key) for key, _ in self._lists()
        )
        with trio.move_on_after(wait_s):
            await self._wake.wait()
        self._is_idle = False
        self._wake = trio.Event()

    def _lists(self) -> tuple[tuple[str, float], tuple[str, float]]:
        return (
            ("albums_listed_at", self._album_list_ttl_s),
            ("images_listed_at", self._image_list_ttl_s()),
        )

    def _image_list_ttl_s(self) -> float:
        """As many credits an hour as the album list costs, however many pages."""
        ttl_s = self._album_list_ttl_s * max(self._image_pages, 1)
        return min(ttl_s, limits.IMAGE_LIST_TTL_MAX_S)

    def _is_old(self, key: str, ttl_s: float) -> bool:
        listed_at = meta.get_time(self._db.reader, key)
        if listed_at is None:
            return True
        # A time in the future was written before the clock was set back.
        is_fresh = 0 <= self._clock.now() - listed_at < ttl_s
        return not is_fresh and self._was_looked_at_since(key)

    def _was_looked_at_since(self, key: str) -> bool:
        listed_at = meta.get_time(self._db.reader, key)
        return self._looked_at is not None and self._looked_at >= (listed_at or 0.0)

    def _refused_until(self, inode: Inode) -> float:
        return self._refused[inode][0] if inode in self._refused else 0.0

    async def _back_off(self, error: ImgurfsError) -> None:
        self._failures += 1
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        pause_s = limits.REFRESH_BACKOFF_MIN_S * 2.0 ** min(self._failures - 1, 20)
        pause_s = min(pause_s, limits.REFRESH_BACKOFF_MAX_S)
        if isinstance(error, BudgetError | ThrottledError):
            level = min(level, logging.INFO)  # waiting for credits is no outage
            ahead_s = (error.retry_at or 0.0) - self._clock.now()
            pause_s = max(pause_s, min(ahead_s, limits.RESET_AHEAD_MAX_S))
        logger.log(
            level, "the listings are not refreshed now: %s (%.0f s)", error, pause_s
        )
        await trio.sleep(pause_s)

    # --- Reading and folding -----------------------------------------------------

    async def _read_albums(self, lane: Lane) -> None:
        began_at = self._clock.now()
        before = frozenset(entries.album_inodes(self._db.reader))
        listing, pages = await read_pages(self._api.albums_page, lane, "albums")
        vanished = fold.vanished_albums(
            self._db.reader, before, listing, began_at=began_at
        )
        if vanished and pages > 1:
            again, _ = await read_pages(self._api.albums_page, lane, "albums")
            listing |= again
            vanished = fold.vanished_albums(
                self._db.reader, before, listing, began_at=began_at
            )
        brake = ""
        if needs_proof(known=len(before), vanished=len(vanished)):
            brake = await proof(self._api.album, vanished[0], lane)
        unlistable = frozenset(self._refused)

        def write(c: Connection) -> fold.Folded:
            _set_brake(c, "albums", brake, len(vanished))
            return fold.fold_albums(
                c,
                before=before,
                listing=listing,
                began_at=began_at,
                keep_vanished=bool(brake),
                unlistable=unlistable,
            )

        await self._fold("albums", write)
        self._is_album_list_doubted = False

    async def _read_images(self, lane: Lane) -> None:
        began_at = self._clock.now()
        before = frozenset(entries.image_inodes(self._db.reader))
        expected = len(entries.account_images(self._db.reader))
        listing, pages = await read_pages(self._api.images_page, lane, "images")
        vanished = fold.vanished_images(
            self._db.reader, before, listing, began_at=began_at
        )
        if vanished and pages > 1:
            again, _ = await read_pages(self._api.images_page, lane, "images")
            listing |= again
            vanished = fold.vanished_images(
                self._db.reader, before, listing, began_at=began_at
            )
        brake = ""
        if needs_proof(known=expected, vanished=len(vanished)):
            brake = await proof(self._api.image, vanished[0], lane)
        ended_at = self._clock.now()
        unlistable = frozenset(self._refused)

        def write(c: Connection) -> fold.Folded:
            _set_brake(c, "images", brake, len(vanished))
            return fold.fold_images(
                c,
                before=before,
                listing=listing,
                began_at=began_at,
                ended_at=ended_at,
                keep_vanished=bool(brake),
                unlistable=unlistable,
            )

        await self._fold("images", write)
        self._image_pages = pages

    async def _read_album(self, inode: Inode, lane: Lane) -> tuple[ImageId, ...]:
        node = entries.node(self._db.reader, inode)
        if node is None or node.album is None or not node.album.id:
            raise NotFoundError(f"inode {inode} is no album of Imgur's")
        now = self._clock.now()
        if self._refused_until(inode) > now:
            raise self._refused[inode][1]
        before = frozenset(entries.shown(self._db.reader, inode))
        try:
            album, images = await self._api.album(node.album.id, lane)
        except _ALBUM_ERRORS as error:
            logger.info("album %s cannot be listed: %s", node.album.id, error)
            self._refused[inode] = (now + limits.REFUSED_ALBUM_RETRY_S, error)
            self._is_album_list_doubted |= isinstance(error, NotFoundError)
            self._wake.set()
            raise
        if album.id != node.album.id:
            raise OutageError(f"Imgur answered with another album than {node.album.id}")
        self._refused.pop(inode, None)
        self._wanted.pop(inode, None)
        unlistable = frozenset(self._refused)

        def write(c: Connection) -> fold.Folded:
            return fold.fold_album(
                c,
                inode,
                before=before,
                album=album,
                listing={image.id: image for image in images},
                began_at=now,
                unlistable=unlistable,
            )

        await self._fold(f"album {album.id}", write)
        return tuple(image.id for image in images)

    async def _fold(
        self, what: str, write: Callable[[Connection], fold.Folded]
    ) -> None:
        folded = await self._db.write(write)
        self._readings += 1
        logger.debug("%s: %d new, %d gone", what, folded.added, folded.removed)


def _set_brake(c: Connection, what: str, reason: str, vanished: int) -> None:
    """Note why removals are not believed, or that those of this list are again."""
    old = meta.get(c, "brake") or ""
    if reason:
        text = f"{what}: Imgur's list lacks {vanished} of them, but {reason}"
        if not old.startswith(f"{what}:"):
            logger.warning("%s", text)
        meta.put(c, "brake", text)
    elif old.startswith(f"{what}:"):
        meta.drop(c, "brake")
