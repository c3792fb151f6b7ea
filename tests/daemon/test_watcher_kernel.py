"""What the kernel refuses and takes away: mounts and limits, in name spaces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def seen(program: str, root: Path) -> Any:
    """Run a program of ``tests.support.watching`` where it may mount and limit."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    command = [sys.executable, "-m", "tests.support.watching", program, str(root)]
    done = subprocess.run(
        [*unshare, *command], stdout=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == 0
    return json.loads(done.stdout)


def test_a_disk_is_taken_away(tmp_path: Path) -> None:
    """S2: an unmount is noticed at once, and what is below is another folder."""
    assert seen("unmount", tmp_path) == {"scope": None, "is_other": True, "files": 0}


def test_a_disk_is_put_over_a_directory(tmp_path: Path) -> None:
    """A mount inside the folder shows in what concerns the folder."""
    assert seen("mount", tmp_path) == [str(tmp_path / "a")]


def test_a_directory_that_is_there_twice(tmp_path: Path) -> None:
    """The kernel tells of one of two names: the other one is polled."""
    assert seen("bind", tmp_path) == {
        "scans": 1,
        "unwatched": ["b"],
        "files": ["a/x.jpg", "b/x.jpg"],
    }


def test_what_may_not_be_watched_is_polled(tmp_path: Path) -> None:
    """S2: 10 watches for 31 directories: 10 are told of, 21 polled, until there is
    room.
    """
    assert seen("limit", tmp_path) == {
        "watched": 10,
        "unwatched": 21,
        "missing": 21,
        # 10 are in use and 21 are missing: 31, and a quarter more.
        "advice": "sudo sysctl -w user.max_inotify_watches=64",
        # The folder itself is one of the ten.
        "told": 9,
        "polled": 30,
        "left": 0,
        "found": 60,
    }


def test_no_instance_left(tmp_path: Path) -> None:
    """Without inotify everything is polled, and the advice is about instances."""
    assert seen("instances", tmp_path) == {
        "unwatched": 2,
        "files": 1,
        "advice": "sudo sysctl -w user.max_inotify_instances=2",
    }


def test_the_user_is_told_what_to_type(tmp_path: Path) -> None:
    """The notice names the command with the number; it goes when there is room."""
    before, after = seen("notice", tmp_path)
    assert before == (
        "FOLDER: 6 directories are beyond what the kernel may watch; they are read"
        " every 60 s instead. To change that:"
        " sudo sysctl -w user.max_inotify_watches=16"
    )
    assert after == ""
