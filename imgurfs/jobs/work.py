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

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.errors import NotFoundError
from imgurfs.executor import ThreadLane
from imgurfs.jobs import disk, queueing, settle
from imgurfs.jobs.album_work import AlbumWorker
from imgurfs.jobs.queueing import (
    AlbumPayload,
    CreateAlbumPayload,
    DeleteImagePayload,
    UpdateAlbumPayload,
    UploadPayload,
)
from imgurfs.jobs.steps import Later, Ready, Resolved, Step, Tools, Write
from imgurfs.jobs.upload import UploadWorker
from imgurfs.model import RequestClass, RequestKind
from imgurfs.store import entries, membership, outbox, synced
from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)


class Worker:
    """Knows what to do for each kind of job. One per drainer."""

    def __init__(self, tools: Tools) -> None:
        self._db = tools.db
        self._api = tools.api
        self._account = tools.account
        self._clock = tools.clock
        self._executor = tools.executor
        self._uploads = UploadWorker(tools)
        self._albums = AlbumWorker(tools)

    async def prepare(self, job: Job) -> Step:
        """Return what is to be done for a queued job. Raises RemoteError, OSError."""
        match job.kind:
            case queueing.UPLOAD:
                payload = queueing.decode(job, UploadPayload)
                return await self._uploads.prepare(job, payload)
            case queueing.CREATE_ALBUM:
                create = queueing.decode(job, CreateAlbumPayload)
                return await self._albums.prepare_create(job, create)
            case queueing.MEMBERS:
                album = queueing.decode(job, AlbumPayload)
                return await self._albums.prepare_members(job, album)
            case queueing.VERIFY:
                album = queueing.decode(job, AlbumPayload)
                return await self._albums.prepare_verify(job, album)
            case queueing.UPDATE_ALBUM:
                update = queueing.decode(job, UpdateAlbumPayload)
                return self._albums.prepare_update(job, update)
            case queueing.DELETE_IMAGE:
                delete = queueing.decode(job, DeleteImagePayload)
                return await self._prepare_delete(job, delete)
            case _:
                return Later(limits.JOB_BACKOFF_MAX_S, "of a newer version")

    def is_over(self, job: Job) -> None:
        """Note that an attempt has ended, however it ended."""
        self._uploads.is_over(job)

    async def _prepare_delete(self, job: Job, payload: DeleteImagePayload) -> Step:
        uses = synced.paths_of(self._db.reader, payload.image_id)
        if (payload.is_replaced or payload.is_twin) and uses:
            return self._cancelled(job, "another file is this image")
        if not payload.is_twin:
            kept = await self._kept_by_files(job, uses)
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

        async def send(grant: Grant) -> Write:
            try:
                await self._api.delete_image(payload.image_id, job.lane, grant)
            except NotFoundError:
                log.info("image %s was gone already", payload.image_id)
            now = self._clock.now()
            return lambda c: settle.delete(c, job, payload, gone=uses, now=now)

        return Ready(send, RequestClass(RequestKind.CHANGE, job.lane))

    async def _kept_by_files(
        self, job: Job, uses: list[tuple[synced.FolderId, bytes]]
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
                return self._cancelled(job, "the file is back")
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

    def _cancelled(self, job: Job, reason: str) -> Resolved:
        return Resolved(
            lambda c: settle.cancel(c, job, self._clock.now(), reason), reason
        )

    def _is_elsewhere(self, payload: DeleteImagePayload) -> bool:
        """Whether an album holds the image in which it is not our business."""
        reader = self._db.reader
        node = entries.node_of_image(reader, payload.image_id)
        if node is None:
            return False
        ours = {m.album_id for m in membership.of_image(reader, payload.image_id)}
        if payload.folder is not None:
            bound = synced.directories(reader, payload.folder).values()
            ours |= {one.album_id for one in bound}
        return not ours.issuperset(entries.albums_of(reader, node.inode))
