"""The demo, as a newcomer runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs.demo.stage import is_mounted

DEMO = (sys.executable, "-m", "imgurfs", "demo")


def start(directory: Path) -> subprocess.Popen[str]:
    """Start an attended demo; return when it says how to end it."""
    process = subprocess.Popen(
        [*DEMO, "--dir", str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            return process
    raise AssertionError(f"the demo ended with {process.wait()}")


def children(pid: int) -> list[int]:
    """Return the processes a process has started."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(p) for t in threads for p in (t / "children").read_text().split()]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place for a demo, unmounted whatever happens."""
    place = tmp_path / "a demo"
    yield place
    if is_mounted(place / "drive"):
        subprocess.run(["fusermount3", "-u", "-z", str(place / "drive")], check=True)


def test_tour_holds_and_leaves_nothing(directory: Path) -> None:
    """``imgurfs demo --check`` exits 0 and removes everything it made."""
    result = subprocess.run(
        [*DEMO, "--check", "--dir", str(directory)],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok  ") == 8
    assert not directory.exists()


def test_tour_fails_when_something_is_wrong(directory: Path) -> None:
    """A tour that cannot mount says so in a line and exits 1."""
    (directory / "drive").mkdir(parents=True)
    (directory / "drive" / "in the way").touch()
    result = subprocess.run(
        [*DEMO, "--check", "--dir", str(directory)],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert result.returncode == 1
    assert "FAIL" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert (directory / "drive" / "in the way").exists()
    assert not (directory / ".imgurfs-demo").exists()


def test_interrupt_cleans_up_but_keeps_the_users_files(directory: Path) -> None:
    """Ctrl-C unmounts, stops every program and leaves only what the user put there."""
    with start(directory) as process:
        programs = children(process.pid)
        assert len(programs) == 3
        assert is_mounted(directory / "drive")
        (directory / "folder" / "mine.txt").write_text("keep me")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 0
    assert not is_mounted(directory / "drive")
    assert [p for p in programs if Path(f"/proc/{p}").exists()] == []
    assert sorted(str(p.relative_to(directory)) for p in directory.rglob("*")) == [
        "folder",
        "folder/mine.txt",
    ]


def test_killed_demo_does_not_hinder_the_next(directory: Path) -> None:
    """After kill -9 of everything, a demo in the same place starts and cleans up."""
    with start(directory) as process:
        for pid in (*children(process.pid), process.pid):
            os.kill(pid, signal.SIGKILL)
    assert is_mounted(directory / "drive")
    with start(directory) as again:
        assert os.listdir(directory / "drive")  # noqa: PTH208
        again.send_signal(signal.SIGTERM)
        assert again.wait(timeout=40) == 0
    assert not directory.exists()


def test_two_demos_do_not_share_a_place(directory: Path) -> None:
    """A second demo in the same directory is refused with exit code 2."""
    with start(directory) as process:
        second = subprocess.run(
            [*DEMO, "--dir", str(directory)], capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 2
        assert "another demo" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 0
