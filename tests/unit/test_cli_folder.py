"""``imgurfs folder``: editing the configuration, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from imgurfs import config, paths
from imgurfs.locks import FileLock
from tests.support.commands import Home
from tests.support.queued import queue_at

COMMENTED = """\
# What I wrote myself.
[account] # mine
client_id = "abc"   # do not touch

[sync]
settle_s = 1.5 # quick
"""


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Home:
    """A home of its own with a configuration full of comments."""
    found = Home(tmp_path / "home", monkeypatch, capsys)
    found.write_config(COMMENTED)
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder that can be watched."""
    folder = tmp_path / "My Pictures"
    folder.mkdir()
    return folder


def test_add_keeps_every_byte_and_the_mode(home: Home, pictures: Path) -> None:
    """What was in the file is a prefix of what is in it now."""
    said = home.run(
        "folder", "add", str(pictures), "--albums", "one:Trip 'to' \"Rome\"",
        "--deletes", "keep", "--no-dedupe", "--include", "*.jpg", "--exclude", "raw/",
    )  # fmt: skip
    assert said.code == 0, said.err
    text = home.config.read_text()
    assert text.startswith(COMMENTED)
    assert home.config.stat().st_mode & 0o777 == 0o600
    (folder,) = config.load().folder
    assert folder == config.FolderConfig(
        path=str(pictures),
        albums="one:Trip 'to' \"Rome\"",
        deletes="keep",
        dedupe=False,
        include=("*.jpg",),
        exclude=("raw/",),
    )
    assert sorted(p.name for p in home.config.parent.iterdir()) == ["config.toml"]


def test_plain_add_uses_the_defaults(home: Home, pictures: Path) -> None:
    """Only the path is written, so that later defaults hold."""
    home.config.chmod(0o640)
    home.run("folder", "add", str(pictures))
    assert home.config.stat().st_mode & 0o777 == 0o640
    assert home.config.read_text() == f'{COMMENTED}\n[[folder]]\npath = "{pictures}"\n'


def test_add_writes_the_first_configuration(home: Home, pictures: Path) -> None:
    """Without a file there is one afterwards, for nobody else to read."""
    home.config.unlink()
    assert home.run("folder", "add", str(pictures)).code == 0
    assert home.config.stat().st_mode & 0o777 == 0o600
    assert [one.path for one in config.load().folder] == [str(pictures)]


def test_remove_takes_only_that_folder(home: Home, pictures: Path) -> None:
    """The other folders and all comments stay."""
    other = pictures.parent / "other"
    other.mkdir()
    home.run("folder", "add", str(pictures))
    with home.config.open("a") as file:
        file.write("# about the other one\n")
    home.run("folder", "add", str(other))
    said = home.run("folder", "remove", str(pictures))
    assert said.code == 0, said.err
    assert [one.path for one in config.load().folder] == [str(other)]
    text = home.config.read_text()
    for comment in ("# What I wrote", "# mine", "# do not touch", "# quick", "# about"):
        assert comment in text
    assert home.run("folder", "remove", str(other)).code == 0
    assert config.load().folder == ()
    assert home.run("folder", "remove", str(other)).code == 2


UNUSUAL = [
    '[[folder]]\npath = "/b"\nexclude = [\n  "x", # [[folder]]\n]\n# tail\n',
    '[[ "folder" ]] # it\npath = "/b"\n\n# sync\n[sync]\nsettle_s = 1\n',
    '[sync]\nsettle_s = 1\n[[folder]]\npath="/b"\n[budget]\n[[folder]]\npath="/c"',
    'folder = [{ path = "/b" }]\n',
    '[[folder]]\npath = "/b"\nexclude = ["""\n[sync]\n"""]\n[sync]\nsettle_s = 1\n',
    '[[folder]]\npath = "/a"\nexclude = ["""\n[[folder]]\n"""]\n[[folder]]\npath="/b"',
]


@pytest.mark.parametrize("text", UNUSUAL)
def test_remove_never_changes_anything_else(home: Home, text: str) -> None:
    """However the file is written: the folder goes and the rest stays, or nothing."""
    home.write_config(text)
    before = config.load()
    said = home.run("folder", "remove", "/b")
    after = config.load()
    if said.code == 0:
        wanted = tuple(one for one in before.folder if one.path != "/b")
        for comment in ("# tail", "# sync"):
            assert (comment in text) == (comment in home.config.read_text())
    else:
        wanted = before.folder
        assert (said.code, home.config.read_text()) == (78, text)
    assert after == msgspec.structs.replace(before, folder=wanted)


def test_remove_of_ordinary_folders_succeeds(home: Home) -> None:
    """Multi-line lists, odd spaces and comments are nothing unusual."""
    for text in UNUSUAL[:3]:
        home.write_config(text)
        assert home.run("folder", "remove", "/b").code == 0


def test_removed_folder_that_is_gone(home: Home, pictures: Path) -> None:
    """A folder that was deleted meanwhile can still be taken out."""
    home.run("folder", "add", str(pictures))
    pictures.rmdir()
    assert "not there" in home.run("folder", "list").out
    assert home.run("folder", "remove", str(pictures)).code == 0


def test_remove_withdraws_what_waits(home: Home, pictures: Path) -> None:
    """Nobody wants the pictures of a folder that is not watched any more uploaded."""
    home.log_in()
    home.run("folder", "add", str(pictures))
    with queue_at(paths.account_paths("default").state_db, pictures) as queue:
        upload, doomed = queue.upload("a.gif"), queue.delete("b.gif", "img1")
        said = home.run("folder", "remove", str(pictures))
        assert "1 upload, 1 deletion" in said.out
        assert (queue.state(upload), queue.state(doomed)) == ("cancelled", "cancelled")


def test_list_shows_all_accounts(home: Home, pictures: Path) -> None:
    """For people, and as JSON with the documented keys."""
    assert home.run("folder").out == "no folder is watched\n"
    home.write_config(COMMENTED + '\n[accounts.second]\nclient_id = "d"\n')
    home.run("--account", "second", "folder", "add", str(pictures))
    assert "second" in home.run("folder", "list").out
    found = json.loads(home.run("folder", "--json").out)
    assert found == {
        "folders": [
            {
                "path": str(pictures), "account": "second", "albums": "subfolders",
                "deletes": "mirror", "dedupe": True, "include": [], "exclude": [],
                "exists": True,
            }
        ]
    }  # fmt: skip
    assert json.loads(home.run("folder", "list", "--json").out) == found
    assert home.run("folder", "--json", "list").code == 2


def test_what_cannot_be_watched_is_refused(home: Home, pictures: Path) -> None:
    """Nested, twice, our own files, not a folder, a name TOML cannot hold."""
    home.run("folder", "add", str(pictures))
    (pictures / "inner").mkdir()
    own = paths.account_paths("default").state_dir
    own.mkdir(parents=True)
    broken = Path(os.fsdecode(os.fsencode(pictures.parent) + b"/\xff"))
    broken.mkdir()
    link = pictures.parent / "link"
    link.symlink_to(pictures)
    before = home.config.read_bytes()
    for path, code, text in (
        (pictures, 78, "watched already"),
        (link, 78, "watched already"),
        (pictures / "inner", 78, "lie in one another"),
        (pictures.parent, 78, "lie in one another"),
        (own, 78, "its own files"),
        (home.directory, 78, "its own files"),
        (pictures / "none", 2, "not a directory"),
        (broken, 2, "not UTF-8"),
    ):
        said = home.run("folder", "add", str(path))
        assert (said.code, text in said.err) == (code, True), (path, said)
    assert home.config.read_bytes() == before


def test_nonsense_settings_are_refused(home: Home, pictures: Path) -> None:
    """What would be no configuration is never written."""
    before = home.config.read_bytes()
    for options in (
        ("--albums", "everything"),
        ("--exclude", "!"),
        ("--account", "nobody"),
        ("--deletes", "perhaps"),
    ):
        said = home.run("folder", "add", str(pictures), *options)
        assert said.code in (2, 78), (options, said)
        assert home.config.read_bytes() == before
    home.write_config("[account\n")
    assert home.run("folder", "add", str(pictures)).code == 78
    assert home.config.read_text() == "[account\n"


def test_link_to_the_configuration_stays_a_link(home: Home, pictures: Path) -> None:
    """Many keep their settings in a repository elsewhere."""
    target = home.directory / "dotfiles.toml"
    home.config.rename(target)
    home.config.symlink_to(target)
    assert home.run("folder", "add", str(pictures)).code == 0
    assert home.config.is_symlink()
    assert str(pictures) in target.read_text()


def test_configuration_that_cannot_be_written(home: Home, pictures: Path) -> None:
    """A folder where the file should be is told in one line."""
    home.config.unlink()
    home.config.mkdir()
    said = home.run("folder", "add", str(pictures))
    assert said.code in (69, 78), said
    assert str(home.config) in said.err


def test_other_holders_of_the_lock_get_no_signal(home: Home, pictures: Path) -> None:
    """This test holds the daemon's lock; a SIGHUP would end it."""
    lock_file = paths.account_paths("default").daemon_lock
    lock_file.parent.mkdir(parents=True)
    with FileLock(lock_file).require("a test"):
        said = home.run("folder", "add", str(pictures))
    assert (said.code, "no daemon is running" in said.out) == (0, True)
