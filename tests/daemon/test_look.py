"""Looking at a real folder beside a real database: what is read and planned."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from imgurfs.jobs import queueing, settle
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.model import Album
from imgurfs.store import entries, meta, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.tree import changes
from imgurfs_daemon import planner
from imgurfs_daemon.apply import apply
from tests.support.looking import POLICY, Rig, kinds, rig_in, slow_looker
from tests.support.pictures import small_picture


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return a rig with an empty folder."""
    with rig_in(tmp_path) as found:
        yield found


async def test_what_is_as_it_was_is_left_out(rig: Rig) -> None:
    """A second look plans nothing, reads no file and keeps none in memory."""
    rig.write("a/1.png")
    rig.write("b/2.png")
    rig.write("top.png")
    assert await rig.sync() == ["Upload"] * 3
    await rig.sync()
    rig.looker = rig.new_looker()
    look = await rig.looker.look()
    assert look.actions == ()
    assert look.snapshot.files == {}
    assert look.snapshot.directories.keys() == {b"", b"a", b"b"}
    assert look.cost == planner.PlanCost()
    assert rig.looker.statistics() == {"looks": 1, "files_read": 0}


async def test_moved_while_nobody_looked(rig: Rig) -> None:
    """S5: A move is known after a restart, without reading the file."""
    file = rig.write("a/1.png")
    rig.write("a/2.png")
    await rig.sync()
    image = rig.rows()[b"a/1.png"].image_id
    (rig.root / "b").mkdir()
    file.rename(rig.root / "b" / "new.png")
    rig.looker = rig.new_looker()
    assert await rig.sync() == ["Move"]
    assert rig.looker.statistics()["files_read"] == 0
    assert rig.rows()[b"b/new.png"].image_id == image
    assert b"a/1.png" not in rig.rows()
    assert await rig.sync() == []


async def test_a_move_out_of_another_directory_is_looked_into(rig: Rig) -> None:
    """With only the new place in scope the old one is read as well."""
    file = rig.write("a/1.png")
    rig.write("c/3.png")
    await rig.sync()
    (rig.root / "b").mkdir()
    file.rename(rig.root / "b" / "1.png")
    rig.scopes.clear()
    files_read = rig.looker.statistics()["files_read"]
    assert await rig.sync(b"b") == ["Move"]
    assert rig.scopes == [frozenset({b"b"}), frozenset({b"a", b"b"})]
    assert rig.looker.statistics()["files_read"] == files_read


async def test_another_name_of_a_file_is_bound_unread(rig: Rig) -> None:
    """A hard link to a file that is as it was: one image, even without dedupe."""
    rig.policy = replace(POLICY, dedupe=False)
    rig.looker = rig.new_looker()
    file = rig.write("a/1.png")
    await rig.sync()
    (rig.root / "b").mkdir()
    os.link(file, rig.root / "b" / "link.png")
    assert await rig.sync() == ["Bind"]
    assert await rig.sync() == []
    assert rig.looker.statistics()["files_read"] == 0


async def test_a_scope_says_nothing_about_the_rest(rig: Rig) -> None:
    """Files that vanished from a directory that was not read are not gone."""
    rig.write("a/1.png").unlink()
    rig.write("b/2.png")
    rig.write("a/1.png")
    await rig.sync()
    (rig.root / "a" / "1.png").unlink()
    assert await rig.sync(b"b") == []
    assert await rig.sync(b"a") == ["DeleteImage"]


async def test_a_removed_directory_takes_what_was_below_along(rig: Rig) -> None:
    """The scope grows to the directories below it and to the one above."""
    for path in ("a/1.png", "a/deep/2.png", "a/deep/er/3.png", "b/4.png"):
        rig.write(path)
    await rig.sync()
    for path in ("a/1.png", "a/deep/2.png", "a/deep/er/3.png"):
        (rig.root / path).unlink()
    for path in ("a/deep/er", "a/deep", "a"):
        (rig.root / path).rmdir()
    assert await rig.sync(b"a") == ["DeleteImage"] * 3


async def test_a_directory_that_only_its_parent_misses(rig: Rig) -> None:
    """With the parent alone in scope what was in it, and below, is gone as well."""
    for path in ("a/1.png", "b/deep/2.png", "c/3.png", "top.png"):
        rig.write(path)
    await rig.sync()
    shutil.rmtree(rig.root / "a")
    shutil.rmtree(rig.root / "b")
    assert await rig.sync(b"") == ["DeleteImage"] * 2
    await rig.db.write(_forget_gone(rig))
    rig.scopes.clear()
    assert await rig.sync(b"") == []
    assert rig.scopes == [frozenset({b""})]


def _forget_gone(rig: Rig) -> Callable[[Connection], None]:
    """Return what the end of the deletes does to the rows."""

    def forget(c: Connection) -> None:
        for path, row in rig.rows().items():
            if not (rig.root / path.decode()).exists():
                synced.forget_file(c, rig.folder(), path, row.image_id)

    return forget


async def test_an_album_of_another_directory_is_not_adopted(rig: Rig) -> None:
    """Renamed by us, it is listed by its old title for a while."""
    for path in ("a/1.png", "a/2.png", "c/3.png"):
        rig.write(path)
    await rig.sync()
    await rig.sync()
    album_id = synced.album_of(rig.db.reader, rig.folder(), b"a")
    assert album_id is not None
    listed = Album(album_id, "a", 0)
    await rig.db.write(lambda c: changes.album_created(c, listed, images=[], now=0.0))
    (rig.root / "a").rename(rig.root / "z")
    assert "RenameAlbum" in await rig.sync()
    rig.write("a/new.png")
    assert kinds(await rig.looker.look()) == ["Upload"]
    shutil.rmtree(rig.root / "a")
    # Nor does it stand in the way of another album that is to have the title.
    (rig.root / "c").rename(rig.root / "a")
    assert await rig.sync() == ["RenameAlbum", "Move"]


async def test_a_renamed_directory(rig: Rig) -> None:
    """Its albums are renamed, one call each, whatever part of it is in scope."""
    for number in range(3):
        rig.write(f"a/{number}.png")
    rig.write("a/deep/x.png")
    await rig.sync()
    await rig.sync()  # from now on the directories are known by their numbers
    (rig.root / "a").rename(rig.root / "z")
    look = await rig.looker.look(frozenset({b"", b"z", b"z/deep"}))
    assert kinds(look) == ["RenameAlbum"] * 2 + ["Move"] * 4
    assert look.cost == planner.PlanCost(album_calls=2, credits=2)
    await rig.carry_out(look)
    assert synced.album_of(rig.db.reader, rig.folder(), b"z/deep") is not None
    assert await rig.sync() == []


async def test_only_files_of_a_known_size_are_read(rig: Rig) -> None:
    """The same content elsewhere is bound; what cannot be the same is not read."""
    first = rig.write("a/1.png", "same")
    await rig.sync()
    (rig.root / "b").mkdir()
    (rig.root / "b" / "copy.png").write_bytes(first.read_bytes())
    (rig.root / "b" / "other.png").write_bytes(first.read_bytes() + b"more")
    look = await rig.looker.look()
    assert kinds(look) == ["Bind", "Upload"]
    assert look.digests.keys() == {b"b/copy.png"}
    assert look.cost.uploads == 1
    await rig.carry_out(look)
    assert await rig.sync() == []


async def test_content_of_another_folder_is_bound(rig: Rig, tmp_path: Path) -> None:
    """One image for two folders; it stays when one of the files goes."""
    rig.write("a/1.png", "same")
    await rig.sync()
    other = Rig(tmp_path / "second", rig.db, images=100)
    other.write("x/copy.png", "same")
    assert await other.sync() == ["Bind"]
    (rig.root / "a" / "1.png").unlink()
    assert await rig.sync() == ["Forget"]
    (other.root / "x" / "copy.png").unlink()
    assert await other.sync() == ["DeleteImage"]


async def test_touched_files_are_not_sent(rig: Rig) -> None:
    """A new time with the old content is recorded, and the file not read again."""
    file = rig.write("a/1.png")
    await rig.sync()
    os.utime(file, ns=(1, 1))
    assert await rig.sync() == ["Touch"]
    assert await rig.sync() == []
    file.write_bytes(small_picture("something else"))
    assert await rig.sync() == ["Replace"]


async def test_a_lost_state_costs_no_upload(rig: Rig) -> None:
    """Images that the account has and no file is are found by their markers."""
    rig.write("a/1.png")
    rig.write("a/2.png")
    await rig.sync()
    images = {row.image_id for row in rig.rows().values()}
    folder = rig.folder()

    def forget(c: Connection) -> None:
        for path, row in synced.files(c, folder).items():
            synced.forget_file(c, folder, path, row.image_id)

    await rig.db.write(forget)
    look = await rig.looker.look()
    assert set(kinds(look)) == {"Bind"}
    assert look.cost.uploads == 0
    await rig.carry_out(look)
    assert {row.image_id for row in rig.rows().values()} == images


async def test_deleted_on_imgur(rig: Rig) -> None:
    """A file whose image is gone is left alone, and forgotten when it goes."""
    file = rig.write("a/1.png")
    await rig.sync()
    image_id = rig.rows()[b"a/1.png"].image_id

    def delete(c: Connection) -> None:
        node = entries.node_of_image(c, image_id)
        assert node is not None
        entries.remove(c, node.inode)
        meta.put_time(c, "images_listed_at", 2.0)

    await rig.db.write(delete)
    assert await rig.sync() == []
    file.unlink()
    assert await rig.sync() == ["Forget"]


async def test_what_is_on_its_way_is_not_planned_again(rig: Rig) -> None:
    """A queued upload is not queued twice, a queued delete not either."""
    file = rig.write("a/1.png")
    rig.write("a/2.png")
    await rig.sync()
    rig.write("b/new.png")
    look = await rig.looker.look()
    assert kinds(look) == ["Upload"]
    root = look.snapshot.root
    assert root is not None
    await rig.db.write(
        lambda c: apply(
            c, bytes(rig.root), root, look.snapshot, look.actions,
            now=0.0, grace_s=60.0, dedupe=True,
        )
    )  # fmt: skip
    assert await rig.sync() == []
    content = file.read_bytes()
    file.unlink()
    assert await rig.sync() == ["DeleteImage"]
    look = await rig.looker.look()
    assert look.actions == ()
    assert look.snapshot.files == {}
    # The same bytes come back under another name: nothing is deleted, nothing sent.
    (rig.root / "a" / "back.png").write_bytes(content)
    assert await rig.sync() == ["CancelDelete", "Move"]
    assert await rig.sync() == []


async def test_a_delete_is_withdrawn_when_the_file_is_there(rig: Rig) -> None:
    """Even if the file itself is as it always was."""
    rig.write("a/1.png")
    await rig.sync()
    image_id = rig.rows()[b"a/1.png"].image_id
    payload = DeleteImagePayload(rig.folder(), image_id)
    await rig.db.write(
        lambda c: queueing.queue_delete(c, payload, now=0.0, grace_s=60.0)
    )
    assert await rig.sync() == ["CancelDelete"]
    assert await rig.sync() == []


async def test_what_is_no_picture_is_skipped_once(rig: Rig) -> None:
    """It is not looked into again until it changes, and forgotten when it is gone."""
    file = rig.root / "notes.jpg"
    file.write_text("no picture")
    assert await rig.sync() == ["Skip"]
    assert await rig.sync() == []
    rig.write("real.png")
    assert await rig.sync() == ["Upload"]
    file.unlink()
    assert await rig.sync(b"") == ["ForgetSkip"]
    assert await rig.sync() == []


async def test_a_recorded_file_that_became_no_picture_is_skipped_once(rig: Rig) -> None:
    """Its image stays, and the file is not looked into at every look."""
    file = rig.write("a/1.png")
    await rig.sync()
    file.write_text("no picture any more")
    assert await rig.sync() == ["Skip"]
    assert await rig.sync() == []
    assert await rig.sync(b"a") == []


async def test_a_file_that_still_changes_waits(rig: Rig) -> None:
    """Nothing is planned for it, and the look says when to look again."""
    rig.write("a/1.png")
    await rig.sync()
    rig.looker = slow_looker(rig)
    (rig.root / "a" / "1.png").unlink()
    rig.write("a/2.png")
    look = await rig.looker.look()
    # The new file may be the one that is gone: it is not decided about either.
    assert kinds(look) == []
    assert look.settles_in_s is not None
    assert 0 < look.settles_in_s <= 30.0


async def test_a_large_folder_does_not_keep_others_waiting(rig: Rig) -> None:
    """Thousands of rows are compared in slices; others run in between."""
    rig.write("a/1.png")
    await rig.sync()
    row = rig.rows()[b"a/1.png"]
    folder = rig.folder()

    def fill(c: Connection) -> None:
        for number in range(5_000):
            path = b"gone/%05d.png" % number
            synced.put_file(c, folder, replace(row, path=path, inode=10**9 + number))

    await rig.db.write(fill)
    steps = 0

    async def count() -> None:
        nonlocal steps
        while True:
            await trio.lowlevel.checkpoint()
            steps += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        look = await rig.looker.look()
        nursery.cancel_scope.cancel()
    assert kinds(look) == ["Forget"] * 5_000
    assert steps >= 20


async def test_a_copy_that_is_in_the_album_already_costs_nothing(rig: Rig) -> None:
    """A second file with the same content in the same directory needs no call."""
    first = rig.write("a/1.png")
    await rig.sync()
    (rig.root / "a" / "copy.png").write_bytes(first.read_bytes())
    look = await rig.looker.look()
    assert kinds(look) == ["Bind"]
    assert look.cost == planner.PlanCost()


async def test_a_file_comes_back_while_its_image_is_deleted(rig: Rig) -> None:
    """S5: A move that was seen before the old image went, and is written after, is an
    upload: a row of an image that is no more would keep the file from Imgur for ever.
    """
    file = rig.write("a/1.png")
    await rig.sync()
    known = rig.rows()[b"a/1.png"]
    payload = DeleteImagePayload(rig.folder(), known.image_id)

    def queue(c: Connection) -> None:
        queueing.queue_delete(c, payload, now=0.0, grace_s=0.0)

    def happened(c: Connection) -> None:
        job = outbox.by_key(c, queueing.delete_key(known.image_id))
        assert job is not None
        claimed = outbox.claim(c, job.id, now=1.0)
        assert claimed is not None
        gone = [(rig.folder(), b"a/1.png")]
        settle.delete(c, claimed, payload, gone=gone, now=1.0)

    await rig.db.write(queue)
    file.rename(rig.root / "new.png")
    look = await rig.looker.look()
    assert kinds(look) == ["CancelDelete", "Move"]
    await rig.db.write(happened)
    await rig.carry_out(look)
    assert rig.rows() == {}
    (job,) = outbox.unfinished(rig.db.reader, kind=queueing.UPLOAD)
    assert queueing.decode(job, UploadPayload).path == b"new.png"
