"""What a mount has to say: to stderr, and in ``.imgurfs/errors.log``.

Not a command. The mount may never wait for somebody who reads its messages: while it
waits, nobody who uses the drive gets an answer, and such a program cannot be killed.
"""

from __future__ import annotations

import collections
import logging
import os
import select
import sys
from typing import Final

#: Lines of ``errors.log``; each is cut at this many characters.
_LINES_MAX: Final = 500
_LINE_CHARS_MAX: Final = 1_000


def listen(errors: RecentErrors) -> None:
    """Have all messages of this process go where those of a mount belong."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, logging.StreamHandler):
            unwaiting = UnwaitingHandler(sys.stderr.fileno())
            unwaiting.setFormatter(handler.formatter)
            root.removeHandler(handler)
            root.addHandler(unwaiting)
    root.addHandler(errors)


class UnwaitingHandler(logging.Handler):
    """Writes messages to a descriptor, and drops them while nobody reads there."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one, or as much of it as there is room for."""
        data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        # A pipe that can be written to takes this much without waiting.
        for start in range(0, len(data), select.PIPE_BUF):
            if not self._has_room():
                return
            try:
                os.write(self._fd, data[start : start + select.PIPE_BUF])
            except OSError:
                # The reader is gone, or the disk full: the drive goes on.
                return

    def _has_room(self) -> bool:
        return any(event & select.POLLOUT for _, event in self._poll.poll(0))


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
