"""``imgurfs doctor`` where the services really run."""

from __future__ import annotations

import json

from tests.support.serviced import IMGURFS
from tests.systemd.conftest import Installed


def findings(installed: Installed, check: str) -> list[tuple[str, str, str]]:
    """Return state, text and fix of what a check finds, as the user in there."""
    done = installed.manager.run(IMGURFS, "doctor", "--json")
    found = json.loads(done.stdout)["checks"]
    return [(f["state"], f["what"], f["fix"]) for f in found if f["check"] == check]


def test_services_that_run_and_one_that_does_not(installed: Installed) -> None:
    """All is well while all run; a stopped unit is told, with how to start it."""
    units = [
        unit
        for account in (installed.first, installed.second)
        for unit in (account.sync, account.mount)
    ]
    told = findings(installed, "services")
    assert [state for state, _, _ in told] == ["ok"] * 4, told
    assert all(any(unit in what for _, what, _ in told) for unit in units)
    assert [state for state, _, _ in findings(installed, "units")] == ["ok"]
    assert [state for state, _, _ in findings(installed, "fusermount3")] == ["ok"]
    (linger,) = findings(installed, "linger")
    assert linger[0] == "warning"
    assert linger[2].startswith("loginctl enable-linger ")
    stopped = installed.second.mount
    installed.manager.systemctl("stop", stopped)
    try:
        told = findings(installed, "services")
        fix = f"systemctl --user start {stopped}"
        assert ("warning", f"{stopped} is inactive", fix) in told
    finally:
        installed.manager.systemctl("start", stopped)
