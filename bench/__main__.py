"""``python -m bench [NAME ...]``: run the benchmarks named, or all."""

from __future__ import annotations

import importlib
import sys

NAMES = ("start", "listing", "emulator", "scale", "writing")


def main() -> int:
    """Run benchmarks; return 1 when a figure misses its bound."""
    wanted = sys.argv[1:] or list(NAMES)
    if unknown := sorted(set(wanted) - set(NAMES)):
        print(f"unknown: {', '.join(unknown)}; there are: {', '.join(NAMES)}")
        return 2
    held = [importlib.import_module(f"bench.{name}").run() for name in wanted]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
