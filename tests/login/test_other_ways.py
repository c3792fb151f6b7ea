"""Logging in without a browser on this machine, and what can go wrong with a login."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imgurfs.model import Account
from imgurfs.store import meta
from tests.support.account import open_state
from tests.support.logging_in import Imgur, Person, imgur

SECRETS = ("access_token", "refresh_token", "client_secret")


def kept(person: Person) -> dict[str, str]:
    """Return the token file."""
    found: dict[str, str] = json.loads(person.token.read_bytes())
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url,
        lambda url: re.sub(r"&state=[^&]*", "", url.partition("#")[2]),
    ],
    ids=["whole", "fragment without a state"],
)
def test_pasted_address_logs_in(person: Person, change: Callable[[str], str]) -> None:
    """The whole address, its fragment, or one without a state: the token is kept."""
    with person.logging_in("--paste") as login:
        answer = person.imgur.answer_to(login.url)
        code, out, err = login.end(change(answer) + "\n")
    assert code == 0, err
    assert out == "logged in as sample (account 135798223)\n"
    assert kept(person)["access_token"] in answer
    assert not [name for name in SECRETS if kept(person)[name] in out + err]


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (lambda url: url.replace("state=", "state=x"), 2, "another login"),
        (lambda _: "", 2, "no answer of Imgur's login page"),
        (lambda url: url.replace("access_token=", "access_token=0"), 77, "not accept"),
        (lambda url: url.replace("account_id=1", "account_id=2"), 78, "whom the"),
    ],
)
def test_pasted_nonsense_changes_nothing(
    person: Person, change: Callable[[str], str], expected: int, words: str
) -> None:
    """What is no answer, or not a true one, is refused; the old token stays."""
    person.configure(with_secret=False)
    person.token.parent.mkdir(parents=True)
    before = b'{"access_token": "it is damaged, but it stays"}'
    person.token.write_bytes(before)
    person.token.chmod(0o600)
    with person.logging_in("--paste") as login:
        answer = person.imgur.answer_to(login.url)
        code, out, err = login.end(change(answer) + "\n")
    assert (code, out) == (expected, "")
    assert words in err
    assert person.token.read_bytes() == before


def test_pasted_text_is_not_shown_on_a_terminal(person: Person) -> None:
    """On a terminal nothing of what is pasted comes back."""
    ours, theirs = pty.openpty()
    with person.logging_in("--paste", stdin=theirs) as login:
        os.close(theirs)
        login.hear_prompt("Address (not shown)")
        answer = person.imgur.answer_to(login.url)
        os.write(ours, answer.encode() + b"\n")
        code, _, err = login.end()
        shown = everything_in(ours)
    os.close(ours)
    assert code == 0, err
    assert b"access_token" not in shown


def everything_in(terminal: int) -> bytes:
    """Return what a terminal shows by now, whether or not a program is behind it."""
    os.set_blocking(terminal, False)
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def test_refused_login_page_is_told(person: Person) -> None:
    """Somebody who pastes a refusal is told what it means."""
    with person.logging_in("--paste") as login:
        answer = person.imgur.answer_to(login.url, allow=False)
        code, _, err = login.end(answer)
    assert code == 77
    assert "you chose not to" in err


@pytest.mark.parametrize("options", [(), ("--refresh-token-stdin",)])
def test_another_account_than_the_states(
    person: Person, options: tuple[str, ...]
) -> None:
    """A login as somebody else is refused with exit 78; token and state stay."""
    person.log_in()
    database = person.token.with_name("state.db")
    state = open_state(database)
    state.write_blocking(lambda c: meta.put(c, "account_id", "7"))
    state.write_blocking(lambda c: meta.put(c, "account_name", "somebody"))
    state.close()
    before = person.token.read_bytes()
    way = options or ("--paste",)
    token = person.imgur.said["refresh_token"]
    if options:
        done = person.run("login", *way, text=token)
        code, err = done.returncode, done.stderr
    else:
        with person.logging_in(*way) as login:
            code, _, err = login.end(person.imgur.answer_to(login.url))
    assert code == 78
    assert "this state belongs to the account 'somebody' (id 7)" in err
    assert person.token.read_bytes() == before
    state = open_state(database)
    assert meta.account_of(state.reader) == Account(7, "somebody")
    state.close()


def test_two_logins_at_once(person: Person) -> None:
    """The second is refused while the first waits; then it may."""
    with person.logging_in("--paste") as first:
        token = person.imgur.said["refresh_token"]
        second = person.run("login", "--refresh-token-stdin", text=token)
        assert second.returncode == 69
        assert f"process {first.process.pid}" in second.stderr
        assert not person.token.exists()
        assert first.end(person.imgur.answer_to(first.url))[0] == 0
    person.log_in()


def test_interrupted_login_changes_nothing(person: Person) -> None:
    """Ctrl-C ends the wait at once: exit 130, no traceback, and the old token stays."""
    person.log_in()
    before = person.token.read_bytes()
    with person.logging_in() as login:
        login.process.send_signal(signal.SIGINT)
        code, out, err = login.end()
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert person.token.read_bytes() == before
    person.log_in()


def test_unknown_account_is_refused(person: Person) -> None:
    """An account that is not in the configuration is exit 78, and leaves no trace."""
    done = person.run("login", "--account", "nobody")
    assert done.returncode == 78
    assert not person.token.parents[1].exists()


def test_taken_port_is_told(person: Person) -> None:
    """Another program on the port: exit 69, and how to go on."""
    with person.logging_in():
        other = Person(person.directory / "other", person.imgur)
        other.directory.mkdir()
        other.configure()
        done = other.run("login", "--no-browser", "--port", str(person.imgur.port))
    assert done.returncode == 69
    assert "--port" in done.stderr


def test_without_client_id(person: Person) -> None:
    """Nothing works without one: the text says what still does, exit 77."""
    person.config.write_text("")
    done = person.run("login")
    assert done.returncode == 77
    assert "no new applications since mid-2025" in done.stderr
    person.configure()
    done = person.run("login", "--client-id", "another")
    assert done.returncode == 78


def test_without_client_secret_it_lasts_as_long_as_it_lasts(person: Person) -> None:
    """Without a secret the login ends with its token; with one it goes on by itself."""
    person.configure(with_secret=False)
    with person.logging_in("--paste") as login:
        code, _, err = login.end(person.imgur.answer_to(login.url))
    assert code == 0
    assert "There is no client secret" in err
    assert person.run("credits").returncode == 0
    person.imgur.end_access_tokens()
    ended = person.run("credits")
    assert ended.returncode == 77
    assert "put client_secret under [account]" in ended.stderr
    person.configure()
    renewed = person.run("credits")
    assert renewed.returncode == 0, renewed.stderr
    assert kept(person)["client_secret"] == person.imgur.said["client_secret"]


def test_secret_of_the_last_login_is_known(person: Person) -> None:
    """The secret that left the configuration is found for the next login."""
    person.log_in()
    assert "client_secret" not in person.config.read_text()
    person.log_in()
    assert kept(person)["client_secret"] == person.imgur.said["client_secret"]


def test_a_configuration_that_was_named_keeps_its_secret(person: Person) -> None:
    """Two machines that share a file can both log in by it."""
    before = person.config.read_bytes()
    machines = [person, replace(person, directory=person.directory / "other")]
    token = person.imgur.said["refresh_token"]
    for machine in machines:
        named = ("--config", str(person.config))
        done = machine.run(*named, "login", "--refresh-token-stdin", text=token)
        assert done.returncode == 0, done.stderr
        assert "needs no client_secret any more" in done.stderr
        assert kept(machine)["client_secret"] == person.imgur.said["client_secret"]
    assert person.config.read_bytes() == before


@pytest.mark.parametrize(
    "written",
    [
        "account = {{client_secret = '{s}', client_id = '{c}', {urls}}}\n",
        "account.client_secret = '{s}' # ours\naccount.client_id = '{c}'\n{dotted}",
        '[account]\n\'client_secret\' = """{s}"""\nclient_id = \'{c}\'\n{lines}',
    ],
    ids=["inline", "dotted", "quoted"],
)
def test_secret_is_found_however_it_is_written(person: Person, written: str) -> None:
    """Unusual TOML loses the secret, and nothing else."""
    said = person.imgur.said
    pairs = [f"{key} = '{said[key]}'" for key in ("api_url", "cdn_url")]
    text = written.format(
        s=said["client_secret"],
        c=said["client_id"],
        urls=", ".join(pairs),
        lines="\n".join(pairs),
        dotted="\n".join(f"account.{pair}" for pair in pairs),
    )
    person.config.write_text(text)
    token = said["refresh_token"]
    done = person.run("login", "--refresh-token-stdin", text=token)
    assert done.returncode == 0, done.stderr
    left = person.config.read_text()
    assert said["client_secret"] not in left
    assert [pair for pair in pairs if pair in left] == pairs


def test_processes_share_a_token_that_rotates(tmp_path: Path) -> None:
    """Of processes whose token has ended one renews it, and all have what came."""
    with imgur(tmp_path, "--quirk", "refresh_token=rotated") as rotating:
        person = Person(tmp_path, rotating)
        person.configure()
        person.log_in()
        first = kept(person)
        rotating.end_access_tokens()
        # Long enough for all of them to have begun.
        slow = {"path": "/oauth2/token", "action": "delay", "delay_s": 3}
        rotating.faults(slow)
        before = renewals(rotating)
        running = [person.start("credits") for _ in range(3)]
        for one in running:
            _, err = one.communicate(timeout=60)
            assert one.returncode == 0, err
        assert renewals(rotating) == before + 1
        second = kept(person)
        assert second["access_token"] != first["access_token"]
        assert second["refresh_token"] != first["refresh_token"]


def renewals(emulator: Imgur) -> int:
    """Return how often the token endpoint was asked."""
    return sum(entry["path"] == "/oauth2/token" for entry in emulator.log())
