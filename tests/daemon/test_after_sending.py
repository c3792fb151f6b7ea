"""What happens to a file while it is on its way is looked at when it has arrived."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs.emulator.trouble.faultrules import Action, FaultRule
from imgurfs.jobs import queueing, settle
from imgurfs.jobs.queueing import UploadPayload
from imgurfs.model import Lane
from imgurfs.store import outbox, synced
from imgurfs.store.outbox import JobState
from imgurfs_daemon.look import Look
from imgurfs_daemon.watcher import Watcher
from tests.support.mirrored import Mirror, mirror
from tests.support.pictures import small_picture


def _keep(file: Path) -> None:
    assert file.exists()


def _write(file: Path) -> None:
    os.utime(file, (1.0, 1.0))


def _in_albums(m: Mirror) -> dict[str | None, int]:
    """Return how many images each album of the account has."""
    albums = m.emulator.world.albums.values()
    mine = [it for it in albums if it.owner == m.emulator.credentials.username]
    return {it.title: len(it.images) for it in mine}


@pytest.mark.parametrize(
    ("change", "is_looked_at"), [(_keep, False), (Path.unlink, True), (_write, True)]
)
async def test_a_file_that_is_not_what_was_sent_is_looked_at_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    change: Callable[[Path], None],
    is_looked_at: bool,
) -> None:
    """Its events came while no look could say anything about it."""
    async with mirror(tmp_path, monkeypatch.setenv) as m:
        file = m.write("trip/a.png", small_picture("a"))
        await m.sync()
        (job,) = (
            one
            for one in outbox.recent(m.services.db.reader, JobState.DONE, 9)
            if one.kind == queueing.UPLOAD
        )
        change(file)
        folder = m.daemon.folders[0]
        with Watcher(bytes(m.root)) as watcher:
            folder._watcher = watcher
            watcher.take()
            m.daemon._note_settled(job)
            dirty = watcher.take()
        assert dirty.scope == (frozenset({b"trip"}) if is_looked_at else frozenset())


async def test_another_file_of_the_image_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """One that moved while the other waited was left alone until it was sent."""
    async with mirror(tmp_path, monkeypatch.setenv) as m:
        m.write("trip/a.png", small_picture("a"))
        copy = m.write("other/b.png", small_picture("a"))
        await m.sync()
        reader = m.services.db.reader
        (job,) = (
            one
            for one in outbox.recent(reader, JobState.DONE, 9)
            if one.kind == queueing.UPLOAD
        )
        path = queueing.decode(job, UploadPayload).path
        copy = m.root / ("other/b.png" if path == b"trip/a.png" else "trip/a.png")
        copy.unlink()
        folder = m.daemon.folders[0]
        with Watcher(bytes(m.root)) as watcher:
            folder._watcher = watcher
            watcher.take()
            m.daemon._note_settled(job)
            dirty = watcher.take()
        assert dirty.scope == frozenset({bytes(copy.parent.relative_to(m.root))})


async def test_a_plan_that_does_not_hold_any_more_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S24: An album comes to be between the look and the writing of a rename into its
    directory: the folder is looked at again, and everything gets its place.
    """
    async with mirror(tmp_path, monkeypatch.setenv) as m:
        m.write("old/a.png", small_picture("a"))
        m.write("old/b.png", small_picture("b"))
        await m.sync()
        (m.root / "new").mkdir()
        for file in (m.root / "old").iterdir():
            file.rename(m.root / "new" / file.name)
        (m.root / "old").rmdir()
        folder, services = m.daemon.folders[0], m.services
        looks: list[Look] = []
        look = folder._looker.look

        async def look_and_be_overtaken(scope: frozenset[bytes] | None = None) -> Look:
            seen = await look(scope)
            if not looks:
                album = await services.api.create_album(
                    title="new", images=[], lane=Lane.BULK
                )
                (known,) = synced.folders(services.db.reader)
                await services.db.write(
                    lambda c: queueing.bind_album(
                        c, known.id, b"new", album.id, title="new"
                    )
                )
            looks.append(seen)
            return seen

        monkeypatch.setattr(folder._looker, "look", look_and_be_overtaken)
        first = await folder.sync()
        assert looks[0].actions
        assert first.actions == ()
        assert first.settles_in_s is not None
        await m.sync()
        assert m.holds(*map(small_picture, "ab"))
        assert _in_albums(m) == {"old": 0, "new": 2}


async def test_content_that_comes_back_while_its_image_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """A file that became an image just as it was deleted is uploaded again."""
    async with mirror(
        tmp_path, monkeypatch.setenv, settings="[sync]\ndelete_grace_s = 1.0\n"
    ) as m:
        m.write("trip/a.png", small_picture("a"))
        m.write("trip/b.png", small_picture("b"))
        await m.sync()
        (m.root / "trip/a.png").unlink()
        await m.daemon.folders[0].sync()
        db = m.services.db
        (job,) = outbox.unfinished(db.reader, kind=queueing.DELETE_IMAGE)
        image_id = queueing.decode(job, queueing.DeleteImagePayload).image_id
        ((folder, _),) = synced.paths_of(db.reader, image_id)
        old = synced.file(db.reader, folder, b"trip/a.png")
        assert old is not None
        await db.write(lambda c: outbox.claim(c, job.id, now=m.clock.now()))
        back = m.write("trip/back.png", small_picture("a"))
        look = await m.daemon.folders[0].sync()
        assert look.settles_in_s is not None
        await trio.sleep(look.settles_in_s)
        await m.daemon.folders[0].sync()
        assert (folder, b"trip/back.png") in synced.paths_of(db.reader, image_id)
        await m.services.api.delete_image(image_id, job.lane)
        await db.write(
            lambda c: settle.delete(
                c,
                job,
                queueing.decode(job, queueing.DeleteImagePayload),
                gone=[(folder, b"trip/a.png")],
                now=m.clock.now(),
            )
        )
        assert not m.holds(small_picture("a"), small_picture("b"))
        await m.daemon.drainer.run_until_idle(patience_s=600)
        assert m.holds(small_picture("a"), small_picture("b"))
        assert back.exists()


async def test_a_file_that_moves_while_nobody_knows_what_became_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S3, S7: The answer is lost, the file moves, and a listing shows its image before
    its time to be looked for has come: one image, in the new directory's album only.
    """
    async with mirror(tmp_path, monkeypatch.setenv) as m:
        m.write("old/a.png", small_picture("a"))
        m.write("new/b.png", small_picture("b"))
        await m.sync()
        lost = FaultRule(action=Action.RESET_AFTER, path="^/3/upload", count=1)
        m.emulator.faults.replace((lost,))
        file = m.write("old/c.png", small_picture("c"))
        folder = m.daemon.folders[0]
        look = await folder.sync()
        while look.settles_in_s is not None:
            await trio.sleep(look.settles_in_s)
            look = await folder.sync()
        await m.daemon.drainer.run_until_idle()
        (job,) = outbox.unfinished(m.services.db.reader, kind=queueing.UPLOAD)
        assert job.state is JobState.UNKNOWN
        await trio.sleep(5.0)
        assert await m.daemon._listings.newest(since=0.0)
        file.rename(m.root / "new/c.png")
        await m.sync()
        assert m.holds(*map(small_picture, "abc"))
        assert _in_albums(m) == {"old": 1, "new": 2}
