"""The refresher reads the right things and believes the right things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs.errors import (
    ForbiddenError,
    NotFoundError,
    OutageError,
)
from imgurfs.model import AlbumId, Image, Lane
from imgurfs.store import entries, meta
from imgurfs.tree import changes
from tests.support.account import FakeAccount, album, image
from tests.support.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A tree of nothing."""
    made = Tree(tmp_path / "state.db")
    yield made
    made.db.close()


async def test_everything_is_there_after_a_refresh(
    tree: Tree, autojump_clock: object
) -> None:
    """Albums, their images, and in the root the images that no album holds."""
    tree.account.put(album(1, "Holiday"), image(1, title="a"), image(2))
    tree.account.put(album(2, "Empty"))
    tree.account.put_images(image(3, title="alone"))
    await tree.refresh()
    assert tree.names() == ["Holiday", "Empty", "alone.jpg"]
    assert tree.names("alb0001") == ["a.jpg", "img0002.jpg"]
    assert tree.names("alb0002") == []


async def test_an_unchanged_account_changes_no_row(
    tree: Tree, autojump_clock: object
) -> None:
    """A second refresh lists no album again and records no change."""
    tree.account.put(album(1, "Holiday"), image(1), image(2))
    tree.account.put_images(image(3))
    await tree.refresh()
    seq, calls = tree.seq(), tree.account.calls["album"]
    await tree.refresh()
    assert tree.seq() == seq
    assert tree.account.calls["album"] == calls


async def test_an_image_in_two_albums_is_one_inode_with_two_links(
    tree: Tree, autojump_clock: object
) -> None:
    """Memberships are hard links."""
    tree.account.put(album(1, "A"), image(1))
    tree.account.put(album(2, "B"), image(1))
    await tree.refresh()
    first = entries.child(tree.db.reader, tree.inode("alb0001"), "img0001.jpg")
    second = entries.child(tree.db.reader, tree.inode("alb0002"), "img0001.jpg")
    assert first is not None
    assert second is not None
    assert first.node == second.node
    assert first.node.links == 2
    assert tree.names() == ["A", "B"]


async def test_changes_made_elsewhere_arrive(
    tree: Tree, autojump_clock: object
) -> None:
    """Added, removed, renamed, and moved out of an album: all of it is seen."""
    tree.account.put(album(1, "A"), image(1), image(2), image(3))
    await tree.refresh()
    tree.account.put(album(1, "A2"), image(1, title="new"), image(4))
    tree.account.delete_image("img0003")
    tree.account.put(album(2, "B"))
    await tree.refresh()
    assert tree.names() == ["A2", "B", "img0002.jpg"]
    assert tree.names("alb0001") == ["new.jpg", "img0004.jpg"]
    assert entries.totals(tree.db.reader).images == 3


async def test_a_vanished_album_leaves_its_images_in_the_root(
    tree: Tree, autojump_clock: object
) -> None:
    """Deleting an album on Imgur keeps the images, and so do we."""
    tree.account.put(album(1, "A"), image(1))
    tree.account.put(album(2, "B"), image(2))
    await tree.refresh()
    tree.account.delete_album("alb0001")
    await tree.refresh()
    assert tree.names() == ["B", "img0001.jpg"]


async def test_an_emptied_listing_is_a_brake(
    tree: Tree, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """All albums gone, but one of them still answers: nothing is removed."""
    tree.account.put(album(1, "A"), image(1))
    tree.account.put(album(2, "B"), image(2))
    await tree.refresh()
    listed = dict(tree.account.albums)

    async def hide(what: str) -> None:
        tree.account.albums = {} if what == "albums" else dict(listed)

    tree.account.before_request = hide
    await tree.refresher.refresh_albums(Lane.REFRESH)
    assert tree.names() == ["A", "B"]
    assert "still there" in (meta.get(tree.db.reader, "brake") or "")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    tree.account.before_request = None
    tree.account.albums = listed
    await tree.refresh()
    assert meta.get(tree.db.reader, "brake") is None


async def test_an_emptied_account_is_believed_when_imgur_confirms(
    tree: Tree, autojump_clock: object
) -> None:
    """All gone, and one asked for by itself is not found: then it is true."""
    tree.account.put(album(1, "A"), image(1))
    tree.account.put_images(image(2))
    await tree.refresh()
    tree.account.delete_album("alb0001")
    tree.account.delete_image("img0001")
    tree.account.delete_image("img0002")
    await tree.refresh()
    assert tree.names() == []
    assert entries.totals(tree.db.reader).images == 0
    assert meta.get(tree.db.reader, "brake") is None


async def test_a_shrunk_image_list_is_not_believed_when_the_proof_fails(
    tree: Tree, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Many images missing and no answer about one of them: all rows stay."""
    tree.account.put_images(*(image(n) for n in range(40)))
    await tree.refresh()
    for n in range(15):
        tree.account.delete_image(f"img{n:04}")
        tree.account.refused[f"img{n:04}"] = OutageError("HTML")
    await tree.refresh()
    assert len(tree.names()) == 40
    assert (meta.get(tree.db.reader, "brake") or "").startswith("images: ")
    assert len(caplog.records) == 1


async def test_a_failed_page_removes_nothing(
    tree: Tree, autojump_clock: object
) -> None:
    """A listing is complete or it is none."""
    tree.account.page_size = 2
    tree.account.put_images(*(image(n) for n in range(6)))
    await tree.refresh()
    for n in range(3):
        tree.account.delete_image(f"img{n:04}")
    seq = tree.seq()
    asked = tree.account.calls["images"]

    async def fail_late(what: str) -> None:
        if tree.account.calls["images"] == asked + 2:
            raise OutageError("page 1 is HTML")

    tree.account.before_request = fail_late
    with pytest.raises(OutageError):
        await tree.refresh()
    assert tree.seq() == seq
    assert len(tree.names()) == 6


async def test_a_deletion_between_pages_hides_nobody(
    tree: Tree, autojump_clock: object
) -> None:
    """What slipped over the edge of a page is found by reading once more."""
    tree.account.page_size = 2
    tree.account.put_images(*(image(n) for n in range(6)))
    await tree.refresh()
    asked = tree.account.calls["images"]

    async def delete_in_between(what: str) -> None:
        if tree.account.calls["images"] == asked + 2:
            tree.account.images.pop(image(5).id, None)

    tree.account.before_request = delete_in_between
    await tree.refresh()
    tree.account.before_request = None
    assert "img0003.jpg" in tree.names()
    await tree.refresh()
    assert tree.names() == [f"img{n:04}.jpg" for n in range(5)]


async def test_an_upload_between_pages_counts_once_and_stays(
    tree: Tree, autojump_clock: object
) -> None:
    """Our own result, settled during a listing that does not show it, survives."""
    tree.account.page_size = 2
    tree.account.put_images(*(image(n) for n in range(4)))
    await tree.refresh()
    asked = tree.account.calls["images"]
    ours: Image = image(9, title="ours")

    async def upload_in_between(what: str) -> None:
        if tree.account.calls["images"] == asked + 2:
            # Imgur lists it from now on, which shifts the pages; we know it already.
            tree.account.put_images(ours)
            await tree.db.write(
                lambda c: changes.image_uploaded(c, ours, albums=[], now=1.0)
            )

    tree.account.before_request = upload_in_between
    await tree.refresher.refresh_images(Lane.REFRESH)
    assert sorted(tree.names()) == [*(f"img{n:04}.jpg" for n in range(4)), "ours.jpg"]


async def test_what_we_deleted_during_a_listing_does_not_come_back(
    tree: Tree, autojump_clock: object
) -> None:
    """The listing still shows it; we know better."""
    tree.account.put(album(1, "A"), image(1), image(2))
    await tree.refresh()

    async def delete_meanwhile(what: str) -> None:
        now = tree.clock.now()
        await tree.db.write(lambda c: changes.image_deleted(c, image(1).id, now=now))

    tree.account.before_request = delete_meanwhile
    await tree.refresher.refresh_images(Lane.REFRESH)
    await tree.refresher.refresh_albums(Lane.REFRESH)
    assert tree.names("alb0001") == ["img0002.jpg"]


async def test_a_listing_without_end_is_an_outage(
    tree: Tree, autojump_clock: object
) -> None:
    """A server that ignores the page number is noticed after a few pages."""
    tree.account.put_images(image(1))
    tree.account.page_size = 1

    async def same_page(page: int, lane: Lane) -> list[Image]:
        return await FakeAccount.images_page(tree.account, 0, lane)

    tree.account.images_page = same_page  # type: ignore[method-assign]
    with pytest.raises(OutageError, match="does not end"):
        await tree.refresh()
    assert tree.account.calls["images"] < 10


async def test_an_empty_album_beside_a_count_removes_nothing(
    tree: Tree, autojump_clock: object
) -> None:
    """An album that says it holds two and lists none is not believed."""
    tree.account.put(album(1, "A"), image(1), image(2))
    await tree.refresh()

    async def contradictory(album_id: AlbumId, lane: Lane) -> object:
        return album(1, "A", images_count=2), []

    tree.account.album = contradictory  # type: ignore[method-assign, assignment]
    await tree.refresher.refresh_album(tree.inode("alb0001"), Lane.REFRESH)
    assert tree.names("alb0001") == ["img0001.jpg", "img0002.jpg"]


async def test_a_refused_album_hides_nothing_else(
    tree: Tree, autojump_clock: object
) -> None:
    """An album Imgur will not show stays an error of its own; others are listed."""
    tree.account.put(album(1, "Locked"), image(1))
    tree.account.put(album(2, "B"), image(2))
    tree.account.put_images(image(3))
    tree.account.refused["alb0001"] = ForbiddenError("not yours")
    await tree.refresh()
    assert tree.names() == ["Locked", "B", "img0001.jpg", "img0003.jpg"]
    asked = tree.account.calls["album"]
    with pytest.raises(ForbiddenError):
        await tree.refresher.refresh_album(tree.inode("alb0001"), Lane.INTERACTIVE)
    assert tree.account.calls["album"] == asked


async def test_not_found_alone_removes_no_album(
    tree: Tree, autojump_clock: object
) -> None:
    """A 404 for an album that the list still shows is a contradiction."""
    tree.account.put(album(1, "A"), image(1))
    await tree.refresh()
    tree.account.refused["alb0001"] = NotFoundError("404")
    with pytest.raises(NotFoundError):
        await tree.refresher.refresh_album(tree.inode("alb0001"), Lane.REFRESH)
    assert tree.names("alb0001") == ["img0001.jpg"]
