"""Uploads that somebody asked for by name (``imgurfs upload``), as rows and copies.

To the outbox they are the uploads of a folder with a number of its own,
:data:`~imgurfs.jobs.payloads.BY_HAND`: the directory that holds copies of the files
(``content.outgoing``). So everything that makes an upload happen once holds for them.
What differs: that folder is nobody's mirror. Its files are no evidence of anything once
they are on Imgur; their rows are forgotten, their copies removed.

A file's path says what it is and where it goes, so that asking for the same again is
the same job.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from imgurfs.content import outgoing
from imgurfs.jobs import content, queueing
from imgurfs.jobs.queueing import BY_HAND, UploadPayload
from imgurfs.model import AlbumId, ImageId, JobId, Lane
from imgurfs.store import entries, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.synced import FolderId

_SETTLED: Final = (JobState.DONE, JobState.CANCELLED, JobState.DEAD)


@dataclass(frozen=True, slots=True)
class Album:
    """The album that images go into; ``id`` is None for one that has to be made.

    ``slot`` is what stands for it where a folder has a directory.
    """

    id: AlbumId | None
    title: str
    slot: bytes


def new_album(title: str) -> Album:
    """Return an album that has to be made."""
    return Album(None, title, b"\0new " + title.encode())


def known_album(c: Connection, album_id: AlbumId, title: str) -> Album:
    """Return an album that exists; one made here keeps what stands for it."""
    made = new_album(title).slot
    is_made = synced.album_of(c, BY_HAND, made) == album_id
    return Album(album_id, title, made if is_made else b"\0" + album_id.encode())


def path_of(digest: bytes, name: bytes, album: Album | None) -> bytes:
    """Return the path of a file's copy: one for each content, name and album."""
    place = digest.hex()[:32]
    if album is not None:
        place += "-" + hashlib.blake2b(album.slot, digest_size=8).hexdigest()
    return place.encode() + b"/" + name


def queue(
    c: Connection,
    directory: Path,
    path: bytes,
    *,
    size_bytes: int,
    album: Album | None,
    image_title: str,
    now: float,
) -> JobId:
    """Queue the upload of a copy; return its job, which may have been there already."""
    found = directory.stat()
    place = bytes(directory)
    synced.put_folder(c, BY_HAND, place, device=found.st_dev, inode=found.st_ino)
    if album is not None and album.id is not None:
        queueing.bind_album(c, BY_HAND, album.slot, album.id, title=album.title)
    payload = UploadPayload(
        folder=BY_HAND,
        path=path,
        directory=None if album is None else album.slot,
        title="" if album is None else album.title,
        image_title=image_title,
    )
    job_id = queueing.queue_upload(
        c, payload, lane=Lane.FRESH, size_bytes=size_bytes, now=now
    )
    if job_id is None:
        waiting = outbox.by_key(c, queueing.upload_key(BY_HAND, path))
        assert waiting is not None
        return waiting.id
    return job_id


def known_image(c: Connection, digest: bytes) -> ImageId | None:
    """Return the image that a content is, as far as this machine knows; None: none.

    One that is about to be deleted is none: it has to be said that it stays.
    """
    for image_id in content.candidates(c, digest):
        node = entries.node_of_image(c, image_id)
        is_shown = node is not None and not node.is_hidden
        if is_shown and outbox.by_key(c, queueing.delete_key(image_id)) is None:
            return image_id
    return None


def image_of(c: Connection, job: Job, digest: bytes) -> ImageId | None:
    """Return the image that came of a job that is over; None: none did.

    A withdrawn one was not needed, when the content is an image already.
    """
    if job.state is JobState.DONE:
        return ImageId(msgspec.json.decode(job.result)["image"])
    return content.image_with(c, digest, may_go=False)


def is_queued(c: Connection, path: bytes) -> bool:
    """Whether an unfinished job is about a copy."""
    return outbox.by_key(c, queueing.upload_key(BY_HAND, path)) is not None


def album_work(c: Connection, album: Album) -> list[Job]:
    """Return the unfinished jobs that bring an album about, or images into it."""
    create = outbox.by_key(c, queueing.create_key(BY_HAND, album.slot))
    album_id = synced.album_of(c, BY_HAND, album.slot)
    members = None
    if album_id is not None:
        members = outbox.by_key(c, f"{queueing.MEMBERS}:{album_id}")
    return [job for job in (create, members) if job is not None]


def is_foreign(c: Connection, album_id: AlbumId) -> bool:
    """Whether no watched directory stands for an album."""
    owners = synced.directories_of_album(c, album_id)
    return all(folder == BY_HAND for folder, _ in owners)


# --- Letting go ------------------------------------------------------------------


def let_go(c: Connection, folder: FolderId, directory: bytes | None) -> None:
    """Forget that uploaded copies were files, unless their album has to be made yet."""
    if folder != BY_HAND:
        return
    if directory is None or synced.album_of(c, BY_HAND, directory) is not None:
        synced.forget_files(c, BY_HAND, directory)


def tidy(c: Connection, directory: Path) -> list[bytes]:
    """Remove the copies that nobody needs; return those that no job ever was about.

    Such a one is left by a crash before its job was committed, or by a lost database.
    The caller holds the directory's lock. Raises OSError.
    """
    strays = []
    for path in outgoing.scan(directory):
        job = _latest(c, path)
        if job is None:
            strays.append(path)
        elif _is_over(job):
            outgoing.remove(directory, path)
    return strays


def settled(c: Connection, directory: Path, job: Job) -> None:
    """Remove the copy that a job was about, if it is over. Raises OSError.

    Does nothing while somebody else makes or removes copies: they are tidied later.
    """
    if job.kind != queueing.UPLOAD:
        return
    payload = queueing.decode(job, UploadPayload)
    lock = outgoing.lock(directory)
    if payload.folder != BY_HAND or not lock.acquire_nowait():
        return
    with lock:
        latest = _latest(c, payload.path)
        if latest is not None and _is_over(latest):
            outgoing.remove(directory, payload.path)


def _is_over(job: Job) -> bool:
    """Whether a copy is not needed any more; a rejected one may be sent again."""
    return job.state in (JobState.DONE, JobState.CANCELLED)


def _latest(c: Connection, path: bytes) -> Job | None:
    """Return the youngest job about a copy."""
    key = queueing.upload_key(BY_HAND, path)
    unfinished = outbox.by_key(c, key)
    if unfinished is not None:
        return unfinished
    over = [job for state in _SETTLED for job in outbox.settled_with_key(c, key, state)]
    return max(over, key=lambda job: job.id, default=None)
