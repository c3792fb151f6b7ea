"""``imgurfs-daemon --check``: whether the daemon could work here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.processes import environment, fill


def _check(
    directory: Path, config: str, *arguments: str, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    file = directory / "config.toml"
    file.write_text(config)
    return subprocess.run(
        [*prefix, sys.executable, "-m", "imgurfs_daemon", "--config", str(file),
         "--check", *arguments],
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip


def _folder(path: Path) -> str:
    return f'[[folder]]\npath = "{path}"\n'


def test_it_works_here_and_leaves_nothing(tmp_path: Path) -> None:
    """Nothing is said, nothing is sent, and nothing but empty directories stays."""
    fill(tmp_path / "folder", "a.gif")
    done = _check(tmp_path, _folder(tmp_path / "folder"))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    left = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert left == []


def test_state_that_cannot_be_written(tmp_path: Path) -> None:
    """In a sandbox that is too narrow it ends with 69 and names the directory."""
    fill(tmp_path / "folder", "a.gif")
    (tmp_path / "state" / "imgurfs").mkdir(parents=True)
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    root = () if os.getuid() == 0 else ("--map-root-user",)
    prefix = ("unshare", *root, "--mount", "sh", "-c", script, str(tmp_path / "state"))
    done = _check(tmp_path, _folder(tmp_path / "folder"), prefix=prefix)
    assert done.returncode == 69
    assert f"{tmp_path}/state/imgurfs" in done.stderr
    assert "Read-only file system" in done.stderr


def test_what_the_configuration_lacks(tmp_path: Path) -> None:
    """No folder, an unknown account, a folder that cannot be watched: exit 78."""
    assert _check(tmp_path, "").returncode == 78
    good = _folder(tmp_path / "folder")
    assert _check(tmp_path, good, "--account", "nobody").returncode == 78
    assert _check(tmp_path, _folder(tmp_path)).returncode == 78


def test_folder_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """A disk that is plugged in later is no reason against starting."""
    done = _check(tmp_path, _folder(tmp_path / "later"))
    assert (done.returncode, done.stderr) == (0, "")
