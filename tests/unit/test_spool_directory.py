"""imgurfs.content.spool as a directory: whose it is, and what is found in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs import limits
from imgurfs.content.spool import Spool
from imgurfs.errors import UnavailableError
from imgurfs.executor import InlineExecutor


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Return an empty spool."""
    made = Spool.open(
        tmp_path / "spool",
        size_bytes_max=4 * limits.MIB,
        executor=InlineExecutor(),
        reserve_bytes=0,
    )
    yield made
    made.close()


async def test_only_contents_are_found(spool: Spool) -> None:
    """Locks, notes, links, directories and strangers are none."""
    file = await spool.create("12.3")
    await spool.truncate(file, 7)
    spool.close_file(file)
    for name in ("lock", "12", "0.1", "7.0", "a.1", "12.3.tmp"):
        spool.path(name).write_bytes(b"x")
    spool.path("3.1").symlink_to("12.3")
    spool.path("4.1").mkdir()
    assert await spool.scan() == {"12.3": 7}
    assert spool.used_bytes == 7


async def test_what_is_set_aside_is_kept_under_a_name_of_its_own(spool: Spool) -> None:
    """Two contents of one name are both kept; the spool does not count them."""
    assert spool.aside() is None
    for text in (b"one", b"two!"):
        file = await spool.create("5.1")
        await spool.write(file, 0, text)
        await spool.sync(file)
        spool.close_file(file)
        await spool.set_aside("5.1")
    directory = spool.aside()
    assert directory is not None
    assert sorted(path.read_bytes() for path in directory.iterdir()) == [
        b"one",
        b"two!",
    ]
    assert spool.used_bytes == 0


async def test_one_process_owns_the_spool(spool: Spool) -> None:
    """A second mount is told, and can have it when the first has ended."""
    other = Spool.open(spool.directory, size_bytes_max=1, executor=InlineExecutor())
    assert spool.own()
    assert spool.own()
    assert not other.own()
    spool.close()
    assert other.own()
    other.close()


async def test_removing_what_is_gone_is_harmless(spool: Spool) -> None:
    """A content is removed once; again is nothing."""
    file = await spool.create("5.1")
    await spool.truncate(file, 9)
    spool.close_file(file)
    await spool.remove("5.1")
    await spool.remove("5.1")
    assert spool.used_bytes == 0
    assert await spool.md5("5.1") == ""


async def test_many_contents_are_removed_at_once(spool: Spool) -> None:
    """One that is gone already is passed over; the others' room is free again."""
    for name in ("1.1", "2.1", "3.1"):
        file = await spool.create(name)
        await spool.truncate(file, 5)
        spool.close_file(file)
    await spool.remove("2.1")
    await spool.remove("1.1", "2.1", "3.1")
    assert spool.used_bytes == 0
    assert await spool.scan() == {}


async def test_what_a_failed_removal_has_removed_is_free_again(spool: Spool) -> None:
    """The content behind one that cannot be removed stays, and stays counted."""
    for name in ("1.1", "3.1"):
        file = await spool.create(name)
        await spool.truncate(file, 5)
        spool.close_file(file)
    spool.path("2.1").mkdir()
    with pytest.raises(UnavailableError):
        await spool.remove("1.1", "2.1", "3.1")
    assert spool.used_bytes == 5
    assert await spool.scan() == {"3.1": 5}


def test_a_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    """The mount does not start without a place for what is written."""
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(UnavailableError):
        Spool.open(tmp_path / "spool", size_bytes_max=1, executor=InlineExecutor())


async def test_a_restart_of_the_machine_is_noticed_once(spool: Spool) -> None:
    """Until the spool has been looked at after it."""
    assert spool.was_rebooted()
    spool.set_owner("me")
    assert spool.owner() == "me"
    assert not spool.was_rebooted()
    spool.path("boot").write_text("another")
    assert spool.was_rebooted()
