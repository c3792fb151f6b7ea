"""Fixtures: an emulator to log in to, somebody who does, and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Browser, chromium
from tests.support.logging_in import Imgur, Person, imgur


@pytest.fixture(scope="package")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imgur]:
    """Run one emulator for all tests that only log in."""
    with imgur(tmp_path_factory.mktemp("emulator")) as found:
        yield found


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Run one browser for all tests."""
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def person(emulator: Imgur, tmp_path: Path) -> Iterator[Person]:
    """Return somebody with a configuration, who is not logged in."""
    emulator.forget_log()
    found = Person(tmp_path, emulator)
    found.configure()
    yield found
    emulator.faults()
