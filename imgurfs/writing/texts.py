"""Titles and descriptions that were set on the drive. Rows and jobs, no calls.

What is set shows at once and is held until Imgur has said yes. Used by
:mod:`imgurfs.writing.places` and its neighbours only.
"""

from __future__ import annotations

import math

from imgurfs.errors import NotAllowedError, NotFoundError
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import UpdateAlbumPayload, UpdateImagePayload
from imgurfs.model import Inode
from imgurfs.store import edits, entries
from imgurfs.store.entries import Node
from imgurfs.writing.checks import Edit


def set_text(
    edit: Edit, inode: Inode, *, title: str | None, description: str | None
) -> None:
    """Give whatever it is another title or description; None leaves what it has."""
    node = entries.node(edit.c, inode)
    if node is None:
        raise NotFoundError("it does not exist any more")
    set_on(edit, node, title=title, description=description)


def set_on(
    edit: Edit, node: Node, *, title: str | None = None, description: str | None = None
) -> None:
    """Give an image or album another title or description, if it has not got it."""
    shown = node.image or node.album
    if shown is None:
        raise NotAllowedError("the account itself has no title")
    title = None if title == shown.title else title
    description = None if description == shown.description else description
    if title is None and description is None:
        return
    edits.hold_title(
        edit.c, node.inode, title=title, description=description, until=math.inf
    )
    edit.touch_file(node.inode)
    if not shown.id:
        return  # told when it is made there
    texts = {"title": title, "description": description}
    if node.image is not None:
        image = UpdateImagePayload(node.image.id, **texts)
        queueing.queue_update_image(edit.c, image, now=edit.now)
    elif node.album is not None:
        album = UpdateAlbumPayload(node.album.id, **texts)
        queueing.queue_update_album(edit.c, album, now=edit.now)
