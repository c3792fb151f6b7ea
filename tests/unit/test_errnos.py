"""imgurfs.fuse.errnos and the wrapper around every request."""

from __future__ import annotations

import errno
import inspect
import logging
import sqlite3

import pyfuse3
import pytest
import trio

from imgurfs import errors
from imgurfs.errors import ImgurfsError, NotFoundError
from imgurfs.fuse.editing import EditingOperations
from imgurfs.fuse.errnos import ERRNOS, errno_of
from imgurfs.fuse.read_only import ReadOnlyOperations
from imgurfs.fuse.requests import Deadlines, Wait, request

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ImgurfsError) and not kind.__subclasses__()
]


class Handlers:
    """Handlers that fail in every way."""

    deadlines = Deadlines(metadata_s=10, data_s=30)
    damages = 0

    def on_damage(self) -> None:
        """Count."""
        self.damages += 1

    @request()
    async def fail(self, error: Exception) -> None:
        """Raise what it is given."""
        raise error

    @request(Wait.DATA)
    async def hang(self) -> None:
        """Never answer."""
        await trio.sleep_forever()


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_has_an_errno(kind: type[ImgurfsError]) -> None:
    """No error of the tree is left to the default."""
    assert kind in ERRNOS
    assert ERRNOS[kind] in errno.errorcode


def test_an_inner_class_of_the_tree_is_an_input_output_error() -> None:
    """An error that says no more than "something remote" is EIO."""
    assert errno_of(ImgurfsError("?")) == errno.EIO


async def test_our_errors_become_their_errno() -> None:
    """R13: an error of ours reaches the program that asked as its errno."""
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await Handlers().fail(NotFoundError("gone"))
    assert caught.value.errno == errno.ENOENT


async def test_a_bug_is_an_input_output_error_with_one_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R14: an unexpected exception is EIO, and the log has its traceback once."""
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await Handlers().fail(ZeroDivisionError("a bug"))
    assert caught.value.errno == errno.EIO
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert [record.levelno for record in tracebacks] == [logging.ERROR]


def corrupt() -> sqlite3.DatabaseError:
    """Return what SQLite raises when it meets a bad page."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


@pytest.mark.parametrize("error", [corrupt(), errors.DatabaseDamagedError("bad page")])
async def test_damage_is_noted_for_the_next_start(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """R14: damage that a request meets is EIO, noted, and no bug."""
    handlers = Handlers()
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await handlers.fail(error)
    assert caught.value.errno == errno.EIO
    assert handlers.damages == 1
    assert not any(record.exc_info for record in caplog.records)


async def test_refusals_of_every_day_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A log of warnings is for what needs a reason; it tells what to do about it."""
    for error in (NotFoundError("no"), errors.NameTakenError("there is one")):
        with pytest.raises(pyfuse3.FUSEError):
            await Handlers().fail(error)
    assert caplog.records == []
    with pytest.raises(pyfuse3.FUSEError):
        await Handlers().fail(errors.TooLargeError("too large", hint="make it smaller"))
    assert "too large (make it smaller)" in caplog.text


async def test_a_handler_that_hangs_is_timed_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """R12: a request is answered within its bound, whatever it waits for."""
    started = trio.current_time()
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await Handlers().hang()
    assert caught.value.errno == errno.ETIMEDOUT
    assert trio.current_time() - started == 30


REFUSALS = {"_refuse", "readlink", "forget"}


@pytest.mark.parametrize("kind", [ReadOnlyOperations, EditingOperations])
def test_every_request_is_wrapped_or_refused(kind: type[pyfuse3.Operations]) -> None:
    """R12, R14: no handler can be reached without the wrapper."""
    own = [
        method
        for ours in kind.__mro__[: kind.__mro__.index(pyfuse3.Operations)]
        for name, method in vars(ours).items()
        if inspect.iscoroutinefunction(method) and not name.startswith("_")
    ]
    assert len(own) > 25
    bare = {m.__name__ for m in own if not hasattr(m, "__wrapped__")}
    assert bare <= REFUSALS
