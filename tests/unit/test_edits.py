"""Rows that the user makes, and how they become Imgur's."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs.errors import NameTakenError
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import changelog, drafts, edits, entries
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection, Database
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.tree import changes
from tests.support.account import album, image, open_state

NOW_S = 1_000.0
SECOND_NS = 1_000_000_000


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A fresh state.db."""
    opened = open_state(tmp_path / "state.db")
    yield opened
    opened.close()


def _make(c: Connection, name: str, parent: Inode = ROOT_INODE) -> Inode:
    inode = edits.make_file(c, now=NOW_S)
    edits.add_entry(c, parent, inode, name)
    return inode


def _make_album(c: Connection, title: str) -> Inode:
    inode = edits.make_album(c, title, now=NOW_S)
    edits.add_entry(c, ROOT_INODE, inode, title)
    return inode


def _draft(inode: Inode, state: DraftState) -> Draft:
    return Draft(inode, 1, state, 77, NOW_S)


def _tree(db: Database, parent: Inode = ROOT_INODE) -> dict[str, Inode]:
    children = entries.children(db.reader, parent)
    return {one.name: one.node.inode for one in children}


def _changes(db: Database, after: int) -> list[tuple[ChangeKind, str, Inode]]:
    rows = changelog.since(db.reader, after, 1000)
    return [(one.kind, one.name, one.inode) for one in rows]


def test_a_new_file_is_there_before_imgur_knows_it(db: Database) -> None:
    """With its own name, the moment's times, no id, and the draft's size."""
    inode = db.write_blocking(lambda c: _make(c, "Ä.jpg"))
    db.write_blocking(lambda c: drafts.put(c, _draft(inode, DraftState.WAITING)))
    found = entries.child(db.reader, ROOT_INODE, "Ä.jpg")
    assert found is not None
    node = found.node
    assert node.image is not None
    assert (node.inode, node.image.id, node.links, node.size_bytes) == (
        inode, "", 1, 77,
    )  # fmt: skip
    assert node.mtime_ns == node.atime_ns == node.ctime_ns == 1000 * SECOND_NS
    assert node.draft == _draft(inode, DraftState.WAITING)
    assert node.is_only_here
    assert entries.account_images(db.reader) == {}


def test_a_new_album_is_empty_and_listed(db: Database) -> None:
    """Nobody has to ask Imgur what is in it, and nobody takes it for one of Imgur's."""
    inode = db.write_blocking(lambda c: _make_album(c, "A"))
    node = entries.node(db.reader, inode)
    assert node is not None
    assert node.album is not None
    assert (node.album.id, node.listed_at) == ("", NOW_S)
    assert entries.albums_by_title(db.reader, "A") == []
    assert entries.albums_to_list(db.reader) == []


def test_a_name_is_taken_once(db: Database) -> None:
    """Neither two things of one name, nor two names of one thing in a directory."""
    inode = db.write_blocking(lambda c: _make(c, "a"))
    other = db.write_blocking(lambda c: _make(c, "b"))
    with pytest.raises(NameTakenError):
        db.write_blocking(lambda c: edits.add_entry(c, ROOT_INODE, inode, "c"))
    with pytest.raises(NameTakenError):
        db.write_blocking(
            lambda c: edits.move_entry(c, ROOT_INODE, other, ROOT_INODE, "a")
        )
    with pytest.raises(NameTakenError):
        db.write_blocking(lambda c: _make(c, "a"))
    assert _tree(db) == {"a": inode, "b": other}


def test_a_move_in_its_directory_keeps_the_cookie(db: Database) -> None:
    """A directory being read shows a renamed file once."""
    inode = db.write_blocking(lambda c: _make(c, "a"))
    album_inode = db.write_blocking(lambda c: _make_album(c, "A"))
    (before, _) = entries.children(db.reader, ROOT_INODE)
    seq = changelog.last_seq(db.reader)
    db.write_blocking(lambda c: edits.move_entry(c, ROOT_INODE, inode, ROOT_INODE, "b"))
    assert entries.children(db.reader, ROOT_INODE)[0].cookie == before.cookie
    assert _changes(db, seq) == [
        (ChangeKind.REMOVED, "a", inode),
        (ChangeKind.ADDED, "b", inode),
    ]
    db.write_blocking(
        lambda c: edits.move_entry(c, ROOT_INODE, inode, album_inode, "b")
    )
    assert _tree(db) == {"A": album_inode}
    assert _tree(db, album_inode) == {"b": inode}


def test_free_names_have_a_number_before_the_extension(db: Database) -> None:
    """And stay within what a name may have, no character split."""
    db.write_blocking(lambda c: (_make(c, "a.jpg"), _make(c, "a (2).jpg")))
    long = "ä" * 125 + ".jpg"
    db.write_blocking(lambda c: _make(c, long))
    assert edits.free_name(db.reader, ROOT_INODE, "b.jpg") == "b.jpg"
    assert edits.free_name(db.reader, ROOT_INODE, "a.jpg") == "a (3).jpg"
    found = edits.free_name(db.reader, ROOT_INODE, long)
    assert found.endswith(" (2).jpg")
    assert len(found.encode()) <= 255


def test_times_are_kept_and_announced(db: Database) -> None:
    """To the nanosecond; what is left out stays."""
    inode = db.write_blocking(lambda c: entries.put_image(c, image(7), now=1.0))
    node = entries.node(db.reader, inode)
    assert node is not None
    assert node.mtime_ns == node.ctime_ns == 7 * SECOND_NS
    seq = changelog.last_seq(db.reader)
    db.write_blocking(lambda c: edits.touch(c, inode, mtime_ns=5, atime_ns=6))
    db.write_blocking(lambda c: edits.touch(c, inode, ctime_ns=9))
    db.write_blocking(lambda c: edits.touch(c, ROOT_INODE, mtime_ns=3))
    node, root = entries.node(db.reader, inode), entries.node(db.reader, ROOT_INODE)
    assert node is not None
    assert root is not None
    assert (node.mtime_ns, node.atime_ns, node.ctime_ns, root.mtime_ns) == (5, 6, 9, 3)
    assert _changes(db, seq)[0] == (ChangeKind.ATTRIBUTES, "", inode)


def test_a_hidden_image_has_no_name_and_can_still_be_read(db: Database) -> None:
    """An open file that was removed stays open; nobody counts it any more."""
    inode = db.write_blocking(
        lambda c: changes.image_uploaded(c, image(1), albums=[], now=1.0)
    )
    db.write_blocking(lambda c: edits.hide_image(c, inode))
    assert _tree(db) == {}
    node = entries.node(db.reader, inode)
    assert node is not None
    assert (node.links, node.is_hidden) == (0, True)
    assert entries.totals(db.reader).images == 0
    assert entries.node_of_image(db.reader, image(1).id) is not None
    db.write_blocking(lambda c: edits.gone_now(c, inode, now=2.0))
    assert entries.node_of_image(db.reader, image(1).id) is None


# --- Becoming Imgur's ------------------------------------------------------------


def test_an_uploaded_file_keeps_inode_name_and_times(db: Database) -> None:
    """And no listing gives it the name that Imgur's title would make."""
    inode = db.write_blocking(lambda c: _make(c, "mine.png"))
    db.write_blocking(lambda c: edits.touch(c, inode, mtime_ns=5))
    db.write_blocking(
        lambda c: edits.assign_image(c, inode, image(1), now=NOW_S, digest=b"d")
    )
    db.write_blocking(lambda c: changes.image_uploaded(c, image(1), albums=[], now=9.0))
    assert _tree(db) == {"mine.png": inode}
    node = entries.node_of_image(db.reader, image(1).id)
    assert node is not None
    assert (node.inode, node.mtime_ns) == (inode, 5)
    assert edits.images_with_digest(db.reader, b"d") == [inode]
    assert edits.images_with_digest(db.reader, b"") == []
    titled = image(1, title="called on the web")
    db.write_blocking(lambda c: changes.image_uploaded(c, titled, albums=[], now=9.0))
    assert _tree(db) == {"called on the web.jpg": inode}


def test_a_changed_image_keeps_its_inode_and_leaves_the_old_one_hidden(
    db: Database,
) -> None:
    """Imgur cannot replace bytes: here only the id behind the inode changes."""
    inode = db.write_blocking(
        lambda c: changes.image_uploaded(c, image(1), albums=[], now=1.0)
    )
    db.write_blocking(lambda c: edits.assign_image(c, inode, image(2), now=NOW_S))
    assert _tree(db) == {"img0001.jpg": inode}
    old = entries.node_of_image(db.reader, image(1).id)
    assert old is not None
    assert old.inode != inode
    assert (old.is_hidden, old.links, old.image) == (True, 0, image(1))


def test_what_a_listing_showed_meanwhile_is_absorbed(db: Database) -> None:
    """One file, the user's; the kernel is told of every name of the other."""
    album_inode = db.write_blocking(
        lambda c: changes.album_created(c, album(1, "A"), images=[], now=1.0)
    )
    inode = db.write_blocking(lambda c: _make(c, "img0001.jpg", album_inode))
    other = db.write_blocking(
        lambda c: changes.image_uploaded(c, image(1), albums=[album(1).id], now=1.0)
    )
    assert _tree(db, album_inode) == {
        "img0001.jpg": inode,
        "img0001 (img0001).jpg": other,
    }
    seq = changelog.last_seq(db.reader)
    db.write_blocking(lambda c: edits.assign_image(c, inode, image(1), now=NOW_S))
    assert _tree(db, album_inode) == {"img0001.jpg": inode}
    assert entries.node(db.reader, other) is None
    assert _changes(db, seq) == [
        (ChangeKind.REMOVED, "img0001 (img0001).jpg", other),
        (ChangeKind.ATTRIBUTES, "", other),
        (ChangeKind.ATTRIBUTES, "", inode),
    ]


def test_names_in_other_directories_lead_to_the_users_file(db: Database) -> None:
    """Somebody put it into a second album; but the one it left is not entered again."""

    def fill(c: Connection) -> tuple[Inode, Inode, Inode]:
        one = changes.album_created(c, album(1, "A"), images=[], now=1.0)
        two = changes.album_created(c, album(2, "B"), images=[], now=1.0)
        inode = _make(c, "mine.jpg")
        albums = [album(1).id, album(2).id]
        changes.image_uploaded(c, image(1), albums=albums, now=1.0)
        return one, two, inode

    one, two, inode = db.write_blocking(fill)
    db.write_blocking(
        lambda c: edits.assign_image(c, inode, image(1), now=NOW_S, left=[one])
    )
    assert _tree(db, one) == {}
    assert _tree(db, two) == {"img0001.jpg": inode}
    assert _tree(db) == {"A": one, "B": two}, "what is in an album is not in the root"


def test_a_file_removed_while_it_was_sent_is_hidden(db: Database) -> None:
    """Also what a listing showed of it."""
    inode = db.write_blocking(lambda c: _make(c, "a.jpg"))
    db.write_blocking(lambda c: changes.image_uploaded(c, image(1), albums=[], now=1.0))
    db.write_blocking(lambda c: edits.drop_entry(c, ROOT_INODE, inode))
    db.write_blocking(lambda c: edits.assign_image(c, inode, image(1), now=NOW_S))
    assert _tree(db) == {}
    node = entries.node_of_image(db.reader, image(1).id)
    assert node is not None
    assert (node.inode, node.is_hidden) == (inode, True)


def test_what_was_written_to_the_other_is_not_lost(db: Database) -> None:
    """Somebody edited what the listing showed: it is a file of its own from now on."""
    inode = db.write_blocking(lambda c: _make(c, "a.jpg"))
    other = db.write_blocking(
        lambda c: changes.image_uploaded(c, image(1), albums=[], now=1.0)
    )
    db.write_blocking(lambda c: drafts.put(c, _draft(other, DraftState.WAITING)))
    db.write_blocking(lambda c: edits.assign_image(c, inode, image(1), now=NOW_S))
    assert _tree(db) == {"a.jpg": inode, "img0001.jpg": other}
    node = entries.node(db.reader, other)
    assert node is not None
    assert node.image is not None
    assert (node.image.id, node.is_only_here) == ("", True)


def test_a_title_given_while_it_was_sent_stays(db: Database) -> None:
    """What the user called it last is what counts."""
    inode = db.write_blocking(lambda c: _make(c, "a.jpg"))
    db.write_blocking(lambda c: edits.hold_title(c, inode, title="T", until=math.inf))
    db.write_blocking(lambda c: edits.assign_image(c, inode, image(1), now=NOW_S))
    db.write_blocking(lambda c: entries.put_image(c, image(1, title="U"), now=NOW_S))
    node = entries.node(db.reader, inode)
    assert node is not None
    assert node.image is not None
    assert node.image.title == "T"
    db.write_blocking(lambda c: edits.hold_title(c, inode, until=NOW_S + 3.0))
    assert _title_after_listing(db, "U", as_of=NOW_S) == "T"
    assert _title_after_listing(db, "U", as_of=NOW_S + 3.0) == "U"


def _title_after_listing(db: Database, title: str, *, as_of: float) -> str:
    listed = image(1, title=title)
    inode = db.write_blocking(lambda c: entries.put_image(c, listed, now=as_of))
    node = entries.node(db.reader, inode)
    assert node is not None
    assert node.image is not None
    return node.image.title


def test_a_created_album_absorbs_what_a_listing_showed(db: Database) -> None:
    """Its images come along; a name that is taken gets a number."""

    def fill(c: Connection) -> tuple[Inode, Inode, Inode]:
        inode = _make_album(c, "A")
        mine = _make(c, "img0001.jpg", inode)
        changes.image_uploaded(c, image(1), albums=[], now=1.0)
        changes.album_created(c, album(1, "A"), images=[image(1).id], now=1.0)
        return inode, mine, entries.image_inodes(c)[image(1).id]

    inode, mine, theirs = db.write_blocking(fill)
    assert set(_tree(db)) == {"A", "A (alb0001)"}
    db.write_blocking(lambda c: edits.assign_album(c, inode, album(1, "A"), now=NOW_S))
    assert _tree(db) == {"A": inode}
    assert _tree(db, inode) == {"img0001.jpg": mine, "img0001 (2).jpg": theirs}
    node = entries.node_of_album(db.reader, album(1).id)
    assert node is not None
    assert node.album is not None
    assert (node.inode, node.album.images_count) == (inode, 0)


def test_an_album_removed_while_it_was_created_is_hidden(db: Database) -> None:
    """It is for the caller to delete it."""
    inode = db.write_blocking(lambda c: _make_album(c, "A"))
    db.write_blocking(lambda c: edits.drop_entry(c, ROOT_INODE, inode))
    db.write_blocking(lambda c: edits.assign_album(c, inode, album(1, "A"), now=NOW_S))
    node = entries.node(db.reader, inode)
    assert node is not None
    assert node.is_hidden


def test_a_large_directory_grows_at_a_steady_pace(db: Database) -> None:
    """The 10,000th file costs what the first did: nothing is counted, nothing read."""

    def make(c: Connection, first: int, count: int) -> float:
        began_s = time.perf_counter()
        for number in range(first, first + count):
            _make(c, f"{number:06}.jpg")
        return time.perf_counter() - began_s

    db.write_blocking(lambda c: make(c, 0, 200))
    small_s = db.write_blocking(lambda c: make(c, 1000, 200))
    db.write_blocking(lambda c: make(c, 10_000, 9_000))
    large_s = min(
        db.write_blocking(lambda c: make(c, 50_000, 200)),
        db.write_blocking(lambda c: make(c, 60_000, 200)),
    )
    assert large_s < small_s * 4
