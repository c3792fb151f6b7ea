"""What is written when a job from the drive is over; :mod:`imgurfs.jobs.settle`'s twin.

Every function runs inside one ``Database.write``. While the call was in the air the
user may have renamed, moved, linked, unlinked or rewritten the file: the tree says what
is wanted now, the payload what was sent, and the difference is queued here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from imgurfs.jobs import content, drive, drive_texts, placing, queueing
from imgurfs.jobs.queueing import (
    DRIVE,
    CreateAlbumPayload,
    DeleteAlbumPayload,
    DeleteImagePayload,
    UpdateAlbumPayload,
    UploadPayload,
)
from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import (
    drafts,
    edits,
    entries,
    identity,
    membership,
    notices,
    outbox,
    synced,
)
from imgurfs.store.database import Connection
from imgurfs.store.drafts import DraftState
from imgurfs.store.entries import Node
from imgurfs.store.membership import Place
from imgurfs.store.outbox import Job

# --- Uploads -----------------------------------------------------------------


def uploaded(
    c: Connection, job: Job, payload: UploadPayload, *, image: Image, now: float
) -> None:
    """Record that a file's content is an image now; queue what follows from that."""
    inode = Inode(payload.inode)
    node = entries.node(c, inode)
    sent_to = payload.album_id
    if sent_to is not None:
        membership.there(c, sent_to, [image.id], now=now)
        queueing.queue_verify(c, sent_to, now=now)
    if node is None or node.image is None:
        # Nobody wants it any more, and nobody has it open.
        made = entries.put_image(c, image, now=now)
        entries.mark_in_account(c, [made])
        edits.hide_image(c, made)
        drafts.discard(c, payload.path.decode())
        _delete(c, image.id, payload, now=now)
    else:
        _assign(c, payload, node, image, now=now)
    outbox.finish(c, job.id, now=now, result=_result(image=image.id))
    drive.wake_images(c, now=now)


def _assign(
    c: Connection, payload: UploadPayload, node: Node, image: Image, *, now: float
) -> None:
    """Let the file be the image, under the names and in the albums it has by now."""
    assert node.image is not None
    inode, before = node.inode, node.image
    homes = drive.homes(c, inode)
    names = [name for _, name, _ in entries.entries_of(c, inode)]
    identity.assign_image(
        c,
        inode,
        replace(image, title=image.title or payload.title),
        now=now,
        digest=payload.sent.digest if payload.sent else b"",
        left=_left(c, payload, homes),
    )
    replaced = _settle_draft(c, payload, is_wanted=bool(names), now=now)
    if not names:
        _delete(c, image.id, payload, now=now)
    else:
        _place(c, payload, homes, image.id, now=now)
        drive_texts.tell_names(c, payload, node, image.id, now=now)
    for old in {before.id, replaced} - {image.id, ImageId("")}:
        _retire(c, old, payload, homes, now=now)


def _left(c: Connection, payload: UploadPayload, homes: drive.Homes) -> list[Inode]:
    """Return where the file was when it was sent and is not any more."""
    was = ROOT_INODE
    if payload.album_id is not None:
        album = entries.node_of_album(c, payload.album_id)
        was = album.inode if album else ROOT_INODE
    return [] if was in homes.inodes else [was]


def _settle_draft(
    c: Connection, payload: UploadPayload, *, is_wanted: bool, now: float
) -> ImageId:
    """Let the content be compared with the CDN's; return what its file replaced.

    A file that was rewritten meanwhile keeps its newer content, and what it replaces
    waits for that.
    """
    draft = drive.draft_of(c, payload)
    if draft is None:
        return ImageId("")
    replaced = draft.replaces
    if draft.state is DraftState.WAITING or not is_wanted:
        drafts.put(
            c,
            replace(
                draft,
                state=DraftState.SENT,
                replaces=ImageId(""),
                error="",
                changed_at=now,
            ),
        )
        return replaced
    return ImageId("")


def _place(
    c: Connection,
    payload: UploadPayload,
    homes: drive.Homes,
    image_id: ImageId,
    *,
    now: float,
) -> None:
    """Wish the image into the albums it is shown in, and out of the others."""
    for inode, album_id in homes.albums:
        if album_id == payload.album_id:
            entries.count_images(c, inode, 1, cover=image_id)
        elif membership.want(c, album_id, image_id, now=now):
            queueing.queue_members(c, album_id, now=now)
    _leave_others(c, homes, image_id, now=now)


def _leave_others(
    c: Connection, homes: drive.Homes, image_id: ImageId, *, now: float
) -> None:
    """Wish an image out of the albums it is not shown in."""
    wanted = {album_id for _, album_id in homes.albums}
    for one in membership.of_image(c, image_id):
        if one.album_id in wanted or one.state is Place.GONE:
            continue
        if membership.unwant(c, one.album_id, image_id, now=now):
            queueing.queue_members(c, one.album_id, now=now)


def found(
    c: Connection,
    job: Job,
    payload: UploadPayload,
    *,
    known: ImageId,
    digest: bytes,
    now: float,
) -> None:
    """Let a file's names lead to an image of the same content: nothing is sent.

    Whoever has the file open keeps its bytes, and is told that it is gone when they
    write to it.
    """
    inode = Inode(payload.inode)
    image = fitting(c, inode, known)
    node, draft = entries.node(c, inode), drive.draft_of(c, payload)
    if draft is not None and draft.state is not DraftState.WAITING:
        draft = None  # it was written to meanwhile
    if image is None or draft is None or node is None or node.image is None:
        outbox.requeue(c, job.id, not_before=now, error="", is_counted=False)
        return
    placing.keep_without_files(c, known, now=now)
    queueing.cancel_delete(c, known, now=now)
    drive.take_over_times(c, node, image)
    if image.is_hidden:
        edits.show_again(c, image.inode)
        drive_texts.tell_again(c, image, now=now)
    edits.set_digest(c, image.inode, digest)
    for parent, name, _ in entries.entries_of(c, inode):
        edits.drop_entry(c, parent, inode)
        edits.add_entry(c, parent, image.inode, name)
        drive.enter(c, parent, known, now=now)
    # One that had lost its last name may still be in the albums it had them in.
    homes = drive.homes(c, image.inode)
    _leave_others(c, homes, known, now=now)
    old = {node.image.id, draft.replaces}
    drafts.drop(c, inode)
    drafts.discard(c, draft.spool_name)
    if node.image.id:
        edits.hide_image(c, inode)
    else:
        entries.remove(c, inode)
    for image_id in old - {known, ImageId("")}:
        _retire(c, image_id, payload, homes, now=now)
    outbox.cancel(c, job.id, now=now, reason=f"the content is image {known} already")
    drive.wake_images(c, now=now)


def fitting(c: Connection, inode: Inode, known: ImageId) -> Node | None:
    """Return an image if a file's names can lead to it instead; None if they cannot.

    One that is shown cannot be twice in a directory, nor in the root and in an album.
    One whose deletion waits can be anywhere again; one whose deletion was sent cannot.
    """
    image = entries.node_of_image(c, known)
    if image is None or image.inode == inode:
        return None
    if content.is_gone(c, known) or content.is_going(c, known):
        return None
    if image.draft is not None and image.draft.state not in drafts.ON_IMGUR:
        return None  # it is being changed
    there, here = drive.homes(c, image.inode), drive.homes(c, inode)
    if not here.inodes:
        return None
    if image.is_hidden:
        return image
    is_in_albums = there.inodes and not there.is_in_root and not here.is_in_root
    return image if is_in_albums and not there.inodes & here.inodes else None


def is_unchanged(c: Connection, inode: Inode, digest: bytes) -> bool:
    """Whether a content is that of its file's image, which stays."""
    node = entries.node(c, inode)
    if node is None or node.image is None or content.is_going(c, node.image.id):
        return False
    return inode in entries.images_with_digest(c, digest)


def unchanged(
    c: Connection, job: Job, payload: UploadPayload, *, digest: bytes, now: float
) -> None:
    """Record that a file was written to and is the image it was: nothing is sent.

    If that image has gone meanwhile, the file is looked at again.
    """
    if not is_unchanged(c, Inode(payload.inode), digest):
        outbox.requeue(c, job.id, not_before=now, error="", is_counted=False)
        return
    replaced = _settle_draft(c, payload, is_wanted=True, now=now)
    if replaced:
        homes = drive.homes(c, Inode(payload.inode))
        _retire(c, replaced, payload, homes, now=now)
    outbox.cancel(c, job.id, now=now, reason="the content is what it was")
    drive.wake_images(c, now=now)


def withdrawn(c: Connection, job: Job, now: float) -> None:
    """Withdraw an upload: the file is another one by now, or has no name any more."""
    outbox.cancel(c, job.id, now=now, reason="the file was changed or removed")
    drive.wake_images(c, now=now)


def refused(
    c: Connection, job: Job, payload: UploadPayload, error: str, now: float
) -> None:
    """Withdraw an upload that cannot be sent; the bytes stay here."""
    drive.refuse(c, payload, error, now=now)
    outbox.cancel(c, job.id, now=now, reason=error)
    drive.wake_images(c, now=now)


def _retire(
    c: Connection,
    image_id: ImageId,
    payload: UploadPayload,
    homes: drive.Homes,
    *,
    now: float,
) -> None:
    """Queue the end of an image whose file, in these homes, is another one now."""
    node = entries.node_of_image(c, image_id)
    if node is None or (node.links and not node.is_hidden):
        return
    if synced.paths_of(c, image_id):
        # A watched folder has it as well: it is shown again.
        drive.restore(c, image_id, (), now=now)
        return
    for one in membership.of_image(c, image_id):
        if one.state is Place.ADDING:
            membership.unwant(c, one.album_id, image_id, now=now)
    deletion = DeleteImagePayload(
        DRIVE,
        image_id,
        is_replaced=True,
        albums=tuple(album_id for _, album_id in homes.albums),
    )
    queueing.queue_delete(c, deletion, now=now, grace_s=payload.grace_s)


def _delete(
    c: Connection, image_id: ImageId, payload: UploadPayload, *, now: float
) -> None:
    deletion = DeleteImagePayload(DRIVE, image_id)
    queueing.queue_delete(c, deletion, now=now, grace_s=payload.grace_s)


# --- Albums ------------------------------------------------------------------


def created(
    c: Connection, job: Job, payload: CreateAlbumPayload, album: Album, now: float
) -> None:
    """Record that an album exists; what was put into it meanwhile goes into it."""
    inode = Inode(payload.inode)
    before = entries.node(c, inode)
    outbox.finish(c, job.id, now=now, result=_result(album=album.id))
    notices.drop(c, drive.album_notice(inode))
    membership.there(c, album.id, payload.images, now=now)
    if before is None or before.album is None:
        made = entries.put_album(c, album, now=now)
        edits.hide_album(c, made)
    else:
        identity.assign_album(c, inode, album, now=now)
    if before is None or before.album is None or before.is_hidden:
        deletion = DeleteAlbumPayload(album.id, payload.title)
        queueing.queue_delete_album(c, deletion, now=now)
        return
    if payload.images:
        queueing.queue_verify(c, album.id, now=now)
    _tell_texts(c, payload, inode, before.album, album.id, now=now)
    _fill(c, payload, inode, album.id, now=now)
    drive.wake_uploads(c, inode, now=now)


def _tell_texts(
    c: Connection,
    payload: CreateAlbumPayload,
    inode: Inode,
    before: Album,
    album_id: AlbumId,
    *,
    now: float,
) -> None:
    title = before.title if before.title != payload.title else None
    description = before.description or None
    if title is None and description is None:
        return
    edits.hold_title(
        c, inode, title=title, description=description, until=edits.PENDING
    )
    texts = UpdateAlbumPayload(album_id, title=title, description=description)
    queueing.queue_update_album(c, texts, now=now)


def _fill(
    c: Connection,
    payload: CreateAlbumPayload,
    inode: Inode,
    album_id: AlbumId,
    *,
    now: float,
) -> None:
    inside = images_in(c, inode)
    needs_call = [
        membership.want(c, album_id, image_id, now=now)
        for image_id in inside
        if image_id not in payload.images
    ]
    needs_call += [
        membership.unwant(c, album_id, image_id, now=now)
        for image_id in payload.images
        if image_id not in inside
    ]
    if any(needs_call):
        queueing.queue_members(c, album_id, now=now)


def images_in(c: Connection, album: Inode) -> list[ImageId]:
    """Return the images Imgur knows that the drive shows in an album, as they came."""
    nodes: Iterable[Node] = (one.node for one in entries.children(c, album))
    return [node.image.id for node in nodes if node.image and node.image.id]


def kept_album(
    c: Connection, job: Job, payload: DeleteAlbumPayload, count: int, now: float
) -> None:
    """Show an album again that is not empty any more, and say why."""
    drive.restore_album(c, payload, now=now)
    text = (
        f"album {payload.name!r} was removed on the drive, but somebody has put"
        f" {count} image(s) into it on Imgur: it is shown again"
    )
    notices.put(c, f"album:{payload.album_id}", text)
    outbox.cancel(c, job.id, now=now, reason="the album is not empty")


def _result(**ids: str) -> str:
    return msgspec.json.encode(ids).decode()
