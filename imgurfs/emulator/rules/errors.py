"""The refusals of the API, as exceptions: what is refused, not how it is written.

``wire.error_reply`` writes them in the shape of a dialect. Raised by routes, uploads
and the gate; caught in one place, ``api``.
"""

from __future__ import annotations

import enum


class Shape(enum.StrEnum):
    """The error bodies Imgur is known to send."""

    STRING = "A"  # data.error is a string, with request and method
    OBJECT = "B"  # data.error is an object with a code
    ERRORS = "C"  # {"errors": [...]}, no data, success or status
    EDGE = "D"  # data.error is a string, nothing else
    HTML = "E"  # not JSON at all
    NESTED = "F"  # data.error is an object in the manner of C
    MESSAGE = "G"  # {"message": "…"}, the gateway that sells commercial use


class Kind(enum.Enum):
    """Refusals that are not always said in the same words (``refusals``)."""

    PLAIN = enum.auto()
    MISSING_IMAGE = enum.auto()
    FOREIGN_ALBUM = enum.auto()
    FOREIGN_FORMAT = enum.auto()
    TOO_BIG = enum.auto()
    TOO_FAST = enum.auto()
    INVALID_TOKEN = enum.auto()


class ApiError(Exception):
    """One refusal.

    ``status`` is the HTTP status, ``code`` Imgur's own number inside shape B (0: the
    same as the status). ``body_status`` is the status claimed in the body, which
    differs from HTTP's in some answers. ``exception`` is the type named in shape B.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        shape: Shape = Shape.STRING,
        code: int = 0,
        body_status: int | None = None,
        exception: str = "ImgurException",
        kind: Kind = Kind.PLAIN,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.shape = shape
        self.code = code or status
        self.body_status = status if body_status is None else body_status
        self.exception = exception
        self.kind = kind


def not_found_image(image_id: str) -> ApiError:
    """Return the refusal for an image that is not there."""
    return ApiError(
        404,
        f"Unable to find an image with the id, {image_id}",
        kind=Kind.MISSING_IMAGE,
    )


def not_found_album(album_id: str) -> ApiError:
    """Return the refusal for an album that is not there."""
    return ApiError(404, f"Unable to find an album with the id, {album_id}")


def must_own(album_id: str) -> ApiError:
    """Return the refusal to put somebody else's or unknown images into an album."""
    return ApiError(
        403, f"You must own all the image ids to add them to album {album_id}"
    )


def not_album_owner(album_id: str) -> ApiError:
    """Return the refusal to upload into an album that is not the caller's."""
    return ApiError(
        403,
        f"You are not the owner of album '{album_id}', which means you can't add "
        "images to it. For anonymous albums, use the album deletehash.",
        kind=Kind.FOREIGN_ALBUM,
    )


def out_of_credits() -> ApiError:
    """Return the refusal of a spent hour, day or month."""
    return ApiError(429, "Too Many Requests", shape=Shape.ERRORS)


def too_fast(minutes: int) -> ApiError:
    """Return the refusal of the upload throttle; HTTP says 429, the body 400."""
    return ApiError(
        429,
        f"You are uploading too fast. Please wait {minutes} more minutes.",
        shape=Shape.OBJECT,
        body_status=400,
        kind=Kind.TOO_FAST,
    )


def invalid_type() -> ApiError:
    """Return the refusal of bytes that are no picture Imgur takes."""
    return ApiError(
        400,
        "File type invalid (1)",
        shape=Shape.OBJECT,
        code=1003,
        kind=Kind.FOREIGN_FORMAT,
    )


def too_big() -> ApiError:
    """Return the refusal of a file above the size limit."""
    return ApiError(400, "File is over the size limit", kind=Kind.TOO_BIG)


def invalid_token() -> ApiError:
    """Return the refusal of an access token that is unknown or has expired."""
    return ApiError(
        403, "The access token provided is invalid.", kind=Kind.INVALID_TOKEN
    )


def no_commercial_key() -> ApiError:
    """Return the refusal of the commercial host to callers without a key."""
    return ApiError(401, "Missing RapidAPI application key.", shape=Shape.MESSAGE)
