"""Real pictures with something to look at, drawn by Pillow, and thumbnails of them.

Pure functions from words and numbers to bytes: the same arguments give the same
bytes. Nothing is kept here except fonts, which Pillow carries itself.
"""

from __future__ import annotations

import colorsys
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

from imgurfs.emulator.world.content import Spliced

Kind = Literal["jpeg", "png", "gif"]
KINDS: tuple[Kind, ...] = ("jpeg", "png", "gif")

#: Thumbnail suffixes: the longest side in pixels; "s" and "b" are cropped squares.
THUMBNAIL_PIXELS = {"s": 90, "b": 160, "t": 160, "m": 320, "l": 640, "h": 1024}
_SQUARE = frozenset("sb")
#: More pixels than this are not decoded for a thumbnail (a bomb guard).
_PIXELS_MAX = 60_000_000
_FRAMES = 8
REMOVED_BYTES = 503
#: After the signature and IHDR, whose lengths are fixed.
_AFTER_PNG_HEAD = 33


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _colour(number: int, *, lightness: float) -> tuple[int, int, int]:
    # The golden angle: neighbours differ, and the sequence hardly repeats.
    hue = (number * 0.381966) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.6)
    return int(red * 255), int(green * 255), int(blue * 255)


def _canvas(
    title: str, *, number: int, width: int, height: int, phase: int
) -> Image.Image:
    gradient = Image.linear_gradient("L").resize((width, height))
    canvas = ImageOps.colorize(
        gradient,
        black=_colour(number, lightness=0.75),
        white=_colour(number + 5, lightness=0.25),
    )
    draw = ImageDraw.Draw(canvas)
    radius = height // 6
    for step in range(6):
        x = (step * 2 + 1) * width // 12 + (phase * width // (12 * _FRAMES))
        y = height // 2 + ((step * 7 + number * 3) % 5 - 2) * height // 9
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=_colour(number + step * 2 + 1, lightness=0.55),
            outline="white",
            width=3,
        )
    size = max(14, height // 12)
    printable = "".join(c if c.isprintable() else " " for c in title)[:40]
    band = height - size * 2
    draw.rectangle((0, band, width, height), fill=(20, 20, 24))
    draw.text((size // 2, band + size // 3), printable, fill="white", font=_font(size))
    return canvas


@lru_cache(maxsize=64)
def draw_picture(
    title: str, *, number: int, kind: Kind, width: int = 640, height: int = 480
) -> bytes:
    """Return a picture file that shows its title."""
    canvas = _canvas(title, number=number, width=width, height=height, phase=0)
    out = io.BytesIO()
    if kind == "gif":
        canvas.quantize(64).save(out, "GIF")
    elif kind == "png":
        canvas.save(out, "PNG", compress_level=1)
    else:
        canvas.save(out, "JPEG", quality=85)
    return out.getvalue()


def draw_animation(title: str, *, number: int, width: int, height: int) -> bytes:
    """Return an animated GIF that shows its title."""
    frames = [
        _canvas(title, number=number, width=width, height=height, phase=phase).quantize(
            32
        )
        for phase in range(_FRAMES)
    ]
    out = io.BytesIO()
    frames[0].save(
        out, "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0
    )
    return out.getvalue()


def _text_chunk(text: bytes) -> bytes:
    body = b"tEXtComment\0" + text
    length = struct.pack(">I", len(body) - 4)
    return length + body + struct.pack(">I", zlib.crc32(body))


def splice_comment(base: bytes, *, kind: Kind, comment: bytes) -> Spliced:
    """Return the picture with a comment of its own; it stays a valid file.

    ``comment`` has at most 255 bytes (one GIF sub-block).
    """
    assert len(comment) <= 255
    if kind == "jpeg":
        segment = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
        return Spliced(base, position=2, insert=segment)
    if kind == "png":
        chunk = _text_chunk(comment)
        return Spliced(base, position=_AFTER_PNG_HEAD, insert=chunk)
    assert base.endswith(b";")
    extension = b"\x21\xfe" + bytes([len(comment)]) + comment + b"\0"
    return Spliced(base, position=len(base) - 1, insert=extension)


def large_video_head(size_bytes: int) -> bytes:
    """Return the boxes an MP4 of this size starts with: ftyp, then mdat to the end.

    What follows is not a film: no player shows it. It has a video's size and type.
    """
    brands = b"isom\0\0\2\0isomiso2mp41"
    file_type = struct.pack(">I", len(brands) + 8) + b"ftyp" + brands
    rest = size_bytes - len(file_type)
    return file_type + b"\0\0\0\1mdat" + struct.pack(">Q", rest)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a picture's own header says. ``frames`` is 1 for a still."""

    width: int
    height: int
    frames: int


#: Pillow's plugins raise what their parsers happen to raise on damaged files.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, OverflowError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def measure(data: bytes) -> Measured | None:
    """Return the dimensions of a picture, None when no picture can be read there."""
    formats = ("JPEG", "PNG", "GIF", "TIFF")
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data), formats=formats) as it,
        ):
            return Measured(it.width, it.height, int(getattr(it, "n_frames", 1)))
    except _DAMAGED:
        return None


def thumbnail(data: bytes, *, suffix: str) -> bytes | None:
    """Return a JPEG of the size a suffix stands for, None when ``data`` is unreadable.

    Never larger than the original.
    """
    pixels = THUMBNAIL_PIXELS[suffix]
    measured = measure(data)
    if measured is None or measured.width * measured.height > _PIXELS_MAX:
        return None
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data)) as picture,
        ):
            picture.draft("RGB", (pixels, pixels))
            small = picture.convert("RGB")
    except _DAMAGED:
        return None
    if suffix in _SQUARE:
        small = ImageOps.fit(small, (pixels, pixels))
    else:
        small.thumbnail((pixels, pixels))
    return _jpeg(small)


def video_thumbnail(title: str, *, suffix: str) -> bytes:
    """Return what stands for a film: a drawn still of the size asked for."""
    pixels = THUMBNAIL_PIXELS[suffix]
    height = pixels if suffix in _SQUARE else pixels * 9 // 16
    return _jpeg(_canvas(title, number=0, width=pixels, height=height, phase=0))


@cache
def removed_picture() -> bytes:
    """Return the picture the CDN shows in place of one that is gone.

    As many bytes as Imgur's, by which some clients know it; not the same bytes.
    """
    canvas = Image.new("1", (161, 81), 0)
    draw = ImageDraw.Draw(canvas)
    draw.text((10, 20), "the image you are", fill=1, font=_font(14))
    draw.text((10, 40), "requesting is gone", fill=1, font=_font(14))
    return _padded_png(canvas, size_bytes=REMOVED_BYTES)


@cache
def region_picture() -> bytes:
    """Return what the CDN shows of everything where Imgur is not available."""
    canvas = Image.new("L", (336, 478), 34)
    draw = ImageDraw.Draw(canvas)
    draw.text((40, 200), "Content not available", fill=160, font=_font(24))
    draw.text((40, 240), "in your region", fill=160, font=_font(24))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


def _padded_png(canvas: Image.Image, *, size_bytes: int) -> bytes:
    out = io.BytesIO()
    canvas.save(out, "PNG", optimize=True)
    data = out.getvalue()
    padding = b" " * (size_bytes - len(data) - len(_text_chunk(b"")))
    return data[:_AFTER_PNG_HEAD] + _text_chunk(padding) + data[_AFTER_PNG_HEAD:]


def as_jpeg(data: bytes) -> bytes | None:
    """Return the picture written anew as a JPEG, None when it cannot be read.

    Transparency becomes white.
    """
    picture = _opened(data)
    if picture is None:
        return None
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Image.new("RGBA", clear.size, "white")
        picture.alpha_composite(clear)
    return _jpeg(picture.convert("RGB"))


def as_webp(data: bytes) -> bytes | None:
    """Return the picture as WebP, None when it cannot be read."""
    picture = _opened(data)
    if picture is None:
        return None
    out = io.BytesIO()
    picture.convert("RGBA" if picture.has_transparency_data else "RGB").save(
        out, "WEBP", quality=80, method=0
    )
    return out.getvalue()


def gif_anew(data: bytes) -> bytes | None:
    """Return a GIF with all its frames written anew, None when it cannot be read."""
    out = io.BytesIO()
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data), formats=("GIF",)) as picture,
        ):
            picture.save(out, "GIF", save_all=True, optimize=True)
    except _DAMAGED:
        return None
    return out.getvalue()


def _opened(data: bytes) -> Image.Image | None:
    measured = measure(data)
    if measured is None or measured.width * measured.height > _PIXELS_MAX:
        return None
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data)) as picture,
        ):
            picture.load()
            return picture
    except _DAMAGED:
        return None


def _jpeg(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return out.getvalue()
