"""Programs on a drive where any file may be written: what is no picture stays here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import Ground, contents, new_drive, run

SETTINGS = '[mount]\nnon_media = "keep-local"\n'
TEXT = "".join(f"line {number}\n" for number in range(1, 101))


@pytest.fixture(params=["disk", pytest.param("drive", marks=pytest.mark.mount)])
def local_ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Return a plain directory, and then a drive that keeps any file."""
    if request.param == "disk":
        (tmp_path / "disk").mkdir()
        yield Ground(tmp_path / "disk")
    else:
        with new_drive(tmp_path, settings=SETTINGS) as drive:
            yield drive


def _edit(path: Path, *settings: str) -> None:
    """Change line 50 with vim; it is shorter then."""
    # In temporary directories it would make no backups.
    commands = ["set backupskip=", *settings, "50s/line/no/", "wq"]
    arguments = [part for command in commands for part in ("-c", command)]
    run("vim.tiny", "-es", *arguments, path.name, cwd=path.parent)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("set backup backupcopy=no",),
        ("set backupcopy=yes",),
        ("set nowritebackup",),
    ],
    ids=["as it comes", "renaming", "copying", "in place"],
)
def test_vim_saves_a_text(local_ground: Ground, settings: tuple[str, ...]) -> None:
    """W12, W17: vim saves a text in each of its ways; what it leaves is what it leaves
    on a disk, no swap file among it, and nothing is uploaded.
    """
    place = local_ground.top / "Notes"
    place.mkdir()
    note = place / "notes.txt"
    note.write_text(TEXT)
    _edit(note, *settings)
    expected = {"notes.txt": TEXT.replace("line 50\n", "no 50\n").encode()}
    if "set backup backupcopy=no" in settings:
        expected["notes.txt~"] = TEXT.encode()
    assert contents(place) == expected
    local_ground.expect_uploads(0)


@pytest.mark.mount
def test_a_text_on_the_drive(tmp_path: Path) -> None:
    """W17: A text that ``cp``, ``sed -i``, ``>>`` and ``mv`` work on is what it would
    be on a disk, also after a remount.
    """
    with new_drive(tmp_path, settings=SETTINGS) as drive:
        (tmp_path / "notes.txt").write_text(TEXT)
        place = drive.top / "Notes"
        place.mkdir()
        run("cp", "-p", tmp_path / "notes.txt", place)
        run("sed", "-i", "s/^line 7$/seven/", place / "notes.txt")
        run("sh", "-c", "echo more >>notes.txt", cwd=place)
        expected = TEXT.replace("line 7\n", "seven\n") + "more\n"
        assert (place / "notes.txt").read_text() == expected
        assert drive.standing(place / "notes.txt") == "local-only"
        run("mv", place / "notes.txt", drive.top / "moved.txt")
        drive.machine.remount()
        assert (drive.top / "moved.txt").read_text() == expected
        assert drive.standing(drive.top / "moved.txt") == "local-only"
        run("rm", drive.top / "moved.txt")
        assert [path.name for path in drive.top.iterdir()] == ["Notes"]
        assert drive.stored() == 0
