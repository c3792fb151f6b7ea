"""Planted problems of files and disks: the doctor finds each, and names its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgurfs.cli.doctor_files import count_directories
from imgurfs.clock import SystemClock
from imgurfs.store import notices
from tests.support.account import open_state
from tests.support.doctored import Diagnosis, diagnose, in_namespace
from tests.support.processes import environment
from tests.support.queued import queue_at


def configured(directory: Path, text: str) -> Path:
    """Write a configuration; return where."""
    path = directory / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def look(
    directory: Path, config: Path | str = "", inside: list[str] | None = None
) -> Diagnosis:
    """Run the doctor, on this machine only."""
    return diagnose(
        "--offline",
        environ=environment(directory),
        config=str(config),
        inside=inside or [],
    )


def state_dir(directory: Path) -> Path:
    """Make the account's state directory."""
    path = directory / "state" / "imgurfs" / "default"
    path.mkdir(parents=True)
    return path


# --- Configuration -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("[acount]\n", ":1: unknown key 'acount'", "did you mean 'account'?"),
        ("[account\n", "not valid TOML", ""),
        ('[sync]\nsettle_s = "soon"\n', ":2: Expected `float`", ""),
        ('[[folder]]\npath = "here"\n', "is not absolute", ""),
    ],
)
def test_configuration_with_a_mistake(
    tmp_path: Path, text: str, what: str, fix: str
) -> None:
    """A mistake is told with its line; all other checks go on without it."""
    found = look(tmp_path, configured(tmp_path, text))
    found.expect("config", "problem", what, fix)
    assert {one["check"] for one in found.problems} == {"config", "token"}
    assert found.of("disk")


def test_configuration_of_others(tmp_path: Path) -> None:
    """Who can change it, or read its secret, is told with the chmod."""
    config = configured(tmp_path, "")
    config.chmod(0o666)
    found = look(tmp_path, config)
    found.expect("config", "warning", "mode 0666", f"chmod go-w {config}")
    config.write_text('[account]\nclient_secret = "abc"\n')
    config.chmod(0o644)
    found = look(tmp_path, config)
    found.expect("config", "problem", "holds a client_secret", f"chmod 600 {config}")
    found = look(tmp_path, tmp_path / "nowhere.toml")
    found.expect("config", "problem", "no such configuration file", "config init")


# --- Folders -----------------------------------------------------------------------


def test_folders(tmp_path: Path) -> None:
    """Folders that are gone, are none, lie in each other or in our state."""
    good, inner = tmp_path / "good", tmp_path / "good" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "file").touch()
    own = state_dir(tmp_path)
    paths = [good, inner, tmp_path / "gone", tmp_path / "file", own]
    text = "".join(f'[[folder]]\npath = "{path}"\n' for path in paths)
    found = look(tmp_path, configured(tmp_path, text))
    found.expect("folders", "ok", f"{good} can be read", "")
    found.expect("folders", "problem", "gone is not there", "imgurfs folder remove")
    found.expect("folders", "problem", "file is no directory", "folder remove")
    overlap = f"{good} and {inner} lie in one another"
    found.expect("folders", "problem", overlap, f"imgurfs folder remove {good}")
    found.expect("folders", "problem", f"{own} and {own} lie", "folder remove")
    assert len(found.of("folders")) == 7


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    """A folder without rights for us: chmod (with root's own taken away)."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o000)
    config = configured(tmp_path, f'[[folder]]\npath = "{folder}"\n')
    # In a namespace where nobody has root's rights over others' files.
    harmless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    found = look(tmp_path, config, harmless)
    found.expect("folders", "problem", "cannot be read", f"chmod u+rx {folder}")


def test_too_few_watches(tmp_path: Path) -> None:
    """With less room than the folders need: how many, and the sysctl line."""
    for number in range(30):
        (tmp_path / "folder" / str(number)).mkdir(parents=True)
    config = configured(tmp_path, f'[[folder]]\npath = "{tmp_path / "folder"}"\n')
    limit = 'echo "$1" >/proc/sys/user/max_inotify_watches'
    found = look(tmp_path, config, in_namespace(limit, "10"))
    what = "the folders need 31 watches"
    found.expect("inotify", "problem", what, "sysctl -w user.max_inotify_watches=")
    limit = "echo 0 >/proc/sys/user/max_inotify_instances"
    found = look(tmp_path, config, in_namespace(limit))
    fix = "sysctl -w user.max_inotify_instances="
    found.expect("inotify", "problem", "of 0 instances", fix)
    found = look(tmp_path, config)
    found.expect("inotify", "ok", what, "")


def test_counting_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    """Of a folder without end as many directories are counted as there is time for."""

    class Running(SystemClock):
        """A clock on which every look takes a second."""

        seconds = 0.0

        def monotonic(self) -> float:
            self.seconds += 1
            return self.seconds

    for number in range(9):
        (tmp_path / str(number)).mkdir()
    assert count_directories([tmp_path], SystemClock()) == (10, True)
    assert count_directories([tmp_path], Running()) == (3, False)


# --- Disks -------------------------------------------------------------------------

_MOUNT = 'mount -t tmpfs -o "$2" tmpfs "$1"'


@pytest.mark.parametrize(
    ("options", "state", "what", "fix"),
    [
        ("size=1m", "problem", "only 1.05 MB free", "imgurfs cache clear"),
        ("size=200m", "warning", "only 210 MB free", "[mount] spool_max"),
        ("size=2g,ro", "problem", "cannot be written to", "sudo chown"),
        ("size=2g,nr_inodes=1", "problem", "no more files fit", "delete files"),
        ("size=2g", "ok", "2.15 GB free", ""),
    ],
)
def test_disk(tmp_path: Path, options: str, state: str, what: str, fix: str) -> None:
    """A disk with little or no room, or where we may not write, is told of."""
    place = tmp_path / "state"
    place.mkdir()
    found = look(tmp_path, inside=in_namespace(_MOUNT, str(place), options))
    found.expect("disk", state, what, fix)


def test_a_file_where_our_directory_has_to_be(tmp_path: Path) -> None:
    """Something in the way of our own directory is told."""
    (tmp_path / "state").touch()
    found = look(tmp_path)
    where = tmp_path / "state"
    found.expect("disk", "problem", f"{where} is no directory", f"mv {where}")


# --- Databases ---------------------------------------------------------------------


def test_damaged_databases(tmp_path: Path) -> None:
    """A damaged database, and what damage left behind; neither is touched."""
    state = state_dir(tmp_path) / "state.db"
    open_state(state).close()
    content = bytearray(state.read_bytes())
    # One page, which nobody reads who does not read everything.
    content[-4096:-4088] = b"\xff" * 8
    state.write_bytes(content)
    budget = state.parents[1] / "budget.db"
    budget.write_bytes(b"no database at all" * 1000)
    aside = state.with_name("state.db.damaged-20260101T000000Z")
    aside.touch()
    found = look(tmp_path)
    found.expect("databases", "problem", f"{state} is damaged", "saved aside")
    found.expect("databases", "problem", f"{budget}", "saved aside")
    found.expect("databases", "warning", f"{aside} was damaged", f"rm {aside}*")
    assert state.read_bytes() == content


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    """A state that a newer version wrote: upgrade."""
    state = state_dir(tmp_path) / "state.db"
    db = open_state(state)
    db.write_blocking(lambda c: c.execute("PRAGMA user_version = 999"))
    db.close()
    found = look(tmp_path)
    found.expect("databases", "problem", "newer version of imgurfs", "upgrade imgurfs")


def test_what_is_stuck(tmp_path: Path) -> None:
    """Rejected jobs, unclear ones and notices are told, with the command for each."""
    state = state_dir(tmp_path) / "state.db"
    with queue_at(state, tmp_path / "folder") as queue:
        queue.db.write_blocking(lambda c: notices.put(c, notices.LOGIN, "revoked"))
        queue.db.write_blocking(lambda c: notices.put(c, "folder:x", "half watched"))
        queue.reject(queue.upload("one.gif"))
        queue.lose(queue.upload("two.gif"))
    found = look(tmp_path)
    found.expect("queue", "problem", "revoked", "imgurfs login")
    found.expect("queue", "warning", "half watched", "imgurfs status")
    found.expect("queue", "warning", "1 job rejected", "imgurfs queue --dead")
    found.expect("queue", "warning", "1 job happened", "imgurfs queue")
