"""Albums as directories: mkdir, rmdir, mv, as rows and jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs.errors import (
    NameTakenError,
    NameTooLongError,
    NoDirectoryError,
    NotAllowedError,
    NotEmptyError,
    NotFoundError,
)
from imgurfs.jobs import queueing
from imgurfs.jobs.payloads import (
    CreateAlbumPayload,
    DeleteAlbumPayload,
    UpdateAlbumPayload,
)
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import changelog, entries, outbox
from tests.support.placed import Placed, placed


def create_job(drive: Placed) -> CreateAlbumPayload:
    """Return the only creation that waits."""
    (job,) = (one for one in drive.jobs() if one.kind == queueing.CREATE_ALBUM)
    return queueing.decode(job, CreateAlbumPayload)


async def test_mkdir_makes_an_album(tmp_path: Path, autojump_clock: MockClock) -> None:
    """W7: a directory is there at once, known to be empty, and its album asked for."""
    async with placed(tmp_path) as d:
        inode = await d.mkdir("Holiday")
        node = d.node("Holiday")
        assert node.inode == inode
        assert node.album is not None
        assert (node.album.id, node.album.title) == ("", "Holiday")
        assert node.listed_at is not None
        assert d.names("Holiday") == []
        assert create_job(d).inode == inode
        assert d.node("").mtime_ns == node.mtime_ns


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("A", NameTakenError),
        ("top.png", NameTakenError),
        ("A/x.png", NameTakenError),
        ("A/inner", NotAllowedError),
        ("@new", NotAllowedError),
        (".imgurfs", NotAllowedError),
        (".Trash-1000", NotAllowedError),
        (".Trash", NotAllowedError),
        ("top.png/x", NoDirectoryError),
        ("n" * 256, NameTooLongError),
        ("é" * 128, NameTooLongError),
    ],
)
async def test_mkdir_refuses(
    tmp_path: Path, autojump_clock: MockClock, path: str, error: type[Exception]
) -> None:
    """W13, W22: what mkdir refuses leaves nothing behind."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "top.png")
        seq = changelog.last_seq(d.db.reader)
        with pytest.raises(error):
            await d.mkdir(path)
        assert d.jobs() == []
        assert changelog.last_seq(d.db.reader) == seq
        with pytest.raises(NotFoundError):
            await d.places.mkdir(Inode(9_999), "x")


async def test_a_directory_with_a_temporary_name_stays_here(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: rsync's directory for unfinished files is no album, until it is renamed."""
    async with placed(tmp_path) as d:
        inode = await d.mkdir(".~tmp~")
        assert d.jobs() == []
        await d.move(".~tmp~", "Real")
        assert create_job(d) == CreateAlbumPayload(
            queueing.DRIVE, str(inode).encode(), "Real", (), inode=inode
        )


async def test_rmdir_asks_for_the_deletion_of_an_empty_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: the name goes at once; the row stays so that no listing brings it back."""
    async with placed(tmp_path) as d:
        await d.account("A/", "B/")
        album = d.album_id("A")
        await d.rmdir("A")
        assert d.names() == ["B"]
        (job,) = d.jobs()
        assert queueing.decode(job, DeleteAlbumPayload) == DeleteAlbumPayload(
            album, "A"
        )
        await d.refresh()
        assert d.names() == ["B"]


async def test_rmdir_refuses(tmp_path: Path, autojump_clock: MockClock) -> None:
    """W22: an album with images, a file, and nothing at all."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "top.png")
        with pytest.raises(NotEmptyError):
            await d.rmdir("A")
        with pytest.raises(NoDirectoryError):
            await d.rmdir("top.png")
        with pytest.raises(NotFoundError):
            await d.rmdir("none")
        await d.mkdir("New")
        await d.write("New/.scratch")
        with pytest.raises(NotEmptyError):
            await d.rmdir("New")
        assert d.names() == ["A", "New", "top.png"]


async def test_an_album_that_was_never_listed_is_not_taken_for_empty(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W22: what is in an album has to be known before it can be deleted as empty."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        inode = d.node("A").inode
        await d.db.write(
            lambda c: (
                c.execute("DELETE FROM entry WHERE parent = ?", (inode,)),
                c.execute(
                    "UPDATE album SET listed_at = NULL WHERE inode = ?", (inode,)
                ),
            )
        )
        with pytest.raises(NotEmptyError):
            await d.rmdir("A")


async def test_mkdir_and_rmdir_at_once_is_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W10: an album that was never created leaves no trace."""
    async with placed(tmp_path) as d:
        inode = await d.mkdir("New")
        await d.rmdir("New")
        assert d.jobs() == []
        assert entries.node(d.db.reader, inode) is None


async def test_an_album_is_removed_while_it_is_created(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: what the creation brings is known to be unwanted."""
    async with placed(tmp_path) as d:
        inode = await d.mkdir("New")
        (job,) = d.jobs()
        await d.db.write(lambda c: outbox.claim(c, job.id, now=d.there.clock.now()))
        await d.rmdir("New")
        assert d.names() == []
        node = entries.node(d.db.reader, inode)
        assert node is not None
        assert node.is_hidden


async def test_renaming_a_directory_sets_the_title(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: mv A B is one job; the name that was typed stays, in every listing."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        inode, album = d.node("A").inode, d.album_id("A")
        await d.move("A", "Summer (2)")
        node = d.node("Summer (2)")
        assert node.inode == inode
        assert node.album is not None
        assert node.album.title == "Summer (2)"
        (job,) = d.jobs()
        assert queueing.decode(job, UpdateAlbumPayload) == UpdateAlbumPayload(
            album, title="Summer (2)"
        )
        await d.refresh()
        assert d.names() == ["Summer (2)"]
        assert d.names("Summer (2)") == ["x.png"]


async def test_renaming_twice_is_one_title(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W10: of several titles that wait, the last is set."""
    async with placed(tmp_path) as d:
        await d.account("A/")
        await d.move("A", "B")
        await d.move("B", "C")
        (job,) = d.jobs()
        assert queueing.decode(job, UpdateAlbumPayload).title == "C"


async def test_an_album_that_is_not_created_yet_is_renamed_for_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W10: mkdir and mv are one creation."""
    async with placed(tmp_path) as d:
        await d.mkdir("A")
        await d.move("A", "B")
        assert d.kinds() == ["create_album"]
        album = d.node("B").album
        assert album is not None
        assert album.title == "B"


async def test_an_album_that_gets_a_temporary_name_is_not_created(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W7: made and put aside before it was created, it is none; its name is free."""
    async with placed(tmp_path) as d:
        await d.mkdir("New")
        await d.move("New", ".new")
        aside = d.node(".new").inode
        assert not [job for job in d.jobs() if job.kind == queueing.CREATE_ALBUM]
        inode = await d.mkdir("New")
        assert create_job(d).inode == inode
        await d.move(".new", "Newer")
        created = [
            queueing.decode(job, CreateAlbumPayload)
            for job in d.jobs()
            if job.kind == queueing.CREATE_ALBUM
        ]
        assert {(one.inode, one.title) for one in created} == {
            (inode, "New"),
            (aside, "Newer"),
        }


async def test_an_empty_album_makes_room_for_another(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W20: a directory over an empty one deletes that; over a full one it fails."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/", "C/z.png")
        inode = d.node("A").inode
        with pytest.raises(NotEmptyError):
            await d.move("A", "C")
        assert d.jobs() == []
        await d.move("A", "B")
        assert d.names() == ["B", "C"]
        assert d.node("B").inode == inode
        assert d.kinds() == ["delete_album", "update_album"]
        with pytest.raises(NameTakenError):
            await d.move("B", "C", no_replace=True)


async def test_the_root_is_no_album(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The top of the drive can be neither called otherwise nor deleted."""
    async with placed(tmp_path) as d:
        with pytest.raises(NotFoundError):
            await d.places.rmdir(ROOT_INODE, "")
        with pytest.raises(NotAllowedError):
            await d.places.set_text(ROOT_INODE, title="x")
