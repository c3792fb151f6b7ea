"""imgurfs.content.ranges: the arithmetic of known byte ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgurfs.content.ranges import Ranges

SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda t: (t[0], t[0] + t[1]))
)


@given(SPANS, st.integers(0, 80), st.integers(0, 80))
def test_ranges_are_a_set_of_offsets(
    spans: list[tuple[int, int]], start: int, end: int
) -> None:
    """Whatever is added, the set answers as a plain set of offsets would."""
    model = {offset for a, b in spans for offset in range(a, b)}
    ranges = Ranges()
    for a, b in spans:
        ranges = ranges.add(a, b)
    assert ranges == Ranges.of(spans)
    assert ranges.total_bytes == len(model)
    assert ranges.end == max(model, default=-1) + 1
    assert ranges.covers(start, end) == model.issuperset(range(start, end))
    assert bool(ranges) == bool(model)


@given(SPANS)
def test_spans_are_sorted_disjoint_and_not_adjacent(
    spans: list[tuple[int, int]],
) -> None:
    """Neighbouring spans are one span."""
    edges = [edge for span in Ranges.of(spans) for edge in span]
    assert edges == sorted(set(edges))


@pytest.mark.parametrize("span", [(-1, 3), (5, 4)])
def test_an_impossible_span_is_refused(span: tuple[int, int]) -> None:
    """A damaged record cannot become a range."""
    with pytest.raises(ValueError, match="byte range"):
        Ranges.of([span])
