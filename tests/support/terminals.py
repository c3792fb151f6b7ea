"""Running ``imgurfs`` on a terminal: a real one, whose other side a test reads."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.processes import Place

_WAIT_S = 30.0


@dataclass
class Terminal:
    """A command whose output is a terminal, and what it has shown so far."""

    process: subprocess.Popen[bytes]
    master: int
    shown: str = ""
    pieces: list[bytes] = field(default_factory=list)

    def wait_for(self, condition: Callable[[str], bool]) -> str:
        """Read until what was shown satisfies the condition."""
        deadline = time.monotonic() + _WAIT_S
        while not condition(self.shown):
            assert time.monotonic() < deadline, self.shown
            if not self._read():
                break
        assert condition(self.shown), self.shown
        return self.shown

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        return self.process.wait(_WAIT_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], _WAIT_S)
        try:
            piece = os.read(self.master, 65_536) if ready else b""
        except OSError:
            # The last one that had the terminal open is gone.
            piece = b""
        self.pieces.append(piece)
        self.shown = b"".join(self.pieces).decode(errors="replace")
        return bool(piece)


@contextmanager
def terminal(
    at: Place, *arguments: str, stdout: int | None = None, **more: str
) -> Iterator[Terminal]:
    """Run ``imgurfs`` on a terminal of 120 columns; ``stdout`` may go elsewhere.

    ``more`` is for its environment.
    """
    master, slave = os.openpty()
    environ = {**at.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40", **more}
    process = subprocess.Popen(
        [sys.executable, "-m", "imgurfs", "--config", str(at.config), *arguments],
        env=environ,
        stdin=slave,
        stdout=slave if stdout is None else stdout,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    with process:
        try:
            yield Terminal(process, master)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(master)
