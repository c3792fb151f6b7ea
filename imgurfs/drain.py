"""Sends what is in the outbox: claims jobs under a lock and the budget, settles them.

Used by the daemon and by ``imgurfs sync``. What a job means is ``jobs.work``'s, what an
error means ``jobs.verdict``'s business; here is only the order of things:

1. the lock: one process of this machine drains an account;
2. prepare: files and tables, nothing spent;
3. the budget: a crash from here on leaves credits
   reserved, never an unreserved send;
4. the intent: ``sending`` is committed before the first byte leaves;
5. the call;
6. settle: results, row and follow-up jobs in one transaction.

Whatever interrupts 5 leaves the job ``unknown`` (or queued again, if repeating it does
no harm). Nothing is ever sent because nobody knows.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from imgurfs import limits
from imgurfs.budget import Grant, Ledger
from imgurfs.clock import Clock
from imgurfs.errors import (
    AlreadyRunningError,
    DeadlineError,
    ImgurfsError,
    LoginNeededError,
    NotSentError,
    SourceChangedError,
)
from imgurfs.executor import Executor
from imgurfs.jobs import queueing, verdict
from imgurfs.jobs.work import (
    AlbumList,
    Api,
    Later,
    Ready,
    Resolved,
    Worker,
    request_of,
)
from imgurfs.locks import FileLock
from imgurfs.model import JobId, Lane
from imgurfs.store import outbox
from imgurfs.store.database import Connection, Database
from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)

_URGENCY = {lane: rank for rank, lane in enumerate(Lane)}


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain did, in the order it happened, as lines for the user."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Drainer:
    """Sends jobs, at most ``DRAIN_CONCURRENCY_MAX`` at a time. One per process."""

    def __init__(
        self,
        *,
        db: Database,
        api: Api,
        ledger: Ledger,
        albums: AlbumList,
        clock: Clock,
        executor: Executor,
        device_id: bytes,
        lock: FileLock,
        names: str = "keep",
        rng: random.Random | None = None,
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._clock = clock
        self._lock = lock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self._worker = Worker(
            db=db,
            api=api,
            albums=albums,
            clock=clock,
            executor=executor,
            device_id=device_id,
            names=names,
        )
        self._in_flight: set[JobId] = set()
        self._wake = trio.Event()
        self._is_stopping = False
        self._offline_count = 0
        self._paused_until = 0.0
        self._fatal: LoginNeededError | None = None
        self._done: list[str] = []
        self._failed: list[str] = []

    def __repr__(self) -> str:
        return f"<Drainer in_flight={len(self._in_flight)} {self._lock!r}>"

    def statistics(self) -> dict[str, int]:
        """Return how many jobs are in the air and how many ended in this process."""
        return {
            "in_flight": len(self._in_flight),
            "done": len(self._done),
            "failed": len(self._failed),
        }

    def wake(self) -> None:
        """Look at the outbox now: something was put into it."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no further job; :meth:`run` returns when those in the air are over."""
        self._is_stopping = True
        self.wake()

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Drain until :meth:`stop`. Waits while another process drains.

        Raises LoginNeededError when the account's token is not accepted any more.
        Cancelling abandons what is in the air as unknown.
        """
        task_status.started()
        while not self._lock.acquire_nowait():
            self._wake = trio.Event()
            await self._wait(limits.DRAIN_POLL_S)
            if self._is_stopping:
                return
        with self._lock:
            await self._recover()
            await self._loop(until_idle=False)

    async def run_until_idle(self) -> DrainReport:
        """Drain until nothing can be sent without waiting; return what was done.

        Raises AlreadyRunningError when another process drains this account.
        """
        if not self._lock.acquire_nowait():
            raise AlreadyRunningError(
                "another process is uploading for this account"
                f" (process {self._lock.holder() or '?'})",
                hint="it will do this folder's work as well, or stop it first",
            )
        with self._lock:
            await self._recover()
            await self._loop(until_idle=True)
        return DrainReport(done=tuple(self._done), failed=tuple(self._failed))

    async def _recover(self) -> None:
        lost = await self._db.write(queueing.recover)
        if lost:
            log.warning(
                "%d call(s) may or may not have happened when the program stopped;"
                " they are held and not sent again (see 'imgurfs status')",
                lost,
            )

    async def _loop(self, *, until_idle: bool) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                started = 0 if self._is_stopping else self._start_jobs(nursery)
                is_over = self._is_stopping or (until_idle and not started)
                if is_over and not self._in_flight:
                    break
                await self._wait(limits.DRAIN_POLL_S)
        if self._fatal is not None:
            raise self._fatal

    async def _wait(self, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            await self._wake.wait()

    def _start_jobs(self, nursery: trio.Nursery) -> int:
        """Start what may run now; return how many jobs were started."""
        room = limits.DRAIN_CONCURRENCY_MAX - len(self._in_flight)
        if room <= 0 or self._clock.now() < self._paused_until:
            return 0
        chosen = sorted(self._runnable(), key=lambda j: (_URGENCY[j.lane], j.id))
        for job in chosen[:room]:
            self._in_flight.add(job.id)
            nursery.start_soon(self._run_job, job)
        return len(chosen[:room])

    def _runnable(self) -> Iterator[Job]:
        """Yield due jobs the budget would grant, a few of each kind."""
        for kind in queueing.KINDS:
            due = outbox.candidates(
                self._db.reader,
                kind=kind,
                now=self._clock.now(),
                limit=limits.DRAIN_CONCURRENCY_MAX + len(self._in_flight),
            )
            for job in due:
                if job.id in self._in_flight:
                    continue
                # The urgent come first: what they are refused, the others are too.
                if self._ledger.peek(request_of(job)) is not None:
                    break
                yield job

    async def _run_job(self, job: Job) -> None:
        try:
            await self._attempt(job)
        finally:
            self._in_flight.discard(job.id)
            self.wake()

    async def _attempt(self, job: Job) -> None:
        """Take one job through one attempt. Errors of Imgur end here."""
        ready: Ready | None = None
        claimed: Job | None = None
        try:
            step = await self._worker.prepare(job)
            if not isinstance(step, Ready):
                await self._put_off(job, step)
                return
            ready = step
            grant = await self._ledger.reserve(request_of(job))
            claimed = await self._claim(job, ready, grant)
            if claimed is None:
                return
            async with self._abandoning(claimed):
                with _bounded(claimed):
                    write = await ready.send(grant)
        except ImgurfsError as error:
            await self._fail(claimed or job, ready, error, is_sent=claimed is not None)
            return
        self._offline_count = 0
        # It happened: a stop must not lose what we know.
        with trio.CancelScope(shield=True):
            await self._db.write(write)
        text = queueing.describe(job)
        self._done.append(text)
        log.info("done: %s", text)

    async def _put_off(self, job: Job, step: Resolved | Later) -> None:
        if isinstance(step, Resolved):
            await self._db.write(step.write)
            log.info("%s: not needed: %s", queueing.describe(job), step.text)
            return
        until = self._clock.now() + step.wait_s
        log.warning("%s: held: %s", queueing.describe(job), step.reason)
        await self._db.write(
            lambda c: _requeue(c, job, until, step.reason, is_counted=False)
        )

    async def _claim(self, job: Job, ready: Ready, grant: Grant) -> Job | None:
        claimed = await self._db.write(
            lambda c: outbox.claim(
                c, job.id, now=self._clock.now(), marker=ready.marker
            )
        )
        if claimed is None:
            await self._ledger.release(grant)
        return claimed

    @asynccontextmanager
    async def _abandoning(self, job: Job) -> AsyncIterator[None]:
        """Leave the job in the right state when the send is cut off from our side."""
        try:
            yield
        except ImgurfsError:
            raise
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._db.write(lambda c: _abandon(c, job))
            raise

    async def _fail(
        self, job: Job, ready: Ready | None, error: ImgurfsError, *, is_sent: bool
    ) -> None:
        now = self._clock.now()
        if isinstance(error, NotSentError) and not isinstance(
            error, SourceChangedError
        ):
            self._offline_count += 1
            self._paused_until = now + verdict.offline_pause_s(
                self._offline_count, self._rng
            )
        decision = verdict.judge(
            error,
            is_repeatable=not is_sent or job.kind in queueing.REPEATABLE,
            attempts=job.attempts,
            now=now,
            rng=self._rng,
        )
        if not is_sent and isinstance(decision, verdict.Bury):
            # Imgur has not seen this job: the refusal was about something else.
            decision = verdict.Requeue(
                now + verdict.backoff_s(limits.JOB_ATTEMPTS_MAX, self._rng),
                is_counted=False,
            )
        text = f"{queueing.describe(job)}: {error.message}"
        is_dead = await self._db.write(
            lambda c: _settle_failure(c, job, ready, error, decision, now=now)
        )
        if isinstance(decision, verdict.GiveUp):
            # Those in the air end by themselves; nothing new is sent.
            self._fatal = LoginNeededError(error.message, hint=error.hint)
            self.stop()
        if is_dead:
            self._failed.append(text)
            log.error("%s (given up)", text)
        elif isinstance(decision, verdict.Hold):
            self._failed.append(text)
            log.error("%s (held: nobody knows whether it happened)", text)
        else:
            log.warning("%s (again later)", text)


@contextmanager
def _bounded(job: Job) -> Iterator[None]:
    """Turn a send that takes too long into a DeadlineError."""
    is_upload = job.kind == queueing.UPLOAD
    bound_s = limits.UPLOAD_TIMEOUT_S if is_upload else limits.API_CALL_TIMEOUT_S
    with trio.move_on_after(bound_s) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineError(f"no answer within {bound_s:.0f} s")


def _abandon(c: Connection, job: Job) -> None:
    """Do what recovery would do at the next start, for one job."""
    if job.kind in queueing.REPEATABLE:
        outbox.requeue(c, job.id, not_before=0.0, error="interrupted", is_counted=True)
        return
    outbox.mark_unknown(c, job.id, error="the program stopped while it was sent")
    if job.kind == queueing.UPLOAD:
        outbox.leave_group(c, job_id=job.id)


def _requeue(
    c: Connection, job: Job, not_before: float, error: str, *, is_counted: bool
) -> None:
    current = outbox.job(c, job.id)
    # Somebody may have withdrawn a job that was only being prepared.
    if current is not None and current.state in ("queued", "sending"):
        outbox.requeue(
            c, job.id, not_before=not_before, error=error, is_counted=is_counted
        )


def _settle_failure(
    c: Connection,
    job: Job,
    ready: Ready | None,
    error: ImgurfsError,
    decision: verdict.Verdict,
    *,
    now: float,
) -> bool:
    """Write what became of a failed attempt; return whether the job is dead."""
    match decision:
        case verdict.Requeue():
            _requeue(
                c,
                job,
                decision.not_before,
                error.message,
                is_counted=decision.is_counted,
            )
        case verdict.GiveUp():
            _requeue(c, job, now, error.message, is_counted=False)
        case verdict.Hold():
            outbox.mark_unknown(c, job.id, error=error.message)
            if job.kind == queueing.UPLOAD:
                outbox.leave_group(c, job_id=job.id)
        case verdict.Bury():
            hook = ready.on_rejected if ready else None
            if hook is not None and hook(c, error):
                _requeue(c, job, now, error.message, is_counted=True)
                return False
            outbox.bury(c, job.id, now=now, error=error.message)
            return True
    return False
