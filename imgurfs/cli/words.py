"""Times, durations and sizes as people write and read them. Not a command."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime

from imgurfs.errors import UsageError

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
#: Nobody means more than that, and the calendar ends somewhere.
_DURATION_MAX_S = 366 * 86_400.0


def parse_duration(text: str) -> float:
    """Return the seconds of "2h", "90m" or "1d12h". Raises UsageError."""
    seconds = sum(float(n) * _SECONDS[unit.lower()] for n, unit in _PART.findall(text))
    if _PART.sub("", text).strip() or not 0 < seconds <= _DURATION_MAX_S:
        raise UsageError(
            f"{text!r} is not a duration",
            hint="write for example 45m, 2h or 1d12h; a year at most",
        )
    return seconds


def moment(epoch: float | None, *, none: str = "never") -> str:
    """Return local date and time to the second; ``none`` for None and infinity."""
    if epoch is None or math.isinf(epoch):
        return none
    return f"{datetime.fromtimestamp(epoch).astimezone():%Y-%m-%d %H:%M:%S}"


def size(size_bytes: float) -> str:
    """Return bytes in the unit that reads best."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return (
                f"{size_bytes:.0f} {unit}"
                if unit == "B"
                else f"{size_bytes:.3g} {unit}"
            )
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def span(seconds: float) -> str:
    """Return a duration, rounded to what matters."""
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def number(count: int, one: str, many: str = "") -> str:
    """Return "1 file" or "2,000 files"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def printable(text: bytes | str) -> str:
    """Return a path or name without anything a terminal would act on."""
    known = (
        text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    )
    return "".join(
        c
        if c.isprintable()
        else c.encode("unicode_escape", "backslashreplace").decode()
        for c in known
    )


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return rows as aligned lines, the last column as long as it is."""
    known = list(rows)
    if not known:
        return []
    widths = [max(len(row[i]) for row in known) for i in range(len(known[0]) - 1)]
    return [
        "  ".join(
            cell.ljust(w) for cell, w in zip(row, [*widths, 0], strict=True)
        ).rstrip()
        for row in known
    ]


def finite(epoch: float | None) -> float | None:
    """Return a time that JSON can carry: null stands for "when you decide"."""
    return None if epoch is None or math.isinf(epoch) else epoch
