"""What a mount has to say: to stderr, and in ``.imgurfs/errors.log``.

Not a command. The mount may never wait for somebody who reads its messages: while it
waits, nobody who uses the drive gets an answer, and such a program cannot be killed.
"""

from __future__ import annotations

import collections
import logging
from typing import Final

from imgurfs import messages

#: Lines of ``errors.log``; each is cut at this many characters.
_LINES_MAX: Final = 500
_LINE_CHARS_MAX: Final = 1_000


def listen(errors: RecentErrors) -> None:
    """Have all messages of this process go where those of a mount belong."""
    messages.never_wait()
    logging.getLogger().addHandler(errors)


class RecentErrors(logging.Handler):
    """Keeps the last warnings and errors of this process, as lines of text."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES_MAX)
        self.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._lines.append(self.format(record)[:_LINE_CHARS_MAX])

    def text(self) -> bytes:
        """Return what is kept, oldest first."""
        return "".join(f"{line}\n" for line in tuple(self._lines)).encode(
            "utf-8", "backslashreplace"
        )
