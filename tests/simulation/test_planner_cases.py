"""Random three-tree cases, short form; ``tests.simulation.planner_cases`` runs more."""

from __future__ import annotations

from typing import get_args

import pytest

from imgurfs_daemon.planner import Action
from tests.simulation import planner_cases

#: A change of the seed is as good; a failure names seed and case.
SEED = 20261121
PARTS = 4
CASES = 20_000


@pytest.mark.parametrize("part", range(PARTS))
def test_every_promise_holds_in_random_cases(part: int) -> None:
    """S4: plans converge, lose nothing, send nothing twice, and cost what they say."""
    size = CASES // PARTS
    actions, flavours = planner_cases.run(SEED, part * size, size)
    # A case that never occurs proves nothing about it.
    kinds = {kind.__name__ for kind in get_args(Action)}
    assert actions.keys() == kinds
    assert min(actions.values()) >= 20, actions
    assert min(flavours.values()) >= 100, flavours


def test_the_long_form_reports(capsys: pytest.CaptureFixture[str]) -> None:
    """The command runs cases in several processes and says how often what occurred."""
    assert (
        planner_cases.main(["--cases", "400", "--seed", "7", "--processes", "1"]) == 0
    )
    said = capsys.readouterr().out
    assert "seed 7, cases 0 to 399" in said
    assert "400 cases kept every promise" in said
    assert "Move" in said
