"""Timing and printing, shared by the benchmarks."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence


def command_seconds(command: Sequence[str], *, runs: int) -> list[float]:
    """Return the wall seconds of each run of a command that must succeed."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
        seconds.append(time.perf_counter() - start)
    return seconds


def say(name: str, seconds: Sequence[float], *, bound_s: float | None = None) -> bool:
    """Print median and extremes; return whether the median is within the bound."""
    median = statistics.median(seconds)
    held = bound_s is None or median < bound_s
    bound = (
        ""
        if bound_s is None
        else f"  bound {bound_s:g} s: {'held' if held else 'MISSED'}"
    )
    spread = f"{min(seconds):.3f} to {max(seconds):.3f}"
    print(f"{name:<58} {median:7.3f} s  ({spread}, n={len(seconds)}){bound}")
    return held


def say_ratio(name: str, ours: Sequence[float], peer: Sequence[float]) -> None:
    """Print the ratio of two medians."""
    print(f"{name:<58} {statistics.median(ours) / statistics.median(peer):7.2f} x")
