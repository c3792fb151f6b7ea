"""Commands about the drive: link, ls, wait, and what queue, status and undo say of it.

The drive's own answers (extended attributes) come from plain files that carry the same
ones; through a mount they are tested in tests/mount.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from imgurfs import paths
from imgurfs.content.spool import Spool
from imgurfs.executor import InlineExecutor
from imgurfs.locks import FileLock
from imgurfs.model import AlbumId, Inode
from imgurfs.store import drafts, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.drafts import DraftState
from tests.support.commands import Home
from tests.support.drive_rows import DriveRows
from tests.support.queued import NOW_S, Queue


@pytest.fixture
def drive(queue: Queue) -> DriveRows:
    """The rows of the account's drive."""
    return DriveRows(queue.db, paths.account_paths("default").spool_dir)


# --- ls ------------------------------------------------------------------------


def test_ls_lists_root_and_album_with_state_and_link(
    home: Home, drive: DriveRows
) -> None:
    """Albums with a slash, images with size; what is not uploaded says why."""
    trip = drive.album("Trip", "Ab3xY7q")
    drive.album("New")
    drive.image("sea.gif", "img1", trip)
    drive.draft("wait.gif", DraftState.WAITING)
    drive.draft("bad.gif", DraftState.REFUSED, error="no picture\x1b[2J")
    out = home.run("ls").out
    assert [line.split()[-1] for line in out.splitlines()] == [
        "Trip/", "New/", "wait.gif", "bad.gif",
    ]  # fmt: skip
    assert "refused: no picture\\x1b[2J" in out
    linked = home.run("ls", "--links", "Trip").out.split()
    assert linked[:3] == ["img1", "1.23", "kB"]
    assert linked[-3:] == ["uploaded", "https://i.imgur.com/img1.gif", "sea.gif"]
    assert home.run("ls", "Trip/sea.gif").out.split()[0] == "img1"


def test_ls_as_json_has_the_documented_keys(home: Home, drive: DriveRows) -> None:
    """The keys of the help text are the keys; what is not there yet is null."""
    trip = drive.album("Trip", "Ab3xY7q")
    drive.draft("new.gif", DraftState.WAITING, trip)
    found = json.loads(home.run("ls", "Trip", "--json").out)
    help_text = home.run("ls", "--help").out
    for key in found["entries"][0]:
        assert f'"{key}"' in help_text, key
    assert found["path"] == "Trip"
    (entry,) = found["entries"]
    assert (entry["id"], entry["link"], entry["size_bytes"]) == (None, None, 10)
    assert (entry["kind"], entry["nlink"], entry["state"]) == ("image", 1, "waiting")
    (album,) = json.loads(home.run("ls", "--json").out)["entries"]
    assert (album["kind"], album["link"]) == ("album", "https://imgur.com/a/Ab3xY7q")


def test_ls_of_what_is_not_there(home: Home, drive: DriveRows) -> None:
    """A name that does not exist is one clear error."""
    drive.image("sea.gif", "img1")
    for path in ("nothing", "sea.gif/x", str(home.directory)):
        said = home.run("ls", path)
        assert said.code == 2, path
        assert "on the drive" in said.err


# --- link ----------------------------------------------------------------------


def marked(path: Path, **values: str) -> Path:
    """Return a file that carries the attributes of one on the drive."""
    path.write_bytes(b"")
    for name, value in values.items():
        os.setxattr(path, f"user.{name.replace('__', '.')}", value.encode())
    return path


def test_link_prints_links_and_says_what_has_none(home: Home, drive: DriveRows) -> None:
    """Links go to stdout in order, the others to stderr with their reason, exit 1."""
    there = marked(
        home.directory / "a.gif",
        imgurfs__state="uploaded", imgur__id="a", imgur__link="https://i.imgur.com/a.gif",
    )  # fmt: skip
    coming = marked(home.directory / "b.gif", imgurfs__state="waiting")
    bad = marked(
        home.directory / "c.gif", imgurfs__state="refused", imgurfs__error="too large"
    )
    assert home.run("link", str(there)).pair == (0, "https://i.imgur.com/a.gif\n")
    said = home.run("link", str(coming), str(there))
    assert said.pair == (1, "https://i.imgur.com/a.gif\n")
    assert "not uploaded yet" in said.err
    assert "too large" in home.run("link", str(bad)).err
    found = json.loads(home.run("link", "--json", str(bad)).out)
    assert found["links"] == [
        {
            "path": str(bad), "id": "", "link": "", "state": "refused",
            "error": "not uploaded: too large",
        }
    ]  # fmt: skip


def test_link_of_a_watched_file_and_directory(
    home: Home, queue: Queue, drive: DriveRows
) -> None:
    """A synced file has its image's link, a directory that of its album."""
    queue.write_file("trip/sea.gif")
    queue.write_file("new.gif")
    queue.synced_file("trip/sea.gif", "img1")
    drive.image("sea.gif", "img1")
    album = AlbumId("Ab3xY7q")
    queue.db.write_blocking(
        lambda c: synced.put_directory(c, queue.folder, b"trip", album)
    )
    assert home.run("link", str(queue.root / "trip" / "sea.gif")).pair == (
        0,
        "https://i.imgur.com/img1.gif\n",
    )
    assert home.run("link", str(queue.root / "trip")).pair == (
        0,
        "https://imgur.com/a/Ab3xY7q\n",
    )
    said = home.run("link", str(queue.root / "new.gif"))
    assert (said.code, said.out) == (1, "")
    assert "not on Imgur" in said.err


def test_link_outside_is_a_usage_error(home: Home, queue: Queue) -> None:
    """What lies nowhere, and what does not exist, says so."""
    alone = home.directory / "alone.gif"
    alone.write_bytes(b"")
    assert "neither in a mounted drive nor" in home.run("link", str(alone)).err
    gone = home.run("link", str(home.directory / "gone.gif"))
    assert gone.code == 2
    assert "does not exist" in gone.err


def test_link_open_hands_links_to_the_desktop(
    home: Home, drive: DriveRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """xdg-open gets each link, and a missing one is a clear error."""
    there = marked(
        home.directory / "a.gif",
        imgurfs__state="uploaded", imgur__link="https://i.imgur.com/a.gif",
    )  # fmt: skip
    programs = home.directory / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    said = home.run("link", "--open", str(there))
    assert said.code == 69
    assert "xdg-open is missing" in said.err
    opener, told = programs / "xdg-open", home.directory / "told"
    opener.write_text(f'#!/bin/sh\necho "$1" >> {told}\n')
    opener.chmod(0o755)
    assert home.run("link", "--open", str(there)).code == 0
    assert told.read_text() == "https://i.imgur.com/a.gif\n"
    evil = marked(
        home.directory / "e.gif", imgurfs__state="uploaded", imgur__link="--version"
    )
    assert home.run("link", "--open", str(evil)).code == 69
    assert told.read_text() == "https://i.imgur.com/a.gif\n"


# --- queue, status, undo --------------------------------------------------------


def test_queue_names_the_path_on_the_drive(home: Home, drive: DriveRows) -> None:
    """Not the file in the spool: where it is now, also after a move."""
    trip = drive.album("Trip", "Ab3xY7q")
    drive.draft("new.gif", DraftState.WAITING, trip)
    drive.remove("sea.gif", drive.image("sea.gif", "img1"), "img1")
    told = [job["what"] for job in json.loads(home.run("queue", "--json").out)["jobs"]]
    assert told == ["upload Trip/new.gif", "delete image img1 (sea.gif)"]


def test_status_tells_what_stays_here_and_why(home: Home, drive: DriveRows) -> None:
    """Refused files with their reason, old scratch, and what the spool holds."""
    drive.draft("bad.gif", DraftState.REFUSED, error="no picture")
    drive.draft(".old.part", DraftState.SCRATCH, changed_at=NOW_S - 10**9)
    drive.draft("big.gif", DraftState.KEPT)
    drive.draft("wait.gif", DraftState.WAITING)
    drive.remove("sea.gif", drive.image("sea.gif", "img1"), "img1")
    facts = json.loads(home.run("status", "--json").out)
    assert facts["drive"]["spool"] == {"files": 4, "bytes": 40}
    assert facts["drive"]["kept"] == {"count": 1, "bytes": 10}
    (refused,) = facts["drive"]["refused"]["files"]
    assert (refused["path"], refused["error"]) == ("bad.gif", "no picture")
    assert facts["drive"]["scratch"]["old"] == 1
    assert facts["deletions"]["jobs"][0]["files"] == ["sea.gif"]
    text = home.run("status").out
    for part in (
        "spool    4 files, 40 B: 1 to upload", "kept     1 original, 10 B",
        "refused  bad.gif: no picture", "scratch  .old.part: since ",
        "deletes  sea.gif", "1 file(s) of the drive are not uploaded",
        "1 file(s) of the drive have had temporary names",
    ):  # fmt: skip
        assert part in text, part


def test_idle_spool_holds_nothing(home: Home, drive: DriveRows) -> None:
    """The notes that a spool keeps about itself are no bytes that wait."""
    spool = Spool.open(
        drive.spool_dir, size_bytes_max=1 << 20, executor=InlineExecutor()
    )
    assert spool.own()
    spool.set_owner("a token")
    spool.close()
    (drive.spool_dir / "lost+found").mkdir()
    (drive.spool_dir / "lost+found" / "7.1").write_bytes(b"told by a notice")
    assert len(list(drive.spool_dir.iterdir())) == 4
    facts = json.loads(home.run("status", "--json").out)
    assert facts["drive"]["spool"] == {"files": 0, "bytes": 0}
    assert "spool    " not in home.run("status").out


def test_young_scratch_is_no_news(home: Home, drive: DriveRows) -> None:
    """A file that is being saved is mentioned when it has been for an hour."""
    drive.draft(".new.part", DraftState.SCRATCH, changed_at=4e9)
    facts = json.loads(home.run("status", "--json").out)
    assert facts["drive"]["scratch"] == {"count": 1, "old": 0, "files": []}
    assert "scratch  " not in home.run("status").out


def test_undo_gives_the_name_back(home: Home, drive: DriveRows) -> None:
    """A deletion from the drive that is called off: the file is where it was."""
    job_id = drive.remove("sea.gif", drive.image("sea.gif", "img1"), "img1")
    assert home.run("ls").out == ""
    found = json.loads(home.run("undo", "--json").out)
    assert found["kept"] == [
        {"job_id": job_id, "image_id": "img1", "files": ["sea.gif"]}
    ]
    assert home.run("ls").out.split()[-1] == "sea.gif"


# --- wait ------------------------------------------------------------------------


class OnDrive:
    """Plain files that stand for paths on a mounted drive.

    Their inode numbers are the disk's; so the rows get those numbers.
    """

    def __init__(self, home: Home, drive: DriveRows) -> None:
        self._home = home
        self._drive = drive

    def file(self, name: str, state: DraftState, *, error: str = "") -> Path:
        """Have a file of the drive, in a state."""
        path = marked(self._home.directory / name, imgurfs__state=state.value)
        self._drive.draft(name, state, error=error, number=path.stat().st_ino)
        return path


@pytest.fixture
def places(home: Home, drive: DriveRows) -> OnDrive:
    """Files of the drive."""
    return OnDrive(home, drive)


def test_wait_ends_at_once_for_what_is_there_or_stays_here(
    home: Home, places: OnDrive
) -> None:
    """An uploaded file is uploaded; one that is local only is nobody's business."""
    uploaded = places.file("a.gif", DraftState.KEPT)
    local = places.file("notes.txt", DraftState.LOCAL)
    said = home.run("wait", str(uploaded), str(local))
    assert said.pair == (0, "everything is uploaded\n")


def test_wait_says_why_a_file_will_not_come(home: Home, places: OnDrive) -> None:
    """A refused file, or one with a temporary name, needs the user: exit 75."""
    bad = places.file("bad.gif", DraftState.REFUSED, error="no picture")
    scratch = places.file(".x.part", DraftState.SCRATCH)
    said = home.run("wait", str(bad), str(scratch))
    assert said.code == 75
    assert "not uploaded: bad.gif: no picture" in said.out
    assert "not uploaded: .x.part: it has a temporary name" in said.out


def test_wait_names_the_directory_whose_name_is_temporary(
    home: Home, drive: DriveRows
) -> None:
    """W12: the file is called well; what keeps it here is where it is."""
    path = marked(home.directory / "a.gif", imgurfs__state="scratch")
    album = drive.album("Trip.part", "Ab3xY7q")
    number = path.stat().st_ino
    drive.draft("a.gif", DraftState.SCRATCH, album, number=number)
    said = home.run("wait", str(path))
    assert said.code == 75
    reason = "its directory has a temporary name ('Trip.part')"
    assert f"not uploaded: Trip.part/a.gif: {reason}" in said.out


def test_wait_for_what_has_another_name_yet(home: Home, queue: Queue) -> None:
    """W12: a path whose directory has a temporary name, or that is not there at all."""
    top = home.directory / "drive"
    top.mkdir()
    os.setxattr(top, "user.imgurfs.state", b"uploaded")
    (top / ".Trip.part").mkdir()
    said = home.run("wait", str(top / "Trip" / "a.gif"))
    assert said.code == 2
    assert "Trip is called .Trip.part yet" in said.err
    said = home.run("wait", str(top / "Sea" / "a.gif"))
    assert said.code == 2
    assert "there is no" in said.err
    assert ".Trip.part" not in said.err


def test_wait_gives_up_in_time_or_when_nobody_works(
    home: Home, places: OnDrive
) -> None:
    """The time is over: 75. Nobody sends: 69."""
    path = places.file("a.gif", DraftState.WAITING)
    drain_lock = FileLock(paths.account_paths("default").drain_lock)
    assert drain_lock.acquire_nowait()
    with drain_lock:
        said = home.run("-q", "wait", str(path), "--timeout", "1s")
    assert said.code == 75
    assert "the time is over; 1 file or change left" in said.out
    alone = home.run("-q", "wait", str(path), "--timeout", "30s")
    assert alone.code == 69
    assert "nobody is uploading" in alone.err


def test_wait_returns_when_the_file_has_arrived(
    home: Home, queue: Queue, places: OnDrive
) -> None:
    """The file is uploaded by another process meanwhile: exit 0."""
    path = places.file("a.gif", DraftState.WAITING)
    inode = Inode(path.stat().st_ino)
    drain_lock = FileLock(paths.account_paths("default").drain_lock)
    assert drain_lock.acquire_nowait()

    def arrive() -> None:
        def settle(c: Connection) -> None:
            (job,) = outbox.unfinished(c)
            outbox.cancel(c, job.id, now=NOW_S, reason="it has arrived")
            drafts.drop(c, inode)

        queue.db.write_blocking(settle)

    with drain_lock:
        timer = threading.Timer(0.3, arrive)
        timer.start()
        said = home.run("-q", "wait", str(path), "--timeout", "20s")
        timer.join()
    assert said.pair == (0, "everything is uploaded\n")


def test_wait_for_another_accounts_file(home: Home, queue: Queue) -> None:
    """A path on the drive of an account that is not this one says so."""
    path = marked(home.directory / "a.gif", imgurfs__state="waiting")
    said = home.run("wait", str(path))
    assert said.code == 2
    assert "another account" in said.err
