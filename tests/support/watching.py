"""A program: watches a folder in a name space where things are done to it.

``python -m tests.support.watching WHAT DIRECTORY`` does one of ``PROGRAMS``, as
superuser of mount and user name spaces of its own (``unshare``). It prints what it
saw, as JSON; tests/daemon/test_watcher_kernel.py judges.
"""

# ruff: noqa: T201

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio

from imgurfs.executor import InlineExecutor
from imgurfs.store import notices
from imgurfs_daemon import inotify_limits, mounts
from imgurfs_daemon.filters import Filters
from imgurfs_daemon.folder import FolderSync
from imgurfs_daemon.planner import Policy
from tests.support.following import followed
from tests.support.jobbing import bench

_LIMIT = Path("/proc/sys/user/max_inotify_watches")
_INSTANCES = Path("/proc/sys/user/max_inotify_instances")


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


async def unmount(root: Path) -> object:
    """A disk is taken away from the folder."""
    _run("mount", "-t", "tmpfs", "none", root)
    (root / "a").mkdir()
    (root / "a" / "b.jpg").touch()
    with followed(root) as f:
        before = await f.step()
        await f.rest()
        _run("umount", root)
        with trio.fail_after(10):
            after = await f.step()
        return {
            "scope": after.scope,
            "is_other": before.root != after.root,
            "files": len(after.files),
        }


async def mount(root: Path) -> object:
    """A disk is mounted over a directory: no event, the table shows it."""
    (root / "a").mkdir()
    before = mounts.concerning(bytes(root), mountinfo=mounts.read_mountinfo())
    _run("mount", "-t", "tmpfs", "none", root / "a")
    after = mounts.concerning(bytes(root), mountinfo=mounts.read_mountinfo())
    return sorted(where.decode() for _, where in after - before)


async def bind(root: Path) -> object:
    """One directory is in the folder twice: the kernel gives one watch for both."""
    (root / "a").mkdir()
    (root / "b").mkdir()
    _run("mount", "--bind", root / "a", root / "b")
    with followed(root) as f:
        await f.step()
        with trio.fail_after(10):
            await f.rest()
        scans = len(f.scopes)
        (root / "a" / "x.jpg").touch()
        with trio.fail_after(10):
            await f.rest()
        unwatched = sorted(path.decode() for path in f.watcher.unwatched())
        f.watcher.mark(f.watcher.unwatched())
        await f.rest()
        return {
            "scans": scans,
            "unwatched": unwatched,
            "files": sorted(path.decode() for path in f.files),
        }


async def limit(root: Path) -> object:
    """The kernel watches 10 directories and no more, until it is told to."""
    _LIMIT.write_text("10")
    for number in range(30):
        (root / f"{number:02}").mkdir()
    with followed(root) as f:
        await f.step()
        statistics = f.watcher.statistics()
        missing = f.watcher.beyond_limits()
        advice = inotify_limits.advice(missing=missing)
        for number in range(30):
            (root / f"{number:02}" / "a.jpg").touch()
        await f.rest()
        told = len(f.files)
        f.watcher.mark(f.watcher.unwatched())
        await f.step()
        polled = len(f.files)
        _LIMIT.write_text("1000")
        f.watcher.mark_all()
        await f.step()
        for number in range(30):
            (root / f"{number:02}" / "b.jpg").touch()
        await f.rest()
        return {
            "watched": statistics["watched"],
            "unwatched": statistics["unwatched"],
            "missing": missing,
            "advice": advice,
            "told": told,
            "polled": polled,
            "left": f.watcher.statistics()["unwatched"],
            "found": len(f.files),
        }


async def instances(root: Path) -> object:
    """The kernel has no instance left: everything is polled."""
    _INSTANCES.write_text("0")
    (root / "a").mkdir()
    with followed(root) as f:
        await f.step()
        (root / "a" / "x.jpg").touch()
        f.watcher.mark(f.watcher.unwatched())
        await f.step()
        return {
            "unwatched": f.watcher.beyond_limits(),
            "files": len(f.files),
            "advice": inotify_limits.advice(missing=2),
        }


async def notice(root: Path) -> object:
    """A followed folder says what it cannot watch, and no more when it can."""
    _LIMIT.write_text("5")
    said: list[str] = []
    async with bench(root) as b:
        for number in range(10):
            b.write_file(f"{number}/a.gif")
        folder = FolderSync(
            path=bytes(b.root),
            policy=Policy(),
            filters=Filters(),
            db=b.db,
            albums=b.albums,
            clock=b.clock,
            executor=InlineExecutor(),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(folder.run)
            for limit, looks in ((5, 1), (1000, 2)):
                _LIMIT.write_text(str(limit))
                if looks > 1:
                    folder.mark_all()
                with trio.fail_after(20):
                    while folder.statistics()["looks"] < looks or not folder.is_resting:
                        await trio.lowlevel.checkpoint()
                said += [
                    notices.everything(b.db.reader).get(f"watch:{folder.text}", "")
                ]
            nursery.cancel_scope.cancel()
    return [text.replace(folder.text, "FOLDER") for text in said]


PROGRAMS: Mapping[str, Callable[[Path], Awaitable[object]]] = {
    "unmount": unmount,
    "mount": mount,
    "bind": bind,
    "limit": limit,
    "instances": instances,
    "notice": notice,
}


if __name__ == "__main__":
    print(json.dumps(trio.run(PROGRAMS[sys.argv[1]], Path(sys.argv[2]))))
