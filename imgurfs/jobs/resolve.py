"""Finds out what became of calls whose outcome nobody knows.

Theory of operation. A call whose answer was lost may still be carried out: so it waits
out a quarantine first. Then one reading of the newest images tells of all uploads that
wait: an image whose name carries the job's marker (content *and* this machine), that no
file is yet and that is not older than the first attempt, is what the upload made.
Listings can lag, so only two looks without finding it prove that it did not happen;
then it is sent again with the same marker, and if a twin turns up after all, it is
recognised by that (``jobs.sweep``). An album is recognised by its title and the image
it was created with, one of the drive, which may be empty, by title and age. What is
ambiguous is left to the user: nothing is ever guessed.
"""

from __future__ import annotations

import logging

from imgurfs import crashpoints, limits
from imgurfs.errors import ForbiddenError, NotFoundError
from imgurfs.jobs import drive_names, drive_settle, queueing, settle
from imgurfs.jobs.placing import is_taken
from imgurfs.jobs.queueing import CreateAlbumPayload, UploadPayload
from imgurfs.jobs.steps import Tools, Write
from imgurfs.jobs.upload import as_sent, recorded
from imgurfs.marker import parse_marker
from imgurfs.model import Album, AlbumId, Image, ImageId
from imgurfs.store import entries, meta, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.synced import SyncedFile

log = logging.getLogger(__name__)

#: Looks without finding it that prove that something did not happen.
_LOOKS_NEEDED = 2
#: What only the user can decide is looked at again this rarely.
_ASKED_PAUSE_S = 6 * 3600.0


class Resolver:
    """Looks for the effects of unknown jobs. One per drainer, under its lock."""

    def __init__(self, tools: Tools, *, quarantine_s: float) -> None:
        self._db = tools.db
        self._account = tools.account
        self._clock = tools.clock
        self._executor = tools.executor
        self._on_settled = tools.on_settled
        self._pause_s = min(limits.SECOND_LOOK_S, quarantine_s / 2)

    def due_at(self) -> float | None:
        """Return when the next look is due (an epoch), None when there is none."""
        unknown = outbox.unfinished(self._db.reader, state=JobState.UNKNOWN)
        return min((job.not_before for job in unknown), default=None)

    async def look(self) -> int:
        """Look for everything that is due; return how many jobs were resolved.

        Raises RemoteError: nothing is changed then.
        """
        now = self._clock.now()
        unknown = outbox.unfinished(self._db.reader, state=JobState.UNKNOWN)
        due = [job for job in unknown if job.not_before <= now]
        uploads = [job for job in due if job.kind == queueing.UPLOAD]
        resolved = await self._look_for_uploads(uploads) if uploads else 0
        for job in due:
            if job.kind == queueing.CREATE_ALBUM:
                resolved += await self._look_for_album(job)
        crashpoints.reach("resolve-looked")
        return resolved

    # --- Uploads ------------------------------------------------------------------

    async def _look_for_uploads(self, jobs: list[Job]) -> int:
        lost = meta.get(self._db.reader, "names_lost")
        if lost is not None:
            await self._ask(jobs, lost)
            return 0
        # Those that wait longer are resolved along the way: it is the same page.
        waiting = outbox.unfinished(
            self._db.reader, kind=queueing.UPLOAD, state=JobState.UNKNOWN
        )
        since = min(_began_at(job) for job in waiting) - limits.CLOCK_SKEW_S
        newest = await self._account.newest(since=since)
        resolved = 0
        taken: set[ImageId] = set()
        for job in waiting:
            image = self._made_by(job, newest, taken)
            if image is not None:
                taken.add(image.id)
                await self._adopt_image(job, image)
                resolved += 1
            elif job in jobs and meta.is_anonymous(self._db.reader):
                await self._ask([job], _nobody_lists(job))
            elif job in jobs:
                resolved += await self._not_found(job)
        return resolved

    def _made_by(
        self, job: Job, newest: list[Image], taken: set[ImageId]
    ) -> Image | None:
        oldest = _began_at(job) - limits.CLOCK_SKEW_S
        for image in reversed(newest):
            if str(parse_marker(image.name)) != job.marker or image.id in taken:
                continue
            if image.datetime_s >= oldest and not is_bound(self._db.reader, image):
                return image
        return None

    async def _adopt_image(self, job: Job, image: Image) -> None:
        payload = queueing.decode(job, UploadPayload)
        record = recorded(payload, image.id)
        if not queueing.is_from_drive(payload):
            record = await self._record(payload, image)
        settled = _uploaded(job, payload, image, record, now=self._clock.now())
        log.info(
            "found: %s is image %s", drive_names.what(self._db.reader, job), image.id
        )
        await self._db.write(lambda c: settled(c) if _is_unknown(c, job) else None)
        if self._on_settled is not None:
            self._on_settled(job)

    async def _record(self, payload: UploadPayload, image: Image) -> SyncedFile:
        """Return what the file was when it was sent, if it still is that."""
        folder = synced.folder(self._db.reader, payload.folder)
        assert folder is not None
        path = folder.path + b"/" + payload.path
        return await as_sent(recorded(payload, image.id), path, self._executor)

    async def _not_found(self, job: Job) -> bool:
        """Note a look in vain; return whether the job is sent again."""
        now = self._clock.now()
        is_proven = job.looks + 1 >= _LOOKS_NEEDED

        def write(c: Connection) -> bool:
            if not _is_as_looked_for(c, job):
                return False
            if not is_proven:
                outbox.looked(c, job.id, look_at=now + self._pause_s)
                return False
            return outbox.send_again(
                c, job.id, now=now, reason="it did not happen; it is sent again"
            )

        is_sent_again = await self._db.write(write)
        if is_sent_again:
            log.info(
                "not found: %s is sent again", drive_names.what(self._db.reader, job)
            )
        return is_sent_again

    # --- Albums -------------------------------------------------------------------

    async def _look_for_album(self, job: Job) -> bool:
        payload = queueing.decode(job, CreateAlbumPayload)
        await self._account.albums_now()
        if queueing.is_from_drive(payload):
            found = await self._made_on_drive(job, payload)
        else:
            found = await self._made_for_folder(payload)
        if len(found) > 1:
            ids = ", ".join(album.id for album in found)
            text = (
                f"several albums are called {payload.title!r} and may be it"
                f" ({ids}): which one is it? 'imgurfs queue resolve {job.id}"
                " --happened ID'"
            )
            await self._ask([job], text)
            return False
        if found:
            await self._adopt_album(job, found[0])
            return True
        return await self._not_found(job)

    async def _made_for_folder(self, payload: CreateAlbumPayload) -> list[Album]:
        return [
            node.album
            for node in entries.albums_by_title(self._db.reader, payload.title)
            if node.album
            and not is_taken(
                self._db.reader, payload.folder, payload.directory, node.album.id
            )
            and await self._holds(node.album.id, payload.images[0])
        ]

    async def _made_on_drive(
        self, job: Job, payload: CreateAlbumPayload
    ) -> list[Album]:
        """Return the albums a creation may have made: called so, and young enough.

        One that was here before, that a directory stands for or that another creation
        has made is none. An album that was to have images has one of them.
        """
        reader = self._db.reader
        made = set(outbox.results(reader, kind=queueing.CREATE_ALBUM))
        oldest = _began_at(job) - limits.CLOCK_SKEW_S
        return [
            node.album
            for node in entries.albums_by_title(reader, payload.title)
            if node.album
            and node.album.id
            and node.album.datetime_s >= oldest
            and node.album.id not in payload.others
            and f'{{"album":"{node.album.id}"}}' not in made
            and not synced.directories_of_album(reader, node.album.id)
            and (
                not payload.images
                or await self._holds(node.album.id, payload.images[0])
            )
        ]

    async def _holds(self, album_id: AlbumId, image_id: ImageId) -> bool:
        try:
            return image_id in await self._account.list_album(album_id)
        except (NotFoundError, ForbiddenError):
            return False

    async def _adopt_album(self, job: Job, album: Album) -> None:
        settled = happened_as(job, album, now=self._clock.now())
        log.info(
            "found: %s is album %s", drive_names.what(self._db.reader, job), album.id
        )
        await self._db.write(lambda c: settled(c) if _is_unknown(c, job) else None)

    async def _ask(self, jobs: list[Job], text: str) -> None:
        """Leave jobs to the user, and say so."""
        look_at = self._clock.now() + _ASKED_PAUSE_S

        def write(c: Connection) -> None:
            for job in jobs:
                if _is_as_looked_for(c, job):
                    outbox.looked(c, job.id, look_at=look_at, error=text)

        await self._db.write(write)


def happened_as(job: Job, made: Image | Album, *, now: float) -> Write:
    """Return the write that records what an unknown job has made."""
    if isinstance(made, Album):
        create = queueing.decode(job, CreateAlbumPayload)
        if queueing.is_from_drive(create):
            return lambda c: drive_settle.created(c, job, create, made, now)
        return lambda c: settle.create(c, job, create, made, now)
    payload = queueing.decode(job, UploadPayload)
    return _uploaded(job, payload, made, recorded(payload, made.id), now=now)


def _uploaded(
    job: Job, payload: UploadPayload, image: Image, record: SyncedFile, *, now: float
) -> Write:
    if queueing.is_from_drive(payload):
        return lambda c: drive_settle.uploaded(c, job, payload, image=image, now=now)
    return lambda c: settle.upload(
        c,
        job,
        payload,
        image=image,
        record=record,
        album=payload.album_id,
        now=now,
    )


def is_bound(c: Connection, image: Image) -> bool:
    """Whether it is known which upload made an image: a file is it, or a job did."""
    if synced.paths_of(c, image.id):
        return True
    marker = str(parse_marker(image.name))
    made = outbox.results(c, kind=queueing.UPLOAD, marker=marker)
    return f'{{"image":"{image.id}"}}' in made


def _nobody_lists(job: Job) -> str:
    """Return what to ask the user about an anonymous upload whose answer is lost."""
    return (
        "the answer was lost, and Imgur lists nothing of uploads without an account:"
        f" send it again ('imgurfs queue resolve {job.id} --did-not-happen'; it may"
        " then be on Imgur twice) or, if you know which image it is,"
        f" 'imgurfs queue resolve {job.id} --happened ID'"
    )


def _is_unknown(c: Connection, job: Job) -> bool:
    """Whether nobody else (the user) has resolved the job meanwhile."""
    current = outbox.job(c, job.id)
    return current is not None and current.state is JobState.UNKNOWN


def _is_as_looked_for(c: Connection, job: Job) -> bool:
    """Whether a job's outcome is unknown still, and of the attempt looked for.

    What a look did not find says nothing of an attempt that was made meanwhile.
    """
    current = outbox.job(c, job.id)
    return current is not None and (
        (current.state, current.sent_at, current.looks)
        == (JobState.UNKNOWN, job.sent_at, job.looks)
    )


def _began_at(job: Job) -> float:
    return job.first_sent_at or job.created_at
