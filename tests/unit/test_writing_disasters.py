"""Writing to the drive with the plug pulled at every line, and on a full disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import entries
from imgurfs.store.drafts import DraftState
from imgurfs.writing import recovery
from tests.support import connected
from tests.support.writing import Desk, a_desk
from tests.support.written import CONTENTS

#: Place and how often the session passes it.
PLACES = {
    "draft-created": 4,
    "draft-begun": 4,
    "draft-synced": 8,
    "draft-committed": 8,
    "draft-adopted": 1,
    "draft-discarded": 2,
}
KILLS = [f"{place}:{n}" for place, count in PLACES.items() for n in range(1, count + 1)]
_COMMAND = [sys.executable, "-m", "tests.support.written"]
_NOTHING = connected.config(albums=0, images=0)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what sessions have left that were killed everywhere."""
    directory = tmp_path_factory.mktemp("sessions")
    command = [*_COMMAND, "kill", str(directory), "log", *KILLS]
    subprocess.run(command, timeout=200, check=True)
    return directory


def _promises(directory: Path) -> dict[str, str]:
    lines = (directory / "promises").read_text().splitlines()
    return dict(line.split() for line in lines)


def _inode(desk: Desk, name: str) -> Inode:
    entry = entries.child(desk.db.reader, ROOT_INODE, name)
    assert entry is not None
    return entry.node.inode


async def _check(desk: Desk, name: str, promised: str) -> None:
    """Check one file against what its program was told last."""
    entry = entries.child(desk.db.reader, ROOT_INODE, name)
    if promised == "gone":
        assert entry is None
        return
    if entry is None:
        # Removed on the way, or the program does not know yet that it was made.
        assert promised == "" or name == "removed.png"
        return
    data, row = await desk.read(entry.node.inode), entry.node.draft
    contents = CONTENTS[name]
    if row is not None and row.state is DraftState.REFUSED:
        assert row.error == recovery.UNFINISHED
        return
    # Whole, and at least as new as what was promised.
    assert data in contents[int(promised or 0) :]
    if row is not None:
        assert row.state in (DraftState.WAITING, DraftState.SENT)
    if row is not None and row.state is DraftState.WAITING:
        assert row.size_bytes == len(data)
        [job] = [
            one for one in desk.uploads() if row.spool_name.encode().hex() in one.key
        ]
        assert job.size_bytes == len(data)


async def test_the_session_passes_every_place(sessions: Path) -> None:
    """Without a kill, everything is done at the end; so the kills below happen."""
    passed = (sessions / "log" / "places").read_text().split()
    assert {place: passed.count(place) for place in PLACES} == PLACES
    promises = _promises(sessions / "log")
    assert promises.pop("session") == "ended"
    assert promises.pop("removed.png") == "gone"
    async with a_desk(sessions / "log", _NOTHING) as desk:
        for name, version in promises.items():
            assert await desk.read(_inode(desk, name)) == CONTENTS[name][-1]
            await _check(desk, name, version)
        assert desk.spool.aside() is None


@pytest.mark.parametrize("kill", KILLS)
async def test_killed_at_a_dangerous_place(sessions: Path, kill: str) -> None:
    """What was promised is there, whole; what was not is whole, or says it is not."""
    promises = _promises(sessions / kill)
    assert "session" not in promises
    async with a_desk(sessions / kill, _NOTHING) as desk:
        for name in CONTENTS:
            await _check(desk, name, promises.get(name, ""))
        assert desk.spool.aside() is None


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """The write says so, half a picture is not uploaded, and room makes it good."""
    status = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            *_COMMAND,
            "full",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    seen = json.loads(status.stdout)
    assert seen["told"] == {
        "0.png": "written closed",
        "1.png": "written closed",
        "2.png": "written closed",
        "3.png": "SpoolFullError SpoolFullError",
        "4.png": "SpoolFullError SpoolFullError",
    }
    for name, told in seen["told"].items():
        assert seen["whole"][name] == (told == "written closed")
        expected = "waiting" if told == "written closed" else "refused"
        assert seen["states"][name] == expected
    assert seen["after"] == "waiting"
