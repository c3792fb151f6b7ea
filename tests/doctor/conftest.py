"""An account for the doctor to look at: each test has an emulator and a login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Place, place


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Place]:
    """A place with everything in order: an emulated account, logged in."""
    with place(tmp_path) as found:
        yield found
