"""Sends what is in the outbox: claims jobs under a lock and the budget, settles them.

Used by the daemon, by ``imgurfs sync`` and, while neither runs, by the mount
(``imgurfs.draining``). What a job means is ``jobs.work``'s, what an
error means ``jobs.verdict``'s business; here and in ``jobs.attempt`` is only the order
of things:

1. the lock: one process of this machine drains an account;
2. prepare: files, listings and tables, nothing sent that could happen twice;
3. the budget: a crash from here on leaves credits reserved, never an unreserved send;
4. the intent: ``sending`` is committed before the first byte leaves;
5. the call;
6. settle: results, row and follow-up jobs in one transaction.

Whatever interrupts 5 leaves the job ``unknown`` (or queued again, if repeating it does
no harm), and ``jobs.resolve`` finds out. Nothing is ever sent because nobody knows.
"""

from __future__ import annotations

import functools
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from imgurfs import crashpoints, limits
from imgurfs.budget import Ledger
from imgurfs.clock import Clock
from imgurfs.errors import AlreadyRunningError, LoginNeededError, RemoteError
from imgurfs.executor import Executor
from imgurfs.jobs import guard, outcome, queueing, verdict
from imgurfs.jobs.attempt import Attempts
from imgurfs.jobs.resolve import Resolver
from imgurfs.jobs.rota import Rota
from imgurfs.jobs.steps import Account, Api, Progress, Tools
from imgurfs.locks import FileLock
from imgurfs.model import JobId, Lane
from imgurfs.store import meta, outbox
from imgurfs.store.database import Database
from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)

#: A drain until idle waits for what is due within this: album calls that collect their
#: images, listings that lag.
_IDLE_PATIENCE_S = limits.LISTING_LAG_S + 2 * limits.ALBUM_QUIET_S


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain did, in the order it happened, as lines for the user."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Drainer:
    """Sends jobs, at most ``DRAIN_CONCURRENCY_MAX`` at a time. One per process.

    ``may_send`` is asked before each intent is written; a no ends the drain.
    """

    def __init__(
        self,
        *,
        db: Database,
        api: Api,
        ledger: Ledger,
        account: Account,
        clock: Clock,
        executor: Executor,
        device_id: bytes,
        lock: FileLock,
        spool_dir: Path,
        cache_dir: Path | None = None,
        delete_grace_s: float = limits.DELETE_GRACE_S,
        is_name_title: bool = True,
        names: str = "keep",
        quarantine_s: float = limits.QUARANTINE_S,
        is_guarded: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
        on_settled: Callable[[Job], None] | None = None,
        may_send: Callable[[], bool] = lambda: True,
        rng: random.Random | None = None,
    ) -> None:
        self._db, self._ledger = db, ledger
        self._clock, self._lock = clock, lock
        self._quarantine_s, self._is_guarded = quarantine_s, is_guarded
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        tools = Tools(
            db=db,
            api=api,
            account=account,
            clock=clock,
            executor=executor,
            device_id=device_id,
            spool_dir=spool_dir,
            cache_dir=cache_dir,
            delete_grace_s=delete_grace_s,
            is_name_title=is_name_title,
            names=names,
            quarantine_s=quarantine_s,
            on_progress=on_progress,
            on_settled=on_settled,
        )
        self._attempts = Attempts(
            tools,
            ledger=ledger,
            rng=self._rng,
            quarantine_s=quarantine_s,
            is_guarded=is_guarded,
            may_send=lambda: may_send() or self._give_way(),
        )
        self._resolver = Resolver(tools, quarantine_s=quarantine_s)
        self._rota = Rota()
        self._reviewed = (0, 0, 0)
        self._in_flight: set[JobId] = set()
        self._is_looking = False
        self._wake = trio.Event()
        self._is_stopping = False
        self._look_after = 0.0
        self._fatal: LoginNeededError | None = None

    def __repr__(self) -> str:
        return f"<Drainer in_flight={len(self._in_flight)} {self._lock!r}>"

    def statistics(self) -> dict[str, int]:
        """Return how many jobs are in the air and how many ended in this process."""
        return {
            "in_flight": len(self._in_flight),
            "done": len(self._attempts.done),
            "failed": len(self._attempts.failed),
        }

    def wake(self) -> None:
        """Look at the outbox now: something was put into it."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no further job; :meth:`run` returns when those in the air are over."""
        self._is_stopping = True
        self.wake()

    def _give_way(self) -> bool:
        self._is_stopping = True
        return False

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Drain until :meth:`stop`. Waits while another process drains.

        Raises LoginNeededError when the account's token is not accepted any more.
        Cancelling abandons what is in the air as unknown.
        """
        task_status.started()
        while not self._lock.acquire_nowait():
            with trio.move_on_after(limits.DRAIN_POLL_S):
                await self._wake.wait()
            if self._is_stopping:
                return
        with self._lock:
            await self._recover()
            await self._loop(until_idle=False)

    async def run_until_idle(
        self, *, patience_s: float = 0.0, handover_s: float = 0.0
    ) -> DrainReport:
        """Drain until nothing can be done without waiting; return what was done.

        What is due within ``patience_s`` is waited for: budget and quarantine too,
        with ``math.inf``. Raises AlreadyRunningError when another process drains, and
        does not let go within ``handover_s``.
        """
        is_ours = self._lock.acquire_nowait()
        with trio.move_on_after(handover_s):
            while not is_ours and not self._is_stopping:
                # Another process lets go without telling us.
                await trio.sleep(limits.DAEMON_POLL_S)
                is_ours = self._lock.acquire_nowait()
        if not is_ours:
            raise AlreadyRunningError(
                "another process is uploading for this account"
                f" (process {self._lock.holder() or '?'})",
                hint="it will do this folder's work as well, or stop it first",
            )
        with self._lock:
            await self._recover()
            await self._loop(until_idle=True, patience_s=patience_s)
        return DrainReport(
            done=tuple(self._attempts.done), failed=tuple(self._attempts.failed)
        )

    async def _recover(self) -> None:
        now = self._clock.now()
        lost = await self._db.write(
            lambda c: queueing.recover(c, now=now, quarantine_s=self._quarantine_s)
        )
        crashpoints.reach("recovered")
        if lost:
            log.warning(
                "%d call(s) may or may not have happened when the program stopped;"
                " they are looked for in %.0f s",
                lost,
                self._quarantine_s,
            )

    # --- The loop -----------------------------------------------------------------

    async def _loop(self, *, until_idle: bool, patience_s: float = 0.0) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                version = self._db.data_version()
                # One moment for the whole turn: what becomes possible while it lasts
                # was not possible when it began, and is looked at in the next.
                now = self._clock.now()
                possible_at = self._possible_at(now)
                started = 0
                if not self._is_stopping:
                    await self._review_deletions()
                    started = self._start_jobs(nursery) + self._start_look(nursery)
                is_idle = not self._in_flight and not self._is_looking
                if self._is_stopping and is_idle:
                    break
                possible_at = min(possible_at, self._possible_at(now))
                is_over = until_idle and is_idle and not started
                if is_over and not self._is_worth_waiting(patience_s):
                    break
                await self._wait(max(possible_at, now + limits.DRAIN_TURN_S), version)
        if self._fatal is not None:
            raise self._fatal

    async def _wait(self, until: float = math.inf, version: int = 0) -> None:
        """Wait until then, until a wake, or until another process has changed things.

        SQLite tells of that for a few microseconds, so it is asked often.
        """
        while not self._wake.is_set():
            left_s = until - self._clock.now()
            with trio.move_on_after(max(0.0, min(left_s, limits.DRAIN_POLL_S))):
                await self._wake.wait()
            if self._clock.now() >= until or self._db.data_version() != version:
                return

    def _possible_at(self, now: float) -> float:
        """Return when something may become possible that is not now; inf for never."""
        c = self._db.reader
        told = meta.get(c, "paused_until")
        moments = [
            outcome.next_due_at(c, now=now, without=""),
            outcome.budget_allows_at(c, ledger=self._ledger, without=""),
            self._resolver.due_at() or math.inf,
            math.inf if told is None else float(told),
            self._attempts.paused_until,
            self._look_after,
        ]
        return min((at for at in moments if at > now), default=math.inf)

    def _is_worth_waiting(self, patience_s: float) -> bool:
        """Whether a drain until idle waits for what becomes possible then.

        Always for what only collects or lags; for more with patience. Deletions that
        wait out their grace are not waited for.
        """
        c, now = self._db.reader, self._clock.now()
        brief_until = self._attempts.progressed_at + _IDLE_PATIENCE_S
        if not self._is_paused() and outcome.next_due_at(c, now=now) <= brief_until:
            return True
        moments = [
            outcome.next_due_at(c, now=now),
            outcome.budget_allows_at(c, ledger=self._ledger),
            max(self._resolver.due_at() or math.inf, self._look_after),
        ]
        wanted = min(moments)
        return patience_s > 0 and wanted < math.inf and wanted <= now + patience_s

    def _is_paused(self) -> bool:
        """Whether the user, or a network that is not there, says: not now."""
        now = self._clock.now()
        told = meta.get(self._db.reader, "paused_until")
        return now < self._attempts.paused_until or (
            told is not None and now < float(told)
        )

    async def _review_deletions(self) -> None:
        """Let the guard look at deletions that are new, so that the user knows early.

        What counts is that it looks again when one is claimed.
        """
        stamp = outbox.deletions_stamp(self._db.reader)
        if stamp == self._reviewed or not self._is_guarded:
            return
        now = self._clock.now()
        report = await self._db.write(lambda c: guard.review(c, now=now, is_on=True))
        self._reviewed = outbox.deletions_stamp(self._db.reader)
        if report is not None:
            log.warning("%s", report.text)

    def _start_jobs(self, nursery: trio.Nursery) -> int:
        """Start what may run now; return how many jobs were started."""
        started = 0
        if self._is_paused():
            return started
        now = self._clock.now()
        for kind in queueing.KINDS:
            room = limits.DRAIN_CONCURRENCY_MAX - len(self._in_flight)
            if room <= 0:
                break
            jobs = self._rota.next_jobs(
                self._db.reader,
                kind=kind,
                now=now,
                room=room,
                in_flight=self._in_flight,
                may_run=functools.partial(self._may_run, kind),
            )
            for job in list(jobs):
                self._in_flight.add(job.id)
                nursery.start_soon(self._run_job, job)
                started += 1
        return started

    def _may_run(self, kind: str, lane: Lane) -> bool:
        return self._ledger.peek(outcome.request_at(kind, lane)) is None

    def _start_look(self, nursery: trio.Nursery) -> int:
        """Start looking for lost outcomes if that is due; return 1 if so."""
        due_at = self._resolver.due_at()
        now = self._clock.now()
        if due_at is None or max(due_at, self._look_after) > now:
            return 0
        if self._is_looking or self._is_paused():
            return 0
        self._is_looking = True
        nursery.start_soon(self._look)
        return 1

    async def _look(self) -> None:
        try:
            await self._resolver.look()
        except LoginNeededError as error:
            self._fatal = error
            self.stop()
        except RemoteError as error:
            self._look_after = self._clock.now() + verdict.look_pause_s(
                error, self._clock.now(), self._rng
            )
            log.warning("lost outcomes cannot be looked for now: %s", error.message)
        finally:
            self._is_looking = False
            self.wake()

    async def _run_job(self, job: Job) -> None:
        try:
            await self._attempts.run(job)
        finally:
            self._in_flight.discard(job.id)
            if self._attempts.fatal is not None:
                # Those in the air end by themselves; nothing new is sent.
                self._fatal = self._attempts.fatal
                self._is_stopping = True
            self.wake()
