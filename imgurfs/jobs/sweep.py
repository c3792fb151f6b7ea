"""Finds late twins: images that an upload made which was thought lost, and sent again.

Only what carries this machine's own part in its marker, only beside an image that an
upload is known to have made, and only when the outbox remembers a second attempt.
Another machine's images are never touched. The deletion passes through grace, guard and
undo like any other; when it is sent, :func:`beside` must still find another image.
"""

from __future__ import annotations

from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload
from imgurfs.marker import parse_marker
from imgurfs.model import ImageId
from imgurfs.store import entries, nodes, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import JobState


def sweep(c: Connection, *, device: str, now: float, grace_s: float) -> int:
    """Queue the deletion of late twins; return how many there are.

    ``device`` is this machine's part of markers (``marker.device_part``). Call it after
    a complete listing of the account's images.
    """
    groups: dict[str, list[ImageId]] = {}
    for image_id, name in nodes.images_marked(c):
        found = parse_marker(name)
        if found is not None and found.device == device:
            groups.setdefault(str(found), []).append(image_id)
    swept = 0
    for marker, images in groups.items():
        if len(images) < 2 or not outbox.was_repeated(c, marker):
            continue
        if outbox.unknown_with_marker(c, marker):
            continue  # one of them may be what that upload made
        made = outbox.results(c, kind=queueing.UPLOAD, marker=marker)
        free = [
            one
            for one in images
            if not synced.paths_of(c, one) and f'{{"image":"{one}"}}' not in made
        ]
        if len(free) == len(images):
            continue
        for image_id in free:
            swept += _queue(c, image_id, now=now, grace_s=grace_s)
    return swept


def beside(c: Connection, image_id: ImageId) -> list[ImageId]:
    """Return the images one of which must be there when a late twin is deleted.

    Those that carry its marker, and that nobody wants to delete. Since it was swept the
    user may have removed one of the two and mean to keep the other.
    """
    node = entries.node_of_image(c, image_id)
    mark = parse_marker(node.image.name) if node and node.image else None
    if mark is None:
        return []
    return [
        one
        for one, name in nodes.images_marked(c, mark.content)
        if one != image_id and parse_marker(name) == mark and _is_to_stay(c, one)
    ]


def _is_to_stay(c: Connection, image_id: ImageId) -> bool:
    node = entries.node_of_image(c, image_id)
    is_shown = node is not None and not node.is_hidden
    return is_shown and outbox.by_key(c, queueing.delete_key(image_id)) is None


def _queue(c: Connection, image_id: ImageId, *, now: float, grace_s: float) -> bool:
    key = queueing.delete_key(image_id)
    if outbox.settled_with_key(c, key, JobState.CANCELLED):
        return False  # the user wanted it to stay
    payload = DeleteImagePayload(None, image_id, is_twin=True)
    return queueing.queue_delete(c, payload, now=now, grace_s=grace_s) is not None
