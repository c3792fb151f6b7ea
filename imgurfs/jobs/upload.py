"""Turns an upload job into a call, and its answer into rows.

The file is read and hashed first. Content that is an image of the account already is
not sent, and never while the same content is on its way: not in this process, not in
one that died, not with an outcome nobody knows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import trio

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.errors import ImgurfsError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.jobs import content, disk, queueing, settle
from imgurfs.jobs.placing import adopt_album
from imgurfs.jobs.queueing import Sent, UploadPayload
from imgurfs.jobs.steps import (
    Later,
    Progress,
    Ready,
    Resolved,
    Step,
    Tools,
    Write,
)
from imgurfs.marker import Marker, make_marker, name_with_marker, parse_marker
from imgurfs.model import (
    AlbumId,
    Image,
    ImageId,
    JobId,
    RequestClass,
    RequestKind,
)
from imgurfs.store import meta, notices, outbox, synced
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

    def __init__(self, tools: Tools) -> None:
        self._db = tools.db
        self._api = tools.api
        self._account = tools.account
        self._clock = tools.clock
        self._executor = tools.executor
        self._device_id = tools.device_id
        self._names = tools.names
        self._on_progress = tools.on_progress
        # What this process sends, by marker: the tables learn of it a moment later.
        self._on_the_way: dict[str, JobId] = {}

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
            same = replace(record, directory=known.directory)
            return Resolved(
                lambda c: settle.touch(c, job, payload, same, self._clock.now()),
                "the content is what it was",
            )
        return self._step(_Candidate(job, payload, record, path, album))

    def _step(self, candidate: _Candidate) -> Step:
        """Say whether to send. Nothing is awaited: no other job comes in between."""
        job, payload, record = candidate.job, candidate.payload, candidate.record
        reader = self._db.reader
        marker = make_marker(record.digest, self._device_id)
        others = outbox.unknown_with_marker(reader, str(marker))
        known_at = [other.not_before for other in others if other.id != job.id]
        if known_at or self._on_the_way.get(str(marker), job.id) != job.id:
            # What becomes of an unknown outcome is looked for at its own time.
            ahead_s = max(known_at, default=0.0) - self._clock.now()
            wait_s = min(max(ahead_s, limits.SETTLE_S), limits.QUARANTINE_S)
            return Later(wait_s, "the same content is on its way", is_usual=True)
        image_id = content.image_with(reader, record.digest, may_share=payload.dedupe)
        if image_id is not None:
            found = replace(record, image_id=image_id)
            return Resolved(
                lambda c: settle.bind(c, job, payload, found, self._clock.now()),
                f"the content is image {image_id} already",
            )
        self._on_the_way[str(marker)] = job.id
        return self._ready(candidate, marker)

    def is_over(self, job: Job) -> None:
        """Forget that a job's content is on its way: the attempt is over."""
        for marker in [m for m, one in self._on_the_way.items() if one == job.id]:
            del self._on_the_way[marker]

    def _ready(self, candidate: _Candidate, marker: Marker) -> Ready:
        job, payload, record = candidate.job, candidate.payload, candidate.record
        path, album = candidate.path, candidate.album
        name = self._name(payload.path, marker)

        async def send(grant: Grant) -> Write:
            image = await self._api.upload(
                disk.as_path(path),
                size_bytes=record.size_bytes,
                name=name,
                album=album,
                lane=job.lane,
                grant=grant,
                on_sent=self._progress_of(job, record.size_bytes),
            )
            # The image exists: a stop must not lose what we know.
            with trio.CancelScope(shield=True):
                await self._check_echo(image, name)
                found = replace(record, image_id=image.id)
                sent = await as_sent(found, path, self._executor)
            image = replace(image, name=image.name or name)
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

    def _name(self, path: bytes, marker: Marker) -> str:
        file_name = path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
        name = name_with_marker(file_name, marker)
        if self._names == "neutral":
            return name[name.index(f"~{marker}") :]
        return name

    def _progress_of(self, job: Job, size_bytes: int) -> Callable[[int], None] | None:
        told = self._on_progress
        if told is None:
            return None
        text = queueing.describe(job)
        return lambda sent: told(Progress(job.id, text, sent, size_bytes))

    async def _check_echo(self, image: Image, name: str) -> None:
        """Note, once, when Imgur does not keep names: then nothing is recognised."""
        is_kept = parse_marker(image.name) == parse_marker(name)
        is_noted = meta.get(self._db.reader, "names_lost") is not None
        if is_kept and is_noted:
            await self._db.write(_names_are_kept)
        if is_kept or is_noted:
            return
        text = (
            f"Imgur did not keep the name of image {image.id} (it says"
            f" {image.name[:80]!r}): uploads whose outcome is unknown cannot be"
            " recognised and wait for you ('imgurfs queue')"
        )
        log.error("%s", text)
        await self._db.write(lambda c: _names_are_lost(c, text))


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


def _names_are_lost(c: Connection, text: str) -> None:
    meta.put(c, "names_lost", text)
    notices.put(c, "names", text)


def _names_are_kept(c: Connection) -> None:
    meta.drop(c, "names_lost")
    notices.drop(c, "names")
