"""What happens to watched folders, and a daemon that must not delete because of it.

``python -m tests.support.disasters NAME DIRECTORY`` plays one of the disasters that
need a name space or a privilege less than the test's own (``ELSEWHERE``); the others
are called in the test's process. A disaster is a function that strikes a folder and
returns what heals it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import trio
from trio.testing import MockClock

from tests.support.mirrored import Mirror, mirror
from tests.support.pictures import small_picture

GRACE_S = 60.0
SETTINGS = f"[sync]\ndelete_grace_s = {GRACE_S}\n"
ROOT_FILES = [f"{number:02d}.png" for number in range(30)]
ALBUM_FILES = [
    f"{album}/{number}.png" for album in ("Oslo", "Rome") for number in "abc"
]
FILES = ROOT_FILES + ALBUM_FILES

Heal = Callable[[], object]
Strike = Callable[[Path], Heal]


async def survive(
    directory: Path,
    environ: Callable[[str, str], None],
    strike: Strike,
    *,
    apart_s: float = 1.0,
) -> None:
    """Upload a folder, let the disaster strike and pass; nothing is ever deleted.

    Neither is anything sent again. Afterwards one file is deleted on purpose, and
    exactly its image goes.
    """
    async with mirror(directory, environ, settings=SETTINGS) as m:
        fill(m, apart_s=apart_s)
        await m.sync()
        before, uploads = m.images(), m.emulator.world.images.copy()
        assert len(before) == len(FILES)
        heal = strike(m.root)
        await live_on(m)
        assert m.images() == before, "images went while the folder was struck"
        heal()
        await live_on(m)
        assert m.images() == before, "images went when the folder was back"
        assert m.emulator.world.images.keys() == uploads.keys(), "something was sent"
        (m.root / ROOT_FILES[0]).unlink()
        await live_on(m)
        assert m.holds(*(small_picture(path) for path in FILES[1:])), m.status()


def fill(m: Mirror, *, apart_s: float = 1.0) -> None:
    """Put pictures of one size into the folder, taken that far apart."""
    for number, path in enumerate(FILES):
        stamp_s = m.clock.now() - number * apart_s
        os.utime(m.write(path, small_picture(path)), (stamp_s, stamp_s))


async def live_on(m: Mirror) -> None:
    """Let the daemon look and send, until long after every grace period."""
    folder, drainer = m.daemon.folders[0], m.daemon.drainer
    for _ in range(3):
        look = await folder.sync()
        while look.settles_in_s is not None:
            await trio.sleep(look.settles_in_s)
            look = await folder.sync()
        await drainer.run_until_idle()
        await trio.sleep(GRACE_S + 1)
    await drainer.run_until_idle()


def emptied(root: Path) -> Heal:
    """Everything in the folder is gone; the folder is the same."""
    away = root.with_name("away")
    away.mkdir()
    return _moved(root, away, [one.name for one in root.iterdir()])


def partly_listed(root: Path) -> Heal:
    """A disk with a broken directory shows half of the files, and no error."""
    away = root.with_name("away")
    away.mkdir()
    return _moved(root, away, ROOT_FILES[10:])


def album_gone(root: Path) -> Heal:
    """One directory is gone, with few files."""
    away = root.with_name("away")
    away.mkdir()
    return _moved(root, away, ["Rome"])


def _moved(root: Path, away: Path, names: list[str]) -> Heal:
    for name in names:
        (root / name).rename(away / name)

    def heal() -> None:
        for name in names:
            (away / name).rename(root / name)

    return heal


def renamed(root: Path) -> Heal:
    """The folder has another name."""
    away = root.rename(root.with_name("away"))
    return lambda: away.rename(root)


def made_anew(root: Path) -> Heal:
    """An empty directory of the same name, as in a container that just started."""
    away = root.rename(root.with_name("away"))
    root.mkdir()

    def heal() -> None:
        root.rmdir()
        away.rename(root)

    return heal


def swapped_for_a_link(root: Path) -> Heal:
    """The folder is a link to an empty directory."""
    away = root.rename(root.with_name("away"))
    empty = root.with_name("empty")
    empty.mkdir()
    root.symlink_to(empty)

    def heal() -> None:
        root.unlink()
        away.rename(root)

    return heal


def rolled_back(root: Path) -> Heal:
    """The state of a month ago is back: few files, all older, all of them copies."""
    away = root.with_name("away")
    shutil.copytree(root, away)
    for path in FILES[8:]:
        (root / path).unlink()
    for path in FILES[:8]:
        copy = root / f"{path}.copy"
        shutil.copy(root / path, copy)
        stamp_s = copy.stat().st_mtime - 30 * 86_400
        os.utime(copy, (stamp_s, stamp_s))
        copy.replace(root / path)

    def heal() -> None:
        shutil.copytree(away, root, dirs_exist_ok=True)

    return heal


# --- Elsewhere -------------------------------------------------------------------


def unmounted(root: Path) -> Heal:
    """The disk is not mounted: the directory below is empty, on another device."""
    disk = root.with_name("disk")
    _run("umount", root)
    return lambda: _run("mount", "--bind", disk, root)


def other_disk(root: Path) -> Heal:
    """Another, empty disk is mounted in its place."""
    heal = unmounted(root)
    _run("mount", "-t", "tmpfs", "other", root)

    def back() -> None:
        _run("umount", root)
        heal()

    return back


def covered_by_another_disk(root: Path) -> Heal:
    """An empty disk is mounted over one album's directory."""
    _run("mount", "-t", "tmpfs", "cover", root / "Rome")
    return lambda: _run("umount", root / "Rome")


def covered_by_a_directory(root: Path) -> Heal:
    """An empty directory of the same disk is bound over one album's."""
    empty = root.with_name("disk") / ".empty"
    empty.mkdir()
    _run("mount", "--bind", empty, root / "Rome")
    return lambda: _run("umount", root / "Rome")


def root_forbidden(root: Path) -> Heal:
    """The folder may not be read any more."""
    root.chmod(0)
    return lambda: root.chmod(0o755)


def album_forbidden(root: Path) -> Heal:
    """One directory in it may not be read any more."""
    (root / "Rome").chmod(0)
    return lambda: (root / "Rome").chmod(0o755)


def album_not_entered(root: Path) -> Heal:
    """One directory may be listed, but nothing in it looked at."""
    (root / "Rome").chmod(0o400)
    return lambda: (root / "Rome").chmod(0o755)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


#: Played in a mount name space of their own, on a disk of their own.
WITH_MOUNTS = {
    strike.__name__: strike
    for strike in (
        unmounted,
        other_disk,
        covered_by_another_disk,
        covered_by_a_directory,
    )
}
#: Played without the right to read whatever one likes.
WITHOUT_RIGHTS = {
    strike.__name__: strike
    for strike in (root_forbidden, album_forbidden, album_not_entered)
}


async def _main(name: str, directory: Path) -> None:
    strike = WITHOUT_RIGHTS.get(name)
    if strike is None:
        strike = WITH_MOUNTS[name]
        for made in ("folder", "disk"):
            (directory / made).mkdir()
        _run("mount", "-t", "tmpfs", "disk", directory / "disk")
        _run("mount", "--bind", directory / "disk", directory / "folder")
    await survive(directory, os.environ.__setitem__, strike)
    sys.stdout.write("survived\n")


if __name__ == "__main__":
    trio.run(
        _main,
        sys.argv[1],
        Path(sys.argv[2]),
        clock=MockClock(autojump_threshold=0),
    )
