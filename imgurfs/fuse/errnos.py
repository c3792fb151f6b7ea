"""The one table from our errors to errnos.

errnos exist in no other module's interface. The test goes through all leaves of
``imgurfs.errors``: a new error without a line here fails it.
"""

from __future__ import annotations

import errno
from typing import Final

from imgurfs import errors
from imgurfs.errors import ImgurfsError

ERRNOS: Final[dict[type[ImgurfsError], int]] = {
    # The user can mend it.
    errors.UsageError: errno.EINVAL,
    errors.ForeignAnswerError: errno.EINVAL,
    errors.ConfigError: errno.EINVAL,
    errors.AccountMismatchError: errno.EACCES,
    errors.LoginNeededError: errno.EACCES,
    errors.MountpointError: errno.EINVAL,
    # This machine.
    errors.UnavailableError: errno.EIO,
    errors.AlreadyRunningError: errno.EBUSY,
    errors.DatabaseError: errno.EIO,
    errors.DatabaseNewerError: errno.EIO,
    errors.DatabaseDamagedError: errno.EIO,
    errors.DatabaseFullError: errno.ENOSPC,
    errors.DatabaseBusyError: errno.EBUSY,
    # Imgur, or the way there.
    errors.NotSentError: errno.ENETUNREACH,
    errors.SourceChangedError: errno.EBUSY,
    errors.OutcomeUnknownError: errno.EIO,
    errors.OutageError: errno.EIO,
    errors.ThrottledError: errno.EIO,
    errors.BudgetError: errno.EDQUOT,
    errors.TokenRejectedError: errno.EACCES,
    errors.NotFoundError: errno.ENOENT,
    errors.ForbiddenError: errno.EACCES,
    errors.RejectedError: errno.EINVAL,
    # A change that is refused.
    errors.NameTakenError: errno.EEXIST,
    errors.NotEmptyError: errno.ENOTEMPTY,
    errors.NoDirectoryError: errno.ENOTDIR,
    errors.IsDirectoryError: errno.EISDIR,
    errors.NotAllowedError: errno.EPERM,
    errors.CrossAlbumError: errno.EXDEV,
    errors.BadNameError: errno.EILSEQ,
    errors.NameTooLongError: errno.ENAMETOOLONG,
    errors.NotMediaNameError: errno.EOPNOTSUPP,
    errors.NotMediaError: errno.EINVAL,
    errors.TooLargeError: errno.EFBIG,
    errors.SpoolFullError: errno.ENOSPC,
    # The bytes. They are read through an open file, whose handle has gone stale.
    errors.ContentGoneError: errno.ESTALE,
    errors.ContentMismatchError: errno.EIO,
    # Time.
    errors.DeadlineError: errno.ETIMEDOUT,
}


def errno_of(error: ImgurfsError) -> int:
    """Return the errno for an error; EIO for a class that only has children."""
    for kind in type(error).__mro__:
        if kind in ERRNOS:
            return ERRNOS[kind]
    return errno.EIO
