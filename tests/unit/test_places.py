"""Names of files on the drive: links, moves, what replaces what, and in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs.errors import (
    CrossAlbumError,
    IsDirectoryError,
    NameTakenError,
    NameTooLongError,
    NoDirectoryError,
    NotAllowedError,
    NotFoundError,
)
from imgurfs.jobs import queueing
from imgurfs.jobs.payloads import DeleteImagePayload
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import changelog, drafts, entries, membership, outbox
from imgurfs.store.drafts import DraftState
from imgurfs.store.membership import Place
from tests.support.account import open_state
from tests.support.pictures import small_picture
from tests.support.placed import Placed, placed

Edit = Callable[[Placed], Awaitable[object]]


def wishes(drive: Placed, path: str, image: str) -> Place | None:
    """Return what is wished for an image in an album."""
    found = membership.one(drive.db.reader, drive.album_id(path), image)  # type: ignore[arg-type]
    return None if found is None else found.state


def deletions(drive: Placed) -> list[DeleteImagePayload]:
    """Return the deletions that wait."""
    return [
        queueing.decode(job, DeleteImagePayload)
        for job in drive.jobs()
        if job.kind == queueing.DELETE_IMAGE
    ]


def state(drive: Placed, path: str) -> DraftState:
    """Return what becomes of a file's bytes."""
    draft = drive.node(path).draft
    assert draft is not None
    return draft.state


async def test_a_link_is_the_same_file_and_a_wish(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W4: ln shows the image in both albums at once, with two links."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        await d.link("A/x.png", "B/other.png")
        assert d.node("A/x.png").inode == d.node("B/other.png").inode
        assert d.node("A/x.png").links == 2
        assert wishes(d, "B", d.image("A/x.png")) is Place.ADDING
        assert d.kinds() == ["members"]


async def test_removing_one_of_two_names_takes_it_out_of_that_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W4: rm of one of two links deletes nothing."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        image = d.image("A/x.png")
        await d.link("A/x.png", "B/x.png")
        await d.remove("A/x.png")
        assert d.names("A") == []
        assert d.node("B/x.png").links == 1
        assert wishes(d, "A", image) is Place.REMOVING
        assert deletions(d) == []


async def test_the_last_name_takes_the_image_along(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: rm of the last link asks for the deletion, and remembers the name."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        image, album = d.image("A/x.png"), d.node("A").inode
        await d.remove("A/x.png")
        assert d.names("A") == []
        (payload,) = deletions(d)
        assert payload.image_id == image
        assert payload.places == ((album, "x.png"),)
        assert not payload.is_replaced
        (job,) = d.jobs()
        assert job.not_before == pytest.approx(d.there.clock.now() + 600, abs=1)


async def test_a_wish_that_was_not_sent_goes_with_the_last_name(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An image that is linked and deleted at once is not put into an album first."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        image = d.image("A/x.png")
        await d.link("A/x.png", "B/x.png")
        await d.remove("A/x.png")
        await d.remove("B/x.png")
        assert wishes(d, "B", image) is None
        assert len(deletions(d)) == 1


async def test_somebody_elses_image_leaves_the_album_and_is_not_deleted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What is not ours cannot be deleted, only be taken out of our album."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        image, inode = d.image("A/x.png"), d.node("A/x.png").inode
        await d.db.write(
            lambda c: c.execute(
                "UPDATE image SET deletehash = '', is_in_account = 0 WHERE inode = ?",
                (inode,),
            )
        )
        await d.remove("A/x.png")
        assert wishes(d, "A", image) is Place.REMOVING
        assert deletions(d) == []


@pytest.mark.parametrize(
    ("old", "new", "adds", "removes"),
    [
        ("A/x.png", "B/x.png", "B", "A"),
        ("A/x.png", "x.png", None, "A"),
        ("top.png", "A/top.png", "A", None),
    ],
)
async def test_a_move_between_directories_is_two_wishes(
    tmp_path: Path,
    autojump_clock: MockClock,
    old: str,
    new: str,
    adds: str | None,
    removes: str | None,
) -> None:
    """W4: mv between albums and the root keeps inode and id, and uploads nothing."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/", "top.png")
        before = d.node(old)
        image = d.image(old)
        await d.move(old, new)
        after = d.node(new)
        assert (after.inode, d.image(new), after.links) == (before.inode, image, 1)
        assert old.rpartition("/")[2] not in d.names(old.rpartition("/")[0])
        if adds is not None:
            assert wishes(d, adds, image) is Place.ADDING
        if removes is not None:
            assert wishes(d, removes, image) is Place.REMOVING
        assert set(d.kinds()) == {"members"}


async def test_there_and_back_again_is_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W10: A to B to A leaves no wish that needs a call."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        image = d.image("A/x.png")
        await d.move("A/x.png", "B/x.png")
        await d.move("B/x.png", "A/x.png")
        assert wishes(d, "B", image) is None
        assert wishes(d, "A", image) is Place.THERE


async def test_a_file_that_was_not_uploaded_needs_no_wishes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W3: a new file that is moved has one upload to wait for and nothing else."""
    async with placed(tmp_path) as d:
        await d.account("A/", "B/")
        inode = await d.write("A/x.png")
        await d.move("A/x.png", "B/y.png")
        await d.link("B/y.png", "A/z.png")
        assert d.kinds() == ["upload"]
        assert d.node("A/z.png").inode == inode
        assert state(d, "B/y.png") is DraftState.WAITING
        await d.remove("A/z.png")
        await d.remove("B/y.png")
        assert d.jobs() == []
        assert drafts.get(d.db.reader, inode) is None


TABLE: dict[str, tuple[Edit, type[Exception]]] = {
    "unlink nothing": (lambda d: d.remove("A/none.png"), NotFoundError),
    "unlink an album": (lambda d: d.remove("A"), IsDirectoryError),
    "unlink under a file": (
        lambda d: d.places.unlink(d.node("top.png").inode, "x"),
        NoDirectoryError,
    ),
    "unlink under nothing": (
        lambda d: d.places.unlink(Inode(9_999), "x"),
        NotFoundError,
    ),
    "rename nothing": (lambda d: d.move("A/none.png", "A/b.png"), NotFoundError),
    "rename into nothing": (
        lambda d: d.places.rename(*d.at("A/x.png"), Inode(9_999), "x"),
        NotFoundError,
    ),
    "rename into a file": (lambda d: d.move("A/x.png", "top.png/x"), NoDirectoryError),
    "no replace": (
        lambda d: d.move("A/x.png", "A/y.png", no_replace=True),
        NameTakenError,
    ),
    "no replace, the same file": (
        lambda d: d.move("A/x.png", "A/x.png", no_replace=True),
        NameTakenError,
    ),
    "a file over an album": (lambda d: d.move("A/x.png", "B"), IsDirectoryError),
    "an album over a file": (lambda d: d.move("B", "top.png"), NoDirectoryError),
    "an album into another": (lambda d: d.move("B", "A/B"), NotAllowedError),
    "an album into itself": (lambda d: d.move("A", "A/A"), NotAllowedError),
    "a name of the drive's own": (
        lambda d: d.move("A/x.png", "A/@x.png"),
        NotAllowedError,
    ),
    "a name that is too long": (
        lambda d: d.move("A/x.png", "A/" + "x" * 256),
        NameTooLongError,
    ),
    "link to a taken name": (lambda d: d.link("A/x.png", "B/b.png"), NameTakenError),
    "link twice in an album": (lambda d: d.link("A/x.png", "A/z.png"), NameTakenError),
    "link from the root": (lambda d: d.link("top.png", "A/t.png"), CrossAlbumError),
    "link to the root": (lambda d: d.link("A/x.png", "x.png"), CrossAlbumError),
    "link an album": (lambda d: d.link("A", "C"), NotAllowedError),
    "link nothing": (
        lambda d: d.places.link(Inode(9_999), ROOT_INODE, "x"),
        NotFoundError,
    ),
    "link under nothing": (
        lambda d: d.places.link(d.node("A/x.png").inode, Inode(9_999), "x"),
        NotFoundError,
    ),
    "link under a file": (lambda d: d.link("A/x.png", "top.png/x"), NoDirectoryError),
}


@pytest.mark.parametrize("case", TABLE)
async def test_what_is_refused_changes_nothing(
    tmp_path: Path, autojump_clock: MockClock, case: str
) -> None:
    """W13, W20, W21: refusals come in the order POSIX wants and leave no trace."""
    edit, error = TABLE[case]
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "A/y.png", "B/b.png", "top.png")
        before = [d.names(), d.names("A"), d.names("B")]
        seq = changelog.last_seq(d.db.reader)
        with pytest.raises(error):
            await edit(d)
        assert [d.names(), d.names("A"), d.names("B")] == before
        assert changelog.last_seq(d.db.reader) == seq
        assert d.jobs() == []
        assert d.told == []


async def test_a_rename_to_another_link_of_the_same_file_does_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W20: rename(2) between two names of one file succeeds and changes nothing."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        await d.link("A/x.png", "B/x.png")
        jobs = d.kinds()
        await d.move("A/x.png", "B/x.png")
        await d.move("A/x.png", "A/x.png")
        assert (d.names("A"), d.names("B")) == (["x.png"], ["x.png"])
        assert d.kinds() == jobs


async def test_an_image_has_one_name_in_an_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W21: a move that would give it a second one, or one in the root, is refused."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        await d.link("A/x.png", "B/y.png")
        with pytest.raises(NameTakenError):
            await d.move("A/x.png", "B/z.png")
        with pytest.raises(CrossAlbumError):
            await d.move("A/x.png", "x.png")
        assert (d.names("A"), d.names("B")) == (["x.png"], ["y.png"])


async def test_directories_and_files_know_when_their_names_changed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A change of names touches directories and the file's ctime, not its mtime."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        mtime_ns = d.node("A/x.png").mtime_ns
        autojump_clock.jump(5)
        now_ns = round(d.there.clock.now() * 1e9)
        await d.move("A/x.png", "B/x.png")
        for path in ("A", "B"):
            assert d.node(path).mtime_ns == d.node(path).ctime_ns
            assert d.node(path).mtime_ns >= now_ns
        assert d.node("B/x.png").ctime_ns >= now_ns
        assert d.node("B/x.png").mtime_ns == mtime_ns


async def test_only_what_was_given_of_the_times_is_set(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W23: mtime and atime are kept to the nanosecond, each for itself."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        inode = d.node("A/x.png").inode
        await d.places.set_times(inode, mtime_ns=1_000_000_000_123_456_789)
        await d.places.set_times(inode, atime_ns=77)
        assert d.node("A/x.png").mtime_ns == 1_000_000_000_123_456_789
        assert d.node("A/x.png").atime_ns == 77
        with pytest.raises(NotFoundError):
            await d.places.set_times(Inode(9_999), mtime_ns=1)


async def test_the_times_of_a_file_that_is_being_written_are_kept(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W23: what cp -p sets before it closes is not overwritten by the close."""
    async with placed(tmp_path) as d:
        files = d.writer.files
        inode, draft = await files.create(ROOT_INODE, "x.png")
        await files.write(draft, 0, small_picture("x"))
        await d.places.set_times(inode, mtime_ns=1_234_567_891)
        await files.commit(draft)
        await files.release(draft)
        assert d.node("x.png").mtime_ns == 1_234_567_891


async def test_the_kernel_is_not_told_what_it_asked_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Every row of the change log that an operation wrote is told as known."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        first = changelog.last_seq(d.db.reader) + 1
        await d.move("A/x.png", "B/y.png")
        await d.remove("B/y.png")
        last = changelog.last_seq(d.db.reader)
        told = [n for one in d.told for n in range(one[0], one[1] + 1)]
        assert told == list(range(first, last + 1))


async def test_a_name_is_committed_when_the_operation_returns(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W2: another process sees name and job at once, so they survive kill -9."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        await d.move("A/x.png", "B/x.png")
        other = open_state(d.state_dir / "state.db")
        try:
            assert entries.child(other.reader, d.node("B").inode, "x.png") is not None
            assert len(outbox.unfinished(other.reader)) == 2
        finally:
            other.close()
