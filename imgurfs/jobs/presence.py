"""Whether images are on Imgur still, asked in few calls.

What is known of an account may be as old as its last listing, and an image that was
deleted on the web since must not stand in for the only copy of its content. Used by
:mod:`imgurfs.jobs.drive_upload`.
"""

from __future__ import annotations

from typing import Final

import trio

from imgurfs.clock import Clock
from imgurfs.errors import (
    ForbiddenError,
    NotFoundError,
    OutageError,
    RejectedError,
)
from imgurfs.jobs import drive
from imgurfs.jobs.steps import Account
from imgurfs.model import AlbumId, ImageId
from imgurfs.store import entries
from imgurfs.store.database import Connection

#: How long an answer is good: an album that is copied costs one call a minute.
_TTL_S: Final = 60.0


class Presence:
    """Remembers for a moment which images are there. One per drainer."""

    def __init__(self, account: Account, *, reader: Connection, clock: Clock) -> None:
        self._account = account
        self._reader = reader
        self._clock = clock
        self._seen_at_s: dict[ImageId, float] = {}
        # An image that was deleted never comes back.
        self._gone: set[ImageId] = set()
        # Albums that Imgur could not list lately, and until when none of them is asked.
        self._unlisted_until_s: dict[AlbumId, float] = {}
        # Jobs run side by side: what is asked for one of them is known to the others.
        self._asking = trio.Lock()

    def __repr__(self) -> str:
        return f"<Presence seen={len(self._seen_at_s)} gone={len(self._gone)}>"

    def of(self, image_id: ImageId) -> bool | None:
        """Return whether an image is there; None when nobody has asked lately."""
        if image_id in self._gone:
            return False
        at_s = self._seen_at_s.get(image_id)
        is_fresh = at_s is not None and self._clock.monotonic() - at_s < _TTL_S
        return True if is_fresh else None

    async def ask(self, image_id: ImageId) -> None:
        """Ask Imgur, unless it was asked lately. Raises RemoteError."""
        async with self._asking:
            if self.of(image_id) is not None:
                return
            # Most are copied with others of their album.
            there = await self._beside(image_id)
            if image_id not in there:
                if await self._is_there(image_id):
                    there.append(image_id)
                else:
                    self._gone.add(image_id)
            seen = {it: at_s for it, at_s in self._seen_at_s.items() if self.of(it)}
            now_s = self._clock.monotonic()
            self._seen_at_s = seen | dict.fromkeys(there, now_s)

    async def _beside(self, image_id: ImageId) -> list[ImageId]:
        """Return the images of an album that has this one as far as we know."""
        node = entries.node_of_image(self._reader, image_id)
        albums = drive.homes(self._reader, node.inode).albums if node else ()
        now_s = self._clock.monotonic()
        for _, album_id in albums[:1]:
            if now_s < self._unlisted_until_s.get(album_id, 0.0):
                break
            try:
                return list(await self._account.images_in(album_id))
            except (NotFoundError, ForbiddenError, RejectedError):
                break
            except OutageError:
                # Some albums cannot be listed for days; the image may be answered for.
                self._unlisted_until_s[album_id] = now_s + _TTL_S
                break
        return []

    async def _is_there(self, image_id: ImageId) -> bool:
        try:
            return await self._account.has_image(image_id)
        except (ForbiddenError, RejectedError):
            return False
