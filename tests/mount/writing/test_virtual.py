"""``.imgurfs``: files that are made when they are opened."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import pytest
import trio.testing

from imgurfs.cli.mount_log import RecentErrors
from imgurfs.errors import UnavailableError
from imgurfs.messages import UnwaitingHandler
from tests.support.drives import Drive, fails_with, opened, read, write
from tests.support.inside import an_account
from tests.support.mounted import Machine
from tests.support.pictures import small_picture

HARBOUR = small_picture("harbour")


async def test_it_is_there_but_not_listed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W26: .imgurfs is reachable by name, read-only, and not among the root's names."""
    made = 0

    def make() -> bytes:
        nonlocal made
        made += 1
        return b"%d\n" % made

    async with (
        an_account(tmp_path) as account,
        account.mounted(virtual={"a.json": make, "b.log": lambda: b""}) as drive,
    ):
        assert ".imgurfs" not in await drive.list("")
        assert await drive.list(".imgurfs") == ["a.json", "b.log"]
        assert (await drive.stat(".imgurfs")).mode & 0o777 == 0o555
        assert made == 0
        async with opened(drive, ".imgurfs/a.json") as first:
            assert await read(drive, ".imgurfs/a.json") == b"2\n"
            assert await first.read() == b"1\n"
        seen = await drive.stat(".imgurfs/a.json")
        assert (seen.mode & 0o777, seen.size_bytes) == (0o444, 2)
        assert seen.inode & (1 << 62)
        assert await read(drive, ".imgurfs/b.log") == b""
        await fails_with(errno.ENOENT, drive.stat(".imgurfs/missing"))
        assert drive.operations.handles.statistics() == {"files": 0, "directories": 0}


async def test_nothing_in_it_can_be_changed(clock: object, drive: Drive) -> None:
    """W26: every change in it, to it, or in its name is EPERM."""
    inside = ".imgurfs/status.json"
    for change in (
        drive.open(".imgurfs/new.png", os.O_WRONLY | os.O_CREAT),
        drive.mkdir(".imgurfs/new"),
        drive.symlink("x", ".imgurfs/new"),
        drive.rename("Cats/Paw.gif", ".imgurfs/new.gif"),
        drive.rename("Empty album", ".imgurfs/new"),
        drive.link("Cats/Paw.gif", ".imgurfs/new.gif"),
        drive.utime(".imgurfs", mtime_ns=1),
    ):
        await fails_with(errno.EPERM, change)
    await write(drive, "a.png", HARBOUR)
    await fails_with(errno.EPERM, drive.unlink(inside))


async def test_a_maker_that_fails(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W26: what cannot be told is an errno for the one who asks, and no more."""

    def fail() -> bytes:
        raise UnavailableError("the database is somewhere else")

    async with (
        an_account(tmp_path) as account,
        account.mounted(virtual={"a.json": fail}) as drive,
    ):
        await fails_with(errno.EIO, drive.open(".imgurfs/a.json"))
        assert await drive.list(".imgurfs") == ["a.json"]


@pytest.mark.mount
def test_what_the_files_tell(machine: Machine) -> None:
    """W26: the JSON that the commands print, and the last warnings of this mount."""
    machine.log_in()
    machine.mount()
    place = machine.mountpoint / ".imgurfs"
    assert sorted(path.name for path in place.iterdir()) == [
        "credits.json",
        "errors.log",
        "queue.json",
        "status.json",
    ]
    (machine.mountpoint / "a.png").write_bytes(HARBOUR)
    status = json.loads((place / "status.json").read_bytes())
    printed = json.loads(machine.run("status", "--json").stdout)
    assert status.keys() == printed.keys()
    assert status["account"] == printed["account"]
    assert json.loads((place / "queue.json").read_bytes()).keys() == {
        "jobs",
        "total",
        "rejected",
    }
    told = json.loads((place / "credits.json").read_bytes())
    asked = json.loads(machine.run("credits", "--json").stdout)
    assert told.keys() == asked.keys()
    with pytest.raises(OSError):  # noqa: PT011 - whichever it is, it is logged
        (machine.mountpoint / "notes.txt").write_bytes(b"hello")
    with pytest.raises(OSError):  # noqa: PT011 - as above
        (machine.mountpoint / "Cats" / "note.png").write_bytes(b"hello")
    errors = (place / "errors.log").read_bytes()
    assert b"notes.txt" in errors
    assert b"Cats/note.png: " in errors


def test_only_the_last_errors_are_kept() -> None:
    """W26: the log of errors is bounded, in lines and in their length."""
    errors = RecentErrors()
    for number in range(2_000):
        record = logging.makeLogRecord(
            {
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": f"{number} " * 999,
            }
        )
        errors.handle(record)
    lines = errors.text().splitlines()
    assert len(lines) == 500
    assert b"1999 1999" in lines[-1]
    assert max(map(len, lines)) <= 1_000


def test_nobody_who_reads_the_messages_is_waited_for() -> None:
    """R12: messages are dropped while the pipe they go to is full, and come again."""
    read_fd, write_fd = os.pipe()
    handler = UnwaitingHandler(write_fd)

    def say(text: str) -> None:
        handler.handle(logging.makeLogRecord({"levelname": "ERROR", "msg": text}))

    for _ in range(300):
        say("x" * 1000)
    assert len(os.read(read_fd, 1 << 20)) >= 60_000
    say("y" * 9000)
    assert os.read(read_fd, 1 << 20) == b"y" * 9000 + b"\n"
    os.close(read_fd)
    say("nobody is there")
    os.close(write_fd)
