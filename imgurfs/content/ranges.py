"""A set of half-open byte ranges: which parts of a file are known.

Pure arithmetic on immutable values; knows no file. Used by ``content.cache``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Ranges:
    """Disjoint, sorted, non-adjacent spans ``(start, end)`` with ``start < end``."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Ranges:
        """Return the union of any spans. Raises ValueError for an impossible one."""
        merged: list[Span] = []
        for start, end in sorted(spans):
            if start < 0 or end < start:
                raise ValueError(f"not a byte range: {start}-{end}")
            if start == end:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return cls(tuple(merged))

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def add(self, start: int, end: int) -> Ranges:
        """Return the set with one more span."""
        return Ranges.of((*self.spans, (start, end)))

    def covers(self, start: int, end: int) -> bool:
        """Whether every byte of the span is in the set; an empty span always is."""
        return start >= end or any(a <= start and end <= b for a, b in self.spans)

    @property
    def total_bytes(self) -> int:
        """How many bytes are in the set."""
        return sum(end - start for start, end in self.spans)

    @property
    def end(self) -> int:
        """The offset behind the last byte; 0 for the empty set."""
        return self.spans[-1][1] if self.spans else 0
