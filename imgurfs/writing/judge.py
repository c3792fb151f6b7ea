"""What may be called how, and what becomes of bytes that a program has finished.

Pure: names, sizes and the first bytes in, verdicts out. Knows no rows and no files.
What Imgur takes at all is told by :func:`imgurfs.jobs.disk.refusal`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from imgurfs import limits
from imgurfs.config import MountConfig
from imgurfs.errors import (
    EditError,
    NameTooLongError,
    NotAllowedError,
    NotMediaError,
    NotMediaNameError,
    TooLargeError,
)
from imgurfs.jobs import disk
from imgurfs.store.drafts import DraftState
from imgurfs.tree.naming import MEDIA_EXTENSIONS

#: Bytes that the type of a content is judged by.
HEAD_BYTES: Final = disk.HEAD_BYTES
#: Names under which programs keep what is not finished, or what was there before.
_TEMPORARY: Final = re.compile(
    r"\..*"  # hidden files: rsync's .x.jpg.Ab3dEf, .goutputstream-…, .x.swp
    r"|.*~"  # backups of editors, ImageMagick's mogrify
    r"|~\$.*"  # office programs' locks
    r"|#.*#"  # Emacs
    r"|.*\.(part|partial|tmp|temp|crdownload|download|filepart|!ut|aria2|opdownload)"
    r"|.*\.(swp|swx|swo|bak|orig|lock|kate-swp)"
    r"|.*_exiftool_tmp"
    rf"|.*\.({'|'.join(sorted(MEDIA_EXTENSIONS))})_original",  # exiftool's backup
    re.IGNORECASE | re.DOTALL,
)
#: What looks like an extension: short, and not only digits ("Tour 12.30" has none).
_EXTENSION: Final = re.compile(
    r".+\.((?=\d*[a-z])[a-z0-9]{1,10})", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a content: its draft's state and error.

    ``exception`` is what the program that wrote it is told when it closes the file.
    """

    state: DraftState
    error: str = ""
    exception: EditError | None = None


def is_temporary(name: str) -> bool:
    """Whether programs call so what is not finished: it is never uploaded.

    Nor is what is in a directory of such a name, which is no album.
    """
    return _TEMPORARY.fullmatch(name) is not None


def name_problem(name: str, *, takes_any: bool) -> EditError | None:
    """Return why nothing on the drive may be called ``name``, None when it may.

    ``takes_any``: for albums, and for files with ``non_media = "keep-local"``.
    """
    if len(name.encode(errors="surrogateescape")) > limits.NAME_BYTES_MAX:
        return NameTooLongError(f"the name has more than {limits.NAME_BYTES_MAX} bytes")
    if name.startswith("@") or name == ".imgurfs":
        return NotAllowedError(
            f"{name!r} is a name that the drive keeps for itself",
            hint="choose another name",
        )
    extension = _EXTENSION.fullmatch(name)
    if takes_any or extension is None or is_temporary(name):
        return None
    if extension[1].lower() in MEDIA_EXTENSIONS:
        return None
    return NotMediaNameError(
        f"Imgur takes pictures and videos only, and {name!r} is no name of one",
        hint='non_media = "keep-local" keeps any file, on this machine only',
    )


def judge(
    head: bytes, size_bytes: int, settings: MountConfig, *, is_scratch: bool
) -> Verdict:
    """Return what becomes of a content that begins with ``head``.

    ``is_scratch``: it has no name but temporary ones.
    """
    if is_scratch:
        return Verdict(DraftState.SCRATCH)
    reason = disk.refusal(head, size_bytes)
    mime = disk.type_of(head)
    if not size_bytes or mime is None:
        return _not_media(reason, is_empty=not size_bytes, settings=settings)
    if reason and disk.is_taken(mime):
        return Verdict(DraftState.REFUSED, reason, TooLargeError(reason))
    if reason:
        return _not_media(reason, is_empty=False, settings=settings)
    lossless_bytes_max = _lossless_bytes_max(mime, settings)
    if settings.lossy == "refuse" and size_bytes > lossless_bytes_max:
        reason = _lossy_reason(mime, size_bytes, lossless_bytes_max)
        hint = 'lossy = "accept" in the section [mount] uploads it all the same'
        exception = TooLargeError(reason, hint=hint)
        return Verdict(DraftState.REFUSED, f"{reason}; {hint}", exception)
    return Verdict(DraftState.WAITING)


def size_problem(size_bytes: int, settings: MountConfig) -> TooLargeError | None:
    """Return why no file may grow to ``size_bytes``, None when it may."""
    if settings.non_media == "keep-local" or size_bytes <= limits.VIDEO_BYTES_MAX:
        return None
    return TooLargeError(
        f"larger than anything Imgur takes ({limits.VIDEO_BYTES_MAX} bytes)"
    )


def _not_media(reason: str, *, is_empty: bool, settings: MountConfig) -> Verdict:
    """Judge what Imgur does not take. Many programs make an empty file first."""
    if settings.non_media == "keep-local":
        return Verdict(DraftState.LOCAL)
    exception = None if is_empty else NotMediaError(reason)
    return Verdict(DraftState.REFUSED, reason, exception)


def _lossless_bytes_max(mime: str, settings: MountConfig) -> int:
    """Return up to which size Imgur serves the bytes that it was given."""
    if mime == "image/gif":
        return limits.LOSSLESS_GIF_BYTES_MAX
    if mime.startswith("image/"):
        return settings.lossless_still_bytes_max
    # Nobody has told that videos become worse; what comes back is compared anyway.
    return limits.VIDEO_BYTES_MAX


def _lossy_reason(mime: str, size_bytes: int, lossless_bytes_max: int) -> str:
    what = (
        "serves a still of it" if mime == "image/gif" else "makes a smaller JPEG of it"
    )
    return (
        f"Imgur does not keep a picture of {size_bytes} bytes as it is: it {what}"
        f" (over {lossless_bytes_max} bytes)"
    )
