"""Where the log messages of a process go that may never wait: stderr, if there is room.

While nobody reads a pipe that is full, whoever writes to it waits, and with it all
that a mount or the daemon does. So messages are dropped then. Used by the composition
roots; commands that end by themselves wait as every program does.
"""

from __future__ import annotations

import logging
import os
import select
import sys


def never_wait() -> None:
    """Have all messages that go to stderr by now dropped while nobody reads there."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if not isinstance(handler, logging.StreamHandler):
            continue
        if handler.stream in (sys.stderr, sys.__stderr__):
            unwaiting = UnwaitingHandler(handler.stream.fileno())
            unwaiting.setFormatter(handler.formatter)
            root.removeHandler(handler)
            root.addHandler(unwaiting)


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
                # The reader is gone, or the disk full: the work goes on.
                return

    def _has_room(self) -> bool:
        return any(event & select.POLLOUT for _, event in self._poll.poll(0))
