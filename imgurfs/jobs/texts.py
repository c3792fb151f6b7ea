"""Turns new titles and descriptions into calls, for albums and images."""

from __future__ import annotations

from collections.abc import Callable

from imgurfs.budget import Grant
from imgurfs.jobs import settle
from imgurfs.jobs.queueing import UpdateAlbumPayload, UpdateImagePayload
from imgurfs.jobs.steps import Ready, Resolved, Step, Tools, Write
from imgurfs.model import RequestClass, RequestKind
from imgurfs.store import drive_reads, entries
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job


class TextWorker:
    """Knows what to do for new titles and descriptions. One per drainer."""

    def __init__(self, tools: Tools) -> None:
        self._db = tools.db
        self._api = tools.api
        self._clock = tools.clock

    def prepare_album(self, job: Job, payload: UpdateAlbumPayload) -> Step:
        """Return the call that says what an album is called."""
        needless = self._needless(job, lambda c: self._why_no_album(c, payload))
        if needless is not None:
            return needless

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
        needless = self._needless(job, lambda c: _why_no_image(c, payload))
        if needless is not None:
            return needless

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

    def _why_no_album(self, c: Connection, payload: UpdateAlbumPayload) -> str:
        """Return why an album needs no call, "" if it does."""
        node = entries.node_of_album(c, payload.album_id)
        if node is None or node.album is None:
            return ""
        is_so = payload.description is None and node.album.title == payload.title
        # What was set on the drive is shown before Imgur has it.
        now = self._clock.now()
        if is_so and not drive_reads.is_title_held(c, node.inode, now=now):
            return "it is called that already"
        return "the album is deleted" if node.is_hidden else ""

    def _needless(self, job: Job, why: Callable[[Connection], str]) -> Resolved | None:
        """Return how a job ends that needs no call, if there is a reason."""
        reason = why(self._db.reader)
        if not reason:
            return None
        return Resolved(
            lambda c: settle.cancel(c, job, self._clock.now(), reason),
            reason,
            is_still=lambda c: bool(why(c)),
        )


def _why_no_image(c: Connection, payload: UpdateImagePayload) -> str:
    """Return why an image needs no call, "" if it does."""
    node = entries.node_of_image(c, payload.image_id)
    return "the image is deleted" if node is None or node.is_hidden else ""


def _post(job: Job) -> RequestClass:
    return RequestClass(RequestKind.CHANGE, job.lane, is_post=True)
