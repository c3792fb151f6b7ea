"""Lets a mount send what is in the outbox for as long as no daemon does.

Theory of operation. ``daemon.lock`` says that a daemon serves the account,
``drain.lock`` that somebody sends. A mount sends only while the first is free and it
holds the second: it asks for the first before each intent is written and many times a
second besides. When a daemon comes, the mount ends what is in the air and lets go; the
daemon has been waiting for that. When it dies, the kernel frees its locks and the mount
goes on where it stopped. Of several mounts one sends, the others wait for its lock.

Nothing that goes wrong here ends the mount: reading and writing the drive needs nobody
who sends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import trio

from imgurfs import limits
from imgurfs.drain import Drainer
from imgurfs.errors import ImgurfsError, LoginNeededError
from imgurfs.jobs.steps import Write
from imgurfs.locks import FileLock
from imgurfs.store import notices
from imgurfs.store.database import Database

log = logging.getLogger(__name__)

LOGIN_NOTICE = notices.LOGIN


class Draining:
    """A mount's share in sending. One per mount.

    ``make`` builds a drainer that asks ``may_send`` before each intent.
    """

    def __init__(
        self,
        *,
        make: Callable[[Callable[[], bool]], Drainer],
        db: Database,
        daemon_lock: Path,
        token: Path,
    ) -> None:
        self._make = make
        self._db = db
        self._daemon_lock = FileLock(daemon_lock)
        self._token = token
        self._drainer: Drainer | None = None
        self._is_stopping = False
        #: What was told last, and until when (in trio's time) not again.
        self._told = ("", 0.0)

    def __repr__(self) -> str:
        return f"<Draining {self._drainer!r}>"

    def wake(self) -> None:
        """Look at the outbox now: something was put into it."""
        if self._drainer is not None:
            self._drainer.wake()

    def stop(self) -> None:
        """Begin no further job; :meth:`run` returns when those in the air are over."""
        self._is_stopping = True
        if self._drainer is not None:
            self._drainer.stop()

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Send while no daemon does, until :meth:`stop` or until cancelled.

        Cancelling leaves what is in the air a few seconds to end.
        """
        task_status.started()
        while not self._is_stopping:
            await _until(self._may_begin, limits.DRAIN_POLL_S)
            if self._is_stopping:
                return
            token = self._token_stamp()
            try:
                await self._drain_alone()
            except Exception as error:
                match _cause(error):
                    case LoginNeededError() as cause:
                        await self._await_login(cause, token)
                    case ImgurfsError() as cause:
                        self._say(cause.message)
                        await self._pause(limits.DRAIN_RETRY_S)
                    case _:
                        log.exception("nothing is sent for now: a bug of ours")
                        await self._pause(limits.ACCOUNT_RETRY_S)

    def _may_begin(self) -> bool:
        return self._is_stopping or self._is_alone()

    def _is_alone(self) -> bool:
        return self._daemon_lock.is_free()

    async def _drain_alone(self) -> None:
        """Send until a daemon comes. Raises what the drainer does."""
        self._drainer = drainer = self._make(self._is_alone)
        failure: Exception | None = None
        sending = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end, drainer, sending)
            with sending:
                try:
                    await drainer.run()
                except Exception as error:  # noqa: BLE001 - it is raised below
                    failure = error
            nursery.cancel_scope.cancel()
        self._drainer = None
        if failure is not None:
            raise failure

    async def _end(self, drainer: Drainer, sending: trio.CancelScope) -> None:
        """Stop a drainer when a daemon comes, or the mount ends."""
        try:
            await _until(lambda: not self._is_alone(), limits.DAEMON_POLL_S)
            drainer.stop()
            # The mount may end while what is in the air does.
            await trio.sleep_forever()
        finally:
            sending.deadline = trio.current_time() + limits.UNMOUNT_GRACE_S
            drainer.stop()

    async def _await_login(self, error: LoginNeededError, token: int) -> None:
        """Wait for another token: this one is not tried again."""
        log.error("nothing is sent: %s", error.message)
        hint = f" ({error.hint})" if error.hint else ""
        text = f"nothing is sent: {error.message}{hint}"
        await self._tell(lambda c: notices.put(c, LOGIN_NOTICE, text))
        await _until(
            lambda: self._is_stopping or self._token_stamp() != token,
            limits.DRAIN_POLL_S,
        )
        if not self._is_stopping:
            await self._tell(lambda c: notices.drop(c, LOGIN_NOTICE))

    def _say(self, message: str) -> None:
        """Tell what keeps coming back, but not every time."""
        told, until = self._told
        if message != told or trio.current_time() >= until:
            log.error("nothing is sent for now: %s", message)
            self._told = (message, trio.current_time() + limits.ACCOUNT_RETRY_S)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, unless there is to be none."""
        with trio.move_on_after(seconds):
            await _until(lambda: self._is_stopping, limits.DRAIN_POLL_S)

    async def _tell(self, write: Write) -> None:
        try:
            await self._db.write(write)
        except ImgurfsError as error:
            log.warning("the status does not tell: %s", error.message)

    def _token_stamp(self) -> int:
        """Return when the token was last written, 0 for never."""
        try:
            return self._token.stat().st_mtime_ns
        except OSError:
            return 0


def _cause(error: Exception) -> Exception:
    """Return what a group was raised for: a bug, if any of it is one."""
    while isinstance(error, ExceptionGroup):
        _, bugs = error.split(ImgurfsError)
        error = (bugs or error).exceptions[0]
    return error


async def _until(condition: Callable[[], bool], pause_s: float) -> None:
    """Wait for what other processes bring about, and nobody tells."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(pause_s)
