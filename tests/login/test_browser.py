"""Logging in with a real browser, on the emulator's login page."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.chromium import Browser
from tests.support.logging_in import Imgur, Person, imgur
from tests.support.processes import wait_until

SLOW = {"method": "GET", "path": "/3/account/me", "action": "delay", "delay_s": 1.5}


def test_allow_logs_in(browser: Browser, person: Person) -> None:
    """Allow: page and terminal say so, the token works, nothing is left in the tab."""
    with person.logging_in() as login:
        tab = browser.open(login.url)
        tab.log_in(allow=True)
        assert "Logged in as sample" in tab.wait_for("Logged in")
        code, out, err = login.end()
    assert code == 0, err
    assert out == "logged in as sample (account 135798223)\n"
    assert not [url for url in tab.addresses() if "access_token" in url]
    assert tab.run("location.hash + location.search") == ""
    assert person.token.stat().st_mode & 0o777 == 0o600
    credits_left = person.run("credits")
    assert credits_left.returncode == 0, credits_left.stderr


def test_deny_is_told_on_both_sides(browser: Browser, person: Person) -> None:
    """Deny: page and terminal say who refused, exit 77, and the old login stays."""
    person.log_in()
    before = person.token.read_bytes()
    with person.logging_in() as login:
        tab = browser.open(login.url)
        tab.log_in(allow=False)
        tab.wait_for("Not logged in: the login was refused")
        code, out, err = login.end()
    assert (code, out) == (77, "")
    assert "you chose not to let the application in" in err
    assert person.token.read_bytes() == before


def test_what_is_no_answer_does_not_end_the_wait(
    browser: Browser, person: Person
) -> None:
    """Wrong state, garbage, nothing at all: each is refused, then Allow still works."""
    back = f"http://127.0.0.1:{person.imgur.port}/"
    with person.logging_in() as login:
        tab = browser.open(f"{back}#access_token={'a' * 40}&state=wrong")
        tab.wait_for("this is the answer to another login")
        login.hear("another login")
        for stray in ("#error=access_denied", "#%%%&&&=", "", f"?x={'y' * 9000}"):
            tab = browser.open(back + stray)
            tab.wait_for("Not logged in: " if len(stray) < 9000 else "too long")
        assert not person.token.exists()
        tab.go(login.url)
        tab.log_in(allow=True)
        tab.wait_for("Logged in as sample")
        code, _, err = login.end()
    assert code == 0, err


def test_second_tab_is_told_that_the_login_was_used(
    browser: Browser, person: Person
) -> None:
    """Of two tabs the first one counts, although the second ended its access token."""
    person.imgur.faults(SLOW)
    with person.logging_in() as login:
        first, second = browser.open(login.url), browser.open(login.url)
        first.log_in(allow=True)
        first.wait_for("One moment")
        second.log_in(allow=True)
        second.wait_for("This login was used already")
        first.wait_for("Logged in as sample")
        assert login.end()[0] == 0


def test_browser_is_opened_without_the_state(
    browser: Browser, person: Person, tmp_path: Path
) -> None:
    """What the desktop is handed works once, and does not tell the login's state."""
    programs, told = tmp_path / "bin", tmp_path / "told"
    programs.mkdir()
    opener = programs / "xdg-open"
    opener.write_text(
        f'#!/bin/sh\nprintf "%s" "$1" >{told}.new\nmv {told}.new {told}\n'
    )
    opener.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    person = Person(person.directory, person.imgur, {"PATH": path, "DISPLAY": ":9"})
    with person.logging_in() as login:
        wait_until(told.exists, log=opener)
        address = told.read_text()
        assert login.state
        assert login.state not in address
        tab = browser.open(address)
        tab.wait_for("Password")
        browser.open(address).wait_for("This address was used already")
        tab.log_in(allow=True)
        tab.wait_for("Logged in as sample")
        assert login.end()[0] == 0


def test_dead_login_page_is_spoken_of(browser: Browser, tmp_path: Path) -> None:
    """With Error 1024 nothing ever comes back; the terminal says what to do then."""
    with imgur(tmp_path, "--quirk", "authorize_page=dead") as dead:
        person = Person(tmp_path, dead)
        person.configure()
        with person.logging_in("--timeout", "2s") as login:
            browser.open(login.url).wait_for("Error (1024)")
            code, out, err = login.end()
    assert (code, out) == (75, "")
    assert "Error (1024)" in err
    assert "imgurfs login --refresh-token-stdin" in err
    assert "no answer came from the browser within 2 s" in err
    assert not person.token.exists()


def test_secret_leaves_the_configuration(
    browser: Browser, emulator: Imgur, tmp_path: Path
) -> None:
    """After a login the client secret is with the token, and comments stay."""
    person = Person(tmp_path, emulator)
    person.configure(text="# about my pictures\nnames = 'neutral' # rather not\n")
    with person.logging_in() as login:
        tab = browser.open(login.url)
        tab.log_in(allow=True)
        tab.wait_for("Logged in as sample")
        assert login.end()[0] == 0
    text = person.config.read_text()
    assert "client_secret" not in text
    assert "# about my pictures\nnames = 'neutral' # rather not\n" in text
    kept = json.loads(person.token.read_bytes())
    assert kept["client_secret"] == emulator.said["client_secret"]
