"""What is wished of an album, against one listing of it. Only ``fold`` uses this.

A listing tells what Imgur has; the drive shows that with our wishes on top. A wish wins
over a listing that cannot have heard of it: one that no call has brought about, or that
a call has brought about less than the listings' lag before this one began. Wishes that
the listing shows fulfilled are noted as such, so that listings are believed again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from imgurfs import limits
from imgurfs.model import AlbumId, ImageId
from imgurfs.store import membership
from imgurfs.store.database import Connection
from imgurfs.store.membership import Membership, Place


@dataclass(frozen=True, slots=True)
class Wishes:
    """Which images stay in an album and which stay out, whatever the listing shows."""

    inside: frozenset[ImageId]
    outside: frozenset[ImageId]


def compare(
    c: Connection,
    album_id: AlbumId,
    listed: Collection[ImageId],
    *,
    began_at: float,
    is_first: bool,
) -> Wishes:
    """Return what a listing must not change; note which wishes it shows fulfilled.

    ``is_first``: the album was never listed before.
    """
    inside: set[ImageId] = set()
    outside: set[ImageId] = set()
    there: list[ImageId] = []
    seen: list[ImageId] = []
    over: list[ImageId] = []
    for row in membership.of_album(c, album_id):
        is_late = row.changed_at + limits.LISTING_LAG_S > began_at
        is_listed = row.image_id in listed
        match row.state:
            case Place.ADDING:
                inside.add(row.image_id)
                if is_listed and is_first and not row.tries:
                    there.append(row.image_id)  # it was there before we asked
            case Place.THERE if is_listed:
                if not is_late:
                    seen.append(row.image_id)
            case Place.THERE if is_late or not row.is_seen:
                inside.add(row.image_id)
            case Place.THERE:
                # Somebody else has taken it out: whoever puts it back has to ask.
                over.append(row.image_id)
            case Place.REMOVING | Place.GONE:
                outside.add(row.image_id)
                if not is_listed and not is_late and _needs_no_call(row):
                    over.append(row.image_id)
    membership.there(c, album_id, there, now=began_at)
    membership.seen(c, album_id, seen)
    membership.drop(c, album_id, over)
    return Wishes(frozenset(inside), frozenset(outside))


def note_holding(
    c: Connection, album_id: AlbumId, image_id: ImageId, *, now: float
) -> None:
    """Note that an album holds an image that was deleted on the drive.

    Who removed its last name may not have known of this one: the album was never
    listed, or somebody has put the image there since. The deletion asks for it.
    """
    if membership.one(c, album_id, image_id) is None:
        membership.there(c, album_id, [image_id], now=now)


def _needs_no_call(row: Membership) -> bool:
    return row.state is Place.GONE or not row.tries
