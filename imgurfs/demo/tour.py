"""The unattended tour: uses the demo as a person would, and checks what became of it.

It judges by the emulator's own state and counters, fetched from its administration
page, and by what the kernel shows; never by a database of ours. Each step prints one
line; the first that fails ends the tour with code 1.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import trio

from imgurfs.demo.stage import Stage, is_mounted, open_stage, wait_until
from imgurfs.emulator.world.pictures import Kind, draw_picture
from imgurfs.errors import ImgurfsError
from imgurfs.executor import ThreadExecutor, ThreadLane

T = TypeVar("T")

#: An upload has settled, been sent and become visible within this.
_SYNC_TIMEOUT_S = 60.0
#: Reading this much of a large file's middle must not fetch much more.
_MIDDLE_BYTES = 64 * 1024
_LARGE_BYTES_MIN = 16 * 1024 * 1024
_ALBUM = "Tour of the harbour"
_KINDS: dict[str, Kind] = {
    "lighthouse.png": "png",
    "ferry.jpg": "jpeg",
    "gulls.gif": "gif",
}
_PICTURES = tuple(_KINDS)


class TourError(Exception):
    """Something is not as it must be; the text says what."""


async def run(directory: Path) -> int:
    """Run the tour below ``directory``; return 0 when everything held, else 1."""
    stage: Stage | None = None
    try:
        async with open_stage(directory) as stage, httpx.AsyncClient() as http:
            tour = _Tour(stage, http)
            try:
                for step in tour.steps():
                    await _perform(step)
            finally:
                # The files the tour itself put there; a user's would stay.
                shutil.rmtree(stage.folder / _ALBUM, ignore_errors=True)
        assert stage is not None
        print(f"ok    {_check_nothing_left(stage)}", flush=True)
    except (TourError, ImgurfsError, OSError, httpx.HTTPError) as error:
        print(f"FAIL  {str(error) or type(error).__name__}", flush=True)
        if isinstance(error, ImgurfsError) and error.hint:
            print(f"      {error.hint}", file=sys.stderr)
        return 1
    print("the tour is complete")
    return 0


async def _perform(step: Callable[[], Awaitable[str]]) -> None:
    print(f"ok    {await step()}", flush=True)


def _check_nothing_left(stage: Stage) -> str:
    """Check that the drive is gone and every program has ended well."""
    if is_mounted(stage.drive):
        raise TourError(f"{stage.drive} is still mounted")
    codes = {name: process.returncode for name, process in stage.processes.items()}
    if any(code != 0 for code in codes.values()):
        raise TourError(f"not every program ended with code 0: {codes}")
    return f"unmounted; {', '.join(codes)} ended with code 0"


class _Tour:
    """The steps, in order, over one stage."""

    def __init__(self, stage: Stage, http: httpx.AsyncClient) -> None:
        self._stage = stage
        self._http = http
        self._executor = ThreadExecutor()

    def steps(self) -> list[Callable[[], Awaitable[str]]]:
        """Return the steps; each returns what it found, or raises."""
        return [
            self.list_the_drive,
            self.read_a_picture,
            self.read_the_middle,
            self.drop_an_album,
            self.see_it_in_the_drive,
            self.delete_a_picture,
            self.unmount,
        ]

    async def list_the_drive(self) -> str:
        """See every album as a directory and lone images as files; no bytes move."""
        state = await self._state()
        in_albums = {image for album in state["albums"] for image in album["images"]}
        files = len({image["id"] for image in state["images"]} - in_albums)
        # Images in no album appear once every album has been listed.
        expected = len(state["albums"]) + files
        await wait_until(
            lambda: len(os.listdir(self._stage.drive)) == expected,  # noqa: PTH208
            f"{expected} names in the drive",
            _SYNC_TIMEOUT_S,
        )
        memberships = 0
        for name in await self._blocking(os.listdir, self._stage.drive):
            path = self._stage.drive / name
            if path.is_dir():
                memberships += len(await self._blocking(os.listdir, path))
        wanted = sum(len(album["images"]) for album in state["albums"])
        _expect(memberships == wanted, f"{memberships} files in albums, not {wanted}")
        counters = await self._counters()
        _expect(counters["cdn_requests"] == 0, "listing downloaded something")
        return (
            f"listed {len(state['albums'])} albums, {memberships} pictures in them and"
            f" {files} outside; downloaded nothing"
        )

    async def read_a_picture(self) -> str:
        """Read through the mount what the CDN serves."""
        path = await self._blocking(self._find, lambda size: 0 < size < 2**20)
        data = await self._blocking(path.read_bytes)
        counters = await self._counters()
        _expect(counters["cdn_bytes_sent"] >= len(data), "nothing was downloaded")
        link = (await self._blocking(os.getxattr, path, "user.imgur.link")).decode()
        served = (await self._http.get(link)).content
        _expect(data == served, f"{path.name} differs from {link}")
        known = {image["md5"] for image in (await self._state())["images"]}
        _expect(hashlib.md5(data, usedforsecurity=False).hexdigest() in known, "md5")
        return f"read {path.name}: {len(data)} bytes, the same as the CDN's"

    async def read_the_middle(self) -> str:
        """Read the middle of a large file for little more than itself."""
        path = await self._blocking(self._find, lambda size: size >= _LARGE_BYTES_MIN)
        size = path.stat().st_size
        offset = size // 2
        link = (await self._blocking(os.getxattr, path, "user.imgur.link")).decode()
        before = (await self._counters())["cdn_bytes_sent"]
        data = await self._blocking(_read_range, path, offset, _MIDDLE_BYTES)
        moved = (await self._counters())["cdn_bytes_sent"] - before
        _expect(moved < size // 4, f"{moved} of {size} bytes were downloaded")
        headers = {"Range": f"bytes={offset}-{offset + _MIDDLE_BYTES - 1}"}
        served = (await self._http.get(link, headers=headers)).content
        _expect(data == served, f"the middle of {path.name} differs")
        return f"read the middle of {path.name}: {moved} of {size} bytes downloaded"

    async def drop_an_album(self) -> str:
        """Drop a folder with three pictures; see an album with three images."""
        source = self._stage.config.parent / _ALBUM
        source.mkdir()
        for number, (name, kind) in enumerate(_KINDS.items()):
            picture = draw_picture(name, kind=kind, number=number)
            (source / name).write_bytes(picture)
        await self._blocking(shutil.copytree, source, self._stage.folder / _ALBUM)
        album = await self._await_album(len(_PICTURES))
        images = {image["id"]: image for image in (await self._state())["images"]}
        uploaded = {images[image]["md5"] for image in album["images"]}
        _expect(uploaded == self._sent_digests(), "the account has other bytes")
        return f"album {_ALBUM!r} appeared in the account with {len(uploaded)} pictures"

    async def see_it_in_the_drive(self) -> str:
        """Find the new album in the drive, with the bytes that were dropped."""
        directory = self._stage.drive / _ALBUM
        await wait_until(
            lambda: _names(directory) == set(_PICTURES),
            f"the pictures in {directory}",
            _SYNC_TIMEOUT_S,
        )
        for name in _PICTURES:
            shown = await self._blocking((directory / name).read_bytes)
            sent = (self._stage.folder / _ALBUM / name).read_bytes()
            _expect(shown == sent, f"{name} differs in the drive")
        return "the drive shows them, byte for byte"

    async def delete_a_picture(self) -> str:
        """Delete a file in the folder; see it go from the account and the drive."""
        name = _PICTURES[1]
        (self._stage.folder / _ALBUM / name).unlink()
        await self._await_album(len(_PICTURES) - 1)
        digests = {image["md5"] for image in (await self._state())["images"]}
        _expect(self._sent_digests() <= digests, "another picture went as well")
        directory = self._stage.drive / _ALBUM
        await wait_until(
            lambda: _names(directory) == set(_PICTURES) - {name},
            f"{name} to go from the drive",
            _SYNC_TIMEOUT_S,
        )
        counters = await self._counters()
        _expect(counters["uploads"] == len(_PICTURES), f"{counters['uploads']} uploads")
        return f"deleted {name}: gone from account and drive; uploads in all: 3"

    async def unmount(self) -> str:
        """Unmount with the command."""
        result = await trio.run_process(  # noqa: TID251 - our own program, no shell
            [sys.executable, "-m", "imgurfs", "unmount", str(self._stage.drive)],
            env=self._stage.environment,
            capture_stderr=True,
            check=False,
        )
        _expect(result.returncode == 0, result.stderr.decode(errors="replace"))
        _expect(not is_mounted(self._stage.drive), "still mounted")
        return "imgurfs unmount"

    # --- Helpers -------------------------------------------------------------

    async def _blocking(self, function: Callable[..., T], *args: object) -> T:
        return await self._executor.run(ThreadLane.DISK, function, *args)

    async def _admin(self, name: str) -> Any:
        url = f"{self._stage.emulator.api_url}/_emulator/{name}"
        return (await self._http.get(url)).raise_for_status().json()

    async def _state(self) -> Any:
        return await self._admin("state")

    async def _counters(self) -> Any:
        return await self._admin("counters")

    async def _await_album(self, images: int) -> Any:
        """Wait until the account's album holds so many images; return it."""
        seen: Any = None
        with trio.move_on_after(_SYNC_TIMEOUT_S):
            while True:
                albums = (await self._state())["albums"]
                seen = [album for album in albums if album["title"] == _ALBUM]
                if len(seen) == 1 and len(seen[0]["images"]) == images:
                    return seen[0]
                await trio.sleep(0.1)
        raise TourError(f"waited in vain for {images} images in the album; saw {seen}")

    def _find(self, suits: Callable[[int], bool]) -> Path:
        """Return a file of the drive, not one with a hostile name, by its size."""
        for directory, _, files in os.walk(self._stage.drive):
            for name in sorted(files):
                path = Path(directory, name)
                info = path.lstat()
                if (
                    stat.S_ISREG(info.st_mode)
                    and name.isascii()
                    and suits(info.st_size)
                ):
                    return path
        raise TourError("the sample account has no such file")

    def _sent_digests(self) -> set[str]:
        return {
            hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            for path in (self._stage.folder / _ALBUM).iterdir()
        }


def _names(directory: Path) -> set[str]:
    """Return the names in a directory; none while it is not there."""
    try:
        return set(os.listdir(directory))  # noqa: PTH208
    except FileNotFoundError:
        return set()


def _read_range(path: Path, offset: int, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        # The kernel's own read-ahead is not what is being looked at.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


def _expect(holds: bool, complaint: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise TourError(complaint)
