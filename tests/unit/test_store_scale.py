"""What is asked of the store often costs the same, however much is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import control
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload
from imgurfs.model import ROOT_INODE, Image, ImageId, Inode, JobId, Lane
from imgurfs.store import drafts, edits, entries, nodes, outbox
from imgurfs.store.database import Connection, Database
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.store.outbox import Job, JobState
from tests.support.account import open_state
from tests.support.jobbing import EPOCH_S, bench, drain_for

_FILES = 3_000
_PAGE = 20
#: Steps of SQLite's machine: far above what a page costs, far below a row each.
_STEPS_MAX = 2_000


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A state.db with a directory full of files that wait for their upload."""
    opened = open_state(tmp_path / "state.db")
    opened.write_blocking(_fill)
    yield opened
    opened.close()


def _fill(c: Connection) -> None:
    for number in range(_FILES):
        inode = edits.make_file(c, now=1.0)
        edits.add_entry(c, ROOT_INODE, inode, f"{number}.png")
        draft = Draft(inode, 1, DraftState.WAITING, number, 1.0)
        drafts.put(c, draft)
        queueing.queue_drive_upload(
            c, draft, lane=Lane.FRESH, size_bytes=number, not_before=2.0, now=1.0
        )


def _steps(c: Connection, ask: Callable[[], object]) -> int:
    """Return how many steps of SQLite's machine a question takes."""
    steps: list[None] = []
    c.set_progress_handler(lambda: steps.append(None), 1)
    try:
        ask()
    finally:
        c.set_progress_handler(None, 1)
    return len(steps)


def test_jobs_of_one_state_are_found_among_many(db: Database) -> None:
    """A drainer asks in every turn which outcomes are unknown."""
    first = outbox.unfinished(db.reader)[0].id
    db.write_blocking(lambda c: outbox.claim(c, first, now=3.0))
    db.write_blocking(lambda c: outbox.mark_unknown(c, first, error="lost"))
    found: list[int] = []

    def ask() -> None:
        unknown = outbox.unfinished(db.reader, state=JobState.UNKNOWN)
        found.extend(job.id for job in unknown)

    assert _steps(db.reader, ask) < _STEPS_MAX
    assert found == [first]


def test_jobs_of_one_kind_are_found_among_many(db: Database) -> None:
    """Deletions and creations are looked for while thousands of uploads wait."""
    ask = lambda: outbox.unfinished(db.reader, kind=queueing.CREATE_ALBUM)  # noqa: E731
    assert _steps(db.reader, ask) < _STEPS_MAX
    assert len(outbox.unfinished(db.reader, kind=queueing.UPLOAD)) == _FILES


@pytest.mark.parametrize("grouping", ["", "album:1:aa"])
def test_the_next_of_many_jobs_is_found_at_once(db: Database, grouping: str) -> None:
    """However many files of a directory wait, due or for their album."""
    turn, lane = "1:aa", Lane.BULK

    def put(c: Connection, number: int, turn: str) -> JobId | None:
        return outbox.put(
            c,
            kind=queueing.UPLOAD,
            lane=lane,
            payload="{}",
            now=1.0,
            grouping=grouping,
            key=f"{turn}:{number}",
            turn=turn,
        )

    def fill(c: Connection) -> JobId | None:
        first = put(c, 0, turn)
        for number in range(1, _FILES):
            put(c, number, turn)
        put(c, 0, "0:zz")
        return first

    first = db.write_blocking(fill)
    found: list[Job | None] = []
    turns: list[str] = []

    def ask() -> None:
        turns.extend(outbox.turns(db.reader, kind=queueing.UPLOAD, lane=lane))
        found.append(
            outbox.first_of_turn(
                db.reader, kind=queueing.UPLOAD, lane=lane, turn=turn, now=9.0
            )
        )

    assert _steps(db.reader, ask) < _STEPS_MAX
    assert turns == ["0:zz", turn]
    assert [one and one.id for one in found] == [first]


def test_a_blocked_group_does_not_hold_up_others(db: Database) -> None:
    """Of a turn whose oldest job waits for its group, one of another group runs."""
    made: list[JobId | None] = []

    def fill(c: Connection) -> None:
        for number, grouping in enumerate(["a", "a", "b", "a", ""]):
            made.append(
                outbox.put(
                    c,
                    kind="k",
                    lane=Lane.FRESH,
                    payload="",
                    now=1.0,
                    key=f"{number}",
                    grouping=grouping,
                )
            )

    def next_one(*without: JobId | None) -> JobId | None:
        taken = [one for one in without if one is not None]
        found = outbox.first_of_turn(
            db.reader, kind="k", lane=Lane.FRESH, turn="", now=2.0, without=taken
        )
        return None if found is None else found.id

    db.write_blocking(fill)
    first, _, second, _, last = made
    assert next_one() == first
    assert first is not None
    db.write_blocking(lambda c: outbox.claim(c, first, now=2.0))
    assert next_one() == second
    assert next_one(second) == last
    assert next_one(second, last) is None


_NAMES = [
    "sea~abcdefghij2345cx.png",
    "a~b~abcdefghij2345cx",
    "~abcdefghij2345cx.jpg",
    "100%_~abcdefghijxxxxxx.png",
]


def test_an_image_is_found_by_its_mark_among_many(db: Database) -> None:
    """Each upload asks whether the account has its content: by one lookup, not a scan.

    What is behind the last "~" counts, and case does.
    """
    others = ["plain.png", "", "~", "x~ABCDEFGHIJ2345cx.png", "abcdefghij2345cx~.png"]

    def fill(c: Connection) -> None:
        names = [
            *_NAMES,
            *others,
            *(f"f{n}~zzzzzzzz{n:04}x.png" for n in range(_FILES)),
        ]
        images = [
            Image(ImageId(f"i{n}"), "image/png", "", 1, n, name=name)
            for n, name in enumerate(names)
        ]
        entries.put_images(c, images, now=1.0)

    db.write_blocking(fill)
    found: list[tuple[ImageId, str]] = []

    def ask() -> None:
        found.extend(nodes.images_marked(db.reader, "abcdefghij"))

    assert _steps(db.reader, ask) < _STEPS_MAX
    assert [name for _, name in found] == _NAMES
    marked = nodes.images_marked(db.reader)
    assert len(marked) == _FILES + len(_NAMES) + 2
    assert all("~" in name for _, name in marked)


def test_a_page_of_a_full_directory_costs_what_a_page_costs(db: Database) -> None:
    """Wherever in the directory it is, and with each file's own size."""
    everything = entries.children(db.reader, ROOT_INODE)
    start = _FILES - _PAGE
    pages: list[entries.Entry] = []

    def ask() -> None:
        cookie = everything[start - 1].cookie
        pages.extend(
            entries.children(db.reader, ROOT_INODE, after_cookie=cookie, limit=_PAGE)
        )

    assert _steps(db.reader, ask) < 2 * _STEPS_MAX
    assert [page.node.size_bytes for page in pages] == list(range(start, _FILES))
    assert pages == everything[start:]


def test_drafts_of_a_page_are_read_at_once(db: Database) -> None:
    """A directory of files that wait takes no question for each of them."""
    asked: list[str] = []
    db.reader.set_trace_callback(asked.append)
    found = entries.children(db.reader, ROOT_INODE, limit=_PAGE)
    db.reader.set_trace_callback(None)
    assert [each.node.draft for each in found] == [
        drafts.get(db.reader, Inode(each.node.inode)) for each in found
    ]
    assert len(asked) < _PAGE / 2


async def test_a_drainer_does_not_turn_for_every_job_that_becomes_due(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Thousands of files that a program has just written become due one by one."""
    many, each_s = 1_000, 0.005
    async with bench(tmp_path) as b:

        def queue(c: Connection) -> None:
            control.pause(c, EPOCH_S + 7200)
            for number in range(many):
                payload = DeleteImagePayload(b.folder.id, ImageId(f"image{number}"))
                grace_s = (number + 1) * each_s
                queueing.queue_delete(c, payload, now=EPOCH_S, grace_s=grace_s)

        await b.db.write(queue)
        asked: list[str] = []
        b.db.reader.set_trace_callback(asked.append)
        await drain_for(b, many * each_s)
        b.db.reader.set_trace_callback(None)
        turns = sum("min(not_before)" in text for text in asked)
        assert 0 < turns < many / 2
