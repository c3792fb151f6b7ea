"""Lost answers of the drive's calls: twins, deliberate doubles, what users decide."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import control
from imgurfs.errors import UserError
from imgurfs.jobs import queueing
from imgurfs.jobs.steps import Ready
from imgurfs.jobs.sweep import sweep
from imgurfs.marker import DEVICE_ID_BYTES, device_part
from imgurfs.model import ROOT_INODE, Lane
from imgurfs.store import edits, outbox, outbox_lists
from imgurfs.store.drafts import DraftState
from imgurfs.store.outbox import Job, JobState
from tests.support.phases import (
    ALBUMS,
    LONG_S,
    UPLOADS,
    Phase,
    caught,
    draft_of,
    drive,
    trouble,
    until_job,
    uploads,
)
from tests.support.pictures import small_picture
from tests.support.placed import Placed, placed

DEVICE = device_part(b"d" * DEVICE_ID_BYTES)
#: The first attempt is refused and happens much later: it leaves a twin.
LATE = {
    "action": "late_commit",
    "host": "api",
    "commit_after_s": 600.0,
    "nth": 1,
    "method": "POST",
    "path": UPLOADS["path"],
}


def only(d: Placed, kind: str) -> Job:
    """Return the only unfinished job of a kind."""
    (job,) = outbox.unfinished(d.db.reader, kind=kind)
    return job


async def test_the_second_of_two_equal_files_is_not_taken_for_the_first(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10: two files of one content carry one mark; when the second one's answer is
    lost it is the image that no upload is known to have made.
    """
    async with drive(tmp_path) as d:
        trouble(d, {"action": "reset_after", "nth": 2, **UPLOADS})
        await d.write("a.png", small_picture("one"))
        await d.write("b.png", small_picture("one"))
        await d.drain(LONG_S)
        assert uploads(d) == 2
        assert len({d.image("a.png"), d.image("b.png")}) == 2
        assert len(d.images()) == 2


async def test_deliberate_doubles_are_no_twins(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S12: of equal images only one that nobody asked for is swept."""
    async with placed(tmp_path) as d:
        trouble(d, LATE)
        await d.write("a.png", small_picture("one"))
        await d.write("b.png", small_picture("one"))
        await d.drain(LONG_S)
        await d.refresh()
        assert len(d.images()) == 3
        wanted = {d.image("a.png"), d.image("b.png")}
        now = d.there.clock.now()
        count = await d.db.write(
            lambda c: sweep(c, device=DEVICE, now=now, grace_s=0.0)
        )
        assert count == 1
        await d.drain()
        assert {one.id for one in d.images()} == wanted


async def sweep_twin_of(d: Placed, path: str) -> str:
    """Make a file whose upload leaves a twin, queue its deletion, return its name."""
    trouble(d, LATE)
    await d.write(path, small_picture("one"))
    await d.drain(LONG_S)
    await d.refresh()
    (twin,) = set(d.names()) - {path}
    now = d.there.clock.now()
    assert await d.db.write(
        lambda c: sweep(c, device=DEVICE, now=now, grace_s=d.delete_grace_s)
    )
    return twin


async def test_a_twin_stays_when_its_file_is_removed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S12: of two equal images the user removed the one that is the file, before the
    twin's deletion was sent: the other one stays, and is asked for no more.
    """
    async with placed(tmp_path) as d:
        twin = await sweep_twin_of(d, "a.png")
        image = d.image(twin)
        await d.remove("a.png")
        await d.drain(LONG_S, is_guarded=True)
        assert [one.id for one in d.images()] == [image]
        assert d.jobs() == []
        await trio.sleep(10)
        await d.refresh()
        assert d.names() == [twin]
        now = d.there.clock.now()
        assert not await d.db.write(
            lambda c: sweep(c, device=DEVICE, now=now, grace_s=0.0)
        )


async def test_a_twin_stays_when_its_file_went_unseen(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S12: the image that is the file was deleted on the web, and no listing has told:
    Imgur is asked before the twin is deleted.
    """
    async with placed(tmp_path) as d:
        image = d.image(await sweep_twin_of(d, "a.png"))
        await d.there.api.delete_image(d.image("a.png"), Lane.FRESH)
        await d.drain(LONG_S, is_guarded=True)
        assert [one.id for one in d.images()] == [image]
        assert d.jobs() == []


async def test_a_twin_goes_that_the_user_removed_as_well(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S12: of two equal images both were removed: neither comes back."""
    async with placed(tmp_path) as d:
        await d.remove(await sweep_twin_of(d, "a.png"))
        await d.remove("a.png")
        await d.drain(LONG_S)
        assert d.images() == []
        assert d.names() == []


async def test_a_twin_is_looked_at_again_when_its_file_is_removed_meanwhile(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S12: the file is removed between the look at its image and the twin's deletion:
    what was found out does not count any more.
    """
    async with placed(tmp_path) as d:
        image = d.image(await sweep_twin_of(d, "a.png"))
        job = only(d, queueing.DELETE_IMAGE)
        await trio.sleep(d.delete_grace_s)
        step = await d.drainer()._attempts._worker.prepare(job)
        assert isinstance(step, Ready)
        assert step.is_still(d.db.reader)
        await d.remove("a.png")
        assert not step.is_still(d.db.reader)
        await d.drain(LONG_S)
        assert [one.id for one in d.images()] == [image]


async def test_nothing_is_swept_that_an_upload_may_have_made(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S12: while the outcome of an upload is unknown its image may be the free one."""
    async with placed(tmp_path) as d:
        trouble(
            d,
            {"action": "status_after", "status": 502, "nth": 3, **UPLOADS},
            {"action": "reset_before", "nth": 1, **UPLOADS},
        )
        await d.write("a.png", small_picture("one"))
        await d.drain(600)
        await d.write("b.png", small_picture("one"))
        async with trio.open_nursery() as nursery:
            drainer = d.drainer()
            nursery.start_soon(drainer.run)
            await until_job(d, queueing.UPLOAD, JobState.UNKNOWN)
            drainer.stop()
        await d.refresh()
        now = d.there.clock.now()
        count = await d.db.write(
            lambda c: sweep(c, device=DEVICE, now=now, grace_s=0.0)
        )
        assert count == 0


async def test_files_go_as_soon_as_their_album_is_there(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What waits for an album waits no longer than its creation takes."""
    async with drive(tmp_path) as d:
        trouble(d, {"action": "delay", "delay_s": 10.0, "nth": 1, **ALBUMS})
        await d.mkdir("A")
        await d.write("A/x.png")
        await d.drain(15)
        assert d.albums() == {"A": [d.image("A/x.png")]}
        await d.drain(1_000)


async def test_a_user_says_that_it_happened(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10, S11: a lost upload and a lost album are settled by naming what they made."""
    async with drive(tmp_path) as d:
        await d.write("x.png")
        await d.mkdir("A")
        trouble(
            d,
            {"action": "reset_after", "nth": 1, **UPLOADS},
            {"action": "reset_after", "nth": 1, **ALBUMS},
        )
        await d.drain(60)
        (image,) = d.images()
        upload, create = only(d, queueing.UPLOAD), only(d, queueing.CREATE_ALBUM)
        made = await d.there.api.image(image.id, Lane.INTERACTIVE)
        (album,) = await d.there.api.albums_page(0, Lane.INTERACTIVE)
        now = d.there.clock.now()
        await d.db.write(lambda c: control.happened(c, upload.id, made, now=now))
        await d.db.write(lambda c: control.happened(c, create.id, album, now=now))
        assert d.image("x.png") == image.id
        assert d.album_id("A") == album.id


async def test_a_user_cannot_give_one_image_to_two_files(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10: an image that an upload is known to have made is no other one's."""
    async with placed(tmp_path) as d:
        await d.write("x.png", small_picture("one"))
        await d.drain()
        image = await d.there.api.image(d.image("x.png"), Lane.INTERACTIVE)
        trouble(d, {"action": "reset_before", "nth": 1, **UPLOADS})
        await d.write("y.png", small_picture("one"))
        await d.drain()
        job, now = only(d, queueing.UPLOAD), d.there.clock.now()
        with pytest.raises(UserError, match="made by another upload"):
            await d.db.write(lambda c: control.happened(c, job.id, image, now=now))


async def test_a_cancelled_upload_stays_here_until_the_file_changes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W29: cancelling keeps the file; writing to it sends it after all."""
    async with drive(tmp_path) as d:
        await d.write("x.png")
        job, now = only(d, queueing.UPLOAD), d.there.clock.now()
        await d.db.write(lambda c: control.cancel(c, job.id, now=now))
        await d.drain()
        assert d.images() == []
        draft = draft_of(d, "x.png")
        assert draft is not None
        assert draft.state is DraftState.REFUSED
        assert "you cancelled" in draft.error
        await d.overwrite("x.png", small_picture("changed"))
        await d.drain()
        assert uploads(d) == 1


async def test_what_was_rejected_is_forgotten_when_the_file_is_another(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W29: the dead letter lists files as they are; no retry sends an old content."""
    async with drive(tmp_path) as d:
        trouble(d, {"action": "status", "status": 400, "nth": 1, **UPLOADS})
        await d.write("x.png")
        await d.drain()
        (dead,) = outbox_lists.rejected(d.db.reader)
        await d.overwrite("x.png", small_picture("changed"))
        assert outbox_lists.rejected(d.db.reader) == []
        await d.drain()
        assert uploads(d) == 2
        now = d.there.clock.now()
        with pytest.raises(UserError, match="changed or removed since"):
            await d.db.write(lambda c: control.retry(c, dead.id, now=now))


async def test_what_was_rejected_is_forgotten_with_the_file(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W29: a rejected file that the user removes is nobody's trouble any more."""
    async with drive(tmp_path) as d:
        trouble(d, {"action": "status", "status": 400, "nth": 1, **UPLOADS})
        await d.write("x.png")
        await d.drain()
        assert len(outbox_lists.rejected(d.db.reader)) == 1
        await d.remove("x.png")
        assert outbox_lists.rejected(d.db.reader) == []


async def test_a_file_that_is_removed_at_the_last_moment_is_not_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W3: the drainer goes on, and finds out that nobody wants the file any more."""
    async with drive(tmp_path) as d:
        inode = await d.write("x.png")
        reader = d.db.reader

        def remove(statement: str) -> None:
            # What is asked when it was seen that the file has a name.
            if "FROM job WHERE marker = " not in statement:
                return
            reader.set_trace_callback(None)
            d.db.write_blocking(lambda c: edits.drop_entry(c, ROOT_INODE, inode))

        reader.set_trace_callback(remove)
        await d.drain()
        await d.writer.files.forget_unlinked(inode)
        assert uploads(d) == 0
        assert d.kinds() == []


async def test_a_deletion_imgur_refuses_shows_the_image_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: what cannot be deleted has its name back."""
    async with drive(tmp_path) as d:
        await d.write("x.png")
        await d.drain()
        await d.remove("x.png")
        rule = {"host": "api", "method": "DELETE", "path": "^/3/image"}
        trouble(d, {"action": "status", "status": 400, "count": 1, **rule})
        await d.drain(1_000)
        assert d.names() == ["x.png"]


async def test_a_title_imgur_refuses_is_the_old_one_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W9: a title that is never accepted does not hide the true one for ever."""
    async with drive(tmp_path) as d:
        await d.write("x.png")
        await d.drain()
        inode = d.node("x.png").inode
        await d.places.set_text(inode, title="new")
        rule = {"host": "api", "method": "POST", "path": "^/3/image/"}
        trouble(d, {"action": "status", "status": 400, "count": 1, **rule})
        await d.drain()
        await trio.sleep(10)
        await d.refresh()
        node = d.node(d.names()[0])
        assert node.image is not None
        assert node.image.title == ""


@pytest.mark.parametrize("phase", [Phase.SENDING, Phase.UNKNOWN])
async def test_texts_set_meanwhile_are_sent_afterwards(
    tmp_path: Path, autojump_clock: MockClock, phase: Phase
) -> None:
    """W9: a title set while the upload is on its way reaches Imgur."""
    async with drive(tmp_path) as d:
        await d.write("x.png")
        inode = d.node("x.png").inode
        async with caught(d, phase):
            await d.places.set_text(inode, title="Sunset", description="by the sea")
        (image,) = d.images()
        assert (image.title, image.description) == ("Sunset", "by the sea")


async def test_a_listing_between_does_not_bring_the_old_place_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10, W31: what a listing shows of a lost upload is the file that is where the
    user has put it since.
    """
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        inode = await d.write("A/x.png")
        async with caught(d, Phase.UNKNOWN):
            await d.move("A/x.png", "B/y.png")
            await trio.sleep(10)
            await d.refresh()
            assert d.names("A") == []
            (image,) = d.images()
            made = await d.there.api.image(image.id, Lane.INTERACTIVE)
            job, now = only(d, queueing.UPLOAD), d.there.clock.now()
            await d.db.write(lambda c: control.happened(c, job.id, made, now=now))
            assert d.names("A") == []
        assert d.everything().keys() == {"A", "B", "B/y.png"}
        assert d.node("B/y.png").inode == inode
        assert uploads(d) == 1
