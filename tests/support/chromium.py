"""A real browser without a window, driven through its debugging pipe.

No driver program and no port: Chromium reads commands from descriptor 3 and answers on
descriptor 4, JSON objects that end in a zero byte.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WAIT_S = 30.0
_POLL_S = 0.02
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-extensions",
    "--disable-component-update", "--disable-sync", "--no-proxy-server",
    "--remote-debugging-pipe",
)  # fmt: skip

#: What the browser answers when the page went while it was asked.
_GONE = "Inspected target navigated or closed"


class PageGoneError(Exception):
    """The page that was asked is not there any more."""


class Browser:
    """A running Chromium with a profile of its own."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._buffer = b""
        self._number = 0

    def open(self, url: str) -> Page:
        """Open a tab."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, attached["sessionId"])
        page.go(url)
        return page

    def ask(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events in between are passed over."""
        self._number += 1
        message: dict[str, Any] = {
            "id": self._number,
            "method": method,
            "params": parameters,
        }
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _WAIT_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._number:
                error = answer.get("error", {}).get("message", "")
                if error == _GONE:
                    raise PageGoneError(error)
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left_s = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._answers], [], [], left_s)
            assert ready, "the browser does not answer"
            piece = os.read(self._answers, 65_536)
            assert piece, "the browser ended"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer


@dataclass(frozen=True)
class Page:
    """A tab."""

    browser: Browser
    session: str

    def go(self, url: str) -> None:
        """Begin to load an address, as if it had been typed."""
        self.browser.ask("Page.navigate", self.session, url=url)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; None while there is none."""
        answer = self.browser.ask(
            "Runtime.evaluate", self.session, expression=script, returnByValue=True
        )
        return answer["result"].get("value")

    def text(self) -> str:
        """Return what a person sees: nothing while one page gives way to another."""
        try:
            found = self.run("document.body ? document.body.innerText : ''")
        except PageGoneError:
            found = None
        return found or ""

    def wait_for(self, words: str) -> str:
        """Return the text of the page as soon as these words are in it."""
        deadline = time.monotonic() + _WAIT_S
        while words not in (text := self.text()):
            assert time.monotonic() < deadline, text
            # The page changes when its script says so, and nobody tells us.
            threading.Event().wait(_POLL_S)
        return text

    def log_in(self, *, allow: bool, name: str = "sample") -> None:
        """Fill in the form of the login page and press a button."""
        self.wait_for("Password")
        button = "Allow" if allow else "Deny"
        self.run(
            f"document.querySelector('[name=username]').value = {name!r};"
            f"document.querySelector('[name=password]').value = {name!r};"
            "[...document.querySelectorAll('button')]"
            f".find((one) => one.textContent === {button!r}).click()"
        )

    def addresses(self) -> list[str]:
        """Return the addresses that the tab's history shows."""
        found = self.browser.ask("Page.getNavigationHistory", self.session)
        return [entry["url"] for entry in found["entries"]]


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Run a browser until the block ends."""
    program = shutil.which("chromium") or "/usr/bin/chromium"
    command_end, commands = os.pipe()
    answers, answer_end = os.pipe()

    with (profile / "chromium.log").open("wb") as log:
        # The shell script that Debian starts it with passes on what it inherits, and
        # bash is what can put two pipes at the numbers that are asked for.
        running = subprocess.Popen(
            [
                "/bin/bash", "-c", f'exec "$@" 3<&{command_end} 4>&{answer_end}', "-",
                program, *_OPTIONS, f"--user-data-dir={profile}", "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(command_end, answer_end),
        )  # fmt: skip
    os.close(command_end)
    os.close(answer_end)
    try:
        browser = Browser(commands, answers)
        yield browser
        browser.ask("Browser.close")
    finally:
        os.close(commands)
        os.close(answers)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(10)
