"""What a settled job does to the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgurfs.model import ROOT_INODE, AlbumId, Inode
from imgurfs.store import changelog, drafts, edits, entries, membership
from imgurfs.store.database import Connection, Database
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.tree import changes
from tests.support.account import album, image, open_state

A, B = AlbumId("alb0001"), AlbumId("alb0002")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A tree with album A (image 1), the empty album B and image 2 in no album."""
    opened = open_state(tmp_path / "state.db")

    def fill(c: Connection) -> None:
        changes.image_uploaded(c, image(1), albums=[], now=1.0)
        changes.image_uploaded(c, image(2), albums=[], now=1.0)
        changes.album_created(
            c, album(1, "A", images_count=1), images=[image(1).id], now=1.0
        )
        changes.album_created(c, album(2, "B", images_count=0), images=[], now=1.0)

    opened.write_blocking(fill)
    yield opened
    opened.close()


def _names(db: Database, album_id: AlbumId | None = None) -> list[str]:
    inode: Inode = ROOT_INODE
    if album_id is not None:
        inode = entries.album_inodes(db.reader)[album_id]
    return sorted(entry.name for entry in entries.children(db.reader, inode))


def test_an_upload_is_in_the_root_until_an_album_takes_it(db: Database) -> None:
    """No album: the root. The album created with it: there, and only there."""
    assert _names(db) == ["A", "B", "img0002.jpg"]
    assert _names(db, A) == ["img0001.jpg"]
    assert entries.albums_to_list(db.reader) == []


def test_an_upload_into_an_album_counts(db: Database) -> None:
    """The album's count follows, so that the next album list finds nothing stale."""
    db.write_blocking(
        lambda c: changes.image_uploaded(c, image(3), albums=[B], now=2.0)
    )
    assert _names(db, B) == ["img0003.jpg"]
    node = entries.node_of_album(db.reader, B)
    assert node is not None
    assert node.album is not None
    assert (node.album.images_count, node.album.cover) == (1, image(3).id)


def test_an_upload_into_an_unknown_album_waits_for_the_listing(db: Database) -> None:
    """It is not shown in the root meanwhile: it is in an album."""
    unknown = AlbumId("new")
    db.write_blocking(
        lambda c: changes.image_uploaded(c, image(3), albums=[unknown], now=2.0)
    )
    assert _names(db) == ["A", "B", "img0002.jpg"]


def test_adding_and_removing_move_between_album_and_root(db: Database) -> None:
    """Into an album: gone from the root. Out of the last one: back in the root."""
    db.write_blocking(lambda c: changes.image_added(c, image(2).id, B, now=2.0))
    assert _names(db) == ["A", "B"]
    assert _names(db, B) == ["img0002.jpg"]
    db.write_blocking(lambda c: changes.image_added(c, image(2).id, A, now=2.0))
    db.write_blocking(lambda c: changes.image_removed(c, image(2).id, B, now=2.0))
    assert _names(db) == ["A", "B"]
    db.write_blocking(lambda c: changes.image_removed(c, image(2).id, A, now=2.0))
    assert _names(db) == ["A", "B", "img0002.jpg"]


def test_a_deleted_image_is_gone_everywhere(db: Database) -> None:
    """No entry, no row, and the albums count one less."""
    db.write_blocking(lambda c: changes.image_deleted(c, image(1).id, now=2.0))
    assert _names(db, A) == []
    assert entries.node_of_image(db.reader, image(1).id) is None
    node = entries.node_of_album(db.reader, A)
    assert node is not None
    assert node.album is not None
    assert node.album.images_count == 0


def test_a_deleted_album_leaves_its_images(db: Database) -> None:
    """They are in the account still, and in the root now."""
    db.write_blocking(lambda c: changes.album_deleted(c, A))
    assert _names(db) == ["B", "img0001.jpg", "img0002.jpg"]


REPEATED: list[Callable[[Connection], object]] = [
    lambda c: changes.image_uploaded(c, image(1), albums=[A], now=9.0),
    lambda c: changes.image_added(c, image(1).id, A, now=9.0),
    lambda c: changes.image_added(c, image(8).id, A, now=9.0),
    lambda c: changes.image_added(c, image(1).id, AlbumId("no"), now=9.0),
    lambda c: changes.image_removed(c, image(2).id, A, now=9.0),
    lambda c: changes.image_removed(c, image(8).id, A, now=9.0),
    lambda c: changes.image_deleted(c, image(8).id, now=9.0),
    lambda c: changes.album_deleted(c, AlbumId("no")),
]


@pytest.mark.parametrize("again", REPEATED)
def test_saying_it_twice_changes_nothing(
    db: Database, again: Callable[[Connection], object]
) -> None:
    """A job that is settled again, or concerns something unknown, is harmless."""
    seq = changelog.last_seq(db.reader)
    db.write_blocking(again)
    assert changelog.last_seq(db.reader) == seq
    assert _names(db, A) == ["img0001.jpg"]


def test_an_answer_does_not_undo_what_was_wished_since(db: Database) -> None:
    """Added, but to be removed again: not shown. Removed, but wanted again: shown."""

    def answers(c: Connection) -> None:
        membership.unwant(c, B, image(2).id, now=2.0)
        changes.image_added(c, image(2).id, B, now=2.0)
        membership.want(c, A, image(1).id, now=2.0)
        changes.image_removed(c, image(1).id, A, now=2.0)

    db.write_blocking(answers)
    assert _names(db, B) == []
    assert _names(db, A) == ["img0001.jpg"]


def test_a_deleted_image_counts_where_it_was_when_it_was_removed(db: Database) -> None:
    """It has no name any more when Imgur says yes; the album is not listed for it."""
    album_inode = entries.album_inodes(db.reader)[A]
    inode = entries.image_inodes(db.reader)[image(1).id]
    db.write_blocking(lambda c: edits.hide_image(c, inode))
    db.write_blocking(
        lambda c: changes.image_deleted(
            c, image(1).id, now=2.0, parents=[album_inode, ROOT_INODE]
        )
    )
    node = entries.node_of_album(db.reader, A)
    assert node is not None
    assert node.album is not None
    assert node.album.images_count == 0


def test_a_file_being_written_outlives_its_deleted_image(db: Database) -> None:
    """Deleted through a watched folder while a program writes to it on the drive."""
    inode = entries.image_inodes(db.reader)[image(1).id]
    draft = Draft(inode, 1, DraftState.WAITING, 5, 1.0)
    db.write_blocking(lambda c: drafts.put(c, draft))
    db.write_blocking(lambda c: changes.image_deleted(c, image(1).id, now=2.0))
    assert _names(db, A) == ["img0001.jpg"]
    assert entries.node_of_image(db.reader, image(1).id) is None
    node = entries.node(db.reader, inode)
    assert node is not None
    assert node.is_only_here
