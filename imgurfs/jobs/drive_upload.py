"""Turns the upload of a file of the drive into a call, and its answer into rows.

The counterpart of :mod:`imgurfs.jobs.upload`. The bytes are in the spool and, being
committed, are never written to again as long as the upload is not withdrawn. Where they
go and under which name is read from the tree when they are sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.content import whole
from imgurfs.errors import ForbiddenError, ImgurfsError, NotFoundError
from imgurfs.executor import ThreadLane
from imgurfs.jobs import content, disk, drive, drive_settle, queueing, settle
from imgurfs.jobs.disk import Examined
from imgurfs.jobs.presence import Presence
from imgurfs.jobs.queueing import Sent, UploadPayload
from imgurfs.jobs.sending import Sender
from imgurfs.jobs.steps import Later, Ready, Resolved, Step, Tools, Write
from imgurfs.marker import Marker
from imgurfs.model import AlbumId, ImageId, Inode, RequestClass, RequestKind
from imgurfs.store import drive_reads, edits, entries
from imgurfs.store.database import Connection
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.store.outbox import Job

#: Images of one size whose cached bytes are compared with a file's, at most.
_COMPARED = 8
#: A file whose album is being created is looked at again by then at the latest.
_ALBUM_PAUSE_S = 60.0
_GONE = "its bytes are gone from the spool; copy it again"


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A content that was read."""

    job: Job
    payload: UploadPayload
    path: Path
    seen: Examined

    @property
    def inode(self) -> Inode:
        """The file whose content it is."""
        return Inode(self.payload.inode)


class DriveUploads:
    """Knows what to do for an upload from the drive. One per drainer."""

    def __init__(self, tools: Tools, sender: Sender) -> None:
        self._db = tools.db
        self._account = tools.account
        self._clock = tools.clock
        self._executor = tools.executor
        self._spool_dir = tools.spool_dir
        self._cache_dir = tools.cache_dir
        self._delete_grace_s = tools.delete_grace_s
        self._is_title = tools.is_name_title
        self._sender = sender
        self._presence = Presence(
            tools.account, reader=tools.db.reader, clock=tools.clock
        )

    async def prepare(self, job: Job, payload: UploadPayload) -> Step:
        """Return what is to be done. Raises RemoteError."""
        early = self._not_now(job, payload)
        if early is not None:
            return early
        await self._account.ensure_images()
        path = self._spool_dir / payload.path.decode()
        seen = await self._executor.run(ThreadLane.DISK, disk.examine, bytes(path))
        if seen == disk.BEING_WRITTEN:
            return Later(limits.SETTLE_S, "the file is being written", is_usual=True)
        if isinstance(seen, str):
            reason = _GONE if seen == disk.FILE_GONE else seen
            return Resolved(
                lambda c: drive_settle.refused(
                    c, job, payload, reason, self._clock.now()
                ),
                reason,
            )
        await self._compare_cached(Inode(payload.inode), seen)
        candidate = _Candidate(job, payload, path, seen)
        while True:
            # Nothing is awaited after the last time: no other job comes in between.
            step = self._not_now(job, payload) or self._step(candidate)
            if not isinstance(step, str):
                return step
            await self._presence.ask(step)

    def _not_now(self, job: Job, payload: UploadPayload) -> Step | None:
        """Return what keeps a content from being sent; None: nothing does."""
        reader, inode = self._db.reader, Inode(payload.inode)
        homes = drive.homes(reader, inode)
        if self._waiting_draft(payload) is None or not homes.inodes:
            return Resolved(
                lambda c: drive_settle.withdrawn(c, job, self._clock.now()),
                "the file was changed or removed",
            )
        if drive.earlier_in_the_air(reader, job, inode):
            return Later(
                limits.SETTLE_S, "its earlier content is on its way", is_usual=True
            )
        is_coming = [drive.is_being_created(reader, one) for one in homes.unborn]
        if not homes.albums and any(is_coming):
            return Later(
                _ALBUM_PAUSE_S,
                "its album is being created",
                is_usual=True,
                is_still=lambda c: any(
                    drive.is_being_created(c, one) for one in homes.unborn
                ),
            )
        return None

    def _waiting_draft(self, payload: UploadPayload) -> Draft | None:
        draft = drive.draft_of(self._db.reader, payload)
        is_waiting = draft is not None and draft.state is DraftState.WAITING
        return draft if is_waiting else None

    async def _compare_cached(self, inode: Inode, seen: Examined) -> None:
        """Learn which images of this size are these bytes: they were read lately."""
        if self._cache_dir is None:
            return
        found = drive_reads.without_digest(
            self._db.reader, size_bytes=seen.size_bytes, limit=_COMPARED
        )
        for other, image_id in found:
            digest = await self._executor.run(
                ThreadLane.DISK,
                whole.digest_of,
                self._cache_dir,
                image_id,
                seen.size_bytes,
            )
            if digest:
                await self._db.write(_noting(other, digest))
            if digest == seen.digest and other == inode:
                return

    def _step(self, candidate: _Candidate) -> Step | ImageId:
        """Say whether to send, or which image must be asked for first.

        The bytes are given up when the file's names lead to an image.
        """
        job, payload = candidate.job, candidate.payload
        reader, digest = self._db.reader, candidate.seen.digest
        marker = self._sender.marker(digest)
        held_back = self._sender.held_back(job, marker)
        if held_back is not None:
            return held_back
        node = entries.node(reader, candidate.inode)
        image = None if node is None else node.image
        if image and drive_settle.is_unchanged(reader, candidate.inode, digest):
            is_there = self._presence.of(image.id)
            if is_there is None:
                return image.id
            if is_there:
                return Resolved(
                    lambda c: drive_settle.unchanged(
                        c, job, payload, digest=digest, now=self._clock.now()
                    ),
                    "the content is what it was",
                )
        for known in content.candidates(reader, digest):
            if drive_settle.fitting(reader, candidate.inode, known) is not None:
                is_there = self._presence.of(known)
                if is_there is None:
                    return known
                if is_there:
                    return self._found(candidate, known)
        names = entries.entries_of(reader, candidate.inode)
        if not names:
            # They were there a moment ago: another thread writes between two reads.
            return Later(limits.SETTLE_S, "its names are being changed", is_usual=True)
        self._sender.begin(job, marker)
        return self._ready(candidate, marker, shown_as=names[0][1])

    def _found(self, candidate: _Candidate, known: ImageId) -> Resolved:
        job, payload = candidate.job, candidate.payload
        payload = msgspec.structs.replace(payload, grace_s=self._delete_grace_s)
        return Resolved(
            lambda c: drive_settle.found(
                c,
                job,
                payload,
                known=known,
                digest=candidate.seen.digest,
                now=self._clock.now(),
            ),
            f"the content is image {known} already",
        )

    def _ready(self, candidate: _Candidate, marker: Marker, shown_as: str) -> Ready:
        job, seen, reader = candidate.job, candidate.seen, self._db.reader
        album = next(iter(drive.homes(reader, candidate.inode).albums), None)
        node = entries.node(reader, candidate.inode)
        sent = msgspec.structs.replace(
            candidate.payload,
            title=node.image.title if node and node.image else "",
            # Kept on this machine: then no later name is told to Imgur either.
            name=shown_as if self._is_title else "",
            album_id=album[1] if album else None,
            grace_s=self._delete_grace_s,
            sent=Sent(
                seen.device, seen.inode, seen.size_bytes, seen.mtime_ns, seen.digest
            ),
        )

        async def send(grant: Grant) -> Write:
            image = await self._sender.send(
                job,
                candidate.path,
                size_bytes=seen.size_bytes,
                name=self._sender.name(shown_as, marker),
                title=sent.title,
                album=sent.album_id,
                grant=grant,
            )
            now = self._clock.now()
            return lambda c: drive_settle.uploaded(c, job, sent, image=image, now=now)

        return Ready(
            send,
            RequestClass(RequestKind.UPLOAD, job.lane, is_post=True),
            marker=str(marker),
            payload=queueing.encode(sent),
            on_rejected=lambda c, error: self._on_rejected(c, album, error),
        )

    def _on_rejected(
        self,
        c: Connection,
        album: tuple[Inode, AlbumId] | None,
        error: ImgurfsError,
    ) -> bool:
        """Prepare for a refused upload; True: try again, because the album is gone."""
        if album is None or not isinstance(error, NotFoundError | ForbiddenError):
            return False
        # What is written into it goes to the root, and the user is told.
        _, album_id = album
        settle.forget_album(c, album_id, now=self._clock.now())
        return True


def _noting(inode: Inode, digest: bytes) -> Write:
    return lambda c: edits.set_digest(c, inode, digest)
