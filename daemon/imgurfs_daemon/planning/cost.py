"""What a plan costs on Imgur, before anything is sent. Pure.

Counted are the calls that bring the plan about: uploads, new albums, memberships,
titles, deletions. Listings that check what came of it are not: they depend on what
Imgur answers (about one for each album that was changed).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from imgurfs import limits
from imgurfs.jobs import album_calls
from imgurfs.model import AlbumId, ImageId
from imgurfs_daemon.planning.actions import (
    Action,
    AdoptAlbum,
    Bind,
    DeleteImage,
    Forget,
    Move,
    RenameAlbum,
    Replace,
    Upload,
)
from imgurfs_daemon.planning.trees import BoundAlbum, Slot, Synced, directory_of

#: Which albums hold which images.
Members = Collection[tuple[AlbumId, ImageId]]


@dataclass(frozen=True, slots=True)
class PlanCost:
    """Calls by kind, and what they take from the budget.

    ``albums`` are creations; ``album_calls`` add, remove, and rename. ``posts`` and
    ``credits`` are their sums.
    """

    uploads: int = 0
    albums: int = 0
    album_calls: int = 0
    deletes: int = 0
    posts: int = 0
    credits: int = 0


def cost_of(
    actions: Iterable[Action],
    synced: Synced,
    *,
    gone: frozenset[ImageId] = frozenset(),
    members: Members = frozenset(),
) -> PlanCost:
    """Return what a plan for this merge base costs.

    ``gone`` are images that do not exist any more: no album can have them. ``members``
    need not be added.
    """
    counting = _Counting(synced, gone, members)
    for action in actions:
        counting.count(action)
    return counting.result()


@dataclass(slots=True)
class _Place:
    """What happens to one directory's album.

    ``twins`` are sent for other albums and come later than ``adds``, by path.
    """

    adds: set[ImageId] = field(default_factory=set)
    twins: set[bytes] = field(default_factory=set)
    removes: set[ImageId] = field(default_factory=set)
    has_uploads: bool = False


class _Counting:
    def __init__(
        self, synced: Synced, gone: frozenset[ImageId], members: Members
    ) -> None:
        self._gone = gone
        self._members = members
        self._albums: dict[bytes, BoundAlbum | AlbumId] = dict(synced.directories)
        self._titles: dict[AlbumId, tuple[str, str]] = {}
        self._renamed: dict[bytes, bytes] = {}
        self._files = synced.files
        self._rows: dict[bytes, tuple[ImageId, bytes | None]] = {}
        self._before: set[tuple[ImageId, bytes | None]] = set()
        self._is_renaming = True
        self._places: defaultdict[bytes, _Place] = defaultdict(_Place)
        self._sent: dict[bytes, bytes | None] = {}
        self._deleted: set[ImageId] = set()
        self._replaced: set[ImageId] = set()
        self._elsewhere = synced.elsewhere
        self._uploads = 0

    def count(self, action: Action) -> None:
        """Take an action into account, in the order of the plan."""
        if isinstance(action, RenameAlbum):
            self._rename(action)
            return
        if self._is_renaming:
            self._is_renaming = False
            self._start()
        match action:
            case AdoptAlbum():
                self._albums[action.slot.directory] = action.album_id
            case Move():
                self._move(action)
            case Bind():
                self._put(action.path, action.slot, action.image_id)
            case Forget():
                _, directory = self._rows.get(action.path, (None, None))
                self._take(action.path, action.image_id)
                if action.leaves_album:
                    self._leave(directory, action.image_id)
            case Upload() | Replace():
                self._send(action)
            case DeleteImage():
                self._deleted.add(action.image_id)
            case _:
                pass

    def result(self) -> PlanCost:
        """Return the sums."""
        held = set(self._rows.values())
        used = {image_id for image_id, _ in held} | self._elsewhere
        self._deleted |= self._replaced - used
        created, calls = 0, 0
        for directory, place in self._places.items():
            removes = sum(
                image not in self._deleted and (image, directory) not in held
                for image in place.removes
            )
            adds, twins = len(place.adds), len(place.twins)
            is_new = directory not in self._albums
            if is_new and (adds or twins or place.has_uploads):
                created += 1
                # It is created with what is there; uploads bring themselves.
                if adds:
                    adds = max(0, adds - limits.ALBUM_CALL_IMAGES_MAX)
                elif not place.has_uploads:
                    twins = max(0, twins - limits.ALBUM_CALL_IMAGES_MAX)
            calls += album_calls.count(adds, removes) + album_calls.count(twins, 0)
        titles = sum(old != new for old, new in self._titles.values())
        deletes = len(self._deleted)
        return PlanCost(
            uploads=self._uploads,
            albums=created,
            album_calls=calls + titles,
            deletes=deletes,
            posts=self._uploads + created + calls,
            credits=self._uploads * limits.UPLOAD_CREDITS
            + created
            + calls
            + titles
            + deletes,
        )

    def _rename(self, action: RenameAlbum) -> None:
        old = self._albums.pop(action.directory)
        title = old.title if isinstance(old, BoundAlbum) else ""
        first, _ = self._titles.get(action.album_id, (title, ""))
        self._titles[action.album_id] = (first, action.slot.title)
        self._albums[action.slot.directory] = old
        origin = self._renamed.pop(action.directory, action.directory)
        self._renamed[action.slot.directory] = origin

    def _start(self) -> None:
        """Take the merge base as it is after all renames, which come first."""
        current = {origin: now for now, origin in self._renamed.items()}
        for path, known in self._files.items():
            directory = known.directory
            if directory is not None:
                directory = current.get(directory, directory)
            self._rows[path] = (known.image_id, directory)
        self._before = set(self._rows.values())

    def _move(self, action: Move) -> None:
        self._take(action.path, action.image_id)
        self._put(action.new_path, action.slot, action.image_id)
        if action.from_directory != directory_of(action.slot):
            self._leave(action.from_directory, action.image_id)

    def _put(self, path: bytes, slot: Slot | None, image_id: ImageId) -> None:
        directory = directory_of(slot)
        self._rows[path] = (image_id, directory)
        if directory is None or image_id in self._gone:
            return
        if (image_id, directory) in self._before:
            return
        album = self._albums.get(directory)
        album_id = album.album_id if isinstance(album, BoundAlbum) else album
        if album_id is None or (album_id, image_id) not in self._members:
            self._places[directory].adds.add(image_id)

    def _take(self, path: bytes, image_id: ImageId) -> None:
        if self._rows.get(path, (None, None))[0] == image_id:
            del self._rows[path]

    def _leave(self, directory: bytes | None, image_id: ImageId) -> None:
        if directory in self._albums and image_id not in self._gone:
            assert directory is not None
            self._places[directory].removes.add(image_id)

    def _send(self, action: Upload | Replace) -> None:
        directory = directory_of(action.slot)
        if isinstance(action, Replace):
            if action.deletes_old:
                self._replaced.add(action.image_id)
            if action.leaves_album:
                _, old = self._rows.get(action.path, (None, None))
                self._leave(old, action.image_id)
            self._take(action.path, action.image_id)
        self._sent[action.path] = directory
        if action.twin_of is None:
            self._uploads += 1
            if directory is not None:
                self._places[directory].has_uploads = True
        elif directory is not None and self._sent.get(action.twin_of) != directory:
            self._places[directory].twins.add(action.twin_of)
