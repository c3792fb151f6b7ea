"""Decides what to tell Imgur about a folder: a pure function of three trees.

**local** is what a walk saw, **synced** what folder and account last agreed about,
**remote** what the account lists. :func:`plan` returns actions, each with its reason;
it is deterministic, and after its actions have been applied it returns none. It knows
nothing about jobs, budgets or time; ``service`` turns actions into rows.

The rule about absence: nothing is derived from it unless the walk was complete, the
folder still is the directory it was when first seen, and the file's own directory is
on the disk it was on. Then a missing file is forgotten (``deletes = "keep"``) or its
image deleted (``"mirror"``).
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgurfs.model import AlbumId, ImageId
from imgurfs_daemon.snapshot import FileStat, RootIdentity, Snapshot, parent_of


class AlbumMode(enum.StrEnum):
    """Which album a file belongs to."""

    SUBFOLDERS = "subfolders"  # a directory is an album, files in the root are in none
    ONE = "one"  # everything in one album
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says about a folder."""

    albums: AlbumMode = AlbumMode.SUBFOLDERS
    album_title: str = ""
    mirrors_deletes: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a file belongs: the directory that stands for an album, and its title."""

    directory: bytes
    title: str


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as it was when folder and account agreed about it, and its image."""

    stat: FileStat
    image_id: ImageId


@dataclass(frozen=True, slots=True)
class Synced:
    """The merge base, and what is on its way.

    ``skipped`` gives size and mtime of files that are not to be looked at again.
    ``pending_uploads`` are paths with an unfinished upload, ``pending_deletes`` images
    with a delete that is not sent. ``elsewhere`` are images that files of other
    folders refer to.
    """

    root: RootIdentity | None = None
    files: Mapping[bytes, KnownFile] = field(default_factory=dict)
    directories: Mapping[bytes, AlbumId] = field(default_factory=dict)
    skipped: Mapping[bytes, tuple[int, int]] = field(default_factory=dict)
    pending_uploads: frozenset[bytes] = frozenset()
    pending_deletes: frozenset[ImageId] = frozenset()
    elsewhere: frozenset[ImageId] = frozenset()


@dataclass(frozen=True, slots=True)
class Remote:
    """The account's albums by title; None while they have not been listed."""

    albums: Mapping[str, tuple[AlbumId, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What was found out about files beyond their stat.

    ``unsettled`` files may still be written and are left alone; ``refused`` ones have
    content that Imgur does not take, with the reason.
    """

    unsettled: frozenset[bytes] = frozenset()
    refused: Mapping[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upload:
    """Send a file that has no image yet."""

    path: bytes
    slot: Slot | None
    reason: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Send a changed file, then delete the old image if ``deletes_old``."""

    path: bytes
    slot: Slot | None
    image_id: ImageId
    deletes_old: bool
    reason: str


@dataclass(frozen=True, slots=True)
class DeleteImage:
    """Delete the image of a file that is gone, after the grace period."""

    path: bytes
    image_id: ImageId
    reason: str


@dataclass(frozen=True, slots=True)
class CancelDelete:
    """Withdraw a delete: the file is back."""

    path: bytes
    image_id: ImageId
    reason: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget a file that is gone; its image stays."""

    path: bytes
    image_id: ImageId
    reason: str


@dataclass(frozen=True, slots=True)
class AdoptAlbum:
    """Let a directory stand for an album that exists."""

    slot: Slot
    album_id: AlbumId
    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Do not upload a file as long as it stays as it is."""

    path: bytes
    size_bytes: int
    mtime_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class ForgetSkip:
    """Forget that a file was skipped: it is gone."""

    path: bytes
    reason: str


Action = (
    AdoptAlbum
    | CancelDelete
    | Upload
    | Replace
    | Skip
    | ForgetSkip
    | Forget
    | DeleteImage
)


def slot_of(path: bytes, policy: Policy) -> Slot | None:
    """Return where a file belongs, None when it is in no album."""
    match policy.albums:
        case AlbumMode.NONE:
            return None
        case AlbumMode.ONE:
            return Slot(b"", policy.album_title)
        case AlbumMode.SUBFOLDERS:
            directory = parent_of(path)
            if not directory:
                return None
            return Slot(directory, directory.decode("utf-8", "replace"))


def needs_look(file: FileStat, synced: Synced) -> bool:
    """Whether a file has to settle and be inspected before a plan can use it."""
    if file.path in synced.pending_uploads:
        return False
    known = synced.files.get(file.path)
    if known is not None and known.stat.identity == file.identity:
        return False
    return synced.skipped.get(file.path) != (file.size_bytes, file.mtime_ns)


def plan(
    local: Snapshot,
    synced: Synced,
    remote: Remote,
    policy: Policy,
    *,
    verdicts: Verdicts = Verdicts(),
) -> tuple[Action, ...]:
    """Return what to do, in the order of doing: adopt, withdraw, send, forget, delete.

    Within each, in the order of paths.
    """
    references = Counter(known.image_id for known in synced.files.values())
    may_delete = policy.mirrors_deletes and not absence_problem(local, synced)
    present: list[Action] = []
    for path in sorted(local.files):
        known = synced.files.get(path)
        is_shared = known is not None and (
            references[known.image_id] > 1 or known.image_id in synced.elsewhere
        )
        present += _plan_present(
            local.files[path],
            synced,
            policy,
            verdicts,
            deletes_old=may_delete and not is_shared,
        )
    adopted = _adoptions(present, synced, remote)
    return (*adopted, *present, *_plan_absent(local, synced, policy))


def absence_problem(local: Snapshot, synced: Synced) -> str:
    """Return why nothing may be derived from a file's absence, "" when it may."""
    if local.root is None:
        why = local.problems[0].reason if local.problems else "it is not there"
        return f"the folder cannot be read ({why})"
    if synced.root is not None and local.root != synced.root:
        return "the folder is not the directory it was (another disk, or replaced)"
    if local.problems:
        first = local.problems[0]
        where = first.path.decode("utf-8", "replace") or "the folder"
        return f"not all of it could be read ({where}: {first.reason})"
    return ""


def _plan_present(
    file: FileStat,
    synced: Synced,
    policy: Policy,
    verdicts: Verdicts,
    *,
    deletes_old: bool,
) -> list[Action]:
    known = synced.files.get(file.path)
    actions: list[Action] = []
    if known is not None and known.image_id in synced.pending_deletes:
        actions.append(CancelDelete(file.path, known.image_id, "the file is back"))
    if not needs_look(file, synced) or file.path in verdicts.unsettled:
        return actions
    if refusal := verdicts.refused.get(file.path):
        return [*actions, Skip(file.path, file.size_bytes, file.mtime_ns, refusal)]
    slot = slot_of(file.path, policy)
    if known is None:
        return [*actions, Upload(file.path, slot, "new file")]
    replace = Replace(
        file.path, slot, known.image_id, deletes_old, "the file has changed"
    )
    return [*actions, replace]


def _plan_absent(local: Snapshot, synced: Synced, policy: Policy) -> list[Action]:
    """Return what follows from files that are not there any more."""
    if absence_problem(local, synced):
        return []
    gone = [
        path
        for path in sorted(synced.files.keys() - local.files.keys())
        if path not in synced.pending_uploads
        and not _is_hidden(path, local)
        and _is_on_same_disk(synced.files[path], local)
    ]
    left = synced.files.keys() - set(gone)
    needed = synced.elsewhere | {synced.files[path].image_id for path in left}
    forgotten: list[Action] = [
        ForgetSkip(path, "the file is gone")
        for path in sorted(synced.skipped.keys() - local.files.keys())
        if not _is_hidden(path, local)
    ]
    deleted: list[Action] = []
    for path in gone:
        known = synced.files[path]
        if not policy.mirrors_deletes:
            reason = "the file is gone; the folder keeps images"
            forgotten.append(Forget(path, known.image_id, reason))
        elif known.image_id in needed:
            reason = "the file is gone; another file is the same image"
            forgotten.append(Forget(path, known.image_id, reason))
        elif known.image_id not in synced.pending_deletes:
            deleted.append(DeleteImage(path, known.image_id, "the file is gone"))
    return [*forgotten, *deleted]


def _adoptions(
    actions: list[Action], synced: Synced, remote: Remote
) -> list[AdoptAlbum]:
    """Return the existing albums that uploads can go into."""
    if remote.albums is None:
        return []
    slots = {
        a.slot.directory: a.slot
        for a in actions
        if isinstance(a, Upload | Replace) and a.slot is not None
    }
    adopted = []
    for directory in sorted(slots.keys() - synced.directories.keys()):
        slot = slots[directory]
        found = remote.albums.get(slot.title, ())
        if len(found) == 1:
            adopted.append(
                AdoptAlbum(slot, found[0], "the account has an album of this title")
            )
    return adopted


def _is_hidden(path: bytes, local: Snapshot) -> bool:
    """Whether the path, or a directory it is in, exists as something not uploaded."""
    while path:
        if path in local.others:
            return True
        path = parent_of(path)
    return False


def _is_on_same_disk(known: KnownFile, local: Snapshot) -> bool:
    """Whether the nearest directory that is left is on the disk the file was on."""
    directory = known.stat.directory
    while directory not in local.directories and directory:
        directory = parent_of(directory)
    return local.directories.get(directory) == known.stat.device
