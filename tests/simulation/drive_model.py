"""Random operations on the drive for as long as you like, compared with what they mean.

    python -m tests.simulation.drive_model --examples 20000 --seed 1
    python -m tests.simulation.drive_model --mounted --examples 2000 --seed 1

The same machines as tests/property/test_drive_model.py, in process and compared with a
model, and with ``--mounted`` as tests/mount/test_beside_disk.py, through the kernel and
beside a plain directory; on scripts of other lengths. A failure is shown with the
shortest script that has it; the same seed and numbers give it again.
"""

from __future__ import annotations

import argparse
import sys
import time

from hypothesis import seed

from tests.property import test_drive_model
from tests.simulation.pushed_ground import grounds, in_memory
from tests.support import beside_machine
from tests.support.beside_machine import BesideMachine, Watcher

#: Progress is told this often, in seconds.
_TOLD_S = 10.0


class _Teller(Watcher):
    """Tells how far it is; the first failure at once, as making it short takes long."""

    def __init__(self) -> None:
        self._began_s = self._told_s = time.monotonic()
        self._has_failed = False

    def begun(self, number: int) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= _TOLD_S:
            self._told_s = now_s
            print(f"  {now_s - self._began_s:.0f} s: script {number}", flush=True)

    def failed(self, script: list[str]) -> None:
        if not self._has_failed:
            self._has_failed = True
            print("\n".join(["this went wrong:", *script]))
            print("looking for the shortest script that does, for minutes", flush=True)


def _mounted(examples: int, steps: int) -> None:
    """Run scripts on a mount and a plain directory; say what was done how often."""
    try:
        with in_memory() as directory, grounds(directory) as made:
            beside_machine.run_machine(
                made,
                examples=examples,
                steps=steps,
                is_derandomized=False,
                watcher=_Teller(),
            )
    finally:
        for what, count in sorted(BesideMachine.counts.items()):
            print(f"  {what}: {count}")


def main(arguments: list[str] | None = None) -> int:
    """Run as many scripts as asked for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mounted", action="store_true", help="through the kernel")
    parser.add_argument("--examples", type=int, default=5_000)
    parser.add_argument("--steps", type=int, default=40, help="longest script")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    print(f"seed {asked.seed}, {asked.examples} scripts of up to {asked.steps} steps")
    began_s = time.monotonic()
    if asked.mounted:
        seed(asked.seed)(BesideMachine)
        _mounted(asked.examples, asked.steps)
    else:
        seed(asked.seed)(test_drive_model.DriveMachine)
        test_drive_model.run_machine(asked.examples, asked.steps, is_derandomized=False)
    print(f"everything was as it should be, {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
