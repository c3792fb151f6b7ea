"""What the account gets for what is done on the drive: every call, counted.

The whole writable half over the emulator: places and files, the outbox, the drainer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs.config import MountConfig
from imgurfs.jobs import queueing
from imgurfs.model import Inode
from imgurfs.store import entries, notices, outbox
from imgurfs.store.drafts import DraftState
from tests.support.pictures import small_picture
from tests.support.placed import LONG_S, Placed, kinds, placed

Edit = Callable[[Placed], Awaitable[object]]

#: What is in the account before each row of the table.
BEFORE = ("A/x.png", "A/y.png", "B/z.png", "Empty/", "top.png")


async def two_links(d: Placed) -> None:
    """Let A/x.png be in B as well, as far as Imgur knows."""
    await d.link("A/x.png", "B/x.png")
    await d.drain()
    d.mark()


async def uploaded(d: Placed) -> None:
    """Let A/c.png be an image that was written here."""
    await d.write("A/c.png")
    await d.drain()
    d.mark()


async def copy(d: Placed) -> None:
    """Copy a file, as cp does: the bytes are written anew."""
    await uploaded(d)
    await d.write("B/c.png", small_picture("A/c.png"))


async def write_the_same(d: Placed) -> None:
    """Write over a file what it has."""
    await uploaded(d)
    await d.overwrite("A/c.png", small_picture("A/c.png"))


async def save_the_same(d: Placed) -> None:
    """Save a file unchanged."""
    await uploaded(d)
    await save(d, "A/c.png", small_picture("A/c.png"))


async def save(d: Placed, path: str, content: bytes) -> None:
    """Save as editors do: write a temporary file, rename it over the old one."""
    directory = path.rpartition("/")[0]
    await d.write(f"{directory}/.save.tmp", content)
    await d.move(f"{directory}/.save.tmp", path)


#: What is done, and the kinds of calls it takes.
TABLE: dict[str, tuple[Edit, list[str]]] = {
    "cp into an album": (lambda d: d.write("A/new.png"), ["POST upload"]),
    "cp into the root": (lambda d: d.write("new.png"), ["POST upload"]),
    "ln": (lambda d: d.link("A/x.png", "B/x.png"), ["POST add"]),
    "mv between albums": (
        lambda d: d.move("A/x.png", "B/x.png"),
        ["POST add", "POST remove"],
    ),
    "mv into an album": (lambda d: d.move("top.png", "A/top.png"), ["POST add"]),
    "mv out of an album": (lambda d: d.move("A/x.png", "x.png"), ["POST remove"]),
    "mv in its place": (lambda d: d.move("A/x.png", "A/new.png"), ["POST image"]),
    "rm": (lambda d: d.remove("A/x.png"), ["DELETE image"]),
    "mkdir": (lambda d: d.mkdir("New"), ["POST album"]),
    "mv of a directory": (lambda d: d.move("A", "New"), ["PUT album"]),
    "rmdir": (lambda d: d.rmdir("Empty"), ["DELETE album"]),
    "title of an image": (
        lambda d: d.places.set_text(d.node("A/x.png").inode, title="At sea"),
        ["POST image"],
    ),
    "description of an album": (
        lambda d: d.places.set_text(d.node("A").inode, description="Boats"),
        ["PUT album"],
    ),
    "cp of what the account has": (copy, ["POST add"]),
    "overwrite": (
        lambda d: d.overwrite("A/x.png", small_picture("new")),
        ["POST upload", "DELETE image"],
    ),
    "replace by rename": (
        lambda d: save(d, "A/x.png", small_picture("new")),
        ["POST upload", "DELETE image"],
    ),
    "the same content again": (write_the_same, []),
    "replace by the same content": (save_the_same, []),
}


@pytest.mark.parametrize("row", TABLE)
async def test_the_fewest_calls(
    tmp_path: Path, autojump_clock: MockClock, row: str
) -> None:
    """W3, W4, W5, W6, W7, W8, W9, W11: each row takes exactly its calls."""
    edit, expected = TABLE[row]
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        await edit(d)
        await d.drain(LONG_S)
        assert kinds(d) == expected
        assert d.jobs() == []
        assert notices.everything(d.db.reader) == {}


@pytest.mark.parametrize("row", TABLE)
async def test_what_is_shown_is_what_imgur_has_in_the_end(
    tmp_path: Path, autojump_clock: MockClock, row: str
) -> None:
    """W31: a listing of everything afterwards changes no name, no inode and no link."""
    edit, _ = TABLE[row]
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        await edit(d)
        shown = d.everything()
        await d.refresh()
        assert d.everything() == shown
        await d.drain(LONG_S)
        if row not in MERGED:
            assert d.everything() == shown
        assert set(d.everything()) == set(shown)
        await trio.sleep(LONG_S)
        await d.refresh()
        assert set(d.everything()) == set(shown)
        d.assert_same_as_imgur()


#: Rows after which a name leads to the inode of the image that the account had.
MERGED = frozenset({"cp of what the account has", "replace by the same content"})


async def test_removing_one_of_two_links_is_one_call(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W4: rm of one of several links takes the image out of that album, no more."""
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        image = d.image("A/x.png")
        await two_links(d)
        await d.remove("A/x.png")
        await d.drain(LONG_S)
        assert kinds(d) == ["POST remove"]
        assert image not in d.albums()["A"]
        assert image in d.albums()["B"]


async def test_with_local_names_a_rename_costs_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W5: rename = "local" makes no call."""
    async with placed(tmp_path, MountConfig(rename="local")) as d:
        await d.account(*BEFORE)
        await d.move("A/x.png", "A/new.png")
        await d.drain(LONG_S)
        assert d.calls() == []


async def test_overwriting_keeps_inode_and_albums(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: the new image is in both albums before the old one is deleted."""
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        await two_links(d)
        inode, old = d.node("A/x.png").inode, d.image("A/x.png")
        await d.overwrite("A/x.png", small_picture("new"))
        await d.drain(LONG_S)
        new = d.image("A/x.png")
        assert new not in ("", old)
        assert d.node("B/x.png").inode == d.node("A/x.png").inode == inode
        assert [new in d.albums()[title] for title in "AB"] == [True, True]
        assert old not in {one.id for one in d.images()}
        assert kinds(d) == ["POST upload", "POST add", "DELETE image"]


async def test_500_moves_are_a_handful_of_calls(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W10: 50 images moved ten times each among ten albums: at most 20 calls."""
    local = MountConfig(rename="local")
    async with placed(tmp_path, local, albums=10, images=80) as d:
        albums = [d.node(name).inode for name in d.names() if d.node(name).album]
        assert len(albums) == 10
        children = {one: entries.children(d.db.reader, one) for one in albums}
        inside = [
            (entry.node.inode, album)
            for album in albums
            for entry in children[album]
            if entry.node.links == 1
        ][:50]
        assert len(inside) == 50
        where = dict(inside)
        for turn in range(10):
            for number, inode in enumerate(where):
                old = where[inode]
                new = albums[(albums.index(old) + 1 + (number + turn) % 9) % 10]
                name = f"moved {inode}" if turn else names_in(d, old)[inode]
                await d.places.rename(old, name, new, f"moved {inode}")
                where[inode] = new
        d.mark()
        await d.drain(LONG_S)
        calls = kinds(d)
        assert len(calls) <= 20
        assert "POST upload" not in calls
        assert d.jobs() == []
        d.assert_same_as_imgur()


def names_in(d: Placed, directory: Inode) -> dict[Inode, str]:
    """Return the names in a directory by inode."""
    shown = entries.children(d.db.reader, directory)
    return {one.node.inode: one.name for one in shown}


async def test_a_new_directory_is_filled_and_moved_before_imgur_hears_of_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W3, W7: mkdir, cp, mv of the directory: one album, one upload into it."""
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        await d.mkdir("New")
        await d.write("New/n.png")
        await d.move("New", "Newer")
        await d.drain(LONG_S)
        assert kinds(d) == ["POST album", "POST upload"]
        assert len(d.albums()["Newer"]) == 1
        d.assert_same_as_imgur()


async def test_images_are_moved_into_a_new_directory_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W4, W7: mkdir, mv: first the album, then out of the old one; nothing uploaded."""
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        await d.mkdir("New")
        await d.move("A/x.png", "New/x.png")
        await d.move("A/y.png", "New/y.png")
        await d.drain(LONG_S)
        assert kinds(d)[0] == "POST album"
        assert kinds(d)[-1] == "POST remove"
        assert len(kinds(d)) <= 3
        assert len(d.albums()["New"]) == 2
        assert d.albums()["A"] == []
        d.assert_same_as_imgur()


async def test_a_name_that_is_typed_for_an_upload_is_what_visitors_see(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W5: renamed while it waits, a file has its last name on Imgur."""
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        await d.write("A/IMG_1.png")
        await d.move("A/IMG_1.png", "A/Sunset.png")
        await d.drain(LONG_S)
        assert kinds(d) == ["POST upload"]
        await d.refresh()
        assert "Sunset.png" in d.names("A")


async def test_nothing_is_left_behind(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W1: after an upload the file is the image, and its draft is compared or gone."""
    async with placed(tmp_path) as d:
        await d.account(*BEFORE)
        inode = await d.write("A/new.png")
        await d.drain(LONG_S)
        node = d.node("A/new.png")
        assert node.inode == inode
        assert node.image is not None
        assert node.image.id != ""
        assert node.draft is None or node.draft.state is DraftState.SENT
        assert outbox.unfinished(d.db.reader, kind=queueing.UPLOAD) == []
