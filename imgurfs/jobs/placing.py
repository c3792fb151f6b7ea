"""Where images belong, as rows: albums for directories, memberships for files.

Called in the transaction that learns of an image's place (an answer, a plan); what has
to be sent for it is queued in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import CreateAlbumPayload, DeleteImagePayload
from imgurfs.model import AlbumId, ImageId
from imgurfs.store import entries, membership, notices, outbox, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.outbox import JobState
from imgurfs.store.synced import FolderId

log = logging.getLogger(__name__)

#: What the changes of an album wait for; a deletion wakes them.
NOT_LEFT_YET: Final = "images have to be in their new albums, or deleted, first"
#: Creations of one album that Imgur refused before its images stay without one.
_ALBUM_REFUSALS_MAX = 3


def place(
    c: Connection,
    folder: FolderId,
    directory: bytes | None,
    title: str,
    image_id: ImageId,
    *,
    now: float,
) -> None:
    """Let an image be in a directory's album; queue what is needed for that."""
    if directory is None:
        return
    album_id = synced.album_of(c, folder, directory)
    if album_id is None:
        _create(c, folder, directory, title, image_id, now=now)
    elif _is_there(c, album_id, image_id):
        membership.there(c, album_id, [image_id], now=now)
    elif membership.want(c, album_id, image_id, now=now):
        queueing.queue_members(c, album_id, now=now)


def displace(
    c: Connection,
    folder: FolderId,
    directory: bytes | None,
    image_id: ImageId,
    *,
    now: float,
) -> None:
    """Take an image out of a directory's album, unless another file keeps it there."""
    if directory is None:
        return
    album_id = synced.album_of(c, folder, directory)
    if album_id is None:
        return
    for other, path in synced.paths_of(c, image_id):
        file = synced.file(c, other, path)
        assert file is not None
        if file.directory is None:
            continue
        if synced.album_of(c, other, file.directory) == album_id:
            return
    if membership.unwant(c, album_id, image_id, now=now):
        queueing.queue_members(c, album_id, now=now)


def forget_files(
    c: Connection,
    image_id: ImageId,
    files: Iterable[tuple[FolderId, bytes]],
    *,
    now: float,
) -> None:
    """Forget that files were an image, which leaves their directories' albums."""
    for folder, path in files:
        file = synced.file(c, folder, path)
        assert file is not None
        synced.forget_file(c, folder, path, image_id)
        displace(c, folder, file.directory, image_id, now=now)


def keep_without_files(c: Connection, image_id: ImageId, *, now: float) -> None:
    """Forget the files that an image waits to be deleted with.

    It is wanted without them, and the next look at their folder would ask for its
    deletion again.
    """
    job = outbox.by_key(c, queueing.delete_key(image_id))
    if job is None:
        return
    folder = queueing.decode(job, DeleteImagePayload).folder
    files = [one for one in synced.paths_of(c, image_id) if one[0] == folder]
    forget_files(c, image_id, files, now=now)


async def adopt_album(
    db: Database, folder: FolderId, directory: bytes, title: str
) -> AlbumId | None:
    """Return the directory's album; bind the only one with its title first."""
    known = synced.album_of(db.reader, folder, directory)
    if known is not None:
        return known
    found = [
        node.album.id
        for node in entries.albums_by_title(db.reader, title)
        if node.album and not is_taken(db.reader, folder, directory, node.album.id)
    ]
    if len(found) != 1:
        return None
    (album_id,) = found
    await db.write(
        lambda c: queueing.bind_album(c, folder, directory, album_id, title=title)
    )
    return album_id


def is_taken(
    c: Connection, folder: FolderId, directory: bytes, album_id: AlbumId
) -> bool:
    """Whether another directory of the folder stands for an album.

    What leaves the one directory would be taken out of the other's album. It happens
    after a renaming that the list of albums does not show yet.
    """
    owners = synced.directories_of_album(c, album_id)
    return any(owner == folder and path != directory for owner, path in owners)


def _create(
    c: Connection,
    folder: FolderId,
    directory: bytes,
    title: str,
    image_id: ImageId,
    *,
    now: float,
) -> None:
    create = CreateAlbumPayload(folder, directory, title, (image_id,))
    key = queueing.create_key(folder, directory)
    if len(outbox.settled_with_key(c, key, JobState.DEAD)) >= _ALBUM_REFUSALS_MAX:
        text = f"album {title!r} cannot be created; its images stay out of it"
        log.error("%s", text)
        notices.put(c, f"album:{folder}:{directory.hex()}", text)
        return
    # A creation that waits takes with it whatever belongs into the album by then.
    queueing.queue_create_album(c, create, now=now)


def _is_there(c: Connection, album_id: AlbumId, image_id: ImageId) -> bool:
    """Whether the last listing of an album, or our own call, shows the image in it."""
    node = entries.node_of_image(c, image_id)
    if node is None or membership.one(c, album_id, image_id) is not None:
        return False
    return album_id in entries.albums_of(c, node.inode)
