"""imgurfs.content.fetch and cdn: each part once, and nothing that is not the image."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import trio
from trio.testing import MockClock

from imgurfs.clock import TrioClock
from imgurfs.content.cache import ContentCache
from imgurfs.content.fetch import Fetcher, Sequence
from imgurfs.errors import (
    ContentGoneError,
    ContentMismatchError,
    ImgurfsError,
    OutageError,
    ThrottledError,
)
from imgurfs.executor import InlineExecutor
from imgurfs.limits import CHUNK_BYTES, DOWNLOAD_ATTEMPTS_MAX, READ_AHEAD_BYTES_MAX
from imgurfs.model import Image, RequestClass, RequestKind
from tests.support.fakecdn import CONTENT, HOST, IMAGE, Body, Change, FakeCdn


@dataclass
class Bench:
    """A fetcher over a fake CDN."""

    cdn: FakeCdn
    fetcher: Fetcher
    cache: ContentCache
    learned: list[int]


@asynccontextmanager
async def a_bench(directory: Path, *, hosts: frozenset[str]) -> AsyncIterator[Bench]:
    """Set a bench up; everything is closed at the end."""
    learned: list[int] = []

    async def learn(_: Image, size_bytes: int) -> None:
        await trio.lowlevel.checkpoint()
        learned.append(size_bytes)

    cdn, clock = FakeCdn(), TrioClock(epoch_s=1e9)
    async with AsyncExitStack() as stack:
        cache = ContentCache.open(
            directory, size_bytes_max=10**9, executor=InlineExecutor(), clock=clock
        )
        stack.callback(cache.close)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=cdn))
        fetcher = Fetcher(
            cache=cache,
            http=http,
            cdn_url=f"https://{HOST}",
            cdn_hosts=hosts,
            clock=clock,
            learn_size=learn,
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        await nursery.start(fetcher.run)
        yield Bench(cdn, fetcher, cache, learned)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench in virtual time."""
    async with a_bench(tmp_path / "content", hosts=frozenset({HOST})) as made:
        yield made


async def test_a_read_downloads_its_chunk_and_no_other(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Reading the middle of a file downloads the middle."""
    offset = 5 * CHUNK_BYTES + 17
    assert (
        await bench.fetcher.read(IMAGE, offset, 100) == CONTENT[offset : offset + 100]
    )
    assert bench.cdn.starts == [5]


async def test_what_was_read_is_read_again_without_a_request(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """The cache answers the second time."""
    first = await bench.fetcher.read(IMAGE, 10, 100)
    assert await bench.fetcher.read(IMAGE, 10, 100) == first
    assert bench.cdn.starts == [0]


async def test_the_end_of_the_file_is_short(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Only at its end a file gives fewer bytes than asked for."""
    end = len(CONTENT)
    assert await bench.fetcher.read(IMAGE, end - 5, 100) == CONTENT[-5:]
    assert await bench.fetcher.read(IMAGE, end, 100) == b""
    assert await bench.fetcher.read(IMAGE, end + 99, 100) == b""


async def test_a_read_across_chunks_is_one_piece(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Chunk borders do not show."""
    offset = CHUNK_BYTES - 50
    length = CHUNK_BYTES + 100
    got = await bench.fetcher.read(IMAGE, offset, length)
    assert got == CONTENT[offset : offset + length]
    assert sorted(bench.cdn.starts) == [0, 1, 2]


async def test_many_readers_share_one_download(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Twenty readers at once: one request for each chunk."""
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(
                bench.fetcher.read, IMAGE, number * 1_000, 2 * CHUNK_BYTES
            )
    assert sorted(bench.cdn.starts) == [0, 1, 2]


async def test_a_reader_that_gives_up_takes_nothing_from_the_others(
    autojump_clock: MockClock,
    bench: Bench,
) -> None:
    """The download belongs to nobody's deadline."""
    bench.cdn.latency_s = 5
    with trio.move_on_after(1) as scope:
        await bench.fetcher.read(IMAGE, 0, 10)
    assert scope.cancelled_caught
    started = trio.current_time()
    assert await bench.fetcher.read(IMAGE, 0, 10) == CONTENT[:10]
    assert trio.current_time() - started == pytest.approx(4)
    assert bench.cdn.starts == [0]


async def test_sequential_reading_is_read_ahead_within_the_bound(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """The further somebody reads on, the more is fetched before it is asked for."""
    sequence = Sequence()
    furthest = []
    for offset in range(0, 4 * CHUNK_BYTES, 128 * 1024):
        await bench.fetcher.read(IMAGE, offset, 128 * 1024, sequence=sequence)
        furthest.append(max(bench.cdn.starts))
    assert furthest[0] == 0
    assert furthest[-1] >= 6
    assert (furthest[-1] - 3) * CHUNK_BYTES <= READ_AHEAD_BYTES_MAX
    assert len(set(bench.cdn.starts)) == len(bench.cdn.starts)


async def test_jumping_about_is_not_read_ahead(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Looks at distant places fetch these places only."""
    sequence = Sequence()
    for chunk in (9, 2, 6):
        await bench.fetcher.read(IMAGE, chunk * CHUNK_BYTES, 1_000, sequence=sequence)
    assert bench.cdn.starts == [9, 2, 6]


async def test_requests_are_cdn_requests_without_a_token_or_webp(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """No Authorization, no webp, and the class the budget wants."""
    await bench.fetcher.read(IMAGE, 0, 10)
    (request,) = bench.cdn.requests
    assert "authorization" not in request.headers
    assert "webp" not in request.headers["accept"]
    cost = request.extensions["imgurfs"]
    assert isinstance(cost, RequestClass)
    assert cost.kind is RequestKind.CDN


def with_headers(**headers: str) -> Change:
    """Change headers of the answer; names with _ for -."""

    def change(response: httpx.Response) -> httpx.Response:
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    return change


def instead(status: int, **headers: str) -> Change:
    """Put another answer in place."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, headers=named, stream=Body(b"<html>"))


def cut(response: httpx.Response) -> httpx.Response:
    """Send less than promised."""
    assert isinstance(response.stream, Body)
    response.stream = Body(response.stream.data[:-1])
    return response


def longer(response: httpx.Response) -> httpx.Response:
    """Send more than promised."""
    assert isinstance(response.stream, Body)
    response.stream = Body(response.stream.data + b"!")
    return response


REMOVED = "d835884373f4d6c8f24742ceabe74946"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (instead(302, location=f"https://{HOST}/removed.png"), ContentGoneError),
        (instead(302, location="https://elsewhere.test/x"), ContentMismatchError),
        (instead(404), ContentGoneError),
        (with_headers(etag=f'"{REMOVED}"'), ContentGoneError),
        (instead(200, etag=f'"{REMOVED}"'), ContentGoneError),
        (instead(200, content_type="image/jpeg"), ContentMismatchError),
        (instead(206, content_type="image/jpeg"), ContentMismatchError),
        (with_headers(content_type="text/html"), ContentMismatchError),
        (with_headers(content_encoding="gzip"), ContentMismatchError),
        (with_headers(content_length="10"), ContentMismatchError),
        (with_headers(content_range="bytes 0-99/100"), ContentMismatchError),
        (with_headers(content_range="bytes 5-9/12800000"), ContentMismatchError),
        (with_headers(content_range="nonsense"), ContentMismatchError),
        (instead(416), ContentMismatchError),
        (longer, ContentMismatchError),
        (instead(429, retry_after="7"), ThrottledError),
    ],
)
async def test_what_is_not_the_image_is_an_error_and_never_cached(
    autojump_clock: MockClock, bench: Bench, change: Change, error: type[ImgurfsError]
) -> None:
    """A placeholder, a page or the wrong part is refused at once; nothing is kept."""
    bench.cdn.changes = [change]
    with pytest.raises(error):
        await bench.fetcher.read(IMAGE, 0, 10)
    assert bench.cdn.starts == [0]
    assert bench.cache.statistics()["bytes"] == 0
    assert await bench.fetcher.read(IMAGE, 0, 10) == CONTENT[:10]


@pytest.mark.parametrize("change", [cut, instead(503)])
async def test_an_outage_is_tried_again(
    autojump_clock: MockClock, bench: Bench, change: Change
) -> None:
    """A cut body or a 5xx is tried again; the reader notices only the time."""
    bench.cdn.changes = [change] * (DOWNLOAD_ATTEMPTS_MAX - 1)
    assert await bench.fetcher.read(IMAGE, 0, 10) == CONTENT[:10]
    assert bench.cdn.starts == [0] * DOWNLOAD_ATTEMPTS_MAX


@pytest.mark.parametrize("change", [cut, instead(503)])
async def test_an_outage_that_lasts_is_an_error(
    autojump_clock: MockClock, bench: Bench, change: Change
) -> None:
    """The attempts are bounded, and what came is not kept."""
    bench.cdn.changes = [change] * DOWNLOAD_ATTEMPTS_MAX
    with pytest.raises(OutageError):
        await bench.fetcher.read(IMAGE, 0, 10)
    assert bench.cache.statistics()["bytes"] == 0


async def test_another_etag_starts_the_file_anew(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Bytes of two versions never make one file."""
    await bench.fetcher.read(IMAGE, 0, 10)
    bench.cdn.etag, bench.cdn.content = "e2", bytes(len(CONTENT))
    assert await bench.fetcher.read(IMAGE, CHUNK_BYTES, 10) == bytes(10)
    assert await bench.fetcher.read(IMAGE, 0, 10) == bytes(10)


async def test_one_read_never_mixes_two_versions(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """When the version changes between two chunks of one read, it is read again."""
    await bench.fetcher.read(IMAGE, 0, 10)
    bench.cdn.etag, bench.cdn.content = "e2", bytes(len(CONTENT))
    got = await bench.fetcher.read(IMAGE, CHUNK_BYTES - 5, 10)
    assert got == bytes(10)


async def test_an_unknown_size_is_learned_with_the_first_chunk(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """R18: one request tells the size and brings the beginning."""
    image = replace(IMAGE, size_bytes=0)
    assert await bench.fetcher.size(image) == len(CONTENT)
    assert bench.learned == [len(CONTENT)]
    assert await bench.fetcher.read(image, 0, 10) == CONTENT[:10]
    assert bench.cdn.starts == [0]


async def test_a_picture_instead_of_a_video_is_a_placeholder(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Without a size to compare, the kind of the content has to fit."""
    image = replace(IMAGE, size_bytes=0, type="video/mp4")
    with pytest.raises(ContentMismatchError):
        await bench.fetcher.size(image)
    assert bench.learned == []


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.test/a.jpg",
        f"ftp://{HOST}/a.jpg",
        f"https://{HOST}@elsewhere.test/a.jpg",
        f"https://{HOST}.elsewhere.test/a.jpg",
        "",
        "https://[/",
    ],
)
async def test_a_link_to_another_host_is_not_followed(
    autojump_clock: MockClock, bench: Bench, link: str
) -> None:
    """Only hosts of the configuration are asked for bytes."""
    with pytest.raises(ContentMismatchError):
        await bench.fetcher.read(replace(IMAGE, link=link), 0, 10)
    assert not bench.cdn.requests


async def test_without_a_disk_each_chunk_still_comes_once(
    autojump_clock: MockClock, bench: Bench, tmp_path: Path
) -> None:
    """A second mount, or a full disk: slower, but right."""
    async with a_bench(tmp_path / "content", hosts=frozenset({HOST})) as other:
        for offset in range(0, CHUNK_BYTES, 128 * 1024):
            got = await other.fetcher.read(IMAGE, offset, 128 * 1024)
            assert got == CONTENT[offset : offset + 128 * 1024]
        assert other.cdn.starts == [0]
