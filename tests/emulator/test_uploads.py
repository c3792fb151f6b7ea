"""What becomes of uploaded bytes: recompression, films, and what the CDN shows."""

from __future__ import annotations

import hashlib
import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from imgurfs.emulator.config import Dialect, EmulatorConfig
from imgurfs.emulator.rules import uploads, wire
from imgurfs.emulator.rules.errors import ApiError
from imgurfs.emulator.world import films, pictures
from tests.support.emulated import ManualClock, Visitor, anonymous, emulate, owner
from tests.support.quirky import PNG, quirky, send

JPEG = pictures.draw_picture("A test", number=1, kind="jpeg", width=64, height=48)
GIF = pictures.draw_picture("A test", number=1, kind="gif", width=64, height=48)
MOVING = pictures.draw_animation("A test", number=1, width=64, height=48)


def padded(data: bytes, size_bytes: int) -> bytes:
    """Return the picture with zeros after its end, which no decoder minds."""
    return data + bytes(size_bytes - len(data))


# --- Recompression ---


@pytest.mark.parametrize("is_anonymous", [True, False])
@pytest.mark.parametrize("picture", [PNG, JPEG], ids=["png", "jpeg"])
async def test_large_stills_come_back_as_smaller_jpeg(
    picture: bytes, is_anonymous: bool, dialect: Dialect
) -> None:
    """Up to the limit bytes are kept; one more, and they are another file."""
    emulator = emulate(dialect=dialect)
    visitor = anonymous(emulator) if is_anonymous else owner(emulator)
    limit = 1_000_000 if is_anonymous else 5_000_000
    exact = padded(picture, limit)
    kept = (await send(visitor, exact)).data
    assert kept["size"] == limit
    assert (await visitor.cdn(f"/{kept['id']}.png")).body == exact
    made = (await send(visitor, exact + b"\0", name="a.png")).data
    assert made["type"] == "image/jpeg"
    assert made["name"] == "a.png"
    assert made["link"].rpartition(".")[2] in {"jpg", "jpeg"}
    served = await visitor.cdn(f"/{made['id']}.png")
    assert served.headers["content-type"] == "image/jpeg"
    assert len(served.body) == made["size"] < limit
    with Pillow.open(io.BytesIO(served.body)) as shown:
        assert shown.format == "JPEG"
        assert shown.size == (made["width"], made["height"])


@pytest.mark.parametrize(
    ("changes", "picture", "is_kept"),
    [
        ({"png_to_jpeg": "off"}, PNG, True),
        ({"png_to_jpeg": "off"}, JPEG, False),
        ({"recompress": "off"}, PNG, False),
        ({"recompress": "off"}, JPEG, True),
        ({"recompress": "gifs"}, MOVING, False),
        ({"recompress": "gifs"}, JPEG, False),
        ({}, MOVING, True),
    ],
)
async def test_recompression_is_switched(
    changes: dict[str, str], picture: bytes, is_kept: bool
) -> None:
    """PNG, the other stills and GIFs have a switch each."""
    me = quirky(**changes)
    sent = padded(picture, 5_000_001)
    made = (await send(me, sent)).data
    served = (await me.cdn(f"/{made['id']}.jpg")).body
    assert (served == sent) is is_kept
    assert made["size"] == len(served)


async def test_small_gif_is_written_anew_with_all_its_frames() -> None:
    """With the quirk other bytes of the same film come back, of the size told."""
    me = quirky(recompress="gifs")
    made = (await send(me, MOVING + b"\0")).data
    served = (await me.cdn(f"/{made['id']}.gif")).body
    assert served != MOVING + b"\0"
    assert len(served) == made["size"]
    before, after = pictures.measure(MOVING), pictures.measure(served)
    assert before == after
    assert before is not None
    assert before.frames > 1


async def test_transparency_becomes_white() -> None:
    """A JPEG has none."""
    clear = Pillow.new("RGBA", (8, 8), (0, 0, 0, 0))
    out = io.BytesIO()
    clear.save(out, "PNG")
    jpeg = pictures.as_jpeg(out.getvalue())
    assert jpeg is not None
    with Pillow.open(io.BytesIO(jpeg)) as shown:
        assert shown.getpixel((4, 4)) == (255, 255, 255)


async def test_a_still_that_cannot_be_decoded_is_kept_as_it_came() -> None:
    """A picture whose head is fine and whose rest is not stays the same bytes."""
    me = owner(emulate())
    sent = padded(JPEG[: len(JPEG) // 3], 5_000_001)
    assert pictures.as_jpeg(sent) is None
    made = (await send(me, sent)).data
    assert (await me.cdn(f"/{made['id']}.jpg")).body == sent


# --- Films ---


def box(name: bytes, body: bytes) -> bytes:
    """Return a box of the ISO container."""
    return struct.pack(">I4s", len(body) + 8, name) + body


def track(width: int, height: int) -> bytes:
    """Return a track whose header tells these dimensions."""
    header = bytes(76) + struct.pack(">II", width << 16, height << 16)
    return box(b"trak", box(b"tkhd", header))


def element(name: str, body: bytes) -> bytes:
    """Return an element of Matroska with an eight-byte length."""
    return bytes.fromhex(name) + b"\1" + len(body).to_bytes(7, "big") + body


def _matroska(kind: bytes) -> bytes:
    video = element("e0", element("b0", b"\x02\x80") + element("ba", b"\x01\xe0"))
    sound = element("ae", element("83", b"\2"))
    tracks = element("1654ae6b", sound + element("ae", video))
    head = element("1a45dfa3", element("4282", kind))
    return head + element("18538067", element("ec", bytes(99)) + tracks)


_MOOV = box(b"moov", box(b"mvhd", bytes(100)) + track(0, 0) + track(640, 480))
_FTYP = box(b"ftyp", b"isom\0\0\2\0mp41")
FILMS = {
    "video/mp4": _FTYP + box(b"mdat", bytes(999)) + _MOOV,
    "video/quicktime": box(b"ftyp", b"qt  \0\0\2\0") + _MOOV,
    "video/webm": _matroska(b"webm"),
    "video/x-matroska": _matroska(b"matroska"),
    "video/x-msvideo": b"RIFF\0\0\0\0AVI LIST\0\0\0\0hdrlavih"
    + struct.pack("<I32xII", 56, 640, 480),
    "video/mpeg": b"\0\0\1\xba" + bytes(8) + b"\0\0\1\xb3\x28\x01\xe0" + bytes(9),
}


@pytest.mark.parametrize("mime", FILMS)
async def test_films_have_the_dimensions_their_container_tells(
    mime: str, dialect: Dialect
) -> None:
    """Each container is known by its bytes, and where it keeps width and height."""
    me = owner(emulate(dialect=dialect))
    made = (await send(me, FILMS[mime])).data
    assert (made["type"], made["width"], made["height"]) == (mime, 640, 480)


def test_a_large_box_has_its_length_elsewhere() -> None:
    """A film of more than 4 GB, or of unknown length, is walked all the same."""
    large = struct.pack(">I4sQ", 1, b"mdat", 16 + 9) + bytes(9)
    open_end = struct.pack(">I4s", 0, b"moov") + track(640, 480)
    data = _FTYP + large + open_end
    assert films.measure(data, mime="video/mp4") == (640, 480)


@given(data=st.binary(max_size=200), mime=st.sampled_from(sorted(FILMS)))
def test_no_bytes_break_the_measuring(data: bytes, mime: str) -> None:
    """Whatever comes after a film's head, the answer is two numbers."""
    for film in (data, FILMS[mime][:40] + data, FILMS[mime][:-9] + data):
        width, height = films.measure(film, mime=mime)
        assert width >= 0
        assert height >= 0


def test_a_million_empty_boxes_are_not_all_looked_at() -> None:
    """Beyond some thousand parts the dimensions count as unknown."""
    data = _FTYP + box(b"free", b"") * 20_000 + _MOOV
    assert films.measure(data, mime="video/mp4") == (0, 0)


@pytest.mark.parametrize(
    ("dialect", "changes", "wait_s"),
    [
        (Dialect.NEW, {}, 5),
        (Dialect.NEW, {"video_processing_s": 60}, 60),
        (Dialect.LEGACY, {"video_processing_s": 60}, 60),
    ],
)
async def test_a_film_is_processed_first(
    dialect: Dialect, changes: dict[str, Any], wait_s: int
) -> None:
    """Pending, without a size or anything to fetch; then completed, with both."""
    clock = ManualClock()
    me = owner(emulate(clock, dialect=dialect, quirk_changes=changes))
    film = FILMS["video/mp4"]
    made = (await send(me, film)).data
    path = f"/3/image/{made['id']}"
    assert made["processing"] == {"status": "pending"}
    assert made["mp4_size"] == 0
    clock.time_s += wait_s - 1
    assert (await me.api("GET", path)).data["processing"] == {"status": "pending"}
    gone = await me.cdn(f"/{made['id']}.mp4")
    assert (gone.status, gone.headers["location"][-12:]) == (302, "/removed.png")
    clock.time_s += 1
    shown = (await me.api("GET", path)).data
    if dialect is Dialect.NEW:
        assert shown["processing"] == {"status": "completed"}
    assert shown["mp4_size"] == len(film)
    assert (await me.cdn(f"/{made['id']}.mp4")).body == film


async def test_nothing_is_processed_where_it_takes_no_time() -> None:
    """The legacy back-end has the film at once, and never speaks of processing."""
    me = owner(emulate())
    made = (await send(me, FILMS["video/mp4"])).data
    assert "processing" not in made
    assert (await me.cdn(f"/{made['id']}.mp4")).status == 200


@pytest.mark.parametrize("value", ["whole", "dot"])
async def test_link_of_a_webm_upload(value: str, dialect: Dialect) -> None:
    """It may end in a bare dot, but only in the answer to the upload."""
    me = quirky(dialect, webm_link=value)
    made = (await send(me, FILMS["video/webm"])).data
    whole = f"http://i.imgur.test/{made['id']}.webm"
    assert made["link"] == (whole if value == "whole" else whole[:-4])
    shown = (await me.api("GET", f"/3/image/{made['id']}")).data
    assert shown["link"] == whole


async def test_link_of_a_very_large_animation_is_a_still(dialect: Dialect) -> None:
    """Above 20 MB the model links a thumbnail, which is not the animation."""
    me = owner(emulate(dialect=dialect))
    exact = (await send(me, padded(MOVING, wire.LARGE_GIF_BYTES))).data
    assert exact["link"].endswith(f"/{exact['id']}.gif")
    made = (await send(me, padded(MOVING, wire.LARGE_GIF_BYTES + 1))).data
    assert made["link"].endswith(f"/{made['id']}h.gif")
    still = await me.cdn(f"/{made['id']}h.gif")
    assert still.headers["content-type"] == "image/jpeg"
    whole = await me.cdn(f"/{made['id']}.gif")
    assert len(whole.body) == made["size"]


def test_size_limit_of_what_moves() -> None:
    """Two hundred million bytes of film are taken, one more is not."""
    film = _FTYP + bytes(200_000_001 - len(_FTYP))
    quirks = EmulatorConfig().quirks
    with pytest.raises(ApiError, match="File is over the size limit"):
        uploads.inspect(film, quirks=quirks, is_anonymous=True)
    taken = uploads.inspect(film[:-1], quirks=quirks, is_anonymous=True)
    assert taken.content.size_bytes == 200_000_000


# --- The CDN ---


async def shown(visitor: Visitor, path: str, accept: str) -> tuple[str, bytes]:
    """Return type and bytes of a picture for somebody who accepts some types."""
    answer = await visitor.cdn(path, Accept=accept)
    assert answer.status == 200
    assert answer.headers["content-length"] == str(len(answer.body))
    digest = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
    assert answer.headers["etag"] == f'"{digest}"'
    return answer.headers["content-type"], answer.body


@pytest.mark.parametrize("picture", [PNG, JPEG], ids=["png", "jpeg"])
async def test_webp_for_whoever_accepts_it(picture: bytes) -> None:
    """Browsers get WebP under any ending, and ranges of it; everybody else the file."""
    me = owner(emulate())
    path = f"/{(await send(me, picture)).data['id']}.png"
    mime, body = await shown(me, path, "image/avif,image/webp,*/*;q=0.8")
    assert mime == "image/webp"
    assert body[:4] + body[8:12] == b"RIFFWEBP"
    part = await me.cdn(path, Accept="image/webp", Range="bytes=8-11")
    assert (part.status, part.body) == (206, b"WEBP")
    assert part.headers["vary"] == "accept"
    for accept in ("*/*", "image/*", ""):
        assert (await shown(me, path, accept))[1] == picture


async def test_webp_is_not_made_of_everything() -> None:
    """Neither of animations nor with the quirk off."""
    me, without = owner(emulate()), quirky(webp="off")
    gif = f"/{(await send(me, GIF)).data['id']}.gif"
    assert await shown(me, gif, "image/webp") == ("image/gif", GIF)
    png = f"/{(await send(without, PNG)).data['id']}.png"
    assert await shown(without, png, "image/webp") == ("image/png", PNG)
    assert "vary" not in (await without.cdn(png)).headers


async def test_region_block_shows_one_picture_for_everything() -> None:
    """200 and a placeholder, whatever is asked for; the API is as ever."""
    me = quirky(region_block="on")
    made = (await send(me)).data
    paths = [f"/{made['id']}.png", f"/{made['id']}s.jpg", "/zzzzzzz.gif"]
    answers = [await me.cdn(path) for path in paths]
    assert {it.status for it in answers} == {200}
    assert len({it.body for it in answers}) == 1
    assert answers[0].body != PNG
    assert answers[0].headers["content-type"] == "image/png"
    measured = pictures.measure(answers[0].body)
    assert measured == pictures.Measured(336, 478, 1)


async def test_removed_picture_has_the_size_it_is_known_by() -> None:
    """A redirect, then 503 bytes of PNG with their MD5 as the ETag."""
    me = owner(emulate())
    answer = await me.cdn("/zzzzzzz.jpg")
    assert answer.status == 302
    assert answer.headers["location"] == "http://i.imgur.test/removed.png"
    mime, body = await shown(me, "/removed.png", "*/*")
    assert (mime, len(body)) == ("image/png", 503)
    with Pillow.open(io.BytesIO(body)) as picture:
        picture.load()
        assert picture.size == (161, 81)
