"""A writable drive without a kernel over the emulator: names, bytes, jobs, calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import trio

from imgurfs.config import MountConfig
from imgurfs.content.cache import ContentCache
from imgurfs.content.fetch import Fetcher
from imgurfs.drain import Drainer
from imgurfs.errors import NotFoundError
from imgurfs.executor import InlineExecutor
from imgurfs.model import ROOT_INODE, AlbumId, ImageId, Inode, Lane
from imgurfs.store import entries, outbox
from imgurfs.store.database import Database
from imgurfs.store.entries import Node
from imgurfs.store.outbox import Job
from imgurfs.tree.refresh import Refresher
from imgurfs.writing.places import Places
from imgurfs.writing.writer import Writer
from tests.support.account import open_state
from tests.support.connected import CDN_HOSTS, CDN_URL, Connected, config, connected
from tests.support.drainers import drainer_over
from tests.support.pictures import small_picture

#: Longer than every deletion waits, and every album's quiet time.
LONG_S = 1_000.0


@dataclass
class Placed:
    """The drive: paths are relative to its top."""

    there: Connected
    db: Database
    writer: Writer
    refresher: Refresher
    state_dir: Path
    delete_grace_s: float
    is_name_title: bool
    told: list[tuple[int, int]] = field(default_factory=list)
    _mark: int = 0

    @property
    def places(self) -> Places:
        """What is tested."""
        return self.writer.places

    # --- Names -------------------------------------------------------------------

    def node(self, path: str) -> Node:
        """Return what a path leads to."""
        node = entries.node(self.db.reader, ROOT_INODE)
        assert node is not None
        for name in path.split("/") if path else ():
            entry = entries.child(self.db.reader, node.inode, name)
            if entry is None:
                raise NotFoundError(path)
            node = entry.node
        return node

    def at(self, path: str) -> tuple[Inode, str]:
        """Return directory and name of a path."""
        directory, _, name = path.rpartition("/")
        return self.node(directory).inode, name

    def image(self, path: str) -> ImageId:
        """Return the id of the image at a path, "" when Imgur has none."""
        node = self.node(path)
        assert node.image is not None
        return node.image.id

    def names(self, path: str = "") -> list[str]:
        """Return the names in a directory."""
        inode = self.node(path).inode
        return sorted(one.name for one in entries.children(self.db.reader, inode))

    async def move(self, old: str, new: str, *, no_replace: bool = False) -> None:
        """Rename."""
        await self.places.rename(*self.at(old), *self.at(new), no_replace=no_replace)

    async def link(self, path: str, new: str) -> None:
        """Give an image another name."""
        await self.places.link(self.node(path).inode, *self.at(new))

    async def remove(self, path: str) -> Inode:
        """Unlink."""
        return await self.places.unlink(*self.at(path))

    async def mkdir(self, path: str) -> Inode:
        """Make an album."""
        return await self.places.mkdir(*self.at(path))

    async def rmdir(self, path: str) -> Inode:
        """Remove an album."""
        return await self.places.rmdir(*self.at(path))

    # --- Bytes -------------------------------------------------------------------

    async def write(self, path: str, data: bytes | None = None) -> Inode:
        """Make a file, as cp does; each path has its own picture."""
        files = self.writer.files
        inode, draft = await files.create(*self.at(path))
        data = small_picture(path) if data is None else data
        if data:
            await files.write(draft, 0, data)
        try:
            await files.commit(draft)
        finally:
            await files.release(draft)
        return inode

    async def overwrite(self, path: str, data: bytes) -> None:
        """Write over a file, as cp does."""
        files = self.writer.files
        draft = await files.open_for_writing(self.node(path).inode, truncate=True)
        await files.write(draft, 0, data)
        await files.commit(draft)
        await files.release(draft)

    async def read(self, path: str) -> bytes:
        """Return what the spool has of a file."""
        return await self.read_inode(self.node(path).inode)

    async def read_inode(self, inode: Inode) -> bytes:
        """Return what the spool has of a file."""
        files = self.writer.files
        draft = await files.open_for_reading(inode)
        assert draft is not None, "it has no bytes here"
        try:
            return await files.read(draft, 0, 1 << 20)
        finally:
            await files.release(draft)

    # --- Imgur -------------------------------------------------------------------

    def drainer(
        self,
        *,
        is_guarded: bool = False,
        may_send: Callable[[], bool] = lambda: True,
    ) -> Drainer:
        """Return a drainer as a newly started process would have it."""
        return drainer_over(
            self.there,
            self.db,
            self.state_dir,
            refresher=self.refresher,
            cache_dir=self.state_dir.parent / "cache",
            delete_grace_s=self.delete_grace_s,
            is_name_title=self.is_name_title,
            is_guarded=is_guarded,
            may_send=may_send,
        )

    async def drain(self, seconds: float = 60.0, *, is_guarded: bool = False) -> None:
        """Send for some virtual time, shorter than a deletion waits."""
        with trio.move_on_after(seconds):
            await self.drainer(is_guarded=is_guarded).run()

    async def account(self, *paths: str) -> None:
        """Let the account have images at these paths, as if uploaded elsewhere."""
        api, albums = self.there.api, {}
        for number, path in enumerate(paths):
            title, _, name = path.rpartition("/")
            if title and title not in albums:
                albums[title] = await api.create_album(
                    title=title, images=(), lane=Lane.FRESH
                )
            if not name:
                continue
            file = self.state_dir / f"picture{number}"
            file.write_bytes(small_picture(path))
            await api.upload(
                file,
                size_bytes=file.stat().st_size,
                name=name,
                album=albums[title].id if title else None,
                lane=Lane.FRESH,
            )
        # Listings may lag behind.
        await trio.sleep(10)
        await self.refresh()
        self.mark()

    def mark(self) -> None:
        """Count calls from now on."""
        self._mark = len(self.there.transport.requests)

    def calls(self) -> list[str]:
        """Return the changes that were asked for since the mark: method and path."""
        made = [
            f"{method} {httpx.URL(url).path.removeprefix('/3/')}"
            for method, url in self.there.transport.requests[self._mark :]
            if httpx.URL(url).host.startswith("api")
        ]
        return [one for one in made if not one.startswith("GET")]

    def albums(self) -> dict[str, list[str]]:
        """Return the account's albums by title, as the emulator has them."""
        return {one.title or "": list(one.images) for one in self._own("albums")}

    def images(self) -> list[Any]:
        """Return the account's images, as the emulator has them."""
        return self._own("images")

    def title(self, image_id: str) -> str:
        """Return an image's title as visitors see it."""
        (found,) = (one for one in self.images() if one.id == image_id)
        return found.title or ""

    def _own(self, what: str) -> list[Any]:
        emulator = self.there.emulator
        found: Iterable[Any] = getattr(emulator.world, what).values()
        return [one for one in found if one.owner == emulator.credentials.username]

    # --- Jobs --------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        """Return what is still to be sent."""
        return outbox.unfinished(self.db.reader)

    def kinds(self) -> list[str]:
        """Return the kinds of what is still to be sent."""
        return sorted(job.kind for job in self.jobs())

    async def refresh(self) -> None:
        """Read everything Imgur shows."""
        await self.refresher.refresh_all(Lane.REFRESH)

    def everything(self) -> dict[str, tuple[Inode, int]]:
        """Return every path with its inode and its number of links."""
        shown: dict[str, tuple[Inode, int]] = {}
        for name in self.names():
            node = self.node(name)
            shown[name] = (node.inode, node.links)
            if node.album is not None:
                for inner in self.names(name):
                    inside = self.node(f"{name}/{inner}")
                    shown[f"{name}/{inner}"] = (inside.inode, inside.links)
        return shown

    def assert_same_as_imgur(self) -> None:
        """Compare what is shown with what the emulator has."""
        shown: dict[str, set[str]] = {}
        for path in self.everything():
            node = self.node(path)
            if node.album is not None:
                shown.setdefault(node.album.id, set())
                continue
            directory = path.rpartition("/")[0]
            place = self.album_id(directory) if directory else ""
            shown.setdefault(place, set()).add(self.image(path))
        there = {one.id: set(one.images) for one in self._own("albums")}
        inside = set().union(*there.values())
        alone = {one.id for one in self.images()} - inside
        if alone:
            there[""] = alone
        assert shown == there

    def album_id(self, path: str) -> AlbumId:
        """Return Imgur's id of an album."""
        node = self.node(path)
        assert node.album is not None
        return node.album.id


def kinds(d: Placed) -> list[str]:
    """Return the calls since the mark, without the ids in them."""
    short = []
    for call in d.calls():
        method, _, path = call.partition(" ")
        parts = path.split("/")
        if parts[-1] in ("add", "remove_images"):
            short.append(f"{method} {'add' if parts[-1] == 'add' else 'remove'}")
        elif path in ("image", "upload"):
            short.append(f"{method} upload")
        else:
            is_album = "album" in parts
            short.append(f"{method} {'album' if is_album else 'image'}")
    return short


@asynccontextmanager
async def placed(
    tmp_path: Path,
    mount: MountConfig | None = None,
    *,
    delete_grace_s: float = 600.0,
    **fields: Any,
) -> AsyncIterator[Placed]:
    """Open a drive over an emulated account without pictures."""
    settings, state_dir = mount or MountConfig(), tmp_path / "state"
    emulator = config(**{"albums": 0, "images": 0, **fields})
    async with connected(tmp_path, emulator) as there, trio.open_nursery() as nursery:
        db = open_state(state_dir / "state.db")
        executor, clock = InlineExecutor(), there.clock
        cache = ContentCache.open(
            tmp_path / "cache", size_bytes_max=1 << 24, executor=executor, clock=clock
        )
        fetcher = Fetcher(
            cache=cache,
            http=there.http,
            cdn_url=CDN_URL,
            cdn_hosts=CDN_HOSTS,
            clock=clock,
        )
        told: list[tuple[int, int]] = []
        writer = Writer.open(
            db=db,
            spool_dir=state_dir / "spool",
            fetcher=fetcher,
            clock=clock,
            executor=executor,
            mount=settings,
            delete_grace_s=delete_grace_s,
            on_changed=lambda first, last: told.append((first, last)),
        )
        refresher = Refresher(db=db, api=there.api, clock=clock)
        try:
            await writer.recover()
            await nursery.start(fetcher.run)
            await nursery.start(writer.run)
            drive = Placed(
                there,
                db,
                writer,
                refresher,
                state_dir,
                delete_grace_s,
                is_name_title=settings.rename == "title",
                told=told,
            )
            await drive.refresh()
            drive.mark()
            yield drive
        finally:
            nursery.cancel_scope.cancel()
            writer.close()
            cache.close()
            db.close()
