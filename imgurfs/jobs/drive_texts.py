"""What the things of the drive are called on Imgur, when their jobs are over.

Titles and descriptions that were set on the drive are held against listings until a
call has told Imgur. Here is what a job that ends does about that; jobs themselves are
:mod:`imgurfs.jobs.texts`'. For :mod:`imgurfs.jobs.drive` and ``drive_settle``, inside
one ``Database.write``.
"""

from __future__ import annotations

from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import UpdateAlbumPayload, UpdateImagePayload, UploadPayload
from imgurfs.model import ImageId
from imgurfs.store import drive_reads, edits, entries
from imgurfs.store.database import Connection
from imgurfs.store.entries import Node
from imgurfs.store.outbox import Job
from imgurfs.tree import naming


def let_go(c: Connection, job: Job, *, now: float) -> None:
    """Believe listings again about what something is called.

    Not about what is to be deleted: it may come back (:func:`tell_again`).
    """
    if job.kind == queueing.UPDATE_IMAGE:
        image = queueing.decode(job, UpdateImagePayload)
        node = entries.node_of_image(c, image.image_id)
    else:
        album = queueing.decode(job, UpdateAlbumPayload)
        node = entries.node_of_album(c, album.album_id)
    if node is not None and not node.is_hidden:
        edits.hold_title(c, node.inode, until=now)


def tell_again(c: Connection, node: Node, *, now: float) -> None:
    """Queue what an image or album is called that is not deleted after all.

    The change may have been called off because of the deletion.
    """
    if not drive_reads.is_title_held(c, node.inode, now=now):
        return
    if node.album is not None:
        album = UpdateAlbumPayload(
            node.album.id,
            title=node.album.title,
            description=node.album.description or None,
        )
        queueing.queue_update_album(c, album, now=now)
    if node.image is not None:
        image = UpdateImagePayload(
            node.image.id,
            title=node.image.title,
            description=node.image.description or None,
        )
        queueing.queue_update_image(c, image, now=now)


def tell_names(
    c: Connection,
    payload: UploadPayload,
    before: Node,
    image_id: ImageId,
    *,
    now: float,
) -> None:
    """Queue what a new image is called, as far as that was not sent with it."""
    assert before.image is not None
    names = [name for _, name, _ in entries.entries_of(c, before.inode)]
    wanted, description = before.image.title, before.image.description or None
    if not wanted and payload.name and payload.name not in names:
        wanted = _title_of(names[0])
    title = wanted if wanted != payload.title else None
    if title is None and description is None:
        return
    edits.hold_title(
        c, before.inode, title=title, description=description, until=edits.PENDING
    )
    texts = UpdateImagePayload(image_id, title=title, description=description)
    queueing.queue_update_image(c, texts, now=now)


def _title_of(name: str) -> str:
    """Return the title of a name that people gave; "" for one that a program did."""
    title = naming.title_of(name)
    is_typed = title != name and not name.startswith(".")
    return title if is_typed else ""
