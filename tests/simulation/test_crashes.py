"""Crashes, power cuts and lost answers: every picture once, whatever happens.

Short forms of the programs in this directory; the long ones are told at their heads.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.simulation import crash_points, kills, lost_replies

#: Each number crashes elsewhere; all of them together reach every place.
_SEED = int(os.environ.get("IMGURFS_TEST_SEED", "1"))


@pytest.mark.timeout(400)
def test_a_hundred_kills(tmp_path: Path) -> None:
    """S10: kill -9 at random, most with a call in the air: nothing lost, nothing
    twice.
    """
    report = kills.run(tmp_path / "kills", kills=100, seed=_SEED)
    assert report.is_clean, report
    assert report.in_the_air >= 30, report
    assert report.images > 10, report


@pytest.mark.timeout(900)
def test_a_crash_at_every_named_place(tmp_path: Path) -> None:
    """S10, S11: A death at each named place of a script, each time the script comes
    to it, ends as if there had been none.
    """
    outcomes, total = crash_points.run(tmp_path, every=1, seed=_SEED)
    said = crash_points.describe(outcomes, total)
    assert len(outcomes) == total >= 400, said
    assert not any(outcome.wrong for outcome in outcomes), said
    assert sum(outcome.is_reached for outcome in outcomes) >= 0.8 * len(outcomes), said


@pytest.mark.timeout(400)
def test_power_cuts(tmp_path: Path) -> None:
    """The same when the machine loses its power with the process."""
    report = kills.run(tmp_path / "power", kills=30, seed=_SEED, is_power=True)
    assert report.is_clean, report
    assert report.in_the_air >= 9, report


@pytest.mark.timeout(400)
def test_every_answer_is_lost(tmp_path: Path) -> None:
    """S10: two hundred uploads, none answered: all there, none sent twice."""
    loss = lost_replies.run(tmp_path / "lost", uploads=200, seed=_SEED)
    assert not loss.verdict, loss
    assert not loss.unfinished, loss
    assert loss.sent == 200, loss
