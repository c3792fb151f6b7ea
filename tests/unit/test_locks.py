"""Locks between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imgurfs.errors import AlreadyRunningError
from imgurfs.locks import FileLock

HOLDER = """
import sys
from pathlib import Path
from imgurfs.locks import FileLock
assert FileLock(Path(sys.argv[1])).acquire_nowait()
print("held", flush=True)
sys.stdin.read()
"""

LOOKER = """
import sys
from pathlib import Path
from imgurfs.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
print("looking", flush=True)
while True:
    lock.is_free()
"""


def hold(path: Path) -> subprocess.Popen[bytes]:
    """Start a process that holds the lock until it is killed."""
    return start(HOLDER, path, says=b"held\n")


def start(program: str, path: Path, *, says: bytes) -> subprocess.Popen[bytes]:
    """Start a process and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == says
    return process


def test_second_process_is_refused_and_told_who(tmp_path: Path) -> None:
    """A lock held elsewhere is not free, and the message names its holder."""
    path = tmp_path / "x.lock"
    with hold(path) as process:
        lock = FileLock(path)
        assert not lock.acquire_nowait()
        assert not lock.is_free()
        with pytest.raises(AlreadyRunningError, match=str(process.pid)):
            lock.require("the daemon")
        process.kill()


def test_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    """kill -9 leaves no stale lock."""
    path = tmp_path / "x.lock"
    with hold(path) as process:
        process.kill()
    with FileLock(path).require("x") as lock:
        assert lock.is_held
    assert FileLock(path).is_free()


def test_lock_is_private_and_reusable(tmp_path: Path) -> None:
    """The file is readable by its owner only; releasing lets the next one in."""
    lock = FileLock(tmp_path / "x.lock")
    assert lock.is_free()
    assert lock.acquire_nowait()
    assert not lock.is_free()
    lock.release()
    assert lock.path.stat().st_mode & 0o777 == 0o600
    assert FileLock(lock.path).acquire_nowait()


def test_looking_at_a_lock_does_not_keep_anybody_from_it(tmp_path: Path) -> None:
    """Who takes a free lock gets it, however often others look whether it is free."""
    path = tmp_path / "x.lock"
    path.touch()
    with start(LOOKER, path, says=b"looking\n") as process:
        try:
            for _ in range(5_000):
                lock = FileLock(path)
                assert lock.acquire_nowait()
                lock.release()
        finally:
            process.kill()
