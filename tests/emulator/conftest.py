"""Fixtures: both dialects, and servers in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import pytest

from imgurfs.emulator.config import Dialect

COMMAND = [
    sys.executable,
    "-c",
    "from imgurfs.cli.emulator import emulator; emulator()",
]


@dataclass(frozen=True)
class ServerProcess:
    """A running ``imgurfs emulator`` and its first line."""

    process: subprocess.Popen[str]
    first_line: str

    @property
    def facts(self) -> dict[str, str]:
        """The JSON object of the first line."""
        facts: dict[str, str] = json.loads(self.first_line)
        return facts

    @property
    def output(self) -> IO[str]:
        """The rest of standard output."""
        assert self.process.stdout is not None
        return self.process.stdout


@pytest.fixture(params=list(Dialect))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each of Imgur's two back-ends in turn."""
    chosen: Dialect = request.param
    return chosen


@pytest.fixture
def start_server() -> Iterator[Callable[..., ServerProcess]]:
    """Return a function that starts the command with arguments; stopped at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> ServerProcess:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return ServerProcess(process, process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=10)
