"""What a user, and strangers, do to the account of ``tests.support.overlaid``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import drafts, edits, entries, membership
from imgurfs.store.database import Connection
from imgurfs.store.drafts import Draft, DraftState
from tests.support.overlay_calls import Calling

NAMES = ("a.jpg", "b.jpg", "c.png", "d.jpg")
TITLES = ("A", "B", "C")

T = TypeVar("T")


class Drive(Calling):
    """Somebody edits, and somebody else changes the account on the web.

    Every method takes two numbers that choose among what there is; one that fits
    nothing does nothing.
    """

    #: Whether nobody touches what a listing shows of a call without an answer.
    is_careful = False

    def _directories(self) -> list[Inode]:
        return list(self.without_twins()) if self.is_careful else self.directories()

    def _files(self) -> list[tuple[Inode, str, Inode]]:
        names = self.without_twins()
        return [
            (directory, name, inode)
            for directory, name, inode in self.files()
            if not self.is_careful or name in names.get(directory, {})
        ]

    # --- The user ------------------------------------------------------------------

    def create(self, p: int, q: int) -> None:
        """Write a new file."""
        directory = _pick(self._directories(), p)
        name = NAMES[q % len(NAMES)]
        if directory is None or edits.is_taken(self.db.reader, directory, name):
            return

        def write(c: Connection) -> Inode:
            inode = edits.make_file(c, now=self.now)
            edits.add_entry(c, directory, inode, name)
            self._put_draft(c, inode)
            return inode

        self.queue_upload(self.db.write_blocking(write, is_durable=False))

    def overwrite(self, p: int, _q: int) -> None:
        """Write into a file that is there."""
        found = _pick(self._files(), p)
        if found is not None:
            self.write(lambda c: self._put_draft(c, found[2]))
            self.queue_upload(found[2])

    def _put_draft(self, c: Connection, inode: Inode) -> None:
        old = drafts.get(c, inode)
        generation = 1 if old is None else old.generation + 1
        drafts.put(c, Draft(inode, generation, DraftState.WAITING, 7, self.now))

    def make_directory(self, _p: int, q: int) -> None:
        """Make an album."""
        self.make_album_called(TITLES[q % len(TITLES)])

    def make_album_called(self, title: str) -> None:
        """Make an album, unless there is something of this name."""
        if edits.is_taken(self.db.reader, ROOT_INODE, title):
            return

        def write(c: Connection) -> Inode:
            inode = edits.make_album(c, title, now=self.now)
            edits.add_entry(c, ROOT_INODE, inode, title)
            return inode

        self.queue_create(self.db.write_blocking(write, is_durable=False))

    def remove_directory(self, p: int, _q: int) -> None:
        """Remove an empty album."""
        inode = _pick(self._directories()[1:], p)
        if inode is None or entries.children(self.db.reader, inode):
            return
        node = entries.node(self.db.reader, inode)
        assert node is not None
        assert node.album is not None
        album_id = node.album.id
        is_sent = self._is_sent(inode)
        if album_id:
            self.queue_delete_album(album_id)
        if album_id or is_sent:
            self.write(lambda c: edits.hide_album(c, inode))
        else:
            self.write(lambda c: entries.remove(c, inode))

    def retitle(self, p: int, q: int) -> None:
        """Give a directory another name."""
        self.rename_album(p, TITLES[q % len(TITLES)])

    def rename_album(self, p: int, title: str) -> None:
        """Give a directory this name, unless there is something of it."""
        inode = _pick(self._directories()[1:], p)
        if inode is None or edits.is_taken(self.db.reader, ROOT_INODE, title):
            return
        self._rename(ROOT_INODE, inode, title, title)

    def rename(self, p: int, q: int) -> None:
        """Give a file another name in its directory."""
        found = _pick(self._files(), p)
        name = "new-" + NAMES[q % len(NAMES)]
        if found is None or edits.is_taken(self.db.reader, found[0], name):
            return
        self._rename(found[0], found[2], name, name.split(".")[0])

    def _rename(self, parent: Inode, inode: Inode, name: str, title: str) -> None:
        def write(c: Connection) -> None:
            edits.move_entry(c, parent, inode, parent, name)
            edits.hold_title(c, inode, title=title, until=math.inf)

        self.write(write)
        self.queue_title(inode)

    def move(self, p: int, q: int) -> None:
        """Move a file into another directory, under its name."""
        found, target = _pick(self._files(), p), _pick(self._directories(), q)
        if found is None or target is None:
            return
        parent, name, inode = found
        names = entries.entries_of(self.db.reader, inode)
        is_there = any(target == one for one, _, _ in names)
        if is_there or edits.is_taken(self.db.reader, target, name):
            return
        if target == ROOT_INODE and len(names) > 1:
            return
        self.write(lambda c: edits.move_entry(c, parent, inode, target, name))
        self._wish(inode, parent, is_in=False)
        self._wish(inode, target, is_in=True)

    def link(self, p: int, q: int) -> None:
        """Link a file into one more album."""
        found, target = _pick(self._files(), p), _pick(self._directories()[1:], q)
        if found is None or target is None or found[0] == ROOT_INODE:
            return
        _, name, inode = found
        names = entries.entries_of(self.db.reader, inode)
        is_there = any(target == one for one, _, _ in names)
        if is_there or edits.is_taken(self.db.reader, target, name):
            return
        self.write(lambda c: edits.add_entry(c, target, inode, name))
        self._wish(inode, target, is_in=True)

    def remove(self, p: int, _q: int) -> None:
        """Remove a file."""
        found = _pick(self._files(), p)
        if found is None:
            return
        parent, _, inode = found
        node = entries.node(self.db.reader, inode)
        assert node is not None
        assert node.image is not None
        image_id = node.image.id
        if node.links > 1:
            self.write(lambda c: edits.drop_entry(c, parent, inode))
            self._wish(inode, parent, is_in=False)
            return
        is_sent = self._is_sent(inode)
        if image_id:
            self.write(lambda c: edits.hide_image(c, inode))
            self.queue_delete(image_id)
        elif is_sent:
            self.write(lambda c: edits.drop_entry(c, parent, inode))
        else:
            self.write(lambda c: entries.remove(c, inode))
        self.write(lambda c: drafts.drop(c, inode))

    def _is_sent(self, inode: Inode) -> bool:
        """Whether a call is under way that gives this an id."""
        return any(
            one.kind in ("upload", "create") and one.subject == inode and one.is_applied
            for one in self.calls
        )

    def _wish(self, inode: Inode, directory: Inode, *, is_in: bool) -> None:
        image, album = self._record(inode), self._record(directory)
        if image is None or album is None or not image.id or not album.id:
            return
        image_id, album_id = ImageId(image.id), AlbumId(album.id)
        wish = membership.want if is_in else membership.unwant
        self.write(lambda c: wish(c, album_id, image_id, now=self.now))
        self._queue_members(album_id)

    # --- Strangers -----------------------------------------------------------------

    def appear(self, p: int, q: int) -> None:
        """Somebody uploads a picture on the web, into an album or none."""
        image_id = ImageId(self.fresh_id("web"))
        name = NAMES[q % len(NAMES)]
        self.world.images[image_id] = Image(
            image_id, "image/jpeg", "https://i/y.jpg", 9, int(self.now), title=name
        )
        album_id = _pick([None, *self.world.albums], p)
        if album_id:
            self.world.contents[album_id].append(image_id)
        self.changed()

    def appear_album(self, _p: int, q: int) -> None:
        """Somebody makes an album on the web."""
        album_id = AlbumId(self.fresh_id("walb"))
        title = TITLES[q % len(TITLES)]
        self.world.albums[album_id] = Album(album_id, title, int(self.now))
        self.world.contents[album_id] = []
        self.changed()

    def vanish(self, p: int, _q: int) -> None:
        """Somebody deletes a picture on the web."""
        image_id = _pick(list(self.world.images), p)
        if image_id:
            del self.world.images[image_id]
            for content in self.world.contents.values():
                content[:] = [one for one in content if one != image_id]
            self.changed()

    def vanish_album(self, p: int, _q: int) -> None:
        """Somebody deletes an album on the web."""
        album_id = _pick(list(self.world.albums), p)
        if album_id:
            del self.world.albums[album_id]
            del self.world.contents[album_id]
            self.changed()

    def put_in(self, p: int, q: int) -> None:
        """Somebody puts a picture into an album on the web."""
        image_id = _pick(list(self.world.images), p)
        album_id = _pick(list(self.world.albums), q)
        if image_id and album_id and image_id not in self.world.contents[album_id]:
            self.world.contents[album_id].append(image_id)
            self.changed()

    def take_out(self, p: int, q: int) -> None:
        """Somebody takes a picture out of an album on the web."""
        album_id = _pick(list(self.world.albums), p)
        content = self.world.contents[album_id] if album_id else []
        image_id = _pick(content, q)
        if image_id:
            content.remove(image_id)
            self.changed()

    def call_otherwise(self, p: int, q: int) -> None:
        """Somebody gives a picture another title on the web."""
        image_id = _pick(list(self.world.images), p)
        if image_id:
            image = self.world.images[image_id]
            self.world.images[image_id] = replace(image, title=f"web {NAMES[q % 4]}")
            self.changed()


def _pick(choices: list[T], number: int) -> T | None:
    return choices[number % len(choices)] if choices else None
