"""Programs that write to a drive and come to grief: killed, or on a full disk.

``python -m tests.support.written kill DIRECTORY PLACE:N…`` writes, changes, uploads and
removes files, once for each place that ``imgurfs.crashpoints`` knows, and is killed
there; what was promised stands in ``DIRECTORY/PLACE:N/promises``. ``… full DIRECTORY``,
in a mount name space of its own, has a small disk as the spool and prints what happened
as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from imgurfs import crashpoints
from imgurfs.errors import ImgurfsError
from imgurfs.executor import ThreadExecutor
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import drafts, edits
from tests.support import connected
from tests.support.pictures import small_picture
from tests.support.writing import Desk, a_desk

#: What the session writes into each file, one after the other; all of it is whole.
CONTENTS = {
    "changed.png": (b"", small_picture("1"), small_picture("2"), small_picture("3")),
    "sent.png": (b"", small_picture("4"), small_picture("5")),
    "cached.png": (b"", small_picture("6"), small_picture("7")),
    "removed.png": (b"", small_picture("8")),
}
#: Bytes of the small disk.
DISK_BYTES = 3 * 1024 * 1024
_NOTHING = connected.config(albums=0, images=0)


def _promise(name: str, what: str) -> None:
    """Note outside of the process what a program was told."""
    os.write(sys.stdout.fileno(), f"{name} {what}\n".encode())


async def _put(desk: Desk, name: str, version: int) -> Inode:
    inode = await desk.put(name, CONTENTS[name][version])
    _promise(name, str(version))
    return inode


async def _replace(desk: Desk, inode: Inode, name: str, version: int) -> None:
    draft = await desk.files.open_for_writing(inode, truncate=False)
    # In pieces, so that there is a moment at which it is neither of the two.
    data = CONTENTS[name][version]
    await desk.files.write(draft, 0, data[:30])
    await desk.read(inode)
    await desk.files.write(draft, 30, data[30:])
    await desk.files.commit(draft)
    await desk.files.release(draft)
    _promise(name, str(version))


async def _until_cached(desk: Desk, inode: Inode) -> None:
    with trio.fail_after(20):
        while drafts.get(desk.db.reader, inode) is not None or desk.spooled():  # noqa: ASYNC110
            await trio.sleep(0.02)


async def session(directory: Path) -> None:
    """Do everything once that has a dangerous moment."""
    async with a_desk(directory, _NOTHING, executor=ThreadExecutor()) as desk:
        cached = await _put(desk, "cached.png", 1)
        await desk.settle(cached)
        await _until_cached(desk, cached)
        await _replace(desk, cached, "cached.png", 2)
        changed = await _put(desk, "changed.png", 1)
        await _replace(desk, changed, "changed.png", 2)
        await _replace(desk, changed, "changed.png", 3)
        sent = await _put(desk, "sent.png", 1)
        await desk.send(sent)
        await _replace(desk, sent, "sent.png", 2)
        removed = await _put(desk, "removed.png", 1)
        await desk.db.write(lambda c: edits.drop_entry(c, ROOT_INODE, removed))
        await desk.files.forget_unlinked(removed)
        name = drafts.spool_name(removed, 1)
        with trio.fail_after(20):
            while name in desk.spooled():  # noqa: ASYNC110
                await trio.sleep(0.02)
        _promise("removed.png", "gone")


async def full(directory: Path) -> None:
    """Copy pictures until the disk is full; make room; go on."""
    picture = small_picture("full") + bytes(900_000)
    told: dict[str, str] = {}
    async with a_desk(directory, _NOTHING, executor=ThreadExecutor()) as desk:
        inodes: dict[str, Inode] = {}
        for number in range(5):
            name = f"{number}.png"
            inode, draft = await desk.files.create(ROOT_INODE, name)
            inodes[name] = inode
            try:
                for offset in range(0, len(picture), 100_000):
                    piece = picture[offset : offset + 100_000]
                    await desk.files.write(draft, offset, piece)
                told[name] = "written"
            except ImgurfsError as error:
                told[name] = type(error).__name__
            try:
                await desk.files.commit(draft)
                told[name] += " closed"
            except ImgurfsError as error:
                told[name] += " " + type(error).__name__
            await desk.files.release(draft)
        states = {name: desk.draft(inode).state for name, inode in inodes.items()}
        whole = {
            name: await desk.read(inode) == picture for name, inode in inodes.items()
        }
        await desk.db.write(lambda c: edits.drop_entry(c, ROOT_INODE, inodes["0.png"]))
        await desk.files.forget_unlinked(inodes["0.png"])
        with trio.fail_after(20):
            while len(desk.spooled()) == len(inodes):  # noqa: ASYNC110
                await trio.sleep(0.02)
        again = await desk.files.open_for_writing(inodes["4.png"], truncate=True)
        await desk.finish(again, picture)
        after = desk.draft(inodes["4.png"]).state
    seen = {"told": told, "states": states, "whole": whole, "after": after}
    sys.stdout.write(json.dumps(seen))


def kill(directory: Path, places: Sequence[str]) -> None:
    """Run the session once for each place, in a process that ends there.

    "log" is no place: that session ends by itself, and logs what it passed.
    """
    for place in places:
        here = directory / place
        here.mkdir()
        process = os.fork()
        if process:
            os.waitpid(process, 0)
            continue
        wanted = {"IMGURFS_CRASH_AT": place}
        if place == "log":
            wanted = {"IMGURFS_CRASH_LOG": str(here / "places")}
        crashpoints.arm(wanted)
        promises = os.open(here / "promises", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(promises, sys.stdout.fileno())
        try:
            trio.run(session, here)
            _promise("session", "ended")
        finally:
            os._exit(0)


def _fill_a_disk(directory: Path) -> None:
    spool = directory / "spool"
    spool.mkdir(mode=0o700)
    size = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", spool], check=True)
    trio.run(full, directory)


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        kill(Path(sys.argv[2]), sys.argv[3:])
    else:
        _fill_a_disk(Path(sys.argv[2]))
