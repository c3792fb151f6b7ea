"""When a file has settled, and which names are never uploaded."""

from __future__ import annotations

from dataclasses import replace

from imgurfs_daemon.snapshot import FileStat, Settling, is_temporary_name


def test_a_file_settles_when_it_holds_still() -> None:
    """A file is ready after settle_s without a change, by observation or by mtime."""
    settling = Settling(settle_s=2.0)
    future = FileStat(b"a", 1, 1, 10, 2_000 * 10**9)
    assert settling.settled([future], now=1000.0, monotonic_s=0.0) == (frozenset(), 2.0)
    grown = replace(future, size_bytes=11)
    assert settling.settled([grown], now=1001.5, monotonic_s=1.5) == (frozenset(), 2.0)
    assert settling.settled([grown], now=1003.5, monotonic_s=3.5) == (
        frozenset({b"a"}),
        None,
    )
    old = FileStat(b"b", 1, 1, 10, 900 * 10**9)
    assert settling.settled([old], now=1000.0, monotonic_s=4.0) == (
        frozenset({b"b"}),
        None,
    )


def test_temporary_names() -> None:
    """Names of unfinished work are recognised; pictures' names are not."""
    for name in (
        b".hidden", b"x~", b"a.part", b"A.TMP", b"f.crdownload",
        b".goutputstream-X", b".photo.jpg.Ab12cd", b"~$x",
    ):  # fmt: skip
        assert is_temporary_name(name), name
    for name in (b"a.jpg", b"a.part.jpg", b"tmp", b"x~y.jpg", b"party"):
        assert not is_temporary_name(name), name
