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
    if node.image is not None:
        set_image(edit, node, title=title, description=description)
    elif node.album is not None:
        set_album(edit, node, title=title, description=description)
    else:
        raise NotAllowedError("the account itself has no title")


def set_image(
    edit: Edit, node: Node, *, title: str | None = None, description: str | None = None
) -> None:
    """Give an image another title or description, if it has not got it."""
    image = node.image
    assert image is not None
    title = None if title == image.title else title
    description = None if description == image.description else description
    if title is None and description is None:
        return
    edits.hold_title(
        edit.c, node.inode, title=title, description=description, until=math.inf
    )
    edit.touch_file(node.inode)
    if image.id:
        payload = UpdateImagePayload(image.id, title=title, description=description)
        queueing.queue_update_image(edit.c, payload, now=edit.now)


def set_album(
    edit: Edit, node: Node, *, title: str | None = None, description: str | None = None
) -> None:
    """Give an album another title or description, if it has not got it."""
    album = node.album
    assert album is not None
    title = None if title == album.title else title
    description = None if description == album.description else description
    if title is None and description is None:
        return
    edits.hold_title(
        edit.c, node.inode, title=title, description=description, until=math.inf
    )
    edit.touch_file(node.inode)
    if album.id:
        payload = UpdateAlbumPayload(album.id, title=title, description=description)
        queueing.queue_update_album(edit.c, payload, now=edit.now)
