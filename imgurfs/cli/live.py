"""Progress for people who wait: bars on a terminal, now and then a line elsewhere.

Writes to stderr, so that a command's report on stdout stays clean; NO_COLOR and
CLICOLOR=0 are honoured. Not a command, and it counts nothing itself: commands tell it
how much is left.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from imgurfs.cli.words import number, printable, size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from imgurfs.clock import Clock

#: Without a terminal a line is printed this often at most.
LINE_INTERVAL_S = 5.0
#: Of the time, at most this share goes into finding out how far things are.
_LOOKING_SHARE_MAX = 0.05
#: Names of files in the air that are shown.
_SHOWN_MAX = 5


def pause_s(least_s: float, took_s: float) -> float:
    """Return how long to wait after a look at the tables that took so long."""
    return max(least_s, took_s / _LOOKING_SHARE_MAX)


@dataclass(frozen=True, slots=True)
class Sending:
    """One upload in the air; ``sent_bytes`` is None when this process does not know."""

    job_id: int
    text: str
    sent_bytes: int | None
    size_bytes: int


@dataclass(slots=True)
class Course:
    """How far things have come, from how much is left each time somebody looks.

    What is added meanwhile raises the total.
    """

    left_files: int = 0
    left_bytes: int = 0
    total_files: int = 0
    total_bytes: int = 0

    def see(self, left_files: int, left_bytes: int) -> None:
        """Note what is left now."""
        self.total_files += max(0, left_files - self.left_files)
        self.total_bytes += max(0, left_bytes - self.left_bytes)
        self.left_files, self.left_bytes = left_files, left_bytes

    @property
    def done_files(self) -> int:
        """Files that were left once and are not any more."""
        return self.total_files - self.left_files

    @property
    def done_bytes(self) -> int:
        """Their bytes."""
        return self.total_bytes - self.left_bytes

    @property
    def text(self) -> str:
        """All of it in a few words."""
        files = f"{self.done_files:,} of {number(self.total_files, 'file')}"
        if not self.total_bytes:
            return files
        return f"{files}, {size(self.done_bytes)} of {size(self.total_bytes)}"


class Bars:
    """One bar for everything and one for each upload in the air, for a terminal."""

    def __init__(self) -> None:
        self.progress = _columns()
        self._total: TaskID | None = None
        self._rows: dict[int, TaskID] = {}

    def show(
        self, course: Course, *, note: str = "", sending: Sequence[Sending] = ()
    ) -> None:
        """Show where things stand."""
        if self._total is None:
            self._total = self.progress.add_task("", total=None, note="")
        in_air = sum(one.sent_bytes or 0 for one in sending)
        files = f"{course.done_files:,} of {number(course.total_files, 'file')}"
        self.progress.update(
            self._total,
            description=files,
            # An upload counts when it is over, and while its bytes leave.
            completed=min(course.done_bytes + in_air, course.total_bytes),
            total=max(course.total_bytes, 1),
            note=note,
        )
        shown = {one.job_id: one for one in sending[:_SHOWN_MAX]}
        for job_id in self._rows.keys() - shown.keys():
            self.progress.remove_task(self._rows.pop(job_id))
        for job_id, one in shown.items():
            if job_id not in self._rows:
                self._rows[job_id] = self.progress.add_task("", total=None, note="")
            self.progress.update(
                self._rows[job_id],
                description="  " + printable(one.text),
                completed=one.sent_bytes or 0,
                # Without a total the bar only shows that something moves.
                total=None if one.sent_bytes is None else max(one.size_bytes, 1),
            )


class ProgressView:
    """Shows a course while its ``with`` block runs; ``is_quiet`` shows nothing."""

    def __init__(self, clock: Clock, *, is_quiet: bool = False) -> None:
        self._clock = clock
        self._is_quiet = is_quiet
        self._bars: Bars | None = None
        self._streams: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []
        self._told_at_s = 0.0
        self._told = ""

    def __enter__(self) -> Self:
        self._told_at_s = self._clock.monotonic()
        if sys.stderr.isatty() and not self._is_quiet:
            self._bars = Bars()
            self._bars.progress.start()
            self._streams = _redirect_log()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for handler, stream in self._streams:
            handler.setStream(stream)
        if self._bars is not None:
            self._bars.progress.stop()

    def show(
        self, course: Course, *, note: str = "", sending: Sequence[Sending] = ()
    ) -> None:
        """Show where things stand; ``note`` is what limits them, or when they end."""
        if self._is_quiet or not course.total_files:
            return
        if self._bars is not None:
            self._bars.show(course, note=note, sending=sending)
            return
        now_s = self._clock.monotonic()
        text = course.text + (f"; {note}" if note else "")
        if now_s - self._told_at_s >= LINE_INTERVAL_S and text != self._told:
            print(text, file=sys.stderr, flush=True)
            self._told, self._told_at_s = text, now_s


def _console() -> Console:
    """Return the terminal, without colours where somebody wants none."""
    from rich.console import Console

    # NO_COLOR is rich's own business.
    is_plain = os.environ.get("CLICOLOR") == "0"
    return Console(stderr=True, no_color=True if is_plain else None)


def _columns() -> Progress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        Task,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class Plain(ProgressColumn):
        """A text as it is: file names may look like markup."""

        def __init__(self, name: str) -> None:
            self._name = name
            super().__init__()

        def render(self, task: Task) -> Text:
            value = task.description if not self._name else task.fields[self._name]
            return Text(value, overflow="ellipsis", no_wrap=True)

    return Progress(
        Plain(""),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        Plain("note"),
        console=_console(),
        transient=True,
    )


def _redirect_log() -> list[tuple[logging.StreamHandler[TextIO], TextIO]]:
    """Let log lines go through rich, or they would tear the bars.

    Returns the streams to put back.
    """
    found: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            before = handler.setStream(sys.stderr)
            if before is not None:
                found.append((handler, before))
    return found


@contextmanager
def spinner(text: str, *, is_quiet: bool = False) -> Iterator[None]:
    """Show on a terminal that something takes its time."""
    if is_quiet or not sys.stderr.isatty():
        yield
        return
    from rich.text import Text

    with _console().status(Text(text)):
        yield
