"""Drafts as rows, and how a database of before drafts becomes one with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs.model import ROOT_INODE, ImageId, Inode
from imgurfs.store import drafts, edits, entries
from imgurfs.store.database import Connection, Database
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.store.schema import MIGRATIONS, STATE_SCHEMA
from tests.support.account import open_state


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A fresh state.db."""
    opened = open_state(tmp_path / "state.db")
    yield opened
    opened.close()


def _file(db: Database) -> Inode:
    return db.write_blocking(lambda c: edits.make_file(c, now=1.0))


def test_a_draft_comes_back_as_it_was_put(db: Database) -> None:
    """Every field; written again it is replaced, dropped it is gone."""
    inode = _file(db)
    draft = Draft(
        inode,
        3,
        DraftState.REFUSED,
        10,
        2.5,
        replaces=ImageId("x"),
        error="too large",
        is_grown=True,
    )
    db.write_blocking(lambda c: drafts.put(c, draft))
    assert drafts.get(db.reader, inode) == draft
    assert draft.spool_name == f"{inode}.3"
    again = Draft(inode, 4, DraftState.WAITING, 11, 3.0)
    db.write_blocking(lambda c: drafts.put(c, again))
    assert drafts.everything(db.reader) == [again]
    db.write_blocking(lambda c: drafts.drop(c, inode))
    assert drafts.get(db.reader, inode) is None


def test_drafts_are_found_by_state(db: Database) -> None:
    """In the order of inodes."""
    made = [
        Draft(_file(db), 1, state, 1, 1.0)
        for state in (DraftState.SCRATCH, DraftState.WAITING, DraftState.SCRATCH)
    ]

    def put_all(c: Connection) -> None:
        for draft in made:
            drafts.put(c, draft)

    db.write_blocking(put_all)
    found = drafts.everything(db.reader, [DraftState.SCRATCH])
    assert found == [made[0], made[2]]
    assert drafts.everything(db.reader, []) == []


def test_a_draft_goes_with_its_inode(db: Database) -> None:
    """No row refers to a file that is no more."""
    inode = _file(db)
    db.write_blocking(lambda c: drafts.put(c, Draft(inode, 1, DraftState.KEPT, 1, 1.0)))
    db.write_blocking(lambda c: entries.remove(c, inode))
    assert drafts.everything(db.reader) == []
    assert entries.node(db.reader, inode) is None


@pytest.mark.parametrize("state", list(DraftState))
@pytest.mark.parametrize("is_deleted", [False, True])
def test_bytes_go_with_an_inode_that_imgur_has_or_the_user_deleted(
    db: Database, state: DraftState, *, is_deleted: bool
) -> None:
    """W28: nothing else may be removed; but that must not be left behind either."""
    inode = _file(db)
    draft = Draft(inode, 2, state, 1, 1.0)

    def forget(c: Connection) -> None:
        drafts.put(c, draft)
        if is_deleted:
            edits.hide_image(c, inode)
        entries.remove(c, inode)

    db.write_blocking(forget)
    is_free = is_deleted or state is DraftState.SENT
    assert drafts.discarded(db.reader) == ({draft.spool_name} if is_free else set())
    assert drafts.get(db.reader, inode) is None


def test_a_database_without_drafts_is_brought_up_to_date(tmp_path: Path) -> None:
    """Every row of before is there afterwards, and can be edited."""
    path = tmp_path / "state.db"
    old = sqlite3.connect(path)
    for script in MIGRATIONS[:2]:
        old.executescript(script)
    old.executescript(
        f"PRAGMA user_version = 2; PRAGMA application_id = {0x696D6775};"
        "INSERT INTO node (inode, kind) VALUES (2, 'album'), (3, 'image');"
        "INSERT INTO album (inode, id, title, datetime_s, listed_at)"
        " VALUES (2, 'alb', 'A', 7, 8.0);"
        "INSERT INTO image (inode, id, title, type, link, size_bytes, is_size_known,"
        " datetime_s, mtime_s, first_seen_at, is_in_account, views)"
        " VALUES (3, 'img', 't', 'image/png', 'l', 5, 1, 9, NULL, 1.0, 1, 4);"
        "INSERT INTO entry (parent, name, bare, inode, position)"
        " VALUES (1, 'A', 'A', 2, 0), (2, 't.png', 't.png', 3, 1);"
        "INSERT INTO membership (album_id, image_id, state, changed_at)"
        " VALUES ('alb', 'img', 'there', 1.0);"
        "INSERT INTO meta VALUES ('albums_listed_at', '6.0');"
    )
    old.commit()
    old.close()
    db = open_state(path)
    assert db.reader.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert STATE_SCHEMA.migrations == MIGRATIONS
    (album,) = entries.children(db.reader, ROOT_INODE)
    (file,) = entries.children(db.reader, Inode(2))
    assert album.node.album is not None
    assert (album.name, album.node.album.id, album.node.listed_at) == ("A", "alb", 8.0)
    assert file.node.image is not None
    assert (file.name, file.node.image.id, file.node.image.views) == ("t.png", "img", 4)
    assert (file.node.mtime_ns, file.node.draft, file.node.is_hidden) == (
        9_000_000_000, None, False,
    )  # fmt: skip
    assert set(entries.members(db.reader, Inode(2))) == {"img"}
    assert set(entries.account_images(db.reader)) == {"img"}
    db.write_blocking(lambda c: edits.hide_image(c, Inode(3)))
    assert entries.children(db.reader, Inode(2)) == []
    assert db.reader.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()
