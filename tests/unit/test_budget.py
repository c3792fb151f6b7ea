"""The budget's rules by example."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imgurfs import limits
from imgurfs.budget import (
    CAPACITY,
    DEFAULT_LIMITS,
    Allow,
    LedgerState,
    Refuse,
    Scope,
    Wait,
    Window,
    decide,
    effective,
    floor_of,
)
from imgurfs.model import Lane, RequestClass, RequestKind
from imgurfs.windows import anchored, begun, learned

NOW = 1_800_000_000.0
READ = RequestClass(RequestKind.READ, Lane.INTERACTIVE)
REFRESH = RequestClass(RequestKind.READ, Lane.REFRESH)
UPLOAD = RequestClass(RequestKind.UPLOAD, Lane.FRESH, is_post=True)
CDN = RequestClass(RequestKind.CDN, Lane.INTERACTIVE)
TOKEN = RequestClass(RequestKind.FREE, Lane.CONTROL, is_post=True)


def full(**fields: object) -> LedgerState:
    """Return a ledger nothing was spent from."""
    windows = {
        scope: Window(limit=limit, remaining=limit)
        for scope, limit in DEFAULT_LIMITS.items()
    }
    return LedgerState(windows=windows, **fields)  # type: ignore[arg-type]


def with_window(state: LedgerState, scope: Scope, **fields: object) -> LedgerState:
    """Return the state with one window changed."""
    window = replace(state.windows[scope], **fields)  # type: ignore[arg-type]
    return replace(state, windows={**state.windows, scope: window})


def test_costs() -> None:
    """An upload is reserved at ten credits in every ledger it touches."""
    decision = decide(full(), UPLOAD, NOW)
    assert decision == Allow(
        {Scope.USER: 10, Scope.CLIENT: 10, Scope.UPLOAD: 1, Scope.POSTS: 1}
    )
    assert decide(full(), READ, NOW) == Allow({Scope.USER: 1, Scope.CLIENT: 1})
    assert decide(full(), CDN, NOW) == Allow({})


@pytest.mark.parametrize(
    ("strikes", "kept"), [(0, 375), (1, 625), (2, 1250), (3, 2500)]
)
def test_upload_floor_grows_with_strikes(strikes: int, kept: int) -> None:
    """S19: uploads leave 3, 5, 10, 20 % of the client's day; reads may go on."""
    end = {"reset_at": NOW + 100.0, "is_learned": True}
    state = full(strikes=strikes)
    just = with_window(state, Scope.CLIENT, remaining=kept + 10, **end)
    assert isinstance(decide(just, UPLOAD, NOW), Allow)
    short = with_window(state, Scope.CLIENT, remaining=kept + 9, **end)
    decision = decide(short, UPLOAD, NOW)
    assert isinstance(decision, Wait)
    assert decision.until == NOW + 100.0
    assert isinstance(decide(short, READ, NOW), Allow)


def test_fourth_strike_needs_consent() -> None:
    """S19: after four strikes uploads are refused until the user says yes."""
    assert isinstance(decide(full(strikes=4), UPLOAD, NOW), Refuse)
    assert isinstance(decide(full(strikes=4), READ, NOW), Allow)
    consented = full(strikes=4, has_consent=True)
    assert isinstance(decide(consented, UPLOAD, NOW), Allow)


def test_refresh_leaves_the_window_to_uploads() -> None:
    """Refreshing stops where uploads go on; the floor shrinks as the window ends."""
    little = {"remaining": 60, "reset_at": NOW + 3600.0}
    begun_share = with_window(full(), Scope.USER, **little)
    assert isinstance(decide(begun_share, REFRESH, NOW), Allow)
    state = with_window(full(), Scope.USER, lane_use={Lane.REFRESH: 10}, **little)
    decision = decide(state, REFRESH, NOW)
    assert isinstance(decision, Wait)
    assert isinstance(decide(state, UPLOAD, NOW), Allow)
    assert isinstance(decide(state, REFRESH, decision.until), Allow)
    assert decision.until < NOW + 3600.0


def test_pauses() -> None:
    """A pause stops what it names; over capacity stops everything but tokens."""
    until = NOW + 600
    uploads = full(pauses={"upload": until})
    assert decide(uploads, UPLOAD, NOW) == Wait(until, "Imgur asked to wait (upload)")
    assert isinstance(decide(uploads, READ, NOW), Allow)
    everything = full(pauses={CAPACITY: until})
    assert isinstance(decide(everything, READ, NOW), Wait)
    assert isinstance(decide(everything, READ, until), Allow)
    assert isinstance(decide(everything, TOKEN, NOW), Allow)


def test_clock_set_back() -> None:
    """An end or a pause years ahead is not waited for."""
    years = NOW + 10**8
    state = with_window(full(), Scope.USER, remaining=0, reset_at=years)
    decision = decide(state, READ, NOW)
    assert isinstance(decision, Wait)
    assert decision.until <= NOW + 3600
    assert isinstance(decide(full(pauses={"user": years}), READ, NOW), Allow)


def test_windows_end_late_rather_than_early() -> None:
    """A guessed end moves with every request; one from an answer keeps a margin."""
    window = begun(Window(limit=50, remaining=50), Scope.UPLOAD, NOW)
    latest_s = limits.UPLOAD_TIMEOUT_S + 3600 + limits.RESET_MARGIN_S
    assert window.reset_at == NOW + latest_s
    window = begun(window, Scope.UPLOAD, NOW + 60)
    assert (window.started_at, window.reset_at) == (NOW, NOW + 60 + latest_s)
    later = anchored(window, Scope.UPLOAD, NOW + 300)
    assert later.reset_at == NOW + 3900 + limits.RESET_MARGIN_S
    assert anchored(later, Scope.UPLOAD, NOW + 400) == later
    assert effective(later, Scope.UPLOAD, NOW + 4000).remaining == 50


def tell(window: Window, remaining: int, reset_s: float, **times: float) -> Window:
    """Learn from a user header."""
    now = times.get("now", NOW)
    return learned(
        window,
        Scope.USER,
        limit=500,
        remaining=remaining,
        reset_s=reset_s,
        sent_at=times.get("sent_at", now),
        now=now,
    )


def test_learning() -> None:
    """Headers replace a guess, fall within a window, and rise in a new one."""
    window = tell(Window(limit=500, remaining=500), 120, 1000)
    assert (window.remaining, window.reset_at) == (120, NOW + 1002)
    assert tell(window, 130, 999).remaining == 120
    fresh = tell(window, 499, 3600, now=NOW + 1001)
    assert (fresh.remaining, fresh.reset_at) == (499, NOW + 1001 + 3602)
    # An answer to a question of the old window arrives late.
    assert tell(fresh, 3, 0, now=NOW + 1002, sent_at=NOW + 900) == fresh


def test_another_limit_is_believed() -> None:
    """When Imgur raises the limit, what is left rises with it."""
    window = tell(Window(limit=500, remaining=500), 10, 1000)
    raised = learned(
        window,
        Scope.USER,
        limit=2000,
        remaining=1510,
        reset_s=1000,
        sent_at=NOW,
        now=NOW,
    )
    assert (raised.limit, raised.remaining) == (2000, 1510)


def test_a_limit_below_the_cost_is_refused() -> None:
    """Waiting does not help when the whole window is too small."""
    state = with_window(full(), Scope.USER, limit=9, remaining=9)
    assert isinstance(decide(state, UPLOAD, NOW), Refuse)


@pytest.mark.parametrize(
    ("strikes", "lane", "is_allowed"),
    [
        (0, Lane.REFRESH, True),
        (1, Lane.REFRESH, False),
        (1, Lane.INTERACTIVE, True),
        (2, Lane.INTERACTIVE, True),
        (3, Lane.INTERACTIVE, False),
        (3, Lane.CONTROL, True),
    ],
)
def test_reads_keep_away_from_the_end_as_strikes_add_up(
    strikes: int, lane: Lane, is_allowed: bool
) -> None:
    """Somebody else may have emptied the day: who risks a strike for it gets fewer."""
    state = with_window(
        full(strikes=strikes), Scope.CLIENT, remaining=375, reset_at=NOW + 600.0
    )
    decision = decide(state, RequestClass(RequestKind.READ, lane), NOW)
    assert isinstance(decision, Allow) == is_allowed


def test_what_is_kept_of_an_hour_does_not_grow_with_the_limit() -> None:
    """At 2,000 credits an hour a backlog leaves thirty, of the day its share."""
    assert floor_of(Scope.USER, 500, Lane.BULK) == 30.0
    assert floor_of(Scope.USER, 2000, Lane.BULK) == 30.0
    assert floor_of(Scope.CLIENT, 12_500, Lane.BULK) == 750.0
    assert floor_of(Scope.USER, 2000, Lane.REFRESH) == 400.0
