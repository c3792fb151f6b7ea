"""Finds late twins: images that an upload made which was thought lost, and sent again.

Only what carries this machine's own part in its marker, only beside an image that an
upload is known to have made, and only when the outbox remembers a second attempt.
Another machine's images are never touched. The deletion passes through grace, guard and
undo like any other.
"""

from __future__ import annotations

from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload
from imgurfs.marker import parse_marker
from imgurfs.model import ImageId
from imgurfs.store import nodes, outbox, synced
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


def _queue(c: Connection, image_id: ImageId, *, now: float, grace_s: float) -> bool:
    key = queueing.delete_key(image_id)
    if outbox.settled_with_key(c, key, JobState.CANCELLED):
        return False  # the user wanted it to stay
    payload = DeleteImagePayload(None, image_id, is_twin=True)
    return queueing.queue_delete(c, payload, now=now, grace_s=grace_s) is not None
