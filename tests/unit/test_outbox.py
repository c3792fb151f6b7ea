"""The durable queue: keys, groups, states."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.jobs.rota import Rota
from imgurfs.model import JobId, Lane
from imgurfs.store import outbox
from imgurfs.store.database import Connection, Database
from imgurfs.store.outbox import JobState
from imgurfs.store.schema import STATE_SCHEMA


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Return an empty state database."""
    database = Database.open(
        tmp_path / "state.db",
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )
    yield database
    database.close()


def put(
    c: Connection,
    *,
    kind: str = "upload",
    lane: Lane = Lane.BULK,
    key: str = "",
    grouping: str = "",
    not_before: float = 0.0,
) -> JobId:
    """Queue a job and return its id."""
    job_id = outbox.put(
        c,
        kind=kind,
        lane=lane,
        payload="{}",
        key=key,
        grouping=grouping,
        not_before=not_before,
        now=1.0,
    )
    assert job_id is not None
    return job_id


def due(c: Connection, *, kind: str = "upload", now: float = 100.0) -> list[JobId]:
    """Return the ids of what may run."""
    jobs = Rota().next_jobs(
        c, kind=kind, now=now, room=100, in_flight=(), may_run=lambda _: True
    )
    return [job.id for job in jobs]


def test_key_is_taken_until_the_job_is_settled(db: Database) -> None:
    """A key has one unfinished job: also while it is sending or unknown."""

    def check(c: Connection) -> None:
        def again() -> JobId | None:
            return outbox.put(
                c, kind="upload", lane=Lane.BULK, payload="{}", key="k", now=1.0
            )

        first = put(c, key="k")
        assert again() is None
        assert outbox.claim(c, first, now=2.0) is not None
        assert again() is None
        outbox.mark_unknown(c, first, error="cut")
        assert again() is None
        outbox.bury(c, first, now=3.0, error="no")
        assert again() is not None

    db.write_blocking(check)


def test_urgent_lanes_first_then_oldest(db: Database) -> None:
    """Candidates come by lane, then by age; what is not due does not come."""

    def check(c: Connection) -> None:
        bulk = [put(c), put(c)]
        fresh = put(c, lane=Lane.FRESH)
        later = put(c, not_before=200.0)
        assert due(c) == [fresh, *bulk]
        assert due(c, now=200.0) == [fresh, *bulk, later]
        assert outbox.next_due_at(c) == 0.0

    db.write_blocking(check)


def test_group_runs_one_at_a_time(db: Database) -> None:
    """Of a group one job runs; sending and unknown ones hold the others back."""

    def check(c: Connection) -> None:
        first, second = put(c, grouping="g"), put(c, grouping="g")
        other = put(c)
        assert due(c) == [first, other]
        outbox.claim(c, first, now=2.0)
        assert due(c) == [other]
        outbox.mark_unknown(c, first, error="cut")
        assert due(c) == [other]
        outbox.leave_group(c, job_id=first)
        assert due(c) == [second, other]

    db.write_blocking(check)


def test_group_waits_for_its_urgent_job(db: Database) -> None:
    """A queued more urgent job of the group goes first even when it is not due."""

    def check(c: Connection) -> None:
        put(c, grouping="g")
        put(c, kind="create", lane=Lane.INTERACTIVE, grouping="g", not_before=500.0)
        assert due(c) == []
        outbox.leave_group(c, grouping="g")
        assert len(due(c)) == 1

    db.write_blocking(check)


def test_group_does_not_wait_for_a_job_in_backoff(db: Database) -> None:
    """A first job that waits for its next attempt lets an equal one go."""

    def check(c: Connection) -> None:
        put(c, grouping="g", not_before=500.0)
        second = put(c, grouping="g")
        assert due(c) == [second]

    db.write_blocking(check)


def test_only_queued_jobs_are_claimed_and_cancelled(db: Database) -> None:
    """A job is claimed once, and cancelled only before that."""

    def check(c: Connection) -> None:
        first = put(c)
        claimed = outbox.claim(c, first, now=2.0, marker="m")
        assert claimed is not None
        assert (claimed.attempts, claimed.sent_at, claimed.marker) == (1, 2.0, "m")
        assert outbox.claim(c, first, now=2.0) is None
        assert not outbox.cancel(c, first, now=3.0, reason="why")
        second = put(c)
        assert outbox.cancel(c, second, now=3.0, reason="why")
        assert outbox.claim(c, second, now=4.0) is None

    db.write_blocking(check)


def test_attempts_that_did_not_count(db: Database) -> None:
    """Requeueing takes an attempt back when it never reached Imgur."""

    def check(c: Connection) -> None:
        job_id = put(c)
        for is_counted, attempts in ((False, 0), (True, 1), (False, 1)):
            outbox.claim(c, job_id, now=2.0)
            outbox.requeue(c, job_id, not_before=0.0, error="e", is_counted=is_counted)
            job = outbox.job(c, job_id)
            assert job is not None
            assert job.attempts == attempts
            assert job.state is JobState.QUEUED

    db.write_blocking(check)


def test_recover_sorts_by_kind(db: Database) -> None:
    """What was in the air is queued when repeatable and unknown when not."""

    def check(c: Connection) -> None:
        upload, delete = put(c), put(c, kind="delete")
        waiting = put(c)
        outbox.claim(c, upload, now=2.0)
        outbox.claim(c, delete, now=2.0)
        lost = outbox.recover(c, repeatable={"delete"}, error="killed")
        assert [job.id for job in lost] == [upload]
        states = [outbox.job(c, i) for i in (upload, delete, waiting)]
        assert [job.state if job else None for job in states] == [
            JobState.UNKNOWN,
            JobState.QUEUED,
            JobState.QUEUED,
        ]

    db.write_blocking(check)


def test_statistics(db: Database) -> None:
    """Statistics count every state."""

    def check(c: Connection) -> None:
        first, second = put(c), put(c)
        put(c)
        outbox.finish(c, first, now=2.0)
        outbox.bury(c, second, now=2.0, error="no")
        counts = outbox.statistics(c)
        assert (counts.queued, counts.done, counts.dead) == (1, 1, 1)
        assert counts.unfinished == 1
        assert [j.error for j in outbox.recent(c, JobState.DEAD, 5)] == ["no"]

    db.write_blocking(check)


def test_large_group_is_no_burden(db: Database) -> None:
    """Finding the one candidate among 3,000 of a group takes well under a second."""

    def check(c: Connection) -> None:
        ids = [put(c, grouping="g") for _ in range(3000)]
        began = time.perf_counter()
        assert due(c) == ids[:1]
        assert time.perf_counter() - began < 1.0

    db.write_blocking(check)


def test_turns_are_taken_in_rotation(db: Database) -> None:
    """S18: folders and directories are served one after the other, each oldest
    first.
    """

    def check(c: Connection) -> None:
        for turn in ("1:a", "1:a", "1:a", "1:b", "2:a"):
            outbox.put(
                c, kind="upload", lane=Lane.BULK, payload="{}", turn=turn, now=1.0
            )
        rota = Rota()

        def one() -> JobId:
            (job,) = rota.next_jobs(
                c, kind="upload", now=1.0, room=1, in_flight=(), may_run=lambda _: True
            )
            outbox.finish(c, job.id, now=1.0)
            return job.id

        assert [one() for _ in range(5)] == [1, 4, 5, 2, 3]

    db.write_blocking(check)


def test_budget_refuses_a_lane_and_not_the_kind(db: Database) -> None:
    """What the budget refuses to bulk uploads it may allow to fresh ones."""

    def check(c: Connection) -> None:
        bulk, fresh = put(c), put(c, lane=Lane.FRESH)
        jobs = Rota().next_jobs(
            c,
            kind="upload",
            now=1.0,
            room=9,
            in_flight=(),
            may_run=lambda lane: lane is Lane.FRESH,
        )
        assert [job.id for job in jobs] == [fresh]
        assert bulk != fresh

    db.write_blocking(check)


def test_held_deletions_are_not_claimed(db: Database) -> None:
    """What the guard holds neither runs nor can be claimed; approved it does."""

    def check(c: Connection) -> None:
        job_id = put(c, kind="delete_image")
        outbox.set_guard(c, job_id, "held")
        assert due(c, kind="delete_image") == []
        assert outbox.claim(c, job_id, now=2.0) is None
        outbox.set_guard(c, job_id, "approved")
        assert due(c, kind="delete_image") == [job_id]
        assert outbox.claim(c, job_id, now=2.0) is not None

    db.write_blocking(check)


def test_sent_again_with_its_marker(db: Database) -> None:
    """Only what is unknown or dead is sent again, and it keeps marker and age."""

    def check(c: Connection) -> None:
        job_id = put(c, key="k")
        assert not outbox.send_again(c, job_id, now=2.0, reason="why")
        outbox.claim(c, job_id, now=2.0, marker="m")
        outbox.mark_unknown(c, job_id, error="cut", look_at=122.0)
        outbox.looked(c, job_id, look_at=182.0)
        assert outbox.send_again(c, job_id, now=190.0, reason="not found")
        job = outbox.job(c, job_id)
        assert job is not None
        assert (job.state, job.marker, job.first_sent_at) == ("queued", "m", 2.0)
        assert (job.attempts, job.looks) == (1, 0)

    db.write_blocking(check)
