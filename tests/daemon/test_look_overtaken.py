"""A look while jobs end: its rows were read before, its queue after, or in between."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from imgurfs.jobs import disk, queueing, settle
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.marker import make_marker, name_with_marker
from imgurfs.model import Image, ImageId, Lane
from imgurfs.store import outbox
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.synced import SyncedFile
from imgurfs_daemon import planner
from imgurfs_daemon.look import Look
from tests.support.looking import DEVICE, Rig, rig_in

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


def _arrive(rig: Rig, job: Job, c: Connection) -> None:
    payload = queueing.decode(job, UploadPayload)
    seen = disk.examine(bytes(rig.root / "p.png"))
    assert isinstance(seen, disk.Examined)
    name = name_with_marker("p.png", make_marker(seen.digest, DEVICE))
    link = "https://i.test/N.png"
    image = Image(ImageId("N"), "image/png", link, 9, 1, name=name)
    record = SyncedFile(
        path=b"p.png",
        device=seen.device,
        inode=seen.inode,
        size_bytes=seen.size_bytes,
        mtime_ns=seen.mtime_ns,
        digest=seen.digest,
        image_id=image.id,
        directory=None,
    )
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
