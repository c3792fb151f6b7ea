"""Turns albums that were made or removed on the drive into calls.

An album that was made here never becomes another one of the same title: the user made a
new one. Removing takes an empty album only, so what somebody else has put into it since
is looked for first.
"""

from __future__ import annotations

import logging

import msgspec

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.errors import NotFoundError
from imgurfs.jobs import drive_settle, queueing, settle
from imgurfs.jobs.queueing import (
    CreateAlbumPayload,
    DeleteAlbumPayload,
    DeleteImagePayload,
)
from imgurfs.jobs.steps import Later, Ready, Resolved, Step, Tools, Write
from imgurfs.model import ImageId, Inode, RequestClass, RequestKind
from imgurfs.store import entries, membership, outbox
from imgurfs.store.membership import Place
from imgurfs.store.outbox import Job, JobState

log = logging.getLogger(__name__)

#: An album whose images wait to be deleted is looked at again by then at the latest; it
#: is woken when the last of them is gone.
_DELETED_PAUSE_S = 60.0


class DriveAlbums:
    """Knows what to do for albums of the drive. One per drainer."""

    def __init__(self, tools: Tools) -> None:
        self._db = tools.db
        self._api = tools.api
        self._account = tools.account
        self._clock = tools.clock

    def prepare_create(self, job: Job, payload: CreateAlbumPayload) -> Step:
        """Return the call that creates an album, with the images it has by now."""
        node = entries.node(self._db.reader, Inode(payload.inode))
        if node is None or node.album is None or node.is_hidden or node.album.id:
            return self._needless(job, "the album was removed again")
        title = node.album.title
        images = drive_settle.images_in(self._db.reader, node.inode)
        namesakes = entries.albums_by_title(self._db.reader, title)
        sent = msgspec.structs.replace(
            payload,
            title=title,
            # After a lost answer nothing else tells them from the one that was made.
            others=payload.others
            if job.attempts
            else tuple(one.album.id for one in namesakes if one.album and one.album.id),
            images=tuple(images[: limits.ALBUM_CALL_IMAGES_MAX]),
        )

        async def send(grant: Grant) -> Write:
            album = await self._api.create_album(
                title=sent.title, images=sent.images, lane=job.lane, grant=grant
            )
            now = self._clock.now()
            return lambda c: drive_settle.created(c, job, sent, album, now)

        request = RequestClass(RequestKind.CHANGE, job.lane, is_post=True)
        return Ready(send, request, payload=queueing.encode(sent))

    async def prepare_delete(self, job: Job, payload: DeleteAlbumPayload) -> Step:
        """Return the call that deletes an empty album. Raises RemoteError."""
        album_id = payload.album_id
        node = entries.node_of_album(self._db.reader, album_id)
        if node is not None and not node.is_hidden:
            return self._needless(job, "the album is shown again")
        pause_s = None if node is None else self._deletions_pause_s(node.inode)
        if pause_s is not None:
            return Later(pause_s, "its images have to be deleted first", is_usual=True)
        try:
            inside = await self._account.images_in(album_id)
        except NotFoundError:
            return Resolved(
                lambda c: settle.delete_album(c, job, payload, self._clock.now()),
                "the album was gone already",
            )
        others = [one for one in inside if not self._is_leaving(payload, one)]
        if others:
            count = len(others)
            return Resolved(
                lambda c: drive_settle.kept_album(
                    c, job, payload, count, self._clock.now()
                ),
                "the album is not empty",
            )

        async def send(grant: Grant) -> Write:
            try:
                await self._api.delete_album(album_id, job.lane, grant)
            except NotFoundError:
                log.info("album %s was gone already", album_id)
            now = self._clock.now()
            return lambda c: settle.delete_album(c, job, payload, now)

        return Ready(send, RequestClass(RequestKind.CHANGE, job.lane))

    def _deletions_pause_s(self, album: Inode) -> float | None:
        """Return how long images of the album may still wait to be deleted.

        None: none does. They may be called back until they are.
        """
        waiting = [
            job
            for job in outbox.unfinished(self._db.reader, kind=queueing.DELETE_IMAGE)
            for parent, _ in queueing.decode(job, DeleteImagePayload).places
            if parent == album
        ]
        if not waiting:
            return None
        if any(job.state is JobState.SENDING for job in waiting):
            # The last may be gone before we begin to wait, and then nobody wakes us.
            return limits.SETTLE_S
        due_s = max(job.not_before for job in waiting) - self._clock.now()
        return max(_DELETED_PAUSE_S, due_s)

    def _is_leaving(self, payload: DeleteAlbumPayload, image_id: ImageId) -> bool:
        """Whether an image in the album is there only because Imgur is behind."""
        reader = self._db.reader
        wish = membership.one(reader, payload.album_id, image_id)
        if wish is not None and wish.state in (Place.REMOVING, Place.GONE):
            return True
        if image_id in entries.gone_images(reader, until=self._clock.now()):
            return True
        node = entries.node_of_image(reader, image_id)
        return node is not None and node.is_hidden

    def _needless(self, job: Job, reason: str) -> Resolved:
        return Resolved(
            lambda c: settle.cancel(c, job, self._clock.now(), reason), reason
        )
