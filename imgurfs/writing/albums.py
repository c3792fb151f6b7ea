"""Albums as directories: made, renamed and removed. Rows and jobs, no calls.

An album that Imgur does not know yet gets its title when it is created there. Used by
:mod:`imgurfs.writing.places` only.
"""

from __future__ import annotations

from imgurfs.errors import NoDirectoryError, NotAllowedError, NotEmptyError
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DRIVE, CreateAlbumPayload, DeleteAlbumPayload
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import edits, entries, outbox
from imgurfs.store.entries import Node
from imgurfs.writing import checks, judge, moves, texts
from imgurfs.writing.checks import Edit
from imgurfs.writing.moves import Name, Seen


def make(edit: Edit, parent: Inode, name: str) -> Inode:
    """Make an album; it may stay empty.

    One with a temporary name stays here, with everything in it.
    """
    c = edit.c
    checks.directory(c, parent)
    checks.free(c, parent, name)
    checks.directory_name(name)
    _flat(parent)
    inode = edits.make_album(c, name, now=edit.now)
    edits.add_entry(c, ROOT_INODE, inode, name)
    edit.touch_directory(ROOT_INODE)
    if not judge.is_temporary(name):
        _create(edit, inode, name)
    return inode


def remove(edit: Edit, parent: Inode, name: str) -> Inode:
    """Delete an album that has nothing in it."""
    checks.directory(edit.c, parent)
    node = checks.found_album(edit.c, parent, name)
    _remove(edit, node, name)
    edit.touch_directory(parent)
    return node.inode


def rename(edit: Edit, node: Node, new: Name, seen: Seen) -> None:
    """Give an album another title; an empty one of that name makes room.

    What is in a directory that is an album from now on is uploaded into it, and what
    waits in one that is none any more stays here.
    """
    c, (new_parent, new_name) = edit.c, new
    checks.directory_name(new_name)
    _flat(new_parent)
    target = entries.child(c, new_parent, new_name)
    if target is not None:
        if target.node.album is None:
            raise NoDirectoryError(f"{new_name!r} is a file")
        _remove(edit, target.node, new_name)
    edits.move_entry(c, ROOT_INODE, node.inode, ROOT_INODE, new_name)
    edit.touch_directory(ROOT_INODE)
    edit.touch_file(node.inode)
    moves.judge_inside(edit, node.inode, seen)
    assert node.album is not None
    if judge.is_temporary(new_name):
        if not node.album.id:
            _call_off_creation(edit, node.inode, "it has a temporary name")
        return
    texts.set_on(edit, node, title=new_name)
    if not node.album.id:
        _create(edit, node.inode, new_name)


def _flat(parent: Inode) -> None:
    if parent != ROOT_INODE:
        raise NotAllowedError("there are no albums in albums")


def _create(edit: Edit, inode: Inode, title: str) -> None:
    payload = CreateAlbumPayload(DRIVE, _slot(inode), title, (), inode=inode)
    queueing.queue_create_album(edit.c, payload, now=edit.now)


def _remove(edit: Edit, node: Node, name: str) -> None:
    c, album = edit.c, node.album
    assert album is not None
    if entries.children(c, node.inode):
        raise NotEmptyError(f"{name!r} has images in it")
    if node.listed_at is None and album.images_count != 0:
        raise NotEmptyError(f"what is in {name!r} has not been listed yet")
    if album.id:
        edits.hide_album(c, node.inode)
        payload = DeleteAlbumPayload(album.id, name)
        queueing.queue_delete_album(c, payload, now=edit.now)
        return
    if _call_off_creation(edit, node.inode, "the album was removed again"):
        entries.remove(c, node.inode)
    else:
        # It is being created: what comes of that is deleted.
        edits.hide_album(c, node.inode)


def _call_off_creation(edit: Edit, inode: Inode, reason: str) -> bool:
    """Let an album not be created; False: the call is in the air."""
    job = outbox.by_key(edit.c, queueing.create_key(DRIVE, _slot(inode)))
    return job is None or outbox.cancel(edit.c, job.id, now=edit.now, reason=reason)


def _slot(inode: Inode) -> bytes:
    """Return what stands for the directory in the jobs of its album."""
    return str(inode).encode()
