"""Files that take the place of others, and what becomes of drafts under new names."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs.config import MountConfig
from imgurfs.errors import EditError, NotMediaNameError
from imgurfs.jobs import queueing
from imgurfs.jobs.payloads import DeleteImagePayload
from imgurfs.model import ROOT_INODE, ImageId
from imgurfs.store import drafts, entries, outbox
from imgurfs.store.database import Connection
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.writing import moves
from imgurfs.writing.checks import Edit
from tests.support.pictures import small_picture
from tests.support.placed import Placed, placed


def draft(drive: Placed, path: str) -> Draft:
    """Return the draft at a path."""
    found = drive.node(path).draft
    assert found is not None
    return found


def deleted(drive: Placed) -> dict[ImageId, bool]:
    """Return the images that are to be deleted, and whether as replaced ones."""
    payloads = [
        queueing.decode(job, DeleteImagePayload)
        for job in drive.jobs()
        if job.kind == queueing.DELETE_IMAGE
    ]
    return {one.image_id: one.is_replaced for one in payloads}


def send(drive: Placed, kind: str) -> None:
    """Let the only job of a kind be in the air."""
    (job,) = (one for one in drive.jobs() if one.kind == kind)
    drive.db.write_blocking(
        lambda c: outbox.claim(c, job.id, now=drive.there.clock.now(), marker="m")
    )


async def test_the_replaced_image_waits_for_the_upload(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: a save through a temporary file keeps the old image till the new is there."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        old = d.image("A/x.png")
        inode = await d.write("A/.x.png.tmp", small_picture("new"))
        assert draft(d, "A/.x.png.tmp").state is DraftState.SCRATCH
        assert d.jobs() == []
        await d.move("A/.x.png.tmp", "A/x.png")
        assert d.names("A") == ["x.png"]
        assert d.node("A/x.png").inode == inode
        assert draft(d, "A/x.png").state is DraftState.WAITING
        assert draft(d, "A/x.png").replaces == old
        assert d.kinds() == ["upload"]
        hidden = entries.node_of_image(d.db.reader, old)
        assert hidden is not None
        assert hidden.is_hidden


async def test_saving_again_before_the_upload_hands_the_old_image_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: of two saves in a row one is uploaded, and the first image still goes."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        old = d.image("A/x.png")
        first = await d.write("A/.1.tmp", small_picture("one"))
        await d.move("A/.1.tmp", "A/x.png")
        await d.write("A/.2.tmp", small_picture("two"))
        await d.move("A/.2.tmp", "A/x.png")
        assert draft(d, "A/x.png").replaces == old
        assert d.kinds() == ["upload"]
        assert drafts.get(d.db.reader, first) is None
        assert await d.read("A/x.png") == small_picture("two")


async def test_a_second_image_in_its_way_is_deleted_with_the_usual_grace(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A file that replaces one image after the other forgets none of them."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "A/y.png")
        x, y = d.image("A/x.png"), d.image("A/y.png")
        await d.write("A/.1.tmp")
        await d.move("A/.1.tmp", "A/x.png")
        await d.move("A/x.png", "A/y.png")
        assert draft(d, "A/y.png").replaces == x
        assert deleted(d) == {y: True}


async def test_an_uploaded_image_replaces_another_as_rm_would(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: mv of one image over another deletes that one after the grace period."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/x.png")
        mine, other = d.image("A/x.png"), d.image("B/x.png")
        await d.move("A/x.png", "B/x.png")
        assert d.image("B/x.png") == mine
        assert deleted(d) == {other: True}


async def test_replacing_one_of_two_links_leaves_the_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W19, W20: the other name of the replaced file keeps its image."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        old = d.image("A/x.png")
        await d.link("A/x.png", "B/x.png")
        await d.write("A/.x.tmp")
        await d.move("A/.x.tmp", "A/x.png")
        assert d.image("B/x.png") == old
        assert d.image("A/x.png") == ""
        assert draft(d, "A/x.png").replaces == ""
        assert deleted(d) == {}


async def test_what_never_goes_up_deletes_what_it_replaced_like_rm(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6, W17: a text over an image removes the image, with the grace period."""
    async with placed(tmp_path, MountConfig(non_media="keep-local")) as d:
        await d.account("A/x.png")
        old = d.image("A/x.png")
        await d.write("A/notes.txt", b"text")
        await d.move("A/notes.txt", "A/x.png")
        assert draft(d, "A/x.png").state is DraftState.LOCAL
        assert deleted(d) == {old: True}


async def test_what_took_a_name_while_it_was_written_deletes_like_rm(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6, W17: a text that got an image's name before it was closed removes the image,
    with the grace period; the account has nothing that no name leads to.
    """
    async with placed(tmp_path, MountConfig(non_media="keep-local")) as d:
        await d.account("A/x.png")
        old = d.image("A/x.png")
        files = d.writer.files
        _, opened = await files.create(*d.at("A/notes.txt"))
        await files.write(opened, 0, b"text")
        await d.move("A/notes.txt", "A/x.png")
        assert draft(d, "A/x.png").replaces == old
        assert deleted(d) == {}
        await files.commit(opened)
        await files.release(opened)
        assert draft(d, "A/x.png").state is DraftState.LOCAL
        assert draft(d, "A/x.png").replaces == ""
        assert deleted(d) == {old: True}
        await d.drain(1_000)
        assert d.images() == []
        assert await d.read("A/x.png") == b"text"


async def test_removing_the_replacement_removes_what_it_replaced(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W6: when the new file is deleted before it is uploaded, both are gone."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        old = d.image("A/x.png")
        await d.write("A/.x.tmp")
        await d.move("A/.x.tmp", "A/x.png")
        await d.remove("A/x.png")
        assert d.names("A") == []
        assert deleted(d) == {old: True}
        assert d.kinds() == ["delete_image"]


async def test_a_media_name_made_temporary_is_not_uploaded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: a temporary name withdraws the upload of a file, a real one asks for it."""
    async with placed(tmp_path) as d:
        await d.write("x.png")
        await d.move("x.png", "x.png~")
        assert draft(d, "x.png~").state is DraftState.SCRATCH
        assert d.jobs() == []
        await d.move("x.png~", "y.png")
        assert draft(d, "y.png").state is DraftState.WAITING
        assert d.kinds() == ["upload"]


async def test_an_upload_in_the_air_arrives_under_its_temporary_name(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: what is being sent is not called back by a rename."""
    async with placed(tmp_path) as d:
        await d.write("x.png")
        send(d, queueing.UPLOAD)
        await d.move("x.png", "x.png~")
        assert draft(d, "x.png~").state is DraftState.WAITING
        assert d.kinds() == ["upload"]


async def test_what_is_no_picture_is_refused_under_its_media_name(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W14: the rename succeeds, the bytes stay, the row says why."""
    async with placed(tmp_path) as d:
        await d.write("x.part", b"<html>not found</html>")
        await d.move("x.part", "x.png")
        assert draft(d, "x.png").state is DraftState.REFUSED
        assert draft(d, "x.png").error
        assert await d.read("x.png") == b"<html>not found</html>"
        assert d.jobs() == []


async def test_a_second_name_makes_scratch_a_file(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: scratch that is linked to a media name is uploaded."""
    async with placed(tmp_path) as d:
        await d.account("A/", "B/")
        await d.write("A/.x.tmp")
        await d.link("A/.x.tmp", "B/x.png")
        assert draft(d, "B/x.png").state is DraftState.WAITING
        assert d.kinds() == ["upload"]


async def test_a_file_is_renamed_while_it_is_written(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: the name it has when it is closed decides."""
    async with placed(tmp_path) as d:
        files = d.writer.files
        _, open_draft = await files.create(ROOT_INODE, ".x.tmp")
        await files.write(open_draft, 0, small_picture("x")[:10])
        await d.move(".x.tmp", "x.png")
        assert draft(d, "x.png").state is DraftState.WRITING
        await files.write(open_draft, 10, small_picture("x")[10:])
        await files.commit(open_draft)
        await files.release(open_draft)
        assert draft(d, "x.png").state is DraftState.WAITING
        assert await d.read("x.png") == small_picture("x")


async def test_a_file_removed_while_open_stays_readable_and_writable(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W19: rm takes the name; the bytes go with the last close, and are never sent."""
    async with placed(tmp_path) as d:
        files = d.writer.files
        inode, open_draft = await files.create(ROOT_INODE, "x.png")
        await files.write(open_draft, 0, b"0123")
        await d.remove("x.png")
        assert d.names() == []
        await files.write(open_draft, 4, b"4567")
        assert await files.read(open_draft, 0, 100) == b"01234567"
        await files.commit(open_draft)
        assert d.jobs() == []
        await files.release(open_draft)
        assert drafts.get(d.db.reader, inode) is None
        assert entries.node(d.db.reader, inode) is None


async def test_readers_of_a_replaced_file_keep_the_old_bytes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W19: rename over an open file changes nothing for those who have it open."""
    async with placed(tmp_path) as d:
        files = d.writer.files
        old = await d.write("x.png", small_picture("old"))
        reader = await files.open_for_reading(old)
        assert reader is not None
        await d.write(".x.tmp", small_picture("new"))
        await d.move(".x.tmp", "x.png")
        assert await files.read(reader, 0, 1 << 20) == small_picture("old")
        assert await d.read("x.png") == small_picture("new")
        await files.release(reader)
        assert drafts.get(d.db.reader, old) is None
        assert d.kinds() == ["upload"]


async def test_a_replaced_file_whose_upload_is_in_the_air_is_kept_until_it_settles(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: the bytes that are being sent stay until it is known what came of them."""
    async with placed(tmp_path) as d:
        old = await d.write("x.png", small_picture("old"))
        send(d, queueing.UPLOAD)
        await d.write(".x.tmp", small_picture("new"))
        await d.move(".x.tmp", "x.png")
        assert drafts.get(d.db.reader, old) is not None
        assert d.kinds() == ["upload", "upload"]


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_scratch_that_is_written_to_meanwhile_is_looked_at_again(
    tmp_path: Path, autojump_clock: MockClock, steps: int
) -> None:
    """W14: what is judged is what the file holds when it gets its name."""
    async with placed(tmp_path) as d:
        await d.write(".x.tmp", b"text, not a picture")
        inode = d.node(".x.tmp").inode

        async def write_later() -> None:
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            files = d.writer.files
            open_draft = await files.open_for_writing(inode, truncate=True)
            await files.write(open_draft, 0, small_picture("x"))
            await files.commit(open_draft)
            await files.release(open_draft)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_later)
            await d.move(".x.tmp", "x.png")
        assert draft(d, "x.png").state is DraftState.WAITING
        assert d.kinds() == ["upload"]


async def test_a_look_at_an_older_content_decides_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W14: bytes that were written over since are looked at again."""
    async with placed(tmp_path) as d:
        await d.write(".x.tmp", b"text, not a picture")
        node = d.node(".x.tmp")
        look = moves.Look(draft(d, ".x.tmp"), b"text, not a picture")
        await trio.sleep(1)
        await d.overwrite(".x.tmp", small_picture("x"))

        def move(c: Connection) -> None:
            edit = Edit(c, d.there.clock.now(), MountConfig(), delete_grace_s=0)
            moves.move(
                edit,
                node,
                d.at(".x.tmp"),
                d.at("x.png"),
                target=None,
                seen={node.inode: look},
            )

        with pytest.raises(moves.SeenChangedError):
            await d.db.write(move)
        assert d.names() == [".x.tmp"]


@pytest.mark.parametrize("name", ["notes.txt", "archive.tar"])
async def test_scratch_gets_no_name_that_it_could_not_be_made_with(
    tmp_path: Path, autojump_clock: MockClock, name: str
) -> None:
    """W13: saving a text through a temporary file fails as making it would."""
    async with placed(tmp_path) as d:
        await d.write(".notes.swp", b"text")
        with pytest.raises(NotMediaNameError):
            await d.move(".notes.swp", name)
        assert d.names() == [".notes.swp"]


async def test_an_image_may_be_called_anything(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What is media by its content keeps the name that was typed."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        await d.write("new.png")
        await d.move("A/x.png", "A/x.old")
        await d.move("new.png", "new.data")
        assert d.names("A") == ["x.old"]
        assert "new.data" in d.names()


async def test_keep_local_takes_any_name(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W17: with keep-local no name is refused for not being a picture's."""
    async with placed(tmp_path, MountConfig(non_media="keep-local")) as d:
        await d.write(".notes.swp", b"text")
        await d.move(".notes.swp", "notes.txt")
        assert draft(d, "notes.txt").state is DraftState.LOCAL
        assert d.jobs() == []
        with pytest.raises(EditError):
            await d.move("notes.txt", "@notes")
