"""The same refusal in other words: what the quirks make of an error.

Routes refuse with the words of the legacy back-end; ``api`` passes every refusal
through here before it is written. Nothing is decided here but the wording.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from imgurfs.emulator.rules.errors import ApiError, Kind, Shape
from imgurfs.emulator.rules.quirks import Quirks
from imgurfs.emulator.rules.wire import NOT_FOUND_PAGE

_NOT_ALLOWED_PAGE: Final = (
    "<html>\r\n<head><title>405 Not Allowed</title></head>\r\n<body>\r\n"
    "<center><h1>405 Not Allowed</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """What differs from the refusal as raised; "" keeps its message."""

    status: int
    message: str = ""
    shape: Shape = Shape.STRING
    code: int = 0
    exception: str = "ImgurException"

    def of(self, error: ApiError) -> ApiError:
        """Return the refusal in these words."""
        return ApiError(
            self.status,
            self.message or error.message,
            shape=self.shape,
            code=self.code,
            exception=self.exception,
            kind=error.kind,
        )


_TOO_BIG: Final = "file is over the size limit"
#: For a kind of refusal: the quirk that chooses, and its values that change words.
_CHOICES: Final[dict[Kind, tuple[str, dict[str, _Words]]]] = {
    Kind.MISSING_IMAGE: (
        "missing_image",
        {"page": _Words(status=404, message=NOT_FOUND_PAGE, shape=Shape.HTML)},
    ),
    Kind.FOREIGN_ALBUM: ("foreign_album", {"400": _Words(status=400)}),
    Kind.FOREIGN_FORMAT: (
        "foreign_format",
        {
            "415": _Words(
                status=415,
                message="[album]: File type invalid (1)",
                shape=Shape.OBJECT,
                code=1003,
                exception="Exception_UploadError",
            ),
            "text": _Words(status=400, message="We don't support that file type!"),
        },
    ),
    Kind.TOO_BIG: (
        "too_big",
        {
            "413": _Words(status=413, message=_TOO_BIG),
            "413_nested": _Words(status=413, message=_TOO_BIG, shape=Shape.NESTED),
            "405_page": _Words(status=405, message=_NOT_ALLOWED_PAGE, shape=Shape.HTML),
        },
    ),
    Kind.TOO_FAST: (
        "too_fast",
        {
            "400": _Words(status=400, shape=Shape.OBJECT, code=429),
            "old": _Words(status=400, message="Uploading file too fast!"),
        },
    ),
    Kind.INVALID_TOKEN: (
        "invalid_token",
        {
            "401": _Words(status=401, message="Unauthorized", shape=Shape.ERRORS),
            "429": _Words(status=429, message="Too Many Requests", shape=Shape.ERRORS),
        },
    ),
}


def in_other_words(error: ApiError, quirks: Quirks) -> ApiError:
    """Return the refusal as the quirks want it said."""
    name, words = _CHOICES.get(error.kind, ("", {}))
    chosen = words.get(getattr(quirks, name)) if name else None
    return chosen.of(error) if chosen else error
