"""One user's systemd for the whole group, with two accounts as services in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.mounted import emulator_process
from tests.support.serviced import IMPATIENT, Served, configure
from tests.support.usermanager import UserManager, user_manager


@dataclass(frozen=True)
class Installed:
    """What 'service install' made, and what it said."""

    manager: UserManager
    first: Served
    second: Served
    said: dict[str, Any]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Two logged in accounts whose services were installed and started."""
    log: Path = tmp_path_factory.mktemp("systemd") / "log"
    world = ("--albums", "1", "--images", "2")
    with (
        emulator_process(*world) as one,
        emulator_process(*world) as two,
        user_manager(log) as manager,
    ):
        first, second = Served(manager, one), Served(manager, two, "second")
        configure(manager, first, second)
        first.log_in()
        second.log_in()
        said = json.loads(first.imgurfs("service", "install", "--json"))
        second.imgurfs("service", "install", "--quiet")
        for unit in (first.sync, first.mount, second.sync, second.mount):
            first.drop_in(unit, IMPATIENT)
        yield Installed(manager, first, second, said)
