"""The line in ``systemctl status``: what is left, until when, what the user must do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs import control
from imgurfs.budget import DEFAULT_LIMITS, LedgerState, Window
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.model import ImageId, JobId, Lane
from imgurfs.store import outbox, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import FolderId
from imgurfs_daemon.status import status_line

NOW_S = 1_800_000_000.0
FULL = LedgerState({s: Window(n, n) for s, n in DEFAULT_LIMITS.items()})


@pytest.fixture
def c(tmp_path: Path) -> Iterator[Connection]:
    """The writing connection of a state.db with one folder."""
    db = Database.open(
        tmp_path / "state.db",
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )
    synced.bind_folder(db._writer, b"/photos", device=1, inode=1)
    yield db._writer
    db.close()


def line(c: Connection) -> str:
    """Return the line."""
    return status_line(c, FULL, now=NOW_S)


def upload(c: Connection, count: int) -> list[JobId]:
    """Queue uploads."""
    jobs = [
        queueing.queue_upload(
            c,
            UploadPayload(FolderId(1), f"{number}.jpg".encode()),
            lane=Lane.BULK,
            now=NOW_S,
        )
        for number in range(count)
    ]
    return [job for job in jobs if job is not None]


def test_nothing_left(c: Connection) -> None:
    """Up to date, with what was achieved."""
    assert line(c) == "up to date (0 done, 0 failed)"
    (job,) = upload(c, 1)
    outbox.bury(c, job, now=NOW_S, error="Imgur refused it")
    assert line(c) == "up to date (0 done, 1 failed)"


def test_a_backlog_has_an_end(c: Connection) -> None:
    """How many, until when, and what decides that."""
    upload(c, 200)
    assert line(c).startswith("200 photos, done ")
    assert "limited by" in line(c)


def test_what_waits_for_the_user_is_told_apart(c: Connection) -> None:
    """Unknown outcomes and held deletions are no part of the estimate."""
    job, lost = upload(c, 2)
    outbox.bury(c, job, now=NOW_S, error="no")
    assert outbox.claim(c, lost, now=NOW_S) is not None
    outbox.mark_unknown(c, lost, error="no answer")
    for name in ("a", "b", "c"):
        deletion = queueing.queue_delete(
            c, DeleteImagePayload(FolderId(1), ImageId(name)), now=NOW_S, grace_s=0.0
        )
        assert deletion is not None
        if name != "c":
            outbox.set_guard(c, deletion, "held")
    first, *others = line(c).split("; ")
    assert first.startswith("1 change, done ")
    assert others == [
        "1 with unknown outcome",
        "2 deletion(s) held (imgurfs guard)",
        "1 failed (imgurfs queue)",
    ]


@pytest.mark.parametrize(
    ("until", "text"), [(float("inf"), "paused; "), (NOW_S + 60, "paused until 2027-")]
)
def test_a_pause_comes_first(c: Connection, until: float, text: str) -> None:
    """Nothing is sent before it is over."""
    upload(c, 1)
    control.pause(c, until)
    assert line(c).startswith(text)
