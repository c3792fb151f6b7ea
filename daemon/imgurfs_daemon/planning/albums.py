"""Which directories have another name now, and which albums they stand for. Pure.

A directory that stands for an album is known again under another name by its inode, as
long as one of its files is there as well (inode numbers are used again), or because
all its files have gone to one new directory. Then the album gets another title, which
is one call however many pictures it holds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from imgurfs.model import AlbumId
from imgurfs_daemon.planning.actions import (
    AdoptAlbum,
    IdentifyDirectory,
    RenameAlbum,
)
from imgurfs_daemon.planning.evidence import absence_problem, is_directory_gone
from imgurfs_daemon.planning.trees import (
    AlbumMode,
    BoundAlbum,
    Policy,
    Remote,
    Slot,
    Synced,
    directory_of,
    slot_of,
    title_of,
)
from imgurfs_daemon.snapshot import Snapshot

#: Begins the "directory" a swapped one passes through; no path has a NUL.
_PARKED = b"\0parked:"


def renames(
    local: Snapshot,
    synced: Synced,
    remote: Remote,
    policy: Policy,
    places: Mapping[bytes, bytes],
) -> dict[bytes, bytes]:
    """Return the new name of each bound directory that has another one.

    ``places`` gives, for the rows whose files are known to be somewhere, their paths.
    """
    if policy.albums is not AlbumMode.SUBFOLDERS or absence_problem(local, synced):
        return {}
    went: dict[bytes, Counter[bytes | None]] = defaultdict(Counter)
    total: Counter[bytes] = Counter()
    for path, known in synced.files.items():
        old = known.directory
        if old is None or old not in synced.directories:
            continue
        total[old] += 1
        if path in places:
            went[old][directory_of(slot_of(places[path], policy))] += 1
    found = _by_inode(local, synced, went)
    found = _without_conflicts(found, synced, remote)
    for directory, new in _by_files(local, synced, went, total):
        if directory not in found and new not in found.values():
            tried = _without_conflicts({**found, directory: new}, synced, remote)
            found = tried if directory in tried else found
    return found


def _by_inode(
    local: Snapshot, synced: Synced, went: Mapping[bytes, Counter[bytes | None]]
) -> dict[bytes, bytes]:
    """Return where bound directories are now, as far as one of their files is there."""
    bound = {
        (album.device, album.inode): directory
        for directory, album in sorted(synced.directories.items())
        if album.inode
    }
    found: dict[bytes, bytes] = {}
    for new, stat in sorted(local.directories.items()):
        old = bound.get((stat.device, stat.inode))
        if old is None or old == new or not new or old not in went:
            continue
        if not went[old][new]:
            continue
        # Mounted at two places it is still where it was.
        if local.directories.get(old) != stat and (
            old in local.directories or is_directory_gone(old, local)
        ):
            found[old] = new
    return found


def _by_files(
    local: Snapshot,
    synced: Synced,
    went: Mapping[bytes, Counter[bytes | None]],
    total: Counter[bytes],
) -> list[tuple[bytes, bytes]]:
    """Return bound directories that are gone with the one all their files went to.

    Those with the most files come first.
    """
    found = []
    for old in sorted(went, key=lambda directory: (-total[directory], directory)):
        if len(went[old]) != 1:
            continue
        ((new, count),) = went[old].items()
        if (
            new is not None
            and count == total[old]
            and new not in synced.directories
            and is_directory_gone(old, local)
        ):
            found.append((old, new))
    return found


def _without_conflicts(
    found: dict[bytes, bytes], synced: Synced, remote: Remote
) -> dict[bytes, bytes]:
    """Drop renames to a directory or title that another album has and keeps."""
    left = dict(found)
    while True:
        moving = {synced.directories[old].album_id for old in left}
        bad = [
            old
            for old, new in left.items()
            if (new in synced.directories and new not in left)
            or new in synced.pending_albums
            or not moving.issuperset((remote.albums or {}).get(title_of(new), ()))
        ]
        if not bad:
            return left
        for old in bad:
            del left[old]


def rename_actions(
    renamed: Mapping[bytes, bytes], synced: Synced
) -> tuple[RenameAlbum, ...]:
    """Return the renames in an order in which no two directories are ever one."""
    left = dict(sorted(renamed.items()))
    actions: list[RenameAlbum] = []
    albums = {old: synced.directories[old].album_id for old in left}

    def rename(old: bytes, to: bytes, new: bytes, album_id: AlbumId) -> None:
        reason = "the directory was renamed or moved"
        actions.append(RenameAlbum(old, Slot(to, title_of(new)), album_id, reason))

    while left:
        free = [old for old, new in left.items() if new not in left]
        if not free:
            # Only swaps are left: one of them steps aside.
            old = next(iter(left))
            parked = _PARKED + old
            new = left.pop(old)
            rename(old, parked, new, albums[old])
            left[parked], albums[parked] = new, albums[old]
            continue
        for old in free:
            new = left.pop(old)
            rename(old, new, new, albums[old])
    return tuple(actions)


def after_renames(
    synced: Synced, actions: Iterable[RenameAlbum]
) -> dict[bytes, BoundAlbum]:
    """Return which directories stand for albums when the renames are done."""
    bound = dict(synced.directories)
    for action in actions:
        old = bound.pop(action.directory)
        bound[action.slot.directory] = replace(old, title=action.slot.title)
    return bound


def adoptions(
    slots: Iterable[Slot | None], bound: Mapping[bytes, BoundAlbum], remote: Remote
) -> tuple[AdoptAlbum, ...]:
    """Return the existing albums that new slots can have: the only one of the title.

    One that stands for another directory of the folder is not taken a second time.
    """
    wanted = {slot.directory: slot for slot in slots if slot is not None}
    taken = {album.album_id for album in bound.values()}
    adopted = []
    for directory in sorted(wanted.keys() - bound.keys()):
        slot = wanted[directory]
        found = (remote.albums or {}).get(slot.title, ())
        if len(found) == 1 and found[0] not in taken:
            taken.add(found[0])
            reason = "the account has an album of this title"
            adopted.append(AdoptAlbum(slot, found[0], reason))
    return tuple(adopted)


def identifications(
    bound: Mapping[bytes, BoundAlbum], local: Snapshot
) -> tuple[IdentifyDirectory, ...]:
    """Return the directories that have to be known again by their inodes."""
    return tuple(
        IdentifyDirectory(directory, stat.device, stat.inode, "it stands for an album")
        for directory, album in sorted(bound.items())
        if (stat := local.directories.get(directory)) is not None
        and (stat.device, stat.inode) != (album.device, album.inode)
    )
