"""The file of anonymous uploads: what it keeps, whatever happens to it."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from imgurfs.api.register import Entry, Register
from imgurfs.errors import ConfigError
from imgurfs.model import ImageId
from tests.support.account import album, image

ONE = image(1, deletehash="a" * 15)
TWO = image(2, deletehash="b" * 15)
TRIP = album(3, "Trip", deletehash="c" * 15)


def loaded(path: Path) -> Register:
    """Return the register as another process finds it."""
    register = Register(path)
    register.reload()
    return register


def test_all_is_there_for_the_next_process(tmp_path: Path) -> None:
    """Images, albums and deletehashes are read again; nobody else can read them."""
    path = tmp_path / "anonymous.jsonl"
    Register(path).put(Entry(image=ONE), Entry(album=TRIP), Entry(image=TWO))
    found = loaded(path)
    assert found.images() == [TWO, ONE]
    assert found.albums() == [TRIP]
    assert found.deletehash(ONE.id) == "a" * 15
    assert path.stat().st_mode & 0o777 == 0o600


def test_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    """Before the first upload there is nothing, and that is no error."""
    found = loaded(tmp_path / "anonymous.jsonl")
    assert (found.images(), found.albums()) == ([], [])


def test_two_processes_read_what_the_other_appends(tmp_path: Path) -> None:
    """Each reads on from where it was, also after it has written itself."""
    path = tmp_path / "anonymous.jsonl"
    first, second = Register(path), Register(path)
    first.put(Entry(image=ONE))
    second.put(Entry(image=TWO))
    first.reload()
    second.reload()
    assert first.images() == second.images() == [TWO, ONE]
    second.put(Entry(image=ONE, gone="deleted"))
    first.reload()
    assert first.images() == [TWO]


def test_gone_is_not_forgotten(tmp_path: Path) -> None:
    """What is gone is not shown, and its deletehash stays, here and in the file."""
    path = tmp_path / "anonymous.jsonl"
    register = Register(path)
    register.put(Entry(image=ONE))
    register.put(Entry(image=replace(ONE, deletehash=""), gone="deleted"))
    for one in (register, loaded(path)):
        assert one.images() == []
        assert one.image(ONE.id) is None
        assert one.deletehash(ONE.id) == ONE.deletehash


def test_later_line_without_deletehash_keeps_the_earlier(tmp_path: Path) -> None:
    """Strangers are not told a deletehash: such an answer does not erase it."""
    path = tmp_path / "anonymous.jsonl"
    Register(path).put(Entry(album=TRIP))
    loaded(path).put(Entry(album=replace(TRIP, title="Journey", deletehash="")))
    (found,) = loaded(path).albums()
    assert (found.title, found.deletehash) == ("Journey", TRIP.deletehash)


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_line_that_a_crash_cut_short_harms_no_other(tmp_path: Path, cut: int) -> None:
    """A line without its end is passed over; what is appended then is whole."""
    path = tmp_path / "anonymous.jsonl"
    Register(path).put(Entry(image=ONE))
    size = path.stat().st_size
    Register(path).put(Entry(image=TWO))
    with path.open("r+b") as file:
        file.truncate(size + cut)
    after = loaded(path)
    assert after.images() == [ONE]
    after.put(Entry(album=TRIP))
    last = loaded(path)
    assert (last.images(), last.albums()) == ([ONE], [TRIP])


def test_damage_is_told_without_quoting_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines that are nothing are counted in the log; the others are read."""
    path = tmp_path / "anonymous.jsonl"
    Register(path).put(Entry(image=ONE))
    with path.open("ab") as file:
        file.write(b'{"image": {"deletehash": "secret\n\xff\xfe\n[]\n{}\n')
    with caplog.at_level(logging.DEBUG):
        assert loaded(path).images() == [ONE]
    assert "3 line(s)" in caplog.text
    assert "secret" not in caplog.text


def test_disk_that_says_no_costs_nothing(tmp_path: Path) -> None:
    """What could not be written is known here, and written by the next call."""
    path = tmp_path / "later" / "anonymous.jsonl"
    register = Register(path)
    with pytest.raises(OSError, match="No such file"):
        register.put(Entry(image=ONE))
    assert register.images() == [ONE]
    path.parent.mkdir()
    register.put(Entry(image=TWO))
    assert loaded(path).images() == [TWO, ONE]


def test_file_that_was_put_back_is_read_from_its_beginning(tmp_path: Path) -> None:
    """A backup in its place: what it tells counts, and nothing known is forgotten."""
    path, backup = tmp_path / "anonymous.jsonl", tmp_path / "backup"
    Register(backup).put(Entry(image=TWO))
    register = Register(path)
    register.put(Entry(image=ONE), Entry(album=TRIP))
    register.reload()
    backup.replace(path)
    register.reload()
    assert register.images() == [TWO, ONE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """A deletehash that others have seen is none: the user is told what to do."""
    path = tmp_path / "anonymous.jsonl"
    Register(path).put(Entry(image=ONE))
    path.chmod(mode)
    with pytest.raises(ConfigError, match="can be read by others") as caught:
        loaded(path)
    assert "chmod 600" in caught.value.hint


def test_link_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link in its place is neither read nor written."""
    real, path = tmp_path / "elsewhere", tmp_path / "anonymous.jsonl"
    Register(real).put(Entry(image=ONE))
    before = real.read_bytes()
    path.symlink_to(real)
    with pytest.raises(ConfigError):
        loaded(path)
    with pytest.raises(OSError, match="symbolic"):
        Register(path).put(Entry(image=TWO))
    assert real.read_bytes() == before


def test_texts_for_people_name_ids(tmp_path: Path) -> None:
    """Every deletehash in a text becomes the id, also of what is gone."""
    register = Register(tmp_path / "anonymous.jsonl")
    register.put(Entry(image=ONE), Entry(album=TRIP), Entry(image=TWO, gone="deleted"))
    text = f"DELETE /3/image/{TWO.deletehash}: {ONE.deletehash}, '{TRIP.deletehash}'."
    assert register.without_secrets(text) == (
        f"DELETE /3/image/{TWO.id}: {ONE.id}, '{TRIP.id}'."
    )
    assert register.deletehash(ImageId("nothing")) == ""


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory in its place, or a pipe, is told and not waited for."""
    (tmp_path / "directory").mkdir(0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError):
        loaded(tmp_path / "directory")
    with pytest.raises(ConfigError):
        loaded(tmp_path / "pipe")
