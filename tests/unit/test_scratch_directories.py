"""Directories with temporary names: what is in them stays here until it has others."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from imgurfs.config import MountConfig
from imgurfs.jobs import queueing
from imgurfs.store.drafts import DraftState
from tests.support.phases import uploads
from tests.support.pictures import small_picture
from tests.support.placed import Placed, placed


def state(d: Placed, path: str) -> DraftState:
    """Return what becomes of a file's bytes."""
    draft = d.node(path).draft
    assert draft is not None
    return draft.state


@pytest.mark.parametrize("name", [".hid", "trip.tmp", ".~tmp~", "Rome~"])
async def test_what_is_unpacked_beside_its_place_is_sent_when_it_is_there(
    tmp_path: Path, autojump_clock: MockClock, name: str
) -> None:
    """W12: files of a directory with a temporary name are sent when it is renamed, into
    its album; what is no picture is refused then.
    """
    async with placed(tmp_path) as d:
        await d.mkdir(name)
        await d.write(f"{name}/x.png")
        await d.write(f"{name}/y.png")
        await d.write(f"{name}/no.png", b"no picture")
        await d.write(f"{name}/part.png~")
        await d.drain(1_000)
        assert d.calls() == []
        assert {state(d, f"{name}/{one}") for one in d.names(name)} == {
            DraftState.SCRATCH
        }
        await d.move(name, "Real")
        assert state(d, "Real/no.png") is DraftState.REFUSED
        assert state(d, "Real/part.png~") is DraftState.SCRATCH
        await d.drain(1_000)
        (album,) = d.albums().items()
        assert album[0] == "Real"
        assert set(album[1]) == {d.image("Real/x.png"), d.image("Real/y.png")}
        assert uploads(d) == 2
        assert await d.read("Real/no.png") == b"no picture"


async def test_a_file_that_is_moved_out_of_such_a_directory_is_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: by its own name a file is sent from where it is moved to, and one that is
    moved into such a directory is not sent any more.
    """
    async with placed(tmp_path) as d:
        await d.mkdir(".hid")
        await d.mkdir("A")
        await d.write(".hid/x.png")
        await d.write("A/y.png")
        await d.move(".hid/x.png", "A/x.png")
        await d.move("A/y.png", ".hid/y.png")
        assert state(d, "A/x.png") is DraftState.WAITING
        assert state(d, ".hid/y.png") is DraftState.SCRATCH
        await d.drain(1_000)
        assert d.albums() == {"A": [d.image("A/x.png")]}
        assert uploads(d) == 1


async def test_a_link_from_an_album_is_enough_and_without_it_is_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: a file is sent if one of its names is that of a picture in an album."""
    async with placed(tmp_path) as d:
        await d.mkdir(".hid")
        await d.mkdir("A")
        await d.write(".hid/x.png")
        await d.link(".hid/x.png", "A/x.png")
        assert state(d, "A/x.png") is DraftState.WAITING
        await d.remove("A/x.png")
        assert state(d, ".hid/x.png") is DraftState.SCRATCH
        await d.drain(1_000)
        assert uploads(d) == 0


async def test_an_album_that_gets_a_temporary_name_keeps_its_images(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: an album moved aside stays what it is on Imgur; what waits in it, and what
    is written into it then, stays here until the album is back.
    """
    async with placed(tmp_path) as d:
        await d.account("Trip/old.png")
        await d.write("Trip/waits.png")
        await d.move("Trip", "Trip~")
        await d.write("Trip~/new.png")
        await d.drain(1_000)
        await d.refresh()
        assert d.calls() == []
        assert d.names("Trip~") == ["new.png", "old.png", "waits.png"]
        assert d.albums() == {"Trip": [d.image("Trip~/old.png")]}
        assert state(d, "Trip~/waits.png") is DraftState.SCRATCH
        await d.move("Trip~", "Trip")
        await d.drain(1_000)
        assert set(d.albums()["Trip"]) == {
            d.image(f"Trip/{name}") for name in ("old.png", "waits.png", "new.png")
        }
        assert uploads(d) == 2


async def test_a_picture_from_such_a_directory_replaces_one_of_an_album(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W8: moved over an image, it is uploaded before the old image is deleted."""
    async with placed(tmp_path) as d:
        await d.account("A/x.png")
        await d.mkdir(".hid")
        await d.write(".hid/x.png")
        await d.move(".hid/x.png", "A/x.png")
        assert d.kinds() == [queueing.UPLOAD]
        await d.drain(1_000)
        assert d.albums() == {"A": [d.image("A/x.png")]}
        assert [one.id for one in d.images()] == [d.image("A/x.png")]


async def test_a_local_file_stays_local_in_any_directory(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W17: with keep-local, what is no picture stays here under the new name too."""
    async with placed(tmp_path, MountConfig(non_media="keep-local")) as d:
        await d.mkdir(".hid")
        await d.write(".hid/notes.txt", b"notes")
        await d.write(".hid/x.png", small_picture("x"))
        await d.move(".hid", "Notes")
        assert state(d, "Notes/notes.txt") is DraftState.LOCAL
        await d.drain(1_000)
        assert d.albums() == {"Notes": [d.image("Notes/x.png")]}


async def test_a_directory_is_renamed_while_files_in_it_are_removed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """W12: another program may take a file away while those of a directory are looked
    at; that is no reason to refuse the directory its name.
    """
    async with placed(tmp_path) as d:
        await d.mkdir("trip.tmp")
        for name in ("a.png", "b.png", "c.png"):
            await d.write(f"trip.tmp/{name}")
        first = d.node("trip.tmp/a.png").inode
        draft = d.node("trip.tmp/c.png").draft
        assert draft is not None
        held = await d.writer.files.open_for_writing(first, truncate=False)
        async with trio.open_nursery() as nursery, held.lock:
            nursery.start_soon(d.move, "trip.tmp", "Trip")
            await trio.testing.wait_all_tasks_blocked()
            await d.remove("trip.tmp/b.png")
            d.writer.spool.path(draft.spool_name).unlink()
        await d.writer.files.release(held)
        assert d.names() == ["Trip"]
        assert d.names("Trip") == ["a.png", "c.png"]
