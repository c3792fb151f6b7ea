"""imgurfs.content.cache: bounded, and never zeros believed to be bytes."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
import trio

from imgurfs.clock import TrioClock
from imgurfs.content import disk
from imgurfs.content.cache import CachedFile, ContentCache
from imgurfs.content.ranges import Ranges
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.model import ImageId

P = ParamSpec("P")
T = TypeVar("T")

ONE, TWO, THREE = ImageId("abc1111"), ImageId("abc2222"), ImageId("xyz3333")
SIZE = 10_000


class FailingExecutor(InlineExecutor):
    """Fails chosen functions with an errno, as a broken or full disk does."""

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run the function, unless it is one that fails."""
        number = self.failing.get(fn.__name__)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return await super().run(lane, fn, *args, **kwargs)


@pytest.fixture
def executor() -> FailingExecutor:
    """Return an executor whose disk can fail."""
    return FailingExecutor()


@pytest.fixture
def reopen(
    tmp_path: Path, executor: FailingExecutor
) -> Iterator[Callable[..., ContentCache]]:
    """Return a function that opens the same directory again, as a new process does."""
    opened: list[ContentCache] = []

    def open_cache(size_bytes_max: int = 10**9) -> ContentCache:
        for cache in opened:
            cache.close()
        cache = ContentCache.open(
            tmp_path / "content",
            size_bytes_max=size_bytes_max,
            executor=executor,
            clock=TrioClock(epoch_s=1e9),
        )
        opened.append(cache)
        return cache

    yield open_cache
    for cache in opened:
        cache.close()


Reopen = Callable[..., ContentCache]


async def fill(
    cache: ContentCache, image_id: ImageId, data: bytes, offset: int = 0
) -> CachedFile:
    """Store bytes durably and return the file, held."""
    file = await cache.acquire(image_id, SIZE)
    assert await cache.store(file, offset, data, etag="e1")
    await cache.persist(file)
    return file


async def test_what_was_persisted_is_there_after_a_restart(reopen: Reopen) -> None:
    """Bytes, ranges and the ETag survive the process."""
    cache = reopen()
    cache.release(await fill(cache, ONE, b"x" * 500, offset=100))
    file = await reopen().acquire(ONE, SIZE)
    assert file.ranges == Ranges(((100, 600),))
    assert file.etag == "e1"


async def test_what_was_not_persisted_is_not_believed_after_a_crash(
    reopen: Reopen, tmp_path: Path
) -> None:
    """R24: bytes without a record are removed; a hole would read as zeros."""
    cache = reopen()
    file = await cache.acquire(ONE, SIZE)
    assert await cache.store(file, 5_000, b"x" * 100, etag="e1")
    cache = reopen()  # the lock is gone as after kill -9; nothing was persisted
    assert cache.statistics()["files"] == 0
    assert not (tmp_path / "content" / "ab" / ONE).exists()
    assert not (await cache.acquire(ONE, SIZE)).ranges


async def test_bytes_reach_the_disk_before_their_record(
    reopen: Reopen, executor: FailingExecutor, tmp_path: Path
) -> None:
    """When the bytes cannot be synced no record says that they are there."""
    cache = reopen()
    file = await cache.acquire(ONE, SIZE)
    assert await cache.store(file, 0, b"x" * 100, etag="e1")
    assert file.fd is not None
    broken = os.open("/dev/null", os.O_RDONLY)
    try:
        sidecar = disk.Sidecar(SIZE, "e1", file.ranges.spans)
        with pytest.raises(OSError, match="Invalid argument"):
            disk.persist(broken, tmp_path / "content" / "ab" / ONE, sidecar)
    finally:
        os.close(broken)
    assert not list((tmp_path / "content").rglob("*.ranges"))


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"not json",
        b"[]",
        b'{"size_bytes":10000,"etag":"e1","spans":[[0,20000]]}',
        b'{"size_bytes":10000,"etag":"e1","spans":[[7,3]]}',
        b'{"size_bytes":10000,"etag":"e1","spans":[[0,9999]]}',
        b'{"size_bytes":9999,"etag":"e1","spans":[[0,10]]}',
    ],
)
async def test_a_record_that_cannot_be_true_is_not_believed(
    reopen: Reopen, tmp_path: Path, record: bytes
) -> None:
    """Damaged, out of bounds or beyond the file's end: read anew."""
    cache = reopen()
    cache.release(await fill(cache, ONE, b"x" * 500))
    (tmp_path / "content" / "ab" / f"{ONE}.ranges").write_bytes(record)
    file = await reopen().acquire(ONE, SIZE)
    assert not file.ranges


async def test_known_bytes_are_read_back(reopen: Reopen) -> None:
    """What was stored is what is read."""
    cache = reopen()
    file = await fill(cache, ONE, bytes(range(200)), offset=50)
    assert await cache.read(file, 60, 5) == bytes(range(10, 15))


async def test_another_etag_drops_what_was_there(reopen: Reopen) -> None:
    """Bytes of two versions are never mixed in one file."""
    cache = reopen()
    file = await fill(cache, ONE, b"x" * 500)
    generation = file.generation
    assert await cache.store(file, 1_000, b"y" * 10, etag="e2")
    assert file.ranges == Ranges(((1_000, 1_010),))
    assert file.generation != generation
    assert await cache.read(file, 1_000, 10) == b"y" * 10


async def test_another_size_drops_what_was_there(reopen: Reopen) -> None:
    """A file that Imgur now describes with another size is read anew."""
    cache = reopen()
    cache.release(await fill(cache, ONE, b"x" * 500))
    file = await cache.acquire(ONE, SIZE + 1)
    assert not file.ranges


async def test_the_bound_evicts_the_least_recently_used(
    reopen: Reopen, autojump_clock: trio.testing.MockClock
) -> None:
    """R24: over the bound, the image that was used longest ago goes."""
    cache = reopen(size_bytes_max=2_500)
    for image_id in (ONE, TWO):
        cache.release(await fill(cache, image_id, b"x" * 1_000))
        await trio.sleep(1)
    cache.release(await cache.acquire(ONE, SIZE))
    await trio.sleep(1)
    cache.release(await fill(cache, THREE, b"x" * 1_000))
    assert cache.statistics()["evicted"] == 1
    assert not (await cache.acquire(TWO, SIZE)).ranges
    assert (await cache.acquire(ONE, SIZE)).ranges


async def test_an_open_file_is_never_evicted(reopen: Reopen) -> None:
    """R24: a reader does not lose its bytes, however full the cache is."""
    cache = reopen(size_bytes_max=1_500)
    held = await fill(cache, ONE, b"x" * 1_000)
    cache.release(await fill(cache, TWO, b"x" * 1_000))
    assert await cache.read(held, 0, 1_000) == b"x" * 1_000


async def test_a_full_disk_stores_nothing_and_breaks_nothing(
    reopen: Reopen, executor: FailingExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """No space: the caller is told that the bytes are not kept, and warned once."""
    cache = reopen()
    executor.failing["write_all"] = errno.ENOSPC
    file = await cache.acquire(ONE, SIZE)
    assert not await cache.store(file, 0, b"x" * 10, etag="e1")
    assert not await cache.store(file, 0, b"x" * 10, etag="e1")
    assert not file.ranges
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1


async def test_a_second_process_does_without_the_disk(
    reopen: Reopen, tmp_path: Path
) -> None:
    """R24: two mounts never write into the same files; the second takes over later."""
    first = reopen()
    second = ContentCache.open(
        tmp_path / "content",
        size_bytes_max=10**9,
        executor=InlineExecutor(),
        clock=TrioClock(epoch_s=1e9),
    )
    file = await second.acquire(ONE, SIZE)
    assert not await second.store(file, 0, b"x" * 10, etag="e1")
    second.release(file)
    first.close()
    file = await second.acquire(ONE, SIZE)
    assert await second.store(file, 0, b"x" * 10, etag="e1")
    second.close()


@pytest.mark.parametrize("hostile", ["../../etc/x", "a/b", "", "a" * 65, ".."])
async def test_an_id_that_is_no_file_name_is_not_stored(
    reopen: Reopen, tmp_path: Path, hostile: str
) -> None:
    """An id from the network cannot name a file outside the cache."""
    cache = reopen()
    before = set(tmp_path.rglob("*"))
    file = await cache.acquire(ImageId(hostile), SIZE)
    assert not await cache.store(file, 0, b"x" * 10, etag="e1")
    assert set(tmp_path.rglob("*")) == before


async def test_opening_without_reading_leaves_nothing(
    reopen: Reopen, tmp_path: Path
) -> None:
    """A file that was opened and not read takes no place on the disk."""
    cache = reopen()
    cache.release(await cache.acquire(ONE, SIZE))
    assert not list((tmp_path / "content" / "ab").iterdir())
