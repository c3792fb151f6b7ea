"""Random operations on the drive for as long as you like, compared with the model.

    python -m tests.simulation.drive_model --examples 20000 --seed 1

The same machine as tests/property/test_drive_model.py, on scripts of other lengths. A
failure is shown with the shortest script that has it; the same seed and numbers give it
again.
"""

from __future__ import annotations

import argparse
import sys
import time

from hypothesis import seed

from tests.property.test_drive_model import DriveMachine, run_machine


def main(arguments: list[str] | None = None) -> int:
    """Run as many scripts as asked for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=5_000)
    parser.add_argument("--steps", type=int, default=40, help="longest script")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    seed(asked.seed)(DriveMachine)
    print(f"seed {asked.seed}, {asked.examples} scripts of up to {asked.steps} steps")
    began_s = time.monotonic()
    run_machine(asked.examples, asked.steps, is_derandomized=False)
    print(f"drive and account were the model's, {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
