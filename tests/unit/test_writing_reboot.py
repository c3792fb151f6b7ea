"""What the next start of machine or mount decides anew about contents in the spool."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.config import MountConfig
from imgurfs.errors import EditError
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import drafts, entries
from imgurfs.store.drafts import DraftState
from imgurfs.writing import recovery
from imgurfs.writing.drafting import Rules
from tests.support import connected
from tests.support.phases import drive
from tests.support.pictures import small_picture
from tests.support.writing import Desk, a_desk

RED = small_picture("red")
LARGE = RED + b"\x01" * limits.LOSSLESS_STILL_BYTES_MAX
NOTHING = connected.config(albums=0, images=0)
KEEPING = MountConfig(non_media="keep-local")
ACCEPTING = MountConfig(lossy="accept")


def has_holes(desk: Desk, inode: Inode) -> bool:
    """Whether the disk says that a content has parts that were never written."""
    path = desk.spool.path(desk.draft(inode).spool_name)
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size_bytes


async def test_a_file_with_holes_of_its_own_waits_on_after_a_reboot(
    tmp_path: Path,
) -> None:
    """W2, W18: what a program left out is zeros, and nothing that the disk has lost."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        await desk.files.write(draft, 1 << 20, b"the end")
        await desk.files.commit(draft)
        await desk.files.release(draft)
        assert has_holes(desk, inode)
        desk.spool.path("boot").write_text("an earlier one")
        content = await desk.read(inode)
    async with a_desk(tmp_path, NOTHING) as desk:
        assert desk.draft(inode).state is DraftState.WAITING
        assert len(desk.uploads()) == 1
        assert await desk.read(inode) == content


@pytest.mark.parametrize("name", [".red.png.Ab3dEf", "diary.txt", "red.png"])
async def test_no_closed_file_that_lost_bytes_is_ever_sent(
    tmp_path: Path, name: str
) -> None:
    """W2: neither a temporary nor a local one may become a picture with holes."""
    async with a_desk(tmp_path, NOTHING, settings=KEEPING) as desk:
        inode = await desk.put(name, RED if name.count("red") else b"Dear diary")
        path = desk.spool.path(desk.draft(inode).spool_name)
        size_bytes = path.stat().st_size
        path.write_bytes(b"")
        os.truncate(path, size_bytes)
        desk.spool.path("boot").write_text("an earlier one")
    async with a_desk(tmp_path, NOTHING, settings=KEEPING) as desk:
        row = desk.draft(inode)
        assert (row.state, row.error) == (DraftState.REFUSED, recovery.CUT)
        assert desk.uploads() == []


async def refused(desk: Desk, name: str, data: bytes) -> Inode:
    """Write what is refused when it is closed."""
    with pytest.raises(EditError):
        await desk.put(name, data)
    found = entries.child(desk.db.reader, ROOT_INODE, name)
    assert found is not None
    assert desk.draft(found.node.inode).state is DraftState.REFUSED
    return found.node.inode


async def test_what_lossy_refused_is_sent_when_it_is_accepted(tmp_path: Path) -> None:
    """W15: the next mount sends a still that only the setting kept here; once."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await refused(desk, "large.png", LARGE)
    for settings in (MountConfig(), ACCEPTING, ACCEPTING):
        async with a_desk(tmp_path, NOTHING, settings=settings) as desk:
            row = desk.draft(inode)
            is_sent = settings is ACCEPTING
            wanted = DraftState.WAITING if is_sent else DraftState.REFUSED
            assert row.state is wanted
            assert (row.error == "") is is_sent
            assert len(desk.uploads()) == is_sent
            assert await desk.read(inode) == LARGE


async def test_what_is_no_media_stays_here_when_that_is_allowed(tmp_path: Path) -> None:
    """W17: a refused file of another kind is a local one for a mount that keeps it."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await refused(desk, "notes.png", b"no picture at all")
    async with a_desk(tmp_path, NOTHING, settings=KEEPING) as desk:
        assert desk.draft(inode).state is DraftState.LOCAL
        assert desk.uploads() == []


async def test_no_setting_sends_what_is_refused_for_another_reason(
    tmp_path: Path,
) -> None:
    """W28, W29: half a file and one that Imgur rejected are not what a setting did."""
    async with a_desk(tmp_path, NOTHING) as desk:
        half, draft = await desk.files.create(ROOT_INODE, "half.png")
        await desk.files.write(draft, 0, RED)
        assert await desk.read(half) == RED
        rejected = await desk.put("rejected.png", RED)
        row = replace(
            desk.draft(rejected), state=DraftState.REFUSED, error="Imgur says no"
        )
        await desk.db.write(lambda c: drafts.put(c, row))
    for _ in range(2):
        async with a_desk(tmp_path, NOTHING, settings=ACCEPTING) as desk:
            assert desk.draft(half).error == recovery.UNFINISHED
            assert desk.draft(rejected).error == "Imgur says no"
            assert desk.draft(half).state is DraftState.REFUSED
            assert desk.draft(rejected).state is DraftState.REFUSED


@pytest.mark.parametrize("was_image", [False, True])
async def test_what_a_lost_file_was_to_replace_is_shown_again(
    tmp_path: Path, autojump_clock: MockClock, *, was_image: bool
) -> None:
    """W8: a file is renamed over an image before it is closed, and the power cut takes
    the file: the image stays on the drive as it stays on Imgur.
    """
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.write("A/x.png")
        if was_image:
            await d.write("A/y.png")
        await d.drain()
        old, files = d.image("A/x.png"), d.writer.files
        if was_image:
            inode = d.node("A/y.png").inode
            draft = await files.open_for_writing(inode, truncate=True)
        else:
            inode, draft = await files.create(*d.at("A/y.png"))
        await files.write(draft, 0, small_picture("new"))
        await d.move("A/y.png", "A/x.png")
        row = drafts.get(d.db.reader, inode)
        assert row is not None
        assert row.replaces == old
        d.writer.spool.path(row.spool_name).unlink()
        await recovery.recover(
            d.db, d.writer.spool, clock=d.there.clock, rules=Rules(MountConfig(), 600.0)
        )
        await files.release(draft)
        shown = {d.image(f"A/{name}") for name in d.names("A")}
        assert len(shown) == (2 if was_image else 1)
        assert old in shown
        if not was_image:
            assert d.image("A/x.png") == old
        await d.drain()
