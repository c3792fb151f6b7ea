"""When ``imgurfs wait`` stops waiting before everything is uploaded."""

from __future__ import annotations

import pytest

from imgurfs.cli.wait import Left, needs_user
from imgurfs.control import Cause, Waiting

HELD = Waiting(Cause.GUARD, None, "the guard holds it")
DUE = Waiting(Cause.DUE, None, "it is next")


@pytest.mark.parametrize(
    ("waiting", "is_over"), [([], False), ([HELD], True), ([HELD, DUE], False)]
)
def test_only_a_decision_of_the_user_ends_it(
    waiting: list[Waiting], *, is_over: bool
) -> None:
    """A file that is found and queued between two looks is nothing to decide about."""
    left = Left([b"/new.gif"], len(waiting), 1, 1, waiting, "")
    assert needs_user(left) is is_over
