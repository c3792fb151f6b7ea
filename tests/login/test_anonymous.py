"""``imgurfs login --anonymous``: who may, what is kept, and what never mixes."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.support.logging_in import Person
from tests.support.pictures import small_picture


@pytest.fixture
def nobody(person: Person) -> Person:
    """Return somebody who uploads without an account."""
    person.configure(with_secret=False)
    done = person.run("login", "--anonymous")
    assert done.returncode == 0, done.stderr
    return person


def test_client_id_alone_is_kept(nobody: Person) -> None:
    """No account, no token; the user is told what may go, and what to back up."""
    kept = json.loads(nobody.token.read_bytes())
    assert (kept["account_id"], kept["access_token"]) == (0, "")
    assert nobody.token.stat().st_mode & 0o777 == 0o600
    again = nobody.run("login", "--anonymous")
    assert again.returncode == 0
    assert "may delete them" in again.stderr
    assert "anonymous.jsonl" in again.stderr
    status = json.loads(nobody.run("status", "--json").stdout)
    assert status["account"] == {"name": "anonymous", "id": 0} | status["account"]


def test_unknown_client_id_is_refused(person: Person) -> None:
    """Imgur has to know it; until then nothing is stored."""
    person.config.write_text(
        f'[account]\nclient_id = "0123456789abcde"\n'
        f'api_url = "{person.imgur.said["api_url"]}"\n'
    )
    done = person.run("login", "--anonymous")
    assert done.returncode == 77
    assert "client id" in done.stderr
    assert not person.token.exists()


def test_state_of_an_account_is_refused(person: Person) -> None:
    """Uploads of nobody's are not mixed into an account: exit 78, the login stays."""
    person.log_in()
    before = person.token.read_bytes()
    done = person.run("login", "--anonymous")
    assert done.returncode == 78
    assert "section of its own" in done.stderr
    assert person.token.read_bytes() == before


@pytest.mark.parametrize("is_state_lost", [False, True])
def test_account_is_refused_by_a_state_without_one(
    nobody: Person, is_state_lost: bool
) -> None:
    """Nor the other way, also when only the file of deletehashes is left."""
    picture = nobody.directory / "one.png"
    picture.write_bytes(small_picture("one"))
    assert nobody.run("upload", str(picture)).returncode == 0
    if is_state_lost:
        for file in nobody.token.parent.glob("state.db*"):
            file.unlink()
    nobody.configure()
    token = nobody.imgur.said["refresh_token"]
    done = nobody.run("login", "--refresh-token-stdin", text=token)
    assert done.returncode == 78
    assert "section of its own" in done.stderr
    assert json.loads(nobody.token.read_bytes())["account_id"] == 0


def test_one_way_at_a_time(person: Person) -> None:
    """Two ways of logging in at once mean nothing."""
    done = person.run("login", "--anonymous", "--paste")
    assert done.returncode == 2
    assert "choose one" in done.stderr


def test_after_a_logout_nothing_is_sent(nobody: Person) -> None:
    """The deletehashes stay, and a new login goes on with them."""
    picture = nobody.directory / "one.png"
    picture.write_bytes(small_picture("one"))
    assert nobody.run("upload", str(picture)).returncode == 0
    register = nobody.token.parent / "anonymous.jsonl"
    before = register.read_bytes()
    assert nobody.run("logout").returncode == 0
    assert nobody.run("upload", str(picture)).returncode == 77
    assert nobody.run("login", "--anonymous").returncode == 0
    again = nobody.run("upload", str(picture), "--json")
    assert not json.loads(again.stdout)["files"][0]["is_new"]
    assert register.read_bytes() == before


def test_user_tells_what_a_lost_answer_has_made(nobody: Person) -> None:
    """The held upload is shown with what to do; the image that was found is kept."""
    nobody.configure(with_secret=False, text="[sync]\nquarantine_s = 0.2\n")
    folder = nobody.directory / "folder"
    folder.mkdir()
    (folder / "one.png").write_bytes(small_picture("lost"))
    nobody.imgur.faults(
        {"method": "POST", "path": "/3/upload", "action": "reset_after"}
    )
    nobody.run("sync", str(folder), "--once")
    nobody.imgur.faults()
    nobody.run("sync", str(folder), "--once")
    (job,) = json.loads(nobody.run("queue", "--json").stdout)["jobs"]
    assert job["waits_for"] == "decision"
    assert f"resolve {job['id']} --did-not-happen" in job["reason"]
    with urllib.request.urlopen(
        nobody.imgur.said["api_url"] + "/_emulator/state", timeout=10
    ) as answer:
        made = json.load(answer)["anonymous"]["images"][-1]["id"]
    done = nobody.run("queue", "resolve", str(job["id"]), "--happened", made)
    assert done.returncode == 0, done.stderr
    assert json.loads(nobody.run("queue", "--json").stdout)["jobs"] == []
    assert made in nobody.run("ls").stdout
    assert made in (nobody.token.parent / "anonymous.jsonl").read_text()
