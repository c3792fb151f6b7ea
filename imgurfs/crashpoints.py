"""Named places where a crash would hurt most, so that a test can cause one there.

:func:`reach` marks such a place. It does nothing unless the environment asked for it
when the program started:

- ``IMGURFS_CRASH_AT=NAME:N`` kills this process, as a power switch would, when the
  place ``NAME`` is reached for the ``N``-th time;
- ``IMGURFS_CRASH_LOG=FILE`` appends a line with the name whenever a place is reached.

Anybody below the command line may call :func:`reach`; it decides nothing and knows
nothing of what it interrupts. :func:`arm` is for a process that was forked from one
that imported this module before its environment was known.

Concurrency: places are reached on trio's thread and on worker threads; the counting is
locked, and only done when it was asked for.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_AT: Final = "IMGURFS_CRASH_AT"
_LOG: Final = "IMGURFS_CRASH_LOG"


class _Points:
    """What was asked for, and how often each place was reached."""

    def __init__(self, *, name: str, nth: int, log: Path | None) -> None:
        self._name = name
        self._nth = nth
        self._log = log
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        with self._lock:
            self._reached[name] += 1
            if self._log is not None:
                with self._log.open("a", encoding="ascii") as file:
                    file.write(name + "\n")
            if name == self._name and self._reached[name] == self._nth:
                os.kill(os.getpid(), signal.SIGKILL)


def _wanted(environ: Mapping[str, str]) -> _Points | None:
    """Return what the environment asks for. Raises ValueError for nonsense."""
    at, log = environ.get(_AT, ""), environ.get(_LOG, "")
    if not at and not log:
        return None
    name, _, nth = at.partition(":")
    if at and not (name and nth.isdecimal() and int(nth) > 0):
        raise ValueError(f"{_AT}={at!r}: NAME:N is expected, N counts from 1")
    return _Points(name=name, nth=int(nth or 0), log=Path(log) if log else None)


_points = _wanted(os.environ)


def reach(name: str) -> None:
    """Say that the place ``name`` is reached; returns, unless a crash was asked for."""
    if _points is not None:
        _points.reach(name)


def is_armed() -> bool:
    """Whether anybody asked for a crash or a log."""
    return _points is not None


def arm(environ: Mapping[str, str]) -> None:
    """Ask again what the environment wants, in a forked process. Raises ValueError."""
    global _points  # noqa: PLW0603 - one process, one answer
    _points = _wanted(environ)
