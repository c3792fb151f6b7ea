"""The calls that bring the account of ``tests.support.overlaid`` to what is wished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from imgurfs import limits
from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import drafts, edits, entries, membership
from imgurfs.store.database import Connection
from imgurfs.store.membership import Place
from imgurfs.tree import changes
from tests.support.overlaid import Overlaid


@dataclass(eq=False)
class Call:
    """One call to Imgur: ``apply`` happens there, ``answer`` is what we do then."""

    kind: str
    subject: object
    apply: Callable[[], bool]
    answer: Callable[[Connection], None]
    is_applied: bool = False
    made: str = ""


class Calling(Overlaid):
    """An account with calls under way; each is carried out and answered on demand."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.calls: list[Call] = []
        self._last = 0

    def without_twins(self) -> dict[Inode, dict[str, Inode]]:
        """Return what the drive shows, but for what no answer has told yet.

        A listing shows the result of such a call beside the file it was made of.
        """
        made = {one.made for one in self.calls if one.made}
        tree = self.tree()
        twins = {
            inode
            for names in tree.values()
            for inode in names.values()
            if (record := self._record(inode)) is not None and record.id in made
        }
        return {
            directory: {n: inode for n, inode in names.items() if inode not in twins}
            for directory, names in tree.items()
            if directory not in twins
        }

    def apply(self, index: int) -> None:
        """Let Imgur carry out one of the calls that wait; some have to wait longer."""
        waiting = [call for call in self.calls if not call.is_applied]
        call = waiting[index % len(waiting)]
        is_busy = any(
            one.is_applied and (one.kind, one.subject) == (call.kind, call.subject)
            for one in self.calls
        )
        if is_busy:
            return
        if call.apply():
            call.is_applied = True
            self.changed()

    def answer(self, index: int) -> None:
        """Let the answer of a call that was carried out arrive."""
        applied = [call for call in self.calls if call.is_applied]
        call = applied[index % len(applied)]
        self.calls.remove(call)
        self.write(call.answer)

    def _queue(self, call: Call) -> None:
        is_known = any(
            not one.is_applied and (one.kind, one.subject) == (call.kind, call.subject)
            for one in self.calls
        )
        if not is_known:
            self.calls.append(call)

    def fresh_id(self, prefix: str) -> str:
        """Return an id that was never used."""
        self._last += 1
        return f"{prefix}{self._last:05}"

    def queue_upload(self, inode: Inode) -> None:
        """Send a file's draft."""
        sent: list[tuple[Image, AlbumId | None, int]] = []

        def apply() -> bool:
            c = self.db.reader
            draft, node = drafts.get(c, inode), entries.node(c, inode)
            if draft is None or node is None or node.image is None:
                self.calls.remove(call)
                return False
            parents = [parent for parent, _, _ in entries.entries_of(c, inode)]
            albums = [a for a in entries.albums_of(c, inode) if a in self.world.albums]
            if parents and ROOT_INODE not in parents and not albums:
                if not any(one.kind == "create" for one in self.calls):
                    self._album_is_gone(entries.albums_of(c, inode))
                return False
            name = entries.entries_of(c, inode)[0][1] if parents else "x.jpg"
            image_id = ImageId(self.fresh_id("img"))
            image = Image(
                image_id, "image/jpeg", "https://i/x.jpg", draft.size_bytes,
                int(self.now), title=node.image.title, name=node.image.name or name,
            )  # fmt: skip
            album = albums[0] if albums else None
            self.world.images[image_id] = image
            if album:
                self.world.contents[album].append(image_id)
            sent.append((image, album, draft.generation))
            call.made = image_id
            return True

        call = Call(
            "upload", inode, apply, lambda c: self._uploaded(c, inode, *sent[0])
        )
        self._queue(call)

    def _album_is_gone(self, albums: list[AlbumId]) -> None:
        def forget(c: Connection) -> None:
            for album_id in albums:
                membership.drop_album(c, album_id)
                changes.album_deleted(c, album_id)

        self.write(forget)

    def _uploaded(
        self,
        c: Connection,
        inode: Inode,
        image: Image,
        album_id: AlbumId | None,
        generation: int,
    ) -> None:
        node = entries.node(c, inode)
        assert node is not None
        assert node.image is not None
        self.calls = [
            one for one in self.calls if one.is_applied or one.subject != image.id
        ]
        if image.id not in self.world.images:
            # It was deleted before we knew of it: nothing is lost by sending it again.
            if entries.entries_of(c, inode):
                self.queue_upload(inode)
            elif not node.image.id:
                entries.remove(c, inode)
            return
        album = entries.node_of_album(c, album_id) if album_id else None
        named = album.inode if album else ROOT_INODE
        parents = {parent for parent, _, _ in entries.entries_of(c, inode)}
        left = [named] if named not in parents else []
        edits.assign_image(c, inode, image, now=self.now, left=left)
        if album_id:
            if album:
                entries.count_images(c, album.inode, 1, cover=image.id)
            membership.there(c, album_id, [image.id], now=self.now)
        self._want_all(c, inode, image.id, album_id, is_left=bool(left))
        if not parents:
            self.queue_delete(image.id)
        if node.image.id:
            self.queue_delete(node.image.id)
        draft = drafts.get(c, inode)
        if draft is not None and draft.generation == generation:
            drafts.drop(c, inode)

    def _want_all(
        self,
        c: Connection,
        inode: Inode,
        image_id: ImageId,
        named: AlbumId | None,
        *,
        is_left: bool,
    ) -> None:
        for album_id in entries.albums_of(c, inode):
            if album_id != named:
                membership.want(c, album_id, image_id, now=self.now)
                self._queue_members(album_id)
        if named and is_left:
            membership.unwant(c, named, image_id, now=self.now)
            self._queue_members(named)

    def queue_create(self, inode: Inode) -> None:
        """Create an album that was made here."""
        made: list[Album] = []

        def apply() -> bool:
            node = entries.node(self.db.reader, inode)
            if node is None or node.album is None:
                self.calls.remove(call)
                return False
            album_id = AlbumId(self.fresh_id("alb"))
            made.append(Album(album_id, node.album.title, int(self.now)))
            self.world.albums[album_id] = made[0]
            self.world.contents[album_id] = []
            call.made = album_id
            return True

        def answer(c: Connection) -> None:
            edits.assign_album(c, inode, made[0], now=self.now)
            node = entries.node(c, inode)
            assert node is not None
            if node.is_hidden:
                self.queue_delete_album(made[0].id)
            elif node.album and node.album.title != made[0].title:
                self.queue_title(inode)
            for one in entries.shown(c, inode):
                membership.want(c, made[0].id, one, now=self.now)
            self._queue_members(made[0].id)

        call = Call("create", inode, apply, answer)
        self._queue(call)

    def _queue_members(self, album_id: AlbumId) -> None:
        added: list[ImageId] = []
        removed: list[ImageId] = []

        def apply() -> bool:
            rows = membership.of_album(self.db.reader, album_id)
            content = self.world.contents.get(album_id)
            there = self.world.images
            added.extend(m.image_id for m in rows if m.state is Place.ADDING)
            removed.extend(m.image_id for m in rows if m.state is Place.REMOVING)
            lost = [m.image_id for m in rows if m.image_id not in there]
            if content is None or lost:
                self.write(lambda c: membership.drop(c, album_id, lost))
                if content is None:
                    self._album_is_gone([album_id])
            if content is None or not (set(added) | set(removed)) - set(lost):
                self.calls.remove(call)
                return False
            self.write(lambda c: membership.tried(c, album_id, (*added, *removed)))
            content += [m for m in added if m in there and m not in content]
            content[:] = [m for m in content if m not in removed]
            return True

        def answer(c: Connection) -> None:
            exists = [m for m in added if m in self.world.images]
            membership.there(c, album_id, exists, now=self.now)
            membership.gone(c, album_id, removed, now=self.now)
            for one in exists:
                changes.image_added(c, one, album_id, now=self.now)
            for one in removed:
                changes.image_removed(c, one, album_id, now=self.now)
            self._queue_members(album_id)

        call = Call("members", album_id, apply, answer)
        self._queue(call)

    def queue_delete(self, image_id: ImageId) -> None:
        """Delete an image."""

        def apply() -> bool:
            self.world.images.pop(image_id, None)
            for content in self.world.contents.values():
                content[:] = [one for one in content if one != image_id]
            return True

        def answer(c: Connection) -> None:
            changes.image_deleted(c, image_id, now=self.now)
            membership.drop_image(c, image_id)

        self._queue(Call("delete", image_id, apply, answer))

    def queue_delete_album(self, album_id: AlbumId) -> None:
        """Delete an album."""

        def apply() -> bool:
            self.world.albums.pop(album_id, None)
            self.world.contents.pop(album_id, None)
            return True

        def answer(c: Connection) -> None:
            changes.album_deleted(c, album_id, now=self.now)
            membership.drop_album(c, album_id)

        self._queue(Call("delete album", album_id, apply, answer))

    def queue_title(self, inode: Inode) -> None:
        """Send the title of an album or image, as it is when it is sent."""
        sent: list[str] = []

        def apply() -> bool:
            record = self._record(inode)
            if record is None or not record.id:
                self.calls.remove(call)
                return False
            sent.append(record.title)
            images, albums = self.world.images, self.world.albums
            if record.id in images:
                one = ImageId(record.id)
                images[one] = replace(images[one], title=sent[0])
            elif record.id in albums:
                other = AlbumId(record.id)
                albums[other] = replace(albums[other], title=sent[0])
            return True

        def answer(c: Connection) -> None:
            record = self._record(inode)
            if record is not None and record.title == sent[0]:
                until = self.now + limits.LISTING_LAG_S
                edits.hold_title(c, inode, until=until)

        call = Call("title", inode, apply, answer)
        self._queue(call)

    def _record(self, inode: Inode) -> Image | Album | None:
        node = entries.node(self.db.reader, inode)
        return None if node is None else node.image or node.album

    def verify(self, album_id: AlbumId) -> None:
        """Compare the wishes of an album with what it holds, as the verify job does."""
        listed = self.world.contents.get(album_id, [])

        def compare(c: Connection) -> None:
            for row in membership.of_album(c, album_id):
                if row.changed_at + limits.LISTING_LAG_S > self.now:
                    continue
                if row.state is Place.THERE and row.image_id not in listed:
                    if row.is_seen or row.image_id not in self.world.images:
                        membership.drop(c, album_id, [row.image_id])
                    else:
                        membership.repeat(c, row, now=self.now)
                elif row.state is Place.GONE and row.image_id in listed:
                    membership.repeat(c, row, now=self.now)

        self.write(compare)
        self._queue_members(album_id)
