"""A look while jobs end: before, between and after its readings of rows and queue."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from imgurfs.jobs import disk, guard, queueing, settle
from imgurfs.jobs.queueing import (
    CreateAlbumPayload,
    DeleteImagePayload,
    UploadPayload,
)
from imgurfs.marker import make_marker, name_with_marker
from imgurfs.model import Album, AlbumId, Image, ImageId, Lane
from imgurfs.store import membership, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.synced import SyncedFile
from imgurfs_daemon import planner
from imgurfs_daemon.apply import OvertakenError
from imgurfs_daemon.look import Look
from tests.support.looking import DEVICE, Rig, kinds, rig_in

#: More checkpoints than a look of this folder has.
_CHECKPOINTS_MAX = 400


async def _send_replacement(rig: Rig) -> tuple[ImageId, Job]:
    """Let a file change, and its new content be on its way; return the old image."""
    rig.write("p.png")
    await rig.sync()
    old = rig.rows()[b"p.png"].image_id
    rig.write("p.png", "something else")
    payload = UploadPayload(
        rig.folder(), b"p.png", None, "", replaces=old, deletes_old=True
    )
    # Deletes are only looked for when there is any.
    other = DeleteImagePayload(rig.folder(), ImageId("other"))

    def begin(c: Connection) -> Job:
        job_id = queueing.queue_upload(c, payload, lane=Lane.FRESH, now=1.0)
        assert job_id is not None
        assert queueing.queue_delete(c, other, now=1.0, grace_s=60.0)
        job = outbox.claim(c, job_id, now=1.0)
        assert job is not None
        return job

    job = await rig.db.write(begin)
    rig.write("new.png")
    return old, job


def _record(rig: Rig, path: str, image_id: ImageId) -> SyncedFile:
    seen = disk.examine(bytes(rig.root / path))
    assert isinstance(seen, disk.Examined)
    return SyncedFile(
        path=path.encode(),
        device=seen.device,
        inode=seen.inode,
        size_bytes=seen.size_bytes,
        mtime_ns=seen.mtime_ns,
        digest=seen.digest,
        image_id=image_id,
        directory=path.rpartition("/")[0].encode() or None,
    )


def _arrive(rig: Rig, job: Job, c: Connection) -> None:
    payload = queueing.decode(job, UploadPayload)
    record = _record(rig, "p.png", ImageId("N"))
    name = name_with_marker("p.png", make_marker(record.digest, DEVICE))
    image = Image(ImageId("N"), "image/png", "https://i.test/N.png", 9, 1, name=name)
    settle.upload(c, job, payload, image=image, record=record, album=None, now=2.0)


async def _look_while_it_arrives(rig: Rig, job: Job, after: int) -> tuple[Look, bool]:
    """Look; the answer comes after so many checkpoints. Return whether in time."""
    looks: list[Look] = []
    is_in_time = False

    async def look() -> None:
        looks.append(await rig.looker.look())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        is_in_time = not looks
        await rig.db.write(partial(_arrive, rig, job))
    return looks[0], is_in_time


@pytest.mark.parametrize("first", range(4))
async def test_an_upload_ends_while_the_folder_is_looked_at(
    tmp_path: Path, first: int
) -> None:
    """S9: At whatever moment of a look a replaced image's successor arrives, the old
    one goes, and nothing is sent again.
    """
    for after in range(first, _CHECKPOINTS_MAX, 4):
        directory = tmp_path / str(after)
        directory.mkdir()
        with rig_in(directory) as rig:
            old, job = await _send_replacement(rig)
            look, is_in_time = await _look_while_it_arrives(rig, job, after)
            await rig.carry_out(look)
            for seen in (look, await rig.looker.look()):
                sent = [
                    action.path
                    for action in seen.actions
                    if isinstance(action, planner.Upload | planner.Replace)
                ]
                assert b"p.png" not in sent, f"{after}: {seen.actions}"
            assert rig.rows()[b"p.png"].image_id == "N", after
            delete = outbox.by_key(rig.db.reader, queueing.delete_key(old))
            assert delete is not None, after
            assert delete.state is JobState.QUEUED, after
        if not is_in_time:
            assert after > 8, "a look has more checkpoints than that"
            return
    pytest.fail("a look has fewer checkpoints than that")


def _delete_of(rig: Rig, image_id: ImageId) -> Job | None:
    return outbox.by_key(rig.db.reader, queueing.delete_key(image_id))


async def test_an_upload_ends_before_what_was_seen_is_written(tmp_path: Path) -> None:
    """S9: A copy that is gone was the image's last file by then: the image goes."""
    with rig_in(tmp_path) as rig:
        copy = rig.write("q.png", "p.png")
        old, job = await _send_replacement(rig)
        assert rig.rows()[b"q.png"].image_id == old
        copy.unlink()
        look = await rig.looker.look()
        assert _delete_of(rig, old) is None
        await rig.db.write(partial(_arrive, rig, job))
        await rig.carry_out(look)
        assert rig.rows().keys() == {b"p.png", b"q.png", b"new.png"}
        delete = _delete_of(rig, old)
        assert delete is not None
        assert queueing.decode(delete, DeleteImagePayload).folder == rig.folder()


async def test_the_same_picture_is_removed_from_two_folders_at_once(
    tmp_path: Path,
) -> None:
    """S9: Each look leaves the image to the other folder; it goes all the same."""
    with rig_in(tmp_path) as one:
        (tmp_path / "other").mkdir()
        other = Rig(tmp_path / "other", one.db, images=100)
        files = [one.write("x.png", "same"), other.write("y.png", "same")]
        await one.sync()
        await other.sync()
        image_id = one.rows()[b"x.png"].image_id
        assert other.rows()[b"y.png"].image_id == image_id
        for file in files:
            file.unlink()
        looks = [await one.looker.look(), await other.looker.look()]
        await one.carry_out(looks[0])
        assert _delete_of(one, image_id) is None
        await other.carry_out(looks[1])
        assert _delete_of(one, image_id) is not None


async def test_a_copy_that_goes_leaves_the_image_to_the_other_file(
    tmp_path: Path,
) -> None:
    """Nothing is deleted as long as one file is the image."""
    with rig_in(tmp_path) as rig:
        rig.write("a/x.png", "same")
        copy = rig.write("b/y.png", "same")
        await rig.sync()
        copy.unlink()
        assert await rig.sync() == ["Forget"]
        assert outbox.unfinished(rig.db.reader, kind=queueing.DELETE_IMAGE) == []


async def test_a_file_moves_over_one_that_waits_to_be_sent(tmp_path: Path) -> None:
    """S5: Its image is not deleted meanwhile, however long that takes; the upload will
    find out that the file is this image.
    """
    with rig_in(tmp_path) as rig:
        moved = rig.write("q.png")
        await _send_replacement(rig)
        moved.rename(rig.root / "p.png")
        image_id = rig.rows()[b"q.png"].image_id
        for _ in range(2):
            look = await rig.looker.look()
            await rig.carry_out(look)
            assert _delete_of(rig, image_id) is None, look.actions
        assert b"q.png" in rig.rows()


async def _create_album(rig: Rig) -> tuple[Job, CreateAlbumPayload]:
    """Let an album be in the making whose directory another one moves into."""
    for name in ("a", "b"):
        rig.write(f"old/{name}.png")
    await rig.sync()
    await rig.sync()
    rig.write("new/c.png")

    def begin(c: Connection) -> tuple[Job, CreateAlbumPayload]:
        image_id = rig.new_image(c, _record(rig, "new/c.png", ImageId("")).digest)
        synced.put_file(c, rig.folder(), _record(rig, "new/c.png", image_id))
        payload = CreateAlbumPayload(rig.folder(), b"new", "new", (image_id,))
        job_id = queueing.queue_create_album(c, payload, now=1.0)
        assert job_id is not None
        job = outbox.claim(c, job_id, now=1.0)
        assert job is not None
        return job, payload

    return await rig.db.write(begin)


def _move_all(rig: Rig) -> None:
    for file in (rig.root / "old").iterdir():
        file.rename(rig.root / "new" / file.name)
    (rig.root / "old").rmdir()


def _created(job: Job, payload: CreateAlbumPayload, c: Connection) -> None:
    album = Album(AlbumId("Y"), "new", 1, images_count=1)
    settle.create(c, job, payload, album, 2.0)


async def test_a_directory_moves_into_one_whose_album_is_being_created(
    tmp_path: Path,
) -> None:
    """Its pictures move; its album is not made the other's, which would then be two."""
    with rig_in(tmp_path) as rig:
        job, payload = await _create_album(rig)
        _move_all(rig)
        assert await rig.sync() == ["Move", "Move"]
        await rig.db.write(partial(_created, job, payload))
        bound = synced.directories(rig.db.reader, rig.folder())
        assert bound[b"new"].album_id == "Y"
        assert {row.directory for row in rig.rows().values()} == {b"new"}
        wanted = membership.of_album(rig.db.reader, AlbumId("Y"))
        assert {one.image_id for one in wanted} == {
            row.image_id for row in rig.rows().values()
        }


async def test_an_album_comes_to_be_before_a_rename_is_written(tmp_path: Path) -> None:
    """S24: The plan is given up as a whole, and the next look makes another."""
    with rig_in(tmp_path) as rig:
        for name in ("a", "b"):
            rig.write(f"old/{name}.png")
        await rig.sync()
        await rig.sync()
        before = rig.rows()
        (rig.root / "new").mkdir()
        _move_all(rig)
        look = await rig.looker.look()
        assert "RenameAlbum" in kinds(look)
        payload = CreateAlbumPayload(rig.folder(), b"new", "new", ())
        await rig.db.write(
            lambda c: queueing.bind_album(
                c, payload.folder, b"new", AlbumId("Y"), title="new"
            )
        )
        with pytest.raises(OvertakenError):
            await rig.carry_out(look)
        assert rig.rows() == before
        assert "RenameAlbum" not in await rig.sync()
        assert {row.directory for row in rig.rows().values()} == {b"new"}


async def test_an_album_that_goes_from_two_folders_at_once_is_held(
    tmp_path: Path,
) -> None:
    """S21: The guard counts what the second folder deletes like any other deletion."""
    with rig_in(tmp_path) as one:
        (tmp_path / "other").mkdir()
        other = Rig(tmp_path / "other", one.db, images=100)
        for rig in (one, other):
            for number in range(12):
                rig.write(f"trip/{number}.png", str(number))
            rig.write("rest.png", str(rig.root))
            await rig.sync()
            await rig.sync()
        for rig in (one, other):
            shutil.rmtree(rig.root / "trip")
        looks = [await one.looker.look(), await other.looker.look()]
        await one.carry_out(looks[0])
        await other.carry_out(looks[1])
        held = await one.db.write(lambda c: guard.review(c, now=0.0))
        assert held is not None
        assert held.count == 12
        paths = [path for path in other.rows() if path.startswith(b"trip/")]
        assert len(paths) == 12, "each is looked for once more before it is deleted"


async def test_a_new_file_with_the_number_of_a_deleted_one_keeps_no_image(
    tmp_path: Path,
) -> None:
    """S9: File systems give numbers again; a file that waits to be sent is not for that
    reason the one that is gone.
    """
    with rig_in(tmp_path) as rig:
        gone = rig.write("gone.png")
        await _send_replacement(rig)
        row = rig.rows()[b"gone.png"]
        new = (rig.root / "p.png").stat()
        gone.unlink()
        again = replace(row, device=new.st_dev, inode=new.st_ino)
        await rig.db.write(lambda c: synced.put_file(c, rig.folder(), again))
        await rig.carry_out(await rig.looker.look())
        assert _delete_of(rig, row.image_id) is not None
