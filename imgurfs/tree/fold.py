"""Folding one complete listing of Imgur's into the store, inside one transaction.

Theory of operation. A listing takes many requests, and the other process, or our own
drainer, may change the tree meanwhile. So each fold gets three things: what was known
*before* the first request (``before``), the listing, and what is known now:

* in the listing, unknown before: new;
* in the listing and before, but not now: we removed it meanwhile; stays removed;
* before and now, but not in the listing: it vanished from Imgur; removed, unless
  ``keep_vanished`` says that the listing is not believed (see ``refresh``);
* now, but not before: we added it meanwhile; stays.

Rows are compared before they are written: an unchanged listing writes no rows but its
time. New entries are made in the order (datetime, id), so that the oldest of several
equal titles has the bare name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

from imgurfs import limits
from imgurfs.model import Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import changelog, entries, meta
from imgurfs.store.database import Connection
from imgurfs.tree import placing

Id = TypeVar("Id", AlbumId, ImageId)
Item = TypeVar("Item")

NO_INODES: frozenset[Inode] = frozenset()


@dataclass(frozen=True, slots=True)
class Folded:
    """How many things a fold added to and removed from the tree; for logs and tests."""

    added: int
    removed: int


def fold_albums(
    c: Connection,
    *,
    before: AbstractSet[AlbumId],
    listing: Mapping[AlbumId, Album],
    began_at: float,
    keep_vanished: bool = False,
    unlistable: frozenset[Inode] = NO_INODES,
) -> Folded:
    """Fold a complete album list that was read from ``began_at`` on."""
    known = entries.album_inodes(c)
    taken = _not_removed_meanwhile(before, known, listing)
    puts = entries.put_albums(c, taken)
    for album in sorted(taken, key=lambda one: (one.datetime_s, one.id)):
        put = puts[album.id]
        if put.is_new:
            placing.link_album(c, put.inode, album)
        elif put.is_renamed:
            placing.rename_album(c, put.inode, album)
    vanished = [] if keep_vanished else vanished_albums(c, before, listing)
    for album_id in vanished:
        _remove_album(c, known[album_id])
    meta.put_time(c, "albums_listed_at", began_at)
    placing.show_in_root(c, unlistable=unlistable)
    changelog.trim(c, limits.CHANGES_KEPT)
    return Folded(sum(put.is_new for put in puts.values()), len(vanished))


def vanished_albums(
    c: Connection, before: AbstractSet[AlbumId], listing: Collection[AlbumId]
) -> list[AlbumId]:
    """Return the albums known before and now that the listing does not show."""
    candidates = before - set(listing)
    return [one for one in entries.album_inodes(c) if one in candidates]


def _remove_album(c: Connection, inode: Inode) -> None:
    """Forget an album that is gone from Imgur; its images may have gone with it."""
    inside = [member for member, _ in entries.members(c, inode).values()]
    entries.remove(c, inode)
    entries.doubt_unplaced(c, inside)


def fold_album(
    c: Connection,
    inode: Inode,
    *,
    before: AbstractSet[ImageId],
    album: Album,
    listing: Mapping[ImageId, Image],
    began_at: float,
    unlistable: frozenset[Inode] = NO_INODES,
) -> Folded:
    """Fold one album's content. Does nothing when the album was removed meanwhile.

    An empty list beside a count that is not zero contradicts itself: it removes
    nothing.
    """
    if entries.node(c, inode) is None:
        return Folded(0, 0)
    put = entries.put_albums(c, [album])[album.id]
    assert put.inode == inode, "an album's id never changes"
    if put.is_renamed:
        placing.rename_album(c, inode, album)
    known = entries.members(c, inode)
    taken = _not_removed_meanwhile(before, known, listing)
    positions = {image_id: position for position, image_id in enumerate(listing)}
    puts = _put_images(c, taken, now=began_at)
    for image in sorted(taken, key=lambda one: (one.datetime_s, one.id)):
        place = (puts[image.id].inode, positions[image.id])
        if known.get(image.id) != place:
            placing.link_image(c, inode, place[0], image, position=place[1])
    is_contradiction = not listing and album.images_count > 0
    vanished = (
        []
        if is_contradiction
        else [known[one][0] for one in known if one in before and one not in listing]
    )
    for member in vanished:
        entries.unlink(c, inode, member)
    entries.doubt_unplaced(c, vanished)
    entries.set_listed(c, inode, listed_at=began_at)
    placing.show_in_root(c, unlistable=unlistable)
    return Folded(sum(image.id not in known for image in taken), len(vanished))


def fold_images(
    c: Connection,
    *,
    before: AbstractSet[ImageId],
    listing: Mapping[ImageId, Image],
    began_at: float,
    ended_at: float,
    keep_vanished: bool = False,
    unlistable: frozenset[Inode] = NO_INODES,
) -> Folded:
    """Fold a complete list of the account's images, read between the two times.

    An image that vanished from it is forgotten unless an album still shows it: then
    it is that album's listing that decides.
    """
    known = entries.image_inodes(c)
    taken = _not_removed_meanwhile(before, known, listing)
    puts = _put_images(c, taken, now=ended_at)
    entries.mark_in_account(c, [put.inode for put in puts.values()])
    removed = 0
    if not keep_vanished:
        vanished = vanished_images(c, before, listing)
        removed = entries.remove_from_account(c, [known[one] for one in vanished])
    meta.put_time(c, "images_listed_at", began_at)
    placing.show_in_root(c, unlistable=unlistable)
    changelog.trim(c, limits.CHANGES_KEPT)
    return Folded(sum(put.is_new for put in puts.values()), removed)


def vanished_images(
    c: Connection, before: AbstractSet[ImageId], listing: Collection[ImageId]
) -> list[ImageId]:
    """Return the account's images known before and now that the listing lacks."""
    candidates = before - set(listing)
    return [one for one in entries.account_images(c) if one in candidates]


def _put_images(
    c: Connection, images: Collection[Image], *, now: float
) -> dict[ImageId, entries.Put]:
    puts = entries.put_images(c, images, now=now)
    for put in puts.values():
        if put.is_renamed:
            placing.rename_image(c, put.inode)
    return puts


def _not_removed_meanwhile(
    before: AbstractSet[Id], known: Collection[Id], listing: Mapping[Id, Item]
) -> list[Item]:
    return [item for one, item in listing.items() if one in known or one not in before]
