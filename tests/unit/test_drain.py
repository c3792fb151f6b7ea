"""The drainer: in what order jobs are sent, and what every kind of failure leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs.errors import (
    AlreadyRunningError,
    BudgetError,
    ImgurfsError,
    LoginNeededError,
    NotFoundError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    ThrottledError,
)
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload
from imgurfs.locks import FileLock
from imgurfs.marker import parse_marker
from imgurfs.model import Album, AlbumId, ImageId
from imgurfs.store import entries, outbox, synced
from imgurfs.store.outbox import JobState
from tests.support.jobbing import EPOCH_S, bench


async def test_upload_is_recorded_everywhere(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A finished upload is in the tree, in the merge base, and done, and marked."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        report = await b.drainer().run_until_idle()
        assert report.done == ("upload a.gif",)
        (image,) = b.imgur.images.values()
        assert parse_marker(image.name) is not None
        known = synced.file(b.db.reader, b.folder.id, b"a.gif")
        assert known is not None
        assert known.image_id == image.id
        assert entries.node_of_image(b.db.reader, image.id) is not None
        assert b.states() == {"upload 1": "done"}


async def test_directory_creates_its_album_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The first upload of a directory makes the album, the others go into it."""
    async with bench(tmp_path) as b:
        for n in range(5):
            b.write_file(f"trip/{n}.gif")
            await b.queue(f"trip/{n}.gif")
        await b.drainer().run_until_idle()
        creates = [c for c in b.imgur.calls if c.startswith("create")]
        assert creates == ["create trip"]
        assert b.imgur.calls[0] == "upload 0.gif album=None"
        assert b.imgur.calls[1] == "create trip"
        ((album_id, images),) = b.imgur.albums.items()
        assert sorted(images) == sorted(b.imgur.images)
        assert synced.album_of(b.db.reader, b.folder.id, b"trip") == album_id
        assert b.imgur.sending_most > 1


async def test_rejected_pioneer_is_replaced(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """When the first file of a directory is refused, the next one makes the album."""
    async with bench(tmp_path) as b:
        for n in range(3):
            b.write_file(f"trip/{n}.gif")
            await b.queue(f"trip/{n}.gif")
        b.imgur.failures = [RejectedError("not a picture")]
        report = await b.drainer().run_until_idle()
        assert report.failed == ("upload trip/0.gif: not a picture",)
        ((_, images),) = b.imgur.albums.items()
        assert len(images) == 2
        skipped = synced.skipped(b.db.reader, b.folder.id)
        assert "not a picture" in skipped[b"trip/0.gif"].reason


async def test_existing_album_is_used(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A directory whose title the account has once is that album."""
    async with bench(tmp_path) as b:
        album = Album(AlbumId("there"), "trip", int(EPOCH_S))
        b.imgur.albums[album.id] = []
        await b.db.write(lambda c: entries.put_album(c, album, now=EPOCH_S))
        b.write_file("trip/0.gif")
        await b.queue("trip/0.gif")
        await b.drainer().run_until_idle()
        assert b.imgur.calls == ["upload 0.gif album=there"]


async def test_no_album_is_made_beside_an_unknown_list(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """While the account's albums cannot be listed, no directory's upload is sent."""
    async with bench(tmp_path) as b:
        b.albums.failures = [OutageError("a page came instead")] * 100
        b.write_file("trip/0.gif")
        await b.queue("trip/0.gif")
        await b.drainer().run_until_idle()
        assert b.imgur.calls == []
        assert b.states() == {"upload 1": "queued"}


async def test_gone_album_is_made_anew(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An album that was deleted on Imgur is forgotten, and created once again."""
    async with bench(tmp_path) as b:
        await b.db.write(
            lambda c: synced.put_directory(c, b.folder.id, b"trip", AlbumId("gone"))
        )
        for n in range(3):
            b.write_file(f"trip/{n}.gif")
            await b.queue(f"trip/{n}.gif")
        b.imgur.failures = [NotFoundError("no such album")] * 3
        await b.drainer().run_until_idle()
        ((_, images),) = b.imgur.albums.items()
        assert len(images) == 3


@pytest.mark.parametrize("error", [OutcomeUnknownError("cut"), OutageError("500")])
async def test_unknown_upload_is_held(
    tmp_path: Path, autojump_clock: MockClock, error: ImgurfsError
) -> None:
    """An upload that may have happened is never sent again; others go on."""
    async with bench(tmp_path) as b:
        b.write_file("trip/0.gif")
        b.write_file("trip/1.gif")
        await b.queue("trip/0.gif")
        await b.queue("trip/1.gif")
        b.imgur.failures = [error]
        await b.drainer().run_until_idle()
        await b.queue("trip/0.gif")
        await b.drainer().run_until_idle()
        sent = [c for c in b.imgur.calls if c.startswith("upload 0.gif")]
        assert len(sent) == 1
        assert b.states()["upload 1"] == "unknown"
        assert b.states()["upload 2"] == "done"


async def test_killed_while_sending_is_unknown(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What a dead process left in the air is held; what may be repeated is repeated."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.images[ImageId("old")] = None  # type: ignore[assignment]
        await b.db.write(
            lambda c: queueing.queue_delete(
                c,
                DeleteImagePayload(b.folder.id, ImageId("old"), is_replaced=True),
                now=EPOCH_S,
                grace_s=0,
            )
        )
        jobs = [job.id for job in outbox.unfinished(b.db.reader)]
        await b.db.write(lambda c: [outbox.claim(c, i, now=EPOCH_S) for i in jobs])
        await b.drainer().run_until_idle()
        assert b.imgur.calls == ["delete old"]
        assert b.states() == {"upload 1": "unknown", "delete_image 2": "done"}


async def test_cancelled_send_is_unknown(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Stopping in the middle of an upload leaves it held, not queued."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.hang = True
        with trio.move_on_after(5):
            await b.drainer().run()
        assert b.states() == {"upload 1": "unknown"}


async def test_stop_lets_the_air_clear(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """stop() ends the drainer after the request in the air, and begins no other."""
    async with bench(tmp_path) as b:
        for n in range(9):
            b.write_file(f"{n}.gif")
            await b.queue(f"{n}.gif")
        drainer = b.drainer()
        b.imgur.before_answer = drainer.stop
        await drainer.run()
        done = outbox.statistics(b.db.reader).done
        assert 0 < done <= 3
        assert outbox.statistics(b.db.reader).queued == 9 - done


async def test_nothing_sent_is_tried_again_without_counting(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """No network for an hour costs no attempt, and few tries."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.failures = [NotSentError("no route")] * 20
        drainer = b.drainer()
        with trio.move_on_after(3600):
            await drainer.run()
        (job,) = outbox.recent(b.db.reader, JobState.DONE, 10)
        assert job.attempts == 1
        assert len(b.imgur.calls) == 21


@pytest.mark.parametrize(
    "error",
    [
        BudgetError("later", retry_at=EPOCH_S + 500),
        ThrottledError("too fast", retry_at=EPOCH_S + 500, scope="upload"),
    ],
)
async def test_told_to_wait(
    tmp_path: Path, autojump_clock: MockClock, error: ImgurfsError
) -> None:
    """A job that is told to wait is sent when the wait is over, not before."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.failures = [error]
        await b.drainer().run_until_idle()
        (job,) = outbox.unfinished(b.db.reader)
        assert (job.attempts, job.not_before) == (0, EPOCH_S + 500)
        with trio.move_on_after(510):
            await b.drainer().run()
        assert b.states() == {"upload 1": "done"}


async def test_no_budget_sends_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Without budget nothing is claimed; when the window ends everything goes on."""
    async with bench(tmp_path) as b:
        b.ledger.left = 0
        b.write_file("a.gif")
        await b.queue("a.gif")
        await b.drainer().run_until_idle()
        assert b.imgur.calls == []
        with trio.move_on_after(3700):
            await b.drainer().run()
        assert b.states() == {"upload 1": "done"}


async def test_login_needed_ends_the_drainer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A token that is not accepted stops everything and loses nothing."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.failures = [LoginNeededError("log in")]
        with pytest.raises(LoginNeededError):
            await b.drainer().run()
        assert b.states() == {"upload 1": "queued"}


async def test_one_drainer_per_account(tmp_path: Path) -> None:
    """While another process drains, run_until_idle says who it is."""
    async with bench(tmp_path) as b:
        with (
            FileLock(b.state_dir / "drain.lock").require("the other"),
            pytest.raises(AlreadyRunningError),
        ):
            await b.drainer().run_until_idle()


async def test_delete_after_grace(tmp_path: Path, autojump_clock: MockClock) -> None:
    """S22: A delete waits out its grace, then the image is gone everywhere."""
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif", grace_s=600)
        (b.root / "a.gif").unlink()
        await b.drainer().run_until_idle()
        assert image_id in b.imgur.images
        with trio.move_on_after(610):
            await b.drainer().run()
        assert b.imgur.images == {}
        assert synced.files(b.db.reader, b.folder.id) == {}
        assert entries.node_of_image(b.db.reader, image_id) is None


async def test_delete_is_cancelled_when_the_file_is_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: A file that exists when its delete is due keeps its image."""
    async with bench(tmp_path) as b:
        await b.delete_of("a.gif")
        await b.drainer().run_until_idle()
        assert len(b.imgur.images) == 1
        assert b.states()["delete_image 2"] == "cancelled"


async def test_delete_is_held_when_the_folder_is_another(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A folder that was replaced or is missing deletes nothing."""
    async with bench(tmp_path) as b:
        await b.delete_of("a.gif")
        b.root.rename(tmp_path / "moved")
        await b.drainer().run_until_idle()
        b.root.mkdir()
        await b.drainer().run_until_idle()
        assert len(b.imgur.images) == 1
        assert b.states()["delete_image 2"] == "queued"


async def test_delete_of_a_gone_image_is_done(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Deleting twice does no harm."""
    async with bench(tmp_path) as b:
        await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        b.imgur.failures = [NotFoundError("gone")]
        await b.drainer().run_until_idle()
        assert b.states()["delete_image 2"] == "done"
