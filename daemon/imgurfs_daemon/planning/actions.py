"""What a plan consists of: one frozen value for each thing to do, with its reason.

They are applied in the order in which the plan gives them, in one transaction. Every
action carries what it needs of the merge base, because an earlier one may have
replaced the row it is about.
"""

from __future__ import annotations

from dataclasses import dataclass

from imgurfs.model import AlbumId, ImageId
from imgurfs_daemon.planning.trees import Slot


@dataclass(frozen=True, slots=True)
class RenameAlbum:
    """A directory has another name: its album gets the slot's title, its files follow.

    When directories swapped names, one of them passes through a slot whose directory
    no path can be; the title is the final one at once.
    """

    directory: bytes
    slot: Slot
    album_id: AlbumId
    reason: str


@dataclass(frozen=True, slots=True)
class AdoptAlbum:
    """Let a directory stand for an album that exists."""

    slot: Slot
    album_id: AlbumId
    reason: str


@dataclass(frozen=True, slots=True)
class IdentifyDirectory:
    """Record which directory it is that stands for an album. Nothing is sent."""

    directory: bytes
    device: int
    inode: int
    reason: str


@dataclass(frozen=True, slots=True)
class CancelDelete:
    """Withdraw a delete: a file is this image again."""

    path: bytes
    image_id: ImageId
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """The image of ``path`` is the file at ``new_path`` now; nothing is uploaded.

    The image leaves the album of ``from_directory`` for the slot's, if they differ.
    Both paths are equal when only the slot has changed. The row of ``path`` goes if it
    still is this image.
    """

    path: bytes
    new_path: bytes
    from_directory: bytes | None
    slot: Slot | None
    image_id: ImageId
    digest: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Bind:
    """The file at ``path`` has the content of an image that exists; none is uploaded.

    ``digest`` is b"" when the content was not read (another name of the same file).
    """

    path: bytes
    slot: Slot | None
    image_id: ImageId
    digest: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Touch:
    """Record a file's new stat: its content is what it was."""

    path: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Upload:
    """Send a file that has no image yet.

    ``twin_of`` is a file of this plan with the same content that is sent before it: by
    the time it is this one's turn nothing has to be sent for it.
    """

    path: bytes
    slot: Slot | None
    twin_of: bytes | None
    reason: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Send a changed file, then delete the old image if ``deletes_old``.

    Unless another file is that image when the new one has arrived. ``leaves_album``:
    no other file in this slot is the old image. ``twin_of`` as for :class:`Upload`.
    """

    path: bytes
    slot: Slot | None
    image_id: ImageId
    deletes_old: bool
    leaves_album: bool
    twin_of: bytes | None
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


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget that a path was this image.

    ``leaves_album``: no file in the same slot is it any more, and the folder does not
    keep what is gone. ``deletes_last``: another file is the same image; if that has
    ended by now, the image goes with this one.
    """

    path: bytes
    image_id: ImageId
    leaves_album: bool
    reason: str
    deletes_last: bool = False


@dataclass(frozen=True, slots=True)
class DeleteImage:
    """Delete the image of a file that is gone, after the grace period."""

    path: bytes
    image_id: ImageId
    reason: str


Action = (
    RenameAlbum
    | AdoptAlbum
    | IdentifyDirectory
    | CancelDelete
    | Forget
    | Move
    | Bind
    | Touch
    | Upload
    | Replace
    | Skip
    | ForgetSkip
    | DeleteImage
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and the directories about which that could not all be said.

    ``postponed`` are to be read together with whatever is read next: a file that is
    gone from one of them may be a file in another that has to settle or to be readable
    first. Nothing else would lead back to them.
    """

    actions: tuple[Action, ...]
    postponed: frozenset[bytes] = frozenset()
