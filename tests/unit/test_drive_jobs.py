"""Uploads from the drive: once each, wherever the file is by then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import control
from imgurfs.errors import NotMediaError, UserError
from imgurfs.jobs import queueing
from imgurfs.store import drafts, entries, outbox
from imgurfs.store.drafts import DraftState
from imgurfs.store.outbox import JobState
from tests.support.phases import (
    UPLOADS,
    Phase,
    bytes_of,
    caught,
    draft_of,
    drive,
    trouble,
    uploads,
)
from tests.support.pictures import small_picture
from tests.support.placed import Placed, placed

Edit = Callable[[Placed], Awaitable[object]]
PHASES = pytest.mark.parametrize("phase", Phase, ids=lambda one: one.name.lower())


async def test_a_copied_file_is_one_post_into_its_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W3: a file copied into an album is one POST; its inode gets the image."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        inode = await d.write("A/x.png")
        await d.drain()
        assert d.calls() == ["POST upload"]
        assert d.albums()["A"] == [d.image("A/x.png")]
        assert d.node("A/x.png").inode == inode


async def rename(d: Placed) -> None:
    """Give the file another name."""
    await d.move("A/x.png", "A/y.png")


async def move(d: Placed) -> None:
    """Move it into another album."""
    await d.move("A/x.png", "B/x.png")


async def move_out(d: Placed) -> None:
    """Move it out of all albums."""
    await d.move("A/x.png", "x.png")


async def link(d: Placed) -> None:
    """Put it into a second album."""
    await d.link("A/x.png", "B/z.png")


@PHASES
@pytest.mark.parametrize(
    ("edit", "paths"),
    [
        (rename, {"A/y.png"}),
        (move, {"B/x.png"}),
        (move_out, {"x.png"}),
        (link, {"A/x.png", "B/z.png"}),
    ],
)
async def test_a_file_that_moves_meanwhile_is_sent_once(
    tmp_path: Path,
    autojump_clock: MockClock,
    phase: Phase,
    edit: Edit,
    paths: set[str],
) -> None:
    """S10: renamed, moved or linked while its upload waits, is in the air or of
    unknown outcome, it is one image under the names and in the albums it has then.
    """
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        inode = await d.write("A/x.png")
        async with caught(d, phase):
            await edit(d)
        assert uploads(d) == 1
        assert {path for path in d.everything() if path not in "AB"} == paths
        assert {d.node(path).inode for path in paths} == {inode}


@PHASES
async def test_a_new_name_is_told_to_imgur_if_the_old_one_was_sent(
    tmp_path: Path, autojump_clock: MockClock, phase: Phase
) -> None:
    """W5: the name visitors see is the one the file has in the end."""
    async with drive(tmp_path) as d:
        await d.write("x.png")
        async with caught(d, phase):
            await d.move("x.png", "y.png")
        image = d.image("y.png")
        assert d.title(image) == ("" if phase is Phase.QUEUED else "y")


@PHASES
async def test_a_file_removed_meanwhile_leaves_nothing(
    tmp_path: Path, autojump_clock: MockClock, phase: Phase
) -> None:
    """W6: removed before its upload is over, its image is deleted, or never made."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.write("A/x.png")
        async with caught(d, phase):
            await d.remove("A/x.png")
        assert d.images() == []
        assert uploads(d) == (0 if phase is Phase.QUEUED else 1)


@PHASES
async def test_a_file_rewritten_meanwhile_is_the_last_content(
    tmp_path: Path, autojump_clock: MockClock, phase: Phase
) -> None:
    """W8: written to again before its upload is over, the last bytes are the image,
    and the first ones are deleted.
    """
    async with drive(tmp_path) as d:
        await d.account("A/")
        inode = await d.write("A/x.png")
        async with caught(d, phase):
            await d.overwrite("A/x.png", small_picture("second"))
        (image,) = d.images()
        assert bytes_of(d, image.id) == small_picture("second")
        assert d.node("A/x.png").inode == inode
        assert uploads(d) == (1 if phase is Phase.QUEUED else 2)


@PHASES
async def test_a_file_replaced_meanwhile_is_the_new_one(
    tmp_path: Path, autojump_clock: MockClock, phase: Phase
) -> None:
    """W8: an editor's save over a file that is on its way leaves one image."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.write("A/x.png")
        async with caught(d, phase):
            await d.write("A/.x.tmp", small_picture("second"))
            await d.move("A/.x.tmp", "A/x.png")
        (image,) = d.images()
        assert bytes_of(d, image.id) == small_picture("second")


async def test_an_image_that_was_changed_keeps_its_inode_title_and_albums(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: changed bytes are a new image in the same albums, then the old one goes."""
    async with drive(tmp_path) as d:
        await d.account("A/x.png", "B/")
        await d.link("A/x.png", "B/x.png")
        await d.places.set_text(d.node("A/x.png").inode, title="Sunset")
        await d.drain()
        old, inode = d.image("A/x.png"), d.node("A/x.png").inode
        d.mark()
        await d.overwrite("A/x.png", small_picture("changed"))
        await d.drain()
        new = d.image("A/x.png")
        assert new != old
        assert d.node("B/x.png").inode == inode
        assert d.albums() == {"A": [old, new], "B": [old, new]}
        assert d.title(new) == "Sunset"
        await d.drain(700)
        assert d.albums() == {"A": [new], "B": [new]}
        assert len(d.calls()) == 3, "a POST, a link and a deletion"


async def test_the_same_content_again_is_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: writing what was there already sends nothing and keeps the image."""
    async with drive(tmp_path) as d:
        await d.write("x.png")
        await d.drain()
        image = d.image("x.png")
        d.mark()
        await d.overwrite("x.png", small_picture("x.png"))
        await d.drain()
        assert d.calls() == []
        assert d.image("x.png") == image
        await d.write("y.part", small_picture("x.png"))
        await d.move("y.part", "x.png")
        await d.drain(1_000)
        assert d.calls() == []
        assert d.image("x.png") == image


async def test_a_lost_answer_makes_no_twin(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10: twenty files, and four of ten answers are lost: twenty images."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        trouble(
            d,
            {
                "action": "reset_after",
                "host": "api",
                "method": "POST",
                "path": "^/3/(image|upload|album)$",
                "probability": 0.4,
            },
        )
        await d.mkdir("New")
        for n in range(10):
            await d.write(f"A/{n}.png")
            await d.write(f"New/{n}.png")
        await d.drain(6 * 3600)
        trouble(d)
        assert sorted(len(images) for images in d.albums().values()) == [10, 10]
        assert len(d.images()) == 20


FAULTS: dict[str, dict[str, object]] = {
    "done later": {"action": "late_commit", "commit_after_s": 90.0},
    "refused though done": {"action": "status_after", "status": 502},
    "cut before": {"action": "reset_before"},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["upload", "album"])
async def test_whatever_happens_to_an_answer_there_is_one(
    tmp_path: Path, autojump_clock: MockClock, fault: str, kind: str
) -> None:
    """S10, S11: one file in one new album, whichever answer comes late or never."""
    async with drive(tmp_path) as d:
        path = "^/3/album$" if kind == "album" else "^/3/(image|upload)$"
        where = {"host": "api", "method": "POST", "path": path, "nth": 1}
        lag = {"action": "lag", "host": "api", "lag_s": 2.0}
        trouble(d, {**where, **FAULTS[fault]}, lag)
        await d.mkdir("New")
        await d.write("New/x.png")
        await d.drain(3600)
        trouble(d)
        assert d.albums() == {"New": [d.image("New/x.png")]}
        assert len(d.images()) == 1


async def test_a_refused_upload_is_kept_and_can_be_retried(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W29: what Imgur refuses stays readable with the reason, until it is retried."""
    async with drive(tmp_path) as d:
        trouble(
            d,
            {
                "action": "status",
                "status": 400,
                "message": "no such thing",
                "host": "api",
                "method": "POST",
                "path": "^/3/(image|upload)$",
            },
        )
        await d.write("x.png")
        await d.drain()
        draft = draft_of(d, "x.png")
        assert draft is not None
        assert draft.state is DraftState.REFUSED
        assert "no such thing" in draft.error
        assert await d.read("x.png") == small_picture("x.png")
        (job,) = outbox.recent(d.db.reader, JobState.DEAD, 5)
        trouble(d)
        await d.db.write(lambda c: control.retry(c, job.id, now=d.there.clock.now()))
        await d.drain()
        assert [one.id for one in d.images()] == [d.image("x.png")]


@pytest.mark.parametrize("is_refused_again", [False, True])
async def test_what_is_written_over_a_refused_content_is_not_sent_by_its_retry(
    tmp_path: Path, autojump_clock: MockClock, *, is_refused_again: bool
) -> None:
    """W28: a retry is of the content that Imgur has refused, never of half another."""
    async with drive(tmp_path) as d:
        trouble(d, {"action": "status", "status": 400, "nth": 1, **UPLOADS})
        await d.write("x.png")
        await d.drain()
        (dead,) = outbox.recent(d.db.reader, JobState.DEAD, 5)
        files, whole = d.writer.files, small_picture("new") + bytes(1000)
        draft = await files.open_for_writing(d.node("x.png").inode, truncate=True)
        await files.write(draft, 0, b"no picture" if is_refused_again else whole[:500])
        if is_refused_again:
            with pytest.raises(NotMediaError):
                await files.commit(draft)
        now, before = d.there.clock.now(), draft_of(d, "x.png")
        with pytest.raises(UserError, match="changed or removed since"):
            await d.db.write(lambda c: control.retry(c, dead.id, now=now))
        assert await d.db.write(lambda c: control.retry_rejected(c, now=now)) == []
        assert draft_of(d, "x.png") == before
        await files.truncate(draft.inode, 0)
        await files.write(draft, 0, whole)
        await files.commit(draft)
        await files.release(draft)
        await d.drain()
        assert bytes_of(d, d.image("x.png")) == whole


async def test_bytes_that_are_gone_from_the_spool_are_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A file whose bytes somebody removed from the spool is refused, not forgotten."""
    async with placed(tmp_path) as d:
        await d.write("x.png")
        draft = draft_of(d, "x.png")
        assert draft is not None
        (d.state_dir / "spool" / draft.spool_name).unlink()
        await d.drain()
        after = drafts.get(d.db.reader, draft.inode)
        assert after is not None
        assert after.state is DraftState.REFUSED
        assert "gone from the spool" in after.error
        assert entries.entries_of(d.db.reader, draft.inode)
        assert outbox.unfinished(d.db.reader, kind=queueing.UPLOAD) == []
