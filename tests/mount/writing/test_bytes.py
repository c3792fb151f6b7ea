"""Bytes written to the drive, in process and through the kernel: as on a disk."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pyfuse3
import pytest
import trio
import trio.testing

from imgurfs.model import Inode, Lane
from imgurfs.store import entries
from tests.support.drive_inside import CONTEXT, InProcess, as_os_error
from tests.support.drives import Drive, fails_with, opened, read, write
from tests.support.inside import in_process
from tests.support.pictures import small_picture

HARBOUR = small_picture("harbour")
GULLS = small_picture("gulls")


async def test_what_was_written_is_there_at_once(clock: object, drive: Drive) -> None:
    """W1: a written file is listed, has its size and reads as it was written."""
    await write(drive, "Cats/New.png", HARBOUR)
    assert "New.png" in await drive.list("Cats")
    seen = await drive.stat("Cats/New.png")
    assert (seen.size_bytes, seen.links) == (len(HARBOUR), 1)
    assert await read(drive, "Cats/New.png") == HARBOUR
    await drive.settle()
    assert (await drive.stat("Cats/New.png")).inode == seen.inode
    assert await read(drive, "Cats/New.png") == HARBOUR


async def test_every_handle_sees_what_was_written(clock: object, drive: Drive) -> None:
    """W1: what one handle writes another one reads, before anything is closed."""
    async with opened(drive, "a.png", os.O_RDWR | os.O_CREAT) as first:
        await first.write(HARBOUR)
        async with opened(drive, "a.png") as second:
            assert await second.read() == HARBOUR
            assert await first.read() == HARBOUR
            await first.write(b"\0", len(HARBOUR))
            assert await second.read() == HARBOUR + b"\0"
        assert (await drive.stat("a.png")).size_bytes == len(HARBOUR) + 1


async def test_a_reader_that_came_first_sees_it_too(
    clock: object, drive: Drive
) -> None:
    """W1: who opened an image before it was written over reads the new content."""
    async with opened(drive, "Cats/Paw.gif") as reader:
        assert (await reader.read(0, 3)) == b"GIF"
        await write(drive, "Cats/Paw.gif", HARBOUR)
        assert await reader.read() == HARBOUR
        await drive.settle()
        assert await reader.read() == HARBOUR


async def test_writing_into_the_middle_keeps_the_rest(
    clock: object, drive: Drive
) -> None:
    """W18: an image is changed where it was written to, and only there."""
    before = await read(drive, "Cats/Paw.gif")
    async with opened(drive, "Cats/Paw.gif", os.O_RDWR) as file:
        await file.write(b"*", 100)
    after = before[:100] + b"*" + before[101:]
    assert await read(drive, "Cats/Paw.gif") == after
    await drive.settle()
    assert await read(drive, "Cats/Paw.gif") == after


async def test_appending_goes_to_the_end(clock: object, drive: Drive) -> None:
    """W18: O_APPEND writes at the end, wherever the offset is."""
    await write(drive, "a.png", HARBOUR)
    flags = os.O_WRONLY | os.O_APPEND
    async with opened(drive, "a.png", flags) as file:
        await file.write(b"one")
        await file.write(b"two", 3)
    assert await read(drive, "a.png") == HARBOUR + b"onetwo"
    before = await read(drive, "Cats/Paw.gif")
    await write(drive, "Cats/Paw.gif", b"!", flags)
    assert await read(drive, "Cats/Paw.gif") == before + b"!"


async def test_holes_are_zeros(clock: object, drive: Drive) -> None:
    """W18: what was never written reads as zeros, by a seek or by a longer size."""
    async with opened(drive, "a.png", os.O_RDWR | os.O_CREAT) as file:
        await file.write(HARBOUR)
        await file.write(b"end", 300_000)
        await file.truncate(300_010)
        data = await file.read()
    assert data[: len(HARBOUR)] == HARBOUR
    assert data[len(HARBOUR) : 300_000] == bytes(300_000 - len(HARBOUR))
    assert data[300_000:] == b"end" + bytes(7)


async def test_emptying_downloads_nothing(clock: object, drive: Drive) -> None:
    """W18: a file that is emptied is not brought here first."""
    await write(drive, "Cats/Paw.gif", GULLS)
    await drive.truncate("Cats/Minka awake.jpg", 0)
    assert (await drive.stat("Cats/Minka awake.jpg")).size_bytes == 0
    assert await read(drive, "Cats/Paw.gif") == GULLS
    assert (await drive.imgur.counters())["cdn_requests"] == 0


async def test_cutting_keeps_the_beginning(clock: object, drive: Drive) -> None:
    """W18: truncate and ftruncate give exactly the size that was asked for."""
    before = await read(drive, "Cats/Paw.gif")
    await drive.truncate("Cats/Paw.gif", 1000)
    assert await read(drive, "Cats/Paw.gif") == before[:1000]
    async with opened(drive, "Cats/Paw.gif", os.O_RDWR) as file:
        await file.truncate(1500)
        assert (await file.stat()).size_bytes == 1500
    assert await read(drive, "Cats/Paw.gif") == before[:1000] + bytes(500)


async def test_exclusive_creation(clock: object, drive: Drive) -> None:
    """W18: O_EXCL makes a file or fails with EEXIST; without it the file is opened."""
    flags = os.O_WRONLY | os.O_CREAT
    await write(drive, "a.png", HARBOUR, flags | os.O_EXCL)
    await fails_with(errno.EEXIST, drive.open("a.png", flags | os.O_EXCL))
    await write(drive, "a.png", b"", flags)
    assert await read(drive, "a.png") == HARBOUR


async def test_a_name_that_the_kernel_believes_missing(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W18: a creation that comes too late opens what is there, but for O_EXCL."""
    async with in_process(tmp_path) as drive:
        await write(drive, "a.png", HARBOUR)
        inode = (await drive.stat("a.png")).inode
        handlers, root = drive.operations, pyfuse3.ROOT_INODE
        with as_os_error():
            info, found = await handlers.create(
                root, b"a.png", 0o644, os.O_RDWR | os.O_CREAT, CONTEXT
            )
            assert found.st_ino == inode
            assert await handlers.read(info.fh, 0, 1 << 20) == HARBOUR
            await handlers.release(info.fh)
        late = handlers.create(
            root, b"a.png", 0o644, os.O_RDWR | os.O_CREAT | os.O_EXCL, CONTEXT
        )
        with pytest.raises(FileExistsError), as_os_error():
            await late


async def test_random_writes_are_what_a_disk_has(clock: object, drive: Drive) -> None:
    """W18: many writes anywhere, and sizes set between them, give the same bytes."""
    rng, model = random.Random(5), bytearray(HARBOUR)
    await write(drive, "a.png", HARBOUR)
    async with opened(drive, "a.png", os.O_RDWR) as file:
        for _ in range(120):
            if rng.random() < 0.2:
                size = rng.randrange(1, 200_000)
                await file.truncate(size)
                model = model[:size] + bytearray(max(0, size - len(model)))
            else:
                offset, data = (
                    rng.randrange(200_000),
                    rng.randbytes(rng.randrange(9_000)),
                )
                await file.write(data, offset)
                end = offset + len(data) if data else 0
                model += bytes(max(0, end - len(model)))
                model[offset : offset + len(data)] = data
            if rng.random() < 0.2:
                assert await file.read() == model
        model[: len(HARBOUR)] = HARBOUR
        await file.write(HARBOUR)
        assert await file.read() == model
    assert await read(drive, "a.png") == model


async def test_a_removed_file_lives_on_in_who_has_it_open(
    clock: object, drive: Drive
) -> None:
    """W19: an unlinked open file is read, written and measured until it is closed."""
    async with opened(drive, "a.png", os.O_RDWR | os.O_CREAT) as file:
        await file.write(HARBOUR)
        await drive.unlink("a.png")
        await fails_with(errno.ENOENT, drive.stat("a.png"))
        await file.write(b"more", len(HARBOUR))
        assert await file.read() == HARBOUR + b"more"
        seen = await file.stat()
        assert (seen.links, seen.size_bytes) == (0, len(HARBOUR) + 4)
    await drive.settle()
    assert (await drive.imgur.counters())["uploads"] == 0


async def test_an_image_that_is_removed_while_open(clock: object, drive: Drive) -> None:
    """W19: the same holds for an image whose bytes were never here."""
    async with opened(drive, "Cats/Paw.gif") as file:
        await drive.unlink("Cats/Paw.gif")
        data = await file.read()
        assert data.startswith(b"GIF")
        assert (await file.stat()).links == 0


async def _is_forgotten(drive: InProcess) -> None:
    """Let a deletion happen, and the listings know of it."""
    await drive.settle()
    await trio.sleep(3600)
    await drive.mounted.refresher.refresh_all(Lane.CONTROL)


async def test_an_open_image_outlives_its_deletion_on_imgur(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W19: an image that was opened, and not read yet, is read when it is gone."""
    async with in_process(tmp_path) as drive:
        whole = await read(drive, "Cats/Paw.gif")
    async with (
        in_process(tmp_path / "other") as drive,
        opened(drive, "Cats/Paw.gif") as reader,
    ):
        await drive.unlink("Cats/Paw.gif")
        await _is_forgotten(drive)
        inode = Inode((await reader.stat()).inode)
        assert entries.node(drive.db.reader, inode) is None
        assert await reader.read() == whole


async def test_an_open_image_is_written_to_when_it_is_gone(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W19: what is written then is read by all who have it open, and goes with them."""
    async with in_process(tmp_path) as drive:
        free_bytes = drive.mounted.writer.files.free_bytes()
        async with (
            opened(drive, "Cats/Paw.gif", os.O_WRONLY) as writer,
            opened(drive, "Cats/Paw.gif") as reader,
        ):
            await drive.unlink("Cats/Paw.gif")
            await _is_forgotten(drive)
            size_bytes = (await reader.stat()).size_bytes
            await writer.write(HARBOUR, 10)
            await writer.fsync()
            await writer.write(b"end", size_bytes)
            data = await reader.read()
            assert data[:3] == b"GIF"
            assert data[10 : 10 + len(HARBOUR)] == HARBOUR
            assert data[size_bytes:] == b"end"
            assert (await writer.stat()).size_bytes == len(data) == size_bytes + 3
        await drive.settle()
        assert (await drive.imgur.counters())["uploads"] == 0
        assert drive.mounted.writer.files.free_bytes() == free_bytes


async def test_a_writer_alone_changes_an_image_that_is_gone(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W19: its bytes are kept for who has opened it for writing only, as well."""
    async with (
        in_process(tmp_path) as drive,
        opened(drive, "Cats/Paw.gif", os.O_WRONLY) as writer,
    ):
        await drive.unlink("Cats/Paw.gif")
        await _is_forgotten(drive)
        size_bytes = (await writer.stat()).size_bytes
        await writer.write(b"more", size_bytes)
        assert (await writer.stat()).size_bytes == size_bytes + 4


@pytest.mark.parametrize("before", [b"", GULLS], ids=["new", "uploaded"])
async def test_a_file_whose_name_leads_to_another_one_takes_no_bytes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, before: bytes
) -> None:
    """W11: who has a copy open when it becomes the image is told, at the next write.

    Else what is written would be in a file that has no name, and go with it.
    """
    async with in_process(tmp_path) as drive:
        await drive.mkdir("B")
        await write(drive, "Cats/a.png", HARBOUR)
        await write(drive, "B/b.png", before)
        await drive.settle()
        async with opened(drive, "B/b.png", os.O_RDWR) as file:
            await file.truncate(0)
            await file.write(HARBOUR)
            await file.fsync()
            await drive.settle()
            assert (await drive.stat("B/b.png")).links == 2
            await fails_with(errno.ESTALE, file.write(b"more", len(HARBOUR)))
            assert await file.read() == HARBOUR
        assert await read(drive, "B/b.png") == HARBOUR


async def test_a_replaced_file_lives_on_in_who_has_it_open(
    clock: object, drive: Drive
) -> None:
    """W19: a rename over an open file leaves its readers the old bytes."""
    await write(drive, "a.png", HARBOUR)
    await write(drive, "b.png", GULLS)
    async with opened(drive, "b.png") as reader:
        await drive.rename("a.png", "b.png")
        assert await reader.read() == GULLS
        assert await read(drive, "b.png") == HARBOUR
    await fails_with(errno.ENOENT, drive.stat("a.png"))


async def test_many_handles_on_one_file(clock: object, drive: Drive) -> None:
    """W1, W18: 64 handles write at the same time, each its own part."""
    part = 4096
    await write(drive, "a.png", HARBOUR)

    async def fill(number: int) -> None:
        async with opened(drive, "a.png", os.O_RDWR) as file:
            data = bytes([number]) * part
            await file.write(data, part * (number + 1))
            assert await file.read(part * (number + 1), part) == data

    async with trio.open_nursery() as nursery:
        for number in range(64):
            nursery.start_soon(fill, number)
    data = await read(drive, "a.png")
    assert data[: len(HARBOUR)] == HARBOUR
    for number in range(64):
        start = part * (number + 1)
        assert data[start : start + part] == bytes([number]) * part


async def test_closing_what_is_no_picture(clock: object, drive: Drive) -> None:
    """W14: close fails with EINVAL; the bytes stay readable and the reason is told."""
    file = await drive.open("a.png", os.O_WRONLY | os.O_CREAT)
    await file.write(b"this is not a picture")
    await fails_with(errno.EINVAL, file.close())
    assert await read(drive, "a.png") == b"this is not a picture"
    assert await drive.xattr("a.png", "user.imgurfs.state") == b"refused"
    assert await drive.xattr("a.png", "user.imgurfs.error")
    await write(drive, "a.png", HARBOUR)
    assert await drive.xattr("a.png", "user.imgurfs.state") == b"waiting"


async def test_an_empty_file_is_no_error(clock: object, drive: Drive) -> None:
    """W14: a program may make an empty file and fill it later; it is uploaded once."""
    await write(drive, "a.png", b"")
    assert (await drive.stat("a.png")).size_bytes == 0
    assert await drive.xattr("a.png", "user.imgurfs.state") == b"refused"
    await write(drive, "a.png", HARBOUR, os.O_WRONLY)
    await drive.settle()
    assert (await drive.imgur.counters())["uploads"] == 1


async def test_more_than_imgur_takes(clock: object, drive: Drive) -> None:
    """W15: EFBIG at the write that crosses the limit, and at close for what is left."""
    file = await drive.open("a.mp4", os.O_WRONLY | os.O_CREAT)
    await fails_with(errno.EFBIG, file.write(b"x", 300 * 1000 * 1000))
    assert (await file.stat()).size_bytes == 0
    await fails_with(errno.EFBIG, file.close())


async def test_a_still_that_would_become_worse(clock: object, drive: Drive) -> None:
    """W15: EFBIG at close for a still that Imgur would recompress; it stays here."""
    data = HARBOUR + bytes(5 * 1024 * 1024)
    file = await drive.open("a.png", os.O_WRONLY | os.O_CREAT)
    await file.write(data)
    await fails_with(errno.EFBIG, file.close())
    assert len(await read(drive, "a.png")) == len(data)
    assert b"lossy" in await drive.xattr("a.png", "user.imgurfs.error")
    await drive.settle()
    assert (await drive.imgur.counters())["uploads"] == 0


async def test_directories_are_not_written_to(clock: object, drive: Drive) -> None:
    """W18: a directory opened for writing is EISDIR, a file as a directory ENOTDIR."""
    await fails_with(errno.EISDIR, drive.open("Cats", os.O_WRONLY))
    await fails_with(errno.ENOTDIR, drive.open("Cats/Paw.gif/x", os.O_RDONLY))
    await fails_with(errno.ENOENT, drive.open("missing.png", os.O_WRONLY))
