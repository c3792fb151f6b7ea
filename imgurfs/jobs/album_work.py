"""Turns album jobs into calls: create one, bring its memberships about, check.

A membership counts when a listing shows it, not when a call was answered: Imgur has
been seen to say yes and to do nothing. What a listing does not show is asked for again
and, in the end, told to the user.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection
from typing import assert_never

import msgspec

from imgurfs import limits
from imgurfs.budget import Grant
from imgurfs.errors import (
    ForbiddenError,
    ImgurfsError,
    NotFoundError,
    OutageError,
    RejectedError,
)
from imgurfs.jobs import content, drive, placing, queueing, settle
from imgurfs.jobs.album_calls import AddImages, RemoveImages, SetImages, cheapest
from imgurfs.jobs.placing import adopt_album
from imgurfs.jobs.queueing import (
    AlbumPayload,
    CreateAlbumPayload,
)
from imgurfs.jobs.steps import Later, Ready, Resolved, Step, Tools, Write
from imgurfs.model import AlbumId, ImageId, RequestClass, RequestKind
from imgurfs.store import drafts, entries, membership, notices, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.membership import Membership, Place
from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)

#: An album that still receives pictures is checked when the last has arrived.
_STILL_FILLING_S = 600.0
#: An image that waits to be deleted leaves its albums by that, which wakes us; this
#: often we look all the same.
_DELETED_PAUSE_S = 60.0
#: So many calls or more, and asking whether one would do for all of them is cheaper.
_WORTH_ASKING = 3


class AlbumWorker:
    """Knows what to do for album jobs. One per drainer."""

    def __init__(self, tools: Tools) -> None:
        self._db = tools.db
        self._api = tools.api
        self._account = tools.account
        self._clock = tools.clock

    # --- Creating ---------------------------------------------------------------

    async def prepare_create(self, job: Job, payload: CreateAlbumPayload) -> Step:
        """Return what is to be done to create an album. Raises RemoteError."""
        await self._account.ensure_albums()
        album = await adopt_album(
            self._db, payload.folder, payload.directory, payload.title
        )
        if album is not None:
            return Resolved(
                lambda c: settle.adopted(c, job, payload, self._clock.now()),
                f"the account has an album {payload.title!r}",
            )
        images = _to_create_with(self._db.reader, payload)
        if not images:
            reason = "nothing belongs into the album any more"
            return Resolved(
                lambda c: settle.cancel(c, job, self._clock.now(), reason),
                reason,
                is_still=lambda c: not _to_create_with(c, payload),
            )
        sent = msgspec.structs.replace(payload, images=images)

        async def send(grant: Grant) -> Write:
            album = await self._api.create_album(
                title=sent.title, images=sent.images, lane=job.lane, grant=grant
            )
            now = self._clock.now()
            return lambda c: settle.create(c, job, sent, album, now)

        return Ready(send, _post(job), payload=queueing.encode(sent))

    # --- Memberships --------------------------------------------------------------

    async def prepare_members(self, job: Job, payload: AlbumPayload) -> Step:
        """Return the next call that brings an album closer to what it should hold.

        Raises RemoteError.
        """
        reader, album_id = self._db.reader, payload.album_id
        await self._list_first(album_id)
        rows = membership.of_album(reader, album_id)
        adds = [m for m in rows if m.state is Place.ADDING]
        wanted = [m for m in rows if m.state is Place.REMOVING]
        removes = [m for m in wanted if self._may_leave(m.image_id)]
        lost = [m.image_id for m in adds if content.is_gone(reader, m.image_id)]
        if lost:
            return Resolved(
                lambda c: self._drop_lost(c, job, album_id, lost),
                "images are gone from the account",
            )
        if not adds and not removes:
            if wanted:
                going = [m.image_id for m in wanted if _is_deleted(reader, m.image_id)]
                return Later(
                    _DELETED_PAUSE_S if going else limits.ALBUM_QUIET_S,
                    placing.NOT_LEFT_YET,
                    is_usual=True,
                    is_still=lambda c: all(_is_deleted(c, one) for one in going),
                )
            return self._finished(job, lambda c: not membership.has_wishes(c, album_id))
        wishes = [m.image_id for m in adds], [m.image_id for m in removes]
        if any(m.tries for m in (*adds, *removes)):
            calls = cheapest(*wishes, None, chunk=1)
        else:
            calls = cheapest(*wishes, None)
            if len(calls) >= _WORTH_ASKING:
                calls = cheapest(*wishes, await self._only_ours(album_id, rows))
        return self._ready_members(job, album_id, calls[0], rows)

    async def _list_first(self, album_id: AlbumId) -> None:
        """List an album that never was: what is to be added may be in it already."""
        node = entries.node_of_album(self._db.reader, album_id)
        if node is not None and node.listed_at is None:
            with contextlib.suppress(NotFoundError, ForbiddenError):
                await self._account.list_album(album_id)

    def _ready_members(
        self,
        job: Job,
        album_id: AlbumId,
        call: AddImages | RemoveImages | SetImages,
        rows: list[Membership],
    ) -> Ready:
        added: tuple[ImageId, ...] = ()
        removed: tuple[ImageId, ...] = ()
        match call:
            case AddImages(images=images):
                added, send_to = images, self._api.add_to_album
            case RemoveImages(images=images):
                removed, send_to = images, self._api.remove_from_album
            case SetImages(images=images):
                added = tuple(m.image_id for m in rows if m.state is Place.ADDING)
                removed = tuple(
                    m.image_id
                    for m in rows
                    if m.state is Place.REMOVING and m.image_id not in images
                )
                send_to = self._api.set_album
            case _:  # pragma: no cover
                assert_never(call)

        async def send(grant: Grant) -> Write:
            await send_to(album_id, images, job.lane, grant)
            now = self._clock.now()
            return lambda c: settle.members(
                c, job, album_id, added=added, removed=removed, now=now
            )

        return Ready(
            send,
            _post(job),
            on_claim=lambda c: membership.tried(c, album_id, (*added, *removed)),
            on_rejected=self._on_rejected(album_id, added, removed),
            # A wish that was dropped would be carried out, and nobody take it back.
            is_still=lambda c: (
                _are(c, album_id, Place.ADDING, added)
                and _are(c, album_id, Place.REMOVING, removed)
                and not (isinstance(call, SetImages) and _has_come(c, album_id, rows))
            ),
        )

    def _on_rejected(
        self,
        album_id: AlbumId,
        added: tuple[ImageId, ...],
        removed: tuple[ImageId, ...],
    ) -> Callable[[Connection, ImgurfsError], bool]:
        """Return what a refusal means: one picture's fault, or the album is gone.

        A call is refused as a whole; repeated, it goes picture by picture.
        """

        def on_rejected(c: Connection, error: ImgurfsError) -> bool:
            named = (*added, *removed)
            if isinstance(error, NotFoundError | ForbiddenError):
                queueing.queue_verify(c, album_id, now=0.0)
            if len(named) == 1:
                membership.drop(c, album_id, named)
                notices.put(
                    c,
                    f"membership:{album_id}:{named[0]}",
                    f"Imgur refused to move image {named[0]} into or out of album"
                    f" {album_id}: {error.message}",
                )
            return True

        return on_rejected

    def _may_leave(self, image_id: ImageId) -> bool:
        """Whether an image may leave an album now: it is where it belongs already.

        One that is about to be deleted leaves by that.
        """
        reader = self._db.reader
        if _is_deleted(self._db.reader, image_id):
            return False
        if any(m.state is Place.ADDING for m in membership.of_image(reader, image_id)):
            return False
        for folder, path in synced.paths_of(reader, image_id):
            file = synced.file(reader, folder, path)
            if file is None or file.directory is None:
                continue
            if synced.album_of(reader, folder, file.directory) is None:
                return False
        return not self._waits_for_album(image_id)

    def _waits_for_album(self, image_id: ImageId) -> bool:
        """Whether an image was put into an album that is being created."""
        node = entries.node_of_image(self._db.reader, image_id)
        if node is None:
            return False
        unborn = drive.homes(self._db.reader, node.inode).unborn
        return any(drive.is_being_created(self._db.reader, one) for one in unborn)

    async def _only_ours(
        self, album_id: AlbumId, rows: list[Membership]
    ) -> list[ImageId] | None:
        """Return the album's content if it may be replaced as a whole, else None.

        What anybody else has put into it would be thrown out: so Imgur is asked just
        before, and no listing is trusted that may lag behind our own last change.
        """
        changed_at = max(
            (m.changed_at for m in rows if m.state in (Place.THERE, Place.GONE)),
            default=0.0,
        )
        kept = sum(m.state in (Place.THERE, Place.ADDING) for m in rows)
        is_late = self._clock.now() < changed_at + limits.LISTING_LAG_S
        if is_late or kept > limits.ALBUM_CALL_IMAGES_MAX:
            return None
        # Who cannot be told what is in it changes it call by call.
        with contextlib.suppress(
            NotFoundError, ForbiddenError, RejectedError, OutageError
        ):
            inside = await self._account.images_in(album_id)
            if {m.image_id for m in rows}.issuperset(inside):
                return inside
        return None

    def _drop_lost(
        self, c: Connection, job: Job, album_id: AlbumId, lost: list[ImageId]
    ) -> None:
        membership.drop(c, album_id, lost)
        now = self._clock.now()
        outbox.requeue(c, job.id, not_before=now, error="", is_counted=False)

    def _finished(self, job: Job, is_still: Callable[[Connection], bool]) -> Resolved:
        return Resolved(
            lambda c: outbox.finish(c, job.id, now=self._clock.now()),
            "everything is in its place",
            is_still=is_still,
        )

    # --- Checking -----------------------------------------------------------------

    async def prepare_verify(self, job: Job, payload: AlbumPayload) -> Step:
        """List an album again and compare. Raises RemoteError."""
        album_id = payload.album_id
        if not membership.of_album(self._db.reader, album_id):
            return self._finished(job, lambda c: not membership.of_album(c, album_id))
        if self._is_filling(album_id):
            return Later(
                _STILL_FILLING_S, "pictures are still being added", is_usual=True
            )
        began_at = self._clock.now()
        try:
            listed = frozenset(await self._account.list_album(album_id))
        except NotFoundError:
            return Resolved(
                lambda c: self._album_is_gone(c, job, album_id), "the album is gone"
            )
        return Resolved(
            lambda c: self._compare(c, job, album_id, listed, began_at), "checked"
        )

    def _is_filling(self, album_id: AlbumId) -> bool:
        for folder, directory in synced.directories_of_album(self._db.reader, album_id):
            turn = queueing.turn_of(folder, directory)
            if outbox.has_unfinished_turn(self._db.reader, turn):
                return True
        node = entries.node_of_album(self._db.reader, album_id)
        return bool(node and drafts.waiting_in(self._db.reader, node.inode))

    def _album_is_gone(self, c: Connection, job: Job, album_id: AlbumId) -> None:
        settle.forget_album(c, album_id, now=None)
        outbox.finish(c, job.id, now=self._clock.now())

    def _compare(
        self,
        c: Connection,
        job: Job,
        album_id: AlbumId,
        listed: frozenset[ImageId],
        began_at: float,
    ) -> None:
        now = self._clock.now()
        outbox.finish(c, job.id, now=now)
        membership.seen(c, album_id, listed)
        is_late = False
        is_repeated = False
        for one in membership.of_album(c, album_id):
            if one.state not in (Place.THERE, Place.GONE):
                continue
            if (one.image_id in listed) == (one.state is Place.THERE):
                if one.state is Place.GONE:
                    membership.drop(c, album_id, [one.image_id])
                continue
            if one.changed_at + limits.LISTING_LAG_S > began_at:
                is_late = True  # listings may lag behind
            elif self._give_up(c, one):
                membership.drop(c, album_id, [one.image_id])
            else:
                membership.repeat(c, one, now=now)
                is_repeated = True
        if is_repeated:
            log.warning("album %s is not as Imgur said; asking again", album_id)
            queueing.queue_members(c, album_id, now=now)
        if is_late:
            queueing.queue_verify(c, album_id, now=now)

    def _give_up(self, c: Connection, one: Membership) -> bool:
        """Whether to stop asking for a membership; the user is told why."""
        if content.is_gone(c, one.image_id):
            return True
        if one.state is Place.THERE and one.is_seen:
            text = (
                f"image {one.image_id} was taken out of album {one.album_id} on Imgur;"
                " it stays out"
            )
        elif one.tries >= limits.ALBUM_TRIES_MAX:
            verb = "put into" if one.state is Place.THERE else "take out of"
            text = f"Imgur does not {verb} album {one.album_id} image {one.image_id}"
        else:
            return False
        log.warning("%s", text)
        notices.put(c, f"membership:{one.album_id}:{one.image_id}", text)
        return True


def _post(job: Job) -> RequestClass:
    return RequestClass(RequestKind.CHANGE, job.lane, is_post=True)


def _is_deleted(c: Connection, image_id: ImageId) -> bool:
    """Whether an image waits for its deletion."""
    return outbox.by_key(c, queueing.delete_key(image_id)) is not None


def _are(
    c: Connection, album_id: AlbumId, state: Place, images: Collection[ImageId]
) -> bool:
    """Whether all these images of an album are in a state."""
    rows = membership.of_album(c, album_id)
    return {m.image_id for m in rows if m.state is state}.issuperset(images)


def _has_come(c: Connection, album_id: AlbumId, rows: list[Membership]) -> bool:
    """Whether an image of ours has come into an album since its rows were read."""
    before = {m.image_id for m in rows if m.state is Place.THERE}
    current = membership.of_album(c, album_id)
    return not before.issuperset(m.image_id for m in current if m.state is Place.THERE)


def _to_create_with(c: Connection, payload: CreateAlbumPayload) -> tuple[ImageId, ...]:
    belonging = synced.images_of_directory(c, payload.folder, payload.directory)
    there = [one for one in belonging if not content.is_gone(c, one)]
    return tuple(there[: limits.ALBUM_CALL_IMAGES_MAX])
