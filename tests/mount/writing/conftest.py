"""Fixtures of the tests that write: each real mount has an account of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.mounted import EmulatorProcess, emulator_process

#: Deletions are final after a moment, and nobody asks about them.
SETTINGS = "[sync]\ndelete_grace_s = 0.1\nguard = false\n"


@pytest.fixture
def settings() -> str:
    """Return what the configuration of a machine says besides its account."""
    return SETTINGS


@pytest.fixture
def emulator() -> Iterator[EmulatorProcess]:
    """Return an emulator for one test only: the account is changed."""
    with emulator_process() as process:
        yield process
