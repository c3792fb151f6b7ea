"""The wrapper around every kernel request: a deadline, and errors as errnos.

Without it one unexpected exception in a handler would end pyfuse3's main loop and with
it the mount, and one handler that waits would leave its caller waiting. Used by
the request handlers.
"""

from __future__ import annotations

import enum
import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

import pyfuse3
import trio

from imgurfs import limits
from imgurfs.errors import DatabaseDamagedError, ImgurfsError
from imgurfs.fuse.errnos import errno_of
from imgurfs.store.damage import is_damage

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: Answers that programs get every day; the log is for those that need a reason.
_ORDINARY: Final = frozenset(
    {
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EXDEV,
        errno.EILSEQ,
        errno.ENAMETOOLONG,
    }
)


class Wait(enum.Enum):
    """How long a kind of request may take at most."""

    METADATA = "metadata"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The bounds in seconds."""

    metadata_s: float = limits.FUSE_METADATA_DEADLINE_S
    data_s: float = limits.FUSE_DATA_DEADLINE_S

    def of(self, wait: Wait) -> float:
        """Return the bound of a kind of request."""
        return self.data_s if wait is Wait.DATA else self.metadata_s


class HasDeadlines(Protocol):
    """What the wrapper needs of the object whose method it wraps."""

    deadlines: Deadlines

    def on_damage(self) -> None:
        """Take note that a database turned out to be damaged."""
        ...


S = TypeVar("S", bound=HasDeadlines)
Handler = Callable[Concatenate[S, P], Coroutine[Any, Any, T]]


def request(
    wait: Wait = Wait.METADATA,
) -> Callable[[Handler[S, P, T]], Handler[S, P, T]]:
    """Wrap a handler: whatever happens, it answers within its bound.

    ImgurfsError becomes its errno, a passed deadline ETIMEDOUT, and any other exception
    EIO with one logged traceback; the mount lives on.
    """

    def decorate(handler: Handler[S, P, T]) -> Handler[S, P, T]:
        name = handler.__name__

        @functools.wraps(handler)
        async def answer(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            bound_s = self.deadlines.of(wait)
            try:
                with trio.fail_after(bound_s):
                    return await handler(self, *args, **kwargs)
            except pyfuse3.FUSEError:
                raise
            except trio.TooSlowError:
                logger.warning("%s: no answer within %g s", name, bound_s)
                raise pyfuse3.FUSEError(errno.ETIMEDOUT) from None
            except ImgurfsError as error:
                raise _refusal(self, name, error) from None
            except Exception as error:
                if is_damage(error):
                    self.on_damage()
                    logger.error("%s: the database is damaged: %s", name, error)  # noqa: TRY400 - no bug of ours
                else:
                    logger.exception("%s failed; this is a bug", name)
                raise pyfuse3.FUSEError(errno.EIO) from None

        return answer

    return decorate


def _refusal(handlers: HasDeadlines, name: str, error: ImgurfsError) -> Exception:
    """Return an error as the kernel wants it, after it was logged if need be."""
    if isinstance(error, DatabaseDamagedError):
        handlers.on_damage()
    number = errno_of(error)
    if number in _ORDINARY:
        logger.debug("%s: %s", name, error)
    else:
        hint = f" ({error.hint})" if error.hint else ""
        logger.warning("%s: %s%s", name, error, hint)
    return pyfuse3.FUSEError(number)
