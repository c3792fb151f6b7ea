"""What is written when a job is over: its results, its row and the jobs that follow.

Every function runs inside one ``Database.write``, so that an image is never in the
account's tree and not in the merge base, or the other way round. The workers say which
of them belongs to which answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from imgurfs import limits
from imgurfs.errors import ForbiddenError, ImgurfsError, NotFoundError
from imgurfs.jobs import by_hand, content, drive, placing, queueing
from imgurfs.jobs.queueing import (
    CreateAlbumPayload,
    DeleteAlbumPayload,
    DeleteImagePayload,
    UpdateAlbumPayload,
    UpdateImagePayload,
    UploadPayload,
)
from imgurfs.model import Album, AlbumId, Image, ImageId, Inode, Lane
from imgurfs.store import edits, entries, membership, notices, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job
from imgurfs.store.synced import FolderId, SkippedFile, SyncedFile
from imgurfs.tree import changes


def cancel(c: Connection, job: Job, now: float, reason: str) -> None:
    """Withdraw a job that turned out to be needless."""
    if outbox.cancel(c, job.id, now=now, reason=reason):
        drive.called_off(c, job, reason, now=now)


# --- Uploads -----------------------------------------------------------------


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
    bound = None
    if payload.directory is not None:
        bound = synced.album_of(c, payload.folder, payload.directory)
    if album is not None:
        membership.there(c, album, [image.id], now=now)
        queueing.queue_verify(c, album, now=now)
    if album is not None and album != bound:
        # The directory stands for another album by now.
        membership.unwant(c, album, image.id, now=now)
        queueing.queue_members(c, album, now=now)
    if bound != album or album is None:
        placing.place(
            c, payload.folder, payload.directory, payload.title, image.id, now=now
        )
    _retire_replaced(c, payload, image.id, now)
    by_hand.let_go(c, payload.folder, payload.directory)
    outbox.finish(c, job.id, now=now, result=_result(image=image.id))


def bind(
    c: Connection, job: Job, payload: UploadPayload, record: SyncedFile, now: float
) -> None:
    """Record that a file is an image of the account already: nothing is sent.

    If that image has gone meanwhile, or may have, the file is looked at again.
    """
    is_going = not may_lose(payload) and content.is_going(c, record.image_id)
    if is_going or content.is_gone(c, record.image_id):
        _look_again(c, job, now)
        return
    reason = f"the content is image {record.image_id} already"
    if payload.folder == queueing.BY_HAND:
        placing.keep_without_files(c, record.image_id, now=now)
    bind_file(
        c,
        payload.folder,
        record,
        title=payload.title,
        now=now,
    )
    _retire_replaced(c, payload, record.image_id, now)
    by_hand.let_go(c, payload.folder, payload.directory)
    outbox.cancel(c, job.id, now=now, reason=reason)


def may_lose(payload: UploadPayload) -> bool:
    """Whether a file may be an image that is being deleted.

    It is uploaded again when that has happened; of one that was uploaded by hand there
    is no copy left then.
    """
    return payload.folder != queueing.BY_HAND


def bind_file(
    c: Connection,
    folder: FolderId,
    record: SyncedFile,
    *,
    title: str,
    now: float,
) -> None:
    """Let a file be an image that exists, in the album of the record's directory."""
    known = synced.file(c, folder, record.path)
    synced.put_file(c, folder, record)
    if queueing.cancel_delete(c, record.image_id, now=now):
        drive.restore(c, record.image_id, (), now=now)
    if known is not None and known.directory != record.directory:
        placing.displace(c, folder, known.directory, record.image_id, now=now)
    placing.place(c, folder, record.directory, title, record.image_id, now=now)


def _look_again(c: Connection, job: Job, now: float) -> None:
    outbox.requeue(c, job.id, not_before=now, error="", is_counted=False)


def withdraw_upload(
    c: Connection, job: Job, payload: UploadPayload, now: float, reason: str
) -> None:
    """Withdraw an upload that is not sent; what the file was before still goes."""
    _retire_replaced(c, payload, None, now)
    outbox.cancel(c, job.id, now=now, reason=reason)


def _retire_replaced(
    c: Connection, payload: UploadPayload, image_id: ImageId | None, now: float
) -> None:
    """Queue the end of the image that a file was before, if no other file is it."""
    old = payload.replaces
    if not old or old == image_id:
        return
    if payload.deletes_old and not synced.paths_of(c, old):
        queueing.queue_delete(
            c,
            DeleteImagePayload(payload.folder, old, is_replaced=image_id is not None),
            now=now,
            grace_s=payload.grace_s,
        )
    if payload.deletes_old or payload.leaves_album:
        # Also what is deleted: its content may come back before its grace is over.
        placing.displace(c, payload.folder, payload.directory, old, now=now)


def touch(
    c: Connection,
    job: Job,
    payload: UploadPayload,
    record: SyncedFile,
    *,
    known: SyncedFile,
    now: float,
) -> None:
    """Record that a file was written but not changed: nothing is sent.

    If it is not what was ``known`` of it any more, the file is looked at again.
    """
    if synced.file(c, payload.folder, record.path) != known:
        _look_again(c, job, now)
        return
    synced.put_file(c, payload.folder, record)
    _retire_replaced(c, payload, record.image_id, now)
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
        forget_album(c, album, now=None)
        return True
    if payload.folder == queueing.BY_HAND:
        return False  # it never changes: the rejected job says all there is
    skipped = SkippedFile(
        path=record.path,
        size_bytes=record.size_bytes,
        mtime_ns=record.mtime_ns,
        reason=f"Imgur refused it: {error.message}",
    )
    synced.put_skipped(c, payload.folder, skipped)
    return False


# --- Albums ------------------------------------------------------------------


def create(
    c: Connection, job: Job, payload: CreateAlbumPayload, album: Album, now: float
) -> None:
    """Record an album that was created; its directory's other files go into it."""
    changes.album_created(c, album, images=payload.images, now=now)
    queueing.bind_album(
        c, payload.folder, payload.directory, album.id, title=payload.title
    )
    membership.there(c, album.id, payload.images, now=now)
    _place_all(c, payload, now)
    by_hand.let_go(c, payload.folder, payload.directory)
    queueing.queue_verify(c, album.id, now=now)
    notices.drop(c, f"album:{payload.folder}:{payload.directory.hex()}")
    outbox.finish(c, job.id, now=now, result=_result(album=album.id))


def adopted(c: Connection, job: Job, payload: CreateAlbumPayload, now: float) -> None:
    """Put the images into the album that exists (and is bound) instead.

    If it is gone meanwhile, the creation is looked at again.
    """
    if synced.album_of(c, payload.folder, payload.directory) is None:
        _look_again(c, job, now)
        return
    _place_all(c, payload, now)
    by_hand.let_go(c, payload.folder, payload.directory)
    outbox.cancel(c, job.id, now=now, reason="the account has an album of this title")


def _place_all(c: Connection, payload: CreateAlbumPayload, now: float) -> None:
    belonging = synced.images_of_directory(c, payload.folder, payload.directory)
    for image_id in belonging:
        placing.place(
            c, payload.folder, payload.directory, payload.title, image_id, now=now
        )
    for image_id in set(payload.images) - set(belonging):
        # It left the directory while the album was created.
        placing.displace(c, payload.folder, payload.directory, image_id, now=now)


def members(
    c: Connection,
    job: Job,
    album_id: AlbumId,
    *,
    added: Sequence[ImageId],
    removed: Sequence[ImageId],
    now: float,
) -> None:
    """Record memberships that a call has brought about; queue what is left."""
    membership.there(c, album_id, added, now=now)
    membership.gone(c, album_id, removed, now=now)
    for image_id in added:
        changes.image_added(c, image_id, album_id, now=now)
    for image_id in removed:
        changes.image_removed(c, image_id, album_id, now=now)
    outbox.finish(c, job.id, now=now)
    if membership.has_wishes(c, album_id):
        queueing.queue_members(c, album_id, now=now - limits.ALBUM_QUIET_S)
    queueing.queue_verify(c, album_id, now=now)


def retitled(c: Connection, job: Job, payload: UpdateAlbumPayload, now: float) -> None:
    """Record an album's new title or description."""
    if payload.title is not None:
        changes.album_retitled(c, payload.album_id, payload.title)
    _titled(c, job, entries.node_of_album(c, payload.album_id), now=now)


def image_retitled(
    c: Connection, job: Job, payload: UpdateImagePayload, now: float
) -> None:
    """Record an image's new title or description."""
    _titled(c, job, entries.node_of_image(c, payload.image_id), now=now)


def _titled(c: Connection, job: Job, node: entries.Node | None, *, now: float) -> None:
    outbox.finish(c, job.id, now=now)
    if node is not None and outbox.last_of_group(c, job.grouping) is None:
        # What was set here is on Imgur; listings that were read before may lag.
        edits.hold_title(c, node.inode, until=now + limits.LISTING_LAG_S)


def delete_album(
    c: Connection, job: Job, payload: DeleteAlbumPayload, now: float
) -> None:
    """Record that an album is gone because of us."""
    forget_album(c, payload.album_id, now=now)
    outbox.finish(c, job.id, now=now)


def forget_album(c: Connection, album_id: AlbumId, *, now: float | None) -> None:
    """Forget an album that is gone from Imgur: its directories wait for a new one.

    ``now`` is when we deleted it, None when somebody else did.
    """
    for folder, directory in synced.directories_of_album(c, album_id):
        synced.forget_directory(c, folder, directory, album_id)
        queueing.regroup(c, folder, directory)
    membership.drop_album(c, album_id)
    if entries.node_of_album(c, album_id) is not None:
        changes.album_deleted(c, album_id, now=now)


# --- Deletions ---------------------------------------------------------------


def delete(
    c: Connection,
    job: Job,
    payload: DeleteImagePayload,
    *,
    gone: Collection[tuple[FolderId, bytes]],
    now: float,
) -> None:
    """Record that an image is gone from the account.

    ``gone`` are the files it was when that was decided. One that became it meanwhile
    (the same content came back) has lost its image and is uploaded again.
    """
    albums = [entries.node_of_album(c, album_id) for album_id in payload.albums]
    parents = [Inode(parent) for parent, _ in payload.places]
    parents += [album.inode for album in albums if album is not None]
    changes.image_deleted(c, payload.image_id, now=now, parents=parents)
    membership.drop_image(c, payload.image_id)
    outbox.wake(c, kind=queueing.MEMBERS, error=placing.NOT_LEFT_YET, now=now)
    for folder, path in synced.paths_of(c, payload.image_id):
        file = synced.file(c, folder, path)
        assert file is not None
        synced.forget_file(c, folder, path, payload.image_id)
        if (folder, path) not in gone:
            _upload_again(c, folder, file, now=now)
    outbox.finish(c, job.id, now=now)
    drive.wake_deletions(c, parents, now=now)


def _upload_again(
    c: Connection, folder: FolderId, file: SyncedFile, *, now: float
) -> None:
    title = ""
    if file.directory is not None:
        bound = synced.directories(c, folder).get(file.directory)
        title = bound.title if bound else file.directory.decode("utf-8", "replace")
    payload = UploadPayload(
        folder=folder, path=file.path, directory=file.directory, title=title
    )
    queueing.queue_upload(
        c, payload, lane=Lane.FRESH, size_bytes=file.size_bytes, now=now
    )


def keep_image(
    c: Connection, job: Job, payload: DeleteImagePayload, now: float
) -> None:
    """Forget a file that is gone but leave its image, which others use.

    One that was deleted on the drive is shown there again.
    """
    files = synced.paths_of(c, payload.image_id)
    placing.forget_files(c, payload.image_id, files, now=now)
    drive.restore(c, payload.image_id, payload.places, now=now)
    drive.show_where_held(c, payload.image_id)
    outbox.cancel(
        c, job.id, now=now, reason="the image is in another album as well and is kept"
    )


def _result(**ids: str) -> str:
    return msgspec.json.encode(ids).decode()
