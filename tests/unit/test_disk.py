"""What jobs learn of local files: their type, their size, whether they hold still."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imgurfs import limits
from imgurfs.jobs import disk
from imgurfs.store.synced import Folder, FolderId
from tests.support.jobbing import picture


@pytest.mark.parametrize(
    ("brand", "expected"),
    [
        (b"heic", "image/heic"),
        (b"heix", "image/heic"),
        (b"hevc", "image/heic"),
        (b"mif1", "image/heic"),
        (b"msf1", "image/heic"),
        (b"avif", "image/avif"),
        (b"avis", "image/avif"),
        (b"crx ", "image/x-canon-cr3"),
        (b"M4A ", "audio/mp4"),
        (b"isom", ""),
        (b"qt  ", ""),
        (b"avc1", ""),
        (b"M4V ", ""),
    ],
)
def test_what_shares_a_container_is_told_apart(brand: bytes, expected: str) -> None:
    """Stills and sound in the container of films are refused here, films are not."""
    head = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0isom" + brand + bytes(100)
    found = disk.refusal(head, 1000)
    assert found == (f"Imgur does not take {expected}" if expected else "")


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"n" * 255, b"line\nbreak.gif"])
def test_any_name_the_disk_allows_is_examined(tmp_path: Path, name: bytes) -> None:
    """Names that are not UTF-8, or as long as they may be, are read like others."""
    path = bytes(tmp_path) + b"/" + name
    disk.as_path(path).write_bytes(picture("x"))
    found = disk.examine(path)
    assert isinstance(found, disk.Examined)
    assert found.size_bytes == len(picture("x"))


def test_a_large_film_is_refused_without_reading_it(tmp_path: Path) -> None:
    """A film over the limit (here with a hole of 4 GB) is judged by its length."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")
    os.truncate(path, 4 * 1024 * limits.MIB)
    assert "larger than Imgur takes" in disk.inspect(bytes(path))
    assert "larger than Imgur takes" in str(disk.examine(bytes(path)))


def test_what_took_a_files_place_is_a_reason(tmp_path: Path) -> None:
    """A folder where a file was, and a file where its folder was, are no errors."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.gif").write_bytes(picture("x"))
    folder = str(disk.examine(bytes(tmp_path / "folder")))
    assert folder == "the file cannot be read: Is a directory"
    assert disk.examine(bytes(tmp_path / "file.gif" / "x")) == "the file is gone"


def test_absence_is_believed_on_the_same_disk_only(tmp_path: Path) -> None:
    """A gone file counts in the folder it was in; elsewhere nobody knows."""
    found = tmp_path.stat()
    folder = Folder(FolderId(1), bytes(tmp_path), found.st_dev, found.st_ino)
    (tmp_path / "there.gif").write_bytes(b"x")
    there = disk.presence(folder, b"there.gif", found.st_dev)
    gone = disk.presence(folder, b"deep/gone.gif", found.st_dev)
    elsewhere = disk.presence(folder, b"gone.gif", found.st_dev + 1)
    other = Folder(FolderId(1), bytes(tmp_path), found.st_dev, found.st_ino + 1)
    assert there is disk.Presence.PRESENT
    assert gone is disk.Presence.ABSENT
    assert elsewhere is disk.Presence.UNCERTAIN
    assert disk.presence(other, b"there.gif", found.st_dev) is disk.Presence.UNCERTAIN
