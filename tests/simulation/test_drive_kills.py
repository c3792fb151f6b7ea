"""kill -9 of the mount: short form of ``drive_kills``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.simulation import drive_kills

_SEED = int(os.environ.get("IMGURFS_TEST_SEED", "1"))


@pytest.mark.mount
@pytest.mark.timeout(300)
def test_the_mount_is_killed_while_files_are_copied(tmp_path: Path) -> None:
    """W: Every file whose close has returned is uploaded once and whole, whenever the
    mount is killed, and nobody who used the drive is stuck.
    """
    report = drive_kills.run(tmp_path / "kills", kills=10, seed=_SEED)
    assert report.is_clean, report
    assert report.returned >= 40, report
    assert report.in_the_air >= 2, report
