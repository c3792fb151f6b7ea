"""Which files of a folder belong to it: patterns as in .gitignore."""

from __future__ import annotations

import pytest

from imgurfs.errors import ConfigError
from imgurfs_daemon.filters import Filters


def excluded(filters: Filters, *paths: bytes) -> set[bytes]:
    """Return which of these are left out; those ending in "/" are directories."""
    return {
        path
        for path in paths
        if filters.excludes(path.rstrip(b"/"), is_directory=path.endswith(b"/"))
    }


def test_without_patterns_everything_belongs() -> None:
    """Nothing is left out by default."""
    assert excluded(Filters(), b"a.jpg", b"x/", b"x/\xff.jpg") == set()


def test_exclude_leaves_out() -> None:
    """Names at any depth, rooted paths, directories, and exceptions to all that."""
    filters = Filters(exclude=["*.raw", "/private/", "cache/", "!keep.raw", "/top.jpg"])
    paths = (
        b"a.raw", b"x/a.raw", b"x/keep.raw", b"private/", b"private/a.jpg",
        b"x/private/", b"x/cache/", b"cache", b"top.jpg", b"x/top.jpg", b"b.jpg",
    )  # fmt: skip
    assert excluded(filters, *paths) == {
        b"a.raw", b"x/a.raw", b"private/", b"private/a.jpg", b"x/cache/", b"top.jpg",
    }  # fmt: skip


def test_include_takes_only_what_it_matches() -> None:
    """It decides about files; directories are looked into in any case."""
    filters = Filters(include=["*.jpg", "2024/"], exclude=["draft*"])
    paths = (b"a.jpg", b"a.png", b"x/", b"x/b.jpg", b"2024/c.png", b"x/draft1.jpg")
    assert excluded(filters, *paths) == {b"a.png", b"x/draft1.jpg"}


def test_names_need_not_be_utf_8() -> None:
    """A name that no text stands for is matched by its bytes."""
    filters = Filters(exclude=["*.raw"])
    assert excluded(filters, b"\xff.raw", b"x\xfe/\xff.raw", b"\xff.jpg") == {
        b"\xff.raw",
        b"x\xfe/\xff.raw",
    }


@pytest.mark.parametrize("pattern", ["[z-a]", "x/[9-0]*.jpg", "\\"])
@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_pattern_that_cannot_be_compiled_is_refused(key: str, pattern: str) -> None:
    """A range the wrong way round, for one: an error of the configuration."""
    with pytest.raises(ConfigError, match=f"{key}: a pattern cannot be understood"):
        Filters(**{key: ["*.jpg", pattern]})


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_pattern_that_means_nothing_is_refused(key: str) -> None:
    """The message names the key and the pattern."""
    with pytest.raises(ConfigError) as caught:
        Filters(**{key: ["*.jpg", "!"]})
    assert key in caught.value.message
    assert "'!'" in caught.value.message


def test_filters_are_compared_by_their_patterns() -> None:
    """A configuration that is read again with the same patterns changes nothing."""
    assert Filters(["*.jpg"], ["x"]) == Filters(("*.jpg",), ("x",))
    assert hash(Filters(["*.jpg"])) == hash(Filters(["*.jpg"]))
    assert Filters(["*.jpg"]) != Filters(exclude=["*.jpg"])
    assert "*.jpg" in repr(Filters(["*.jpg"]))
