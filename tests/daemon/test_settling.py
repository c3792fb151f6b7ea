"""When a file is whole: pure rules over invented stats and times."""

from __future__ import annotations

from imgurfs_daemon.snapshot import FileStat, Settling

NOW_S = 1_800_000_000.0


def file(path: str, *, age_s: float, version: int = 0) -> FileStat:
    """Return a file that was last written so long ago (negative: in the future)."""
    return FileStat(path.encode(), 1, 1, version, int((NOW_S - age_s) * 1e9))


def test_a_file_holds_still_long_enough() -> None:
    """By its time stamp, or seen by us; a change begins the time anew."""
    settling = Settling(settle_s=2.0)
    old, new = file("old", age_s=3), file("new", age_s=1)
    future = file("future", age_s=-100)
    assert settling.settled([old, new, future], now=NOW_S, monotonic_s=10.0) == (
        frozenset({b"old"}),
        1.0,
    )
    changed = file("future", age_s=-100, version=1)
    ready, wait_s = settling.settled([changed], now=NOW_S + 2, monotonic_s=12.0)
    assert (ready, wait_s) == (frozenset(), 2.0)
    ready, wait_s = settling.settled([changed], now=NOW_S + 4, monotonic_s=14.0)
    assert (ready, wait_s) == (frozenset({b"future"}), None)


def test_a_file_that_nobody_closed_waits_longer() -> None:
    """With a watcher two seconds are for closed files, ten for all others."""
    settling = Settling(settle_s=2.0)
    settling.note_closed([b"closed"])
    both = [file("closed", age_s=3), file("open", age_s=3)]
    ready, wait_s = settling.settled(both, now=NOW_S, monotonic_s=10.0)
    assert (ready, wait_s) == (frozenset({b"closed"}), 7.0)
    settling.note_closed([b"open"])
    ready, wait_s = settling.settled(both[1:], now=NOW_S + 1, monotonic_s=11.0)
    assert (ready, wait_s) == (frozenset({b"open"}), None)


def test_closed_is_said_of_one_state_of_a_file() -> None:
    """Written to after it was closed, it is open again."""
    settling = Settling(settle_s=2.0)
    settling.note_closed([b"a"])
    settling.settled([file("a", age_s=0)], now=NOW_S, monotonic_s=10.0)
    later = file("a", age_s=0, version=1)
    ready, wait_s = settling.settled([later], now=NOW_S + 3, monotonic_s=13.0)
    assert (ready, wait_s) == (frozenset(), 7.0)


def test_a_look_elsewhere_forgets_nothing() -> None:
    """What is outside the scope still settles at its time, and is said to."""
    settling = Settling(settle_s=2.0)
    settling.settled([file("x/a", age_s=1)], now=NOW_S, monotonic_s=10.0)
    ready, wait_s = settling.settled(
        [], now=NOW_S, monotonic_s=10.5, scope=frozenset({b"y"})
    )
    assert (ready, wait_s) == (frozenset(), 0.5)
    assert settling.directories == frozenset({b"x"})
    ready, wait_s = settling.settled(
        [], now=NOW_S, monotonic_s=10.5, scope=frozenset(frozenset({b"x"}))
    )
    assert (ready, wait_s, settling.directories) == (frozenset(), None, frozenset())


def test_a_file_that_was_sent_rests() -> None:
    """Held back until its time, however still it holds."""
    settling = Settling(settle_s=2.0)
    settling.hold(b"a", until_monotonic_s=70.0)
    sent = [file("a", age_s=100)]
    assert settling.settled(sent, now=NOW_S, monotonic_s=10.0) == (frozenset(), 60.0)
    assert settling.settled(sent, now=NOW_S, monotonic_s=70.0) == (
        frozenset({b"a"}),
        None,
    )
