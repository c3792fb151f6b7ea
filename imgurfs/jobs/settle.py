"""What is written when a job is over: its results, its row and the jobs that follow.

Every function runs inside one ``Database.write``, so that an image is never in the
account's tree and not in the merge base, or the other way round. ``jobs.work`` says
which of them belongs to which answer.
"""

from __future__ import annotations

import logging

import msgspec

from imgurfs.errors import ForbiddenError, ImgurfsError, NotFoundError
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import (
    AddToAlbumPayload,
    CreateAlbumPayload,
    DeleteImagePayload,
    UploadPayload,
)
from imgurfs.model import Album, AlbumId, Image, ImageId
from imgurfs.store import outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.synced import SkippedFile, SyncedFile
from imgurfs.tree import changes

log = logging.getLogger(__name__)

#: Creations of one album that Imgur refused before its images stay without one.
_ALBUM_REFUSALS_MAX = 3


def cancel(c: Connection, job: Job, now: float, reason: str) -> None:
    """Withdraw a job that turned out to be needless."""
    outbox.cancel(c, job.id, now=now, reason=reason)


def upload(
    c: Connection,
    job: Job,
    payload: UploadPayload,
    *,
    image: Image,
    record: SyncedFile,
    album: AlbumId | None,
    now: float,
) -> None:
    """Record an upload that happened, into ``album`` or none; queue what follows."""
    changes.image_uploaded(c, image, albums=[album] if album else [], now=now)
    synced.put_file(c, payload.folder, record)
    if payload.directory is not None and album is None:
        _give_album(c, payload, payload.directory, image.id, now)
    if payload.replaces and payload.deletes_old and payload.replaces != image.id:
        queueing.queue_delete(
            c,
            DeleteImagePayload(payload.folder, payload.replaces, is_replaced=True),
            now=now,
            grace_s=payload.grace_s,
        )
    outbox.finish(c, job.id, now=now, result=_result(image=image.id))


def touch(
    c: Connection, job: Job, payload: UploadPayload, record: SyncedFile, now: float
) -> None:
    """Record that a file was written but not changed: nothing is sent."""
    synced.put_file(c, payload.folder, record)
    outbox.cancel(c, job.id, now=now, reason="the content is what it was")


def reject_upload(
    c: Connection,
    payload: UploadPayload,
    record: SyncedFile,
    album: AlbumId | None,
    error: ImgurfsError,
) -> bool:
    """Prepare for a refused upload; return whether it should be tried again.

    An album that is gone is forgotten, and the directory's files wait for a new one.
    Anything else is the file's fault: it is skipped until it changes.
    """
    if album is not None and isinstance(error, NotFoundError | ForbiddenError):
        assert payload.directory is not None
        synced.forget_directory(c, payload.folder, payload.directory, album)
        queueing.regroup(c, payload.folder, payload.directory)
        return True
    skipped = SkippedFile(
        path=record.path,
        size_bytes=record.size_bytes,
        mtime_ns=record.mtime_ns,
        reason=f"Imgur refused it: {error.message}",
    )
    synced.put_skipped(c, payload.folder, skipped)
    return False


def create(
    c: Connection, job: Job, payload: CreateAlbumPayload, album: Album, now: float
) -> None:
    """Record an album that was created; its directory's other files go into it."""
    changes.album_created(c, album, images=payload.images, now=now)
    queueing.bind_album(c, payload.folder, payload.directory, album.id)
    left = [i for i in _waiting(c, payload) if i not in payload.images]
    if left:
        queueing.queue_add_to_album(
            c, AddToAlbumPayload(album.id, tuple(left)), now=now
        )
    outbox.finish(c, job.id, now=now, result=_result(album=album.id))


def adopted(
    c: Connection, job: Job, payload: CreateAlbumPayload, album: AlbumId, now: float
) -> None:
    """Put the images into an album that exists instead of creating one."""
    images = dict.fromkeys((*payload.images, *_waiting(c, payload)))
    queueing.queue_add_to_album(c, AddToAlbumPayload(album, tuple(images)), now=now)
    outbox.cancel(c, job.id, now=now, reason="the account has an album of this title")


def add(c: Connection, job: Job, payload: AddToAlbumPayload, now: float) -> None:
    """Record memberships."""
    for image_id in payload.images:
        changes.image_added(c, image_id, payload.album_id, now=now)
    outbox.finish(c, job.id, now=now)


def delete(c: Connection, job: Job, payload: DeleteImagePayload, now: float) -> None:
    """Record that an image is gone from the account."""
    changes.image_deleted(c, payload.image_id)
    for folder, path in synced.paths_of(c, payload.image_id):
        synced.forget_file(c, folder, path, payload.image_id)
    outbox.finish(c, job.id, now=now)


def keep_image(
    c: Connection, job: Job, payload: DeleteImagePayload, now: float
) -> None:
    """Forget a file that is gone but leave its image, which others use."""
    for folder, path in synced.paths_of(c, payload.image_id):
        synced.forget_file(c, folder, path, payload.image_id)
    outbox.cancel(
        c, job.id, now=now, reason="the image is in another album as well and is kept"
    )


def _give_album(
    c: Connection,
    payload: UploadPayload,
    directory: bytes,
    image: ImageId,
    now: float,
) -> None:
    """Queue what puts an image, sent without an album, into its directory's album."""
    album = synced.album_of(c, payload.folder, directory)
    if album is not None:
        # It came into being while this image was on its way.
        queueing.queue_add_to_album(c, AddToAlbumPayload(album, (image,)), now=now)
        return
    create = CreateAlbumPayload(payload.folder, directory, payload.title, (image,))
    if len(_refused(c, create)) >= _ALBUM_REFUSALS_MAX:
        log.error("album %r cannot be created; its images stay out", payload.title)
        return
    if queueing.queue_create_album(c, create, now=now) is None:
        log.warning("image %s waits for the album %r", image, payload.title)


def _waiting(c: Connection, payload: CreateAlbumPayload) -> list[ImageId]:
    """Return images that were left without an album by refused creations of it."""
    found: list[ImageId] = []
    for job in _refused(c, payload):
        refused = queueing.decode(job, CreateAlbumPayload)
        found += [i for i in refused.images if synced.paths_of(c, i)]
    return found


def _refused(c: Connection, payload: CreateAlbumPayload) -> list[Job]:
    key = queueing.create_key(payload.folder, payload.directory)
    return outbox.settled_with_key(c, key, JobState.DEAD)


def _result(**ids: str) -> str:
    return msgspec.json.encode(ids).decode()
