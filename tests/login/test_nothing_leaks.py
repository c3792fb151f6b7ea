"""A whole life at the most talkative setting, and no secret anywhere but in its place.

Logins of three kinds, a mount, a daemon, every command that shows things, refused
tokens and tracebacks. Looked through: all output, all logs, the process list, and every
file below the home but the token file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.leaks import Evidence
from tests.support.logging_in import Imgur, Person, imgur
from tests.support.processes import fill, process, wait_until

pytestmark = pytest.mark.mount

LOUD = "-vv"
SHOWING = (
    ("status",), ("status", "--json"), ("queue", "list", "--json"),
    ("credits", "--json"), ("ls", "--links"), ("plan",), ("config", "show"),
    ("config", "check"), ("api", "GET", "account/me"), ("guard", "show"),
    ("wait", "--timeout", "1s"),
)  # fmt: skip


class Witness:
    """Runs a person's commands and keeps all they say."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.seen = Evidence(person.directory)
        self.secrets: dict[str, str] = {}
        self._logins = 0

    def run(self, *arguments: str, text: str = "") -> int:
        """Run a command at its loudest; return its exit code."""
        done = self.person.run(*arguments, LOUD, text=text)
        self.seen.add(f"output of {arguments}", done.stdout + done.stderr)
        return done.returncode

    def know_token(self) -> None:
        """Know the tokens of a login, to look for them later."""
        self._logins += 1
        kept = json.loads(self.person.token.read_bytes())
        for name in ("access_token", "refresh_token", "client_secret"):
            self.secrets[f"{name} {self._logins}"] = kept[name]

    def know_images(self) -> None:
        """Know what would delete the images."""
        said = json.loads(self.person.token.read_bytes())
        request = urllib.request.Request(
            self.person.imgur.said["api_url"] + "/3/account/me/images/0",
            headers={"Authorization": f"Bearer {said['access_token']}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            images = json.load(answer)["data"]
        for image in images:
            self.secrets[f"deletehash of {image['id']}"] = image["deletehash"]


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    """Return somebody at home in a directory that the emulator has no part of."""
    for name in ("home", "emulator"):
        (tmp_path / name).mkdir()
    programs = tmp_path / "home/bin"
    programs.mkdir()
    opener = programs / "xdg-open"
    opener.write_text(f"#!/bin/sh\nprintf '%s' \"$1\" >{tmp_path}/home/opened\n")
    opener.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    with imgur(tmp_path / "emulator") as found:
        yield Witness(Person(tmp_path / "home", found, {"PATH": path, "DISPLAY": ":9"}))


def come_back(imgur: Imgur, answer: str) -> None:
    """Do what the page's script does with an answer."""
    origin = f"http://127.0.0.1:{imgur.port}"
    with urllib.request.urlopen(origin, timeout=10) as page:
        ticket = re.findall(r'Ticket": "([^"]+)"', page.read().decode())[0]
    headers = {"Origin": origin, "X-Imgurfs-Ticket": ticket}
    body = answer.partition("#")[2].encode()
    post = urllib.request.Request(f"{origin}/answer", body, headers)
    with urllib.request.urlopen(post, timeout=30) as reply:
        assert b"Logged in" in reply.read()


def log_in_by_browser(witness: Witness) -> None:
    """Log in by way of the callback; the state may be in the address shown only."""
    with witness.person.logging_in(LOUD) as login:
        opened = witness.person.directory / "opened"
        wait_until(opened.exists, log=witness.person.config)
        assert witness.seen.add_processes() > 0
        come_back(witness.person.imgur, witness.person.imgur.answer_to(login.url))
        _, out, err = login.end()
    witness.secrets["state"] = login.state
    witness.seen.add("output of login", out + err.replace(login.url, "ADDRESS"))
    witness.know_token()


def log_in_by_paste(witness: Witness) -> None:
    """Log in by pasting; a wrong paste first."""
    for spoil in ("x", ""):
        with witness.person.logging_in("--paste", LOUD) as login:
            answer = witness.person.imgur.answer_to(login.url)
            _, out, err = login.end(answer.replace("state=", f"state={spoil}"))
        shown = err.replace(login.url, "ADDRESS")
        witness.seen.add("output of login --paste", out + shown)
        witness.secrets[f"pasted {spoil}"] = answer.partition("access_token=")[2][:40]
    witness.know_token()


@contextmanager
def mounted(witness: Witness, drive: Path) -> Iterator[None]:
    """Mount in the foreground until the block ends."""
    log = witness.person.directory / "mount.log"
    config = ("--config", str(witness.person.config))
    drive.mkdir()
    with process(
        "imgurfs", *config, "mount", str(drive), "--foreground", LOUD,
        environ=witness.person.environ(), log=log,
    ):  # fmt: skip
        wait_until(lambda: os.path.ismount(drive), log=log)
        try:
            yield
        finally:
            subprocess.run(["fusermount3", "-u", str(drive)], check=True)


def live(witness: Witness) -> None:
    """Use the drive and a watched folder, show everything, and lose the login."""
    person = witness.person
    folder, drive = person.directory / "folder", person.directory / "drive"
    log = person.directory / "daemon.log"
    config = ("--config", str(person.config))
    with mounted(witness, drive):
        fill(drive, "by-hand.png")
        fill(folder, "watched.png")
        with process(
            "imgurfs_daemon", *config, LOUD, environ=person.environ(), log=log
        ):
            wait_until(lambda: uploads(person) == 2, log=log)
            assert witness.seen.add_processes() >= 2
            for command in SHOWING:
                witness.run(*command)
            assert [path.read_bytes() for path in drive.glob("*.png")]
            witness.know_images()
        person.imgur.end_access_tokens()
        person.imgur.faults(
            {"path": "/oauth2/token", "action": "status", "status": 400,
             "message": "Invalid refresh token"}
        )  # fmt: skip
        assert witness.run("credits") == 77
        fill(drive, "too-late.png")
        for command in SHOWING[:3]:
            witness.run(*command)
    fill(folder, "too-late.png")
    assert witness.run("sync", str(folder), "--once") == 77
    person.imgur.faults()


def uploads(person: Person) -> int:
    """Return how many pictures arrived."""
    return sum(
        entry["method"] == "POST" and entry["path"] in ("/3/image", "/3/upload")
        for entry in person.imgur.log()
    )


def test_no_secret_is_anywhere_but_in_its_place(witness: Witness) -> None:
    """Of tokens, secrets, states and deletehashes none is found in what was written."""
    person = witness.person
    folder = person.directory / "folder"
    folder.mkdir()
    person.configure(text=f'[sync]\nsettle_s = 0.1\n[[folder]]\npath = "{folder}"\n')
    said = person.imgur.said
    assert witness.run("login", "--refresh-token-stdin", text="0" * 39 + "1") == 77
    log_in_by_browser(witness)
    log_in_by_paste(witness)
    assert (
        witness.run("login", "--refresh-token-stdin", text=said["refresh_token"]) == 0
    )
    witness.know_token()
    live(witness)
    witness.run("logout", "--yes")
    witness.seen.add_files(except_for={person.token})
    assert len({v for k, v in witness.secrets.items() if "access" in k}) == 3
    assert any(name.startswith("deletehash") for name in witness.secrets)
    assert said["client_secret"] in witness.secrets.values()
    # What deletes an image is known to the state, which nobody else can enter.
    assert (person.token.parent.stat().st_mode & 0o777) == 0o700
    leaks = witness.seen.leaks(witness.secrets)
    state = f"in file {person.token.with_name('state.db')}"
    assert [one for one in leaks if not (one.startswith("dele") and state in one)] == []
    everything = b"".join(witness.seen.pieces.values())
    assert b"DEBUG" in everything
    assert b"Traceback" in everything
    assert not re.findall(rb"(?i)(bearer|client-id) [0-9a-f]{6}", everything)


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    """The same search finds a secret in output, a file, arguments and environment."""
    secret = {"token": "5c3118ebb73fbb275945ab340be60b610a3216d6"}
    (word,) = secret.values()
    for where in ("output", "file", "argument", "environment", "encoded"):
        home = tmp_path / where
        home.mkdir()
        seen = Evidence(home)
        environ = {"XDG_STATE_HOME": f"{home}/state"}
        arguments = [sys.executable, "-c", "print(flush=True); input()"]
        environ |= {"TOKEN": word} if where == "environment" else {}
        arguments += [word] if where == "argument" else []
        pipe = subprocess.PIPE
        with subprocess.Popen(arguments, env=environ, stdin=pipe, stdout=pipe) as one:
            assert one.stdout is not None
            one.stdout.readline()
            assert seen.add_processes() == 1
            one.kill()
        if where == "output":
            seen.add("output", f"GET / Bearer {word}")
        if where == "encoded":
            seen.add("output", word.encode().hex())
        if where == "file":
            (home / "log").write_text(word)
        seen.add_files(except_for=set())
        assert len(seen.leaks(secret)) == 1, where
