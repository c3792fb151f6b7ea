"""Turns a job into a call and the call's answer into rows.

:meth:`Worker.prepare` looks at the disk and the tables and says what is to be done: a
call (:class:`Ready`), nothing any more (:class:`Resolved`), or not yet
(:class:`Later`). It neither spends nor sends; ``drain`` reserves the budget, commits
the intent, awaits ``Ready.send`` and runs ``Ready.settle`` in one transaction.

How each kind survives being interrupted: an upload carries its marker and is held when
nobody knows whether it happened; creating an album likewise; adding to an album and
deleting an image are simply done again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import trio

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.clock import Clock
from imgurfs.errors import ImgurfsError, NotFoundError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.jobs import disk, queueing, settle
from imgurfs.jobs.queueing import (
    AddToAlbumPayload,
    CreateAlbumPayload,
    DeleteImagePayload,
    UploadPayload,
)
from imgurfs.marker import make_marker, name_with_marker, parse_marker
from imgurfs.model import (
    Album,
    AlbumId,
    Image,
    ImageId,
    Lane,
    RequestClass,
    RequestKind,
)
from imgurfs.store import entries, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)

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

    async def delete_image(
        self, image_id: ImageId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an image."""
        ...


class AlbumList(Protocol):
    """Keeps the list of the account's albums in the store."""

    async def ensure_fresh(self) -> None:
        """Return when the list in the store is fresh, or raise RemoteError.

        An album is never created beside one that nobody knew of.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """A call that can be made once its budget is reserved and its intent written.

    ``on_rejected`` prepares for Imgur's refusal; True means: try again.
    """

    send: Callable[[Grant], Awaitable[Write]]
    marker: str = ""
    on_rejected: Callable[[Connection, ImgurfsError], bool] | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """Nothing needs to be sent; ``write`` settles the job."""

    write: Write
    text: str


@dataclass(frozen=True, slots=True)
class Later:
    """Not yet: look again after ``wait_s``."""

    wait_s: float
    reason: str


Step: TypeAlias = Ready | Resolved | Later


class Worker:
    """Knows what to do for each kind of job. One per drainer."""

    def __init__(
        self,
        *,
        db: Database,
        api: Api,
        albums: AlbumList,
        clock: Clock,
        executor: Executor,
        device_id: bytes,
        names: str = "keep",
    ) -> None:
        self._db = db
        self._api = api
        self._albums = albums
        self._clock = clock
        self._executor = executor
        self._device_id = device_id
        self._names = names
        self._has_warned_of_names = False

    async def prepare(self, job: Job) -> Step:
        """Return what is to be done for a queued job. Raises RemoteError, OSError."""
        match job.kind:
            case queueing.UPLOAD:
                return await self._prepare_upload(
                    job, queueing.decode(job, UploadPayload)
                )
            case queueing.CREATE_ALBUM:
                return await self._prepare_create(
                    job, queueing.decode(job, CreateAlbumPayload)
                )
            case queueing.ADD_TO_ALBUM:
                return self._prepare_add(job, queueing.decode(job, AddToAlbumPayload))
            case queueing.DELETE_IMAGE:
                return await self._prepare_delete(
                    job, queueing.decode(job, DeleteImagePayload)
                )
            case _:
                return Later(limits.JOB_BACKOFF_MAX_S, "of a newer version")

    async def _prepare_upload(self, job: Job, payload: UploadPayload) -> Step:
        folder = synced.folder(self._db.reader, payload.folder)
        assert folder is not None
        path = folder.path + b"/" + payload.path
        known = synced.file(self._db.reader, payload.folder, payload.path)
        album = None
        if payload.directory is not None:
            album = synced.album_of(self._db.reader, payload.folder, payload.directory)
            if album is None:
                await self._albums.ensure_fresh()
                album = await self._adopt(
                    payload.folder, payload.directory, payload.title
                )
        seen = await self._executor.run(ThreadLane.DISK, disk.examine, path)
        if isinstance(seen, str):
            reason = seen
            return Resolved(
                lambda c: settle.cancel(c, job, self._clock.now(), reason), reason
            )
        record = synced.SyncedFile(
            path=payload.path,
            device=seen.device,
            inode=seen.inode,
            size_bytes=seen.size_bytes,
            mtime_ns=seen.mtime_ns,
            digest=seen.digest,
            image_id=known.image_id if known else ImageId(""),
        )
        if known is not None and known.digest == seen.digest:
            return Resolved(
                lambda c: settle.touch(c, job, payload, record, self._clock.now()),
                "the content is what it was",
            )
        return self._ready_upload(job, payload, record, path, album)

    def _ready_upload(
        self,
        job: Job,
        payload: UploadPayload,
        record: synced.SyncedFile,
        path: bytes,
        album: AlbumId | None,
    ) -> Ready:
        marker = make_marker(record.digest, self._device_id)
        file_name = payload.path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
        name = name_with_marker(file_name, marker)
        if self._names == "neutral":
            name = name[name.index(f"~{marker}") :]

        async def send(grant: Grant) -> Write:
            image = await self._api.upload(
                disk.as_path(path),
                size_bytes=record.size_bytes,
                name=name,
                album=album,
                lane=job.lane,
                grant=grant,
            )
            self._check_echo(image, name)
            # The image exists: a stop must not lose what we know.
            with trio.CancelScope(shield=True):
                now_there = await self._executor.run(
                    ThreadLane.DISK, disk.identify, path
                )
            is_same = now_there == (
                record.device, record.inode, record.size_bytes, record.mtime_ns
            )  # fmt: skip
            sent = replace(
                record,
                image_id=image.id,
                # What was sent is anybody's guess: it will be sent again.
                digest=record.digest if is_same else b"",
                mtime_ns=record.mtime_ns if is_same else -1,
            )
            image = replace(image, name=image.name or name)
            now = self._clock.now()
            return lambda c: settle.upload(
                c, job, payload, image=image, record=sent, album=album, now=now
            )

        def on_rejected(c: Connection, error: ImgurfsError) -> bool:
            return settle.reject_upload(c, payload, record, album, error)

        return Ready(
            send,
            marker=str(marker),
            on_rejected=on_rejected,
        )

    async def _prepare_create(self, job: Job, payload: CreateAlbumPayload) -> Step:
        await self._albums.ensure_fresh()
        album = await self._adopt(payload.folder, payload.directory, payload.title)
        if album is not None:
            adopted = album
            return Resolved(
                lambda c: settle.adopted(c, job, payload, adopted, self._clock.now()),
                f"the account has an album {payload.title!r}",
            )

        async def send(grant: Grant) -> Write:
            album = await self._api.create_album(
                title=payload.title, images=payload.images, lane=job.lane, grant=grant
            )
            now = self._clock.now()
            return lambda c: settle.create(c, job, payload, album, now)

        return Ready(send)

    def _prepare_add(self, job: Job, payload: AddToAlbumPayload) -> Step:
        async def send(grant: Grant) -> Write:
            await self._api.add_to_album(
                payload.album_id, payload.images, job.lane, grant
            )
            now = self._clock.now()
            return lambda c: settle.add(c, job, payload, now)

        return Ready(send)

    async def _prepare_delete(self, job: Job, payload: DeleteImagePayload) -> Step:
        reader = self._db.reader
        folder = synced.folder(reader, payload.folder)
        assert folder is not None
        uses = synced.paths_of(reader, payload.image_id)
        if payload.is_replaced and uses:
            return self._cancelled(job, "another file is this image")
        for folder_id, path in uses:
            other = synced.folder(reader, folder_id)
            known = synced.file(reader, folder_id, path)
            assert other is not None
            assert known is not None
            presence = await self._executor.run(
                ThreadLane.DISK, disk.presence, other, path, known.device
            )
            if presence is disk.Presence.PRESENT:
                return self._cancelled(job, "the file is back")
            if presence is disk.Presence.UNCERTAIN:
                return Later(
                    limits.CAPACITY_PAUSE_S,
                    "the folder is not there, or not the directory it was",
                )
        if self._is_elsewhere(payload):
            return Resolved(
                lambda c: settle.keep_image(c, job, payload, self._clock.now()),
                "the image is in another album as well and is kept",
            )

        async def send(grant: Grant) -> Write:
            try:
                await self._api.delete_image(payload.image_id, job.lane, grant)
            except NotFoundError:
                log.info("image %s was gone already", payload.image_id)
            now = self._clock.now()
            return lambda c: settle.delete(c, job, payload, now)

        return Ready(send)

    def _cancelled(self, job: Job, reason: str) -> Resolved:
        return Resolved(
            lambda c: settle.cancel(c, job, self._clock.now(), reason), reason
        )

    async def _adopt(
        self, folder: synced.FolderId, directory: bytes, title: str
    ) -> AlbumId | None:
        """Return the directory's album; bind the only one with its title first."""
        known = synced.album_of(self._db.reader, folder, directory)
        if known is not None:
            return known
        found = entries.albums_by_title(self._db.reader, title)
        if len(found) != 1 or found[0].album is None:
            return None
        album_id = found[0].album.id
        await self._db.write(
            lambda c: queueing.bind_album(c, folder, directory, album_id)
        )
        return album_id

    def _is_elsewhere(self, payload: DeleteImagePayload) -> bool:
        """Whether an album that is not one of the folder's holds the image."""
        node = entries.node_of_image(self._db.reader, payload.image_id)
        if node is None:
            return False
        own = set(synced.directories(self._db.reader, payload.folder).values())
        return not own.issuperset(entries.albums_of(self._db.reader, node.inode))

    def _check_echo(self, image: Image, name: str) -> None:
        if parse_marker(image.name) == parse_marker(name) or self._has_warned_of_names:
            return
        self._has_warned_of_names = True
        log.error(
            "Imgur did not keep the name %r of image %s (it says %r): uploads whose"
            " outcome is unknown cannot be recognised by their names",
            name,
            image.id,
            image.name,
        )


def request_of(job: Job) -> RequestClass:
    """Return what the job's call costs."""
    kind = RequestKind.UPLOAD if job.kind == queueing.UPLOAD else RequestKind.CHANGE
    return RequestClass(kind, job.lane, is_post=job.kind != queueing.DELETE_IMAGE)
