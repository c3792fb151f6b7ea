"""The watcher over real directories and the real kernel."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import trio

from imgurfs_daemon.mounts import concerning
from imgurfs_daemon.watcher import Watcher
from tests.support.following import followed

BURST_FILES = 20_000


def put(root: Path, *paths: str) -> None:
    """Write small files, with the directories they need."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


async def test_it_begins_with_everything_and_then_is_still(tmp_path: Path) -> None:
    """The first scan is a full one; looking at files and directories wakes nobody."""
    put(tmp_path, "a.jpg", "x/b.jpg")
    with followed(tmp_path) as f:
        await f.step()
        assert f.scopes == [None]
        assert f.watcher.statistics()["watched"] == 2
        for path in ("a.jpg", "x/b.jpg"):
            (tmp_path / path).read_bytes()
        assert len(list(tmp_path.rglob("*"))) == 3
        with trio.move_on_after(0.3) as waiting:
            await f.watcher.wait_changed()
        assert waiting.cancelled_caught
        assert f.watcher.statistics()["events"] == 0


async def test_a_change_costs_its_directory_only(tmp_path: Path) -> None:
    """Only the directory in which something happened is read again."""
    put(tmp_path, *(f"{number}/a.jpg" for number in range(20)))
    with followed(tmp_path) as f:
        await f.step()
        put(tmp_path, "7/b.jpg")
        (tmp_path / "9/a.jpg").unlink()
        await f.rest()
        assert set().union(*(scope or () for scope in f.scopes[1:])) == {b"7", b"9"}
        assert f.files == {f"{n}/a.jpg".encode() for n in range(20) if n != 9} | {
            b"7/b.jpg"
        }


async def test_temporary_names_wake_nobody(tmp_path: Path) -> None:
    """A download in progress is no event; its last rename is one, of a whole file."""
    with followed(tmp_path) as f:
        await f.step()
        put(tmp_path, "a.jpg.part")
        put(tmp_path, "a.jpg.part", ".a.jpg.x7Gh")
        (tmp_path / ".a.jpg.x7Gh").unlink()
        with trio.move_on_after(0.3) as waiting:
            await f.watcher.wait_changed()
        assert waiting.cancelled_caught
        (tmp_path / "a.jpg.part").rename(tmp_path / "a.jpg")
        await f.until("a.jpg")
        assert f.closed == {b"a.jpg"}


async def test_a_file_is_whole_when_it_was_closed(tmp_path: Path) -> None:
    """Closed after writing, or moved into place; written to again, it is not."""
    elsewhere = tmp_path / "elsewhere"
    root = tmp_path / "root"
    put(elsewhere, "moved.jpg", "linked.jpg")
    root.mkdir()
    with followed(root) as f:
        await f.step()
        put(root, "whole.jpg")
        (elsewhere / "moved.jpg").rename(root / "moved.jpg")
        os.link(elsewhere / "linked.jpg", root / "linked.jpg")
        with (root / "open.jpg").open("wb") as writing:
            writing.write(b"x")
            writing.flush()
            put(root, "again.jpg")
            with (root / "again.jpg").open("ab") as more:
                more.write(b"x")
                more.flush()
                put(root, "last.jpg")
                with trio.fail_after(20):
                    # Events come in order: with the last one all are known.
                    while b"last.jpg" not in f.watcher._closed:
                        await trio.lowlevel.checkpoint()
                await f.step()
                assert f.closed == {b"whole.jpg", b"moved.jpg", b"last.jpg"}
        await f.rest()
        assert f.closed >= {b"open.jpg", b"again.jpg"}
        assert b"linked.jpg" not in f.closed


async def test_new_trees_are_found_to_the_bottom(tmp_path: Path) -> None:
    """Directories made, copied and moved in are read and followed, however fast."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    put(elsewhere, "t/1.jpg", "t/u/2.jpg", "t/u/v/3.jpg")
    with followed(root) as f:
        await f.step()
        shutil.copytree(elsewhere / "t", root / "copied")
        put(root, "made/deep/er/4.jpg")
        (elsewhere / "t").rename(root / "moved")
        expected = ["made/deep/er/4.jpg"]
        for tree in ("copied", "moved"):
            expected += [f"{tree}/1.jpg", f"{tree}/u/2.jpg", f"{tree}/u/v/3.jpg"]
        await f.until(*expected)
        await f.rest()
        later = [f"{os.path.dirname(path)}/later.jpg" for path in expected]  # noqa: PTH120
        put(root, *later)
        await f.until(*expected, *later)


async def test_moved_directories_are_followed_under_their_new_names(
    tmp_path: Path,
) -> None:
    """Renames, swaps and moves of directories: what happens in them is noticed."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    elsewhere.mkdir()
    put(root, "a/1.jpg", "a/in/2.jpg", "b/3.jpg", "out/4.jpg", "c/5.jpg")
    with followed(root) as f:
        await f.step()
        (root / "a").rename(root / "swap")
        (root / "b").rename(root / "a")
        (root / "swap").rename(root / "b")
        (root / "out").rename(elsewhere / "out")
        (root / "c").rename(root / "b/in/c")
        now = ["b/1.jpg", "b/in/2.jpg", "a/3.jpg", "b/in/c/5.jpg"]
        await f.until(*now)
        await f.rest()
        put(elsewhere, "out/6.jpg")
        put(root, "b/in/c/7.jpg", "a/8.jpg", "b/in/9.jpg")
        await f.until(*now, "b/in/c/7.jpg", "a/8.jpg", "b/in/9.jpg")
        f.watcher.mark_all()
        await f.step()
        assert f.watcher.statistics()["watched"] == 5


async def test_a_directory_is_replaced_by_another(tmp_path: Path) -> None:
    """Another directory under the same name is the one that is followed."""
    root = tmp_path / "root"
    put(root, "a/1.jpg", "a/in/2.jpg")
    with followed(root) as f:
        await f.step()
        (root / "a").rename(root / "old")
        put(root, "a/3.jpg", "a/in/4.jpg")
        await f.until("old/1.jpg", "old/in/2.jpg", "a/3.jpg", "a/in/4.jpg")
        shutil.rmtree(root / "a")
        put(root, "a/in/5.jpg")
        await f.until("old/1.jpg", "old/in/2.jpg", "a/in/5.jpg")
        await f.rest()
        put(root, "a/in/6.jpg")
        await f.until("old/1.jpg", "old/in/2.jpg", "a/in/5.jpg", "a/in/6.jpg")


async def test_the_folder_itself_goes(tmp_path: Path) -> None:
    """Moved away or deleted: everything is dirty, and the scan finds no folder."""
    for go in (lambda p: p.rename(tmp_path / "away"), shutil.rmtree):
        root = tmp_path / "root"
        put(root, "x/a.jpg")
        with followed(root) as f:
            await f.step()
            go(root)
            with trio.fail_after(20):
                seen = await f.step()
                while f.scopes[-1] is not None or seen.root is not None:
                    seen = await f.step()


async def test_random_changes_are_all_found(tmp_path: Path) -> None:
    """Whatever is made, moved and removed in any order, the end is what is there."""
    for seed in range(20):
        rng = random.Random(seed)
        root = tmp_path / str(seed)
        put(root, *(f"{a}/{b}/x.jpg" for a in "pqr" for b in "st"))
        with followed(root) as f:
            await f.step()
            for number in range(150):
                _change(root, rng, number)
                if rng.random() < 0.05:
                    with trio.move_on_after(0.01):
                        await f.step()
            there = {
                os.fsencode(path.relative_to(root))
                for path in root.rglob("*")
                if path.is_file()
            }
            try:
                await f.until_found(there)
            except trio.TooSlowError:
                raise AssertionError(f"seed {seed}: {f.files ^ there}") from None


def _change(root: Path, rng: random.Random, number: int) -> None:
    """Do one thing to one of the directories."""
    places = [root, *(path for path in root.rglob("*") if path.is_dir())]
    place = rng.choice(places)
    match rng.choice(("file", "file", "directory", "move", "move", "remove")):
        case "file":
            put(place, f"{number}.jpg")
        case "directory":
            put(place, f"d{number}/e/{number}.jpg")
        case "move" if place != root:
            target = rng.choice(places)
            new = target / rng.choice((f"m{number}", f"again{number % 3}"))
            if not new.exists() and not target.is_relative_to(place):
                place.rename(new)
        case "remove" if place != root and len(places) > 4:
            shutil.rmtree(place)
        case _:
            put(root, f"{number}.jpg")


async def test_a_burst_that_overflows_the_queue(tmp_path: Path) -> None:
    """S2: 20,000 files while nobody reads the events: the kernel drops, nothing is
    lost.
    """
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    with followed(tmp_path) as f:
        await f.step()
        with f.watcher._lock:
            # The thread that reads the events waits in the first one of them.
            for number in range(BURST_FILES):
                (tmp_path / str(number % 20) / f"{number}.jpg").touch()
        await f.until_found(
            {f"{number % 20}/{number}.jpg".encode() for number in range(BURST_FILES)}
        )
        await f.rest()
        assert f.watcher.statistics()["overflows"] >= 1
        assert None in f.scopes[1:]
        put(tmp_path, "3/later.jpg")
        await f.rest()
        assert b"3/later.jpg" in f.files


async def test_too_many_dirty_directories_are_everything(tmp_path: Path) -> None:
    """More changed directories than are worth naming: one full scan."""
    with Watcher(bytes(tmp_path)) as watcher:
        watcher.take()
        watcher.mark(b"%d" % number for number in range(1000))
        dirty = watcher.take()
        assert dirty.scope is not None
        assert len(dirty.scope) == 1000
        watcher.mark(b"%d" % number for number in range(1001))
        assert watcher.take().scope is None
        assert watcher.take().scope == frozenset()


def test_mounts_that_concern_a_folder() -> None:
    """Those it lies on and those that lie in it; not its neighbours."""
    info = (
        b"22 1 98:0 / / rw - ext4 /dev/x rw\n"
        rb"36 35 98:0 / /home/me/My\040Pictures/usb rw - vfat /dev/y rw" + b"\n"
        rb"37 35 98:0 / /home/me/My\040Pictures2 rw - vfat /dev/z rw" + b"\n"
    )
    assert concerning(b"/home/me/My Pictures", mountinfo=info) == {
        (b"22", b"/"),
        (b"36", b"/home/me/My Pictures/usb"),
    }
