"""Which image a content already is: the same bytes are never sent twice.

By the merge base (a file with this digest became an image), by what is known of an
image's bytes (it was sent from here, or read through the drive), or by the account
itself: an image's name carries a marker with the content's part, whoever sent it, so a
lost state.db is rebuilt, and a second machine joins in, without an upload.
"""

from __future__ import annotations

from collections.abc import Iterator

from imgurfs.jobs import queueing
from imgurfs.marker import content_part, parse_marker
from imgurfs.model import ImageId
from imgurfs.store import drive_reads, entries, meta, nodes, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import JobState


def image_with(
    c: Connection, digest: bytes, *, may_share: bool = True, may_go: bool = True
) -> ImageId | None:
    """Return an image of the account with this content, None when there is none.

    Without ``may_share`` only one that no file is yet, without ``may_go`` none that
    :func:`is_going`.
    """
    for image_id in candidates(c, digest):
        if not may_share and synced.paths_of(c, image_id):
            continue
        if may_go or not is_going(c, image_id):
            return image_id
    return None


def candidates(c: Connection, digest: bytes) -> Iterator[ImageId]:
    """Yield the images of the account with this content, files' images first.

    Some may be about to be deleted; none is known to be gone.
    """
    seen: set[ImageId] = set()
    part = content_part(digest)
    for _, file in synced.with_digest(c, digest):
        if file.image_id not in seen and not is_gone(c, file.image_id):
            seen.add(file.image_id)
            yield file.image_id
    for inode in entries.images_with_digest(c, digest):
        node = entries.node(c, inode)
        if node is not None and node.image is not None and node.image.id not in seen:
            seen.add(node.image.id)
            yield node.image.id
    for image_id, name in nodes.images_marked(c, part):
        found = parse_marker(name)
        if found is not None and found.content == part and image_id not in seen:
            seen.add(image_id)
            yield image_id


def is_gone(c: Connection, image_id: ImageId) -> bool:
    """Whether Imgur, or a complete listing, says that an image does not exist."""
    if drive_reads.is_deleted(c, image_id):
        return True
    was_listed = meta.get(c, "images_listed_at") is not None
    return was_listed and entries.node_of_image(c, image_id) is None


def is_going(c: Connection, image_id: ImageId) -> bool:
    """Whether a deletion of an image was sent that may have happened, or may yet.

    It cannot be withdrawn. One that only waits can.
    """
    job = outbox.by_key(c, queueing.delete_key(image_id))
    return job is not None and (job.state is not JobState.QUEUED or job.is_doubtful)
