"""Content that the account has already: recognised, linked, never sent twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import UploadPayload
from imgurfs.model import Lane
from imgurfs.store import synced
from imgurfs.store.synced import Folder
from tests.support.phases import drive, put_in_cache, uploads
from tests.support.pictures import small_picture
from tests.support.placed import Placed, placed


def watched_folder(d: Placed) -> Folder:
    """Bind a folder with one picture in it."""
    root = d.state_dir.parent / "watched"
    root.mkdir()
    (root / "x.png").write_bytes(small_picture("A/x.png"))
    found = root.stat()
    return d.db.write_blocking(
        lambda c: synced.bind_folder(
            c, bytes(root), device=found.st_dev, inode=found.st_ino
        )
    )


async def upload_from(d: Placed, folder: Folder, directory: str | None = None) -> None:
    """Queue the picture's upload as the daemon does, and send it."""
    payload = UploadPayload(
        folder=folder.id,
        path=b"x.png",
        directory=None if directory is None else directory.encode(),
        title=directory or "",
    )
    await d.db.write(
        lambda c: queueing.queue_upload(
            c, payload, lane=Lane.FRESH, now=d.there.clock.now()
        )
    )
    await d.drain()


async def test_a_copy_within_the_account_is_an_album_add(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: cp A/x B/ of an image that was sent from here: no upload, one inode with
    two links.
    """
    async with drive(tmp_path) as d:
        await d.account("A/", "B/")
        await d.write("A/x.png")
        await d.drain()
        d.mark()
        await d.write("B/x.png", small_picture("A/x.png"))
        await d.drain()
        assert d.calls() == [f"POST album/{d.album_id('B')}/add"]
        assert d.node("A/x.png").inode == d.node("B/x.png").inode
        assert d.node("B/x.png").links == 2
        assert list((d.state_dir / "spool").glob("[0-9]*")) == []


async def test_an_image_from_elsewhere_is_recognised_when_it_was_read_here(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: bytes that came through the content cache are known to be that image."""
    async with drive(tmp_path) as d:
        await d.account("A/x.png", "B/")
        put_in_cache(d, "A/x.png", small_picture("A/x.png"))
        await d.write("B/copy.png", small_picture("A/x.png"))
        await d.drain()
        assert uploads(d) == 0
        assert d.node("A/x.png").inode == d.node("B/copy.png").inode


async def test_an_image_that_nobody_read_is_not_guessed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: the same size alone makes no two files the same image."""
    async with drive(tmp_path) as d:
        await d.account("A/x.png", "B/")
        await d.write("B/copy.png", small_picture("A/x.png"))
        await d.drain()
        assert uploads(d) == 1
        assert d.node("A/x.png").inode != d.node("B/copy.png").inode


async def test_the_same_content_twice_in_a_directory_is_two_images(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: two files of one content in one album, or in the root, are two images."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        for path in ("A/x.png", "A/y.png", "u.png", "v.png"):
            await d.write(path, small_picture("one"))
        await d.drain(1_000)
        assert uploads(d) == 4
        assert len(d.albums()["A"]) == 2
        assert d.names() == ["A", "u.png", "v.png"]


async def test_a_copy_from_an_album_to_the_root_is_an_image_of_its_own(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: what is in the root is in no album, so a copy there is uploaded."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.write("A/x.png")
        await d.drain()
        await d.write("x.png", small_picture("A/x.png"))
        await d.drain()
        assert uploads(d) == 2
        assert d.names() == ["A", "x.png"]


async def test_what_was_removed_and_comes_back_is_the_same_image(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W11: rm, and the same picture again within the grace: nothing is sent, nothing
    deleted, and the time is the new file's.
    """
    async with drive(tmp_path) as d:
        await d.write("x.png")
        await d.drain()
        image = d.image("x.png")
        d.mark()
        await d.remove("x.png")
        inode = await d.write("again.png", small_picture("x.png"))
        await d.places.set_times(inode, mtime_ns=10**18)
        await d.drain(1_000)
        assert d.calls() == []
        assert d.image("again.png") == image
        assert d.node("again.png").mtime_ns == 10**18


async def test_an_editor_that_saves_the_same_over_a_backup_changes_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: the old file aside, the same bytes anew, the old file removed: nothing is
    sent and nothing deleted, even if deletions are not delayed.
    """
    async with placed(tmp_path, delete_grace_s=0.0) as d:
        await d.mkdir("A")
        await d.write("A/x.png")
        await d.drain()
        image = d.image("A/x.png")
        d.mark()
        await d.move("A/x.png", "A/x.png~")
        await d.write("A/x.png", small_picture("A/x.png"))
        await d.remove("A/x.png~")
        await d.drain(1_000)
        assert d.calls() == []
        assert d.jobs() == []
        assert d.albums() == {"A": [image]}
        assert d.image("A/x.png") == image


async def test_another_picture_of_the_same_size_keeps_no_image_alive(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: a deletion waits until it is known what the new file is, and no longer."""
    async with placed(tmp_path, delete_grace_s=0.0) as d:
        data = small_picture("x")
        await d.write("x.png", data)
        await d.drain()
        await d.move("x.png", "x.png~")
        other = data[:-1] + bytes([data[-1] ^ 1])
        await d.write("x.png", other)
        await d.remove("x.png~")
        # As a command does, which waits for no deletion that is put off.
        await d.drainer().run_until_idle()
        assert d.jobs() == []
        assert [one.id for one in d.images()] == [d.image("x.png")]


@pytest.mark.parametrize(
    ("seconds", "is_taken_over"), [(1_000_000_000, True), (4_000_000_000, False)]
)
async def test_a_copy_brings_its_time_if_the_image_has_none_but_imgurs(
    tmp_path: Path, autojump_clock: MockClock, seconds: int, is_taken_over: bool
) -> None:
    """W23: cp -p of an old picture that is on Imgur already: the one file that both are
    has the picture's time, not that of an upload.
    """
    async with placed(tmp_path) as d:
        await d.account("A/x.png", "B/")
        put_in_cache(d, "A/x.png", small_picture("A/x.png"))
        before = d.node("A/x.png").mtime_ns
        inode = await d.write("B/x.png", small_picture("A/x.png"))
        await d.places.set_times(inode, mtime_ns=seconds * 10**9)
        await d.drain()
        assert d.node("A/x.png").inode == d.node("B/x.png").inode
        expected = seconds * 10**9 if is_taken_over else before
        assert d.node("B/x.png").mtime_ns == expected


async def test_a_copy_does_not_change_a_time_that_was_set(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W23: the image's own time stays, whatever a copy of it was given."""
    async with placed(tmp_path) as d:
        await d.mkdir("A")
        await d.mkdir("B")
        first = await d.write("A/x.png")
        await d.places.set_times(first, mtime_ns=10**18)
        await d.drain()
        second = await d.write("B/x.png", small_picture("A/x.png"))
        await d.places.set_times(second, mtime_ns=10**17)
        await d.drain()
        assert d.node("B/x.png").inode == first
        assert d.node("B/x.png").mtime_ns == 10**18


async def test_the_drive_knows_what_a_watched_folder_has_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S6: the same picture in a watched folder and on the drive is one image."""
    async with drive(tmp_path) as d:
        await upload_from(d, watched_folder(d), "Trip")
        await d.account("B/")
        await d.write("B/x.png", small_picture("A/x.png"))
        await d.drain()
        assert uploads(d) == 0
        assert d.node("B/x.png").links == 2


async def test_a_watched_folder_knows_what_the_drive_has_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S6: a picture that was copied to the drive first is not sent by the daemon."""
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.write("A/x.png")
        await d.drain()
        image = d.image("A/x.png")
        folder = watched_folder(d)
        await upload_from(d, folder)
        assert uploads(d) == 1
        known = synced.file(d.db.reader, folder.id, b"x.png")
        assert known is not None
        assert known.image_id == image


async def test_what_a_watched_folder_still_has_is_not_deleted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S23: an image removed on the drive that is a file of a watched folder stays,
    and is shown again.
    """
    async with drive(tmp_path) as d:
        await d.account("A/")
        await d.write("A/x.png")
        await d.drain()
        await upload_from(d, watched_folder(d))
        image = d.image("A/x.png")
        await d.remove("A/x.png")
        assert d.names("A") == []
        await d.drain(1_000)
        assert d.albums()["A"] == [image]
        assert d.image("A/x.png") == image


async def test_a_picture_that_comes_back_in_a_watched_folder_calls_it_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S22: a deletion from the drive is withdrawn when the daemon finds the file."""
    async with drive(tmp_path) as d:
        await d.write("x.png", small_picture("A/x.png"))
        await d.drain()
        image = d.image("x.png")
        await d.remove("x.png")
        await upload_from(d, watched_folder(d))
        await d.drain(1_000)
        assert [one.id for one in d.images()] == [image]
        assert d.names() == ["x.png"]
