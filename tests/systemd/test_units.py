"""The units as systemd itself sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
NAMES = ["imgurfs-sync@.service", "imgurfs-mount@.service"]


@pytest.mark.parametrize("name", NAMES)
def test_unit_is_valid(name: str, tmp_path: Path) -> None:
    """systemd-analyze verify finds nothing to complain about."""
    text = (UNITS / name).read_text()
    for program in ("imgurfs-daemon", "imgurfs", "fusermount3"):
        text = text.replace(f"/usr/bin/env {program} ", f"{sys.executable} ")
    assert "/usr/bin/env" not in text
    unit = tmp_path / name.replace("@", "@instance")
    unit.write_text(text)
    (tmp_path / "runtime").mkdir(mode=0o700)
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "runtime")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_must_not_be_in_the_units() -> None:
    """What breaks in a user manager, and what breaks a mount, stays out."""
    sync = (UNITS / NAMES[0]).read_text()
    mount = (UNITS / NAMES[1]).read_text()
    for text in (sync, mount):
        assert "\nType=notify\n" in text
        assert "\nRestartPreventExitStatus=77 78\n" in text
        assert "network-online" not in text
        assert "\nProtectKernelTunables=" not in text
    assert "\nProtectSystem=strict\n" in sync
    assert "\nProtectHome=read-only\n" in sync
    assert "\nSystemCallErrorNumber=EPERM\n" in sync
    for option in ("NoNewPrivileges", "Protect", "Private", "Restrict", "SystemCall"):
        assert f"\n{option}" not in mount.replace("\nRestartPrevent", "")
