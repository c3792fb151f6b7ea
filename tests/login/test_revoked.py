"""A login that Imgur ended: told once, in three places, and mended by a new login."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.support.logging_in import Person
from tests.support.processes import fill, process, wait_until

REVOKED = {
    "path": "/oauth2/token",
    "action": "status",
    "status": 400,
    "message": "Invalid refresh token",
}


def notices(person: Person) -> dict[str, str]:
    """Return what ``imgurfs status`` tells besides figures."""
    said = person.run("status", "--json")
    found: dict[str, str] = json.loads(said.stdout)["notices"]
    return found


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    """Return a service manager's socket, as the daemon is given one."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.setblocking(False)
    return listening


def heard(manager: socket.socket) -> list[str]:
    """Return the states that the service manager was told, one after the other."""
    said: list[str] = []
    while True:
        try:
            lines = manager.recv(65_536).decode().splitlines()
        except BlockingIOError:
            return said
        said += [one[7:] for one in lines if one.startswith("STATUS=")]


def test_revoked_login_is_told_once_and_mended(
    person: Person, manager: socket.socket
) -> None:
    """A daemon with a revoked token ends with 77; status and STATUS= say what to do.

    What was found meanwhile is uploaded once after the next login.
    """
    folder = person.directory / "folder"
    folder.mkdir()
    person.configure(
        text=f'[sync]\nsettle_s = 0.1\n[[folder]]\npath = "{folder}"\nalbums = "none"\n'
    )
    person.log_in()
    log = person.directory / "daemon.log"
    environ = {**person.environ(), "NOTIFY_SOCKET": str(manager.getsockname())}
    config = ("--config", str(person.config))
    with manager:
        with process("imgurfs_daemon", *config, environ=environ, log=log) as daemon:
            person.imgur.faults(REVOKED)
            person.imgur.end_access_tokens()
            fill(folder, "revoked.png")
            assert daemon.wait(60) == 77
        words = "Imgur does not accept the refresh token"
        assert words in heard(manager)[-1]
    assert log.read_text().count("ERROR default: " + words) == 1
    told = notices(person)
    assert words in told["login"]
    assert "imgurfs login" in told["login"]
    assert person.run("status").stdout.count(words) == 1
    fill(folder, "later.png")
    person.imgur.faults()
    person.log_in()
    assert "login" not in notices(person)
    synced = person.run("sync", str(folder), "--once")
    assert synced.returncode == 0, synced.stderr
    sent = [
        entry
        for entry in person.imgur.log()
        if entry["method"] == "POST"
        and entry["path"] in ("/3/image", "/3/upload")
        and entry["status"] == 200
    ]
    assert len(sent) == 2


def test_daemon_that_starts_with_a_new_secret_says_nothing_more(
    person: Person,
) -> None:
    """The notice goes when a daemon serves again, also without another login."""
    folder = person.directory / "folder"
    fill(folder, "revoked.png")
    text = f'[sync]\nsettle_s = 0.1\n[[folder]]\npath = "{folder}"\nalbums = "none"\n'
    person.configure(with_secret=False, text=text)
    with person.logging_in("--paste") as login:
        assert login.end(person.imgur.answer_to(login.url))[0] == 0
    person.imgur.end_access_tokens()
    log = person.directory / "daemon.log"
    config = ("--config", str(person.config))
    environ = person.environ()
    with process("imgurfs_daemon", *config, environ=environ, log=log) as daemon:
        assert daemon.wait(60) == 77
    assert "put client_secret under [account]" in notices(person)["login"]
    person.configure(text=text)
    with process("imgurfs_daemon", *config, environ=environ, log=log):
        wait_until(lambda: not notices(person), log=log)
