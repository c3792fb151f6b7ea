"""The unit files as systemd itself sees them, without anything running."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from imgurfs.cli import service_units

SHIPPED = Path(__file__).parents[2] / "systemd"
SYNC, MOUNT = "imgurfs-sync@.service", "imgurfs-mount@.service"
#: What the issue of a sandbox asks of the sync unit.
_EXPOSURE_MAX = 5.7


def _analyze(directory: Path, *arguments: str) -> str:
    """Return what systemd-analyze says, which must be content."""
    runtime = directory / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    done = subprocess.run(
        ["systemd-analyze", "--user", "--no-pager", *arguments],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _installed(directory: Path, name: str) -> Path:
    """Write a unit as 'service install' would, and return its instance's file."""
    texts = service_units.common_files()
    text = next(text for file, text in texts.items() if file.name == name)
    unit = directory / name.replace("@", "@instance")
    unit.write_text(text)
    return unit


@pytest.mark.parametrize("name", [SYNC, MOUNT, service_units.TARGET])
def test_unit_is_valid(name: str, tmp_path: Path) -> None:
    """systemd-analyze verify finds nothing to complain about."""
    assert _analyze(tmp_path, "verify", str(_installed(tmp_path, name))) == ""


@pytest.mark.parametrize("count", range(len(service_units.HARDENING) + 1))
def test_hardened_unit_is_valid(count: int, tmp_path: Path) -> None:
    """Nor with the hardening, of which the last may be left out."""
    text = _installed(tmp_path, SYNC).read_text().partition("\n[Install]")[0]
    for name in service_units.HARDENING[:count]:
        text += service_units.hardening_file(name, "default")[1]
    unit = tmp_path / "imgurfs-sync@hardened.service"
    unit.write_text(text)
    assert _analyze(tmp_path, "verify", str(unit)) == ""
    said = _analyze(tmp_path, "security", "--offline=true", str(unit))
    level = re.search(r"exposure level for \S+ (\d+\.\d)", said)
    assert level is not None
    assert float(level[1]) <= (9.9, 6.3, 2.0)[count]
    if count == len(service_units.HARDENING):
        assert float(level[1]) <= _EXPOSURE_MAX


def test_mount_is_left_alone() -> None:
    """Every option that breaks setuid fusermount3 or hides the mount stays out."""
    text = (SHIPPED / MOUNT).read_text()
    options = ("NoNewPriv", "Protect", "Private", "Restrict", "SystemCall", "Lock")
    keys = re.findall(r"^(\w+)=", text, re.MULTILINE)
    assert [key for key in keys if key.startswith(options)] == []
    assert "--drop-privileges" in text


def test_both_units_start_offline_and_end_for_good() -> None:
    """No network target; what only a user can mend is not tried again."""
    for name in (SYNC, MOUNT):
        text = (SHIPPED / name).read_text()
        assert "\nType=notify\n" in text
        assert "\nRestartPreventExitStatus=77 78\n" in text
        assert "network-online" not in text
        assert "\nPartOf=imgurfs.target\n" in text


def test_sandbox_is_not_what_systemd_leaves_out_silently() -> None:
    """The user namespace without which the rest has no effect is asked for."""
    text = service_units.shipped("sync-sandbox.conf")
    assert "PrivateUsers=yes" in service_units.properties(text)
    assert not any("PrivateDevices" in one for one in service_units.properties(text))
