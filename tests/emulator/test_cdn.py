"""The CDN: whole bodies, ranges, validators, thumbnails, what is gone."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from imgurfs.emulator.app import Emulator
from imgurfs.emulator.hosts.cdn import PIECE_BYTES, RangeUnsatisfiableError, parse_range
from imgurfs.emulator.world.content import UNIT_BYTES, Filled, Spliced
from imgurfs.emulator.world.world import Image
from tests.support.emulated import emulate, owner


def first_image(emulator: Emulator) -> Image:
    """Return some image."""
    return next(iter(emulator.world.images.values()))


def whole(image: Image) -> bytes:
    """Return the bytes it stands for."""
    return bytes(image.content.read(0, image.content.size_bytes))


async def test_whole_body_with_its_headers() -> None:
    """The body is the content, the ETag its MD5, and it may be kept for a year."""
    emulator = emulate()
    image = first_image(emulator)
    answer = await owner(emulator).cdn(f"/{image.id}.jpg")
    assert answer.status == 200
    assert answer.body == whole(image)
    digest = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
    assert answer.headers["etag"] == f'"{digest}"'
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["content-type"] == image.type
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "public, max-age=31536000"
    assert answer.headers["last-modified"].endswith("GMT")


async def test_ending_of_the_link_does_not_matter() -> None:
    """Any ending serves the stored bytes with the true type."""
    emulator = emulate()
    image = first_image(emulator)
    for ending in (".png", ".gif", ".jpeg", ".mp4", ""):
        answer = await owner(emulator).cdn(f"/{image.id}{ending}")
        assert (answer.status, answer.headers["content-type"]) == (200, image.type)


async def test_head_tells_without_a_body() -> None:
    """HEAD has the length and no bytes."""
    emulator = emulate()
    image = first_image(emulator)
    answer = await owner(emulator).cdn(f"/{image.id}.jpg", method="HEAD")
    assert answer.headers["content-length"] == str(image.content.size_bytes)
    assert answer.body == b""
    assert emulator.observations.cdn_bytes_sent == 0


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100-", 100, None),
        ("bytes=-5", -5, None),
        ("bytes=5-999999999", 5, None),
        ("bytes=-999999999", 0, None),
    ],
)
async def test_ranges(header: str, start: int, stop: int | None) -> None:
    """Each form of a single range gives that part and says so."""
    emulator = emulate()
    image = first_image(emulator)
    expected = whole(image)[start:stop]
    answer = await owner(emulator).cdn(f"/{image.id}.jpg", Range=header)
    assert (answer.status, answer.body) == (206, expected)
    assert answer.headers["content-length"] == str(len(expected))
    size = image.content.size_bytes
    begin = start if start >= 0 else size + start
    last = begin + len(expected) - 1
    assert answer.headers["content-range"] == f"bytes {begin}-{last}/{size}"


@pytest.mark.parametrize("header", ["bytes=9-3", "items=0-1", "bytes=0-1,3-4", "x"])
async def test_ranges_that_are_not_understood_mean_the_whole(header: str) -> None:
    """Nonsense and several ranges are answered with everything."""
    emulator = emulate()
    image = first_image(emulator)
    answer = await owner(emulator).cdn(f"/{image.id}.jpg", Range=header)
    assert (answer.status, answer.body) == (200, whole(image))


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0"])
async def test_unsatisfiable_range(header: str) -> None:
    """Beyond the end is 416 with the size."""
    emulator = emulate()
    image = first_image(emulator)
    answer = await owner(emulator).cdn(f"/{image.id}.jpg", Range=header)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{image.content.size_bytes}"


async def test_if_none_match_and_if_range() -> None:
    """A known ETag is 304; a range for another version is the whole."""
    emulator = emulate()
    image = first_image(emulator)
    me, path = owner(emulator), f"/{image.id}.jpg"
    etag = f'"{image.content.md5}"'
    for header in (etag, f'"x", {etag}', "*", f"W/{etag}"):
        known = await me.cdn(path, If_None_Match=header)
        assert (known.status, known.body) == (304, b"")
        assert known.headers["etag"] == etag
    assert (await me.cdn(path, If_None_Match='"other"')).status == 200
    same = await me.cdn(path, Range="bytes=0-9", If_Range=etag)
    assert same.status == 206
    other = await me.cdn(path, Range="bytes=0-9", If_Range='"other"')
    assert other.status == 200


@pytest.mark.parametrize(
    "path", ["/aaaaaaa.jpg", "/a.jpg", "/", "/../../etc/passwd", "/aaaaaaas.jpg"]
)
async def test_missing_is_a_redirect_to_removed(path: str) -> None:
    """What is not there is elsewhere: a picture that says so."""
    emulator = emulate(cdn_url="http://i.test:7")
    me = owner(emulator)
    answer = await me.cdn(path)
    assert (answer.status, answer.body) == (302, b"")
    assert answer.headers["location"] == "http://i.test:7/removed.png"
    removed = await me.cdn("/removed.png")
    assert (removed.status, removed.headers["content-type"]) == (200, "image/png")
    Pillow.open(io.BytesIO(removed.body)).verify()


@pytest.mark.parametrize(
    ("suffix", "box"),
    [("s", (90, 90)), ("b", (160, 160)), ("t", (160, 120)), ("m", (320, 240))],
)
async def test_thumbnails(suffix: str, box: tuple[int, int]) -> None:
    """A suffix makes a JPEG of its size, from every kind of picture."""
    emulator = emulate(albums=0, images=3)
    for image in list(emulator.world.images.values())[:3]:
        answer = await owner(emulator).cdn(f"/{image.id}{suffix}.jpg")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
        assert Pillow.open(io.BytesIO(answer.body)).size == box
        again = await owner(emulator).cdn(f"/{image.id}{suffix}.jpg")
        assert again.body == answer.body


async def test_thumbnail_of_a_video_is_drawn() -> None:
    """A film has a still."""
    emulator = emulate(albums=None, images=None)
    video = next(it for it in emulator.world.images.values() if it.is_video)
    answer = await owner(emulator).cdn(f"/{video.id}m.jpg")
    assert Pillow.open(io.BytesIO(answer.body)).size == (320, 180)


async def test_other_methods_are_refused() -> None:
    """The CDN only reads."""
    answer = await owner(emulate()).cdn("/aaaaaaa.jpg", method="DELETE")
    assert answer.status == 405


async def test_large_file_is_consistent_in_whole_and_parts() -> None:
    """The middle of the large file is the middle of the whole."""
    emulator = emulate(albums=None, images=None)
    video = next(it for it in emulator.world.images.values() if it.is_video)
    me, path = owner(emulator), f"/{video.id}.mp4"
    body = (await me.cdn(path)).body
    assert len(body) == video.content.size_bytes > 2 * PIECE_BYTES
    start = 11_000_001
    part = await me.cdn(path, Range=f"bytes={start}-{start + 200_000}")
    assert part.body == body[start : start + 200_001]
    assert body.count(b"unit 100 ") == 1


@given(st.integers(0, 300_000), st.integers(0, 300_000))
def test_filled_content_reads_any_range(one: int, other: int) -> None:
    """Each range equals the slice of the whole."""
    content = Filled(b"head" * 9, size_bytes=300_000)
    everything = bytes(content.read(0, 300_000))
    start, stop = sorted((one, other))
    assert bytes(content.read(start, stop)) == everything[start:stop]
    assert len(everything) == 300_000
    assert everything[36 + UNIT_BYTES :].startswith(b"unit 1 ")


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 20))
def test_spliced_content_reads_any_range(one: int, other: int, position: int) -> None:
    """Each range equals the slice of the whole."""
    base = bytes(range(20))
    content = Spliced(base, position=position, insert=b"-----")
    everything = base[:position] + b"-----" + base[position:]
    start, stop = sorted((one, other))
    assert bytes(content.read(start, stop)) == everything[start:stop]


@given(st.text(alphabet="bytes=-0123456789, ", max_size=20), st.integers(1, 10_000))
def test_parsed_range_is_within_the_size(header: str, size: int) -> None:
    """Whatever is asked, what is served exists."""
    try:
        part = parse_range(header, size)
    except RangeUnsatisfiableError:
        return
    if part is not None:
        assert 0 <= part[0] < part[1] <= size
