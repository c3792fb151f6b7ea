"""A watched folder, an account and their merge base in memory, for the planner.

:class:`Account` does what actions ask for, counts the calls and remembers how things
are; :func:`verdicts_of` is what a look would find out about files of a
:class:`~tests.support.planner_disk.Disk`. Written apart from the planner: nothing here
asks it anything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from imgurfs.jobs.album_calls import AddImages, RemoveImages, cheapest
from imgurfs.marker import content_part
from imgurfs.model import AlbumId, ImageId
from imgurfs_daemon import planner
from imgurfs_daemon.planner import (
    Action,
    BoundAlbum,
    KnownFile,
    Policy,
    Remote,
    Slot,
    Synced,
    Verdicts,
    needs_look,
)
from imgurfs_daemon.snapshot import (
    Snapshot,
)
from tests.support.planner_disk import ROOT, Disk, digest_of


@dataclass(slots=True)
class Album:
    """An album of the account."""

    title: str
    images: set[ImageId] = field(default_factory=set)


class Account:
    """Imgur and the merge base; does what a plan says, at once and completely."""

    def __init__(self) -> None:
        self.images: dict[ImageId, int] = {}
        self.albums: dict[AlbumId, Album] = {}
        self.synced = Synced(root=ROOT)
        self.deleted: set[ImageId] = set()
        #: Images left in albums on purpose: the folder keeps them.
        self.kept: set[ImageId] = set()
        self.calls: Counter[str] = Counter()
        self._number = 0

    def new_id(self) -> str:
        """Return an id that was never used."""
        self._number += 1
        return f"id{self._number:05}"

    def remote(self) -> Remote:
        """Return the account as the planner is told of it."""
        titles: defaultdict[str, list[AlbumId]] = defaultdict(list)
        for album_id, album in self.albums.items():
            titles[album.title].append(album_id)
        bound = {known.image_id for known in self.synced.files.values()}
        marked: defaultdict[str, list[ImageId]] = defaultdict(list)
        for image_id, content in self.images.items():
            if image_id not in bound:
                marked[content_part(digest_of(content))].append(image_id)
        return Remote(
            albums={title: tuple(ids) for title, ids in titles.items()},
            marked={content: tuple(ids) for content, ids in marked.items()},
            gone=frozenset(bound - self.images.keys()),
        )

    def is_member(self, album_id: AlbumId, image_id: ImageId) -> bool:
        """Whether an album holds an image."""
        return image_id in self.albums[album_id].images

    def members(self) -> set[tuple[AlbumId, ImageId]]:
        """Return which albums hold which images."""
        return {
            (album_id, image_id)
            for album_id, album in self.albums.items()
            for image_id in album.images
        }

    def apply(
        self, actions: Iterable[Action], local: Snapshot, disk: Disk, policy: Policy
    ) -> None:
        """Bring a plan about: rows, then uploads, albums, deletes."""
        _Applying(self, local, disk, policy).run(tuple(actions))


class _Applying:
    """One plan on its way."""

    def __init__(
        self, account: Account, local: Snapshot, disk: Disk, policy: Policy
    ) -> None:
        self._account = account
        self._local = local
        self._disk = disk
        self._policy = policy
        synced = account.synced
        self._rows = dict(synced.files)
        self._bound = dict(synced.directories)
        self._skipped = dict(synced.skipped)
        self._wanted: defaultdict[bytes, dict[ImageId, None]] = defaultdict(dict)
        self._unwanted: defaultdict[bytes, dict[ImageId, None]] = defaultdict(dict)
        self._uploaded_into: set[bytes] = set()
        self._titles: dict[bytes, str] = {}
        self._to_delete: dict[ImageId, None] = {}
        self._replaced: dict[ImageId, None] = {}
        self._cancelled: set[ImageId] = set()
        self._images_of_sent: dict[bytes, ImageId] = {}
        self._retitled: dict[AlbumId, str] = {}

    def run(self, actions: tuple[Action, ...]) -> None:
        """Do everything, in the order of the plan."""
        for action in actions:
            self._one(action)
        self._retire_replaced()
        self._create_albums()
        self._change_albums()
        account = self._account
        for album_id, title in self._retitled.items():
            if account.albums[album_id].title != title:
                account.albums[album_id].title = title
                account.calls["retitle"] += 1
        for image_id in self._to_delete:
            account.calls["delete"] += 1
            account.deleted.add(image_id)
            del account.images[image_id]
            for album in account.albums.values():
                album.images.discard(image_id)
        account.synced = replace(
            account.synced,
            files={
                path: row
                for path, row in self._rows.items()
                if row.image_id not in self._to_delete
            },
            directories=self._bound,
            skipped=self._skipped,
            pending_deletes=frozenset(account.synced.pending_deletes - self._cancelled)
            & account.images.keys(),
        )

    def _one(self, action: Action) -> None:
        match action:
            case planner.Move():
                self._move(action)
            case planner.Bind():
                self._put(action.path, action.slot, action.image_id, action.digest)
                self._place(action.slot, action.image_id)
            case planner.Upload() | planner.Replace():
                self._send(action)
            case planner.Touch():
                row = self._rows[action.path]
                file = self._local.files[action.path]
                self._rows[action.path] = replace(row, stat=file)
            case planner.Forget():
                self._forget(action)
            case planner.DeleteImage():
                self._to_delete[action.image_id] = None
            case planner.CancelDelete():
                self._cancelled.add(action.image_id)
            case planner.Skip():
                self._skipped[action.path] = (action.size_bytes, action.mtime_ns)
            case planner.ForgetSkip():
                del self._skipped[action.path]
            case _:
                self._album(action)

    def _album(self, action: Action) -> None:
        match action:
            case planner.RenameAlbum():
                bound = self._bound.pop(action.directory)
                assert bound.album_id == action.album_id
                assert action.slot.directory not in self._bound, "two in one"
                title = action.slot.title
                self._bound[action.slot.directory] = replace(bound, title=title)
                self._retitled[action.album_id] = title
                self._rows = {
                    path: replace(row, directory=action.slot.directory)
                    if row.directory == action.directory
                    else row
                    for path, row in self._rows.items()
                }
            case planner.AdoptAlbum():
                bound = BoundAlbum(action.album_id, title=action.slot.title)
                assert action.slot.directory not in self._bound
                self._bound[action.slot.directory] = bound
            case planner.IdentifyDirectory():
                bound = self._bound[action.directory]
                self._bound[action.directory] = replace(
                    bound, device=action.device, inode=action.inode
                )
            case _:
                raise AssertionError(f"unknown action {action}")

    def _put(
        self, path: bytes, slot: Slot | None, image_id: ImageId, digest: bytes
    ) -> None:
        directory = None if slot is None else slot.directory
        stat = self._local.files[path]
        content = self._account.images.get(image_id)
        digest = digest or (b"" if content is None else digest_of(content))
        self._rows[path] = KnownFile(stat, image_id, digest, directory)
        self._skipped.pop(path, None)

    def _place(self, slot: Slot | None, image_id: ImageId) -> None:
        if slot is None or image_id not in self._account.images:
            return
        self._titles[slot.directory] = slot.title
        bound = self._bound.get(slot.directory)
        if bound is None or not self._account.is_member(bound.album_id, image_id):
            self._wanted[slot.directory][image_id] = None

    def _displace(self, directory: bytes | None, image_id: ImageId) -> None:
        if directory is not None:
            self._unwanted[directory][image_id] = None

    def _move(self, action: planner.Move) -> None:
        row = self._rows.get(action.path)
        if row is not None and row.image_id == action.image_id:
            del self._rows[action.path]
        self._put(action.new_path, action.slot, action.image_id, action.digest)
        to = None if action.slot is None else action.slot.directory
        if to != action.from_directory:
            self._place(action.slot, action.image_id)
            self._displace(action.from_directory, action.image_id)

    def _forget(self, action: planner.Forget) -> None:
        row = self._rows.get(action.path)
        if row is None or row.image_id != action.image_id:
            return
        del self._rows[action.path]
        if action.leaves_album:
            self._displace(row.directory, action.image_id)
        else:
            self._account.kept.add(action.image_id)

    def _send(self, action: planner.Upload | planner.Replace) -> None:
        account, content = self._account, self._disk.files[action.path].content
        old = self._rows.get(action.path)
        if isinstance(action, planner.Replace):
            if action.leaves_album and old is not None:
                self._displace(old.directory, action.image_id)
            if action.deletes_old:
                self._replaced[action.image_id] = None
            else:
                account.kept.add(action.image_id)
        if action.twin_of is None:
            image_id = ImageId(account.new_id())
            account.images[image_id] = content
            account.calls["upload"] += 1
            if action.slot is not None:
                self._titles[action.slot.directory] = action.slot.title
                self._uploaded_into.add(action.slot.directory)
        else:
            image_id = self._images_of_sent[action.twin_of]
            assert account.images[image_id] == content, "a twin of something else"
        self._images_of_sent[action.path] = image_id
        self._put(action.path, action.slot, image_id, digest_of(content))
        self._place(action.slot, image_id)

    def _retire_replaced(self) -> None:
        """Let replaced images go that no file is, as is asked when uploads settle."""
        used = {row.image_id for row in self._rows.values()}
        used |= self._account.synced.elsewhere
        for image_id in self._replaced:
            if image_id in used:
                self._account.kept.add(image_id)
            else:
                self._to_delete[image_id] = None

    def _create_albums(self) -> None:
        account = self._account
        for directory in sorted(self._wanted.keys() - self._bound.keys()):
            album_id = AlbumId(account.new_id())
            images = list(self._wanted[directory])
            early = [i for i in images if not self._comes_late(i, directory)]
            first = early or images
            account.albums[album_id] = Album(self._titles[directory], set(first))
            account.calls["create"] += 1
            for image_id in first:
                del self._wanted[directory][image_id]
            self._bound[directory] = BoundAlbum(album_id, title=self._titles[directory])

    def _change_albums(self) -> None:
        account = self._account
        held = {(row.image_id, row.directory) for row in self._rows.values()}
        removals: list[tuple[AlbumId, RemoveImages]] = []
        for directory in sorted({*self._wanted, *self._unwanted}):
            bound = self._bound.get(directory)
            if bound is None:
                continue
            wanted = list(self._wanted[directory])
            late = [i for i in wanted if self._comes_late(i, directory)]
            sent = [i for i in wanted if i not in late and self._is_sent(i)]
            account.albums[bound.album_id].images.update(sent)  # by the upload itself
            adds = [i for i in wanted if i not in late and i not in sent]
            removes = [
                image
                for image in self._unwanted[directory]
                if image in account.images
                and image not in self._to_delete
                and (image, directory) not in held
            ]
            for call in (*cheapest(adds, removes, None), *cheapest(late, (), None)):
                account.calls["album"] += 1
                if isinstance(call, AddImages):
                    account.albums[bound.album_id].images.update(call.images)
                else:
                    assert isinstance(call, RemoveImages)
                    removals.append((bound.album_id, call))
        for album_id, removal in removals:
            account.albums[album_id].images.difference_update(removal.images)

    def _is_sent(self, image_id: ImageId) -> bool:
        return image_id in self._images_of_sent.values()

    def _comes_late(self, image_id: ImageId, directory: bytes) -> bool:
        """Whether an image has to be uploaded for another slot first."""
        return self._is_sent(image_id) and not self._is_own(image_id, directory)

    def _is_own(self, image_id: ImageId, directory: bytes) -> bool:
        """Whether the file that was sent for an image is in this slot."""
        first = next(
            path for path, sent in self._images_of_sent.items() if sent == image_id
        )
        return self._rows[first].directory == directory


def verdicts_of(
    disk: Disk,
    local: Snapshot,
    account: Account,
    policy: Policy,
    *,
    unsettled: frozenset[bytes] = frozenset(),
    unreadable: frozenset[bytes] = frozenset(),
    refused: Mapping[bytes, str] | None = None,
) -> Verdicts:
    """Return what a look finds out: it reads only what may spare an upload."""
    refused = {} if refused is None else refused
    rows = account.synced.files.values()
    identities = {(row.stat.device, *row.stat.identity) for row in rows}
    ready = [
        file
        for path, file in sorted(local.files.items())
        if needs_look(file, account.synced)
        and path not in unsettled
        and path not in unreadable
        and path not in refused
        and (file.device, *file.identity) not in identities
    ]
    once = {file.inode: file.size_bytes for file in ready}
    sizes = Counter(once.values()) if policy.dedupe else Counter[int]()
    known = {row.stat.size_bytes for row in rows}
    is_marked = bool(account.remote().marked)
    return Verdicts(
        unsettled=unsettled,
        unreadable=unreadable,
        refused=refused,
        digests={
            file.path: disk.files[file.path].digest
            for file in ready
            if is_marked or file.size_bytes in known or sizes[file.size_bytes] > 1
        },
    )
