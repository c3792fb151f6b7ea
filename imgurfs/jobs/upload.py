"""Turns an upload job into a call, and its answer into rows.

The file is read and hashed first. Content that is an image of the account already is
not sent, and never while the same content is on its way: not in this process, not in
one that died, not with an outcome nobody knows.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import msgspec
import trio

from imgurfs.budget import Grant
from imgurfs.errors import ImgurfsError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.jobs import content, disk, queueing, settle
from imgurfs.jobs.placing import adopt_album
from imgurfs.jobs.queueing import Sent, UploadPayload
from imgurfs.jobs.sending import Sender
from imgurfs.jobs.steps import (
    Ready,
    Resolved,
    Step,
    Tools,
    Write,
)
from imgurfs.marker import Marker
from imgurfs.model import (
    AlbumId,
    ImageId,
    RequestClass,
    RequestKind,
)
from imgurfs.store import synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job
from imgurfs.store.synced import SyncedFile

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A file that was read, and where its image is to go."""

    job: Job
    payload: UploadPayload
    record: SyncedFile
    path: bytes
    album: AlbumId | None


class UploadWorker:
    """Knows what to do for an upload. One per drainer."""

    def __init__(self, tools: Tools, sender: Sender) -> None:
        self._db = tools.db
        self._account = tools.account
        self._clock = tools.clock
        self._executor = tools.executor
        self._sender = sender

    async def prepare(self, job: Job, payload: UploadPayload) -> Step:
        """Return what is to be done. Raises RemoteError, OSError."""
        reader = self._db.reader
        folder = synced.folder(reader, payload.folder)
        assert folder is not None
        path = folder.path + b"/" + payload.path
        known = synced.file(reader, payload.folder, payload.path)
        await self._account.ensure_images()
        album = None
        if payload.directory is not None:
            album = synced.album_of(reader, payload.folder, payload.directory)
            if album is None:
                await self._account.ensure_albums()
                album = await adopt_album(
                    self._db, payload.folder, payload.directory, payload.title
                )
        seen = await self._executor.run(ThreadLane.DISK, disk.examine, path)
        if isinstance(seen, str):
            reason = seen
            return Resolved(
                lambda c: settle.withdraw_upload(
                    c, job, payload, self._clock.now(), reason
                ),
                reason,
            )
        record = SyncedFile(
            path=payload.path,
            device=seen.device,
            inode=seen.inode,
            size_bytes=seen.size_bytes,
            mtime_ns=seen.mtime_ns,
            digest=seen.digest,
            image_id=known.image_id if known else ImageId(""),
            directory=payload.directory,
        )
        if known is not None and known.digest == seen.digest:
            return self._touched(job, payload, record, known)
        return self._step(_Candidate(job, payload, record, path, album))

    def _touched(
        self, job: Job, payload: UploadPayload, record: SyncedFile, known: SyncedFile
    ) -> Resolved:
        same = replace(record, directory=known.directory)
        return Resolved(
            lambda c: settle.touch(
                c, job, payload, same, known=known, now=self._clock.now()
            ),
            "the content is what it was",
        )

    def _step(self, candidate: _Candidate) -> Step:
        """Say whether to send. Nothing is awaited: no other job comes in between."""
        job, payload, record = candidate.job, candidate.payload, candidate.record
        reader = self._db.reader
        marker = self._sender.marker(record.digest)
        held_back = self._sender.held_back(job, marker)
        if held_back is not None:
            return held_back
        image_id = content.image_with(
            reader,
            record.digest,
            may_share=payload.dedupe,
            may_go=settle.may_lose(payload),
        )
        if image_id is not None:
            found = replace(record, image_id=image_id)
            return Resolved(
                lambda c: settle.bind(c, job, payload, found, self._clock.now()),
                f"the content is image {image_id} already",
            )
        self._sender.begin(job, marker)
        return self._ready(candidate, marker)

    def _ready(self, candidate: _Candidate, marker: Marker) -> Ready:
        job, payload, record = candidate.job, candidate.payload, candidate.record
        path, album = candidate.path, candidate.album
        file_name = path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
        name = self._sender.name(file_name, marker)

        async def send(grant: Grant) -> Write:
            image = await self._sender.send(
                job,
                disk.as_path(path),
                size_bytes=record.size_bytes,
                name=name,
                album=album,
                title=payload.image_title,
                grant=grant,
            )
            # The image exists: a stop must not lose what we know.
            with trio.CancelScope(shield=True):
                found = replace(record, image_id=image.id)
                sent = await as_sent(found, path, self._executor)
            now = self._clock.now()
            return lambda c: settle.upload(
                c, job, payload, image=image, record=sent, album=album, now=now
            )

        def on_rejected(c: Connection, error: ImgurfsError) -> bool:
            return settle.reject_upload(c, payload, record, album, error)

        return Ready(
            send,
            RequestClass(RequestKind.UPLOAD, job.lane, is_post=True),
            marker=str(marker),
            payload=queueing.encode(
                msgspec.structs.replace(payload, album_id=album, sent=_sent(record))
            ),
            on_rejected=on_rejected,
        )


async def as_sent(record: SyncedFile, path: bytes, executor: Executor) -> SyncedFile:
    """Return the record of a file that was sent, as far as it can be trusted.

    One that was written meanwhile will be sent again: what went out is anybody's
    guess. One that was moved away is believed, and found again by its inode.
    """
    now_there = await executor.run(ThreadLane.DISK, disk.identify, path)
    was = (record.device, record.inode, record.size_bytes, record.mtime_ns)
    if now_there is None or now_there == was:
        return record
    return replace(record, digest=b"", mtime_ns=-1)


def recorded(payload: UploadPayload, image_id: ImageId) -> SyncedFile:
    """Return the record of the file that a job's last attempt has sent."""
    sent = payload.sent
    return SyncedFile(
        path=payload.path,
        device=sent.device if sent else 0,
        inode=sent.inode if sent else 0,
        size_bytes=sent.size_bytes if sent else 0,
        mtime_ns=sent.mtime_ns if sent else -1,
        digest=sent.digest if sent else b"",
        image_id=image_id,
        directory=payload.directory,
    )


def _sent(record: SyncedFile) -> Sent:
    return Sent(
        record.device,
        record.inode,
        record.size_bytes,
        record.mtime_ns,
        record.digest,
    )
