"""Logging out: the token goes, everything else stays, and running programs notice."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.logging_in import Person
from tests.support.processes import fill, process, wait_until


def test_logout_forgets_the_token_and_keeps_the_application(person: Person) -> None:
    """No token is left, no command sends anything, and the next login needs no more."""
    person.log_in()
    before = json.loads(person.token.read_bytes())
    done = person.run("logout")
    assert done.returncode == 0, done.stderr
    assert "logged out\n" in done.stdout
    assert "client id and secret are kept" in done.stdout
    text = person.token.read_text()
    assert before["access_token"] not in text
    assert before["refresh_token"] not in text
    assert before["client_secret"] in text
    credits_left = person.run("credits")
    assert credits_left.returncode == 77
    assert "nobody is logged in" in credits_left.stderr
    assert person.run("logout").stdout == "nobody is logged in\n"
    person.log_in()
    assert person.run("credits").returncode == 0


def test_logout_of_everything(person: Person) -> None:
    """With --all the application's secret goes as well, also after a logout."""
    person.log_in()
    person.run("logout")
    done = person.run("logout", "--all")
    assert done.returncode == 0, done.stderr
    assert not person.token.exists()
    token = person.imgur.said["refresh_token"]
    again = person.run("login", "--refresh-token-stdin", text=token)
    assert again.returncode == 77
    assert "client_secret" in again.stderr


def test_logout_clears_a_damaged_token_away(person: Person) -> None:
    """What cannot be read is removed all the same."""
    person.token.parent.mkdir(parents=True)
    person.token.write_text("{")
    person.token.chmod(0o600)
    assert person.run("logout").returncode == 0
    assert not person.token.exists()


def test_work_that_waits_is_asked_about_and_stays(person: Person) -> None:
    """A running daemon notices a logout; what waits is sent after the next login."""
    folder = person.directory / "folder"
    fill(folder, "logged-out.png")
    person.configure(
        text=f'[sync]\nsettle_s = 0.1\n[[folder]]\npath = "{folder}"\nalbums = "none"\n'
    )
    person.log_in()
    assert person.run("pause").returncode == 0
    log = person.directory / "daemon.log"
    config = ("--config", str(person.config))
    with process(
        "imgurfs_daemon", *config, environ=person.environ(), log=log
    ) as daemon:
        wait_until(lambda: waiting(person) == 1, log=log)
        refused = person.run("logout")
        assert refused.returncode == 2
        assert "1 job waits to be sent" in refused.stderr
        done = person.run("logout", "--yes")
        assert "1 job will be sent after the next login" in done.stdout
        assert person.run("resume").returncode == 0
        assert daemon.wait(30) == 77
    assert "nobody is logged in" in log.read_text()
    assert waiting(person) == 1
    assert uploads(person) == 0
    person.log_in()
    synced = person.run("sync", str(folder), "--once")
    assert synced.returncode == 0, synced.stderr
    assert uploads(person) == 1


def waiting(person: Person) -> int:
    """Return how many jobs wait."""
    listed = person.run("queue", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    jobs = found["jobs"] if isinstance(found, dict) else found
    return len(jobs)


def uploads(person: Person) -> int:
    """Return how many pictures the emulator was sent."""
    paths = ("/3/image", "/3/upload")
    return sum(
        entry["method"] == "POST" and Path(entry["path"]).as_posix() in paths
        for entry in person.imgur.log()
    )
