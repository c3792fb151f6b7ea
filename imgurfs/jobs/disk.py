"""What jobs need to know of local files. Blocks: call it through an Executor.

Nothing here writes to a watched folder. Paths are absolute, as bytes.
"""

from __future__ import annotations

import enum
import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import filetype

from imgurfs import limits
from imgurfs.store.synced import Folder

#: What Imgur takes, by content (docs/IMGUR.md, Uploading).
_STILLS = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/tiff", "image/apng"}
)
_VIDEOS = frozenset(
    {
        "video/mp4",
        "video/x-m4v",
        "video/webm",
        "video/x-matroska",
        "video/quicktime",
        "video/x-flv",
        "video/x-msvideo",
        "video/x-ms-wmv",
        "video/mpeg",
    }
)
#: Films and modern stills share a container; its first brand says what it is.
_STILL_BRANDS = {
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        "image/heic",
    ),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    b"crx ": "image/x-canon-cr3",
}
#: Bytes of a file that its type is judged by.
HEAD_BYTES = 8192
_READ_BYTES = limits.MIB

#: Why :func:`examine` does not say what a file is.
FILE_GONE: Final = "the file is gone"
BEING_WRITTEN: Final = "the file is being written"


@dataclass(frozen=True, slots=True)
class Examined:
    """A file whose content was read while it held still."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    digest: bytes


class Presence(enum.Enum):
    """Whether a file of a watched folder is there."""

    PRESENT = enum.auto()
    ABSENT = enum.auto()
    UNCERTAIN = enum.auto()  # its disk is not the one it was on, or cannot be read


def as_path(path: bytes) -> Path:
    """Return a path whose undecodable bytes survive (surrogate escapes)."""
    return Path(os.fsdecode(path))


def refusal(head: bytes, size_bytes: int) -> str:
    """Return why Imgur would not take content that begins with ``head``, or ""."""
    if size_bytes == 0:
        return "the file is empty"
    mime = type_of(head)
    if mime is None:
        return "not a picture or video, judging by its content"
    if mime in _STILLS:
        most = limits.STILL_BYTES_MAX
        # An animation may be as large as a video.
        most = limits.VIDEO_BYTES_MAX if mime == "image/gif" else most
    elif mime in _VIDEOS:
        most = limits.VIDEO_BYTES_MAX
    else:
        return f"Imgur does not take {mime}"
    if size_bytes > most:
        return f"larger than Imgur takes ({size_bytes} bytes, at most {most})"
    return ""


def is_taken(mime: str) -> bool:
    """Whether Imgur takes this type, if it is not too large."""
    return mime in _STILLS or mime in _VIDEOS


def type_of(head: bytes) -> str | None:
    """Return the type of content that begins with ``head``, None when it is none."""
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return _STILL_BRANDS[head[8:12]]
    kind = filetype.guess(head)
    return None if kind is None else str(kind.mime)


def inspect(path: bytes) -> str:
    """Return why a file cannot be uploaded, "" when it can. Raises OSError."""
    with _opened(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        return refusal(file.read(HEAD_BYTES), size_bytes)


def examine(path: bytes) -> Examined | str:
    """Read a whole file and return its identity and digest, or why it is not sent now.

    A file that changes meanwhile is not sent: it is planned again when it is settled.
    """
    try:
        with _opened(path) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                return "not a regular file any more"
            head = file.read(HEAD_BYTES)
            if reason := refusal(head, before.st_size):
                return reason
            digest = hashlib.blake2b(head, digest_size=32)
            while piece := file.read(_READ_BYTES):
                digest.update(piece)
            after = os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return FILE_GONE
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    if _identity(before) != _identity(after):
        return BEING_WRITTEN
    return Examined(*_identity(after), digest.digest())


def identify(path: bytes) -> tuple[int, int, int, int] | None:
    """Return (device, inode, size, mtime_ns) of a file, None when it is gone."""
    try:
        return _identity(os.lstat(path))
    except OSError:
        return None


def presence(folder: Folder, path: bytes, device: int) -> Presence:
    """Return whether a file is there.

    Absence counts when the folder is the directory it was and the nearest directory
    that is left lies on the disk the file was on.
    """
    try:
        root = os.lstat(folder.path)
        if (root.st_dev, root.st_ino) != (folder.device, folder.inode):
            return Presence.UNCERTAIN
        os.lstat(folder.path + b"/" + path)
    except (FileNotFoundError, NotADirectoryError):
        return _presence_by_directory(folder, path, device)
    except OSError:
        return Presence.UNCERTAIN
    return Presence.PRESENT


def _presence_by_directory(folder: Folder, path: bytes, device: int) -> Presence:
    directory = path
    while directory:
        directory = directory.rpartition(b"/")[0]
        try:
            found = os.lstat(folder.path + b"/" + directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return Presence.UNCERTAIN
            continue
        return Presence.ABSENT if found.st_dev == device else Presence.UNCERTAIN
    return Presence.UNCERTAIN


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _opened(path: bytes) -> BinaryIO:
    # Neither a link nor a pipe somebody put there may be followed or waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags), "rb")
