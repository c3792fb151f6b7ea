"""Without an account, in real programs: a mounted drive, a daemon, and kill -9."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from imgurfs.clock import SystemClock
from tests.support.mounted import Machine, emulator_process
from tests.support.processes import environment, process
from tests.support.programs import SETTINGS, DriveGround, picture, until

pytestmark = pytest.mark.mount

_KILLS = 20
_PICTURES = 100


class NobodysDrive(DriveGround):
    """A mounted drive that belongs to no account."""

    def state(self) -> dict[str, Any]:
        """Return what Imgur has that is nobody's."""
        found: dict[str, Any] = super().state()["anonymous"]
        return found

    @property
    def register(self) -> Path:
        """The file with the deletehashes."""
        return self.machine.state_dir / "anonymous.jsonl"

    def secrets(self) -> set[str]:
        """Return all deletehashes that this machine has been told."""
        lines = [json.loads(line) for line in self.register.read_text().splitlines()]
        return {(line.get("image") or line["album"])["deletehash"] for line in lines}

    def expect_no_secret_outside(self) -> None:
        """Look for the deletehashes in every file but the two that hold them."""
        secrets = [secret.encode() for secret in self.secrets()]
        assert len(secrets) > 3
        for path in self.machine.directory.rglob("*"):
            is_theirs = path == self.register or path.name.startswith("state.db")
            if path.is_file() and not is_theirs and not path.is_symlink():
                content = path.read_bytes()
                assert not [one for one in secrets if one in content], path


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[NobodysDrive]:
    """Return a machine that is logged in without an account, nothing mounted yet."""
    with ExitStack() as stack:
        emulator = stack.enter_context(
            emulator_process("--albums", "0", "--images", "0")
        )
        machine = Machine(tmp_path / "home", emulator)
        machine.directory.mkdir()
        stack.callback(machine.clean_up)
        machine.configure(SETTINGS)
        done = machine.run("login", "--anonymous")
        assert done.returncode == 0, done.stderr
        http = stack.enter_context(httpx.Client(base_url=emulator.address["api_url"]))
        yield NobodysDrive(machine.mountpoint, machine=machine, http=http)


def test_programs_on_a_drive_without_an_account(ground: NobodysDrive) -> None:
    """mkdir, cp, mv, rm and a new login: Imgur follows, and no deletehash gets out."""
    ground.machine.mount()
    top = ground.top
    (top / "Trip").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (top / "Trip" / name).write_bytes(picture(name))
    (top / "root.png").write_bytes(picture("root"))
    ground.settle()
    assert len(ground.held()["Trip"]) == 3
    (top / "Trip" / "a.png").rename(top / "Trip" / "renamed.png")
    (top / "Trip" / "b.png").rename(top / "b.png")
    (top / "Trip").rename(top / "Journey")
    shutil.copyfile(top / "root.png", top / "Journey" / "copy.png")
    (top / "Journey" / "c.png").unlink()
    ground.settle()
    assert {title: len(held) for title, held in ground.held().items()} == {
        "Journey": 2,
        "": 2,
    }
    titles = {image["title"] for image in ground.state()["images"]}
    assert "renamed" in titles
    with pytest.raises(OSError, match="large") as caught:
        (top / "large.png").write_bytes(picture("large", side=600))
    assert caught.value.errno == errno.EFBIG
    (top / "large.png").unlink()
    for command in (["status"], ["queue"], ["ls", "--json"], ["status", "--json"]):
        done = ground.machine.run(*command)
        assert done.returncode == 0, done.stderr
        assert not [one for one in ground.secrets() if one in done.stdout]
    ground.machine.remount()
    assert sorted(path.name for path in (top / "Journey").iterdir()) == [
        "copy.png",
        "renamed.png",
    ]
    for path in (top / "Journey").iterdir():
        path.unlink()
    (top / "Journey").rmdir()
    ground.settle()
    assert ground.state()["albums"] == []
    ground.expect_no_secret_outside()


def test_kills_of_a_daemon_without_an_account(ground: NobodysDrive) -> None:
    """Twenty kill -9: nothing is sent twice, what is in doubt is held, all is known.

    Then state.db is lost: what was done is found again in the file of deletehashes.
    """
    folder = ground.machine.directory / "folder"
    folder.mkdir()
    ground.machine.configure(
        "[sync]\nsettle_s = 0.1\nquarantine_s = 0.5\nguard = false\n"
        "[budget]\nuploads_per_hour = 0\n"
        f'[[folder]]\npath = "{folder}"\n'
    )
    slow = {"method": "POST", "path": "/3/upload"}
    ground.break_api(
        {**slow, "action": "slow", "bytes_per_s": 3_000, "probability": 0.5, "seed": 1},
        {**slow, "action": "delay", "delay_s": 0.2},
    )
    for number in range(_PICTURES):
        path = folder / f"album {number % 3}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(str(number)))
    for number in range(_KILLS):
        _kill_while_sending(ground, number)
    ground.break_api()
    _run_until(ground, lambda: _is_over(ground))
    held = ground.rows("SELECT error FROM job WHERE state = 'unknown'")
    assert all("--did-not-happen" in error for (error,) in held)
    names = Counter(image["name"] for image in ground.state()["images"])
    assert max(names.values()) == 1, names
    done = _files(ground)
    assert len(done) + len(held) == _PICTURES
    assert len(done) > _PICTURES // 3
    assert len(held) >= _KILLS // 2
    assert done <= _recorded(ground)
    inside = [one for album in ground.state()["albums"] for one in album["images"]]
    assert done <= set(inside)
    uploads = ground.stored()
    for path in ground.machine.state_dir.glob("state.db*"):
        path.unlink()
    _run_until(ground, lambda: _exists(ground) and done <= _files(ground))
    # What nobody knows is forgotten with the state: its file is as good as new.
    assert ground.stored() - uploads <= len(held)


@pytest.mark.parametrize("place", ["answer-known:2", "settled:2", "intent-written:5"])
def test_death_at_a_named_place(ground: NobodysDrive, place: str) -> None:
    """Dead before, between and after register and state: every picture once.

    What the register tells is done; only what it cannot tell is held.
    """
    folder = ground.machine.directory / "folder"
    folder.mkdir()
    ground.machine.configure("[sync]\nquarantine_s = 0.2\nsettle_s = 0.1\n")
    for number in range(5):
        (folder / f"{number}.png").write_bytes(picture(str(number)))
    sync = ground.machine.command("sync", str(folder), "--once")
    dying = {**ground.machine.environment, "IMGURFS_CRASH_AT": place}
    died = subprocess.run(sync, env=dying, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    recorded = _recorded(ground)
    assert len(recorded) >= 2
    until(lambda: _is_synced(ground, folder), "jobs stay open", 60)
    held = ground.rows("SELECT 1 FROM job WHERE state = 'unknown'")
    names = Counter(image["name"] for image in ground.state()["images"])
    assert max(names.values()) == 1, names
    assert recorded <= _files(ground) == _recorded(ground)
    assert len(_files(ground)) + len(held) == 5


def _is_synced(ground: NobodysDrive, folder: Path) -> bool:
    """Sync once more; whether nothing is left that goes on by itself."""
    ground.machine.run("sync", str(folder), "--once")
    return not _open(ground)


def _kill_while_sending(ground: NobodysDrive, number: int) -> None:
    """Let a daemon end an upload and come to another, and kill it then."""
    began_at = SystemClock().now()
    query = (
        "SELECT state FROM job WHERE kind = 'upload' AND"
        f" (state = 'sending' AND sent_at > {began_at}"
        f" OR state = 'done' AND settled_at > {began_at}) GROUP BY state"
    )
    log = ground.machine.directory / f"daemon{number}.log"
    with process(
        "imgurfs_daemon", "--config", str(ground.machine.directory / "config.toml"),
        environ=environment(ground.machine.directory), log=log,
    ) as daemon:  # fmt: skip
        until(
            lambda: (
                _exists(ground) and (len(ground.rows(query)) == 2 or _is_over(ground))
            ),
            str(log),
        )
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(10)


def _run_until(ground: NobodysDrive, is_so: Any) -> None:
    log = ground.machine.directory / "daemon.log"
    with process(
        "imgurfs_daemon", "--config", str(ground.machine.directory / "config.toml"),
        environ=environment(ground.machine.directory), log=log,
    ):  # fmt: skip
        until(is_so, "it does not end", 60)
    ground.expect_no_secret_outside()


def _exists(ground: NobodysDrive) -> bool:
    """Whether there is a state that can be read."""
    try:
        ground.rows("SELECT 1 FROM synced_file")
    except sqlite3.OperationalError:
        return False
    return True


def _is_over(ground: NobodysDrive) -> bool:
    """Whether everything was sent, or is in doubt."""
    uploads = ground.rows("SELECT 1 FROM job WHERE kind = 'upload'")
    return len(uploads) >= _PICTURES and not _open(ground)


def _open(ground: NobodysDrive) -> list[tuple[Any, ...]]:
    """Return the jobs that will be sent or looked for by themselves; checks aside."""
    return ground.rows(
        "SELECT kind, state, error FROM job WHERE kind <> 'verify' AND"
        " (state IN ('queued', 'sending')"
        " OR state = 'unknown' AND error NOT LIKE '%--did-not-happen%')"
    )


def _files(ground: NobodysDrive) -> set[str]:
    """Return the images that files are."""
    return {image for (image,) in ground.rows("SELECT image_id FROM synced_file")}


def _recorded(ground: NobodysDrive) -> set[str]:
    """Return the images whose deletehashes are on the disk."""
    lines = [json.loads(it) for it in ground.register.read_text().splitlines()]
    images = [line["image"] for line in lines if "image" in line]
    return {image["id"] for image in images if image["deletehash"]}
