"""Programs that change pictures: in place, by rename, in pieces, through temporary
files.

On a plain directory first, then on the drive; ``settle`` compares the account with what
the user sees, by the bytes.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.support.programs import DriveGround, Ground, contents, picture, run


@pytest.fixture
def album(ground: Ground, request: pytest.FixtureRequest) -> Path:
    """Return an album of this test's own, in which nothing is."""
    place = ground.top / f"Album of {request.node.originalname}"
    place.mkdir()
    return place


def put(ground: Ground, path: Path, *, kind: str = "PNG", side: int = 32) -> bytes:
    """Put a picture onto the drive, and wait until it is uploaded."""
    data = picture(str(path.relative_to(ground.top)), kind=kind, side=side)
    path.write_bytes(data)
    ground.settle()
    return data


def test_dd(ground: Ground, album: Path, tmp_path: Path) -> None:
    """W8, W18: ``dd`` in small blocks writes a file that is uploaded once, and
    ``conv=notrunc`` changes the middle of an uploaded one.
    """
    data = picture("dd", side=64)
    (tmp_path / "in").write_bytes(data)
    target = album / "dd.png"
    run("dd", f"if={tmp_path}/in", f"of={target}", "bs=1000", "status=none")
    ground.settle()
    ground.expect_uploads(1)
    middle = ("bs=1", "seek=6000", "conv=notrunc", "status=none")
    run("dd", f"of={target}", *middle, stdin=b"in the middle")
    expected = data[:6000] + b"in the middle" + data[6013:]
    assert target.read_bytes() == expected
    ground.settle()
    assert target.read_bytes() == expected
    ground.expect_uploads(2)


def test_truncate(ground: Ground, album: Path) -> None:
    """W8, W18: ``truncate`` lengthens with zeros and shortens; back at the same
    content it is not sent again.
    """
    target = album / "long.png"
    data = put(ground, target)
    run("truncate", "-s", "+5000", target)
    assert target.read_bytes() == data + bytes(5000)
    run("truncate", "-s", "-5000", target)
    assert target.read_bytes() == data
    ground.settle()
    ground.expect_uploads(1)
    run("truncate", "-s", "+10", target)
    ground.settle()
    assert target.read_bytes() == data + bytes(10)
    ground.expect_uploads(2)


def test_append(ground: Ground, album: Path) -> None:
    """W18: Two programs that append to an uploaded file both find their bytes in it."""
    target = album / "grows.jpg"
    data = put(ground, target, kind="JPEG")
    with target.open("ab", buffering=0) as one, target.open("ab", buffering=0) as two:
        one.write(b"first")
        two.write(b"second")
        one.write(b"third")
    assert target.read_bytes() == data + b"firstsecondthird"
    ground.settle()
    assert target.read_bytes() == data + b"firstsecondthird"
    ground.expect_uploads(2)


def test_mogrify(ground: Ground, album: Path) -> None:
    """W8: ImageMagick's ``mogrify`` changes an uploaded picture in place."""
    target = album / "shrinks.png"
    put(ground, target, side=64)
    run("mogrify", "-resize", "50%", target)
    ground.settle()
    with Image.open(target) as image:
        assert image.size == (32, 32)
    assert contents(album).keys() == {"shrinks.png"}
    ground.expect_uploads(2)


def test_exiftool(ground: Ground, album: Path) -> None:
    """W8: ``exiftool -overwrite_original`` changes the metadata of an uploaded one."""
    target = album / "tagged.jpg"
    put(ground, target, kind="JPEG", side=64)
    command = ("exiftool", "-q", "-overwrite_original", "-Artist=Somebody")
    run(*command, target)
    ground.settle()
    assert run("exiftool", "-s3", "-Artist", target) == "Somebody\n"
    assert contents(album).keys() == {"tagged.jpg"}
    ground.expect_uploads(2)


def test_exiftool_with_a_copy(ground: Ground, album: Path) -> None:
    """W8, W12: Without that option the old picture stays beside the new one, by the
    name ``…_original``, until it is deleted.
    """
    target = album / "kept.jpg"
    data = put(ground, target, kind="JPEG", side=64)
    run("exiftool", "-q", "-Artist=Somebody", target)
    assert (album / "kept.jpg_original").read_bytes() == data
    assert run("exiftool", "-s3", "-Artist", target) == "Somebody\n"
    ground.settle()
    if isinstance(ground, DriveGround):
        assert not ground.titles(album.name), "a temporary name is no title"
    (album / "kept.jpg_original").unlink()
    ground.settle()
    assert contents(album).keys() == {"kept.jpg"}
    ground.expect_uploads(2)


def _save_over(target: Path, data: bytes) -> None:
    """Save as GLib, gedit and most others do: a temporary file, renamed over."""
    temporary = target.with_name(".goutputstream-A1B2C3")
    _write_synced(temporary, data)
    temporary.rename(target)


def _save_with_backup(target: Path, data: bytes) -> None:
    """Save as vim does with backups: the old one aside, a new file, the old removed."""
    backup = target.with_name(target.name + "~")
    target.rename(backup)
    _write_synced(target, data)
    backup.unlink()


def _save_in_place(target: Path, data: bytes) -> None:
    """Save as nano does: the same file, emptied and written."""
    with target.open("r+b") as file:
        file.truncate(0)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _save_by_gio(target: Path, data: bytes) -> None:
    """Save by GLib itself."""
    run("gio", "save", target, stdin=data)


def _save_by_vim(target: Path, data: bytes) -> None:
    """Save by vim itself, as it is set up when nobody has set anything."""
    source = target.with_name(".from.vim")
    source.write_bytes(data)
    # In temporary directories it would make no backups.
    commands = ("set backupskip=", "%d _", f"0read ++bin {source.name}", "wq")
    arguments = [part for command in commands for part in ("-c", command)]
    run("vim.tiny", "-es", "-b", *arguments, target.name, cwd=target.parent)
    source.unlink()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


SAVES: dict[str, Callable[[Path, bytes], None]] = {
    "over": _save_over,
    "with backup": _save_with_backup,
    "in place": _save_in_place,
    "gio": _save_by_gio,
    "vim": _save_by_vim,
}


@pytest.mark.parametrize("how", SAVES)
def test_an_editor_saves(ground: Ground, tmp_path: Path, how: str) -> None:
    """W8: However an editor saves, also twice in a row, one picture is there
    afterwards, with the new bytes, sent once; saving the same again sends nothing.
    """
    album = ground.top / f"Edited {how}"
    album.mkdir()
    target = album / "edited.png"
    put(ground, target)
    SAVES[how](target, picture(f"saved too early {how}", side=40))
    new = picture(f"saved {how}")
    SAVES[how](target, new)
    assert contents(album) == {"edited.png": new}
    ground.settle()
    assert contents(album) == {"edited.png": new}
    ground.expect_uploads(2)
    SAVES[how](target, new)
    ground.settle()
    assert contents(album) == {"edited.png": new}
    ground.expect_uploads(2)


def test_a_download(ground: Ground, album: Path) -> None:
    """W12: A browser's download is sent when it gets its name, not before."""
    data = picture("downloaded", side=64)
    part = album / "Unconfirmed 4711.crdownload"
    with part.open("wb", buffering=0) as file:
        for start in range(0, len(data), 4096):
            file.write(data[start : start + 4096])
            os.fsync(file.fileno())
    assert contents(album) == {part.name: data}
    if ground.is_drive:
        assert os.getxattr(part, "user.imgurfs.state") == b"scratch"
    part.rename(album / "downloaded.png")
    ground.settle()
    assert contents(album) == {"downloaded.png": data}
    ground.expect_uploads(1)


def test_mmap(ground: Ground, album: Path) -> None:
    """W1: Mapped pages show what was written, before the upload and after it."""
    target = album / "mapped.png"
    data = picture("mapped", side=128)
    target.write_bytes(data)
    for _ in range(2):
        with (
            target.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages,
        ):
            assert bytes(pages) == data
            assert pages[40_000:40_100] == data[40_000:40_100]
        ground.settle()
    ground.expect_uploads(1)


def test_random_writes(ground: Ground, album: Path) -> None:
    """W18: Pieces written out of order, with a hole between, are one picture."""
    data = picture("pieces", side=128)
    target = album / "pieces.png"
    with target.open("w+b", buffering=0) as file:
        for start in reversed(range(0, len(data), 10_000)):
            file.seek(start)
            file.write(data[start : start + 10_000])
            file.seek(0)
            assert file.read(start) == bytes(start)
    ground.settle()
    assert target.read_bytes() == data
    ground.expect_uploads(1)


def test_unlinked_while_open(ground: Ground, album: Path) -> None:
    """W19: A file that is deleted while it is open is read and written to the end, and
    never sent.
    """
    target = album / "unlinked.png"
    data = picture("unlinked")
    with target.open("w+b", buffering=0) as file:
        file.write(data[:100])
        target.unlink()
        file.write(data[100:])
        assert os.fstat(file.fileno()).st_nlink == 0
        file.seek(0)
        assert file.read() == data
    assert contents(album) == {}
    ground.settle()
    ground.expect_uploads(0)
