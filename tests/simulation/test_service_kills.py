"""The short form of :mod:`tests.simulation.service_kills`."""

from __future__ import annotations

from pathlib import Path

from tests.simulation.service_kills import run


def test_kills_of_the_services_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Six kills of daemon and drive under systemd: fifteen pictures, each once."""
    report = run(tmp_path, kills=6, uploads=15, seed=1)
    assert report.is_clean, report
    assert sum(report.kills.values()) == 6
