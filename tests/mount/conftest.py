"""Fixtures of the functional suite: each test runs in process and on a real mount.

A missing /dev/fuse is a failure here, not a skip.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio.testing

from tests.support.drive_outside import through_the_kernel
from tests.support.drives import Drive
from tests.support.inside import in_process
from tests.support.mounted import EmulatorProcess, Machine, emulator_process
from tests.support.programs import Ground, Grounds


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorProcess]:
    """Return the emulator process that all real mounts of the suite share."""
    with emulator_process() as process:
        yield process


@pytest.fixture
def settings() -> str:
    """Return what the configuration of a machine says besides its account."""
    return ""


@pytest.fixture
def machine(
    tmp_path: Path, emulator: EmulatorProcess, settings: str
) -> Iterator[Machine]:
    """Return a machine of its own for one test, configured and not logged in."""
    machine = Machine(tmp_path, emulator, settings=settings)
    machine.configure()
    yield machine
    machine.clean_up()


@pytest.fixture(params=["in_process", pytest.param("kernel", marks=pytest.mark.mount)])
def clock(request: pytest.FixtureRequest) -> object:
    """Return the virtual clock for drives in process, and none for real mounts.

    pytest-trio runs a test on the clock among its arguments.
    """
    if request.param == "in_process":
        return trio.testing.MockClock(autojump_threshold=0)
    return None


@pytest.fixture
async def drive(
    clock: object, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Drive]:
    """Return a drive over the sample account, completely listed, nothing read."""
    if clock is not None:
        async with in_process(tmp_path) as inside:
            yield inside
    else:
        machine: Machine = request.getfixturevalue("machine")
        async with through_the_kernel(machine) as outside:
            yield outside


@pytest.fixture
async def read_only_drive(
    clock: object, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Drive]:
    """Return a read-only drive over the sample account."""
    if clock is not None:
        async with in_process(tmp_path, is_read_only=True) as inside:
            yield inside
    else:
        machine: Machine = request.getfixturevalue("machine")
        async with through_the_kernel(machine, "--read-only") as outside:
            yield outside


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    """Return drives for real programs, shared by the tests of a module."""
    made = Grounds(tmp_path_factory.mktemp("grounds"))
    yield made
    made.close()


@pytest.fixture(params=["disk", pytest.param("drive", marks=pytest.mark.mount)])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Return a plain directory, and then a drive: programs must see the same."""
    if request.param == "disk":
        (tmp_path / "disk").mkdir()
        yield Ground(tmp_path / "disk")
    else:
        with request.getfixturevalue("grounds").drive() as drive:
            yield drive
