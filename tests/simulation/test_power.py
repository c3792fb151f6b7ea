"""What a power cut takes away: nothing that was committed, everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.store import meta
from imgurfs.store.database import Database
from imgurfs.store.schema import STATE_SCHEMA
from tests.simulation import power
from tests.simulation.stage import REPOSITORY

#: Commits rows, and dies with one transaction open.
_WRITER = """
import os, signal, sys
from pathlib import Path
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.store import meta
from imgurfs.store.database import Database
from imgurfs.store.schema import STATE_SCHEMA

db = Database.open(
    Path(sys.argv[1]),
    schema=STATE_SCHEMA, executor=InlineExecutor(), lane=ThreadLane.WRITER,
)
if sys.argv[2] != "as it is":
    db._writer.execute("PRAGMA synchronous = " + sys.argv[2])
for number in range(50):
    db.write_blocking(lambda c: meta.put(c, "number", str(number)))
db._writer.execute("BEGIN IMMEDIATE")
meta.put(db._writer, "number", "never committed")
os.kill(os.getpid(), signal.SIGKILL)
"""


def _after_a_cut(tmp_path: Path, synchronous: str) -> str | None:
    """Return the last number that is left after 50 commits and a power cut."""
    path = tmp_path / "state.db"
    copies = tmp_path / "copies"
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, str(path), synchronous],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "LD_PRELOAD": str(power.library(tmp_path)),
            **power.environment(copies),
        },
        timeout=60,
    )
    assert done.returncode == -9
    power.cut(copies, path)
    db = Database.open(
        path, schema=STATE_SCHEMA, executor=InlineExecutor(), lane=ThreadLane.WRITER
    )
    try:
        assert db.reader.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return meta.get(db.reader, "number")
    finally:
        db.close()


def test_what_was_committed_survives_a_power_cut(tmp_path: Path) -> None:
    """The last of fifty commits is there, the open transaction is not."""
    assert _after_a_cut(tmp_path, "as it is") == "49"


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_the_cut_takes_what_is_not_synchronised(
    tmp_path: Path, synchronous: str
) -> None:
    """With less synchronising commits are lost: the simulated cut is a real one."""
    assert _after_a_cut(tmp_path, synchronous) != "49"
