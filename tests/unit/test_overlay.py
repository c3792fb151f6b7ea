"""What was done on the drive, under listings that have not heard of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgurfs import limits
from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode
from imgurfs.store import edits, entries, membership
from imgurfs.store.database import Connection
from imgurfs.store.membership import Place
from imgurfs.tree import changes
from tests.support.overlay_user import Drive

LAG_S = limits.LISTING_LAG_S
A, B, C = AlbumId("alb0a"), AlbumId("alb0b"), AlbumId("alb0c")
ONE, BOTH, LOOSE = ImageId("img01"), ImageId("img02"), ImageId("img03")


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """Albums A with one.jpg and both.jpg, B with both.jpg and C; in none loose.jpg."""
    made = Drive(tmp_path / "state.db")
    for album_id, title in ((A, "A"), (B, "B"), (C, "C")):
        made.world.albums[album_id] = Album(album_id, title, 1)
    for image_id, title in ((ONE, "one"), (BOTH, "both"), (LOOSE, "loose")):
        made.world.images[image_id] = Image(
            image_id, "image/jpeg", "https://i/x.jpg", 5, 1, title=title
        )
    made.world.contents = {A: [ONE, BOTH], B: [BOTH], C: []}
    made.changed()
    _read(made)
    made.wait(60.0)
    yield made
    made.db.close()


def _read(drive: Drive, lag_s: float = 0.0) -> None:
    """Read every listing as the account was ``lag_s`` ago."""
    drive.list_images(lag_s)
    drive.fold_one(0)
    drive.list_albums(lag_s)
    drive.fold_one(0)
    for album_id in drive.world.albums:
        drive.list_album(album_id, lag_s)
        while drive.folds:
            drive.fold_one(0)
    drive.check_rows()


def _carry_out(drive: Drive) -> None:
    for _ in range(20):
        for number, one in enumerate(list(drive.calls)):
            if not one.is_applied:
                drive.apply(number)


def _answer(drive: Drive) -> None:
    while any(one.is_applied for one in drive.calls):
        drive.answer(0)


def _finish(drive: Drive) -> None:
    while drive.calls:
        _carry_out(drive)
        _answer(drive)
    drive.wait(LAG_S + 1.0)


def _file(drive: Drive, name: str) -> int:
    names = [name for _, name, _ in drive.files()]
    return names.index(name)


def _directory(drive: Drive, name: str) -> int:
    return drive.directories().index(_inode(drive, name))


def _inode(drive: Drive, name: str) -> Inode:
    found = entries.child(drive.db.reader, ROOT_INODE, name)
    assert found is not None
    return found.node.inode


def _names(drive: Drive, directory: str = "") -> list[str]:
    inode = _inode(drive, directory) if directory else ROOT_INODE
    return sorted(one.name for one in entries.children(drive.db.reader, inode))


def _second(drive: Drive, name: str) -> int:
    names = [name for _, name, _ in drive.files()]
    return names.index(name, names.index(name) + 1)


EDITS: dict[str, Callable[[Drive], None]] = {
    "rm of the last link": lambda d: d.remove(_file(d, "one.jpg"), 0),
    "rm of a file in the root": lambda d: d.remove(_file(d, "loose.jpg"), 0),
    "rm of one link": lambda d: d.remove(_second(d, "both.jpg"), 0),
    "ln": lambda d: d.link(_file(d, "one.jpg"), _directory(d, "B") - 1),
    "mv to another album": lambda d: d.move(_file(d, "one.jpg"), _directory(d, "C")),
    "mv to the root": lambda d: d.move(_file(d, "one.jpg"), 0),
    "mv from the root": lambda d: d.move(_file(d, "loose.jpg"), _directory(d, "C")),
    "mkdir": lambda d: d.make_album_called("D"),
    "rmdir": lambda d: d.remove_directory(_directory(d, "C") - 1, 0),
    "mv of an album": lambda d: d.rename_album(_directory(d, "B") - 1, "E"),
    "mv in place": lambda d: d.rename(_file(d, "one.jpg"), 2),
    "cp into the root": lambda d: d.create(0, 0),
    "cp into an album": lambda d: d.create(_directory(d, "C"), 0),
    "overwrite": lambda d: d.overwrite(_file(d, "one.jpg"), 0),
    "overwrite of two links": lambda d: d.overwrite(_file(d, "both.jpg"), 0),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_no_listing_undoes_or_doubles_an_edit(
    drive: Drive, edit: Callable[[Drive], None]
) -> None:
    """Before the call, without its answer, while listings lag, and after all that."""
    before = drive.tree()
    edit(drive)
    shown = drive.tree()
    touched = shown != before or drive.calls
    assert touched
    _read(drive)
    assert drive.tree() == shown, "a listing from before the call"
    _carry_out(drive)
    drive.wait(LAG_S + 1.0)
    _read(drive)
    assert drive.without_twins() == shown, "a listing from before the answer"
    _answer(drive)
    assert drive.tree() == shown, "the answer"
    _finish(drive)
    _read(drive)
    assert drive.tree() == shown, "a listing that knows"


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_a_listing_that_lags_behind_the_answer_changes_nothing(
    drive: Drive, edit: Callable[[Drive], None]
) -> None:
    """Imgur has said yes; some of its machines show the account of a moment ago."""
    edit(drive)
    shown = drive.tree()
    while drive.calls:
        drive.wait(0.5)
        _carry_out(drive)
        _answer(drive)
        drive.wait(0.5)
        _read(drive, lag_s=1.0)
        assert drive.tree() == shown
    for lag_s in (0.0, 1.5, 0.0, 2.5):
        drive.wait(0.5)
        _read(drive, lag_s=lag_s)
        assert drive.tree() == shown


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_what_somebody_else_does_comes_in_besides(
    drive: Drive, edit: Callable[[Drive], None]
) -> None:
    """A wish hides nothing but what it is about."""
    edit(drive)
    other = ImageId("img99")
    drive.world.images[other] = Image(other, "image/png", "https://i/z.png", 9, 9)
    drive.world.contents[A].append(other)
    drive.changed()
    _read(drive)
    assert "img99.png" in _names(drive, "A")
    drive.world.contents[A].remove(other)
    drive.changed()
    _read(drive)
    assert "img99.png" not in _names(drive, "A")
    _read(drive)  # the list of all images tells whether it is still there
    assert "img99.png" in _names(drive)


def test_what_is_added_again_on_the_web_is_shown_again(drive: Drive) -> None:
    """A removal that a listing has confirmed is over."""
    drive.remove(_second(drive, "both.jpg"), 0)
    _finish(drive)
    _read(drive)
    assert membership.of_image(drive.db.reader, BOTH) == []
    assert drive.files()[0][1] == "loose.jpg"
    drive.world.contents[B] = [BOTH]
    drive.changed()
    _read(drive)
    assert _names(drive, "B") == ["both.jpg"]


def test_what_is_taken_out_on_the_web_goes(drive: Drive) -> None:
    """An addition that a listing has shown is over, too."""
    drive.link(_file(drive, "one.jpg"), _directory(drive, "C") - 1)
    _finish(drive)
    _read(drive)
    assert _names(drive, "C") == ["one.jpg"]
    drive.world.contents[C] = []
    drive.changed()
    _read(drive)
    assert _names(drive, "C") == []


def test_an_addition_that_imgur_only_promised_is_shown_until_it_is_given_up(
    drive: Drive,
) -> None:
    """No listing has ever shown it: that proves nothing against the user's wish."""
    drive.link(_file(drive, "one.jpg"), _directory(drive, "C") - 1)
    _finish(drive)
    drive.world.contents[C] = []
    drive.changed()
    drive.wait(60.0)
    _read(drive)
    assert _names(drive, "C") == ["one.jpg"]
    drive.write(lambda c: membership.drop(c, C, [ONE]))
    _read(drive)
    assert _names(drive, "C") == []


def test_an_addition_just_answered_stays_even_if_a_listing_has_shown_it(
    drive: Drive,
) -> None:
    """Another of Imgur's machines may lag behind the one that showed it."""
    inode = entries.image_inodes(drive.db.reader)[ONE]
    album = _inode(drive, "C")

    def add(c: Connection) -> None:
        edits.add_entry(c, album, inode, "one.jpg")
        membership.there(c, C, [ONE], now=drive.now)
        membership.seen(c, C, [ONE])

    drive.write(add)
    drive.wait(1.0)
    _read(drive)
    assert _names(drive, "C") == ["one.jpg"]
    drive.wait(LAG_S)
    _read(drive)
    assert _names(drive, "C") == []


def test_a_first_listing_fulfils_a_wish(drive: Drive) -> None:
    """What was in an album before anybody asked needs no call."""
    album = Album(AlbumId("alb0x"), "X", 1, images_count=1)
    drive.world.albums[album.id] = album
    drive.world.contents[album.id] = [ONE]
    drive.changed()
    drive.list_albums(0.0)
    drive.fold_one(0)
    drive.write(lambda c: membership.want(c, album.id, ONE, now=drive.now))
    drive.list_album(album.id, 0.0)
    drive.fold_one(0)
    row = membership.one(drive.db.reader, album.id, ONE)
    assert row is not None
    assert row.state is Place.THERE


def test_members_are_what_imgur_has_and_shown_is_what_the_drive_shows(
    drive: Drive,
) -> None:
    """The calls are computed from the one, the listings compared with the other."""
    inode = _inode(drive, "B")
    drive.link(_file(drive, "one.jpg"), _directory(drive, "B") - 1)
    drive.remove(_second(drive, "both.jpg"), 0)
    reader = drive.db.reader
    assert set(entries.shown(reader, inode)) == {ONE}
    assert set(entries.members(reader, inode)) == {BOTH}


def test_a_deleted_image_that_comes_back_is_shown(drive: Drive) -> None:
    """Deleted, confirmed, and there again later: somebody restored it."""
    drive.write(lambda c: changes.image_deleted(c, ONE, now=drive.now))
    drive.wait(1.0)
    _read(drive)
    assert _names(drive, "A") == ["both.jpg"], "the listing may lag"
    drive.wait(LAG_S)
    _read(drive)
    assert _names(drive, "A") == ["both.jpg", "one.jpg"]


def test_a_deleted_album_that_comes_back_is_shown_with_its_images(
    drive: Drive,
) -> None:
    """It is listed anew, because nobody knows what is in it now."""
    drive.write(lambda c: changes.album_deleted(c, B, now=drive.now))
    drive.wait(1.0)
    _read(drive)
    assert _names(drive) == ["A", "C", "loose.jpg"]
    drive.wait(LAG_S)
    _read(drive)
    assert _names(drive) == ["A", "B", "C", "loose.jpg"]
    assert _names(drive, "B") == ["both.jpg"]


def test_what_was_deleted_is_forgotten_when_the_listings_know(drive: Drive) -> None:
    """No row stays of an image or album that nobody lists."""
    drive.remove(_file(drive, "loose.jpg"), 0)
    drive.remove_directory(_directory(drive, "C") - 1, 0)
    reader = drive.db.reader
    assert LOOSE in entries.image_inodes(reader)
    _finish(drive)
    assert entries.node_of_image(reader, LOOSE) is None
    assert LOOSE in entries.image_inodes(reader), "listings may still show it"
    _read(drive)
    assert LOOSE not in entries.image_inodes(reader)
    assert C not in entries.album_inodes(reader)


def test_a_deletion_that_is_called_off_leaves_everything_as_it_was(
    drive: Drive,
) -> None:
    """Shown again: the listing gives it its place even if nobody gives it a name."""
    drive.remove(_file(drive, "one.jpg"), 0)
    drive.remove_directory(_directory(drive, "C") - 1, 0)
    drive.calls.clear()
    reader = drive.db.reader
    image, album = entries.image_inodes(reader)[ONE], entries.album_inodes(reader)[C]
    drive.write(lambda c: edits.show_again(c, image))
    drive.write(lambda c: edits.show_again(c, album))
    _read(drive)
    assert _names(drive) == ["A", "B", "C", "loose.jpg"]
    assert _names(drive, "A") == ["both.jpg", "one.jpg"]


def test_a_deleted_album_leaves_a_file_that_is_only_here(drive: Drive) -> None:
    """Deleted on the web while a file is being written into it: the bytes are kept."""
    drive.create(_directory(drive, "C"), 0)
    drive.overwrite(_file(drive, "one.jpg"), 0)
    drive.create(0, 0)
    for album_id in (A, C):
        del drive.world.albums[album_id]
        del drive.world.contents[album_id]
    drive.changed()
    _read(drive)
    assert _names(drive) == ["B", "a (2).jpg", "a.jpg", "loose.jpg", "one.jpg"]


@pytest.mark.parametrize("name", ["one.jpg", "loose.jpg"])
def test_an_image_deleted_on_the_web_while_it_is_written_to_stays_here(
    drive: Drive, name: str
) -> None:
    """The new bytes were never sent: the file keeps its name, and is sent."""
    drive.overwrite(_file(drive, name), 0)
    shown = drive.tree()
    image_id = ONE if name == "one.jpg" else LOOSE
    del drive.world.images[image_id]
    for content in drive.world.contents.values():
        content[:] = [one for one in content if one != image_id]
    drive.changed()
    _read(drive)
    _read(drive)
    assert drive.tree() == shown
    _finish(drive)
    _read(drive)
    assert drive.tree() == shown
    assert len(drive.world.images) == 3
