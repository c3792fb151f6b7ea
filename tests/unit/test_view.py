"""Looking at the tree: what is answered at once and what is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from imgurfs import limits
from imgurfs.clock import TrioClock
from imgurfs.errors import NotFoundError, NotSentError, OutageError
from imgurfs.model import ROOT_INODE, AlbumId, Inode, Lane
from imgurfs.store import entries
from imgurfs.store.entries import Totals
from imgurfs.tree.refresh import Refresher
from imgurfs.tree.view import View
from tests.support.account import FakeAccount, album, image, open_state


class Drive:
    """A view over a fake account with one album of two images, never listed."""

    def __init__(self, path: Path) -> None:
        self.db = open_state(path)
        self.account = FakeAccount()
        self.account.put(album(1, "A"), image(1), image(2))
        clock = TrioClock(epoch_s=1_000_000.0)
        self.refresher = Refresher(db=self.db, api=self.account, clock=clock)
        self.view = View(db=self.db, refresher=self.refresher, clock=clock)

    def calls(self) -> int:
        """Return how many requests were made."""
        return self.account.calls.total()


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """A drive over a fresh state.db."""
    made = Drive(tmp_path / "state.db")
    yield made
    made.db.close()


async def _names(drive: Drive, inode: Inode = ROOT_INODE) -> list[str]:
    return [entry.name for entry in await drive.view.list(inode)]


async def test_a_directory_never_listed_is_listed_once(
    drive: Drive, autojump_clock: object
) -> None:
    """The first look waits for Imgur; the second one costs nothing."""
    assert await _names(drive) == ["A"]
    entry = await drive.view.lookup(ROOT_INODE, "A")
    assert await _names(drive, entry.node.inode) == ["img0001.jpg", "img0002.jpg"]
    calls = drive.calls()
    assert await _names(drive, entry.node.inode) == ["img0001.jpg", "img0002.jpg"]
    assert await _names(drive) == ["A"]
    assert drive.calls() == calls


async def test_a_lookup_lists_a_directory_that_never_was(
    drive: Drive, autojump_clock: object
) -> None:
    """A path can be opened without anybody having listed what leads to it."""
    folder = await drive.view.lookup(ROOT_INODE, "A")
    file = await drive.view.lookup(folder.node.inode, "img0001.jpg")
    assert file.node.size_bytes == 1001
    assert drive.view.node(file.node.inode) == file.node


async def test_a_name_that_is_not_there_costs_no_call(
    drive: Drive, autojump_clock: object
) -> None:
    """Every shell prompt asks for .git; that must not cost a credit."""
    await _names(drive)
    calls = drive.calls()
    for name in (".git", "", "A/", "a", "\udcff"):
        with pytest.raises(NotFoundError):
            await drive.view.lookup(ROOT_INODE, name)
    assert drive.calls() == calls


async def test_everything_known_is_answered_without_network(
    drive: Drive, autojump_clock: object
) -> None:
    """After a restart the tree is there with no call at all; totals too."""
    await drive.refresher.refresh_all(Lane.REFRESH)
    drive.account.failure = NotSentError("no network")
    calls = drive.calls()
    folder = await drive.view.lookup(ROOT_INODE, "A")
    assert len(await _names(drive, folder.node.inode)) == 2
    assert drive.view.totals() == Totals(images=2, albums=1, bytes=2003)
    assert drive.calls() == calls


async def test_a_directory_that_cannot_be_listed_is_an_error_not_empty(
    drive: Drive, autojump_clock: object
) -> None:
    """An empty answer would be a lie that backup programs believe."""
    drive.account.failure = NotSentError("no network")
    with pytest.raises(NotSentError):
        await drive.view.list(ROOT_INODE)
    with pytest.raises(NotSentError):
        await drive.view.lookup(ROOT_INODE, "A")


async def test_files_and_unknown_inodes_are_no_directories(
    drive: Drive, autojump_clock: object
) -> None:
    """NotFoundError, whatever is asked of them."""
    await drive.refresher.refresh_all(Lane.REFRESH)
    node = entries.node_of_image(drive.db.reader, image(1).id)
    assert node is not None
    for inode in (node.inode, Inode(9999)):
        with pytest.raises(NotFoundError):
            await drive.view.list(inode)
        with pytest.raises(NotFoundError):
            await drive.view.lookup(inode, "x")
    with pytest.raises(NotFoundError):
        drive.view.node(Inode(9999))


async def test_an_old_album_is_answered_at_once_and_read_again(
    drive: Drive, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A swap of pictures changes neither count nor cover; time finds it."""
    await nursery.start(drive.refresher.run)
    await trio.sleep(1)
    inode = entries.album_inodes(drive.db.reader)[AlbumId("alb0001")]
    drive.account.put(album(1, "A"), image(1), image(3))
    await trio.sleep(limits.ALBUM_RELIST_S + 1)
    assert await _names(drive, inode) == ["img0001.jpg", "img0002.jpg"]
    await trio.sleep(1)
    assert await _names(drive, inode) == ["img0001.jpg", "img0003.jpg"]


async def test_totals_are_counted_again_only_after_a_commit(
    drive: Drive, autojump_clock: object
) -> None:
    """The same object is returned until something changed."""
    first = drive.view.totals()
    assert drive.view.totals() is first
    await drive.refresher.refresh_all(Lane.REFRESH)
    assert drive.view.totals().images == 2


async def test_one_outage_does_not_reach_who_looks_first(
    drive: Drive, autojump_clock: object
) -> None:
    """A gateway's page in the place of the first listing is asked past, in seconds."""

    async def recover(_what: str) -> None:
        if drive.calls() == 2:
            drive.account.failure = None

    drive.account.failure = OutageError("a page")
    drive.account.before_request = recover
    assert await _names(drive) == ["A"]
    assert trio.current_time() < sum(limits.FIRST_LISTING_PAUSES_S)


async def test_an_outage_that_lasts_is_told_within_the_bound(
    drive: Drive, autojump_clock: object
) -> None:
    """After a few attempts the error comes out, before the kernel's patience ends."""
    drive.account.failure = OutageError("a page")
    with pytest.raises(OutageError):
        await _names(drive)
    assert drive.calls() == 1 + len(limits.FIRST_LISTING_PAUSES_S)
    assert trio.current_time() < limits.FUSE_METADATA_DEADLINE_S
