"""Sends a file as an image under a name that carries its marker.

Shared by the uploads of watched folders and of the drive, so that the same content is
never sent twice at the same time, wherever it comes from. Whether and where to send is
their business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import trio

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.jobs import drive_names
from imgurfs.jobs.steps import Later, Progress, Tools
from imgurfs.marker import Marker, make_marker, name_with_marker, parse_marker
from imgurfs.model import AlbumId, Image, JobId
from imgurfs.store import meta, notices, outbox
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)


class Sender:
    """Knows what is on its way. One per drainer."""

    def __init__(self, tools: Tools) -> None:
        self._db = tools.db
        self._api = tools.api
        self._clock = tools.clock
        self._device_id = tools.device_id
        self._names = tools.names
        self._on_progress = tools.on_progress
        # What this process sends, by marker: the tables learn of it a moment later.
        self._on_the_way: dict[str, JobId] = {}

    def __repr__(self) -> str:
        return f"<Sender on_the_way={len(self._on_the_way)}>"

    def marker(self, digest: bytes) -> Marker:
        """Return the marker of a content sent from this machine."""
        return make_marker(digest, self._device_id)

    def held_back(self, job: Job, marker: Marker) -> Later | None:
        """Return how long to wait for another job that sends, or sent, the same."""
        others = outbox.unknown_with_marker(self._db.reader, str(marker))
        known_at = [other.not_before for other in others if other.id != job.id]
        if not known_at and self._on_the_way.get(str(marker), job.id) == job.id:
            return None
        # What becomes of an unknown outcome is looked for at its own time.
        ahead_s = max(known_at, default=0.0) - self._clock.now()
        wait_s = min(max(ahead_s, limits.SETTLE_S), limits.QUARANTINE_S)
        return Later(wait_s, "the same content is on its way", is_usual=True)

    def begin(self, job: Job, marker: Marker) -> None:
        """Note that a job sends this content, until :meth:`is_over`."""
        self._on_the_way[str(marker)] = job.id

    def is_over(self, job: Job) -> None:
        """Forget that a job's content is on its way: the attempt is over."""
        for marker in [m for m, one in self._on_the_way.items() if one == job.id]:
            del self._on_the_way[marker]

    def name(self, file_name: str, marker: Marker) -> str:
        """Return the name to upload under; undecodable bytes as surrogate escapes."""
        name = name_with_marker(file_name, marker)
        if self._names == "neutral":
            return name[name.index(f"~{marker}") :]
        return name

    async def send(
        self,
        job: Job,
        path: Path,
        *,
        size_bytes: int,
        name: str,
        album: AlbumId | None,
        title: str = "",
        grant: Grant,
    ) -> Image:
        """Upload a file and return the image, with the name it was given.

        Raises what ``Client.upload`` does.
        """
        image = await self._api.upload(
            path,
            size_bytes=size_bytes,
            name=name,
            album=album,
            title=title,
            lane=job.lane,
            grant=grant,
            on_sent=self._progress_of(job, size_bytes),
        )
        # The image exists: a stop must not lose what we know.
        with trio.CancelScope(shield=True):
            await self._check_echo(image, name)
        return replace(image, name=image.name or name)

    def _progress_of(self, job: Job, size_bytes: int) -> Callable[[int], None] | None:
        told = self._on_progress
        if told is None:
            return None
        text = drive_names.what(self._db.reader, job)
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


def _names_are_lost(c: Connection, text: str) -> None:
    meta.put(c, "names_lost", text)
    notices.put(c, "names", text)


def _names_are_kept(c: Connection) -> None:
    meta.drop(c, "names_lost")
    notices.drop(c, "names")
