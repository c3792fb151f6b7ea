"""imgurfs.fuse.invalidation: what the kernel is told, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs.executor import InlineExecutor
from imgurfs.fuse.invalidation import Invalidator
from imgurfs.limits import CHANGE_POLL_S
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import changelog, entries
from imgurfs.store.database import Connection, Database
from tests.support.account import album, image, open_state


@dataclass
class RecordingKernel:
    """Keeps notifications; fails each as a kernel that knows nothing does, if told."""

    sent: list[tuple[object, ...]] = field(default_factory=list)
    is_ignorant: bool = False
    #: Told of open files whose pages it was not told to forget.
    stale: list[Inode] = field(default_factory=list)

    def invalidate_inode(self, inode: Inode, *, attr_only: bool) -> None:
        """Record."""
        self._record(("inode", inode, "attr" if attr_only else "all"))

    def invalidate_entry(self, parent: Inode, name: bytes) -> None:
        """Record."""
        self._record(("entry", parent, name))

    def _record(self, what: tuple[object, ...]) -> None:
        self.sent.append(what)
        if self.is_ignorant:
            raise FileNotFoundError


@dataclass
class SomeOpen:
    """Says of some inodes that they are open, and keeps which were marked."""

    opened: set[Inode]
    stale: list[Inode]

    def is_open(self, inode: Inode) -> bool:
        """Whether it is one of them."""
        return inode in self.opened

    def mark_stale(self, inode: Inode) -> None:
        """Record."""
        self.stale.append(inode)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Return an empty state."""
    database = open_state(tmp_path / "state.db")
    yield database
    database.close()


@asynccontextmanager
async def following(
    db: Database, kernel: RecordingKernel, opened: set[Inode]
) -> AsyncIterator[Invalidator]:
    """Run an invalidator for the length of a block."""
    invalidator = Invalidator(
        db=db,
        executor=InlineExecutor(),
        handles=SomeOpen(opened, kernel.stale),
        kernel=kernel,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(invalidator.run)
        yield invalidator
        await trio.sleep(2 * CHANGE_POLL_S)
        nursery.cancel_scope.cancel()


def put(c: Connection, number: int) -> Inode:
    """Put an image into the root."""
    inode = entries.put_image(c, image(number), now=1.0)
    entries.link(c, ROOT_INODE, inode, bare=f"{number}.jpg", names=[f"{number}.jpg"])
    return inode


async def test_a_new_name_and_its_directory_are_announced(
    autojump_clock: MockClock, db: Database
) -> None:
    """R19: a name that the kernel believes missing is forgotten; old rows are not."""
    db.write_blocking(lambda c: put(c, 1))
    kernel = RecordingKernel()
    async with following(db, kernel, set()):
        inode = db.write_blocking(lambda c: put(c, 2))
    assert ("entry", ROOT_INODE, b"2.jpg") in kernel.sent
    assert ("inode", inode, "all") in kernel.sent
    assert not any(b"1.jpg" in what for what in kernel.sent)


async def test_an_open_file_keeps_its_pages(
    autojump_clock: MockClock, db: Database
) -> None:
    """R19: a full invalidation could wait for a read of the same file for ever."""
    inode = db.write_blocking(lambda c: put(c, 1))
    kernel = RecordingKernel()
    async with following(db, kernel, {inode}):
        db.write_blocking(lambda c: entries.set_size(c, inode, 77))
    assert kernel.sent == [("inode", inode, "attr")]
    assert kernel.stale == [inode]


async def test_what_the_kernel_asked_for_is_not_announced(
    autojump_clock: MockClock, db: Database
) -> None:
    """R19: changes the kernel made itself are skipped; those around them are not."""
    kernel = RecordingKernel()
    async with following(db, kernel, set()) as invalidator:
        db.write_blocking(lambda c: put(c, 1))
        first = changelog.last_seq(db.reader) + 1
        db.write_blocking(lambda c: put(c, 2))
        invalidator.skip(first, changelog.last_seq(db.reader))
        db.write_blocking(lambda c: put(c, 3))
        await trio.sleep(2 * CHANGE_POLL_S)
        names = {what[2] for what in kernel.sent if what[0] == "entry"}
        assert names == {b"1.jpg", b"3.jpg"}
        # What was announced before it was skipped is not remembered for ever.
        invalidator.skip(1, changelog.last_seq(db.reader))
        db.write_blocking(lambda c: put(c, 4))
    assert ("entry", ROOT_INODE, b"4.jpg") in kernel.sent


async def test_a_kernel_that_knows_nothing_is_no_error(
    autojump_clock: MockClock, db: Database
) -> None:
    """R19: an error of one notification neither ends the task nor the others."""
    kernel = RecordingKernel(is_ignorant=True)
    async with following(db, kernel, set()):
        db.write_blocking(lambda c: put(c, 1))
    assert len(kernel.sent) == 3


async def test_missed_changes_invalidate_everything(
    autojump_clock: MockClock, db: Database
) -> None:
    """R19: when the log was trimmed too far, every name is announced."""
    db.write_blocking(lambda c: put(c, 1))
    kernel = RecordingKernel()

    def change_and_trim(c: Connection) -> None:
        made = entries.put_album(c, album(5, "A"), now=1.0)
        entries.link(c, ROOT_INODE, made, bare="A", names=["A"])
        entries.link(c, made, put(c, 2), bare="2.jpg", names=["2.jpg"])
        changelog.trim(c, 1)

    async with following(db, kernel, set()):
        db.write_blocking(change_and_trim)
    names = {what[2] for what in kernel.sent if what[0] == "entry"}
    assert names == {b"1.jpg", b"2.jpg", b"A"}
