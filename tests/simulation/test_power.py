"""What a power cut takes away: nothing that was committed, everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
for number in range(50):
    db.write_blocking(
        lambda c: meta.put(c, "number", str(number)),
        is_durable=number < int(sys.argv[2]) or number == int(sys.argv[3]),
    )
db._writer.execute("BEGIN IMMEDIATE")
meta.put(db._writer, "number", "never committed")
os.kill(os.getpid(), signal.SIGKILL)
"""


def _after_a_cut(tmp_path: Path, *, durable: int, last: int = -1) -> str | None:
    """Return the last number that is left after 50 commits and a power cut.

    Durable are the first ``durable`` of them, and the one with the number ``last``.
    """
    path = tmp_path / "state.db"
    copies = tmp_path / "copies"
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, str(path), str(durable), str(last)],
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
    assert _after_a_cut(tmp_path, durable=50) == "49"


def test_the_cut_takes_what_is_not_synchronised(tmp_path: Path) -> None:
    """What was not asked to be durable is lost: the simulated cut is a real one."""
    assert _after_a_cut(tmp_path, durable=20) == "19"


def test_a_durable_commit_makes_those_before_it_durable(tmp_path: Path) -> None:
    """What is left is always a state that there was: nothing is lost from between."""
    assert _after_a_cut(tmp_path, durable=20, last=40) == "40"
