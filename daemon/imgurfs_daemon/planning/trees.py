"""What the planner compares: the merge base, the account, the policy, the verdicts.

Frozen values and the questions they answer by themselves. The local tree is
:class:`imgurfs_daemon.snapshot.Snapshot`.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgurfs.model import AlbumId, ImageId
from imgurfs_daemon.snapshot import FileStat, RootIdentity, parent_of

#: Begins the "directory" of a folder's only album: no directory can be called so.
ONE_ALBUM = b"\0one:"


class AlbumMode(enum.StrEnum):
    """Which album a file belongs to."""

    SUBFOLDERS = "subfolders"  # a directory is an album, files in the root are in none
    ONE = "one"  # everything in one album
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says about a folder.

    With ``dedupe`` files with the same content are one image, otherwise one each.
    """

    albums: AlbumMode = AlbumMode.SUBFOLDERS
    album_title: str = ""
    mirrors_deletes: bool = False
    dedupe: bool = True


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a file belongs: the directory that stands for an album, and its title."""

    directory: bytes
    title: str


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as it was when folder and account agreed about it, and its image.

    ``digest`` is b"" when the content is not known. ``directory`` is the one whose
    album the image was put into, None for none.
    """

    stat: FileStat
    image_id: ImageId
    digest: bytes = b""
    directory: bytes | None = None


@dataclass(frozen=True, slots=True)
class BoundAlbum:
    """The album a directory stands for, and which directory that was (0, 0: unknown).

    ``title`` is the one that was last asked for.
    """

    album_id: AlbumId
    device: int = 0
    inode: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Synced:
    """The merge base, and what is on its way.

    ``skipped`` gives size and mtime of files that are not to be looked at again.
    ``pending_uploads`` are paths with an unfinished upload, ``pending_deletes`` images
    with a delete that is not sent, ``pending_albums`` directories whose album is being
    created. ``elsewhere`` are images that files of other folders are,
    ``contents_elsewhere`` the same by their digest, where that matters.
    """

    root: RootIdentity | None = None
    files: Mapping[bytes, KnownFile] = field(default_factory=dict)
    directories: Mapping[bytes, BoundAlbum] = field(default_factory=dict)
    skipped: Mapping[bytes, tuple[int, int]] = field(default_factory=dict)
    pending_uploads: frozenset[bytes] = frozenset()
    pending_deletes: frozenset[ImageId] = frozenset()
    pending_albums: frozenset[bytes] = frozenset()
    elsewhere: frozenset[ImageId] = frozenset()
    contents_elsewhere: Mapping[bytes, ImageId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remote:
    """The account, as far as it matters here.

    ``albums`` gives its albums by title, None while they have not been listed.
    ``marked`` gives, by the content part of their markers, images that no file is
    known to be: left from a lost state, or sent by another machine. ``gone`` are images
    of the merge base that somebody deleted on Imgur.
    """

    albums: Mapping[str, tuple[AlbumId, ...]] | None = None
    marked: Mapping[str, tuple[ImageId, ...]] = field(default_factory=dict)
    gone: frozenset[ImageId] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What was found out about files beyond their stat.

    ``unsettled`` files may still be written, ``unreadable`` ones could not be read:
    both are left alone. ``refused`` ones have content that Imgur does not take, with
    the reason. ``digests`` gives the content of those that were read whole.
    """

    unsettled: frozenset[bytes] = frozenset()
    unreadable: frozenset[bytes] = frozenset()
    refused: Mapping[bytes, str] = field(default_factory=dict)
    digests: Mapping[bytes, bytes] = field(default_factory=dict)


def slot_of(path: bytes, policy: Policy) -> Slot | None:
    """Return where a file belongs, None when it is in no album."""
    match policy.albums:
        case AlbumMode.NONE:
            return None
        case AlbumMode.ONE:
            title = policy.album_title
            return Slot(ONE_ALBUM + title.encode(), title)
        case AlbumMode.SUBFOLDERS:
            directory = parent_of(path)
            return _slot_of_directory(directory) if directory else None


@functools.lru_cache(maxsize=4096)
def _slot_of_directory(directory: bytes) -> Slot:
    # Thousands of files share it.
    return Slot(directory, title_of(directory))


def title_of(directory: bytes) -> str:
    """Return the title of a directory's album."""
    return directory.decode("utf-8", "replace")


def directory_of(slot: Slot | None) -> bytes | None:
    """Return the directory of a slot, None for no album."""
    return None if slot is None else slot.directory


def needs_look(file: FileStat, synced: Synced) -> bool:
    """Whether a file has to settle and be inspected before a plan can use it."""
    if file.path in synced.pending_uploads:
        return False
    known = synced.files.get(file.path)
    if known is not None and known.stat.identity == file.identity:
        return False
    return synced.skipped.get(file.path) != (file.size_bytes, file.mtime_ns)
