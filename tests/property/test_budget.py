"""Laws of the budget, for any state and any sequence of events."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from imgurfs import limits
from imgurfs.budget import (
    WINDOW_S,
    Allow,
    LedgerState,
    Refuse,
    Scope,
    Wait,
    Window,
    charge,
    decide,
    effective,
)
from imgurfs.model import Lane, RequestClass, RequestKind
from imgurfs.pacing import FULL_BUCKET, ready_at, taken
from imgurfs.windows import learned

NOW = 1_800_000_000.0

requests = st.builds(
    RequestClass,
    kind=st.sampled_from(RequestKind),
    lane=st.sampled_from(Lane),
    is_post=st.booleans(),
)


@st.composite
def windows(draw: st.DrawFn, scope: Scope) -> Window:
    """Draw anything the ledger may have stored."""
    limit = draw(st.integers(0, 20_000))
    ahead = draw(st.none() | st.floats(-10, WINDOW_S[scope] * 1.1))
    return Window(
        limit=limit,
        remaining=draw(st.integers(0, limit)),
        started_at=NOW - draw(st.floats(0, WINDOW_S[scope])),
        reset_at=None if ahead is None else NOW + ahead,
        is_learned=draw(st.booleans()),
        reserved=draw(st.integers(0, 600)),
    )


states = st.builds(
    LedgerState,
    windows=st.fixed_dictionaries({scope: windows(scope) for scope in Scope}),
    pauses=st.dictionaries(
        st.sampled_from([*map(str, Scope), "capacity"]),
        st.floats(NOW - 100, NOW + 10_000),
    ),
    strikes=st.integers(0, 6),
    has_consent=st.booleans(),
)


@given(states, requests)
def test_never_more_than_is_left(state: LedgerState, request: RequestClass) -> None:
    """What is allowed fits into every window it is charged to."""
    decision = decide(state, request, NOW)
    if isinstance(decision, Allow):
        for scope, amount in decision.charge.items():
            window = effective(state.windows[scope], scope, NOW)
            assert amount <= window.remaining - window.reserved


@given(states, requests)
def test_a_wait_ends(state: LedgerState, request: RequestClass) -> None:
    """A wait is finite and in the future; waiting it out leads to an allowance."""
    now, seen = NOW, 0
    # As in the ledger: reservations without a header do not outlive their window.
    while isinstance(decision := decide(state, request, now), Wait):
        assert now < decision.until < NOW + 40 * 3600
        assert decision.reason
        now, seen = decision.until, seen + 1
        state = replace(
            state,
            windows={
                scope: replace(window, reserved=0)
                if window.reset_at is None or window.reset_at <= now
                else window
                for scope, window in state.windows.items()
            },
        )
        assert seen < 20
    assert isinstance(decision, Allow | Refuse)


@given(states, requests, st.sampled_from(Scope), st.integers(1, 100))
def test_monotone_in_what_is_left(
    state: LedgerState, request: RequestClass, scope: Scope, less: int
) -> None:
    """Who is allowed with little left is allowed with more left."""
    window = state.windows[scope]
    poorer = replace(window, remaining=max(0, window.remaining - less))
    poor = replace(state, windows={**state.windows, scope: poorer})
    if isinstance(decide(poor, request, NOW), Allow):
        assert isinstance(decide(state, request, NOW), Allow)


@given(states, st.sampled_from(RequestKind), st.booleans())
def test_urgent_lanes_come_first(
    state: LedgerState, kind: RequestKind, is_post: bool
) -> None:
    """If a lane is allowed, every more urgent lane is."""
    decisions = [decide(state, RequestClass(kind, lane, is_post), NOW) for lane in Lane]
    allowed = [isinstance(decision, Allow) for decision in decisions]
    assert allowed == sorted(allowed, reverse=True)


@given(windows(Scope.USER), st.lists(st.integers(0, 500), max_size=20))
def test_remaining_only_falls_within_a_window(
    window: Window, answers: list[int]
) -> None:
    """Answers that overtake each other never raise what is left."""
    window = replace(window, limit=500, remaining=min(500, window.remaining))
    lowest = math.inf
    for remaining in answers:
        window = learned(
            window,
            Scope.USER,
            limit=500,
            remaining=remaining,
            reset_s=1800,
            sent_at=NOW,
            now=NOW,
        )
        lowest = min(lowest, remaining)
        assert window.remaining <= lowest


@given(requests)
def test_charge_is_never_negative(request: RequestClass) -> None:
    """Every cost is positive; the CDN costs nothing."""
    cost = charge(request)
    assert all(amount > 0 for amount in cost.values())
    assert (not cost) == (
        request.kind is RequestKind.CDN
        or (request.kind is RequestKind.FREE and not request.is_post)
    )


@given(st.lists(st.floats(0, 30), max_size=150))
def test_uploads_are_spread(pauses: list[float]) -> None:
    """In no span more go out than the burst and the rate allow; each gets its turn."""
    bucket, now, sent = FULL_BUCKET, NOW, []
    for pause_s in pauses:
        now = max(now + pause_s / 100, ready_at(bucket, now))
        bucket = taken(bucket, now)
        sent.append(now)
    for index, begin in enumerate(sent):
        for count, end in enumerate(sent[index:], start=1):
            allowed = limits.UPLOAD_BURST_MAX + (end - begin) * limits.UPLOADS_PER_S_MAX
            assert count <= allowed + 1.001
