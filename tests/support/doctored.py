"""``imgurfs doctor`` as a process, and what it has found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.processes import REPOSITORY
from tests.support.schemas import schemas

#: Far above all bounds of its checks together.
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Diagnosis:
    """What it said."""

    code: int
    checks: list[dict[str, str]]

    def of(self, check: str) -> list[tuple[str, str, str]]:
        """Return state, text and fix of everything one check has found."""
        return [
            (one["state"], one["what"], one["fix"])
            for one in self.checks
            if one["check"] == check
        ]

    def expect(self, check: str, state: str, what: str, fix: str) -> None:
        """Demand a finding with this text, and this fix."""
        found = self.of(check)
        assert any(
            one[0] == state and what in one[1] and fix in one[2] for one in found
        ), found

    @property
    def problems(self) -> list[dict[str, str]]:
        """Everything that is wrong."""
        return [one for one in self.checks if one["state"] == "problem"]


def run_doctor(
    *options: str, environ: dict[str, str], config: str, inside: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run it; ``inside`` is a command that runs it, somewhere else say."""
    asked = ["--config", config] if config else []
    program = [sys.executable, "-m", "imgurfs", *asked, "doctor", *options]
    return subprocess.run(
        [*inside, *program],
        env=environ,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        cwd=REPOSITORY,
        check=False,
    )


def diagnose(
    *options: str,
    environ: dict[str, str],
    config: str = "",
    inside: Sequence[str] = (),
    sees_drives: bool = False,
) -> Diagnosis:
    """Run it for what it has found, unless ``sees_drives`` where none is mounted."""
    around = [*([] if sees_drives else without_drives()), *inside]
    done = run_doctor("--json", *options, environ=environ, config=config, inside=around)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    schemas()["imgurfs doctor"].check(found)
    told = Diagnosis(done.returncode, found["checks"])
    assert found["problems"] == len(told.problems)
    assert done.returncode == (1 if told.problems else 0)
    return told


def without_drives() -> list[str]:
    """Return a command that runs another one where no drive is mounted.

    The doctor looks at all drives of a machine. Those of whoever runs the tests may be
    in any state, and other tests kill theirs. Only the superuser can hide them.
    """
    if os.getuid() != 0:
        return []
    # What runs inside may have a PATH of its own.
    unshare, shell, umount = (_which(name) for name in ("unshare", "sh", "umount"))
    apart = [unshare, "--mount", "--propagation", "private"]
    detach = f'{umount} --no-mtab --all --lazy --types fuse.imgurfs; exec "$@"'
    return [*apart, shell, "-c", detach, "sh"]


def _which(name: str) -> str:
    found = shutil.which(name)
    assert found, f"this machine has no {name}"
    return found


def in_namespace(script: str, *arguments: str) -> list[str]:
    """Return a command that runs another one after a script that may mount."""
    # The script sees its arguments as $1, $2; what follows them is run.
    shift = f"shift {len(arguments)}; " if arguments else ""
    return [
        "unshare", "--user", "--map-root-user", "--mount",
        "sh", "-ec", f'{script}; {shift}exec "$@"', "sh", *arguments,
    ]  # fmt: skip
