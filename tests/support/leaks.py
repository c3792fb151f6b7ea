"""Looks for secrets in everything that programs of ours leave or show."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus


@dataclass
class Evidence:
    """What was written and shown: a name for each piece, and its bytes."""

    directory: Path
    pieces: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, text: str | bytes) -> None:
        """Keep what a program said."""
        data = text if isinstance(text, bytes) else text.encode()
        self.pieces[name] = self.pieces.get(name, b"") + data

    def add_processes(self) -> int:
        """Keep what the process list shows of the programs at home here.

        Returns how many there were.
        """
        mark = f"XDG_STATE_HOME={self.directory}/".encode()
        ours = 0
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            # Processes come and go while we look.
            with suppress(OSError):
                environ = (process / "environ").read_bytes()
                if mark in environ:
                    ours += 1
                    shown = (process / "cmdline").read_bytes() + environ
                    self.add(f"process {process.name}", shown)
        return ours

    def add_files(self, *, except_for: set[Path]) -> None:
        """Keep every file below the directory, but for those where secrets belong."""
        for path in self.directory.rglob("*"):
            if path.is_file() and not path.is_symlink() and path not in except_for:
                self.add(f"file {path}", path.read_bytes())

    def leaks(self, secrets: dict[str, str]) -> list[str]:
        """Return where which secret was found, as it is or in another spelling."""
        return [
            f"{name} in {piece}"
            for piece, data in self.pieces.items()
            for name, secret in secrets.items()
            if any(form in data for form in _forms(secret))
        ]


def _forms(secret: str) -> Iterator[bytes]:
    plain = secret.encode()
    yield plain
    yield quote_plus(secret).encode()
    # Of what is encoded together with other things the middle is the same, in one of
    # three shifts.
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + plain)
        yield coded[4:-4]
    yield plain.hex().encode()
