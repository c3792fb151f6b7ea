"""The kinds of jobs, what their payloads hold, and the keys that tell them apart.

Values and pure functions: nothing here reads or writes. :mod:`imgurfs.jobs.queueing`
queues jobs and offers these names as well; other packages import from there.

Keys make queueing idempotent (a rescan queues nothing twice); the group of a directory
makes its uploads wait, one after the other, until its album exists; the turn lets
folders and directories be served in rotation.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from imgurfs.model import AlbumId, ImageId
from imgurfs.store.outbox import Job
from imgurfs.store.synced import FolderId

P = TypeVar("P", bound=msgspec.Struct)

UPLOAD: Final = "upload"
CREATE_ALBUM: Final = "create_album"
MEMBERS: Final = "members"
VERIFY: Final = "verify"
UPDATE_ALBUM: Final = "update_album"
UPDATE_IMAGE: Final = "update_image"
DELETE_ALBUM: Final = "delete_album"
DELETE_IMAGE: Final = "delete_image"

#: In the order in which the drainer looks for work: what others wait for comes first.
KINDS: Final = (
    CREATE_ALBUM,
    UPDATE_ALBUM,
    MEMBERS,
    UPLOAD,
    UPDATE_IMAGE,
    VERIFY,
    DELETE_IMAGE,
    DELETE_ALBUM,
)
#: Kinds that do no harm when they happen twice; all others may be sent once only.
REPEATABLE: Final = frozenset(
    {MEMBERS, VERIFY, UPDATE_ALBUM, UPDATE_IMAGE, DELETE_IMAGE, DELETE_ALBUM}
)

#: Stands where a job's folder does when it comes from the drive, which is none.
DRIVE: Final = FolderId(0)
#: The folder of copies of what was uploaded by hand (:mod:`imgurfs.jobs.by_hand`).
BY_HAND: Final = FolderId(-1)


class Sent(msgspec.Struct, frozen=True):
    """What a file was when it was read to be sent."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    digest: bytes


class UploadPayload(msgspec.Struct, frozen=True):
    """Send the file at ``path`` (relative to the folder) as it is when it is sent.

    ``directory`` stands for the album it goes into, None for no album. ``replaces`` is
    the image that the file was before, deleted ``grace_s`` after this upload if
    ``deletes_old``; ``leaves_album``: other files are it, but none of this album.
    With ``dedupe`` content that is an image already is not sent. ``album_id`` is the
    album that the last attempt named, ``sent`` what it sent.

    ``image_title`` is what the image is to be called, "" for nothing.

    From the drive (``folder`` is :data:`DRIVE`): ``path`` is the file in the spool,
    ``inode`` whose content it is. Where it belongs, under which name and what it
    replaces is then told by the tree at the time of sending, not here; ``name`` is the
    one the last attempt sent.
    """

    folder: FolderId
    path: bytes
    directory: bytes | None = None
    title: str = ""
    replaces: ImageId | None = None
    deletes_old: bool = False
    leaves_album: bool = False
    grace_s: float = 0.0
    dedupe: bool = True
    album_id: AlbumId | None = None
    sent: Sent | None = None
    inode: int = 0
    name: str = ""
    image_title: str = ""


class CreateAlbumPayload(msgspec.Struct, frozen=True):
    """Create the album a directory stands for.

    ``images`` are those the last attempt named; what else belongs into the album when
    it is sent goes with it. Only one made on the drive (``inode``; ``folder`` is
    :data:`DRIVE`) may be empty; ``others`` are the albums of its title that were there
    when it was sent: none of them is what was made.
    """

    folder: FolderId
    directory: bytes
    title: str
    images: tuple[ImageId, ...]
    inode: int = 0
    others: tuple[AlbumId, ...] = ()


class AlbumPayload(msgspec.Struct, frozen=True):
    """Bring an album's memberships about, or list it again to compare them."""

    album_id: AlbumId


class UpdateAlbumPayload(msgspec.Struct, frozen=True):
    """Give an album another title or description; None leaves what it has."""

    album_id: AlbumId
    title: str | None = None
    description: str | None = None


class UpdateImagePayload(msgspec.Struct, frozen=True):
    """Give an image another title or description; None leaves what it has."""

    image_id: ImageId
    title: str | None = None
    description: str | None = None


class DeleteAlbumPayload(msgspec.Struct, frozen=True):
    """Delete an album that was removed on the drive when it was empty.

    ``name`` is the one it had there.
    """

    album_id: AlbumId
    name: str


class DeleteImagePayload(msgspec.Struct, frozen=True):
    """Delete an image because its file is gone.

    ``is_replaced``: the file is another image now. ``is_twin``: it came into being
    beside the image of a file by an upload that was sent twice; ``folder`` is None.
    ``is_unwanted``: it was called off when an attempt may have happened already, and is
    not sent again.
    From the drive (``folder`` is :data:`DRIVE`): ``places`` are the names it had there
    (inode of the directory, name), to be given back when the deletion is called off;
    ``albums``: those that hold it, although another file has its names there by now.
    """

    folder: FolderId | None
    image_id: ImageId
    is_replaced: bool = False
    is_twin: bool = False
    is_unwanted: bool = False
    places: tuple[tuple[int, str], ...] = ()
    albums: tuple[AlbumId, ...] = ()


def encode(payload: msgspec.Struct) -> str:
    """Return a payload as the outbox keeps it."""
    return msgspec.json.encode(payload).decode()


def decode(job: Job, kind: type[P]) -> P:
    """Return the payload of a job."""
    return msgspec.json.decode(job.payload, type=kind)


def describe(job: Job) -> str:
    """Return what a job is about, in a few words for messages.

    ``jobs.drive_names`` knows what it is called on the drive.
    """
    match job.kind:
        case "upload":
            upload = decode(job, UploadPayload)
            return f"upload {_path_text(upload)}"
        case "create_album":
            title = decode(job, CreateAlbumPayload).title
            return f"create album {title!r}"
        case "members":
            return f"place images in album {decode(job, AlbumPayload).album_id}"
        case "verify":
            return f"check album {decode(job, AlbumPayload).album_id}"
        case "update_album":
            album = decode(job, UpdateAlbumPayload)
            return _described(f"album {album.album_id}", album)
        case "update_image":
            texts = decode(job, UpdateImagePayload)
            return _described(f"image {texts.image_id}", texts)
        case "delete_album":
            return f"delete album {decode(job, DeleteAlbumPayload).name!r}"
        case "delete_image":
            image = decode(job, DeleteImagePayload).image_id
            return f"delete image {image}"
        case _:
            return f"{job.kind} (job {job.id})"


def _path_text(upload: UploadPayload) -> str:
    path = upload.path
    if is_from_drive(upload):
        return upload.name or "a file of the drive"
    if upload.folder == BY_HAND:
        path = path.rpartition(b"/")[2]
    return path.decode("utf-8", "backslashreplace")


def _described(what: str, texts: UpdateAlbumPayload | UpdateImagePayload) -> str:
    if texts.title is None:
        return f"describe {what}"
    return f"rename {what} to {texts.title!r}"


def is_from_drive(payload: UploadPayload | CreateAlbumPayload) -> bool:
    """Whether a job comes from the drive and not from a watched folder."""
    return payload.folder == DRIVE


def upload_key(folder: FolderId, path: bytes) -> str:
    """Return the key of a file's upload."""
    return f"upload:{folder}:{path.hex()}"


def delete_key(image_id: ImageId) -> str:
    """Return the key of an image's delete."""
    return f"delete:{image_id}"


def create_key(folder: FolderId, directory: bytes) -> str:
    """Return the key of the creation of a directory's album."""
    return f"create:{folder}:{directory.hex()}"


def update_key(album_id: AlbumId) -> str:
    """Return the key of an album's new title."""
    return f"{UPDATE_ALBUM}:{album_id}"


def update_image_key(image_id: ImageId) -> str:
    """Return the key of an image's new texts."""
    return f"{UPDATE_IMAGE}:{image_id}"


def delete_album_key(album_id: AlbumId) -> str:
    """Return the key of an album's delete."""
    return f"{DELETE_ALBUM}:{album_id}"


def album_group(folder: FolderId, directory: bytes) -> str:
    """Return the group of everything that waits for a directory's album."""
    return f"album:{folder}:{directory.hex()}"


def turn_of(folder: FolderId, directory: bytes) -> str:
    """Return whose turn it is when a directory's file is sent."""
    return f"{folder}:{directory.hex()}"
