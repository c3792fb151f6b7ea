"""Which images belong into which albums: table ``membership`` of state.db.

State, not events: adding and removing the same picture leaves nothing to do, and from
album A to B to C is from A to C, because only the last wish is kept. ``imgurfs.jobs``
turns what is left into the fewest calls and compares it with what listings show. What
other people put into an album has no row and is none of our business.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from imgurfs.model import AlbumId, ImageId
from imgurfs.store.database import Connection, Row


class Place(enum.StrEnum):
    """Where a membership stands; ``schema`` says what each means."""

    ADDING = "adding"
    THERE = "there"
    REMOVING = "removing"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Membership:
    """One row of the table. ``changed_at`` is an epoch."""

    album_id: AlbumId
    image_id: ImageId
    state: Place
    changed_at: float
    is_seen: bool
    tries: int


def want(c: Connection, album_id: AlbumId, image_id: ImageId, *, now: float) -> bool:
    """Ask for an image to be in an album; return whether a call is needed for it."""
    known = one(c, album_id, image_id)
    if known is not None and known.state in (Place.ADDING, Place.THERE):
        return known.state is Place.ADDING
    # A removal that was never sent is withdrawn; one that was may yet happen.
    if known is not None and known.state is Place.REMOVING and known.tries == 0:
        _put(c, album_id, image_id, Place.THERE, now, is_seen=known.is_seen)
        return False
    _put(c, album_id, image_id, Place.ADDING, now)
    return True


def unwant(c: Connection, album_id: AlbumId, image_id: ImageId, *, now: float) -> bool:
    """Ask for an image not to be in an album; return whether a call is needed."""
    known = one(c, album_id, image_id)
    if known is not None and known.state in (Place.REMOVING, Place.GONE):
        return known.state is Place.REMOVING
    if known is not None and known.state is Place.ADDING and known.tries == 0:
        drop(c, album_id, [image_id])
        return False
    # Without a row it is known from a listing.
    was_seen = known is None or (known.state is Place.THERE and known.is_seen)
    _put(c, album_id, image_id, Place.REMOVING, now, is_seen=was_seen)
    return True


def there(
    c: Connection, album_id: AlbumId, images: Iterable[ImageId], *, now: float
) -> None:
    """Record that Imgur said these images are in the album now.

    One that is not wanted any more stays to be removed.
    """
    for image_id in images:
        known = one(c, album_id, image_id)
        if known is None or known.state is not Place.REMOVING:
            _put(c, album_id, image_id, Place.THERE, now, tries=_tries(known))


def gone(
    c: Connection, album_id: AlbumId, images: Iterable[ImageId], *, now: float
) -> None:
    """Record that Imgur said these images are not in the album any more.

    One that is wanted again is to be added.
    """
    for image_id in images:
        known = one(c, album_id, image_id)
        if known is None:
            continue
        is_wanted = known.state in (Place.ADDING, Place.THERE)
        state = Place.ADDING if is_wanted else Place.GONE
        _put(c, album_id, image_id, state, now, tries=known.tries)


def seen(c: Connection, album_id: AlbumId, images: Collection[ImageId]) -> None:
    """Record that a listing shows these images in the album."""
    c.executemany(
        "UPDATE membership SET is_seen = 1, tries = 0"
        " WHERE album_id = ? AND image_id = ? AND state = 'there'",
        [(album_id, image_id) for image_id in images],
    )


def repeat(c: Connection, membership: Membership, *, now: float) -> None:
    """Send again what a listing does not show: Imgur said yes and did not do it."""
    state = Place.ADDING if membership.state is Place.THERE else Place.REMOVING
    _put(
        c,
        membership.album_id,
        membership.image_id,
        state,
        now,
        tries=max(1, membership.tries),
    )


def tried(c: Connection, album_id: AlbumId, images: Iterable[ImageId]) -> None:
    """Count a call that is to bring these about, before it is sent."""
    c.executemany(
        "UPDATE membership SET tries = tries + 1 WHERE album_id = ? AND image_id = ?",
        [(album_id, image_id) for image_id in images],
    )


def drop(c: Connection, album_id: AlbumId, images: Iterable[ImageId]) -> None:
    """Forget that these memberships are our business."""
    c.executemany(
        "DELETE FROM membership WHERE album_id = ? AND image_id = ?",
        [(album_id, image_id) for image_id in images],
    )


def drop_image(c: Connection, image_id: ImageId) -> None:
    """Forget an image: it is gone from the account."""
    c.execute("DELETE FROM membership WHERE image_id = ?", (image_id,))


def drop_album(c: Connection, album_id: AlbumId) -> None:
    """Forget an album: it is gone from the account."""
    c.execute("DELETE FROM membership WHERE album_id = ?", (album_id,))


def one(c: Connection, album_id: AlbumId, image_id: ImageId) -> Membership | None:
    """Return one membership."""
    row = c.execute(
        "SELECT * FROM membership WHERE album_id = ? AND image_id = ?",
        (album_id, image_id),
    ).fetchone()
    return None if row is None else _membership(row)


def of_album(c: Connection, album_id: AlbumId) -> list[Membership]:
    """Return what is our business in an album, by image id."""
    rows = c.execute(
        "SELECT * FROM membership WHERE album_id = ? ORDER BY image_id", (album_id,)
    )
    return [_membership(row) for row in rows]


def of_image(c: Connection, image_id: ImageId) -> list[Membership]:
    """Return where an image is our business, by album id."""
    rows = c.execute(
        "SELECT * FROM membership WHERE image_id = ? ORDER BY album_id", (image_id,)
    )
    return [_membership(row) for row in rows]


def has_images(c: Connection, album_id: AlbumId) -> bool:
    """Whether an album has images, as far as they are our business."""
    row = c.execute(
        "SELECT 1 FROM membership WHERE album_id = ? AND state IN ('adding', 'there')"
        " LIMIT 1",
        (album_id,),
    ).fetchone()
    return row is not None


def has_wishes(c: Connection, album_id: AlbumId) -> bool:
    """Whether a call is needed for any image of an album."""
    row = c.execute(
        "SELECT 1 FROM membership WHERE album_id = ?"
        " AND state IN ('adding', 'removing') LIMIT 1",
        (album_id,),
    ).fetchone()
    return row is not None


def _tries(known: Membership | None) -> int:
    return 0 if known is None else known.tries


def _put(
    c: Connection,
    album_id: AlbumId,
    image_id: ImageId,
    state: Place,
    now: float,
    *,
    tries: int = 0,
    is_seen: bool = False,
) -> None:
    c.execute(
        "INSERT OR REPLACE INTO membership"
        " (album_id, image_id, state, changed_at, is_seen, tries)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (album_id, image_id, state.value, now, is_seen, tries),
    )


def _membership(row: Row) -> Membership:
    return Membership(
        album_id=AlbumId(row["album_id"]),
        image_id=ImageId(row["image_id"]),
        state=Place(row["state"]),
        changed_at=row["changed_at"],
        is_seen=bool(row["is_seen"]),
        tries=row["tries"],
    )
