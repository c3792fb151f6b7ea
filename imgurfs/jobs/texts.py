"""Turns new titles and descriptions into calls, for albums and images."""

from __future__ import annotations

from imgurfs.budget import Grant
from imgurfs.jobs import settle
from imgurfs.jobs.queueing import UpdateAlbumPayload, UpdateImagePayload
from imgurfs.jobs.steps import Ready, Resolved, Step, Tools, Write
from imgurfs.model import RequestClass, RequestKind
from imgurfs.store import drive_reads, entries
from imgurfs.store.outbox import Job


class TextWorker:
    """Knows what to do for new titles and descriptions. One per drainer."""

    def __init__(self, tools: Tools) -> None:
        self._db = tools.db
        self._api = tools.api
        self._clock = tools.clock

    def prepare_album(self, job: Job, payload: UpdateAlbumPayload) -> Step:
        """Return the call that says what an album is called."""
        reader, now = self._db.reader, self._clock.now()
        node = entries.node_of_album(reader, payload.album_id)
        if node is not None and node.album is not None:
            is_so = payload.description is None and node.album.title == payload.title
            # What was set on the drive is shown before Imgur has it.
            if is_so and not drive_reads.is_title_held(reader, node.inode, now=now):
                return self._needless(job, "it is called that already")
            if node.is_hidden:
                return self._needless(job, "the album is deleted")

        async def send(grant: Grant) -> Write:
            await self._api.update_album(
                payload.album_id,
                title=payload.title,
                description=payload.description,
                lane=job.lane,
                grant=grant,
            )
            now = self._clock.now()
            return lambda c: settle.retitled(c, job, payload, now)

        return Ready(send, _post(job))

    def prepare_image(self, job: Job, payload: UpdateImagePayload) -> Step:
        """Return the call that says what an image is called."""
        node = entries.node_of_image(self._db.reader, payload.image_id)
        if node is None or node.is_hidden:
            return self._needless(job, "the image is deleted")

        async def send(grant: Grant) -> Write:
            await self._api.update_image(
                payload.image_id,
                title=payload.title,
                description=payload.description,
                lane=job.lane,
                grant=grant,
            )
            now = self._clock.now()
            return lambda c: settle.image_retitled(c, job, payload, now)

        return Ready(send, _post(job))

    def _needless(self, job: Job, reason: str) -> Resolved:
        return Resolved(
            lambda c: settle.cancel(c, job, self._clock.now(), reason), reason
        )


def _post(job: Job) -> RequestClass:
    return RequestClass(RequestKind.CHANGE, job.lane, is_post=True)
