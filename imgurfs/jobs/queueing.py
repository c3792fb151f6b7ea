"""The kinds of jobs, what their payloads hold, and the rules for queueing them.

Functions take a connection and belong inside ``Database.write``, beside the rows the
job is about. Nothing here talks to Imgur; ``jobs.work`` does.

Keys make queueing idempotent (a rescan queues nothing twice); the group of a directory
makes its uploads wait, one after the other, until its album exists; the turn lets
folders and directories be served in rotation.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from imgurfs import limits
from imgurfs.model import AlbumId, ImageId, JobId, Lane
from imgurfs.store import outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job
from imgurfs.store.synced import FolderId

P = TypeVar("P", bound=msgspec.Struct)

UPLOAD: Final = "upload"
CREATE_ALBUM: Final = "create_album"
MEMBERS: Final = "members"
VERIFY: Final = "verify"
UPDATE_ALBUM: Final = "update_album"
DELETE_IMAGE: Final = "delete_image"

#: In the order in which the drainer looks for work: what others wait for comes first.
KINDS: Final = (CREATE_ALBUM, UPDATE_ALBUM, MEMBERS, UPLOAD, VERIFY, DELETE_IMAGE)
#: Kinds that do no harm when they happen twice; all others may be sent once only.
REPEATABLE: Final = frozenset({MEMBERS, VERIFY, UPDATE_ALBUM, DELETE_IMAGE})


class Sent(msgspec.Struct, frozen=True):
    """What a file was when it was read to be sent."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    digest: bytes


class UploadPayload(msgspec.Struct, frozen=True):
    """Send the file at ``path`` (relative to the folder) as it is when it is sent.

    ``directory`` stands for the album it goes into, None for no album. ``replaces`` is
    the image that the file was before, deleted ``grace_s`` after this upload if
    ``deletes_old``; ``leaves_album``: other files are it, but none of this album.
    With ``dedupe`` content that is an image already is not sent. ``album_id`` is the
    album that the last attempt named, ``sent`` what it sent.
    """

    folder: FolderId
    path: bytes
    directory: bytes | None = None
    title: str = ""
    replaces: ImageId | None = None
    deletes_old: bool = False
    leaves_album: bool = False
    grace_s: float = 0.0
    dedupe: bool = True
    album_id: AlbumId | None = None
    sent: Sent | None = None


class CreateAlbumPayload(msgspec.Struct, frozen=True):
    """Create the album a directory stands for, never empty.

    ``images`` are those the last attempt named; what else belongs into the album when
    it is sent goes with it.
    """

    folder: FolderId
    directory: bytes
    title: str
    images: tuple[ImageId, ...]


class AlbumPayload(msgspec.Struct, frozen=True):
    """Bring an album's memberships about, or list it again to compare them."""

    album_id: AlbumId


class UpdateAlbumPayload(msgspec.Struct, frozen=True):
    """Give an album another title."""

    album_id: AlbumId
    title: str


class DeleteImagePayload(msgspec.Struct, frozen=True):
    """Delete an image because its file is gone.

    ``is_replaced``: the file is another image now. ``is_twin``: it came into being
    beside the image of a file by an upload that was sent twice; ``folder`` is None.
    """

    folder: FolderId | None
    image_id: ImageId
    is_replaced: bool = False
    is_twin: bool = False


def encode(payload: msgspec.Struct) -> str:
    """Return a payload as the outbox keeps it."""
    return msgspec.json.encode(payload).decode()


def decode(job: Job, kind: type[P]) -> P:
    """Return the payload of a job."""
    return msgspec.json.decode(job.payload, type=kind)


def queue_upload(
    c: Connection,
    payload: UploadPayload,
    *,
    lane: Lane,
    now: float,
    size_bytes: int = 0,
    not_before: float = 0.0,
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
        turn=turn_of(payload.folder, payload.directory or b""),
        size_bytes=size_bytes,
        not_before=not_before,
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


def queue_members(c: Connection, album_id: AlbumId, *, now: float) -> None:
    """Let an album's memberships be brought about, when no more changes come."""
    _collect(c, MEMBERS, album_id, now=now, quiet_s=limits.ALBUM_QUIET_S)


def queue_verify(c: Connection, album_id: AlbumId, *, now: float) -> None:
    """Let an album be listed again, when listings have caught up with its changes."""
    _collect(c, VERIFY, album_id, now=now, quiet_s=limits.LISTING_LAG_S)


def _collect(
    c: Connection, kind: str, album_id: AlbumId, *, now: float, quiet_s: float
) -> None:
    key = f"{kind}:{album_id}"
    waiting = outbox.by_key(c, key)
    if waiting is None:
        outbox.put(
            c,
            kind=kind,
            lane=Lane.INTERACTIVE,
            payload=encode(AlbumPayload(album_id)),
            key=key,
            not_before=now + quiet_s,
            now=now,
        )
        return
    latest = waiting.created_at + limits.ALBUM_PATIENCE_S
    outbox.postpone(c, waiting.id, not_before=min(now + quiet_s, latest))


def queue_update_album(
    c: Connection, payload: UpdateAlbumPayload, *, now: float
) -> None:
    """Queue an album's new title; one that waits already takes it over."""
    key = update_key(payload.album_id)
    waiting = outbox.by_key(c, key)
    if waiting is not None and waiting.state is outbox.JobState.QUEUED:
        outbox.rewrite(c, waiting.id, payload=encode(payload))
        return
    outbox.put(
        c,
        kind=UPDATE_ALBUM,
        lane=Lane.INTERACTIVE,
        payload=encode(payload),
        # Behind one in the air: the last title must be the one that stays.
        key=key if waiting is None else "",
        grouping=key,
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
    c: Connection, folder: FolderId, directory: bytes, album_id: AlbumId, *, title: str
) -> None:
    """Let a directory stand for an album, and its uploads run side by side."""
    synced.put_directory(c, folder, directory, album_id, title=title)
    outbox.leave_group(c, grouping=album_group(folder, directory))


def regroup(c: Connection, folder: FolderId, directory: bytes) -> None:
    """Make a directory's uploads wait for each other again: its album is gone."""
    for job in outbox.unfinished(c, kind=UPLOAD):
        payload = decode(job, UploadPayload)
        if (payload.folder, payload.directory) == (folder, directory):
            outbox.join_group(c, job.id, album_group(folder, directory))


def recover(c: Connection, *, now: float, quarantine_s: float) -> int:
    """Sort out what a dead drainer left in the air; return how many are unknown now.

    An upload whose outcome is unknown leaves its group: it creates no album, so the
    directory's other files need not wait for what became of it.
    """
    lost = outbox.recover(
        c,
        repeatable=REPEATABLE,
        error="the program stopped while it was sent",
        look_at=now + quarantine_s,
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
        case "members":
            return f"place images in album {decode(job, AlbumPayload).album_id}"
        case "verify":
            return f"check album {decode(job, AlbumPayload).album_id}"
        case "update_album":
            album = decode(job, UpdateAlbumPayload)
            return f"rename album {album.album_id} to {album.title!r}"
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


def update_key(album_id: AlbumId) -> str:
    """Return the key of an album's new title."""
    return f"{UPDATE_ALBUM}:{album_id}"


def album_group(folder: FolderId, directory: bytes) -> str:
    """Return the group of everything that waits for a directory's album."""
    return f"album:{folder}:{directory.hex()}"


def turn_of(folder: FolderId, directory: bytes) -> str:
    """Return whose turn it is when a directory's file is sent."""
    return f"{folder}:{directory.hex()}"
