"""Which image a content already is: the same bytes are never sent twice.

By the merge base (a file with this digest became an image) or by the account itself:
an image's name carries a marker with the content's part, whoever sent it, so a lost
state.db is rebuilt, and a second machine joins in, without an upload.
"""

from __future__ import annotations

from imgurfs.marker import content_part, parse_marker
from imgurfs.model import ImageId
from imgurfs.store import entries, meta, nodes, synced
from imgurfs.store.database import Connection


def image_with(
    c: Connection, digest: bytes, *, may_share: bool = True
) -> ImageId | None:
    """Return an image of the account with this content, None when there is none.

    Without ``may_share`` only one that no file is yet.
    """
    for _, file in synced.with_digest(c, digest):
        if may_share and not is_gone(c, file.image_id):
            return file.image_id
    part = content_part(digest)
    for image_id, name in nodes.images_named_like(c, f"~{part}"):
        found = parse_marker(name)
        if found is None or found.content != part:
            continue
        if may_share or not synced.paths_of(c, image_id):
            return image_id
    return None


def is_gone(c: Connection, image_id: ImageId) -> bool:
    """Whether a complete listing has shown that an image does not exist any more."""
    was_listed = meta.get(c, "images_listed_at") is not None
    return was_listed and entries.node_of_image(c, image_id) is None
