"""Names as the kernel gives them: bytes of any encoding and length.

Pure; used by the request handlers. What a name may be called beyond that is
``imgurfs.writing``'s business.
"""

from __future__ import annotations

from imgurfs.errors import BadNameError, NameTooLongError, NotFoundError
from imgurfs.limits import NAME_BYTES_MAX


def name_to_find(name: bytes) -> str:
    """Return the text of a name that may exist.

    Raises NameTooLongError, and NotFoundError for bytes that no name here consists of.
    """
    _check_length(name)
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise NotFoundError("a name that is not UTF-8 does not exist here") from None
    # The kernel asks for these only on behalf of NFS.
    if text in (".", ".."):
        raise NotFoundError(f"{text!r} is not stored")
    return text


def name_to_give(name: bytes) -> str:
    """Return the text of a name for something new.

    Raises NameTooLongError and BadNameError (not UTF-8).
    """
    _check_length(name)
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadNameError("a name must be UTF-8") from None


def _check_length(name: bytes) -> None:
    if len(name) > NAME_BYTES_MAX:
        raise NameTooLongError(f"a name has at most {NAME_BYTES_MAX} bytes")
