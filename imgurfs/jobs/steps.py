"""What is to be done for a job, and what the workers need of Imgur to do it.

The values that pass between ``jobs.work`` (which knows what a job means) and ``drain``
(which knows when it may run), and the two interfaces behind which Imgur is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.clock import Clock
from imgurfs.errors import ImgurfsError
from imgurfs.executor import Executor
from imgurfs.model import Album, AlbumId, Image, ImageId, JobId, Lane, RequestClass
from imgurfs.store.database import Connection, Database
from imgurfs.store.outbox import Job

Write: TypeAlias = Callable[[Connection], None]


class Api(Protocol):
    """The calls that jobs make; ``api.client.Client`` has them."""

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
        """Send a file as a new image."""
        ...

    async def create_album(
        self,
        *,
        title: str,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> Album:
        """Create an album that holds images."""
        ...

    async def add_to_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Add images to an album."""
        ...

    async def remove_from_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Take images out of an album."""
        ...

    async def set_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Replace an album's images by exactly these."""
        ...

    async def update_album(
        self,
        album_id: AlbumId,
        *,
        title: str | None = None,
        description: str | None = None,
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Change an album's title or description."""
        ...

    async def delete_album(
        self, album_id: AlbumId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an album; its images stay."""
        ...

    async def update_image(
        self,
        image_id: ImageId,
        *,
        title: str | None = None,
        description: str | None = None,
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Change an image's title or description."""
        ...

    async def delete_image(
        self, image_id: ImageId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an image."""
        ...


class Account(Protocol):
    """Reads the account into the store; ``jobs.listings.Listings`` does."""

    async def ensure_albums(self) -> None:
        """Return when the album list in the store is fresh, or raise RemoteError.

        An album is never created beside one that nobody knew of.
        """
        ...

    async def ensure_current(self) -> None:
        """Return when list and content of all albums are fresh, or raise RemoteError.

        Nothing is deleted that somebody has put elsewhere.
        """
        ...

    async def ensure_images(self) -> None:
        """Return when the newest images are known, or raise RemoteError.

        Nothing is sent that is there already.
        """
        ...

    async def albums_now(self) -> None:
        """Read the album list now, however fresh it is."""
        ...

    async def list_album(self, album_id: AlbumId) -> list[ImageId]:
        """Read an album now and return what is in it. Raises NotFoundError."""
        ...

    async def images_in(self, album_id: AlbumId) -> list[ImageId]:
        """Ask what is in an album, and change nothing here. Raises NotFoundError."""
        ...

    async def has_image(self, image_id: ImageId) -> bool:
        """Ask whether there is such an image. Raises RemoteError."""
        ...

    async def newest(self, *, since: float) -> list[Image]:
        """Read the images of the account that are not older than an epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a job's file has been handed to the network."""

    job_id: JobId
    text: str
    sent_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a drainer's workers work with.

    ``names`` is the account's setting of that name. ``is_name_title``: visitors see
    what files are called on the drive. ``delete_grace_s`` is how long an image that was
    replaced on the drive stays. ``cache_dir`` is the content cache's, None for none.
    After ``quarantine_s`` Imgur is done with a request that was never answered.
    """

    db: Database
    api: Api
    account: Account
    clock: Clock
    executor: Executor
    device_id: bytes
    spool_dir: Path
    cache_dir: Path | None = None
    delete_grace_s: float = limits.DELETE_GRACE_S
    is_name_title: bool = True
    names: str = "keep"
    quarantine_s: float = limits.QUARANTINE_S
    on_progress: Callable[[Progress], None] | None = None
    on_settled: Callable[[Job], None] | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """A call that can be made once its budget is reserved and its intent written.

    ``payload`` replaces the job's in the intent, "" leaves it. ``on_claim`` runs in the
    intent's transaction. ``on_rejected`` prepares for Imgur's refusal; True means: try
    again. ``is_still`` tells, in the intent's transaction, whether the rows that the
    call rests on are what they were; if not, the job is prepared again.
    """

    send: Callable[[Grant], Awaitable[Write]]
    request: RequestClass
    marker: str = ""
    payload: str = ""
    on_claim: Write | None = None
    on_rejected: Callable[[Connection, ImgurfsError], bool] | None = None
    is_still: Callable[[Connection], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Resolved:
    """Nothing needs to be sent; ``write`` settles the job.

    ``is_still`` tells, in its transaction, whether that is so even now; if not, the job
    is prepared again.
    """

    write: Write
    text: str
    is_still: Callable[[Connection], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Later:
    """Not yet: look again after ``wait_s``. ``is_usual``: not worth a warning.

    What ends the reason wakes the job; ``is_still`` tells whether it has ended before
    the job was put off, when there was nobody to wake.
    """

    wait_s: float
    reason: str
    is_usual: bool = False
    is_still: Callable[[Connection], bool] = lambda _: True


Step: TypeAlias = Ready | Resolved | Later
