"""One attempt of one job: prepare, reserve, write the intent, send, settle.

The order in which those happen is what keeps an upload from happening twice and a
credit from being spent unseen; ``drain`` decides which job may run and when.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from imgurfs import crashpoints, limits
from imgurfs.budget import Grant, Ledger
from imgurfs.errors import (
    BudgetError,
    DeadlineError,
    ImgurfsError,
    LoginNeededError,
    NotSentError,
    SourceChangedError,
)
from imgurfs.jobs import drive_names, outcome, queueing, verdict
from imgurfs.jobs.steps import Later, Ready, Resolved, Tools
from imgurfs.jobs.work import Worker
from imgurfs.model import JobId
from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)

#: Jobs whose failures to be prepared are counted, at most.
_UNPREPARED_MAX = 10_000


class Attempts:
    """Takes jobs through attempts, and remembers how that went. One per drainer.

    ``paused_until`` is an epoch: the network is not there. ``progressed_at`` is when
    something was last achieved. ``fatal`` is set when the account's token is not
    accepted any more.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        ledger: Ledger,
        rng: random.Random,
        quarantine_s: float,
        is_guarded: bool,
        may_send: Callable[[], bool],
    ) -> None:
        self._db = tools.db
        self._ledger = ledger
        self._worker = Worker(tools)
        self._clock = tools.clock
        self._rng = rng
        self._quarantine_s = quarantine_s
        self._is_guarded = is_guarded
        self._on_settled = tools.on_settled
        self._may_send = may_send
        self._offline_count = 0
        # How often in a row a job could not even be prepared.
        self._unprepared: dict[JobId, int] = {}
        self.paused_until = 0.0
        self.progressed_at = self._clock.now()
        self.fatal: LoginNeededError | None = None
        self.done: list[str] = []
        self.failed: list[str] = []

    def __repr__(self) -> str:
        return f"<Attempts done={len(self.done)} failed={len(self.failed)}>"

    async def run(self, job: Job) -> None:
        """Take one job through one attempt. Errors of Imgur end here."""
        try:
            await self._run(job)
        finally:
            self._worker.is_over(job)

    async def _run(self, job: Job) -> None:
        ready: Ready | None = None
        claimed: Job | None = None
        try:
            step = await self._worker.prepare(job)
            self._unprepared.pop(job.id, None)
            if not isinstance(step, Ready):
                await self._put_off(job, step)
                return
            ready = step
            grant = await self._ledger.reserve(ready.request)
            crashpoints.reach("budget-reserved")
            claimed = await self._claim(job, ready, grant)
            if claimed is None:
                return
            crashpoints.reach("intent-written")
            async with self._abandoning(claimed):
                with _bounded(claimed):
                    write = await ready.send(grant)
        except ImgurfsError as error:
            await self._fail(claimed or job, ready, error, is_sent=claimed is not None)
            return
        self._offline_count = 0
        crashpoints.reach("answer-known")
        # It happened: a stop must not lose what we know.
        with trio.CancelScope(shield=True):
            await self._db.write(write)
        crashpoints.reach("settled")
        text = self._what(claimed)
        self.done.append(text)
        self.progressed_at = self._clock.now()
        log.info("done: %s", text)
        if self._on_settled is not None:
            self._on_settled(job)

    async def _put_off(self, job: Job, step: Resolved | Later) -> None:
        if isinstance(step, Resolved):
            is_written = await self._db.write(lambda c: outcome.resolve(c, job, step))
            if is_written:
                log.info("%s: not needed: %s", self._what(job), step.text)
                self.progressed_at = self._clock.now()
            if self._on_settled is not None:
                self._on_settled(job)
            return
        now = self._clock.now()
        level = logging.DEBUG if step.is_usual else logging.WARNING
        log.log(level, "%s: held: %s", self._what(job), step.reason)
        await self._db.write(
            lambda c: outcome.requeue(
                c,
                job,
                now + (step.wait_s if step.is_still(c) else 0.0),
                step.reason,
                is_counted=False,
            )
        )

    def _what(self, job: Job) -> str:
        return drive_names.what(self._db.reader, job)

    async def _claim(self, job: Job, ready: Ready, grant: Grant) -> Job | None:
        claimed = await self._db.write(
            lambda c: (
                outcome.claim(
                    c, job, ready, now=self._clock.now(), is_guarded=self._is_guarded
                )
                if self._may_send()
                else None
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
            look_at = self._clock.now() + self._quarantine_s
            with trio.CancelScope(shield=True):
                await self._db.write(lambda c: outcome.abandon(c, job, look_at))
            raise

    async def _fail(
        self, job: Job, ready: Ready | None, error: ImgurfsError, *, is_sent: bool
    ) -> None:
        now = self._clock.now()
        if isinstance(error, NotSentError) and not isinstance(
            error, SourceChangedError
        ):
            self._offline_count += 1
            self.paused_until = now + verdict.offline_pause_s(
                self._offline_count, self._rng
            )
        decision = self._judge(job, error, is_sent=is_sent, now=now)
        text = f"{self._what(job)}: {error.message}"
        is_dead = await self._db.write(
            lambda c: outcome.fail(
                c,
                job,
                ready,
                error,
                decision,
                now=now,
                look_at=now + self._quarantine_s,
            )
        )
        if isinstance(decision, verdict.GiveUp):
            # Those in the air end by themselves; nothing new is sent.
            self.fatal = LoginNeededError(error.message, hint=error.hint)
        if is_dead:
            self.failed.append(text)
            log.error("%s (given up)", text)
            if self._on_settled is not None:
                self._on_settled(job)
        elif isinstance(decision, verdict.Hold):
            log.warning(
                "%s (nobody knows whether it happened; looked for in %.0f s)",
                text,
                self._quarantine_s,
            )
        else:
            # Waiting for the budget is what it is for; a login is asked for elsewhere.
            is_usual = isinstance(error, BudgetError) or self.fatal is not None
            level = logging.INFO if is_usual else logging.WARNING
            log.log(level, "%s (again later)", text)

    def _judge(
        self, job: Job, error: ImgurfsError, *, is_sent: bool, now: float
    ) -> verdict.Verdict:
        """Say what becomes of a job; one that was not sent is never given up."""
        unprepared = 0 if is_sent else self._unprepared.get(job.id, 0)
        decision = verdict.judge(
            error,
            is_repeatable=not is_sent or job.kind in queueing.REPEATABLE,
            attempts=job.attempts + unprepared,
            now=now,
            rng=self._rng,
        )
        if is_sent:
            return decision
        if isinstance(decision, verdict.Requeue) and decision.is_counted:
            if len(self._unprepared) >= _UNPREPARED_MAX:
                # Most are no more; those that are begin with short pauses again.
                self._unprepared.clear()
            self._unprepared[job.id] = unprepared + 1
        if isinstance(decision, verdict.Bury):
            # Imgur has not seen this job: the refusal was about something else.
            longest_s = verdict.backoff_s(limits.JOB_ATTEMPTS_MAX, self._rng)
            decision = verdict.Requeue(now + longest_s, is_counted=False)
        return decision


@contextmanager
def _bounded(job: Job) -> Iterator[None]:
    """Turn a send that takes too long into a DeadlineError."""
    is_upload = job.kind == queueing.UPLOAD
    bound_s = limits.UPLOAD_TIMEOUT_S if is_upload else limits.API_CALL_TIMEOUT_S
    with trio.move_on_after(bound_s) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineError(f"no answer within {bound_s:.0f} s")
