"""What a job from the drive is about, as rows: drafts, names, and giving both back.

The counterpart of :mod:`imgurfs.jobs.placing`, which does the same for watched folders.
Everything runs inside ``Database.write``; what only reads may run on the trio thread.
Used by the workers, the guard, ``imgurfs.control`` and ``imgurfs.writing``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from imgurfs.jobs import drive_texts, queueing
from imgurfs.jobs.queueing import (
    DRIVE,
    CreateAlbumPayload,
    DeleteAlbumPayload,
    DeleteImagePayload,
    UploadPayload,
)
from imgurfs.model import ROOT_INODE, AlbumId, ImageId, Inode, Lane
from imgurfs.store import (
    drafts,
    edits,
    entries,
    membership,
    notices,
    outbox,
    outbox_lists,
)
from imgurfs.store.database import Connection
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.store.entries import Node
from imgurfs.store.membership import Place
from imgurfs.store.outbox import Job, JobState
from imgurfs.tree import placing

#: Contents of one file that can be on their way; there is no reason for more than two.
_CONTENTS: Final = 16
_NS_PER_S: Final = 1_000_000_000
#: What deletions wait for while :func:`may_come_back`.
MAY_COME_BACK: Final = "a new file may have its content"


@dataclass(frozen=True, slots=True)
class Homes:
    """The directories a file has names in.

    ``albums`` are those that Imgur knows, in the order of joining; ``unborn`` those it
    does not know yet.
    """

    albums: tuple[tuple[Inode, AlbumId], ...]
    unborn: tuple[Inode, ...]
    is_in_root: bool

    @property
    def inodes(self) -> frozenset[Inode]:
        """All of them."""
        known = [inode for inode, _ in self.albums]
        root = [ROOT_INODE] if self.is_in_root else []
        return frozenset([*known, *self.unborn, *root])


def homes(c: Connection, inode: Inode) -> Homes:
    """Return where a file has names."""
    albums: list[tuple[Inode, AlbumId]] = []
    unborn: list[Inode] = []
    is_in_root = False
    for parent, _, _ in entries.entries_of(c, inode):
        node = entries.node(c, parent)
        if node is None or node.album is None:
            is_in_root = True
        elif node.album.id:
            albums.append((parent, node.album.id))
        else:
            unborn.append(parent)
    return Homes(tuple(albums), tuple(unborn), is_in_root)


def is_held_elsewhere(c: Connection, payload: DeleteImagePayload) -> bool:
    """Whether an album holds the image that was not among its names on the drive."""
    # One that lost its name while it was sent never had another.
    if payload.folder != DRIVE or payload.is_replaced or not payload.places:
        return False
    nodes = [entries.node(c, Inode(parent)) for parent, _ in payload.places]
    known = {node.album.id for node in nodes if node is not None and node.album}
    return any(
        row.state is Place.THERE and row.album_id not in known
        for row in membership.of_image(c, payload.image_id)
    )


def show_where_held(c: Connection, image_id: ImageId) -> None:
    """Show an image in the albums whose listings were read while it was hidden."""
    node = entries.node_of_image(c, image_id)
    for row in membership.of_image(c, image_id):
        album = entries.node_of_album(c, row.album_id)
        if node is None or node.image is None or node.is_hidden or album is None:
            continue
        if row.state is Place.THERE and image_id not in entries.shown(c, album.inode):
            placing.link_image(c, album.inode, node.inode, node.image)


# --- Drafts ------------------------------------------------------------------


def draft_of(c: Connection, payload: UploadPayload) -> Draft | None:
    """Return the draft an upload is to send; None when the file is another by now."""
    draft = drafts.get(c, Inode(payload.inode))
    if draft is None or draft.spool_name.encode() != payload.path:
        return None
    return draft


def refuse(c: Connection, payload: UploadPayload, error: str, *, now: float) -> None:
    """Let a content stay here that is not sent after all, and say why."""
    draft = draft_of(c, payload)
    if draft is not None and draft.state is DraftState.WAITING:
        refused = replace(draft, state=DraftState.REFUSED, error=error, changed_at=now)
        drafts.put(c, refused)


def wait_again(
    c: Connection, payload: UploadPayload, error: str, *, now: float
) -> bool:
    """Let a content that was refused wait for its upload again; False: it is no more.

    It is no more when the file has changed or has no name any more. A file may be
    written over in place: it is what was refused as long as it is so for that error.
    """
    draft = draft_of(c, payload)
    if draft is None or not entries.entries_of(c, draft.inode):
        return False
    if draft.state is not DraftState.REFUSED or draft.error != error:
        return False
    waiting = replace(draft, state=DraftState.WAITING, error="", changed_at=now)
    drafts.put(c, waiting)
    return True


def earlier_in_the_air(c: Connection, job: Job, inode: int) -> bool:
    """Whether another content of the same file may be on its way."""
    prefix = queueing.upload_key(DRIVE, f"{inode}.".encode())
    return any(
        other.id != job.id and other.state is not JobState.QUEUED
        for other in outbox_lists.unfinished_with_prefix(c, prefix, limit=_CONTENTS)
    )


def is_being_created(c: Connection, album: Inode) -> bool:
    """Whether Imgur is going to know an album that was made here."""
    return outbox.by_key(c, creation_key(album)) is not None


def creation_key(album: Inode) -> str:
    """Return the key of the creation of an album that was made here."""
    return queueing.create_key(DRIVE, str(album).encode())


def _upload_key(draft: Draft) -> str:
    return queueing.upload_key(DRIVE, draft.spool_name.encode())


def wake_uploads(c: Connection, album: Inode, *, now: float) -> None:
    """Let the files of an album be sent now that it is clear where they go."""
    for draft in drafts.waiting_in(c, album):
        job = outbox.by_key(c, _upload_key(draft))
        if job is not None and job.state is JobState.QUEUED and job.error:
            outbox.requeue(c, job.id, not_before=now, error="", is_counted=False)


# --- Deletions ----------------------------------------------------------------


def may_come_back(
    c: Connection, job: Job, image_id: ImageId, *, grace_s: float
) -> bool:
    """Whether a file that waits for its upload may be an image that is to be deleted.

    An editor moves a file aside, writes it anew and removes the old one. Whether the
    content is another is known when the file is read; until then the image stays. A
    file that was written after the grace period does not count, or some images would
    stay for ever.
    """
    node = entries.node_of_image(c, image_id)
    if node is None or not node.is_hidden:
        return False
    for draft in drafts.waiting_of_size(c, node.size_bytes):
        upload = outbox.by_key(c, _upload_key(draft))
        is_in_time = draft.changed_at <= job.created_at + grace_s
        if is_in_time and upload is not None and upload.state is JobState.QUEUED:
            return True
    return False


def wake_images(c: Connection, *, now: float) -> None:
    """Let deletions be looked at again, because it is known what a new file is."""
    outbox.wake(c, kind=queueing.DELETE_IMAGE, error=MAY_COME_BACK, now=now)


def wake_deletions(c: Connection, parents: Iterable[int], *, now: float) -> None:
    """Let albums that were removed be deleted, when their last image is."""
    for parent in parents:
        node = entries.node(c, Inode(parent))
        if node is None or node.album is None or not node.is_hidden:
            continue
        job = outbox.by_key(c, queueing.delete_album_key(node.album.id))
        is_waiting = job is not None and job.state is JobState.QUEUED
        if is_waiting and job and not membership.has_images(c, node.album.id):
            outbox.requeue(c, job.id, not_before=now, error="", is_counted=False)


def take_over_times(c: Connection, copy: Node, image: Node) -> None:
    """Let an image that a file was found to be have the times the user knows.

    One that was deleted and comes back is the new file. Else the older file keeps its
    time, unless that is only when Imgur got it and the copy's was set by a program:
    older than the copy itself.
    """
    assert copy.image is not None
    assert image.image is not None
    is_set = copy.mtime_ns < copy.image.datetime_s * _NS_PER_S
    is_imgurs = image.mtime_ns == image.image.datetime_s * _NS_PER_S
    if image.is_hidden or (is_set and is_imgurs):
        edits.touch(
            c,
            image.inode,
            mtime_ns=copy.mtime_ns,
            atime_ns=copy.atime_ns,
            ctime_ns=copy.ctime_ns,
        )


# --- Called off ----------------------------------------------------------------


def restore(
    c: Connection,
    image_id: ImageId,
    places: Iterable[tuple[int, str]],
    *,
    now: float,
) -> None:
    """Give an image its names back, because it is not deleted after all.

    ``places`` are directories and names it had. Where that is not possible any more it
    is found in the root. Harmless for an image that was not deleted on the drive.
    """
    node = entries.node_of_image(c, image_id)
    if node is None or node.image is None or not node.is_hidden:
        return
    edits.show_again(c, node.inode)
    drive_texts.tell_again(c, node, now=now)
    for parent, name in places:
        _give_name(c, Inode(parent), node.inode, image_id, name, now=now)
    if not entries.entries_of(c, node.inode):
        _give_any_name(c, node.inode, image_id)
    _send_after_all(c, node.inode, now=now)


def _send_after_all(c: Connection, inode: Inode, *, now: float) -> None:
    """Queue what was written to a file before it was deleted, and withdrawn then."""
    draft = drafts.get(c, inode)
    if draft is not None and draft.state is DraftState.WAITING:
        queueing.queue_drive_upload(
            c,
            draft,
            lane=Lane.FRESH,
            size_bytes=draft.size_bytes,
            not_before=now,
            now=now,
        )


def enter(c: Connection, parent: Inode, image_id: ImageId, *, now: float) -> None:
    """Wish an image, which has a name in the directory, into its album."""
    node = entries.node(c, parent)
    if node is None or node.album is None or not node.album.id:
        return
    if membership.want(c, node.album.id, image_id, now=now):
        queueing.queue_members(c, node.album.id, now=now)


def _give_name(
    c: Connection,
    parent: Inode,
    inode: Inode,
    image_id: ImageId,
    name: str,
    *,
    now: float,
) -> None:
    if parent != ROOT_INODE and not _is_open_to(c, parent, now=now):
        return
    if any(one == parent for one, _, _ in entries.entries_of(c, inode)):
        return
    edits.add_entry(c, parent, inode, edits.free_name(c, parent, name))
    enter(c, parent, image_id, now=now)


def _is_open_to(c: Connection, parent: Inode, *, now: float) -> bool:
    """Whether an album can have images again; one that waits to be deleted can."""
    node = entries.node(c, parent)
    if node is None or node.album is None:
        return False
    if not node.is_hidden:
        return True
    job = outbox.by_key(c, queueing.delete_album_key(node.album.id))
    reason = "an image in it is not deleted after all"
    if job is None or not outbox.cancel(c, job.id, now=now, reason=reason):
        return False
    restore_album(c, queueing.decode(job, DeleteAlbumPayload), now=now)
    return True


def _give_any_name(c: Connection, inode: Inode, image_id: ImageId) -> None:
    """Show an image in the albums it is in as far as we know, else in the root."""
    node = entries.node(c, inode)
    assert node is not None
    assert node.image is not None
    bare = placing.bare_image_name(node.image)
    albums = [
        entries.node_of_album(c, one.album_id)
        for one in membership.of_image(c, image_id)
        if one.state in (Place.ADDING, Place.THERE)
    ]
    shown = [album.inode for album in albums if album and not album.is_hidden]
    for parent in shown or [ROOT_INODE]:
        name = edits.free_name(c, parent, bare)
        edits.add_entry(c, parent, inode, name, bare=bare)


def restore_album(c: Connection, payload: DeleteAlbumPayload, *, now: float) -> None:
    """Show an album again that is not deleted after all."""
    node = entries.node_of_album(c, payload.album_id)
    if node is None or not node.is_hidden:
        return
    edits.show_again(c, node.inode)
    drive_texts.tell_again(c, node, now=now)
    name = edits.free_name(c, ROOT_INODE, payload.name)
    edits.add_entry(c, ROOT_INODE, node.inode, name)


def called_off(c: Connection, job: Job, reason: str, *, now: float) -> None:
    """Undo on the drive what a job that was given up was to bring about on Imgur.

    ``job`` is settled already: the user cancelled it, or Imgur refused it for good.
    """
    match job.kind:
        case queueing.UPLOAD:
            upload = queueing.decode(job, UploadPayload)
            if queueing.is_from_drive(upload):
                refuse(c, upload, reason, now=now)
        case queueing.CREATE_ALBUM:
            create = queueing.decode(job, CreateAlbumPayload)
            if queueing.is_from_drive(create):
                _stays_here(c, create, reason, now=now)
        case queueing.DELETE_ALBUM:
            restore_album(c, queueing.decode(job, DeleteAlbumPayload), now=now)
        case queueing.DELETE_IMAGE:
            deletion = queueing.decode(job, DeleteImagePayload)
            restore(c, deletion.image_id, deletion.places, now=now)
        case queueing.UPDATE_IMAGE | queueing.UPDATE_ALBUM:
            drive_texts.let_go(c, job, now=now)
        case _:
            pass  # wishes: a listing tells what came of them


def _stays_here(
    c: Connection, payload: CreateAlbumPayload, reason: str, *, now: float
) -> None:
    """Say that an album is on this machine only; its images go without it."""
    inode = Inode(payload.inode)
    node = entries.node(c, inode)
    if node is None or (node.album and node.album.id):
        return
    if node.is_hidden:
        entries.remove(c, inode)  # it was removed while it was created
        return
    text = (
        f"album {payload.title!r} is on this machine only, and its images are uploaded"
        f" without it: {reason}"
    )
    notices.put(c, album_notice(inode), text)
    wake_uploads(c, inode, now=now)


def album_notice(album: Inode) -> str:
    """Return the topic of what there is to say about an album that was made here."""
    return f"album:{DRIVE}:{album}"
