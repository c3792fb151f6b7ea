"""The rules for queueing jobs: nothing twice, what belongs together, one after another.

Functions take a connection and belong inside ``Database.write``, beside the rows the
job is about. Nothing here talks to Imgur; ``jobs.work`` does. The kinds, payloads and
keys are :mod:`imgurfs.jobs.payloads`', and offered here as well.
"""

from __future__ import annotations

import msgspec

from imgurfs import limits
from imgurfs.jobs.payloads import (
    BY_HAND,
    CREATE_ALBUM,
    DELETE_ALBUM,
    DELETE_IMAGE,
    DRIVE,
    KINDS,
    MEMBERS,
    REPEATABLE,
    UPDATE_ALBUM,
    UPDATE_IMAGE,
    UPLOAD,
    VERIFY,
    AlbumPayload,
    CreateAlbumPayload,
    DeleteAlbumPayload,
    DeleteImagePayload,
    Sent,
    UpdateAlbumPayload,
    UpdateImagePayload,
    UploadPayload,
    album_group,
    create_key,
    decode,
    delete_album_key,
    delete_key,
    describe,
    encode,
    is_from_drive,
    turn_of,
    update_image_key,
    update_key,
    upload_key,
)
from imgurfs.model import AlbumId, ImageId, JobId, Lane
from imgurfs.store import outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.drafts import Draft
from imgurfs.store.outbox import JobState
from imgurfs.store.synced import FolderId

__all__ = [
    "BY_HAND",
    "CREATE_ALBUM",
    "DELETE_ALBUM",
    "DELETE_IMAGE",
    "DRIVE",
    "KINDS",
    "MEMBERS",
    "REPEATABLE",
    "UPDATE_ALBUM",
    "UPDATE_IMAGE",
    "UPLOAD",
    "VERIFY",
    "AlbumPayload",
    "CreateAlbumPayload",
    "DeleteAlbumPayload",
    "DeleteImagePayload",
    "Sent",
    "UpdateAlbumPayload",
    "UpdateImagePayload",
    "UploadPayload",
    "album_group",
    "bind_album",
    "cancel_delete",
    "cancel_drive_upload",
    "create_key",
    "decode",
    "delete_album_key",
    "delete_key",
    "describe",
    "encode",
    "is_from_drive",
    "queue_create_album",
    "queue_delete",
    "queue_delete_album",
    "queue_drive_upload",
    "queue_members",
    "queue_update_album",
    "queue_update_image",
    "queue_upload",
    "queue_verify",
    "recover",
    "regroup",
    "turn_of",
    "unwant_delete",
    "update_image_key",
    "update_key",
    "upload_key",
]


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
    """Queue an album's new title or description; one that waits takes it over."""
    _update(c, UPDATE_ALBUM, update_key(payload.album_id), payload, now=now)


def queue_update_image(
    c: Connection, payload: UpdateImagePayload, *, now: float
) -> None:
    """Queue an image's new title or description; one that waits takes it over."""
    _update(c, UPDATE_IMAGE, update_image_key(payload.image_id), payload, now=now)


def _update(
    c: Connection,
    kind: str,
    key: str,
    payload: UpdateAlbumPayload | UpdateImagePayload,
    *,
    now: float,
) -> None:
    waiting = outbox.last_of_group(c, key)
    if waiting is not None and waiting.state is JobState.QUEUED:
        before = decode(waiting, type(payload))
        merged = msgspec.structs.replace(
            payload,
            title=before.title if payload.title is None else payload.title,
            description=(
                before.description
                if payload.description is None
                else payload.description
            ),
        )
        outbox.rewrite(c, waiting.id, payload=encode(merged))
        return
    outbox.put(
        c,
        kind=kind,
        lane=Lane.INTERACTIVE,
        payload=encode(payload),
        # Behind one in the air: the last title must be the one that stays.
        key=key if waiting is None else "",
        grouping=key,
        now=now,
    )


def queue_drive_upload(
    c: Connection,
    draft: Draft,
    *,
    lane: Lane,
    size_bytes: int,
    not_before: float,
    now: float,
) -> JobId | None:
    """Queue the upload of one content of a drive's file; None when there is one.

    A job that was cancelled does not come back: the same content, written to again, is
    another job.
    """
    payload = UploadPayload(
        folder=DRIVE, path=draft.spool_name.encode(), inode=draft.inode
    )
    return queue_upload(
        c,
        payload,
        lane=lane,
        size_bytes=size_bytes,
        not_before=not_before,
        now=now,
    )


def cancel_drive_upload(c: Connection, draft: Draft, *, now: float) -> bool:
    """Withdraw the upload of a draft; False when it may have been sent."""
    job = outbox.by_key(c, upload_key(DRIVE, draft.spool_name.encode()))
    return job is None or outbox.cancel(
        c, job.id, now=now, reason="the file was changed on the drive"
    )


def queue_delete_album(
    c: Connection, payload: DeleteAlbumPayload, *, now: float
) -> JobId | None:
    """Queue the deletion of an album; None when there is one."""
    return outbox.put(
        c,
        kind=DELETE_ALBUM,
        lane=Lane.INTERACTIVE,
        payload=encode(payload),
        key=delete_album_key(payload.album_id),
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


def unwant_delete(c: Connection, job_id: JobId, *, now: float, reason: str) -> bool:
    """Send a waiting delete no more of which an attempt may have happened.

    It stays queued until somebody has looked for the image. False when it is in the
    air, or settled.
    """
    job = outbox.job(c, job_id)
    if job is None or job.state is not JobState.QUEUED:
        return False
    payload = decode(job, DeleteImagePayload)
    unwanted = msgspec.structs.replace(payload, is_unwanted=True)
    outbox.rewrite(c, job_id, payload=encode(unwanted))
    outbox.set_guard(c, job_id, "")
    outbox.requeue(c, job_id, not_before=now, error=reason, is_counted=True)
    return True


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
        doubtful=[DELETE_IMAGE],
        error="the program stopped while it was sent",
        look_at=now + quarantine_s,
    )
    for job in lost:
        if job.kind == UPLOAD:
            outbox.leave_group(c, job_id=job.id)
    return len(lost)
