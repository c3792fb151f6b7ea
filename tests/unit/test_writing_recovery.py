"""imgurfs.writing.recovery: what a mount that died has left is sorted out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs.errors import ContentGoneError
from imgurfs.model import ROOT_INODE
from imgurfs.store import drafts, edits, entries, meta, notices, outbox
from imgurfs.store.drafts import DraftState
from imgurfs.writing import recovery
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.writing import Desk, a_desk, listed

RED, BLUE = small_picture("red"), small_picture("blue")
NOTHING = connected.config(albums=0, images=0)


def _aside(desk: Desk) -> dict[str, bytes]:
    directory = desk.spool.aside()
    if directory is None:
        return {}
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def test_what_was_closed_is_there_and_is_uploaded(tmp_path: Path) -> None:
    """Name, bytes and job outlive the mount."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        [job] = desk.uploads()
    async with a_desk(tmp_path, NOTHING) as desk:
        assert await desk.read(inode) == RED
        assert desk.draft(inode).state is DraftState.WAITING
        assert desk.uploads() == [job]
        assert desk.spool.used_bytes == len(RED)


async def test_what_was_being_written_is_kept_and_not_uploaded(tmp_path: Path) -> None:
    """Nobody knows whether it is whole: the row says so, writing to it mends it."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        assert await desk.read(inode) == RED
    async with a_desk(tmp_path, NOTHING) as desk:
        row = desk.draft(inode)
        assert (row.state, row.error) == (DraftState.REFUSED, recovery.UNFINISHED)
        assert row.size_bytes == len(RED)
        assert await desk.read(inode) == RED
        assert desk.uploads() == []
        await desk.edit(inode, RED)
        assert desk.draft(inode).state is DraftState.WAITING


async def test_what_was_written_is_kept_when_the_mount_ends(tmp_path: Path) -> None:
    """Bytes that are collected for the disk are on it then, closed or not."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        assert not desk.spool.path(desk.draft(inode).spool_name).stat().st_size
    async with a_desk(tmp_path, NOTHING) as desk:
        assert await desk.read(inode) == RED


async def test_an_image_on_its_way_does_not_keep_others_from_the_disk(
    tmp_path: Path,
) -> None:
    """A mount ends while bytes arrive that nobody waits for any more."""
    async with a_desk(tmp_path, connected.config(albums=0, images=1)) as desk:
        await listed(desk)
        [node] = desk.images()
        inodes = []
        for name in ("red.png", "blue.png"):
            inode, draft = await desk.files.create(ROOT_INODE, name)
            await desk.files.write(draft, 0, RED)
            inodes.append(inode)
            if name == "red.png":
                desk.side.transport.latency_s = 40.0
                image = await desk.files.open_for_writing(node.inode, truncate=False)
                with trio.move_on_after(0.01):
                    await desk.files.write(image, 10, b"x")
                await desk.files.release(image)
                assert desk.files.is_open(node.inode)
    async with a_desk(tmp_path, connected.config(albums=0, images=1)) as desk:
        for inode in inodes:
            assert await desk.read(inode) == RED


@pytest.mark.parametrize("kept_bytes", [50, 10_000])
async def test_an_image_that_was_about_to_be_changed_has_its_bytes(
    tmp_path: Path, kept_bytes: int
) -> None:
    """What it begins with is on the disk before a row says that it is being written."""
    async with a_desk(tmp_path, connected.config(albums=0, images=1)) as desk:
        await listed(desk)
        [node] = desk.images()
        before = await desk.read(node.inode)
        draft = await desk.files.open_for_writing(node.inode, truncate=False)
        await desk.files.truncate(node.inode, kept_bytes)
        assert draft.is_dirty
        # As after a kill: what is collected in memory is not there.
        content = desk.spool.path(desk.draft(node.inode).spool_name).read_bytes()
        assert content == before[:kept_bytes].ljust(kept_bytes, b"\0")


async def test_an_image_whose_change_was_not_finished_is_untouched_on_imgur(
    tmp_path: Path,
) -> None:
    """The bytes of the change are kept; the image keeps its id and is not replaced."""
    config = connected.config(albums=0, images=1)
    async with a_desk(tmp_path, config) as desk:
        await listed(desk)
        [node] = desk.images()
        draft = await desk.files.open_for_writing(node.inode, truncate=False)
        await desk.files.write(draft, 0, b"half")
    async with a_desk(tmp_path, config) as desk:
        assert desk.draft(node.inode).state is DraftState.REFUSED
        assert desk.uploads() == []
        after = entries.node(desk.db.reader, node.inode)
        assert after is not None
        assert after.image == node.image


async def test_a_copy_that_was_begun_and_not_named_is_removed(tmp_path: Path) -> None:
    """The content that is in the air is kept, the stray one is not."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        row = desk.draft(inode)
        await desk.send(inode)
        desk.spool.path(drafts.spool_name(inode, 2)).write_bytes(b"half a copy")
    async with a_desk(tmp_path, NOTHING) as desk:
        assert desk.spooled() == [row.spool_name]
        assert _aside(desk) == {}


async def test_the_content_of_an_upload_in_the_air_is_kept(tmp_path: Path) -> None:
    """It may have to be sent again, although the file has another content now."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        old = desk.draft(inode)
        await desk.send(inode)
        await desk.edit(inode, BLUE)
        new = desk.draft(inode)
    async with a_desk(tmp_path, NOTHING) as desk:
        assert desk.spooled() == sorted([old.spool_name, new.spool_name])
        assert desk.spool.path(old.spool_name).read_bytes() == RED


async def test_what_became_the_cache_is_removed_from_the_spool(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The mount died after the row went and before the file did."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        await desk.settle(inode)
        await trio.sleep(5)
        assert drafts.get(desk.db.reader, inode) is None
        desk.spool.path(drafts.spool_name(inode, 1)).write_bytes(RED)
    async with a_desk(tmp_path, NOTHING) as desk:
        assert desk.spooled() == []
        assert _aside(desk) == {}
        assert await desk.read(inode) == RED


async def test_bytes_that_belong_to_nothing_are_set_aside_and_told(
    tmp_path: Path,
) -> None:
    """They may be somebody's only copy; an empty file is nobody's."""
    async with a_desk(tmp_path, NOTHING) as desk:
        desk.spool.path("77.1").write_bytes(BLUE)
        desk.spool.path("78.1").write_bytes(b"")
    async with a_desk(tmp_path, NOTHING) as desk:
        assert _aside(desk) == {"77.1": BLUE}
        assert desk.spooled() == []
        [text] = notices.everything(desk.db.reader).values()
        assert "lost+found" in text
        (tmp_path / "spool" / "lost+found" / "77.1").unlink()
    async with a_desk(tmp_path, NOTHING) as desk:
        assert notices.everything(desk.db.reader) == {}


async def test_another_database_does_not_claim_these_contents(tmp_path: Path) -> None:
    """Its numbers mean other files: everything is set aside, nothing is removed."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    async with a_desk(tmp_path, NOTHING) as desk:
        assert _aside(desk) == {drafts.spool_name(inode, 1): RED}
        again = await desk.put("blue.png", BLUE)
        assert again == inode
        assert await desk.read(again) == BLUE


async def test_a_row_without_bytes_says_so(tmp_path: Path) -> None:
    """Nothing is uploaded instead, and nobody reads somebody else's zeros."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        desk.spool.path(desk.draft(inode).spool_name).unlink()
    async with a_desk(tmp_path, NOTHING) as desk:
        row = desk.draft(inode)
        assert (row.state, row.error) == (DraftState.REFUSED, recovery.LOST)
        assert desk.uploads() == []


async def test_a_file_without_bytes_can_be_copied_again(tmp_path: Path) -> None:
    """Until then nobody reads or changes what is not there; the copy is uploaded."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        desk.spool.path(desk.draft(inode).spool_name).unlink()
    async with a_desk(tmp_path, NOTHING) as desk:
        lost = desk.draft(inode)
        with pytest.raises(ContentGoneError):
            await desk.read(inode)
        with pytest.raises(ContentGoneError):
            await desk.edit(inode, BLUE)
        with pytest.raises(ContentGoneError):
            await desk.files.truncate(inode, 50)
        held = await desk.files.open_for_writing(inode, truncate=False)
        with pytest.raises(ContentGoneError):
            await desk.files.read(held, 0, 10)
        await desk.files.release(held)
        assert desk.draft(inode) == lost
        draft = await desk.files.open_for_writing(inode, truncate=True)
        await desk.finish(draft, BLUE)
        row = desk.draft(inode)
        assert (row.state, row.error) == (DraftState.WAITING, "")
        assert await desk.read(inode) == BLUE
        assert len(desk.uploads()) == 1


@pytest.mark.parametrize("is_truncated", [True, False])
async def test_an_image_whose_change_was_lost_can_be_changed_again(
    tmp_path: Path, *, is_truncated: bool
) -> None:
    """What Imgur has is shown, and is what a change begins with."""
    config = connected.config(albums=0, images=1)
    async with a_desk(tmp_path, config) as desk:
        await listed(desk)
        [node] = desk.images()
        before = await desk.read(node.inode)
        draft = await desk.files.open_for_writing(node.inode, truncate=True)
        await desk.finish(draft, RED)
        desk.spool.path(desk.draft(node.inode).spool_name).unlink()
    async with a_desk(tmp_path, config) as desk:
        assert desk.draft(node.inode).error == recovery.LOST
        assert await desk.read(node.inode) == before
        draft = await desk.files.open_for_writing(node.inode, truncate=is_truncated)
        await desk.finish(draft, BLUE)
        row = desk.draft(node.inode)
        assert (row.state, row.error) == (DraftState.WAITING, "")
        expected = BLUE if is_truncated else before + BLUE
        assert await desk.read(node.inode) == expected


async def test_a_content_that_lost_its_end_is_not_uploaded(tmp_path: Path) -> None:
    """A damaged disk must not put half a picture in the place of a whole one."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        path = desk.spool.path(desk.draft(inode).spool_name)
        path.write_bytes(RED[:50])
    async with a_desk(tmp_path, NOTHING) as desk:
        row = desk.draft(inode)
        assert (row.state, row.error) == (DraftState.REFUSED, recovery.CUT)
        assert desk.uploads() == []
        assert await desk.read(inode) == RED[:50]


async def test_a_file_whose_creation_the_power_took_is_forgotten(
    tmp_path: Path,
) -> None:
    """Nothing was promised about it, and there is nothing to show."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode, _ = await desk.files.create(ROOT_INODE, "red.png")
        desk.spool.path(desk.draft(inode).spool_name).unlink()
    async with a_desk(tmp_path, NOTHING) as desk:
        assert entries.node(desk.db.reader, inode) is None


async def test_what_was_unlinked_while_open_is_removed(tmp_path: Path) -> None:
    """The last close never came; nobody can reach it any more."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode, draft = await desk.files.create(ROOT_INODE, "red.png")
        await desk.files.write(draft, 0, RED)
        await desk.files.commit(draft)
        await desk.db.write(lambda c: edits.drop_entry(c, ROOT_INODE, inode))
    async with a_desk(tmp_path, NOTHING) as desk:
        assert entries.node(desk.db.reader, inode) is None
        assert desk.spooled() == []
        assert _aside(desk) == {}
        assert desk.uploads() == []


async def test_a_file_that_waits_for_no_job_gets_one(tmp_path: Path) -> None:
    """Whatever happened to the job: what waits is uploaded."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        [job] = desk.uploads()
        await desk.db.write(lambda c: outbox.cancel(c, job.id, now=0.0, reason="?"))
    async with a_desk(tmp_path, NOTHING) as desk:
        [again] = desk.uploads()
        assert again.key == job.key
        assert desk.draft(inode).state is DraftState.WAITING


async def test_recovering_twice_changes_nothing(tmp_path: Path) -> None:
    """A mount that dies while it recovers is recovered by the next."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        half, draft = await desk.files.create(ROOT_INODE, "blue.png")
        await desk.files.write(draft, 0, BLUE)
        assert await desk.read(half) == BLUE
    rows: list[list[drafts.Draft]] = []
    for _ in range(2):
        async with a_desk(tmp_path, NOTHING) as desk:
            rows.append(drafts.everything(desk.db.reader))
            assert meta.get(desk.db.reader, "spool")
    assert rows[0] == rows[1]
    assert [row.inode for row in rows[0]] == [inode, half]


@pytest.mark.parametrize("was_rebooted", [False, True])
async def test_bytes_a_power_cut_kept_from_the_disk_are_not_uploaded(
    tmp_path: Path, *, was_rebooted: bool
) -> None:
    """A close that did not return may have left its row, and a hole for its bytes."""
    async with a_desk(tmp_path, NOTHING) as desk:
        inode = await desk.put("red.png", RED)
        other = await desk.put("blue.png", BLUE)
        path = desk.spool.path(desk.draft(inode).spool_name)
        path.write_bytes(b"")
        os.truncate(path, len(RED))
        if was_rebooted:
            desk.spool.path("boot").write_text("an earlier one")
    for _ in range(2):
        async with a_desk(tmp_path, NOTHING) as desk:
            assert desk.draft(other).state is DraftState.WAITING
            row = desk.draft(inode)
            if was_rebooted:
                assert (row.state, row.error) == (DraftState.REFUSED, recovery.CUT)
            else:
                assert row.state is DraftState.WAITING
            assert len(desk.uploads()) == (1 if was_rebooted else 2)
