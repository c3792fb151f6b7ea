"""Every error this program raises on purpose, as one tree.

::

    ImgurfsError
    ├── UserError                    the user can mend it
    │   ├── UsageError               a wrong flag, path or combination         exit 2
    │   │   └── ForeignAnswerError   no answer to this login
    │   ├── ConfigError              the configuration file                    exit 78
    │   ├── AccountMismatchError     a token of another account                exit 78
    │   ├── LoginNeededError         no token, or it was revoked               exit 77
    │   └── MountpointError          missing, not empty, busy, nested          exit 1
    ├── UnavailableError             something this machine lacks              exit 69
    │   ├── AlreadyRunningError      another process holds the lock
    │   └── DatabaseError            state.db or budget.db cannot be used
    │       ├── DatabaseNewerError   written by a newer version; untouched     exit 78
    │       ├── DatabaseDamagedError replaced by the next that opens it alone
    │       ├── DatabaseFullError    its disk has no room
    │       └── DatabaseBusyError    another process holds it too long         exit 75
    ├── RemoteError                  Imgur, or the way there
    │   ├── NotSentError             nothing left this machine: retry freely
    │   │   └── SourceChangedError   the file changed while it was sent
    │   ├── OutcomeUnknownError      it may have happened: never resend blindly
    │   ├── OutageError              HTML, 5xx, malformed JSON on a read
    │   ├── ThrottledError           asked to wait (retry_at)
    │   ├── BudgetError              our own budget says wait (retry_at) or no
    │   ├── TokenRejectedError       the access token is not accepted
    │   ├── NotFoundError            it is not there (any more)
    │   ├── ForbiddenError           it is somebody else's
    │   └── RejectedError            Imgur will never take this request
    ├── EditError                    a change to the drive is refused
    │   ├── NameTakenError           there is something of that name already
    │   ├── NotEmptyError            the album has images in it
    │   ├── NoDirectoryError         a file where a directory is needed
    │   ├── IsDirectoryError         a directory where a file is needed
    │   ├── NotAllowedError          the drive has no such thing (an album in an album)
    │   ├── CrossAlbumError          a link that memberships cannot express
    │   ├── BadNameError             bytes that are not UTF-8
    │   ├── NameTooLongError         more than 255 bytes
    │   ├── NotMediaNameError        a name that no media file has
    │   ├── NotMediaError            bytes that Imgur does not take
    │   ├── TooLargeError            more bytes than Imgur takes
    │   └── SpoolFullError           no room for bytes that are not uploaded yet
    ├── ContentError                 the CDN's bytes are not the image
    │   ├── ContentGoneError         redirect to removed.png, 404
    │   └── ContentMismatchError     placeholder, HTML, wrong length
    └── DeadlineError                our own bound on waiting passed           exit 75

Whose fault, whether a retry may help and when, and what the user can do are fields.
Foreign exceptions are translated once, at the edge where they arise (``metered``,
``store.database``, ``cli``). errnos exist only in ``imgurfs.fuse.errnos``.
"""

from __future__ import annotations


class ImgurfsError(Exception):
    """What happened (``message``) and what to do about it (``hint``, may be "").

    ``exit_code`` is what a command that fails with this error exits with.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(ImgurfsError):
    """The user can mend it."""


class UsageError(UserError):
    """A wrong flag, path or combination of them."""

    exit_code = 2


class ForeignAnswerError(UsageError):
    """What came back from a browser, or was pasted, is no answer to this login."""


class ConfigError(UserError):
    """The configuration file is missing, malformed or means nothing."""

    exit_code = 78


class AccountMismatchError(UserError):
    """The token belongs to another account than the state on disk."""

    exit_code = 78


class LoginNeededError(UserError):
    """There is no token, or Imgur does not accept it any more."""

    exit_code = 77


class MountpointError(UserError):
    """The mountpoint is missing, not empty, already mounted or nested."""


class UnavailableError(ImgurfsError):
    """Something this machine lacks or holds back."""

    exit_code = 69


class AlreadyRunningError(UnavailableError):
    """Another process holds the lock."""


class DatabaseError(UnavailableError):
    """A database of ours cannot be used."""


class DatabaseNewerError(DatabaseError):
    """The database was written by a newer version; it is left untouched."""

    exit_code = 78


class DatabaseDamagedError(DatabaseError):
    """The database is damaged; whoever opens it alone next moves it aside."""


class DatabaseFullError(DatabaseError):
    """The disk has no room for a change of the database; nothing was changed."""


class DatabaseBusyError(DatabaseError):
    """Another process held the database longer than the bound."""

    exit_code = 75


class RemoteError(ImgurfsError):
    """Imgur, or the way there, did not do what was asked."""

    exit_code = 75


class NotSentError(RemoteError):
    """Nothing left this machine (DNS, refused, unreachable): retry freely."""


class SourceChangedError(NotSentError):
    """The local file changed or vanished while it was sent.

    The request was cut short, so it cannot have taken effect.
    """


class OutcomeUnknownError(RemoteError):
    """The request may have taken effect. Uploads must never be resent blindly."""


class OutageError(RemoteError):
    """Imgur answered, but not as the API: HTML, 5xx, malformed JSON."""


class ThrottledError(RemoteError):
    """Imgur asked to wait.

    ``retry_at`` is an epoch; ``scope`` is "upload", "user", "client", "posts" or
    "capacity"; of the pictures "cdn", which concerns nothing else.
    """

    def __init__(
        self, message: str, *, retry_at: float, scope: str, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_at = retry_at
        self.scope = scope


class BudgetError(RemoteError):
    """Our own budget does not allow the request now; nothing was sent.

    ``retry_at`` is an epoch, None when waiting will not help (consent is needed).
    """

    def __init__(self, message: str, *, retry_at: float | None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_at = retry_at


class TokenRejectedError(RemoteError):
    """The access token is not accepted; a refresh may help."""

    exit_code = 77


class NotFoundError(RemoteError):
    """The image or album is not there (any more)."""

    exit_code = 1


class ForbiddenError(RemoteError):
    """It is somebody else's, or private."""

    exit_code = 1


class RejectedError(RemoteError):
    """Imgur will never take this request as it is. ``code`` is Imgur's own, or 0."""

    exit_code = 1

    def __init__(self, message: str, *, code: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class EditError(ImgurfsError):
    """A change to the drive is refused; nothing was changed."""


class NameTakenError(EditError):
    """There is something of that name already."""


class NotEmptyError(EditError):
    """The album has images in it."""


class NoDirectoryError(EditError):
    """There is a file where a directory is needed."""


class IsDirectoryError(EditError):
    """There is a directory where a file is needed."""


class NotAllowedError(EditError):
    """The drive has no such thing: an album in an album, a symbolic link."""


class CrossAlbumError(EditError):
    """A link that memberships cannot express: an image in an album and in the root."""


class BadNameError(EditError):
    """The name is not UTF-8."""


class NameTooLongError(EditError):
    """The name has more than 255 bytes."""


class NotMediaNameError(EditError):
    """The name says that this is no media file."""


class NotMediaError(EditError):
    """The bytes are nothing that Imgur takes as it is."""


class TooLargeError(EditError):
    """The file has more bytes than Imgur takes."""


class SpoolFullError(EditError):
    """There is no room for bytes that are not uploaded yet."""


class ContentError(ImgurfsError):
    """What the CDN serves is not the image."""


class ContentGoneError(ContentError):
    """The CDN says the image was removed."""


class ContentMismatchError(ContentError):
    """A placeholder, a page or a body of the wrong length came instead."""


class DeadlineError(ImgurfsError):
    """Our own bound on waiting has passed."""

    exit_code = 75
