"""A folder that is followed: real events, in real time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import trio

from imgurfs.store import synced
from tests.support.jobbing import bench, picture
from tests.support.watched import follow, paths, queued, running, settle, until


async def test_a_running_folder_notices_files(tmp_path: Path) -> None:
    """A new file in a new directory is queued, and the drainer is told."""
    async with bench(tmp_path) as b:
        told = trio.Event()
        async with running(b, follow(b, settle_s=0, on_queued=told.set)):
            b.write_file("new/deep/a.gif")
            await told.wait()
        assert queued(b) == ["upload"]


async def test_one_save_is_one_upload(tmp_path: Path) -> None:
    """S1: an editor's copy, rename into place and clean-up are one upload, of the
    end.
    """
    async with bench(tmp_path) as b:
        folder = follow(b, settle_s=0.2)
        async with running(b, folder):
            for version in range(5):
                b.write_file(".a.gif.swp", picture(f"{version}"))
                (b.root / ".a.gif.swp").rename(b.root / "a.gif")
            b.write_file("a.gif~")
            (b.root / "a.gif~").unlink()
            await until(lambda: queued(b) == ["upload"])
            await b.drainer().run_until_idle()
        assert [call.split()[0] for call in b.imgur.calls] == ["upload"]
        known = synced.file(b.db.reader, b.folder.id, b"a.gif")
        assert known is not None
        assert known.inode == (b.root / "a.gif").stat().st_ino


async def test_directory_moves_cost_no_upload(tmp_path: Path) -> None:
    """S5: renamed, moved within, out and back in: what was sent is not sent again."""
    async with bench(tmp_path) as b:
        for path in ("a/1.gif", "a/in/2.gif", "b/3.gif"):
            b.write_file(path)
        folder = follow(b, settle_s=0.1, grace_s=600)
        async with running(b, folder):
            await until(lambda: len(queued(b)) == 3)
            await b.drainer().run_until_idle()
            (b.root / "a").rename(b.root / "new name")
            (b.root / "b").rename(b.root / "new name" / "b")
            await until(
                lambda: (
                    paths(b)
                    == {"new name/1.gif", "new name/in/2.gif", "new name/b/3.gif"}
                )
            )
            (b.root / "new name/b").rename(tmp_path / "out")
            await until(lambda: "delete_image" in queued(b))
            (tmp_path / "out").rename(b.root / "back")
            await until(
                lambda: (
                    paths(b) == {"new name/1.gif", "new name/in/2.gif", "back/3.gif"}
                    and "delete_image" not in queued(b)
                )
            )
        await b.drainer().run_until_idle()
        assert sum(call.startswith("upload") for call in b.imgur.calls) == 3
        assert len(b.imgur.images) == 3


async def test_a_deletion_that_waits_for_a_new_file_is_not_forgotten(
    tmp_path: Path,
) -> None:
    """While a file settles it may be the missing one; afterwards that is decided."""
    async with bench(tmp_path) as b:
        b.write_file("oslo/a.gif", picture("a"))
        b.write_file("june/1.gif", picture("1"))
        folder = follow(b, settle_s=0.5, grace_s=600)
        async with running(b, folder):
            await until(lambda: len(queued(b)) == 2)
            await b.drainer().run_until_idle()
            b.write_file("june/2.gif", picture("2"))
            future_s = b.clock.now() + 10_000
            os.utime(b.root / "june/2.gif", (future_s, future_s))
            shutil.rmtree(b.root / "oslo")
            await until(lambda: queued(b) == ["delete_image", "upload"])


async def test_much_that_is_new_is_looked_at_in_portions(tmp_path: Path) -> None:
    """More new files than are looked at together: all are queued, once."""
    async with bench(tmp_path) as b:
        for number in range(100):
            b.write_file(f"{number % 20}/{number}.gif")
        folder = follow(b, look_files_max=30)
        async with running(b, folder):
            await until(lambda: len(queued(b)) == 100)
            # Six directories of five files at a time.
            assert folder.statistics()["looks"] == 4
            folder.mark_all()
            await until(lambda: folder.statistics()["looks"] > 4 and folder.is_resting)
        assert len(queued(b)) == 100


async def test_much_that_is_new_and_something_that_moved(tmp_path: Path) -> None:
    """With a file gone nothing is looked at in portions: it may be any of the new."""
    async with bench(tmp_path) as b:
        b.write_file("a/moved.gif")
        folder = follow(b, look_files_max=10, grace_s=600)
        await settle(folder)
        await b.drainer().run_until_idle()
        for number in range(100):
            b.write_file(f"{number % 20}/{number}.gif")
        (b.root / "z").mkdir()
        (b.root / "a/moved.gif").rename(b.root / "z/moved.gif")
        async with running(b, folder):
            await until(lambda: queued(b).count("upload") == 100)
        jobs = b.db.reader.execute("SELECT kind, payload FROM job").fetchall()
        assert "delete_image" not in {job["kind"] for job in jobs}
        assert paths(b) == {"z/moved.gif"}


async def test_what_settles_elsewhere_is_not_forgotten(tmp_path: Path) -> None:
    """A file that has to settle is looked at although others keep changing."""
    async with bench(tmp_path) as b:
        async with running(b, follow(b, settle_s=0.3)):
            b.write_file("quiet/a.gif")
            future_s = b.clock.now() + 10_000
            os.utime(b.root / "quiet/a.gif", (future_s, future_s))
            with trio.move_on_after(10):
                number = 0
                while not queued(b):
                    number += 1
                    b.write_file("busy/notes.txt", b"%d" % number)
                    await trio.sleep(0.02)
        assert queued(b) == ["upload"]
