"""The change log tells other processes what changed, and the meta table what is so."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from imgurfs.errors import AccountMismatchError
from imgurfs.model import ROOT_INODE, Account, Inode
from imgurfs.store import changelog, meta
from imgurfs.store.changelog import Change, ChangeKind
from imgurfs.store.database import Connection, Database
from tests.support.account import open_state


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A fresh state.db."""
    opened = open_state(tmp_path / "state.db")
    yield opened
    opened.close()


def _append(c: Connection, number: int) -> None:
    changelog.append(
        c,
        parent=ROOT_INODE,
        name=f"n{number}",
        inode=Inode(number),
        kind=ChangeKind.ADDED,
    )


def test_changes_are_read_in_order_and_in_pieces(db: Database) -> None:
    """A reader goes on where it stopped."""
    assert changelog.last_seq(db.reader) == 0
    for number in range(5):
        db.write_blocking(partial(_append, number=number))
    first = changelog.since(db.reader, 0, 3)
    rest = changelog.since(db.reader, first[-1].seq, 3)
    assert [change.name for change in first + rest] == ["n0", "n1", "n2", "n3", "n4"]
    assert first[0] == Change(1, ROOT_INODE, "n0", Inode(0), ChangeKind.ADDED)
    assert changelog.last_seq(db.reader) == 5


def test_a_change_that_is_rolled_back_never_was(db: Database) -> None:
    """The log belongs to the transaction of the change."""

    def fail(c: Connection) -> None:
        _append(c, 1)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        db.write_blocking(fail)
    assert changelog.since(db.reader, 0, 10) == []


def test_a_trimmed_log_shows_that_something_is_missing(db: Database) -> None:
    """Numbers go on after a trim, and a reader too far behind can tell."""
    assert changelog.oldest_seq(db.reader) == 1
    for number in range(5):
        db.write_blocking(partial(_append, number=number))
    db.write_blocking(partial(changelog.trim, keep=2))
    assert [change.seq for change in changelog.since(db.reader, 0, 10)] == [4, 5]
    assert changelog.oldest_seq(db.reader) == 4
    db.write_blocking(partial(changelog.trim, keep=0))
    assert (changelog.last_seq(db.reader), changelog.oldest_seq(db.reader)) == (5, 6)


def test_meta_keeps_and_forgets(db: Database) -> None:
    """Values and times survive; what was never set is None."""
    assert meta.get(db.reader, "brake") is None
    assert meta.get_time(db.reader, "albums_listed_at") is None
    db.write_blocking(lambda c: meta.put(c, "brake", "a"))
    db.write_blocking(lambda c: meta.put(c, "brake", "b"))
    db.write_blocking(lambda c: meta.put_time(c, "albums_listed_at", 1700000000.125))
    assert meta.get(db.reader, "brake") == "b"
    assert meta.get_time(db.reader, "albums_listed_at") == 1700000000.125
    db.write_blocking(lambda c: meta.drop(c, "brake"))
    assert meta.get(db.reader, "brake") is None


def test_a_state_belongs_to_one_account_for_ever(db: Database) -> None:
    """A renamed account is the same; another one is refused and nothing changes."""
    assert meta.account_of(db.reader) is None
    db.write_blocking(lambda c: meta.bind_account(c, Account(5, "old")))
    db.write_blocking(lambda c: meta.bind_account(c, Account(5, "new")))
    assert meta.account_of(db.reader) == Account(5, "new")
    with pytest.raises(AccountMismatchError, match=r"'new'.*5.*'other'.*6"):
        db.write_blocking(lambda c: meta.bind_account(c, Account(6, "other")))
    assert meta.account_of(db.reader) == Account(5, "new")
