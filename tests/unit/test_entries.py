"""The tables of the tree: what is written, what is recorded, what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imgurfs.model import ROOT_INODE, AlbumId, ImageId, Inode
from imgurfs.store import changelog, entries
from imgurfs.store.changelog import ChangeKind
from imgurfs.store.database import Connection, Database
from imgurfs.store.entries import NodeKind
from tests.support.account import album, image, open_state


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A fresh state.db."""
    opened = open_state(tmp_path / "state.db")
    yield opened
    opened.close()


def _link(c: Connection, parent: Inode, inode: Inode, *names: str) -> None:
    entries.link(c, parent, inode, bare=names[0], names=names)


def _changes(db: Database, after: int = 0) -> list[tuple[str, int, str]]:
    rows = changelog.since(db.reader, after, 1000)
    return [(change.kind.value, change.parent, change.name) for change in rows]


def test_the_root_is_there_from_the_start(db: Database) -> None:
    """Inode 1 is a directory that was never listed."""
    root = entries.node(db.reader, ROOT_INODE)
    assert root is not None
    assert (root.kind, root.links, root.listed_at) == (NodeKind.ROOT, 2, None)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_name_that_is_asked_for_while_its_file_goes(
    db: Database, *, is_replaced: bool
) -> None:
    """The answer is what was before or is after, also of a name that is taken over."""
    one = db.write_blocking(lambda c: entries.put_image(c, image(1), now=7.0))
    two = db.write_blocking(lambda c: entries.put_image(c, image(2), now=7.0))
    db.write_blocking(lambda c: _link(c, ROOT_INODE, one, "x"))

    def change(c: Connection) -> None:
        entries.remove(c, one)
        if is_replaced:
            _link(c, ROOT_INODE, two, "x")

    def between(statement: str) -> None:
        if "FROM entry WHERE parent" not in statement:
            db.reader.set_trace_callback(None)
            db.write_blocking(change)

    db.reader.set_trace_callback(between)
    found = entries.child(db.reader, ROOT_INODE, "x")
    assert (found and found.node.inode) == (two if is_replaced else None)


def test_records_come_back_as_they_were_put(db: Database) -> None:
    """Every field of an image and of an album survives the store."""
    one = image(
        1, title="t", description="d", name="n", width=3, height=4, animated=True,
        favorite=True, views=5,
    )  # fmt: skip
    two = album(
        2, "T", description="d", images_count=0, cover="c", privacy="hidden",
        link="l", deletehash="h", order=9,
    )  # fmt: skip
    inode = db.write_blocking(lambda c: entries.put_image(c, one, now=7.0))
    album_inode = db.write_blocking(lambda c: entries.put_album(c, two, now=7.0))
    node = entries.node_of_image(db.reader, one.id)
    assert node is not None
    assert node == entries.node(db.reader, inode)
    assert (node.image, node.mtime_ns, node.size_bytes) == (one, 10**9, 1001)
    found = entries.node_of_album(db.reader, two.id)
    assert found is not None
    assert (found.inode, found.album, found.listed_at) == (album_inode, two, None)
    assert entries.albums_by_title(db.reader, "T") == [found]
    assert entries.node(db.reader, Inode(99)) is None


def test_unknown_sizes_are_marked_and_learned_once(db: Database) -> None:
    """Size 0 means unknown; a listing that leaves it out does not forget it again."""
    video = image(1, size_bytes=0, type="video/mp4")
    inode = db.write_blocking(lambda c: entries.put_image(c, video, now=1.0))
    node = entries.node(db.reader, inode)
    assert node is not None
    assert not node.is_size_known
    for _ in range(2):
        db.write_blocking(lambda c: entries.set_size(c, inode, 77))
        db.write_blocking(lambda c: entries.put_image(c, video, now=1.0))
    node = entries.node(db.reader, inode)
    assert node is not None
    assert (node.is_size_known, node.size_bytes) == (True, 77)
    assert _changes(db) == [("attributes", 0, "")]


def test_what_a_listing_leaves_out_is_not_forgotten(db: Database) -> None:
    """A dialect without names and deletehashes does not erase them."""
    full = image(1, name="cat~x.jpg")
    db.write_blocking(lambda c: entries.put_image(c, full, now=1.0))
    bare = replace(full, name="", deletehash="", views=3)
    put = db.write_blocking(lambda c: entries.put_images(c, [bare], now=2.0))[full.id]
    assert put.was is None
    node = entries.node(db.reader, put.inode)
    assert node is not None
    assert node.image == replace(full, views=3)


def test_views_are_no_change_and_times_are(db: Database) -> None:
    """Only what the kernel shows is worth an invalidation."""
    one = image(1)
    db.write_blocking(lambda c: entries.put_image(c, one, now=1.0))
    db.write_blocking(lambda c: entries.put_image(c, replace(one, views=9), now=1.0))
    assert _changes(db) == []
    other = replace(one, datetime_s=5)
    db.write_blocking(lambda c: entries.put_image(c, other, now=1.0))
    assert _changes(db) == [("attributes", 0, "")]


def test_an_album_with_another_count_or_cover_is_stale(db: Database) -> None:
    """The album list tells which albums must be listed again."""
    one = album(1, "A", images_count=2, cover="x")
    inode = db.write_blocking(lambda c: entries.put_album(c, one, now=1.0))
    db.write_blocking(lambda c: entries.set_listed(c, inode, listed_at=1.0))

    def is_stale(**fields: object) -> bool:
        changed = replace(one, **fields)  # type: ignore[arg-type]
        db.write_blocking(lambda c: entries.put_album(c, changed, now=2.0))
        node = entries.node(db.reader, inode)
        assert node is not None
        db.write_blocking(lambda c: entries.set_listed(c, inode, listed_at=1.0))
        return node.is_stale

    assert not is_stale()
    assert not is_stale(description="other", images_count=-1, cover="")
    assert is_stale(images_count=3)
    assert is_stale(images_count=3, cover="y")
    assert not is_stale(images_count=3, cover="y")


def test_names_are_unique_and_stay(db: Database) -> None:
    """The first holder has the bare name; linking again changes nothing."""

    def fill(c: Connection) -> list[Inode]:
        parent = entries.put_album(c, album(1), now=1.0)
        inodes = [entries.put_image(c, image(n), now=1.0) for n in range(2)]
        for inode in (*inodes, *inodes):
            _link(c, parent, inode, "a.jpg", f"a ({inode}).jpg")
        return [parent, *inodes]

    parent, first, second = db.write_blocking(fill)
    shown = entries.children(db.reader, parent)
    assert [entry.name for entry in shown] == ["a.jpg", f"a ({second}).jpg"]
    db.write_blocking(lambda c: entries.unlink(c, parent, first))
    assert entries.child(db.reader, parent, "a.jpg") is None
    kept = entries.child(db.reader, parent, f"a ({second}).jpg")
    assert kept is not None
    assert kept.node.inode == second
    assert _changes(db)[-1] == ("removed", parent, "a.jpg")


def test_a_second_link_changes_the_first_one_s_attributes(db: Database) -> None:
    """st_nlink is shown under every name, so the inode itself is invalidated."""

    def fill(c: Connection) -> tuple[Inode, Inode]:
        inode = entries.put_image(c, image(1), now=1.0)
        for number in (1, 2):
            _link(c, entries.put_album(c, album(number), now=1.0), inode, "a.jpg")
        return inode, entries.album_inodes(c)[AlbumId("alb0001")]

    inode, first = db.write_blocking(fill)
    assert [kind for kind, _, _ in _changes(db)] == ["added", "added", "attributes"]
    assert entries.albums_of(db.reader, inode) == ["alb0001", "alb0002"]
    seq = changelog.last_seq(db.reader)
    db.write_blocking(lambda c: entries.unlink(c, first, inode))
    kinds = [kind for kind, _, _ in _changes(db, seq)]
    assert kinds == ["removed", "attributes"]


def test_a_rename_is_a_removal_and_an_arrival(db: Database) -> None:
    """The kernel must forget the old name and learn the new one; the cookie stays."""

    def fill(c: Connection) -> Inode:
        inode = entries.put_image(c, image(1), now=1.0)
        _link(c, ROOT_INODE, inode, "old.jpg")
        return inode

    inode = db.write_blocking(fill)
    cookie = entries.children(db.reader, ROOT_INODE)[0].cookie
    for _ in range(2):
        db.write_blocking(
            lambda c: entries.rename(
                c, ROOT_INODE, inode, bare="new.jpg", names=["new.jpg"]
            )
        )
    entry = entries.child(db.reader, ROOT_INODE, "new.jpg")
    assert entry is not None
    assert entry.cookie == cookie
    assert _changes(db)[1:] == [("removed", 1, "old.jpg"), ("added", 1, "new.jpg")]


def test_removing_an_album_unlinks_what_is_in_it(db: Database) -> None:
    """The images keep their rows; the directory and its entries go."""

    def fill(c: Connection) -> Inode:
        parent = entries.put_album(c, album(1), now=1.0)
        _link(c, ROOT_INODE, parent, "A")
        _link(c, parent, entries.put_image(c, image(1), now=1.0), "a.jpg")
        return parent

    parent = db.write_blocking(fill)
    for _ in range(2):
        db.write_blocking(lambda c: entries.remove(c, parent))
    assert entries.node(db.reader, parent) is None
    assert entries.children(db.reader, parent) == []
    orphan = entries.node_of_image(db.reader, ImageId("img0001"))
    assert orphan is not None
    assert orphan.links == 0
    assert [kind for kind, _, _ in _changes(db)][2:] == ["removed", "removed"]


def test_inode_numbers_and_cookies_are_never_used_twice(db: Database) -> None:
    """The kernel can not mistake a new file for an old one."""

    def again(c: Connection) -> tuple[int, int]:
        inode = entries.put_image(c, image(1), now=1.0)
        _link(c, ROOT_INODE, inode, "a.jpg")
        cookie = entries.children(c, ROOT_INODE)[0].cookie
        entries.remove(c, inode)
        return inode, cookie

    seen = [db.write_blocking(again) for _ in range(3)]
    assert len({inode for inode, _ in seen}) == 3
    assert len({cookie for _, cookie in seen}) == 3


def test_readdir_goes_on_after_a_cookie(db: Database) -> None:
    """Cookies order the entries of albums and images alike."""

    def fill(c: Connection) -> None:
        _link(c, ROOT_INODE, entries.put_image(c, image(1), now=1.0), "1.jpg")
        _link(c, ROOT_INODE, entries.put_album(c, album(1), now=1.0), "A")
        _link(c, ROOT_INODE, entries.put_image(c, image(2), now=1.0), "2.jpg")

    db.write_blocking(fill)
    everything = entries.children(db.reader, ROOT_INODE)
    assert [entry.name for entry in everything] == ["1.jpg", "A", "2.jpg"]
    rest = entries.children(db.reader, ROOT_INODE, after_cookie=everything[0].cookie)
    assert rest == everything[1:]


def test_ten_thousand_entries_are_quick(db: Database) -> None:
    """A full directory is read in well under 150 ms, one name in well under 1 ms."""

    def fill(c: Connection) -> Inode:
        parent = entries.put_album(c, album(1), now=1.0)
        many = [image(n) for n in range(10_000)]
        for put in entries.put_images(c, many, now=1.0).values():
            _link(c, parent, put.inode, f"{put.inode}.jpg")
        return parent

    parent = db.write_blocking(fill)
    best_s = 10.0
    for _ in range(3):
        started = time.process_time()
        assert len(entries.children(db.reader, parent)) == 10_000
        best_s = min(best_s, time.process_time() - started)
    # The target is 0.15; twice that, because other work shares the caches. Of time,
    # this process's own is counted: others' turns say nothing about us.
    assert best_s < 0.3
    started = time.process_time()
    for number in range(500):
        entries.child(db.reader, parent, f"{number + 100}.jpg")
    assert (time.process_time() - started) / 500 < 0.001


def test_change_kinds_are_what_the_schema_allows(db: Database) -> None:
    """Every kind can be written."""
    for kind in ChangeKind:
        db.write_blocking(
            lambda c, k=kind: changelog.append(  # type: ignore[misc]
                c, parent=ROOT_INODE, name="x", inode=Inode(5), kind=k
            )
        )
    assert len(_changes(db)) == len(ChangeKind)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_pages_of_a_directory_are_the_whole_of_it(db: Database, size: int) -> None:
    """Albums and files in the order of cookies, nothing twice, nothing left out."""

    def fill(c: Connection) -> None:
        for number in range(10):
            _link(
                c, ROOT_INODE, entries.put_image(c, image(number), now=1.0), f"{number}"
            )
            if number % 3 == 0:
                made = entries.put_album(c, album(number), now=1.0)
                _link(c, ROOT_INODE, made, f"album {number}")

    db.write_blocking(fill)
    whole = entries.children(db.reader, ROOT_INODE)
    assert len(whole) == 14
    read: list[entries.Entry] = []
    while page := entries.children(
        db.reader,
        ROOT_INODE,
        after_cookie=read[-1].cookie if read else 0,
        limit=size,
    ):
        assert len(page) <= size
        read += page
    assert read == whole
