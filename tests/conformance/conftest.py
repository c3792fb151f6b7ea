"""Fixtures: a namespace with an emulator for each dialect, shared by its tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs.emulator.config import Dialect
from tests.conformance.network import Client, Network, imgurpython, network, npm_imgur


@pytest.fixture(scope="session", params=list(Dialect))
def imgur(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Network]:
    """Imgur as these clients know it, once with each back-end."""
    directory: Path = tmp_path_factory.mktemp("network")
    with network(
        directory, "--albums", "3", "--images", "120", dialect=request.param
    ) as running:
        yield running


@pytest.fixture(scope="session")
def python_client(imgur: Network) -> Iterator[Client]:
    """imgurpython, not yet constructed."""
    with imgurpython(imgur) as client:
        yield client


@pytest.fixture(scope="session")
def npm_client(imgur: Network) -> Iterator[Client]:
    """npm imgur, not yet constructed."""
    with npm_imgur(imgur) as client:
        yield client


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A PNG of 32 by 24 with a name."""
    from PIL import Image

    path = tmp_path / "holiday.png"
    Image.new("RGB", (32, 24), "teal").save(path)
    return path
