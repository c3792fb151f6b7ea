"""imgurfs.writing.judge: names, and what becomes of bytes."""

from __future__ import annotations

import pytest

from imgurfs import limits
from imgurfs.config import MountConfig
from imgurfs.errors import (
    EditError,
    NameTooLongError,
    NotAllowedError,
    NotMediaError,
    NotMediaNameError,
    TooLargeError,
)
from imgurfs.store.drafts import DraftState
from imgurfs.writing.judge import is_temporary, judge, name_problem, size_problem

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
GIF = b"GIF89a"
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"
TEXT = b"Dear diary, "

STRICT = MountConfig()
LOCAL = MountConfig(non_media="keep-local")
LOSSY = MountConfig(lossy="accept")


@pytest.mark.parametrize(
    "name",
    [
        ".photo.jpg.Ab3dEf",  # rsync
        ".goutputstream-XY12Z1",  # GIO
        ".photo.jpg.swp",
        ".DS_Store",
        "photo.jpg~",
        "photo.jpg.part",
        "photo.jpg.PART",
        "Unconfirmed 12345.crdownload",
        "photo.jpg.tmp",
        "photo.jpg_exiftool_tmp",
        "photo.jpg_original",
        "photo.jpg.bak",
        "~$album.jpg",
        "#photo.jpg#",
        "video.mp4.!ut",
    ],
)
def test_names_of_programs_in_the_middle_of_something_are_temporary(name: str) -> None:
    """What programs call so is not uploaded, and may be called so."""
    assert is_temporary(name)
    assert name_problem(name, takes_any=False) is None


@pytest.mark.parametrize(
    "name",
    [
        "photo.jpg",
        "photo",
        "part",
        "a.part.jpg",
        "tmp.png",
        "~",
        "a#b.gif",
        "4913",
        "the_original",
        "photo_original",
        "photo.jpg_original.jpg",
    ],
)
def test_other_names_are_not_temporary(name: str) -> None:
    """A name that only resembles a temporary one is a picture's."""
    assert is_temporary(name) == (name == "~")


def test_nothing_is_said_about_what_is_not_finished() -> None:
    """W12: a content with temporary names stays here, whatever it is."""
    for head in (JPEG, TEXT):
        verdict = judge(head, 9, STRICT, is_scratch=True)
        assert verdict.state is DraftState.SCRATCH
        assert verdict.exception is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("notes.txt", NotMediaNameError),
        ("backup.tar.gz", NotMediaNameError),
        ("song.mp3", NotMediaNameError),
        ("@all", NotAllowedError),
        ("@favorites.jpg", NotAllowedError),
        (".imgurfs", NotAllowedError),
        ("ä" * 128, NameTooLongError),
        ("x" * 252 + ".jpg", NameTooLongError),
    ],
)
def test_names_that_nothing_may_have(name: str, kind: type[EditError]) -> None:
    """A name that no picture has, or that is the drive's own, is refused."""
    assert type(name_problem(name, takes_any=False)) is kind
    local = name_problem(name, takes_any=True)
    assert (local is None) == (kind is NotMediaNameError)


@pytest.mark.parametrize(
    "name",
    [
        "photo.jpg",
        "PHOTO.JPEG",
        "clip.webm",
        "photo",
        "Tour 12.30",
        "v1.2024",
        "a picture. Of something",
        "x" * 251 + ".jpg",
        "мама.png",
    ],
)
def test_names_that_a_picture_may_have(name: str) -> None:
    """A media extension, or none at all, is allowed."""
    assert name_problem(name, takes_any=False) is None


@pytest.mark.parametrize("head", [JPEG, PNG, GIF, MP4])
def test_what_imgur_takes_waits_for_its_upload(head: bytes) -> None:
    """Pictures and videos are uploaded, whatever they are called."""
    verdict = judge(head, 1000, STRICT, is_scratch=False)
    assert verdict.state is DraftState.WAITING
    assert verdict.exception is None


@pytest.mark.parametrize("head", [TEXT, HEIC, b"RIFF\0\0\0\0WEBPVP8 "])
def test_what_imgur_does_not_take_is_refused_or_local(head: bytes) -> None:
    """Bytes decide, not the name: refused with the reason, or kept here."""
    verdict = judge(head, 1000, STRICT, is_scratch=False)
    assert verdict.state is DraftState.REFUSED
    assert isinstance(verdict.exception, NotMediaError)
    assert verdict.error
    assert judge(head, 1000, LOCAL, is_scratch=False).state is DraftState.LOCAL


def test_an_empty_file_is_no_error_yet() -> None:
    """Programs make an empty file first: it is refused without telling them."""
    verdict = judge(b"", 0, STRICT, is_scratch=False)
    assert verdict.state is DraftState.REFUSED
    assert verdict.exception is None
    assert verdict.error == "the file is empty"
    assert judge(b"", 0, LOCAL, is_scratch=False).state is DraftState.LOCAL


@pytest.mark.parametrize("settings", [STRICT, LOCAL, LOSSY])
def test_what_is_too_large_is_refused_whatever_the_settings(
    settings: MountConfig,
) -> None:
    """A still over Imgur's limit is refused, and kept nowhere as if it were fine."""
    verdict = judge(JPEG, limits.STILL_BYTES_MAX + 1, settings, is_scratch=False)
    assert verdict.state is DraftState.REFUSED
    assert isinstance(verdict.exception, TooLargeError)


@pytest.mark.parametrize(
    ("head", "most", "strict"),
    [
        (JPEG, limits.LOSSLESS_STILL_BYTES_MAX, STRICT),
        (PNG, limits.LOSSLESS_STILL_BYTES_MAX, STRICT),
        (GIF, limits.LOSSLESS_GIF_BYTES_MAX, STRICT),
        (JPEG, limits.LOSSLESS_ANONYMOUS_BYTES_MAX, STRICT.without_account()),
        (GIF, limits.LOSSLESS_GIF_BYTES_MAX, STRICT.without_account()),
    ],
)
def test_what_imgur_would_change_is_sent_only_if_asked_for(
    head: bytes, most: int, strict: MountConfig
) -> None:
    """Up to the limit it is sent; above, only with lossy = accept."""
    assert judge(head, most, strict, is_scratch=False).state is DraftState.WAITING
    verdict = judge(head, most + 1, strict, is_scratch=False)
    assert verdict.state is DraftState.REFUSED
    assert isinstance(verdict.exception, TooLargeError)
    assert "lossy" in verdict.error
    assert judge(head, most + 1, LOSSY, is_scratch=False).state is DraftState.WAITING


def test_no_file_grows_beyond_what_imgur_takes() -> None:
    """The largest size is that of a video, unless files may stay here."""
    assert size_problem(limits.VIDEO_BYTES_MAX, STRICT) is None
    assert size_problem(limits.VIDEO_BYTES_MAX + 1, STRICT) is not None
    assert size_problem(limits.VIDEO_BYTES_MAX + 1, LOCAL) is None
