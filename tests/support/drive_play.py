"""Plays a script of operations on a drive in process, and compares it with the model.

A script is what ``drive_model`` says has to happen: each step with the errnos that fit
and what must be seen afterwards. Everything runs in virtual time, so a script gives the
same course every time.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import trio
import trio.testing

from imgurfs.emulator.rules.limits import NO_LIMITS
from imgurfs.limits import CHANGE_POLL_S, LISTING_LAG_S
from imgurfs.model import Lane
from imgurfs.store import drafts, entries
from imgurfs.store.drafts import Draft
from tests.support.connected import API_URL, Connected, config, connected
from tests.support.drainers import drainer_over
from tests.support.drive_inside import InProcess
from tests.support.drive_model import Account, Errnos, Picture, Shown
from tests.support.drives import Handle
from tests.support.inside import Inside

#: Longer than everything that waits, but for a job that nobody can tell about.
_PATIENCE_S = 3_600.0
#: By then the spool is tidied, if nothing is in the way.
_KEEPER_S = 10.0
#: Steps after which the drive is looked at even if nothing should have changed.
_WORLD = frozenset({"drain", "refresh", "remount", "arrive", "vanish", "retitle"})


@dataclass(frozen=True)
class Step:
    """One operation: its name, what it is about, and what has to come of it."""

    name: str
    arguments: tuple[Any, ...]
    errnos: Errnos
    view: Picture
    #: What the account must be, and what else it may have; None: not looked at.
    account: tuple[Account, frozenset[bytes]] | None = None

    def __str__(self) -> str:
        told = ", ".join(_short(one) for one in self.arguments)
        names = "/".join(errno.errorcode[one] for one in sorted(self.errnos))
        return f"{self.name}({told}) -> {names or 'done'}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:20]}…{text[-20:]}"


def play(directory: Path, script: list[Step]) -> None:
    """Play a script on a new account. Raises AssertionError where it differs."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(_play, directory, script, clock=clock)


async def _play(directory: Path, script: list[Step]) -> None:
    before: Picture = {}
    async with _player(directory) as player:
        for number, step in enumerate(script):
            try:
                await player.do(step)
                # What changed against expectation is seen at the next look as well.
                if step.name in _WORLD or step.view != before or step is script[-1]:
                    seen = await player.view(step.view)
                    told = f"the drive shows {seen}, not {step.view}"
                    assert seen == step.view, told
                before = step.view
                if step is script[-1]:
                    await player.check_drafts()
                if step.account is not None:
                    player.compare_account(*step.account)
            except BaseException as error:
                course = "\n".join(f"  {one}" for one in script[: number + 1])
                error.add_note(f"step {number + 1}:\n{course}")
                raise


class Player:
    """The drive of one account, mounted and mounted again."""

    def __init__(self, inside: Inside, world: Connected) -> None:
        self._inside = inside
        self._world = world
        self._mounted = AsyncExitStack()
        self._drive: InProcess | None = None
        self._handles: dict[int, Handle] = {}
        self._last_handle = 0

    @property
    def drive(self) -> InProcess:
        """The drive as it is mounted now."""
        assert self._drive is not None
        return self._drive

    async def mount(self) -> None:
        """Mount the drive."""
        self._drive = await self._mounted.enter_async_context(self._inside.mounted())

    async def unmount(self) -> None:
        """Let the process end, whatever is open."""
        self._handles.clear()
        await self._mounted.aclose()

    # --- Steps -------------------------------------------------------------------

    async def do(self, step: Step) -> None:
        """Perform a step. Raises AssertionError when it answers wrongly."""
        try:
            await getattr(self, f"_{step.name}")(*step.arguments)
            found = 0
        except OSError as error:
            found = error.errno or -1
        wanted = step.errnos or {0}
        assert found in wanted, f"{step}: got {errno.errorcode.get(found, found)}"

    async def _open(self, number: int, path: str, flags: int) -> None:
        self._handles[number] = await self.drive.open(path, flags)

    async def _write(self, number: int, data: bytes, offset: int | None) -> None:
        # What O_APPEND makes of the offset is the drive's business.
        await self._handles[number].write(data, 0 if offset is None else offset)

    async def _cut(self, number: int, size_bytes: int) -> None:
        await self._handles[number].truncate(size_bytes)

    async def _read(self, number: int, content: bytes) -> None:
        assert await self._handles[number].read() == content

    async def _fsync(self, number: int) -> None:
        await self._handles[number].fsync()

    async def _close(self, number: int) -> None:
        await self._handles.pop(number).close()

    async def _truncate(self, path: str, size_bytes: int) -> None:
        await self.drive.truncate(path, size_bytes)

    async def _set_mtime(self, path: str, mtime_ns: int) -> None:
        await self.drive.utime(path, mtime_ns=mtime_ns)

    async def _mkdir(self, path: str) -> None:
        # The kernel looks first.
        if path in await self._names(path):
            raise FileExistsError(errno.EEXIST, path)
        await self.drive.mkdir(path)

    async def _rmdir(self, path: str) -> None:
        await self.drive.rmdir(path)

    async def _unlink(self, path: str) -> None:
        await self.drive.unlink(path)

    async def _link(self, path: str, new: str) -> None:
        await self.drive.link(path, new)

    async def _rename(self, old: str, new: str, flags: int) -> None:
        # What the kernel refuses by itself, in its order.
        for path in (old, new):
            await self.drive.stat(path.rpartition("/")[0])
        await self.drive.stat(old)
        if flags and new in await self._names(new):
            raise FileExistsError(errno.EEXIST, new)
        if new.startswith(old + "/"):
            raise OSError(errno.EINVAL, new)
        if old.startswith(new + "/"):
            raise OSError(errno.ENOTEMPTY, new)
        await self.drive.rename(old, new, flags)

    async def _names(self, path: str) -> list[str]:
        parent = path.rpartition("/")[0]
        prefix = f"{parent}/" if parent else ""
        return [prefix + name for name in await self.drive.list(parent)]

    # --- The world ---------------------------------------------------------------

    async def _drain(self) -> None:
        """Send everything, and see what Imgur has made of it."""
        drive, world = self.drive, self._world
        drainer = drainer_over(
            world,
            drive.db,
            self._inside.directory,
            refresher=drive.mounted.refresher,
            delete_grace_s=0.0,
            is_guarded=False,
        )
        with trio.fail_after(_PATIENCE_S):
            await drainer.run_until_idle(patience_s=_PATIENCE_S)
        await self._refresh()

    async def _refresh(self) -> None:
        await self.drive.mounted.refresher.refresh_all(Lane.CONTROL)

    async def _arrive(self, folder: str, title: str, content: bytes) -> None:
        world = self._world.emulator.world
        albums = [i for i, one in world.albums.items() if one.title == folder]
        assert len(albums) == 1
        await self._ask(
            "POST",
            "/3/upload",
            data={"album": albums[0], "title": title, "type": "file"},
            files={"image": ("x.gif", content)},
        )

    async def _vanish(self, content: bytes) -> None:
        await self._ask("DELETE", f"/3/image/{self._id_of(content)}")

    async def _retitle(self, content: bytes, title: str) -> None:
        path = f"/3/image/{self._id_of(content)}"
        await self._ask("POST", path, data={"title": title})

    def _id_of(self, content: bytes) -> str:
        """Return the image that has a content."""
        (found,) = (
            image_id
            for image_id, one in self._world.emulator.world.images.items()
            if bytes(one.content.read(0, one.content.size_bytes)) == content
        )
        return found

    async def _ask(self, method: str, path: str, **options: Any) -> None:
        """Do something as another device of the account, and learn of it."""
        token = self._world.emulator.credentials.access_token
        answer = await self._inside.http.request(
            method, path, headers={"Authorization": f"Bearer {token}"}, **options
        )
        assert answer.status_code == 200, answer.text
        # Listings lag.
        await trio.sleep(2 * LISTING_LAG_S)
        await self._refresh()

    async def _remount(self) -> None:
        """Close everything, unmount and mount again."""
        await self.unmount()
        await self.mount()

    # --- Comparing ---------------------------------------------------------------

    async def view(self, wanted: Picture) -> Picture:
        """Return everything the drive shows; times where one is wanted."""
        found: Picture = {}
        for name in await self.drive.list(""):
            seen = await self.drive.stat(name)
            if not seen.is_directory:
                found[name] = await self._shown(name, wanted)
                continue
            found[name] = None
            for inner in await self.drive.list(name):
                path = f"{name}/{inner}"
                found[path] = await self._shown(path, wanted)
        return found

    async def _shown(self, path: str, wanted: Picture) -> Shown:
        file = await self.drive.open(path, os.O_RDONLY)
        try:
            content = await file.read()
        finally:
            # Not closed: a flush would commit what another handle has written.
            await self.drive.operations.release(file.fh)  # type: ignore[attr-defined]
        seen = await self.drive.stat(path)
        assert seen.size_bytes == len(content), path
        known = wanted.get(path)
        is_timed = known is not None and known.mtime_ns is not None
        return Shown(content, seen.links, seen.mtime_ns if is_timed else None)

    async def check_drafts(self) -> None:
        """No file is in the spool that nobody sees and that is not on Imgur."""
        with trio.move_on_after(_KEEPER_S):
            while self._lost_drafts():  # noqa: ASYNC110
                await trio.sleep(CHANGE_POLL_S)
        lost = self._lost_drafts()
        assert not lost, f"drafts without a name: {lost}"

    def _lost_drafts(self) -> list[Draft]:
        c = self.drive.db.reader
        images = self._world.emulator.world.images
        lost = []
        for draft in drafts.everything(c):
            node = entries.node(c, draft.inode)
            assert node is not None
            assert node.image is not None
            if not node.links and node.image.id not in images:
                lost.append(draft)
        return lost

    def compare_account(self, wanted: Account, others: frozenset[bytes]) -> None:
        """Compare the account with what it has to be. Raises AssertionError."""
        world = self._world.emulator.world
        mine = self._world.emulator.credentials.username
        images = {
            one.id: bytes(one.content.read(0, one.content.size_bytes))
            for one in world.images.values()
            if one.owner == mine
        }
        images = {i: content for i, content in images.items() if content not in others}
        albums = [one for one in world.albums.values() if one.owner == mine]
        titles = sorted(one.title or "" for one in albums)
        known = sorted(title for title in wanted if title)
        assert titles == known, f"the albums are {titles}, not {known}"
        held: set[str] = set()
        found: Account = {}
        for album in albums:
            held |= set(album.images)
            found[album.title or ""] = sorted(
                images[one] for one in album.images if one in images
            )
        found[""] = sorted(images[one] for one in images if one not in held)
        assert found == wanted, f"the account has {found}, not {wanted}"


@contextlib.asynccontextmanager
async def _player(directory: Path) -> AsyncIterator[Player]:
    settings = config(albums=0, images=0, limits=NO_LIMITS)
    async with (
        connected(directory, settings) as world,
        httpx.AsyncClient(transport=world.transport, base_url=API_URL) as http,
    ):
        inside = Inside(directory, world, http)
        # A deletion is sent with everything else.
        inside.options = replace(inside.options, delete_grace_s=0.0)
        player = Player(inside, world)
        await player.mount()
        try:
            await player.drive.mounted.refresher.refresh_all(Lane.CONTROL)
            yield player
        finally:
            await player.unmount()
