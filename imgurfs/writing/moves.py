"""Links of files: a name that comes, goes or moves, and what the account gets for it.

Rows, wishes and jobs inside one transaction. A file that Imgur does not know yet
needs none: where it belongs is read from the tree when it is uploaded. Used by
:mod:`imgurfs.writing.places` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from imgurfs.errors import (
    CrossAlbumError,
    IsDirectoryError,
    NameTakenError,
    NotAllowedError,
    NotFoundError,
)
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DRIVE, DeleteImagePayload
from imgurfs.model import ROOT_INODE, AlbumId, ImageId, Inode
from imgurfs.store import deletions, drafts, edits, entries, membership
from imgurfs.store.database import Connection
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.store.entries import Node, NodeKind
from imgurfs.store.membership import Place
from imgurfs.tree import naming
from imgurfs.writing import checks, drafting, judge, texts
from imgurfs.writing.checks import Edit

#: A directory and a name in it.
Name: TypeAlias = tuple[Inode, str]

#: Not on Imgur, but it may come to be there. The image whose name such a file takes
#: stays until then.
_COMING: Final = frozenset({DraftState.WRITING, DraftState.WAITING, DraftState.REFUSED})


@dataclass(frozen=True, slots=True)
class Look:
    """How a content begins, as long as its draft is this one."""

    draft: Draft
    head: bytes


#: The contents that were looked at before a name changes.
Seen: TypeAlias = Mapping[Inode, Look]


class SeenChangedError(Exception):
    """The content is not the one that was looked at: to be looked at again."""


def needs_look(c: Connection, inode: Inode, new: Name) -> list[Draft]:
    """Return the drafts whose bytes decide what becomes of them under a new name.

    It is the file's, or those of everything in a directory.
    """
    parent, name = new
    if judge.is_temporary(name) or drafting.is_scratch_place(c, parent):
        return []
    found = [drafts.get(c, inode), *drafts.inside(c, inode, DraftState.SCRATCH)]
    return [one for one in found if one and one.state is DraftState.SCRATCH]


def judge_inside(edit: Edit, directory: Inode, seen: Seen) -> None:
    """Decide what becomes of the files in a directory that has another name now."""
    states = (DraftState.SCRATCH, DraftState.WAITING)
    for draft in drafts.inside(edit.c, directory, *states):
        _judge(edit, draft.inode, seen)


def link(edit: Edit, inode: Inode, new: Name, seen: Seen) -> None:
    """Put an image into one more album."""
    c, (parent, name) = edit.c, new
    checks.directory(c, parent)
    checks.free(c, parent, name)
    node = entries.node(c, inode)
    if node is None or node.links == 0:
        raise NotFoundError("the file does not exist any more")
    if node.kind is not NodeKind.IMAGE:
        raise NotAllowedError("an album has one name only")
    checks.file_name(edit, node, name)
    parents = [one for one, _, _ in entries.entries_of(c, inode)]
    if parent in parents:
        raise NameTakenError("the album has this image already")
    if ROOT_INODE in (parent, *parents):
        raise CrossAlbumError(
            "an image is in the root when it is in no album", hint="use mv"
        )
    edits.add_entry(c, parent, inode, name)
    _judge(edit, inode, seen)
    _enter(edit, node, parent)
    edit.touch_directory(parent)
    edit.touch_file(inode)


def unlink(edit: Edit, parent: Inode, name: str) -> Inode:
    """Take a file's name away; the last one takes the image along."""
    checks.directory(edit.c, parent)
    node = checks.found_file(edit.c, parent, name)
    for image_id in _take_name(edit, node, parent):
        is_replaced = image_id != _id_of(node)
        places = () if is_replaced else ((parent, name),)
        _delete(edit, image_id, is_replaced=is_replaced, places=places)
    edit.touch_directory(parent)
    return node.inode


def move(
    edit: Edit,
    node: Node,
    old: Name,
    new: Name,
    *,
    target: Node | None,
    seen: Seen,
) -> None:
    """Give a file another name, in place of the file that has it now."""
    c, (old_parent, old_name), (new_parent, new_name) = edit.c, old, new
    if target is not None and target.kind is not NodeKind.IMAGE:
        raise IsDirectoryError(f"{new_name!r} is an album")
    checks.file_name(edit, node, new_name)
    if new_parent != old_parent:
        _check_other_links(c, node, old_parent, new_parent)
    replaced = [] if target is None else _take_name(edit, target, new_parent)
    edits.move_entry(c, old_parent, node.inode, new_parent, new_name)
    _judge(edit, node.inode, seen)
    _succeed(edit, node.inode, replaced)
    if new_parent != old_parent:
        _enter(edit, node, new_parent)
        _leave(edit, node, old_parent)
        edit.touch_directory(old_parent)
    _retitle(edit, node, old_name, new_name)
    edit.touch_directory(new_parent)
    edit.touch_file(node.inode)


def _check_other_links(c: Connection, node: Node, old: Inode, new: Inode) -> None:
    others = [one for one, _, _ in entries.entries_of(c, node.inode) if one != old]
    if new in others:
        raise NameTakenError("the album has this image already")
    if new == ROOT_INODE and others:
        raise CrossAlbumError(
            "the image is in another album as well, so it cannot be in the root"
        )


def _judge(edit: Edit, inode: Inode, seen: Seen) -> None:
    """Decide what becomes of a draft under the names its file has by now."""
    draft = drafts.get(edit.c, inode)
    if draft is None:
        return
    head = b""
    if draft.state is DraftState.SCRATCH and not drafting.is_scratch(edit.c, inode):
        look = seen.get(inode)
        if look is None or look.draft != draft:
            raise SeenChangedError
        head = look.head
    rules = drafting.Rules(edit.settings, edit.delete_grace_s)
    drafting.judge_again(edit.c, inode, head=head, rules=rules, now=edit.now)


# --- Losing a name -----------------------------------------------------------------


def _take_name(edit: Edit, node: Node, parent: Inode) -> list[ImageId]:
    """Take one name from a file; return the images that nothing shows any more."""
    edits.drop_entry(edit.c, parent, node.inode)
    edit.touch_file(node.inode)
    if node.links > 1:
        _leave(edit, node, parent)
        if drafting.is_scratch(edit.c, node.inode):
            _judge(edit, node.inode, {})
        return []
    unseen: list[ImageId] = []
    image_id, draft = _id_of(node), node.draft
    if image_id and deletions.is_ours(edit.c, node.inode):
        edits.hide_image(edit.c, node.inode)
        _remember(edit, image_id, parent)
        _forget_wishes(edit, image_id)
        unseen.append(image_id)
    elif image_id:
        # Somebody else's image in our album: it can leave, but not be deleted.
        _leave(edit, node, parent)
    if draft is not None:
        drafting.stop_upload(edit.c, draft, now=edit.now)
        if draft.replaces:
            drafts.put(edit.c, replace(draft, replaces=ImageId("")))
            unseen.append(draft.replaces)
    return unseen


def _succeed(edit: Edit, inode: Inode, replaced: list[ImageId]) -> None:
    """Let a file have taken the place of images: they go when it has been uploaded.

    At once (and with the grace of every deletion), if it never will be.
    """
    draft = drafts.get(edit.c, inode)
    if replaced and draft is not None and draft.state in _COMING and not draft.replaces:
        drafts.put(edit.c, replace(draft, replaces=replaced[0]))
        replaced = replaced[1:]
    for image_id in replaced:
        _delete(edit, image_id, is_replaced=True)


def _delete(
    edit: Edit,
    image_id: ImageId,
    *,
    is_replaced: bool = False,
    places: tuple[Name, ...] = (),
) -> None:
    payload = DeleteImagePayload(
        DRIVE, image_id, is_replaced=is_replaced, places=places
    )
    queueing.queue_delete(edit.c, payload, now=edit.now, grace_s=edit.delete_grace_s)


def _forget_wishes(edit: Edit, image_id: ImageId) -> None:
    """Ask for no more albums for an image that is about to be deleted."""
    for one in membership.of_image(edit.c, image_id):
        if one.state is Place.ADDING and membership.unwant(
            edit.c, one.album_id, image_id, now=edit.now
        ):
            queueing.queue_members(edit.c, one.album_id, now=edit.now)


def _remember(edit: Edit, image_id: ImageId, parent: Inode) -> None:
    """Note that an image is in the album its name was in: it may be given back."""
    album_id = _album_id(edit, parent)
    if album_id and membership.one(edit.c, album_id, image_id) is None:
        membership.there(edit.c, album_id, [image_id], now=edit.now)


# --- Wishes ------------------------------------------------------------------------


def _enter(edit: Edit, node: Node, parent: Inode) -> None:
    """Wish an image into an album, as far as Imgur knows both by now."""
    image_id, album_id = _id_of(node), _album_id(edit, parent)
    if not image_id or not album_id:
        return
    if membership.want(edit.c, album_id, image_id, now=edit.now):
        queueing.queue_members(edit.c, album_id, now=edit.now)


def _leave(edit: Edit, node: Node, parent: Inode) -> None:
    """Wish an image out of an album, as far as Imgur knows both."""
    image_id, album_id = _id_of(node), _album_id(edit, parent)
    if not image_id or not album_id:
        return
    if membership.unwant(edit.c, album_id, image_id, now=edit.now):
        queueing.queue_members(edit.c, album_id, now=edit.now)


def _retitle(edit: Edit, node: Node, old_name: str, new_name: str) -> None:
    """Let visitors see the name the user gave an image of the account."""
    if edit.settings.rename != "title" or not _id_of(node):
        return
    if judge.is_temporary(old_name) or judge.is_temporary(new_name):
        return
    title = naming.title_of(new_name)
    if title != naming.title_of(old_name):
        texts.set_on(edit, node, title=title)


def _id_of(node: Node) -> ImageId:
    return ImageId("") if node.image is None else node.image.id


def _album_id(edit: Edit, parent: Inode) -> AlbumId:
    node = entries.node(edit.c, parent)
    return AlbumId("") if node is None or node.album is None else node.album.id
