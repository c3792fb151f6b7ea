"""Turns a job into a call and the call's answer into rows.

:meth:`Worker.prepare` looks at the disk and the tables and says what is to be done: a
call (:class:`Ready`), nothing any more (:class:`Resolved`), or not yet
(:class:`Later`). It neither spends nor sends; ``drain`` reserves the budget, commits
the intent, awaits ``Ready.send`` and runs ``Ready.settle`` in one transaction.

How each kind survives being interrupted: an upload carries its marker and is held when
nobody knows whether it happened, until ``jobs.resolve`` has looked; creating an album
likewise; everything else is simply done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.errors import NotFoundError
from imgurfs.executor import ThreadLane
from imgurfs.jobs import by_hand, disk, drive, guard, queueing, settle, sweep
from imgurfs.jobs.album_work import AlbumWorker
from imgurfs.jobs.drive_albums import DriveAlbums
from imgurfs.jobs.drive_upload import DriveUploads
from imgurfs.jobs.queueing import (
    DRIVE,
    AlbumPayload,
    CreateAlbumPayload,
    DeleteAlbumPayload,
    DeleteImagePayload,
    UpdateAlbumPayload,
    UpdateImagePayload,
    UploadPayload,
)
from imgurfs.jobs.sending import Sender
from imgurfs.jobs.steps import Later, Ready, Resolved, Step, Tools, Write
from imgurfs.jobs.texts import TextWorker
from imgurfs.jobs.upload import UploadWorker
from imgurfs.model import ImageId, RequestClass, RequestKind
from imgurfs.store import entries, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)

#: An image that a new file may be is looked at again by then at the latest; it is woken
#: when that is known.
_CONTENT_PAUSE_S = 15.0


class Worker:
    """Knows what to do for each kind of job. One per drainer."""

    def __init__(self, tools: Tools) -> None:
        self._db = tools.db
        self._api = tools.api
        self._account = tools.account
        self._clock = tools.clock
        self._executor = tools.executor
        self._delete_grace_s = tools.delete_grace_s
        self._quarantine_s = tools.quarantine_s
        self._sender = Sender(tools)
        self._uploads = UploadWorker(tools, self._sender)
        self._albums = AlbumWorker(tools)
        self._drive_uploads = DriveUploads(tools, self._sender)
        self._drive_albums = DriveAlbums(tools)
        self._texts = TextWorker(tools)

    async def prepare(self, job: Job) -> Step:
        """Return what is to be done for a queued job. Raises RemoteError, OSError."""
        match job.kind:
            case queueing.UPLOAD:
                return await self._prepare_upload(job)
            case queueing.CREATE_ALBUM:
                return await self._prepare_create(job)
            case queueing.MEMBERS:
                album = queueing.decode(job, AlbumPayload)
                return await self._albums.prepare_members(job, album)
            case queueing.VERIFY:
                album = queueing.decode(job, AlbumPayload)
                return await self._albums.prepare_verify(job, album)
            case queueing.UPDATE_ALBUM:
                update = queueing.decode(job, UpdateAlbumPayload)
                return self._texts.prepare_album(job, update)
            case queueing.UPDATE_IMAGE:
                texts = queueing.decode(job, UpdateImagePayload)
                return self._texts.prepare_image(job, texts)
            case queueing.DELETE_IMAGE:
                delete = queueing.decode(job, DeleteImagePayload)
                return await self._prepare_delete(job, delete)
            case queueing.DELETE_ALBUM:
                removed = queueing.decode(job, DeleteAlbumPayload)
                return await self._drive_albums.prepare_delete(job, removed)
            case _:
                return Later(limits.JOB_BACKOFF_MAX_S, "of a newer version")

    async def _prepare_upload(self, job: Job) -> Step:
        payload = queueing.decode(job, UploadPayload)
        if queueing.is_from_drive(payload):
            return await self._drive_uploads.prepare(job, payload)
        return await self._uploads.prepare(job, payload)

    async def _prepare_create(self, job: Job) -> Step:
        payload = queueing.decode(job, CreateAlbumPayload)
        if queueing.is_from_drive(payload):
            return self._drive_albums.prepare_create(job, payload)
        return await self._albums.prepare_create(job, payload)

    def is_over(self, job: Job) -> None:
        """Note that an attempt has ended, however it ended."""
        self._sender.is_over(job)

    async def _prepare_delete(self, job: Job, payload: DeleteImagePayload) -> Step:
        uses = synced.paths_of(self._db.reader, payload.image_id)
        others = _others(self._db.reader, payload)
        withheld = await self._withheld(job, payload, uses)
        if job.is_doubtful and isinstance(withheld, Resolved):
            return await self._look(job, payload, withheld)
        if withheld is not None:
            return withheld

        async def send(grant: Grant) -> Write:
            try:
                await self._api.delete_image(payload.image_id, job.lane, grant)
            except NotFoundError:
                log.info("image %s was gone already", payload.image_id)
            now = self._clock.now()
            return lambda c: settle.delete(c, job, payload, gone=uses, now=now)

        return Ready(
            send,
            RequestClass(RequestKind.CHANGE, job.lane),
            is_still=lambda c: _others(c, payload) == others,
        )

    async def _look(
        self, job: Job, payload: DeleteImagePayload, kept: Resolved
    ) -> Step:
        """See whether an image that is to stay is there: an attempt may have ended it.

        One that is gone takes the files that became it meanwhile with it, or they
        would never be uploaded again.
        """
        ahead_s = (job.sent_at or 0.0) + self._quarantine_s - self._clock.now()
        if ahead_s > 0:
            reason = "it is to stay, but may have been deleted: Imgur is asked then"
            return Later(min(ahead_s, self._quarantine_s), reason, is_usual=True)
        if await self._account.has_image(payload.image_id):
            return replace(kept, write=lambda c: _stay(c, job, kept))
        now = self._clock.now()
        return Resolved(
            lambda c: settle.delete(c, job, payload, gone=(), now=now),
            "an attempt whose answer was lost has deleted it",
        )

    async def _withheld(
        self,
        job: Job,
        payload: DeleteImagePayload,
        uses: list[tuple[synced.FolderId, bytes]],
    ) -> Step | None:
        """Return why an image is not deleted, or not yet; None when it is."""
        image_id = payload.image_id
        if payload.is_unwanted:
            return self._called_off(job)
        if (payload.is_replaced or payload.is_twin) and uses:
            return self._cancelled(
                job,
                "another file is this image",
                is_still=lambda c: bool(synced.paths_of(c, image_id)),
            )
        if payload.folder == DRIVE and _has_name(self._db.reader, image_id):
            return self._cancelled(
                job,
                "it has a name on the drive again",
                is_still=lambda c: _has_name(c, image_id),
            )
        if drive.may_come_back(
            self._db.reader, job, image_id, grace_s=self._delete_grace_s
        ):
            return Later(_CONTENT_PAUSE_S, drive.MAY_COME_BACK, is_usual=True)
        if payload.is_twin:
            return await self._kept_as_last(job, payload)
        kept = await self._kept_by_files(job, image_id, uses)
        if kept is not None:
            return kept
        if self._is_being_placed(payload):
            return Later(
                limits.SETTLE_S, "an album is being created with it", is_usual=True
            )
        await self._account.ensure_current()
        if self._is_elsewhere(payload):
            return Resolved(
                lambda c: settle.keep_image(c, job, payload, self._clock.now()),
                "the image is in another album as well and is kept",
            )
        return None

    async def _kept_as_last(self, job: Job, payload: DeleteImagePayload) -> Step | None:
        """Look whether a twin is the only image left that its upload made."""
        others = _others(self._db.reader, payload)
        if others is None:
            return None
        for image_id in others:
            # Listings are read once a day: it may have been deleted on the web.
            if await self._account.has_image(image_id):
                return None
        return self._cancelled(
            job,
            "it is the only one left",
            is_still=lambda c: _others(c, payload) == others,
        )

    async def _kept_by_files(
        self, job: Job, image_id: ImageId, uses: list[tuple[synced.FolderId, bytes]]
    ) -> Step | None:
        """Look whether files that are the image are there, or cannot be looked at."""
        for folder_id, path in uses:
            folder = synced.folder(self._db.reader, folder_id)
            known = synced.file(self._db.reader, folder_id, path)
            assert folder is not None
            assert known is not None
            presence = await self._executor.run(
                ThreadLane.DISK, disk.presence, folder, path, known.device
            )
            if presence is disk.Presence.PRESENT:
                return self._cancelled(
                    job,
                    "the file is back",
                    is_still=lambda c: synced.paths_of(c, image_id) == uses,
                )
            if presence is disk.Presence.UNCERTAIN:
                return Later(
                    limits.CAPACITY_PAUSE_S,
                    "the folder is not there, or not the directory it was",
                )
        return None

    def _is_being_placed(self, payload: DeleteImagePayload) -> bool:
        """Whether an album is being created with the image: it may be ours or not."""
        waiting = outbox.unfinished(self._db.reader, kind=queueing.CREATE_ALBUM)
        creations = [queueing.decode(job, CreateAlbumPayload) for job in waiting]
        return any(payload.image_id in create.images for create in creations)

    def _called_off(self, job: Job) -> Resolved:
        """Withdraw a deletion that was called off after an attempt."""
        reason = "it was called off"

        def write(c: Connection) -> None:
            guard.withdraw(c, job, now=self._clock.now(), reason=reason)

        return Resolved(write, reason)

    def _cancelled(
        self, job: Job, reason: str, *, is_still: Callable[[Connection], bool]
    ) -> Resolved:
        return Resolved(
            lambda c: settle.cancel(c, job, self._clock.now(), reason),
            reason,
            is_still=is_still,
        )

    def _is_elsewhere(self, payload: DeleteImagePayload) -> bool:
        """Whether an album holds the image that no watched directory stands for."""
        reader = self._db.reader
        if drive.is_held_elsewhere(reader, payload):
            return True
        node = entries.node_of_image(reader, payload.image_id)
        if node is None:
            return False
        homes = drive.homes(reader, node.inode)
        foreign = [
            album_id
            for _, album_id in homes.albums
            if by_hand.is_foreign(reader, album_id)
        ]
        return bool(foreign or homes.unborn)


def _has_name(c: Connection, image_id: ImageId) -> bool:
    node = entries.node_of_image(c, image_id)
    return node is not None and not node.is_hidden


def _others(c: Connection, payload: DeleteImagePayload) -> list[ImageId] | None:
    """Return the images that a twin must not be the last of; None: it may be."""
    if not payload.is_twin:
        return None
    node = entries.node_of_image(c, payload.image_id)
    if node is not None and node.is_hidden:
        return None  # the user has removed it as well
    return sweep.beside(c, payload.image_id)


def _stay(c: Connection, job: Job, kept: Resolved) -> None:
    outbox.clear_doubt(c, job.id)
    kept.write(c)
