"""Named places where a test can let a process die."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgurfs import crashpoints

_PROGRAM = """
from imgurfs.crashpoints import reach
for number in range(3):
    reach("here")
    reach("there")
    print(number, flush=True)
"""


def _run(**environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("IMGURFS")}
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_nothing_happens_unless_asked_for() -> None:
    """Without the environment the places are passed."""
    done = _run()
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")


def test_the_process_dies_at_the_nth_time() -> None:
    """It is killed there, as by a power switch, not before and not after."""
    done = _run(IMGURFS_CRASH_AT="there:2")
    assert (done.returncode, done.stdout) == (-9, "0\n")


def test_places_are_logged(tmp_path: Path) -> None:
    """Every place that is reached gets a line, in order, up to the crash."""
    log = tmp_path / "log"
    _run(IMGURFS_CRASH_LOG=str(log), IMGURFS_CRASH_AT="here:2")
    assert log.read_text() == "here\nthere\nhere\n"


@pytest.mark.parametrize("wish", ["here", "here:", "here:0", ":1", "here:x"])
def test_a_wish_that_means_nothing_is_an_error(wish: str) -> None:
    """A test that mistypes a place must not pass because nothing crashes."""
    with pytest.raises(ValueError, match="NAME:N is expected"):
        crashpoints.arm({"IMGURFS_CRASH_AT": wish})
    assert not crashpoints.is_armed()
