"""What jobs mean: what is examined, what is sent, what an error makes of them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.errors import (
    BudgetError,
    ForbiddenError,
    ImgurfsError,
    LoginNeededError,
    NotFoundError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    SourceChangedError,
    ThrottledError,
)
from imgurfs.jobs import disk, verdict
from imgurfs.jobs.verdict import Bury, GiveUp, Hold, Requeue, judge
from imgurfs.model import Album, AlbumId, ImageId
from imgurfs.store import entries, outbox, synced
from imgurfs.tree import changes
from tests.support.jobbing import EPOCH_S, bench, picture


def judged(error: ImgurfsError, *, is_repeatable: bool, attempts: int = 1) -> object:
    """Return the verdict at time 1000."""
    return judge(
        error,
        is_repeatable=is_repeatable,
        attempts=attempts,
        now=1000.0,
        rng=random.Random(1),
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutcomeUnknownError("cut"), Hold()),
        (OutageError("500"), Hold()),
        (RejectedError("no"), Bury()),
        (ForbiddenError("no"), Bury()),
        (NotFoundError("no"), Bury()),
        (LoginNeededError("no"), GiveUp()),
        (NotSentError("no"), Requeue(1000.0, is_counted=False)),
        (SourceChangedError("no"), Requeue(1002.0, is_counted=False)),
        (BudgetError("no", retry_at=1500.0), Requeue(1500.0, is_counted=False)),
        (BudgetError("no", retry_at=None), Requeue(4600.0, is_counted=False)),
        (
            ThrottledError("no", retry_at=5.0, scope="user"),
            Requeue(1001.0, is_counted=False),
        ),
    ],
)
def test_verdict_of_what_may_happen_once(error: ImgurfsError, expected: object) -> None:
    """For an upload every error has one meaning, and doubt means hold."""
    assert judged(error, is_repeatable=False) == expected


def test_repeatable_jobs_are_repeated_and_end() -> None:
    """What does no harm twice is tried again, less and less often, then buried."""
    for attempts in range(1, limits.JOB_ATTEMPTS_MAX):
        found = judged(OutageError("500"), is_repeatable=True, attempts=attempts)
        assert isinstance(found, Requeue)
        assert found.is_counted
        assert 1000.0 < found.not_before <= 1000.0 + limits.JOB_BACKOFF_MAX_S
    last = limits.JOB_ATTEMPTS_MAX
    assert judged(OutageError("500"), is_repeatable=True, attempts=last) == Bury()


def test_pauses_are_bounded() -> None:
    """Backoff and offline pauses grow, with jitter, up to their bound."""
    rng = random.Random(1)
    assert all(
        0 < verdict.backoff_s(n, rng) <= limits.JOB_BACKOFF_MAX_S for n in range(100)
    )
    assert all(0 < verdict.offline_pause_s(n, rng) <= 60 for n in range(1, 100))


@pytest.mark.parametrize(
    ("head", "size_bytes", "expected"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(20), 100, ""),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), limits.STILL_BYTES_MAX + 1, "larger"),
        (picture("x"), limits.STILL_BYTES_MAX + 1, ""),
        (picture("x"), limits.VIDEO_BYTES_MAX + 1, "larger"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", 100, ""),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 100, "does not take image/heic"),
        (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20), 100, "does not take image/webp"),
        (b"hello", 5, "not a picture"),
        (b"", 0, "empty"),
    ],
)
def test_content_decides(head: bytes, size_bytes: int, expected: str) -> None:
    """Type is judged by content and size by type; the name does not matter."""
    found = disk.refusal(head, size_bytes)
    assert expected in found
    assert bool(found) == bool(expected)


def test_examining_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    """Links and pipes that took a file's place are refused at once."""
    target = tmp_path / "target.gif"
    target.write_bytes(picture("x"))
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    assert not isinstance(disk.examine(bytes(target)), str)
    assert "cannot be read" in str(disk.examine(bytes(tmp_path / "link")))
    assert "not a regular file" in str(disk.examine(bytes(tmp_path / "pipe")))
    assert disk.examine(bytes(tmp_path / "none")) == "the file is gone"


async def test_file_that_vanished_is_cancelled(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An upload whose file is gone is withdrawn, and costs nothing."""
    async with bench(tmp_path) as b:
        await b.queue("a.gif")
        await b.drainer().run_until_idle()
        assert b.states() == {"upload 1": "cancelled"}
        assert (b.imgur.calls, b.ledger.granted) == ([], 0)


async def test_file_that_changes_in_flight_is_planned_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The image that came of it is recorded, as something the file is not any more."""
    async with bench(tmp_path) as b:
        file = b.write_file("a.gif")
        await b.queue("a.gif")

        def change() -> None:
            file.write_bytes(picture("changed while it was sent"))

        b.imgur.before_answer = change
        await b.drainer().run_until_idle()
        known = synced.file(b.db.reader, b.folder.id, b"a.gif")
        assert known is not None
        assert known.image_id in b.imgur.images
        assert known.digest == b""
        assert known.mtime_ns != file.stat().st_mtime_ns


async def test_touched_file_is_not_sent_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The same bytes with a new time cost nothing."""
    async with bench(tmp_path) as b:
        file = b.write_file("a.gif")
        await b.queue("a.gif")
        await b.drainer().run_until_idle()
        os.utime(file, (1, 1))
        await b.queue("a.gif")
        await b.drainer().run_until_idle()
        assert len(b.imgur.calls) == 1
        known = synced.file(b.db.reader, b.folder.id, b"a.gif")
        assert known is not None
        assert known.mtime_ns == 10**9
        assert known.image_id in b.imgur.images


async def test_replacing_deletes_the_old_image_last(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S7: A changed file is uploaded first; only then its old image is deleted."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        await b.drainer().run_until_idle()
        (old,) = b.imgur.images
        b.write_file("a.gif", picture("new"))
        await b.queue("a.gif", replaces=old, deletes_old=True)
        await b.drainer().run_until_idle()
        assert b.imgur.calls[1:] == ["upload a.gif album=None", f"delete {old}"]
        (new,) = b.imgur.images
        known = synced.file(b.db.reader, b.folder.id, b"a.gif")
        assert known is not None
        assert known.image_id == new != old


async def test_image_in_a_foreign_album_is_kept(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S23: an image that somebody put into another album is not deleted with its
    file.
    """
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif")
        album = Album(AlbumId("theirs"), "Best of", int(EPOCH_S))
        await b.db.write(
            lambda c: changes.album_created(c, album, images=[image_id], now=EPOCH_S)
        )
        (b.root / "a.gif").unlink()
        await b.drainer().run_until_idle()
        assert image_id in b.imgur.images
        assert synced.files(b.db.reader, b.folder.id) == {}


async def test_album_refused_for_good(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An album Imgur does not take is tried three times, and files still go up."""
    async with bench(tmp_path) as b:
        for n in range(6):
            b.write_file(f"trip/{n}.gif")
            await b.queue(f"trip/{n}.gif")

        def refuse() -> None:
            b.imgur.failures = [RejectedError("bad title")]

        b.imgur.before_answer = refuse
        for _ in range(12):
            await b.drainer().run_until_idle()
            b.imgur.failures = []
        creates = [c for c in b.imgur.calls if c.startswith("create")]
        assert 1 <= len(creates) <= 3


async def test_images_of_a_refused_album_join_the_next(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """When a later creation succeeds, images left out before are put into it."""
    async with bench(tmp_path) as b:
        b.write_file("trip/0.gif")
        await b.queue("trip/0.gif")

        def refuse_once() -> None:
            if not b.imgur.albums and len(b.imgur.images) == 1:
                b.imgur.failures = [RejectedError("try me later")]

        b.imgur.before_answer = refuse_once
        await b.drainer().run_until_idle()
        assert b.imgur.albums == {}
        b.write_file("trip/1.gif")
        await b.queue("trip/1.gif")
        await b.drainer().run_until_idle()
        ((album_id, images),) = b.imgur.albums.items()
        assert sorted(images) == sorted(b.imgur.images)
        node = entries.node_of_image(b.db.reader, ImageId(images[0]))
        assert node is not None
        assert entries.albums_of(b.db.reader, node.inode) == [album_id]
        assert outbox.statistics(b.db.reader).unfinished == 0
