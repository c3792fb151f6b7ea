"""imgurfs.content.spool: bounded, private, and nothing acknowledged is lost."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
import trio

from imgurfs import limits
from imgurfs.content.spool import Spool
from imgurfs.errors import SpoolFullError, TooLargeError, UnavailableError
from imgurfs.executor import InlineExecutor, ThreadLane

P = ParamSpec("P")
T = TypeVar("T")

BOUND = 4 * limits.MIB


class FailingExecutor(InlineExecutor):
    """Fails chosen functions with an errno, as a broken or full disk does."""

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}
        self.calls: list[str] = []

    async def run(
        self, lane: ThreadLane, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run the function, unless it is one that fails."""
        self.calls.append(fn.__name__)
        number = self.failing.get(fn.__name__)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return await super().run(lane, fn, *args, **kwargs)


@pytest.fixture
def executor() -> FailingExecutor:
    """Return an executor whose disk can fail."""
    return FailingExecutor()


@pytest.fixture
def spool(tmp_path: Path, executor: FailingExecutor) -> Iterator[Spool]:
    """Return an empty spool."""
    made = Spool.open(
        tmp_path / "spool", size_bytes_max=BOUND, executor=executor, reserve_bytes=0
    )
    yield made
    made.close()


async def test_directory_and_files_are_private(spool: Spool) -> None:
    """Nobody but the user gets at what was written."""
    file = await spool.create("5.1")
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(spool.path("5.1").stat().st_mode) == 0o600
    spool.close_file(file)


async def test_a_link_in_the_place_of_a_content_is_not_followed(
    spool: Spool, tmp_path: Path
) -> None:
    """Neither opening nor creating goes through a symbolic link."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    spool.path("5.1").symlink_to(victim)
    with pytest.raises(UnavailableError):
        await spool.open_file("5.1")
    with pytest.raises(UnavailableError):
        await spool.create("5.1")
    assert victim.read_bytes() == b"precious"


async def test_what_was_written_is_read_at_once_and_after_reopening(
    spool: Spool,
) -> None:
    """Pieces in any order, with a hole, read back as a file does."""
    file = await spool.create("5.1")
    await spool.write(file, 10, b"world")
    await spool.write(file, 0, b"hello")
    await spool.write(file, 3, b"LO")
    expected = b"helLO" + bytes(5) + b"world"
    assert file.size_bytes == len(expected)
    assert await spool.read(file, 0, 100) == expected
    assert await spool.read(file, 12, 2) == b"rl"
    assert await spool.read(file, 15, 10) == b""
    await spool.sync(file)
    spool.close_file(file)
    again = await spool.open_file("5.1")
    assert again.size_bytes == len(expected)
    assert await spool.read(again, 0, 100) == expected
    spool.close_file(again)


async def test_what_is_collected_is_on_the_disk_after_a_sync(
    spool: Spool, executor: FailingExecutor
) -> None:
    """Small writes cost one step together; after sync the file has them."""
    file = await spool.create("5.1")
    executor.calls.clear()
    for start in range(0, 1000, 10):
        await spool.write(file, start, b"0123456789")
    assert executor.calls == []
    await spool.sync(file)
    assert sorted(executor.calls) == [
        "fdatasync",
        "synchronise_directory",
        "write_spans",
    ]
    assert spool.path("5.1").read_bytes() == b"0123456789" * 100
    spool.close_file(file)


async def test_not_more_than_a_mebibyte_of_a_file_is_collected(spool: Spool) -> None:
    """A large file does not fill the memory."""
    file = await spool.create("5.1")
    piece = bytes(128 * limits.KIB)
    for number in range(20):
        await spool.write(file, number * len(piece), piece)
        assert file.pending_bytes <= limits.SPOOL_PIECE_BYTES
    spool.close_file(file)


async def test_many_small_writes_are_not_collected_for_ever(spool: Spool) -> None:
    """A program that writes byte by byte costs no memory for each of them."""
    file = await spool.create("5.1")
    for offset in range(5_000):
        await spool.write(file, offset, b"x")
        assert len(file.pending) <= limits.SPOOL_PENDING_WRITES_MAX
    assert await spool.read(file, 0, 9_000) == b"x" * 5_000
    spool.close_file(file)


async def test_many_files_together_do_not_fill_the_memory(tmp_path: Path) -> None:
    """What is collected of all files together is bounded as well."""
    spool = Spool.open(
        tmp_path / "spool",
        size_bytes_max=10**9,
        executor=InlineExecutor(),
        reserve_bytes=0,
    )
    files = [await spool.create(f"{number}.1") for number in range(1, 101)]
    piece = bytes(limits.SPOOL_PIECE_BYTES)
    for file in files:
        await spool.write(file, 0, piece)
    collected = sum(file.pending_bytes for file in files)
    assert 0 < collected <= limits.SPOOL_PENDING_BYTES_MAX
    for file in files:
        spool.close_file(file)


async def test_truncate_cuts_and_lengthens(spool: Spool) -> None:
    """What is cut off is gone; what is added is zeros."""
    file = await spool.create("5.1")
    await spool.write(file, 0, b"0123456789")
    await spool.truncate(file, 4)
    await spool.truncate(file, 6)
    assert await spool.read(file, 0, 100) == b"0123\0\0"
    assert spool.used_bytes == file.size_bytes == 6
    spool.close_file(file)


async def test_a_clone_has_the_bytes_and_goes_its_own_way(spool: Spool) -> None:
    """Also what was only collected is in the copy; later writes are not."""
    file = await spool.create("5.1")
    await spool.write(file, 0, b"abc")
    other = await spool.clone(file, "5.2")
    await spool.write(other, 1, b"X")
    assert await spool.read(file, 0, 9) == b"abc"
    assert await spool.read(other, 0, 9) == b"aXc"
    assert spool.used_bytes == 6
    spool.close_file(file)
    spool.close_file(other)


async def test_a_write_over_the_bound_is_refused_as_a_whole(spool: Spool) -> None:
    """The file is as it was, and there is room again when something is removed."""
    old = await spool.create("4.1")
    await spool.truncate(old, BOUND - 100)
    spool.close_file(old)
    file = await spool.create("5.1")
    await spool.write(file, 0, bytes(60))
    with pytest.raises(SpoolFullError):
        await spool.write(file, 60, bytes(41))
    assert file.size_bytes == 60
    await spool.write(file, 0, b"over what is there: no more room needed")
    await spool.remove("4.1")
    await spool.write(file, 60, bytes(41))
    assert spool.used_bytes == file.size_bytes == 101
    spool.close_file(file)


async def test_what_was_collected_and_dropped_takes_no_room(spool: Spool) -> None:
    """A content that nobody wants is closed before the disk was given its bytes."""
    file = await spool.create("1.1")
    await spool.write(file, 0, bytes(5000))
    await spool.flush(file)
    await spool.write(file, 4000, bytes(9000))
    spool.close_file(file)
    assert spool.used_bytes == 5000
    await spool.remove("1.1")
    assert spool.used_bytes == 0


async def test_a_file_larger_than_the_spool_is_too_large_not_a_lack_of_room(
    spool: Spool,
) -> None:
    """Waiting for room would not help."""
    file = await spool.create("5.1")
    with pytest.raises(TooLargeError):
        await spool.truncate(file, BOUND + 1)
    with pytest.raises(TooLargeError):
        await spool.write(file, BOUND, b"x")
    assert file.size_bytes == 0
    spool.close_file(file)


async def test_the_last_of_the_disk_is_left_to_the_database(tmp_path: Path) -> None:
    """What is free counts less the reserve."""
    free = os.statvfs(tmp_path)
    reserve = free.f_bavail * free.f_frsize
    spool = Spool.open(
        tmp_path / "spool",
        size_bytes_max=BOUND,
        executor=InlineExecutor(),
        reserve_bytes=reserve + limits.MIB * 1024,
    )
    assert spool.free_bytes() == 0
    file = await spool.create("5.1")
    with pytest.raises(SpoolFullError):
        await spool.write(file, 0, b"x")
    spool.close_file(file)


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, SpoolFullError), (errno.EIO, UnavailableError)],
)
async def test_bytes_the_disk_did_not_take_are_there_for_the_next_attempt(
    spool: Spool, executor: FailingExecutor, number: int, error: type[Exception]
) -> None:
    """A sync that failed loses nothing that was acknowledged."""
    file = await spool.create("5.1")
    await spool.write(file, 0, b"acknowledged")
    executor.failing["fdatasync"] = number
    with pytest.raises(error):
        await spool.sync(file)
    assert await spool.read(file, 0, 100) == b"acknowledged"
    executor.failing.clear()
    await spool.sync(file)
    assert spool.path("5.1").read_bytes() == b"acknowledged"
    spool.close_file(file)


async def test_a_failed_drain_keeps_what_was_collected_and_takes_no_more(
    spool: Spool, executor: FailingExecutor
) -> None:
    """The write that would need the disk is refused; the ones before are kept."""
    file = await spool.create("5.1")
    whole = bytes(range(256)) * (limits.SPOOL_PIECE_BYTES // 256)
    await spool.write(file, 0, whole)
    executor.failing["write_spans"] = errno.ENOSPC
    with pytest.raises(SpoolFullError):
        await spool.write(file, len(whole), b"more")
    assert file.size_bytes == len(whole)
    executor.failing.clear()
    assert await spool.read(file, 0, 2 * len(whole)) == whole
    spool.close_file(file)


async def test_a_clone_that_fails_leaves_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a copy is removed."""
    file = await spool.create("5.1")
    await spool.write(file, 0, b"abc")
    await spool.sync(file)
    real = os.pread

    def failing(fd: int, length: int, offset: int) -> bytes:
        if fd == file.fd:
            raise OSError(errno.EIO, "bad block")
        return real(fd, length, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        with pytest.raises(UnavailableError):
            await spool.clone(file, "5.2")
    assert not spool.path("5.2").exists()
    assert spool.used_bytes == 3
    spool.close_file(file)


async def test_what_is_written_while_the_disk_works_is_not_forgotten(
    tmp_path: Path,
) -> None:
    """A reader's drain ends with exactly what it has given to the disk."""

    class Slow(InlineExecutor):
        async def run(
            self,
            lane: ThreadLane,
            fn: Callable[P, T],
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> T:
            if fn.__name__ == "write_spans":
                started.set()
                await go_on.wait()
            return await super().run(lane, fn, *args, **kwargs)

    started, go_on = trio.Event(), trio.Event()
    spool = Spool.open(
        tmp_path / "spool", size_bytes_max=BOUND, executor=Slow(), reserve_bytes=0
    )
    file = await spool.create("5.1")
    await spool.write(file, 0, b"abc")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spool.read, file, 0, 3)
        await started.wait()
        await spool.write(file, 3, b"def")
        go_on.set()
    assert await spool.read(file, 0, 10) == b"abcdef"
    spool.close_file(file)


async def test_only_a_content_that_was_appended_to_is_growing(spool: Spool) -> None:
    """Its size and its holes tell after a power cut whether its bytes are there."""
    file = await spool.create("5.1")
    await spool.write(file, 0, b"abc")
    await spool.write(file, 3, b"def")
    assert file.is_growing
    await spool.write(file, 2, b"X")
    assert not file.is_growing
    gap = await spool.create("6.1")
    await spool.write(gap, 9, b"x")
    assert not gap.is_growing
    cut = await spool.create("7.1")
    await spool.write(cut, 0, b"abc")
    await spool.truncate(cut, 2)
    assert not cut.is_growing
    done = await spool.create("8.1")
    await spool.write(done, 0, b"abc")
    await spool.sync(done)
    assert not done.is_growing
    assert not (await spool.clone(done, "8.2")).is_growing


async def test_bytes_that_never_reached_the_disk_are_a_hole(spool: Spool) -> None:
    """A file with its size and without its bytes is not whole."""
    file = await spool.create("5.1")
    await spool.write(file, 0, b"x" * 20_000)
    await spool.sync(file)
    assert await spool.is_whole("5.1")
    await spool.truncate(file, 0)
    assert await spool.is_whole("5.1")
    await spool.truncate(file, 20_000)
    assert not await spool.is_whole("5.1")
    spool.close_file(file)
