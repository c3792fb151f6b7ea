"""Uploaded bytes become the content cache: what the CDN says, and the files."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import httpx
import pytest

from imgurfs.clock import TrioClock
from imgurfs.content import disk
from imgurfs.content.cache import ContentCache
from imgurfs.content.cdn import Cdn, Identity
from imgurfs.errors import (
    ContentGoneError,
    ContentMismatchError,
    ImgurfsError,
    OutageError,
    ThrottledError,
)
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.model import Image, ImageId, Lane, RequestKind

P = ParamSpec("P")
T = TypeVar("T")

IMAGE = Image(
    id=ImageId("abcdefg"),
    type="image/png",
    link="https://cdn.test/abcdefg.png",
    size_bytes=5,
    datetime_s=0,
)
REMOVED = "d835884373f4d6c8f24742ceabe74946"
HEADERS = {"content-type": "image/png", "content-length": "5", "etag": '"e1"'}


class Disk(InlineExecutor):
    """Fails chosen functions, as a full disk does."""

    def __init__(self) -> None:
        self.failing = ""

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run the function, unless it is the one that fails."""
        if fn.__name__ == self.failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return await super().run(lane, fn, *args, **kwargs)


@pytest.fixture
def executor() -> Disk:
    """Return an executor whose disk can fail."""
    return Disk()


@pytest.fixture
def cache(tmp_path: Path, executor: Disk) -> Iterator[ContentCache]:
    """Return an empty cache."""
    made = open_cache(tmp_path, executor)
    yield made
    made.close()


def open_cache(tmp_path: Path, executor: Disk, *, most: int = 10**6) -> ContentCache:
    """Open the cache as a new process does."""
    return ContentCache.open(
        tmp_path / "cache",
        size_bytes_max=most,
        executor=executor,
        clock=TrioClock(epoch_s=1e9),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file with five bytes."""
    path = tmp_path / "5.1"
    path.write_bytes(b"bytes")
    return path


async def test_adopted_bytes_are_read_and_outlive_their_source(
    cache: ContentCache, source: Path, tmp_path: Path, executor: Disk
) -> None:
    """The file in the spool can go; a new process finds them as well."""
    assert await cache.adopt(IMAGE.id, source, 5, etag="e1")
    assert cache.statistics()["bytes"] == 5
    source.unlink()
    cache.close()
    again = open_cache(tmp_path, executor)
    file = await again.acquire(IMAGE.id, 5)
    assert file.etag == "e1"
    assert await again.read(file, 0, 5) == b"bytes"
    again.release(file)
    again.close()


async def test_who_reads_meanwhile_reads_on(cache: ContentCache, source: Path) -> None:
    """A held file with a part of the bytes has all of them afterwards."""
    file = await cache.acquire(IMAGE.id, 5)
    assert await cache.store(file, 0, b"by", etag="e1")
    assert await cache.adopt(IMAGE.id, source, 5, etag="e1")
    assert file.ranges.covers(0, 5)
    assert await cache.read(file, 0, 5) == b"bytes"
    cache.release(file)


async def test_what_the_cache_writes_never_reaches_the_source(
    cache: ContentCache, source: Path
) -> None:
    """Content that turned out to be another is dropped, not overwritten."""
    assert await cache.adopt(IMAGE.id, source, 5, etag="e1")
    file = await cache.acquire(IMAGE.id, 5)
    assert await cache.store(file, 0, b"other", etag="e2")
    assert await cache.read(file, 0, 5) == b"other"
    assert source.read_bytes() == b"bytes"
    cache.release(file)


async def test_another_disk_gets_a_copy(
    cache: ContentCache, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where links do not reach, the bytes are copied."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert await cache.adopt(IMAGE.id, source, 5, etag="e1")
    source.write_bytes(b"later")
    file = await cache.acquire(IMAGE.id, 5)
    assert await cache.read(file, 0, 5) == b"bytes"
    cache.release(file)


@pytest.mark.parametrize("function", ["adopt", "open_data"])
async def test_a_cache_that_cannot_keep_them_says_so(
    cache: ContentCache, source: Path, executor: Disk, function: str
) -> None:
    """Reading goes on without it, and nothing half is believed later."""
    executor.failing = function
    assert not await cache.adopt(IMAGE.id, source, 5, etag="e1")
    executor.failing = ""
    file = await cache.acquire(IMAGE.id, 5)
    assert not file.ranges
    cache.release(file)
    assert source.read_bytes() == b"bytes"


def test_a_crash_in_the_middle_leaves_nothing_to_believe(
    tmp_path: Path, source: Path
) -> None:
    """Data without a sidecar is removed when the directory is opened."""
    directory = tmp_path / "cache"
    path = directory / "ab" / "abcdefg"
    path.parent.mkdir(parents=True)
    os.link(source, path)
    assert disk.scan(directory) == {}
    assert not path.exists()
    assert source.exists()


async def test_adopting_keeps_the_bound(
    tmp_path: Path, source: Path, executor: Disk
) -> None:
    """What does not fit is evicted like anything else."""
    cache = open_cache(tmp_path, executor, most=4)
    assert await cache.adopt(IMAGE.id, source, 5, etag="e1")
    assert cache.statistics()["bytes"] == 0
    cache.close()


# --- What the CDN says ---------------------------------------------------------


async def _identify(
    status: int, headers: dict[str, str], requests: list[httpx.Request] | None = None
) -> Identity:
    def answer(request: httpx.Request) -> httpx.Response:
        if requests is not None:
            requests.append(request)
        return httpx.Response(status, headers=headers)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        cdn = Cdn(
            http=http,
            cdn_url="https://cdn.test",
            cdn_hosts=frozenset({"cdn.test"}),
            clock=TrioClock(epoch_s=1e9),
        )
        return await cdn.identify(IMAGE, lane=Lane.PREFETCH)


async def test_identify_asks_for_no_bytes_and_says_what_is_there() -> None:
    """One HEAD of the class that costs nothing; never webp."""
    requests: list[httpx.Request] = []
    assert await _identify(200, HEADERS, requests) == Identity("e1", 5)
    [request] = requests
    assert request.method == "HEAD"
    assert "webp" not in request.headers["accept"]
    assert request.extensions["imgurfs"].kind is RequestKind.CDN


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (404, {}, ContentGoneError),
        (302, {"location": "https://i.imgur.com/removed.png"}, ContentGoneError),
        (200, HEADERS | {"etag": f'"{REMOVED}"'}, ContentGoneError),
        (302, {"location": "https://elsewhere.test/"}, ContentMismatchError),
        (200, HEADERS | {"content-type": "text/html"}, ContentMismatchError),
        (200, HEADERS | {"content-encoding": "gzip"}, ContentMismatchError),
        (200, {"content-type": "image/png", "etag": '"e1"'}, ContentMismatchError),
        (206, HEADERS, ContentMismatchError),
        (429, {}, ThrottledError),
        (503, {}, OutageError),
    ],
)
async def test_an_answer_that_is_no_image_identifies_nothing(
    status: int, headers: dict[str, str], error: type[ImgurfsError]
) -> None:
    """A placeholder's ETag and length are never taken for the image's."""
    with pytest.raises(error):
        await _identify(status, headers)
