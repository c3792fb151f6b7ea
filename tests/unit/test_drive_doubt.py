"""What the drive shows of an upload whose answer nobody has yet, over the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import control
from imgurfs.jobs import queueing
from imgurfs.model import Lane
from imgurfs.store import entries, outbox
from imgurfs.store.outbox import JobState
from tests.support.phases import UPLOADS, drive, trouble, until_job, uploads
from tests.support.pictures import small_picture
from tests.support.placed import placed

#: The image is there, and nobody is told of it in time.
ANSWER_LOST = {"action": "reset_after", "nth": 1, **UPLOADS}
ANSWER_SLOW = {"action": "slow", "bytes_per_s": 20.0, "nth": 1, **UPLOADS}
IN_DOUBT = [(ANSWER_LOST, JobState.UNKNOWN), (ANSWER_SLOW, JobState.SENDING)]


@pytest.mark.parametrize(("rule", "state"), IN_DOUBT)
@pytest.mark.parametrize("place", ["x.png", "A/x.png"])
async def test_a_listing_shows_no_second_file(
    tmp_path: Path,
    autojump_clock: MockClock,
    rule: dict[str, object],
    state: JobState,
    place: str,
) -> None:
    """W1, S10: a listing that has the image of an upload in doubt adds no file; the
    upload is recognised by it, and the file keeps its inode.
    """
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.refresh()
        inode = await d.write(place)
        before = d.everything()
        trouble(d, rule)
        async with trio.open_nursery() as nursery:
            drainer = d.drainer()
            nursery.start_soon(drainer.run)
            await until_job(d, queueing.UPLOAD, state)
            await trio.sleep(15)
            (made,) = d.images()
            await d.refresh()
            assert outbox.unfinished(d.db.reader, kind=queueing.UPLOAD, state=state)
            assert d.everything() == before
            known = entries.node_of_image(d.db.reader, made.id)
            assert known is not None
            assert known.links == 0
            await trio.sleep(4_000)
            drainer.stop()
        assert d.everything() == before
        assert d.node(place).inode == inode
        assert d.image(place) == made.id
        assert uploads(d) == 1


async def test_a_removed_file_stays_removed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W31: a file that was removed while its upload was in doubt does not come back."""
    async with drive(tmp_path) as d:
        await d.write("x.png")
        trouble(d, ANSWER_LOST)
        async with trio.open_nursery() as nursery:
            drainer = d.drainer()
            nursery.start_soon(drainer.run)
            await until_job(d, queueing.UPLOAD, JobState.UNKNOWN)
            await d.remove("x.png")
            await trio.sleep(15)
            await d.refresh()
            assert d.names() == []
            await trio.sleep(4_000)
            drainer.stop()
        assert d.images() == []


async def test_an_equal_image_that_has_a_name_is_shown_everywhere(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W31: somebody puts the image of one of two equal files into another album while
    the upload of the other is in doubt: that shows at once.
    """
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.refresh()
        await d.write("a.png", small_picture("one"))
        await d.drain(60)
        first = d.image("a.png")
        await d.write("b.png", small_picture("one"))
        trouble(d, ANSWER_LOST)
        async with trio.open_nursery() as nursery:
            drainer = d.drainer()
            nursery.start_soon(drainer.run)
            await until_job(d, queueing.UPLOAD, JobState.UNKNOWN)
            await d.there.api.add_to_album(d.album_id("A"), [first], Lane.FRESH)
            await trio.sleep(15)
            await d.refresh()
            assert [d.image(f"A/{name}") for name in d.names("A")] == [first]
            await trio.sleep(4_000)
            drainer.stop()


async def test_an_image_that_was_not_the_upload_gets_its_name(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10: what the user says was not made by an upload is a file of its own."""
    async with placed(tmp_path) as d:
        await d.write("x.png")
        trouble(d, ANSWER_LOST)
        await d.drain(30)
        (made,) = d.images()
        await d.refresh()
        assert d.names() == ["x.png"]
        (job,) = outbox.unfinished(d.db.reader, kind=queueing.UPLOAD)
        now = d.there.clock.now()
        await d.db.write(lambda c: control.did_not_happen(c, job.id, now=now))
        await d.refresh()
        assert len(d.names()) == 2
        assert made.id in [d.image(name) for name in d.names()]
