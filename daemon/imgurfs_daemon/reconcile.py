"""Compares with the whole account from time to time: what others changed there.

At start and once a day everything is listed again. Then late twins of our own uploads
are swept up (``jobs.sweep``), the folders look again, and files whose image somebody
deleted on Imgur are reported, never uploaded again by themselves. It survives an
Imgur that cannot be reached, and waits while the user has paused.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable
from typing import NoReturn, Protocol

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.errors import (
    BudgetError,
    DatabaseBusyError,
    DeadlineError,
    ImgurfsError,
    RemoteError,
    ThrottledError,
)
from imgurfs.heartbeat import Heartbeat
from imgurfs.jobs.sweep import sweep
from imgurfs.model import Lane
from imgurfs.store import deletions, meta, notices, synced
from imgurfs.store.database import Connection, Database

log = logging.getLogger(__name__)

#: Paths that the notice names.
_SAMPLES = 5
#: How often a paused daemon asks whether it may go on.
_PAUSE_POLL_S = 60.0


class Refreshes(Protocol):
    """Lists the whole account into the store; ``tree.refresh.Refresher`` does."""

    async def refresh_all(self, lane: Lane) -> None:
        """Read images, albums and what changed in them. Raises RemoteError."""
        ...


class Marks(Protocol):
    """A folder that can be told to look again; ``folder.FolderSync`` is one."""

    def mark_all(self) -> None:
        """Look at everything soon."""
        ...


class Reconciler:
    """Keeps one account's store and folders honest about what is on Imgur."""

    def __init__(
        self,
        *,
        db: Database,
        refresher: Refreshes,
        folders: Callable[[], Iterable[Marks]],
        device: str,
        clock: Clock,
        heartbeat: Heartbeat,
        delete_grace_s: float = limits.DELETE_GRACE_S,
        on_queued: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self._db = db
        self._refresher = refresher
        self._folders = folders
        self._device = device
        self._clock = clock
        self._heartbeat = heartbeat
        self._delete_grace_s = delete_grace_s
        self._on_queued = on_queued
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self._runs = 0
        self._failures = 0

    def __repr__(self) -> str:
        return f"<Reconciler runs={self._runs} failures={self._failures}>"

    def statistics(self) -> dict[str, int]:
        """Return how often the account was compared, and failures since then."""
        return {"runs": self._runs, "failures": self._failures}

    async def run(self) -> NoReturn:
        """Compare now if that is due, and then daily. Raises LoginNeededError."""
        await self._sleep(self._first_wait_s())
        while True:
            await self._wait_while_paused()
            try:
                await self.reconcile()
            except (RemoteError, DatabaseBusyError, DeadlineError) as error:
                await self._sleep(self._pause_s(error))
            else:
                self._failures = 0
                jitter = self._rng.uniform(0.75, 1.25)
                await self._sleep(limits.FULL_REFRESH_INTERVAL_S * jitter)

    async def reconcile(self) -> None:
        """Compare once. After RemoteError or DeadlineError nothing is concluded."""
        self._heartbeat.beat(within_s=limits.RECONCILE_TIMEOUT_S)
        with trio.move_on_after(limits.RECONCILE_TIMEOUT_S) as scope:
            await self._refresher.refresh_all(Lane.REFRESH)
        if scope.cancelled_caught:
            raise DeadlineError(
                "the account could not be listed within"
                f" {limits.RECONCILE_TIMEOUT_S / 60:.0f} minutes"
            )
        now = self._clock.now()
        swept = await self._db.write(lambda c: self._conclude(c, now))
        self._runs += 1
        if swept:
            log.info("%d late twin(s) of uploads will be deleted", swept)
            self._on_queued()
        for folder in self._folders():
            folder.mark_all()

    def _conclude(self, c: Connection, now: float) -> int:
        _tell_missing(c)
        return sweep(c, device=self._device, now=now, grace_s=self._delete_grace_s)

    def _first_wait_s(self) -> float:
        listed_at = meta.get_time(self._db.reader, "images_listed_at")
        if listed_at is None:
            return 0.0
        age_s = self._clock.now() - listed_at
        if 0 <= age_s < limits.RECONCILE_FRESH_S:
            return limits.FULL_REFRESH_INTERVAL_S * self._rng.uniform(0.75, 1.0) - age_s
        return 0.0

    async def _wait_while_paused(self) -> None:
        while True:
            told = meta.get(self._db.reader, "paused_until")
            if told is None or float(told) <= self._clock.now():
                return
            await self._sleep(_PAUSE_POLL_S)

    def _pause_s(self, error: ImgurfsError) -> float:
        self._failures += 1
        pause_s = limits.REFRESH_BACKOFF_MIN_S * 2.0 ** min(self._failures - 1, 20)
        pause_s = min(pause_s, limits.REFRESH_BACKOFF_MAX_S)
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        if isinstance(error, BudgetError | ThrottledError):
            level = min(level, logging.INFO)  # waiting for credits is no outage
            retry_at = error.retry_at or math.inf
            ahead_s = min(retry_at - self._clock.now(), limits.RESET_AHEAD_MAX_S)
            pause_s = max(pause_s, ahead_s)
        log.log(level, "the account is not compared now: %s", error.message)
        return pause_s

    async def _sleep(self, duration_s: float) -> None:
        self._heartbeat.beat(within_s=duration_s + limits.WORKER_SILENCE_MAX_S)
        await trio.sleep(duration_s)


def _tell_missing(c: Connection) -> None:
    """Put, or drop, the notice about files whose image is gone from Imgur."""
    count, samples = deletions.files_without_image(c, limit=_SAMPLES)
    if not count:
        notices.drop(c, "missing")
        return
    names = ", ".join(
        (folder.path + b"/" + path).decode("utf-8", "backslashreplace")
        for folder_id, path in samples
        if (folder := synced.folder(c, folder_id)) is not None
    )
    more = ", …" if count > len(samples) else ""
    notices.put(
        c,
        "missing",
        f"the images of {count} file(s) were deleted on Imgur; the files are not"
        f" uploaded again unless they change: {names}{more}",
    )
