"""Five months of uploading in a few seconds; the long form is ``months`` itself."""

from __future__ import annotations

import pytest

from tests.simulation.months import KINDS, USED_SHARE_MIN, months, run_all

SEED = 1


@pytest.mark.timeout(400)
def test_five_months() -> None:
    """S17, S18: no refusal is our own doing, and hardly any spendable budget is
    left over.
    """
    results = list(run_all(months(len(KINDS), SEED), jobs=2))
    shown = "\n".join([f"seed {SEED}", *map(str, results)])
    assert sum(result.self_caused for result in results) == 0, shown
    assert min(result.used_share for result in results) >= USED_SHARE_MIN, shown
    # The months are not empty: uploads, readers, and a limit that had to be learned.
    assert all(result.uploads > 5000 and result.reads > 1000 for result in results)
    assert sum(result.taught for result in results) > 0, shown
