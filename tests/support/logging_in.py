"""An emulator to log in to, homes to log in from, ``imgurfs login`` as a process."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import environment, process

_ADDRESS = re.compile(r"^  (http\S+)$")
_WAIT_S = 30.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Imgur:
    """A running emulator whose application comes back to ``port`` of this machine."""

    said: dict[str, str]
    port: int

    def faults(self, *rules: dict[str, object]) -> None:
        """Let it do this from now on."""
        self._ask("POST", "/_emulator/faults", json.dumps(rules).encode())

    def log(self) -> list[dict[str, Any]]:
        """Return the requests it has seen."""
        found: list[dict[str, Any]] = self._ask("GET", "/_emulator/log")
        return found

    def forget_log(self) -> None:
        """Begin the log anew."""
        self._ask("DELETE", "/_emulator/counters")

    def end_access_tokens(self) -> None:
        """Let no access token be good any more."""
        self._ask("DELETE", "/_emulator/access_tokens")

    def answer_to(self, url: str, *, allow: bool = True, name: str = "sample") -> str:
        """Return where the login page at ``url`` sends the browser."""
        form = {"username": name, "password": name, "allow": str(int(allow))}
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        with contextlib.closing(connection):
            connection.request(
                "POST",
                f"{parts.path}?{parts.query}",
                urllib.parse.urlencode(form),
                {"Content-Type": "application/x-www-form-urlencoded"},
            )
            return connection.getresponse().headers["Location"]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(
            self.said["api_url"] + path, data=body, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def imgur(directory: Path, *options: str) -> Iterator[Imgur]:
    """Run an emulator until the block ends."""
    port = free_port()
    with process(
        "imgurfs", "emulator", "--port", "0", "--limits", "off", "--images", "2",
        "--albums", "1", "--callback", f"http://127.0.0.1:{port}/", *options,
        environ=environment(directory), log=directory / "emulator.log",
    ) as emulator:  # fmt: skip
        assert emulator.stdout is not None
        yield Imgur(json.loads(emulator.stdout.readline()), port)


@dataclass
class LoggingIn:
    """``imgurfs login`` while it waits; ``url`` is the address it showed."""

    process: subprocess.Popen[str]
    url: str = ""
    heard: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """What must come back with the answer."""
        return self.url.partition("&state=")[2].partition("&")[0]

    def listen(self) -> None:
        """Read what it says until the address was shown, and a line of it waiting."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.heard.append(line)
            found = _ADDRESS.match(line)
            self.url = found[1] if found else self.url
            if "refresh-token-stdin" in line:
                return
        raise AssertionError("".join(self.heard))

    def hear(self, words: str) -> None:
        """Read on until it says this."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.heard.append(line)
            if words in line:
                return
        raise AssertionError("".join(self.heard))

    def hear_prompt(self, words: str) -> None:
        """Read on until it asks this, which is no whole line."""
        assert self.process.stderr is not None
        asked = ""
        while not asked.endswith(words):
            letter = self.process.stderr.read(1)
            assert letter, asked
            asked += letter
        self.heard.append(asked)

    def end(self, text: str | None = None) -> tuple[int, str, str]:
        """Wait for its end; return exit code, output, and everything else it said."""
        out, err = self.process.communicate(text, timeout=_WAIT_S)
        return self.process.returncode, out, "".join(self.heard) + err


@dataclass(frozen=True)
class Person:
    """A home directory with a configuration for the emulator's application."""

    directory: Path
    imgur: Imgur
    more: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration file, where it is when none is named."""
        return self.directory / "config/imgurfs/config.toml"

    @property
    def token(self) -> Path:
        """The token file of the default account."""
        return self.directory / "state/imgurfs/default/token.json"

    def configure(self, *, with_secret: bool = True, text: str = "") -> None:
        """Write the configuration; ``text`` goes into the account's table."""
        known = ["client_id", "api_url", "cdn_url"]
        known += ["client_secret"] if with_secret else []
        lines = [f'{key} = "{self.imgur.said[key]}"' for key in known]
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text("[account]\n" + "\n".join(lines) + f"\n{text}")
        self.config.chmod(0o600)

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self._command(*arguments),
            env=self.environ(),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def log_in(self) -> None:
        """Log in with the refresh token, as tests do that are about something else."""
        token = self.imgur.said["refresh_token"]
        done = self.run("login", "--refresh-token-stdin", text=token)
        assert done.returncode == 0, done.stderr

    def start(
        self, *arguments: str, stdin: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start a command that has no terminal but what it is given."""
        return subprocess.Popen(
            self._command(*arguments),
            env=self.environ(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @contextmanager
    def logging_in(
        self, *options: str, stdin: int = subprocess.PIPE
    ) -> Iterator[LoggingIn]:
        """Run ``imgurfs login`` and wait until it waits."""
        ways = ("--paste", "--port")
        usual = () if set(ways) & set(options) else ("--port", str(self.imgur.port))
        running = self.start("login", *usual, *options, stdin=stdin)
        with running:
            try:
                login = LoggingIn(running)
                login.listen()
                yield login
            finally:
                running.kill()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "imgurfs", *arguments]

    def environ(self) -> dict[str, str]:
        """Return the environment of this person's programs."""
        environ = environment(self.directory, **self.more)
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            if name not in self.more:
                environ.pop(name, None)
        return environ
