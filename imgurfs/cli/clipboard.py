"""Puts text into the clipboard: by a program of the desktop, or through the terminal.

Not a command. :func:`find` says early that there is no way, before work is done whose
result could not be put there.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from imgurfs.errors import UnavailableError

#: Session it belongs to (a variable of the environment) -> program and arguments.
_PROGRAMS: Final = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("DISPLAY", ("xsel", "--clipboard", "--input")),
)
_TIMEOUT_S: Final = 10.0
#: Terminals take this much; more they drop without a word.
_OSC52_BYTES_MAX: Final = 74_000


def find() -> Callable[[str], None]:
    """Return what puts a text into the clipboard. Raises UnavailableError."""
    for variable, command in _PROGRAMS:
        program = shutil.which(command[0]) if os.environ.get(variable) else None
        if program is not None:
            return lambda text: _run([program, *command[1:]], text)
    if sys.stderr.isatty():
        return _tell_terminal
    raise UnavailableError(
        "there is no clipboard here",
        hint="install wl-clipboard (Wayland), xclip or xsel (X11), or run it in a"
        " terminal",
    )


def _run(command: list[str], text: str) -> None:
    try:
        # What it starts holds the clipboard and lives on; it must not hold our output.
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell
            command,
            input=text.encode(),
            check=False,
            timeout=_TIMEOUT_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{command[0]} does not work: {error}") from error
    if done.returncode != 0:
        raise UnavailableError(f"{command[0]} failed with code {done.returncode}")


def _tell_terminal(text: str) -> None:
    """Ask the terminal itself (OSC 52), which works through ssh as well."""
    coded = base64.b64encode(text.encode()).decode()
    if len(coded) > _OSC52_BYTES_MAX:
        raise UnavailableError("that is more than a terminal takes into its clipboard")
    sys.stderr.write(f"\x1b]52;c;{coded}\x07")
    sys.stderr.flush()
