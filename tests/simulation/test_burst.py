"""The short form of ``tests.simulation.burst``."""

from __future__ import annotations

from tests.simulation.burst import burst


def test_a_burst_while_the_daemon_is_stopped() -> None:
    """20,000 files beyond what the kernel's queue holds: every one is in the outbox."""
    outcome = burst(files=20_000, directories=100, seed=7)
    assert outcome.overflows >= 1
    assert outcome.made == 18_000
    assert outcome.missed == 0
