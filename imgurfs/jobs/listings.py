"""The account's listings, as fresh as a job needs them; implements ``steps.Account``.

Reads through ``tree.refresh``, which folds what it reads into the store. An album is
created only after the album list was read in this session and lately, a picture sent
only when the newest images are known (another machine may have sent it), a picture
deleted only when every album is known as it is.
"""

from __future__ import annotations

import logging

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.errors import (
    ForbiddenError,
    NotFoundError,
    OutageError,
    RejectedError,
)
from imgurfs.model import AlbumId, Image, ImageId, Lane
from imgurfs.store import entries, meta
from imgurfs.store.database import Database
from imgurfs.tree import recent
from imgurfs.tree.listing import Listings as ListingsApi
from imgurfs.tree.refresh import Refresher

log = logging.getLogger(__name__)


class Listings:
    """Reads listings when somebody needs them. One per drainer."""

    def __init__(
        self,
        *,
        db: Database,
        api: ListingsApi,
        refresher: Refresher,
        clock: Clock,
        ttl_s: float = limits.ALBUM_LIST_TTL_S,
    ) -> None:
        self._db = db
        self._api = api
        self._refresher = refresher
        self._clock = clock
        self._ttl_s = ttl_s
        self._albums_at_s: float | None = None
        self._current_at_s: float | None = None
        self._images_at_s: float | None = None
        # Jobs run side by side: what one of them reads is fresh for the others.
        self._reading = trio.Lock()

    def __repr__(self) -> str:
        return f"<Listings is_known={self.is_known}>"

    @property
    def is_known(self) -> bool:
        """Whether the album list was read in this session and is fresh."""
        return self._is_fresh(self._albums_at_s, self._ttl_s)

    def _is_fresh(self, at_s: float | None, ttl_s: float) -> bool:
        return at_s is not None and self._clock.monotonic() - at_s < ttl_s

    async def ensure_albums(self) -> None:
        """Read the album list unless it is fresh. Raises RemoteError."""
        if not self.is_known:
            await self.albums_now()

    async def albums_now(self) -> None:
        """Read the album list. Raises RemoteError."""
        began_s = self._clock.monotonic()
        await self._refresher.refresh_albums(Lane.INTERACTIVE)
        self._albums_at_s = began_s

    async def ensure_current(self) -> None:
        """Read the album list, and every album that is not as it was.

        An album that Imgur refuses to show is passed over. Raises RemoteError.
        """
        async with self._reading:
            if not self._is_fresh(self._current_at_s, self._ttl_s):
                await self._read_albums()

    async def _read_albums(self) -> None:
        began_s = self._clock.monotonic()
        await self.albums_now()
        for album in entries.albums_to_list(self._db.reader):
            try:
                await self._refresher.refresh_album(album.inode, Lane.INTERACTIVE)
            except (NotFoundError, ForbiddenError, RejectedError):
                continue  # the refresher has noted and logged it
        self._current_at_s = began_s

    async def ensure_images(self) -> None:
        """Read the whole image list once, later only what is new. Raises RemoteError.

        As long as the account has as many images as we know, nobody else has sent one:
        asking that costs one credit, however many we have sent ourselves.
        """
        async with self._reading:
            if not self._is_fresh(self._images_at_s, limits.RECENT_IMAGES_TTL_S):
                await self._read_images()

    async def _read_images(self) -> None:
        began_s = self._clock.monotonic()
        reader = self._db.reader
        listed_at = meta.get_time(reader, "images_listed_at")
        if listed_at is None:
            await self._refresher.refresh_images(Lane.INTERACTIVE)
        elif not await self._knows_all():
            recent_at = meta.get_time(reader, "recent_listed_at") or 0.0
            since = max(listed_at, recent_at) - limits.CLOCK_SKEW_S
            await self.newest(since=since)
        self._images_at_s = began_s

    async def _knows_all(self) -> bool:
        """Whether the account has as many images as we know; False when in doubt."""
        try:
            count = await self._api.images_count(Lane.INTERACTIVE)
        except (OutageError, NotFoundError, ForbiddenError, RejectedError) as error:
            log.info("the number of images is not told: %s", error.message)
            return False
        return count == len(entries.account_images(self._db.reader))

    async def newest(self, *, since: float) -> list[Image]:
        """Read the images made since then, newest first. Raises RemoteError."""
        began_at = self._clock.now()
        images = await recent.read_newest(
            self._api.images_page, since=since, lane=Lane.INTERACTIVE
        )
        await self._db.write(lambda c: recent.fold_newest(c, images, now=began_at))
        return images

    async def list_album(self, album_id: AlbumId) -> list[ImageId]:
        """Read one album. Raises NotFoundError when there is none, RemoteError."""
        node = entries.node_of_album(self._db.reader, album_id)
        if node is None:
            await self.albums_now()
            node = entries.node_of_album(self._db.reader, album_id)
        if node is None:
            raise NotFoundError(f"there is no album {album_id}")
        return list(await self._refresher.refresh_album(node.inode, Lane.INTERACTIVE))

    async def images_in(self, album_id: AlbumId) -> list[ImageId]:
        """Read one album, and fold nothing. Raises NotFoundError, RemoteError."""
        _, images = await self._api.album(album_id, Lane.INTERACTIVE)
        return [image.id for image in images]

    async def has_image(self, image_id: ImageId) -> bool:
        """Ask Imgur whether there is such an image. Raises RemoteError."""
        try:
            await self._api.image(image_id, Lane.INTERACTIVE)
        except NotFoundError:
            return False
        return True
