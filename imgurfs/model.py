"""The values everybody passes around: identifiers and frozen records.

No behaviour beyond what a field means, no I/O, no imports from this package. Times
are seconds since the epoch (``_at``, ``_s``), sizes are bytes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, NewType

ImageId = NewType("ImageId", str)
AlbumId = NewType("AlbumId", str)
Inode = NewType("Inode", int)
JobId = NewType("JobId", int)

#: The directory at the top of the drive; FUSE fixes the number.
ROOT_INODE = Inode(1)


@dataclass(frozen=True, slots=True)
class Account:
    """The account a token belongs to. ``url`` is the user name Imgur shows."""

    id: int
    url: str


#: What stands for an account where there is none: uploads known by deletehashes only.
ANONYMOUS: Final = Account(id=0, url="anonymous")


@dataclass(frozen=True, slots=True)
class Image:
    """One image as an API listing describes it (docs/IMGUR.md, Images).

    ``name`` is the uploaded file name, "" when Imgur does not tell it. ``size_bytes``
    is what the CDN will serve for ``link``; 0 means "not known yet" (a video that is
    still processed). ``deletehash`` is "" for somebody else's image.
    """

    id: ImageId
    type: str
    link: str
    size_bytes: int
    datetime_s: int
    title: str = ""
    description: str = ""
    name: str = ""
    deletehash: str = ""
    width: int = 0
    height: int = 0
    animated: bool = False
    favorite: bool = False
    views: int = 0


@dataclass(frozen=True, slots=True)
class Album:
    """One album as an API listing describes it, without its images.

    ``images_count`` is -1 and ``cover`` "" when the answer did not say.
    """

    id: AlbumId
    title: str
    datetime_s: int
    description: str = ""
    images_count: int = -1
    cover: str = ""
    privacy: str = ""
    link: str = ""
    deletehash: str = ""
    order: int = 0


@dataclass(frozen=True, slots=True)
class Credits:
    """What ``GET /3/credits`` reports. ``user_reset_at`` is an epoch."""

    user_limit: int
    user_remaining: int
    user_reset_at: float
    client_limit: int
    client_remaining: int


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """The rate headers of one answer, as numbers; None where a header was absent.

    Resets are seconds from the moment of the answer, whatever unit was sent.
    """

    user_limit: int | None = None
    user_remaining: int | None = None
    user_reset_s: float | None = None
    client_limit: int | None = None
    client_remaining: int | None = None
    client_reset_s: float | None = None
    post_limit: int | None = None
    post_remaining: int | None = None
    post_reset_s: float | None = None


class Lane(enum.StrEnum):
    """Who is asking the budget, in falling order of urgency (docs/ARCHITECTURE.md)."""

    CONTROL = "control"  # tokens, credits: never waits behind anything
    INTERACTIVE = "interactive"  # a user waits for this read or cheap album call
    FRESH = "fresh"  # uploads of files younger than ten minutes
    BULK = "bulk"  # backlog
    REFRESH = "refresh"  # keeping listings fresh
    PREFETCH = "prefetch"  # nobody asked yet


class RequestKind(enum.StrEnum):
    """What a request costs."""

    FREE = "free"  # OAuth: no credits (documented)
    CDN = "cdn"  # picture bytes: no credits
    READ = "read"  # 1 credit
    CHANGE = "change"  # 1 credit, and one POST when the verb is POST
    UPLOAD = "upload"  # UPLOAD_CREDITS credits, one POST, one upload


@dataclass(frozen=True, slots=True)
class RequestClass:
    """What a request is to the budget: its cost, its lane, and whether it is a POST."""

    kind: RequestKind
    lane: Lane
    is_post: bool = False
