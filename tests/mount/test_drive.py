"""What the read-only drive promises, in process and through the kernel."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import Any

import pytest
import trio

from imgurfs.limits import CHUNK_BYTES
from tests.support.drives import Drive, read
from tests.support.inside import in_process

CATS = "Cats"
PAW = "Cats/Paw.gif"
LARGE = "Moving things/Large video.mp4"


async def test_albums_are_directories_and_images_files(
    clock: object, drive: Drive
) -> None:
    """R1: albums are directories that hold their images; the rest is in the root."""
    names = await drive.list("")
    assert {"Cats", "Empty album", "Holiday 2023", "Twins"} <= set(names)
    assert any(name.startswith("Without an album.") for name in names)
    assert len(names) == len(set(names))
    assert len(await drive.list("Holiday 2023")) == 8
    assert await drive.list("Empty album") == []
    assert (await drive.stat(CATS)).is_directory
    assert not (await drive.stat(PAW)).is_directory


async def test_an_image_in_two_albums_is_one_file(clock: object, drive: Drive) -> None:
    """R4: each album that holds an image is a hard link to it."""
    first = await drive.stat("Holiday 2023/Harbour at dawn.jpg")
    second = await drive.stat("Cats/Harbour at dawn.jpg")
    assert first == second
    assert first.links == 2
    assert (await drive.stat(PAW)).links == 1


async def test_size_and_time_are_imgurs(clock: object, drive: Drive) -> None:
    """R5: the size is exactly what will be read, the time that of the upload."""
    image = await drive.imgur.image("Paw")
    seen = await drive.stat(PAW)
    assert seen.size_bytes == image["size"]
    assert seen.mtime_s == image["datetime"]


async def test_reading_gives_the_bytes_of_the_cdn(clock: object, drive: Drive) -> None:
    """R6: a file's content is what the CDN serves, byte for byte."""
    image = await drive.imgur.image("Paw")
    data = await read(drive, PAW)
    assert hashlib.md5(data).hexdigest() == image["md5"]
    assert await read(drive, PAW, len(data) - 3, 100) == data[-3:]
    assert await read(drive, PAW, len(data) + 5, 100) == b""


async def test_nothing_is_downloaded_before_it_is_read(
    clock: object, drive: Drive
) -> None:
    """R7: looking at everything downloads nothing; reading a part downloads a part."""
    for name in await drive.list(""):
        seen = await drive.stat(name)
        if seen.is_directory:
            for inner in await drive.list(name):
                await drive.stat(f"{name}/{inner}")
    assert (await drive.imgur.counters())["cdn_requests"] == 0
    size_bytes = (await drive.stat(LARGE)).size_bytes
    assert size_bytes > 16 * CHUNK_BYTES
    part = await read(drive, LARGE, size_bytes // 2, 4096)
    assert len(part) == 4096
    counters = await drive.imgur.counters()
    assert counters["cdn_requests"] < 3
    assert counters["cdn_bytes_sent"] < 3 * CHUNK_BYTES


async def test_a_large_file_is_read_whole(clock: object, drive: Drive) -> None:
    """R6: chunks and read-ahead put together give the whole file."""
    image = await drive.imgur.image("Large video")
    data = await read(drive, LARGE)
    assert hashlib.md5(data).hexdigest() == image["md5"]
    counters = await drive.imgur.counters()
    assert counters["cdn_bytes_sent"] == len(data)


async def test_many_readers_share_one_download(clock: object, drive: Drive) -> None:
    """R8: each part is downloaded once, however many read it at the same time."""
    results: list[bytes] = []

    async def look() -> None:
        results.append(await read(drive, LARGE, 0, 64 * 1024))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(look)
    assert len(set(results)) == 1
    assert (await drive.imgur.counters())["cdn_requests"] == 1


async def test_what_was_read_is_read_again_without_the_network(
    clock: object, drive: Drive
) -> None:
    """R23: content that is here stays readable when the network is not."""
    data = await read(drive, PAW)
    await drive.imgur.fail({"action": "reset_before"})
    assert await read(drive, PAW) == data


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        (
            {
                "action": "status",
                "status": 302,
                "headers": {"location": "http://i.imgur.test/removed.png"},
            },
            errno.ESTALE,
        ),
        ({"action": "html", "status": 200}, errno.EIO),
        ({"action": "status", "status": 503}, errno.EIO),
        ({"action": "truncate", "fraction": 0.5}, errno.EIO),
        ({"action": "reset_before"}, errno.EIO),
    ],
    ids=["removed", "html", "outage", "truncated", "reset"],
)
async def test_what_is_not_the_image_is_an_error(
    clock: object, drive: Drive, rule: dict[str, Any], number: int
) -> None:
    """R9, R13: a placeholder, a page or half a body is an errno, never content."""
    await drive.imgur.fail({"host": "cdn", **rule})
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is checked
        await read(drive, PAW)
    assert caught.value.errno == number
    await drive.imgur.fail()
    image = await drive.imgur.image("Paw")
    assert hashlib.md5(await read(drive, PAW)).hexdigest() == image["md5"]


async def test_a_short_outage_is_not_noticed(clock: object, drive: Drive) -> None:
    """R10: a body that was cut once is asked for again."""
    await drive.imgur.fail(
        {"host": "cdn", "action": "truncate", "fraction": 0.5, "count": 1}
    )
    image = await drive.imgur.image("Paw")
    assert hashlib.md5(await read(drive, PAW)).hexdigest() == image["md5"]


async def test_extended_attributes(clock: object, drive: Drive) -> None:
    """R15: Imgur's facts are readable; the deletehash is not; others do not exist."""
    image = await drive.imgur.image("Harbour at dawn")
    found = await drive.xattrs("Cats/Harbour at dawn.jpg")
    assert found["user.imgur.id"] == image["id"].encode()
    assert found["user.imgur.link"] == image["link"].encode()
    assert len(found["user.imgur.album_ids"].split(b",")) == 2
    assert not any("deletehash" in name for name in found)
    assert b"Cats" in (await drive.xattrs(CATS)).values()
    for name, number in [
        ("user.imgur.nonsense", errno.ENODATA),
        ("security.capability", errno.ENOTSUP),
        ("system.posix_acl_access", errno.ENOTSUP),
    ]:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is checked
            await drive.xattr(PAW, name)
        assert caught.value.errno == number


async def test_statfs_and_missing_names_cost_no_call(
    clock: object, drive: Drive
) -> None:
    """R16, R17: df and names that are not there are answered without Imgur."""
    before = (await drive.imgur.counters())["api_requests"]
    assert (await drive.statvfs())[0] > 20
    for name in (".git", "Cats/desktop.ini", "x" * 255):
        with pytest.raises(FileNotFoundError):
            await drive.stat(name)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is checked
        await drive.stat("x" * 256)
    assert caught.value.errno == errno.ENAMETOOLONG
    assert (await drive.imgur.counters())["api_requests"] == before


async def test_a_cdn_that_hangs_is_given_up(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """R12: a read that gets no answer fails with ETIMEDOUT after 30 seconds."""
    async with in_process(tmp_path) as drive:
        await drive.imgur.fail({"host": "cdn", "action": "hang"})
        started = trio.current_time()
        with pytest.raises(TimeoutError):
            await read(drive, PAW)
        assert trio.current_time() - started == pytest.approx(30, abs=0.1)
        assert (await drive.stat(PAW)).size_bytes > 0
