"""The fewest calls for one album (the property tests compare with all there are)."""

from __future__ import annotations

import pytest

from imgurfs.jobs.album_calls import (
    AddImages,
    RemoveImages,
    SetImages,
    cheapest,
    count,
)
from imgurfs.model import ImageId


def images(*numbers: int) -> tuple[ImageId, ...]:
    """Return image ids."""
    return tuple(ImageId(f"image{number:03}") for number in numbers)


def test_nothing_to_do_is_no_call() -> None:
    """Not even when the album's content is known."""
    assert cheapest((), (), None) == ()
    assert cheapest((), (), images(1)) == ()


def test_adds_come_before_removes() -> None:
    """One that fails in between leaves too much rather than too little."""
    calls = cheapest(images(1, 2), images(3), None)
    assert calls == (AddImages(images(1, 2)), RemoveImages(images(3)))


def test_calls_name_no_more_than_a_chunk() -> None:
    """Neither adds nor removes nor a set."""
    calls = cheapest(images(*range(5)), images(*range(10, 13)), None, chunk=2)
    assert [len(call.images) for call in calls] == [2, 2, 1, 2, 1]
    many = images(*range(3))
    assert cheapest(images(7), images(0), many, chunk=2) == (
        AddImages(images(7)),
        RemoveImages(images(0)),
    )


def test_set_replaces_two_calls() -> None:
    """It keeps the order of the album, with what is new at the end."""
    calls = cheapest(images(9), images(2), images(3, 2, 1))
    assert calls == (SetImages(images(3, 1, 9)),)


def test_set_is_not_used_without_need() -> None:
    """One call does as well and touches nothing else."""
    assert cheapest(images(9), (), images(1)) == (AddImages(images(9)),)
    assert cheapest((), images(1), images(1, 2)) == (RemoveImages(images(1)),)


def test_an_album_is_not_set_to_nothing() -> None:
    """Removing what is in it says better what is meant."""
    calls = cheapest((), images(1, 2, 3), images(1, 2, 3), chunk=2)
    assert calls == (RemoveImages(images(1, 2)), RemoveImages(images(3)))


def test_something_asked_for_is_never_no_call() -> None:
    """Even if the album is as it should be: the caller waits for an answer."""
    assert cheapest(images(1), (), images(1)) == (AddImages(images(1)),)
    assert cheapest(images(1, 1), (), None) == (AddImages(images(1)),)


def test_an_image_cannot_be_both() -> None:
    """Whoever asks for that has a bug."""
    with pytest.raises(AssertionError, match="both"):
        cheapest(images(1), images(1), None)


def test_count_agrees() -> None:
    """The number said beforehand is the number of calls."""
    for adds, removes in ((0, 0), (1, 0), (100, 1), (101, 250)):
        calls = cheapest(images(*range(adds)), images(*range(500, 500 + removes)), None)
        assert count(adds, removes) == len(calls)
