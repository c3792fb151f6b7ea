"""Programs that copy, move, link, unpack and delete: as on a disk, and the account
follows.

Each test runs on a plain directory first: what it expects is what a disk does. On the
drive, ``settle`` compares the account with what the user sees, by the bytes.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.programs import Ground, contents, fill, picture, run, set_date

NAMES = ("one.png", "two.jpg", "three.png")


def dates(directory: Path) -> dict[str, tuple[int, int]]:
    """Return size and date of every file."""
    found = {path.name: path.stat() for path in directory.iterdir()}
    return {name: (it.st_size, it.st_mtime_ns) for name, it in found.items()}


def test_cp_archive(ground: Ground, tmp_path: Path) -> None:
    """W3, W23: ``cp -a`` of a directory makes an album; names, bytes and dates are
    kept, also when everything has been uploaded.
    """
    fill(tmp_path / "Rome", NAMES)
    run("cp", "-a", tmp_path / "Rome", ground.top)
    for _ in range(2):
        assert contents(ground.top / "Rome") == contents(tmp_path / "Rome")
        assert dates(ground.top / "Rome") == dates(tmp_path / "Rome")
        ground.settle()
    ground.expect_uploads(3)


def test_cp_to_the_root(ground: Ground, tmp_path: Path) -> None:
    """W3: ``cp`` to the top of the drive makes images in no album."""
    fill(tmp_path / "loose", ("loose 1.png", "loose 2.jpg"))
    run("cp", *sorted((tmp_path / "loose").iterdir()), ground.top)
    ground.settle()
    here = contents(tmp_path / "loose")
    assert {name: (ground.top / name).read_bytes() for name in here} == here
    ground.expect_uploads(2)


def test_cp_within_the_drive(ground: Ground, tmp_path: Path) -> None:
    """W11: A copy of an uploaded image into another album is recognised: no upload."""
    fill(tmp_path / "Original", ("copied.png",))
    run("cp", "-r", tmp_path / "Original", ground.top)
    ground.settle()
    (ground.top / "Copies").mkdir()
    run("cp", ground.top / "Original/copied.png", ground.top / "Copies")
    ground.settle()
    assert contents(ground.top / "Copies") == contents(ground.top / "Original")
    ground.expect_uploads(1)


def test_rsync_twice(ground: Ground, tmp_path: Path) -> None:
    """W23: The second ``rsync -a`` transfers nothing, before and after the uploads; a
    changed file is the only one that the next transfers.
    """
    fill(tmp_path / "Oslo", NAMES)
    command = ("rsync", "-a", "--itemize-changes", tmp_path / "Oslo", ground.top)
    assert run(*command).count(">f+++++++++") == 3
    assert run(*command) == ""
    ground.settle()
    assert run(*command) == ""
    ground.expect_uploads(3)
    (tmp_path / "Oslo/two.jpg").write_bytes(picture("changed", kind="JPEG"))
    set_date(tmp_path / "Oslo/two.jpg", 1_710_000_000)
    assert run(*command).split()[1:] == ["Oslo/two.jpg"]
    ground.settle()
    assert run(*command) == ""
    assert contents(ground.top / "Oslo") == contents(tmp_path / "Oslo")
    ground.expect_uploads(4)


def test_rsync_in_place_and_delete(ground: Ground, tmp_path: Path) -> None:
    """W8, W11: ``rsync --inplace --checksum --delete`` leaves what it was given."""
    fill(tmp_path / "Lima", NAMES)
    command = ("rsync", "-rt", "--inplace", "--checksum", "--delete")
    run(*command, tmp_path / "Lima", ground.top)
    ground.settle()
    (tmp_path / "Lima/one.png").unlink()
    (tmp_path / "Lima/three.png").write_bytes(picture("another three"))
    run(*command, tmp_path / "Lima", ground.top)
    ground.settle()
    assert contents(ground.top / "Lima") == contents(tmp_path / "Lima")
    ground.expect_uploads(4)


def test_mv_between_albums_and_the_root(ground: Ground, tmp_path: Path) -> None:
    """W4: ``mv`` between albums and the top keeps the file: never a second upload."""
    fill(tmp_path / "From", ("moved.png",))
    run("cp", "-r", tmp_path / "From", ground.top)
    (ground.top / "To").mkdir()
    ground.settle()
    data = (ground.top / "From/moved.png").read_bytes()
    inode = (ground.top / "From/moved.png").stat().st_ino
    for source, target in [("From", "To"), ("To", "."), (".", "From")]:
        run("mv", ground.top / source / "moved.png", ground.top / target)
        assert not (ground.top / source / "moved.png").exists()
        ground.settle()
        moved = ground.top / target / "moved.png"
        assert (moved.read_bytes(), moved.stat().st_ino) == (data, inode)
    ground.expect_uploads(1)


def test_mv_before_the_upload(ground: Ground, tmp_path: Path) -> None:
    """W3, W10: What is moved and renamed before it was sent is uploaded once, to where
    it is in the end.
    """
    fill(tmp_path / "Early", NAMES)
    run("cp", "-r", tmp_path / "Early", ground.top)
    (ground.top / "Late").mkdir()
    for name in NAMES:
        run("mv", ground.top / "Early" / name, ground.top / "Late" / f"new {name}")
    run("rmdir", ground.top / "Early")
    ground.settle()
    assert contents(ground.top / "Late") == {
        f"new {name}": data for name, data in contents(tmp_path / "Early").items()
    }
    ground.expect_uploads(3)


def test_mv_of_a_directory(ground: Ground, tmp_path: Path) -> None:
    """W7: ``mv`` of a directory gives the album another title."""
    fill(tmp_path / "Old title", NAMES)
    run("cp", "-r", tmp_path / "Old title", ground.top)
    ground.settle()
    run("mv", ground.top / "Old title", ground.top / "New title")
    assert not (ground.top / "Old title").exists()
    ground.settle()
    assert contents(ground.top / "New title") == contents(tmp_path / "Old title")
    ground.expect_uploads(3)


@pytest.mark.parametrize("is_uploaded", [True, False])
def test_ln_is_a_membership(
    ground: Ground, tmp_path: Path, *, is_uploaded: bool
) -> None:
    """W4: ``ln`` puts an image into a second album, also before it is uploaded; ``rm``
    of one name leaves it in the other.
    """
    first, second = f"First {is_uploaded}", f"Second {is_uploaded}"
    fill(tmp_path / first, ("linked.png",))
    run("cp", "-r", tmp_path / first, ground.top)
    (ground.top / second).mkdir()
    if is_uploaded:
        ground.settle()
    one, two = ground.top / first / "linked.png", ground.top / second / "linked.png"
    run("ln", one, two)
    assert one.samefile(two)
    assert (one.stat().st_nlink, two.stat().st_nlink) == (2, 2)
    ground.settle()
    data = one.read_bytes()
    run("rm", one)
    ground.settle()
    assert (two.read_bytes(), two.stat().st_nlink) == (data, 1)
    ground.expect_uploads(1)


def test_rm_recursively(ground: Ground, tmp_path: Path) -> None:
    """W6, W7: ``rm -r`` of an album deletes its images, uploaded or not, and itself."""
    fill(tmp_path / "Gone", NAMES)
    run("cp", "-r", tmp_path / "Gone", ground.top)
    ground.settle()
    (ground.top / "Gone/unsent.png").write_bytes(picture("never sent"))
    run("rm", "-r", ground.top / "Gone")
    assert not (ground.top / "Gone").exists()
    ground.settle()
    ground.expect_uploads(3)


def test_tar(ground: Ground, tmp_path: Path) -> None:
    """W1, W23: ``tar x`` unpacks albums with their dates, and ``tar d`` finds no
    difference afterwards.
    """
    fill(tmp_path / "Packed", NAMES)
    with tarfile.open(tmp_path / "packed.tar", "w") as archive:
        archive.add(tmp_path / "Packed", "Packed")
    run("tar", "xf", tmp_path / "packed.tar", cwd=ground.top)
    run("tar", "df", tmp_path / "packed.tar", cwd=ground.top)
    ground.settle()
    run("tar", "df", tmp_path / "packed.tar", cwd=ground.top)
    ground.expect_uploads(3)


def test_shutil(ground: Ground, tmp_path: Path) -> None:
    """W3, W23: Python's ``shutil`` copies a tree with its dates, moves files over the
    border of the drive, and removes a tree.
    """
    fill(tmp_path / "Tree", NAMES)
    shutil.copytree(tmp_path / "Tree", ground.top / "Tree")
    assert dates(ground.top / "Tree") == dates(tmp_path / "Tree")
    single = tmp_path / "Tree/single.png"
    single.write_bytes(picture("single"))
    data = single.read_bytes()
    shutil.move(single, ground.top / "Tree/single.png")
    ground.settle()
    shutil.move(ground.top / "Tree/single.png", single)
    assert single.read_bytes() == data
    ground.settle()
    assert contents(ground.top / "Tree").keys() == set(NAMES)
    shutil.rmtree(ground.top / "Tree")
    ground.settle()
    ground.expect_uploads(4)


def test_zipfile(ground: Ground, tmp_path: Path) -> None:
    """W3: Python's ``zipfile`` unpacks onto the drive."""
    fill(tmp_path / "Zipped", NAMES)
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for name in NAMES:
            archive.write(tmp_path / "Zipped" / name, f"Zipped/{name}")
    with zipfile.ZipFile(tmp_path / "zipped.zip") as archive:
        archive.extractall(ground.top)
    ground.settle()
    assert contents(ground.top / "Zipped") == contents(tmp_path / "Zipped")
    ground.expect_uploads(3)


def test_gio_copy(ground: Ground, tmp_path: Path) -> None:
    """W4, W23: A file manager's copy keeps bytes and dates, and its move moves."""
    fill(tmp_path / "Gio", ("gio.png",))
    (ground.top / "Gio").mkdir()
    (ground.top / "Gio there").mkdir()
    target = ground.top / "Gio/gio.png"
    run("gio", "copy", tmp_path / "Gio/gio.png", target)
    assert target.stat().st_mtime_ns // 1000 == 1_700_000_000_123_456
    ground.settle()
    run("gio", "move", target, ground.top / "Gio there")
    ground.settle()
    assert contents(ground.top / "Gio there") == contents(tmp_path / "Gio")
    assert os.listdir(ground.top / "Gio") == []  # noqa: PTH208
    ground.expect_uploads(1)
