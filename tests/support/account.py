"""An account in memory: the listings the tree is read with, changed by hand.

A fake of ``imgurfs.tree.refresh.Listings``, not of Imgur (that is the emulator): it
serves what a test put there, counts what was asked, and fails on request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from imgurfs.errors import ImgurfsError, NotFoundError
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.model import Album, AlbumId, Image, ImageId, Lane
from imgurfs.store.database import Database
from imgurfs.store.schema import STATE_SCHEMA


def image(number: int, **fields: object) -> Image:
    """Return an image with id ``img<number>``, uploaded at second ``number``."""
    made = Image(
        id=ImageId(f"img{number:04}"),
        type="image/jpeg",
        link=f"https://i.imgur.com/img{number:04}.jpg",
        size_bytes=1000 + number,
        datetime_s=number,
        deletehash=f"hash{number:011}",
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def album(number: int, title: str = "", **fields: object) -> Album:
    """Return an album with id ``alb<number>``, made at second ``number``."""
    made = Album(id=AlbumId(f"alb{number:04}"), title=title, datetime_s=number)
    return replace(made, **fields)  # type: ignore[arg-type]


def open_state(path: Path) -> Database:
    """Open a state.db whose writes run inline: for virtual time."""
    return Database.open(
        path,
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )


@dataclass
class FakeAccount:
    """Albums, their images, and the account's images, as Imgur would list them.

    ``failure`` is raised by every request while set; ``before_request`` is awaited
    before each (to change things in between, to wait).
    """

    albums: dict[AlbumId, Album] = field(default_factory=dict)
    contents: dict[AlbumId, list[ImageId]] = field(default_factory=dict)
    images: dict[ImageId, Image] = field(default_factory=dict)
    page_size: int = 100
    failure: ImgurfsError | None = None
    refused: dict[str, ImgurfsError] = field(default_factory=dict)
    before_request: Callable[[str], Awaitable[None]] | None = None
    calls: Counter[str] = field(default_factory=Counter)
    lanes: list[Lane] = field(default_factory=list)

    def put(self, made: Album, *images: Image) -> None:
        """Put an album with exactly these images into the account."""
        self.albums[made.id] = made
        self.contents[made.id] = [one.id for one in images]
        self.put_images(*images)

    def put_images(self, *images: Image) -> None:
        """Put images into the account."""
        self.images |= {one.id: one for one in images}

    def delete_image(self, image_id: str) -> None:
        """Delete an image everywhere."""
        del self.images[ImageId(image_id)]
        for content in self.contents.values():
            if image_id in content:
                content.remove(ImageId(image_id))

    def delete_album(self, album_id: str) -> None:
        """Delete an album; its images stay."""
        del self.albums[AlbumId(album_id)]
        del self.contents[AlbumId(album_id)]

    async def albums_page(self, page: int, lane: Lane) -> list[Album]:
        """Return a page of albums with their counts and covers."""
        await self._request("albums", lane)
        listed = [self._described(one) for one in self.albums]
        return listed[page * self.page_size : (page + 1) * self.page_size]

    async def images_page(self, page: int, lane: Lane) -> list[Image]:
        """Return a page of the account's images, newest first."""
        await self._request("images", lane)
        listed = sorted(self.images.values(), key=lambda one: -one.datetime_s)
        return listed[page * self.page_size : (page + 1) * self.page_size]

    async def images_count(self, lane: Lane) -> int:
        """Return how many images there are."""
        await self._request("count", lane)
        return len(self.images)

    async def album(self, album_id: AlbumId, lane: Lane) -> tuple[Album, list[Image]]:
        """Return an album with its images."""
        await self._request("album", lane)
        if album_id in self.refused:
            raise self.refused[album_id]
        if album_id not in self.albums:
            raise NotFoundError(f"no album {album_id}")
        content = [self.images[one] for one in self.contents[album_id]]
        return self._described(album_id), content

    async def image(self, image_id: ImageId, lane: Lane) -> Image:
        """Return an image."""
        await self._request("image", lane)
        if image_id in self.refused:
            raise self.refused[image_id]
        if image_id not in self.images:
            raise NotFoundError(f"no image {image_id}")
        return self.images[image_id]

    def _described(self, album_id: AlbumId) -> Album:
        content = self.contents[album_id]
        return replace(
            self.albums[album_id],
            images_count=len(content),
            cover=content[0] if content else "",
        )

    async def _request(self, what: str, lane: Lane) -> None:
        self.calls[what] += 1
        self.lanes.append(lane)
        if self.before_request is not None:
            await self.before_request(what)
        if self.failure is not None:
            raise self.failure
