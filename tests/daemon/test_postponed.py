"""Files that are gone while others still settle: decided about later, not forgotten."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.looking import Rig, rig_in, slow_looker


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return a rig with an empty folder."""
    with rig_in(tmp_path) as found:
        yield found


async def _with_a_deletion_that_waits(rig: Rig) -> Path:
    """Remove a file while another one is being written; return that one."""
    for path in ("oslo/a.png", "june/1.png", "other/x.png"):
        rig.write(path)
    await rig.sync()
    rig.looker = slow_looker(rig)
    shutil.rmtree(rig.root / "oslo")
    new = rig.write("june/2.png", "new")
    assert await rig.sync(b"oslo", b"june") == []
    # A look at something else neither decides nor forgets it.
    assert await rig.sync(b"other") == []
    return new


async def test_a_deletion_that_waits_is_planned_when_files_have_settled(
    rig: Rig,
) -> None:
    """By the look that a followed folder has then, which is at its own directories."""
    new = await _with_a_deletion_that_waits(rig)
    os.utime(new, ns=(1, 1))
    assert rig.looker.waiting == {b"oslo", b"june"}
    assert await rig.sync(*rig.looker.waiting) == ["Upload", "DeleteImage"]
    assert rig.looker.waiting == set()


async def test_a_deletion_that_waits_for_what_is_gone_again(rig: Rig) -> None:
    """It is planned by the next look, wherever that is."""
    new = await _with_a_deletion_that_waits(rig)
    new.unlink()
    assert await rig.sync(b"other") == ["DeleteImage"]
    assert rig.looker.waiting == set()


async def test_a_deletion_that_waits_turns_out_to_be_a_move(rig: Rig) -> None:
    """The file that had to settle has the content of the one that is gone."""
    rig.write("oslo/a.png", "same")
    await rig.sync()
    rig.looker = slow_looker(rig)
    (rig.root / "oslo" / "a.png").unlink()
    new = rig.write("june/2.png", "same")
    assert await rig.sync(b"oslo", b"june") == []
    os.utime(new, ns=(1, 1))
    assert await rig.sync(b"june") == ["Move"]
