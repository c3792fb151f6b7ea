"""Imgur without an account: the same calls, by client id and deletehashes.

What it is not: no second kind of queue or tree. It has every method of
:class:`~imgurfs.api.client.Client`, so jobs, listings and the drive are what they are
for an account. Where an account is listed, it answers with what this machine recorded
(``api.register``); where Imgur wants proof of ownership, it sends deletehashes.

Imgur tells strangers neither names nor deletehashes, and a title set by nobody but us
is known best here: what the register has of these wins over what is read.

Anonymous uploads may end when Imgur likes. While somebody looks, a few of the images
are asked for with each listing, and an album whenever it is listed. What Imgur does
not know twice, a while apart, is gone; its deletehash stays in the register, and it
is asked for now and then: what comes back is shown again.

A deletehash is a secret: it is in paths and refusals, and taken out of every error
(answers are never quoted with one, ``api.parse``).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx
import trio

from imgurfs.api import wire
from imgurfs.api.auth import Auth
from imgurfs.api.client import Client, _Upload
from imgurfs.api.register import Entry, Register, retitled
from imgurfs.budget import Grant
from imgurfs.clock import Clock
from imgurfs.errors import (
    ConfigError,
    ForbiddenError,
    ImgurfsError,
    NotFoundError,
    NotSentError,
)
from imgurfs.executor import Executor, ThreadLane
from imgurfs.model import ANONYMOUS, Account, Album, AlbumId, Image, ImageId, Lane

log = logging.getLogger(__name__)

#: Images that are asked for with one listing, a credit each (and one album).
_CHECKED: Final = 5
#: Between the two answers that say that something is gone.
_DOUBT_S: Final = 60.0
#: Listings nobody waits for: only with those is anything asked.
_BACKGROUND: Final = (Lane.REFRESH, Lane.PREFETCH)


class AnonymousClient(Client):
    """Imgur's API for what was uploaded without an account."""

    def __init__(
        self,
        *,
        register: Register,
        http: httpx.AsyncClient,
        api_url: str,
        auth: Auth,
        clock: Clock,
        executor: Executor,
    ) -> None:
        super().__init__(
            http=http, api_url=api_url, auth=auth, clock=clock, executor=executor
        )
        self._register = register
        # The register is used by one at a time.
        self._using = trio.Lock()
        # When Imgur did not know something for the first time, and when something was
        # last asked for, by id.
        self._doubted: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}

    # --- Reading --------------------------------------------------------------

    async def account(self, lane: Lane = Lane.CONTROL) -> Account:
        """Return what stands for nobody's account; asks nobody."""
        del lane
        return ANONYMOUS

    async def albums_page(self, page: int, lane: Lane) -> list[Album]:
        """Return the albums on the first page; how full they are is not told."""
        del lane
        if page:
            return []
        await self._reload()
        return self._register.albums()

    async def images_page(self, page: int, lane: Lane) -> list[Image]:
        """Return the images on the first page, newest first."""
        if page:
            return []
        await self._reload()
        if lane in _BACKGROUND:
            await self._ask_for_some(lane)
        return self._register.images()

    async def images_count(self, lane: Lane) -> int:
        """Return how many images there are; asks nobody."""
        del lane
        await self._reload()
        return len(self._register.images())

    async def album(self, album_id: AlbumId, lane: Lane) -> tuple[Album, list[Image]]:
        """Return an album and its images in order. Raises NotFoundError."""
        try:
            album, images = await super().album(album_id, lane)
        except NotFoundError:
            await self._note_missing(album_id)
            raise
        self._doubted.pop(album_id, None)
        await self._reload()
        images = [await self._as_known(image) for image in images]
        if (known := self._register.album(album_id)) is not None:
            if self._register.is_missing(album_id):
                await self._keep(Entry(album=known))
            album = replace(
                album,
                title=known.title,
                description=known.description,
                deletehash=known.deletehash,
            )
        return album, images

    async def image(self, image_id: ImageId, lane: Lane) -> Image:
        """Return one image. Raises NotFoundError."""
        try:
            image = await super().image(image_id, lane)
        except NotFoundError:
            await self._note_missing(image_id)
            raise
        await self._reload()
        return await self._as_known(image)

    async def _as_known(self, image: Image) -> Image:
        """Return an image as read, with what strangers are not told of it.

        What Imgur has made of the bytes since is noted.
        """
        self._doubted.pop(image.id, None)
        known = self._register.image(image.id)
        if known is None:
            return image
        image = replace(
            image,
            title=known.title,
            description=known.description,
            name=known.name,
            deletehash=known.deletehash,
            size_bytes=image.size_bytes or known.size_bytes,
        )
        lasting = replace(image, views=known.views, favorite=known.favorite)
        if lasting != known or self._register.is_missing(image.id):
            await self._keep(Entry(image=lasting))
        return image

    async def _ask_for_some(self, lane: Lane) -> None:
        """Ask whether those exist that were not asked for the longest."""
        for entry in self._to_ask():
            try:
                if entry.image is not None:
                    await self.image(entry.image.id, lane)
                elif entry.album is not None:
                    await self.album(entry.album.id, lane)
            except NotFoundError:
                pass
            except ImgurfsError as error:
                log.debug("what still exists is not known now: %s", error)
                return
            self._asked_at[entry.id] = self._clock.monotonic()

    def _to_ask(self) -> list[Entry]:
        """Return some images and an album, and one thing that was missing."""
        images = [Entry(image=one) for one in self._register.images()]
        albums = [Entry(album=one) for one in self._register.albums()]
        return [
            *sorted(images, key=self._turn)[:_CHECKED],
            *sorted(albums, key=self._turn)[:1],
            *sorted(self._register.missing(), key=self._turn)[:1],
        ]

    def _turn(self, entry: Entry) -> tuple[bool, float]:
        return entry.id not in self._doubted, self._asked_at.get(entry.id, 0.0)

    async def _note_missing(self, thing_id: str) -> None:
        """Note that Imgur does not know something; the second time it is gone."""
        await self._reload()
        entry = self._register.entry(thing_id)
        now = self._clock.monotonic()
        is_believed = now - self._doubted.setdefault(thing_id, now) >= _DOUBT_S
        if entry is not None and not entry.gone and is_believed:
            log.warning("%s, uploaded anonymously, is gone from Imgur", thing_id)
            await self._keep(Entry(entry.image, entry.album, "missing"))

    # --- Changing -------------------------------------------------------------

    async def upload(
        self,
        path: Path,
        *,
        size_bytes: int,
        name: str,
        album: AlbumId | None,
        title: str = "",
        lane: Lane,
        grant: Grant | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> Image:
        """Upload the file and return the image it became. Not idempotent.

        Raises what ``Client.upload`` raises, and ForbiddenError for an album whose
        deletehash is not known.
        """
        await self._reload()
        image = await super().upload(
            path,
            size_bytes=size_bytes,
            name=name,
            album=AlbumId(self._key(album)) if album else None,
            title=title,
            lane=lane,
            grant=grant,
            on_sent=on_sent,
        )
        # Imgur need not remember the name: nobody could ask for it.
        image = replace(
            image, name=wire.plain(name), title=image.title or wire.plain(title)
        )
        await self._keep(Entry(image=image))
        return image

    async def create_album(
        self,
        *,
        title: str,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> Album:
        """Make an album of these images, but those whose deletehash is not known.

        Not idempotent.
        """
        await self._reload()
        usable = [one for one in images if self._register.deletehash(one)]
        album = await super().create_album(
            title=title, images=usable, lane=lane, grant=grant
        )
        album = replace(album, title=wire.plain(title))
        await self._keep(Entry(album=replace(album, images_count=-1)))
        return album

    async def update_album(
        self,
        album_id: AlbumId,
        *,
        title: str | None = None,
        description: str | None = None,
        cover: ImageId | None = None,
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Change an album's texts or cover; None leaves a field as it is."""
        await super().update_album(
            album_id,
            title=title,
            description=description,
            cover=cover,
            lane=lane,
            grant=grant,
        )
        if (known := self._register.album(album_id)) is not None:
            await self._keep(Entry(album=retitled(known, title, description)))

    async def delete_album(
        self, album_id: AlbumId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an album; its images stay. Raises NotFoundError, ForbiddenError."""
        await self._delete(super().delete_album(album_id, lane, grant), album_id)

    async def update_image(
        self,
        image_id: ImageId,
        *,
        title: str | None = None,
        description: str | None = None,
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Change an image's texts; None leaves a field as it is."""
        await super().update_image(
            image_id, title=title, description=description, lane=lane, grant=grant
        )
        if (known := self._register.image(image_id)) is not None:
            await self._keep(Entry(image=retitled(known, title, description)))

    async def delete_image(
        self, image_id: ImageId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an image for good. Raises NotFoundError when it is gone already."""
        await self._delete(super().delete_image(image_id, lane, grant), image_id)

    async def _delete(self, call: Awaitable[None], thing_id: str) -> None:
        try:
            await call
        except NotFoundError:
            await self._note_deleted(thing_id)
            raise
        await self._note_deleted(thing_id)

    async def _note_deleted(self, thing_id: str) -> None:
        entry = self._register.entry(thing_id)
        if entry is not None:
            await self._keep(Entry(entry.image, entry.album, "deleted"))

    async def adopt(self, made: Image | Album) -> None:
        """Record what an upload of unknown outcome has made, found by its user.

        Without a deletehash: it is shown, and can be neither changed nor deleted.
        """
        await self._reload()
        if isinstance(made, Album):
            await self._keep(Entry(album=replace(made, images_count=-1, cover="")))
        else:
            await self._keep(Entry(image=made))

    # --- Deletehashes -----------------------------------------------------------

    def _key(self, thing_id: str) -> str:
        """Return a deletehash. Raises ForbiddenError when nobody knows it."""
        key = self._register.deletehash(thing_id)
        if not key:
            raise ForbiddenError(
                f"the deletehash of {thing_id} is not known here: without an account,"
                " and without that, it cannot be changed or deleted"
            )
        return key

    async def _reload(self) -> None:
        try:
            async with self._using:
                await self._executor.run(ThreadLane.DISK, self._register.reload)
        except ConfigError as error:
            # As good as no way to Imgur: jobs wait until there is one.
            raise NotSentError(error.message, hint=error.hint) from None

    async def _keep(self, entry: Entry) -> None:
        """Put an entry on the disk. Not cancelled: it may hold a new deletehash.

        A disk that says no costs nothing yet: the entry is known in this process, goes
        into the state with the answer, and is written with the next one.
        """
        with trio.CancelScope(shield=True):
            async with self._using:
                try:
                    await self._executor.run(ThreadLane.DISK, self._register.put, entry)
                except OSError as error:
                    log.error(  # noqa: TRY400 - a full disk is no bug
                        "%s is not up to date: %s", self._register.path, error.strerror
                    )

    # --- The way there and back -----------------------------------------------

    async def _raw(
        self,
        request: wire.Request,
        *,
        upload: _Upload | None = None,
        grant: Grant | None = None,
    ) -> bytes:
        await self._reload()
        if request.is_change and not request.is_typed:
            request = wire.by_deletehashes(request, self._key)
        try:
            return await super()._raw(request, upload=upload, grant=grant)
        except ImgurfsError as error:
            # Not chained: the causes quote the path as well.
            raise self._register.cleaned(error) from None
