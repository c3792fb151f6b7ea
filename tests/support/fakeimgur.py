"""An Imgur of a few dictionaries, as jobs call it: it obeys, fails or lies as told."""

# ruff: noqa: ARG002 - fakes have the signatures of what they stand for

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from imgurfs.budget import Grant
from imgurfs.errors import ImgurfsError, NotFoundError, OutcomeUnknownError
from imgurfs.model import Album, AlbumId, Image, ImageId, Lane

EPOCH_S = 1_800_000_000.0
_FOREVER_S = 10.0**9


@dataclass
class FakeImgur:
    """Implements ``jobs.work.Api``. ``failures`` are raised before anything happens."""

    images: dict[ImageId, Image] = field(default_factory=dict)
    albums: dict[AlbumId, list[ImageId]] = field(default_factory=dict)
    titles: dict[AlbumId, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    failures: list[ImgurfsError] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None
    hang: bool = False
    is_lying: bool = False  # says yes to adding and does nothing
    now: Callable[[], float] = lambda: EPOCH_S
    is_next_lost: bool = False  # the answer after this one is lost
    lost_answers: int = 0  # so many changes happen, and their answers are lost
    sending: int = 0
    sending_most: int = 0

    async def _call(self, call: str) -> str:
        self.calls.append(call)
        number = f"{len(self.calls):03d}"
        self.sending += 1
        self.sending_most = max(self.sending_most, self.sending)
        try:
            await trio.sleep(_FOREVER_S if self.hang else 0.01)
        finally:
            self.sending -= 1
        if self.failures:
            raise self.failures.pop(0)
        return number

    def _answer(self) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            raise OutcomeUnknownError("the answer was lost")
        if self.is_next_lost:
            self.is_next_lost = False
            self.lost_answers = 1

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
        """Take a file."""
        assert grant is not None, "the budget comes first"
        number = await self._call(f"upload {path.name} album={album}")
        image = Image(
            id=ImageId(f"image{number}"),
            type="image/gif",
            link=f"https://i.example/{number}.gif",
            size_bytes=size_bytes,
            datetime_s=int(self.now()),
            name=name,
        )
        self.images[image.id] = image
        if album is not None:
            self.albums[album].append(image.id)
        self.before_answer()
        self._answer()
        return image

    async def create_album(
        self,
        *,
        title: str,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> Album:
        """Make an album."""
        number = await self._call(f"create {title}")
        album = Album(AlbumId(f"album{number}"), title, int(self.now()))
        self.albums[album.id] = list(images)
        self.titles[album.id] = title
        self._answer()
        return album

    async def add_to_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Put images into an album."""
        await self._call(f"add {len(images)} {album_id}")
        if not self.is_lying:
            self.albums[album_id] += [
                i for i in images if i not in self.albums[album_id]
            ]

    async def remove_from_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Take images out of an album."""
        await self._call(f"remove {len(images)} {album_id}")
        self.albums[album_id] = [i for i in self.albums[album_id] if i not in images]

    async def set_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Let an album hold exactly these."""
        await self._call(f"set {len(images)} {album_id}")
        self.albums[album_id] = list(images)

    async def update_album(
        self,
        album_id: AlbumId,
        *,
        title: str | None = None,
        description: str | None = None,
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Give an album another title."""
        await self._call(f"title {title} {album_id}")
        assert title is not None
        self.titles[album_id] = title

    async def delete_album(
        self, album_id: AlbumId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an album."""
        await self._call(f"delete {album_id}")
        del self.albums[album_id]

    async def update_image(
        self,
        image_id: ImageId,
        *,
        title: str | None = None,
        description: str | None = None,
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Give an image another title."""
        await self._call(f"title {title} {image_id}")
        image = self.images[image_id]
        if title is not None:
            image = replace(image, title=title)
        if description is not None:
            image = replace(image, description=description)
        self.images[image_id] = image

    async def delete_image(
        self, image_id: ImageId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an image."""
        await self._call(f"delete {image_id}")
        if self.images.pop(image_id, None) is None:
            raise NotFoundError(f"there is no image {image_id}")
        self._answer()
