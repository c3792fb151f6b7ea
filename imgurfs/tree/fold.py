"""Folding one complete listing of Imgur's into the store, inside one transaction.

Theory of operation. A listing takes many requests, and the other process, or our own
drainer, may change the tree meanwhile. So each fold gets three things: what was known
*before* the first request (``before``), the listing, and what is known now:

* in the listing, unknown before: new;
* in the listing and before, but not now: we removed it meanwhile; stays removed;
* before and now, but not in the listing: it vanished from Imgur; removed, unless
  ``keep_vanished`` says that the listing is not believed (see ``refresh``);
* now, but not before: we added it meanwhile; stays.

What was changed on the drive and has not reached Imgur, or not its listings, is older
than that: the rows say it (deleted: ``gone_at``; called otherwise:
``title_held_until``; just made: ``made_at``), and :mod:`imgurfs.tree.overlay` for what
is in which album. What an upload from the drive has made whose answer nobody has yet
is known, but has no name: it is the file that is shown already.

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
from imgurfs.store import changelog, edits, entries, membership, meta, outbox
from imgurfs.store.database import Connection
from imgurfs.tree import overlay, placing

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
    puts = entries.put_albums(c, taken, now=began_at, as_of=began_at)
    for put in puts.values():
        placing.rename_album(c, put)
    for node in entries.nameless_albums(c):
        assert node.album is not None
        placing.link_album(c, node.inode, node.album)
    vanished = (
        [] if keep_vanished else vanished_albums(c, before, listing, began_at=began_at)
    )
    for album_id in vanished:
        # Or its images would count as held, and could not be deleted any more.
        membership.drop_album(c, album_id)
        inside = placing.empty_album(c, known[album_id])
        if placing.is_hidden(c, known[album_id]):
            edits.gone_now(c, known[album_id], now=began_at)
        else:
            entries.remove(c, known[album_id])
        # The images may have gone with the album.
        entries.doubt_unplaced(c, inside)
    _forget(c, entries.gone_albums(c, until=began_at - limits.LISTING_LAG_S), listing)
    meta.put_time(c, "albums_listed_at", began_at)
    placing.show_in_root(c, unlistable=unlistable)
    changelog.trim(c, limits.CHANGES_KEPT)
    return Folded(sum(put.is_new for put in puts.values()), len(vanished))


def vanished_albums(
    c: Connection,
    before: AbstractSet[AlbumId],
    listing: Collection[AlbumId],
    *,
    began_at: float,
) -> list[AlbumId]:
    """Return the albums known before and now that the listing should show and lacks.

    Not those that are so new that it need not have them, and not those of which Imgur
    has said that they are deleted.
    """
    candidates = before - set(listing)
    candidates -= entries.albums_made_since(c, after=began_at - limits.LISTING_LAG_S)
    return [one for one in entries.account_albums(c) if one in candidates]


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

    ``before`` are the images the drive showed in it. An empty list beside a count that
    is not zero contradicts itself: it removes nothing.
    """
    node = entries.node(c, inode)
    if node is None:
        return Folded(0, 0)
    put = entries.put_albums(c, [album], now=began_at, as_of=began_at)[album.id]
    assert put.inode == inode, "an album's id never changes"
    placing.rename_album(c, put)
    if put.is_hidden:
        _put_images(c, listing.values(), now=began_at, as_of=began_at)
        return Folded(0, 0)
    known = entries.shown(c, inode)
    is_contradiction = not listing and album.images_count > 0
    wishes = overlay.compare(
        c,
        album.id,
        known if is_contradiction else listing,
        began_at=began_at,
        is_first=node.listed_at is None,
    )
    taken = _not_removed_meanwhile(before, known, listing)
    added = _show_members(
        c, node, known, listing, taken, outside=wishes.outside, began_at=began_at
    )
    vanished = (
        []
        if is_contradiction
        else [
            known[one][0]
            for one in known
            if one in before and one not in listing and one not in wishes.inside
        ]
    )
    # What is being written stays where it is written, and is put there when it is sent.
    staying = entries.only_here(c, inode)
    vanished = [member for member in vanished if member not in staying]
    for member in vanished:
        entries.unlink(c, inode, member)
    entries.doubt_unplaced(c, vanished)
    entries.set_listed(c, inode, listed_at=began_at)
    placing.show_in_root(c, unlistable=unlistable)
    return Folded(added, len(vanished))


def _show_members(
    c: Connection,
    node: entries.Node,
    known: Mapping[ImageId, tuple[Inode, int]],
    listing: Mapping[ImageId, Image],
    taken: Collection[Image],
    *,
    outside: AbstractSet[ImageId],
    began_at: float,
) -> int:
    """Show an album's images, but none that is to stay outside; return how many more.

    ``listing`` tells the positions.
    """
    positions = {image_id: position for position, image_id in enumerate(listing)}
    puts = _put_images(c, taken, now=began_at, as_of=began_at)
    marks = outbox.drive_marks_in_doubt(c)
    added = 0
    for image in sorted(taken, key=lambda one: (one.datetime_s, one.id)):
        put = puts[image.id]
        place = (put.inode, positions[image.id])
        is_new = image.id not in known
        if known.get(image.id) == place:
            continue
        if is_new and put.is_hidden:
            assert node.album is not None
            overlay.note_holding(c, node.album.id, image.id, now=began_at)
            continue
        if is_new and image.id in outside:
            continue
        if placing.is_awaited(image, marks) and not entries.entries_of(c, put.inode):
            entries.mark_in_account(c, [put.inode])
            continue
        placing.link_image(c, node.inode, put.inode, put.now, position=place[1])
        added += is_new
    return added


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
    puts = _put_images(c, taken, now=ended_at, as_of=began_at)
    entries.mark_in_account(c, [put.inode for put in puts.values()])
    removed = 0
    if not keep_vanished:
        vanished = vanished_images(c, before, listing, began_at=began_at)
        inodes = [known[one] for one in vanished]
        removed = placing.remove_from_account(c, inodes, now=began_at)
    _forget(c, entries.gone_images(c, until=began_at - limits.LISTING_LAG_S), listing)
    meta.put_time(c, "images_listed_at", began_at)
    placing.show_in_root(c, unlistable=unlistable)
    changelog.trim(c, limits.CHANGES_KEPT)
    return Folded(sum(put.is_new for put in puts.values()), removed)


def vanished_images(
    c: Connection,
    before: AbstractSet[ImageId],
    listing: Collection[ImageId],
    *,
    began_at: float,
) -> list[ImageId]:
    """Return the account's images known before and now that the listing lacks.

    Not those that are so new that it need not have them.
    """
    candidates = before - set(listing)
    candidates -= entries.images_made_since(c, after=began_at - limits.LISTING_LAG_S)
    return [one for one in entries.account_images(c) if one in candidates]


def _forget(c: Connection, gone: Mapping[Id, Inode], listing: Collection[Id]) -> None:
    """Forget what Imgur has deleted and, in time to know it, does not list any more."""
    for one, inode in gone.items():
        if one not in listing:
            entries.remove(c, inode)


def _put_images(
    c: Connection, images: Collection[Image], *, now: float, as_of: float
) -> dict[ImageId, entries.Put[Image]]:
    puts = entries.put_images(c, images, now=now, as_of=as_of)
    for put in puts.values():
        placing.rename_image(c, put)
    return puts


def _not_removed_meanwhile(
    before: AbstractSet[Id], known: Collection[Id], listing: Mapping[Id, Item]
) -> list[Item]:
    return [item for one, item in listing.items() if one in known or one not in before]
