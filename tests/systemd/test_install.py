"""'imgurfs service install' where something is in the way, or unusual."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serviced import IMGURFS, STATE, UNITS
from tests.support.usermanager import BIN, HOME
from tests.systemd.conftest import Installed


def _run(
    directory: Path, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of ours for a user who has nothing, with a watched folder."""
    (directory / "pictures").mkdir(exist_ok=True)
    config = directory / "config.toml"
    if not config.exists():
        config.write_text(f'[[folder]]\npath = "{directory}/pictures"\n')
    bare = {"PATH": os.environ["PATH"], "HOME": str(directory), **environ}
    return subprocess.run(
        [sys.executable, "-m", "imgurfs", "--config", str(config), *arguments],
        env=bare,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("command", ["install", "status"])
def test_without_systemd(tmp_path: Path, command: str) -> None:
    """Where there is no systemctl it says so, and what else can be done: exit 69."""
    done = _run(tmp_path, "service", command, PATH=str(tmp_path))
    assert done.returncode == 69
    assert "this system has no systemd" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("command", ["install", "status"])
def test_without_a_session(tmp_path: Path, command: str) -> None:
    """Without XDG_RUNTIME_DIR, as after su, the fix is named: exit 69."""
    done = _run(tmp_path, "service", command)
    assert done.returncode == 69
    assert "cannot be reached" in done.stderr
    assert "XDG_RUNTIME_DIR is not set" in done.stderr
    assert not (tmp_path / ".config").exists()


def test_without_a_bus(tmp_path: Path) -> None:
    """A runtime directory in which nobody listens is no systemd: exit 69."""
    done = _run(tmp_path, "service", "install", XDG_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 69
    assert "cannot be reached" in done.stderr


def test_dry_run_needs_nothing_and_does_nothing(tmp_path: Path) -> None:
    """It tells every file, with this installation's programs, and writes none."""
    done = _run(
        tmp_path, "service", "install", "--dry-run", "--json", "--mountpoint", "drive"
    )
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)["files"]
    sync = next(text for name, text in files.items() if name.endswith("sync@.service"))
    assert "/usr/bin/imgurfs" not in sync
    program = sync.partition("ExecStart=")[2].split()[0]
    assert os.access(program, os.X_OK)
    assert f'IMGURFS_MOUNTPOINT={tmp_path / "drive"}"' in "".join(files.values())
    assert not (tmp_path / ".config").exists()
    assert not (tmp_path / "drive").exists()


def test_account_that_does_not_exist(tmp_path: Path) -> None:
    """It is told before anything else: exit 78."""
    done = _run(tmp_path, "--account", "nobody", "service", "install")
    assert done.returncode == 78
    assert "there is no account 'nobody'" in done.stderr


def test_account_without_folders(installed: Installed) -> None:
    """The daemon's own complaint is told, nothing is installed: exit 78."""
    config = str(HOME / "empty.toml")
    installed.manager.write(Path(config), "")
    done = installed.manager.run(
        IMGURFS, "--config", config, "service", "install", "--no-mount"
    )
    assert done.returncode == 78
    assert "no folder is watched" in done.stderr
    assert "imgurfs folder add" in done.stderr


def test_file_of_somebody_else_is_kept(installed: Installed) -> None:
    """A unit that somebody wrote by hand is neither replaced nor removed."""
    file = UNITS / "imgurfs-mount@second.service.d" / "10-place.conf"
    ours = installed.manager.call("cat", str(file))
    installed.manager.write(file, "[Service]\n# mine\n")
    try:
        done = installed.manager.run(
            IMGURFS, "--account", "second", "service", "install", "--no-sync"
        )
        assert done.returncode == 2
        assert "was not written by 'imgurfs service install'" in done.stderr
        assert "# mine" in installed.manager.call("cat", str(file))
    finally:
        installed.manager.write(file, ours)


def test_sandbox_that_does_not_start_is_left_out(installed: Installed) -> None:
    """The daemon runs without it then, with what does start; the reason is told."""
    second, manager = installed.second, installed.manager
    # Without this directory no unit can have a mount namespace.
    assert not manager.run("rmdir", "/run/systemd/unit-root", is_root=True).returncode
    try:
        said = json.loads(second.imgurfs("service", "install", "--no-mount", "--json"))
        assert said["hardening"]["20-calls.conf"] == ""
        assert said["hardening"]["30-sandbox.conf"] == "exit 226"
        assert str(UNITS / f"{second.sync}.d/30-sandbox.conf") in said["changed"]
        assert manager.show(second.sync, "ActiveState") == "active"
    finally:
        manager.run("mkdir", "-p", "/run/systemd/unit-root", is_root=True)
    said = json.loads(second.imgurfs("service", "install", "--no-mount", "--json"))
    assert said["hardening"]["30-sandbox.conf"] == ""


def test_sandbox_without_effect_is_noticed(installed: Installed) -> None:
    """Options that systemd leaves out without a word are not taken for a sandbox."""
    script = (
        "from imgurfs.cli import service, service_units as units\n"
        "w = units.Wanted(account='second', has_sync=True, mountpoint=None,"
        " config_file=None, credentials=None, environ={})\n"
        "print(service.try_hardening(w, ['ProtectSystem=strict',"
        " 'ProtectHome=read-only']))\n"
    )
    said = installed.manager.call(str(BIN / "python"), "-c", script)
    assert said in ("it has no effect here\n", "\n")
    is_real = installed.manager.run(
        "systemd-run", "--user", "--wait", "--pipe", "--quiet",
        "-pProtectSystem=strict", "-pProtectHome=read-only",
        "test", "!", "-w", str(HOME),
    ).returncode == 0  # fmt: skip
    assert (said == "\n") == is_real


def test_mountpoint_with_an_unusual_name(installed: Installed) -> None:
    """Spaces, quotes, per cent and backslash come through to the mount."""
    second, manager = installed.second, installed.manager
    place = HOME / 'My "100 %h" pictures\\$HOME'
    second.imgurfs("service", "install", "--no-sync", "--mountpoint", str(place))
    try:
        table = manager.call("cat", "/proc/self/mountinfo")
        escaped = str(place).replace("\\", "\\134").replace(" ", "\\040")
        assert table.count(f" {escaped} ") == 1
        again = json.loads(second.imgurfs("service", "install", "--no-sync", "--json"))
        assert again["mountpoint"] == str(place)
        manager.systemctl("stop", second.mount)
        assert escaped not in manager.call("cat", "/proc/self/mountinfo")
    finally:
        second.imgurfs(
            "service", "install", "--no-sync", "--mountpoint", str(second.drive)
        )
    assert second.is_alive()


def test_credentials_of_systemd_log_in(installed: Installed) -> None:
    """An account without a token gets it from the files that systemd hands over."""
    second, manager = installed.second, installed.manager
    token = str(STATE / "second" / "token.json")
    kept = json.loads(manager.call("cat", token))
    place = HOME / "credentials"
    secrets = {"refresh_token": kept["refresh_token"], "client_secret": ""}
    secrets["client_secret"] = second.emulator.address["client_secret"]
    for name, value in secrets.items():
        manager.write(place / f"imgurfs.{name}", value)
    manager.systemctl("stop", second.sync, second.mount)
    manager.call("rm", token)
    second.imgurfs("service", "install", "--credentials", str(place))
    assert second.is_alive()
    assert manager.show(second.sync, "ActiveState") == "active"
    assert manager.call("cat", token)
    script = 'cat ~/.config/systemd/user/*/*.conf; systemctl --user show "$0"'
    shown = manager.call("sh", "-c", script, second.sync)
    for value in secrets.values():
        assert value not in shown
    second.imgurfs("service", "install")
    assert "LoadCredential=" not in manager.call("sh", "-c", script, second.sync)


def test_lingering_is_looked_up(installed: Installed) -> None:
    """Without it the one command is told; with it nothing is."""
    second, manager = installed.second, installed.manager
    user = manager.call("id", "-un").strip()
    assert f"loginctl enable-linger {user}" in second.imgurfs(
        "service", "install", "--no-sync"
    )
    file = f"/var/lib/systemd/linger/{user}"
    manager.run("install", "-D", "/dev/null", file, is_root=True)
    try:
        assert "enable-linger" not in second.imgurfs("service", "install", "--no-sync")
    finally:
        manager.run("rm", file, is_root=True)
