"""The kinds of jobs, what their payloads hold, and the rules for queueing them.

Functions take a connection and belong inside ``Database.write``, beside the rows the
job is about. Nothing here talks to Imgur; ``jobs.work`` does.

Keys make queueing idempotent (a rescan queues nothing twice); the group of a directory
makes its uploads wait, one after the other, until its album exists.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from imgurfs.model import AlbumId, ImageId, JobId, Lane
from imgurfs.store import outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job
from imgurfs.store.synced import FolderId

P = TypeVar("P", bound=msgspec.Struct)

UPLOAD: Final = "upload"
CREATE_ALBUM: Final = "create_album"
ADD_TO_ALBUM: Final = "add_to_album"
DELETE_IMAGE: Final = "delete_image"

KINDS: Final = (UPLOAD, CREATE_ALBUM, ADD_TO_ALBUM, DELETE_IMAGE)
#: Kinds that do no harm when they happen twice; all others may be sent once only.
REPEATABLE: Final = frozenset({ADD_TO_ALBUM, DELETE_IMAGE})


class UploadPayload(msgspec.Struct, frozen=True):
    """Send the file at ``path`` (relative to the folder) as it is when it is sent.

    ``directory`` stands for the album it goes into, None for no album. ``replaces`` is
    the image that the file was before, deleted ``grace_s`` after this upload if
    ``deletes_old``.
    """

    folder: FolderId
    path: bytes
    directory: bytes | None = None
    title: str = ""
    replaces: ImageId | None = None
    deletes_old: bool = False
    grace_s: float = 0.0


class CreateAlbumPayload(msgspec.Struct, frozen=True):
    """Create the album a directory stands for, with its first images."""

    folder: FolderId
    directory: bytes
    title: str
    images: tuple[ImageId, ...]


class AddToAlbumPayload(msgspec.Struct, frozen=True):
    """Put images into an album that exists."""

    album_id: AlbumId
    images: tuple[ImageId, ...]


class DeleteImagePayload(msgspec.Struct, frozen=True):
    """Delete an image because its file is gone or was replaced (``is_replaced``)."""

    folder: FolderId
    image_id: ImageId
    is_replaced: bool = False


def encode(payload: msgspec.Struct) -> str:
    """Return a payload as the outbox keeps it."""
    return msgspec.json.encode(payload).decode()


def decode(job: Job, kind: type[P]) -> P:
    """Return the payload of a job."""
    return msgspec.json.decode(job.payload, type=kind)


def queue_upload(
    c: Connection, payload: UploadPayload, *, lane: Lane, now: float
) -> JobId | None:
    """Queue an upload; None when this file has an unfinished one."""
    grouping = ""
    if (
        payload.directory is not None
        and synced.album_of(c, payload.folder, payload.directory) is None
    ):
        grouping = album_group(payload.folder, payload.directory)
    return outbox.put(
        c,
        kind=UPLOAD,
        lane=lane,
        payload=encode(payload),
        key=upload_key(payload.folder, payload.path),
        grouping=grouping,
        now=now,
    )


def queue_create_album(
    c: Connection, payload: CreateAlbumPayload, *, now: float
) -> JobId | None:
    """Queue the creation of a directory's album, ahead of its further uploads."""
    return outbox.put(
        c,
        kind=CREATE_ALBUM,
        lane=Lane.INTERACTIVE,
        payload=encode(payload),
        key=create_key(payload.folder, payload.directory),
        grouping=album_group(payload.folder, payload.directory),
        now=now,
    )


def queue_add_to_album(
    c: Connection, payload: AddToAlbumPayload, *, now: float
) -> JobId | None:
    """Queue memberships. Never deduplicated: adding twice does no harm."""
    return outbox.put(
        c,
        kind=ADD_TO_ALBUM,
        lane=Lane.INTERACTIVE,
        payload=encode(payload),
        now=now,
    )


def queue_delete(
    c: Connection, payload: DeleteImagePayload, *, now: float, grace_s: float
) -> JobId | None:
    """Queue a delete that waits out the grace period; None when there is one."""
    return outbox.put(
        c,
        kind=DELETE_IMAGE,
        lane=Lane.BULK,
        payload=encode(payload),
        key=delete_key(payload.image_id),
        not_before=now + grace_s if grace_s else 0.0,
        now=now,
    )


def cancel_delete(c: Connection, image_id: ImageId, *, now: float) -> bool:
    """Withdraw the delete of an image; False when it was sent, or there is none."""
    job = outbox.by_key(c, delete_key(image_id))
    return job is not None and outbox.cancel(
        c, job.id, now=now, reason="the file is back"
    )


def bind_album(
    c: Connection, folder: FolderId, directory: bytes, album_id: AlbumId
) -> None:
    """Let a directory stand for an album, and its uploads run side by side."""
    synced.put_directory(c, folder, directory, album_id)
    outbox.leave_group(c, grouping=album_group(folder, directory))


def regroup(c: Connection, folder: FolderId, directory: bytes) -> None:
    """Make a directory's uploads wait for each other again: its album is gone."""
    for job in outbox.unfinished(c, kind=UPLOAD):
        payload = decode(job, UploadPayload)
        if (payload.folder, payload.directory) == (folder, directory):
            outbox.join_group(c, job.id, album_group(folder, directory))


def recover(c: Connection) -> int:
    """Sort out what a dead drainer left in the air; return how many are unknown now.

    An upload whose outcome is unknown leaves its group: it creates no album, so the
    directory's other files need not wait for what became of it.
    """
    lost = outbox.recover(
        c, repeatable=REPEATABLE, error="the program stopped while it was sent"
    )
    for job in lost:
        if job.kind == UPLOAD:
            outbox.leave_group(c, job_id=job.id)
    return len(lost)


def describe(job: Job) -> str:
    """Return what a job is about, in a few words for messages."""
    match job.kind:
        case "upload":
            path = decode(job, UploadPayload).path
            return f"upload {path.decode('utf-8', 'backslashreplace')}"
        case "create_album":
            title = decode(job, CreateAlbumPayload).title
            return f"create album {title!r}"
        case "add_to_album":
            added = decode(job, AddToAlbumPayload)
            return f"add {len(added.images)} image(s) to album {added.album_id}"
        case "delete_image":
            image = decode(job, DeleteImagePayload).image_id
            return f"delete image {image}"
        case _:
            return f"{job.kind} (job {job.id})"


def upload_key(folder: FolderId, path: bytes) -> str:
    """Return the key of a file's upload."""
    return f"upload:{folder}:{path.hex()}"


def delete_key(image_id: ImageId) -> str:
    """Return the key of an image's delete."""
    return f"delete:{image_id}"


def create_key(folder: FolderId, directory: bytes) -> str:
    """Return the key of the creation of a directory's album."""
    return f"create:{folder}:{directory.hex()}"


def album_group(folder: FolderId, directory: bytes) -> str:
    """Return the group of everything that waits for a directory's album."""
    return f"album:{folder}:{directory.hex()}"
