"""The tree over the real client and the emulator: what Imgur has is what is shown."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgurfs.emulator.config import Dialect
from imgurfs.emulator.trouble.faults import Action, FaultRule
from imgurfs.emulator.world.world import World
from imgurfs.errors import ImgurfsError
from imgurfs.model import ROOT_INODE, AlbumId, ImageId, Lane
from imgurfs.store import entries
from imgurfs.store.database import Database
from imgurfs.tree.refresh import Refresher
from imgurfs.tree.view import View
from tests.support.account import open_state
from tests.support.connected import Connected, config, connected

HOSTILE = ("../../etc/passwd", "two\nlines\x00", "\u202egpj.exe", "@all", "x" * 5000)


@dataclass(frozen=True)
class Side:
    """A view, its refresher, and the emulator's world on the other side."""

    connected: Connected
    db: Database
    refresher: Refresher
    view: View

    @property
    def world(self) -> World:
        """What Imgur has."""
        return self.connected.emulator.world

    async def assert_shows_the_account(self) -> None:
        """Compare every directory with the world."""
        account = self.world.accounts["sample"]
        inside: set[str] = set()
        for album_id in account.albums:
            node = entries.node_of_album(self.db.reader, AlbumId(album_id))
            assert node is not None
            shown = await self.view.list(node.inode)
            expected = self.world.albums[album_id].images
            assert {e.node.image.id for e in shown if e.node.image} == set(expected)
            inside |= set(expected)
        root = await self.view.list(ROOT_INODE)
        albums = {e.node.album.id for e in root if e.node.album}
        images = {e.node.image.id for e in root if e.node.image}
        assert albums == set(account.albums)
        assert images == set(account.images) - inside
        for entry in root:
            assert await self.view.lookup(ROOT_INODE, entry.name) == entry
        assert self.view.totals().images == len(set(account.images) | inside)


@contextlib.asynccontextmanager
async def _side(tmp_path: Path, **fields: object) -> AsyncIterator[Side]:
    async with connected(tmp_path, config(**fields)) as made:
        db = open_state(tmp_path / "state.db")
        refresher = Refresher(db=db, api=made.api, clock=made.clock)
        view = View(db=db, refresher=refresher, clock=made.clock)
        try:
            yield Side(made, db, refresher, view)
        finally:
            db.close()


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_the_sample_account_is_shown_whole(
    tmp_path: Path, autojump_clock: object, dialect: Dialect
) -> None:
    """Every album, every membership, every image that is in none; then no calls."""
    async with _side(tmp_path, dialect=dialect) as side:
        await side.refresher.refresh_all(Lane.REFRESH)
        sent = len(side.connected.transport.requests)
        await side.assert_shows_the_account()
        assert len(side.connected.transport.requests) == sent


async def test_a_large_account_is_paged(tmp_path: Path, autojump_clock: object) -> None:
    """More images and albums than fit a page."""
    async with _side(tmp_path, albums=120, images=450) as side:
        await side.refresher.refresh_all(Lane.INTERACTIVE)
        await side.assert_shows_the_account()


async def test_what_changes_on_imgur_is_shown_after_a_refresh(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Images and albums deleted, added and renamed by somebody else."""
    async with _side(tmp_path) as side:
        await side.refresher.refresh_all(Lane.REFRESH)
        world, now = side.world, int(side.connected.clock.now())
        own = world.accounts["sample"]
        world.remove_image(world.images[next(iter(own.images))])
        first, second, *_ = own.albums
        world.remove_album(world.albums[first])
        world.albums[second].title = "another title"
        world.albums[second].images.popitem()
        world.add_album(
            owner="sample", now=now, title="new", images=list(own.images)[:2]
        )
        await side.refresher.refresh_all(Lane.REFRESH)
        await side.assert_shows_the_account()
        renamed = await side.view.lookup(ROOT_INODE, "another title")
        assert renamed.node.album is not None
        assert renamed.node.album.id == second


async def test_hostile_titles_become_harmless_names(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Path traversal, control characters, overrides, and titles without end."""
    async with _side(tmp_path) as side:
        for title in HOSTILE * 2:
            side.world.add_album(owner="sample", now=1, title=title)
        await side.refresher.refresh_all(Lane.REFRESH)
        await side.assert_shows_the_account()
        names = [entry.name for entry in await side.view.list(ROOT_INODE)]
        assert len(set(names)) == len(names)
        for name in names:
            assert not set(name) & set("/\n\x00\u202e")
            assert len(name.encode()) <= 255
            assert not name.startswith("@")


@pytest.mark.parametrize("action", [Action.HTML, Action.TRUNCATE, Action.HANG])
async def test_no_fault_of_imgur_s_removes_anything(
    tmp_path: Path, autojump_clock: object, action: Action
) -> None:
    """HTML, cut bodies, silence, on the second request: an error, and all is kept."""
    async with _side(tmp_path) as side:
        await side.refresher.refresh_all(Lane.REFRESH)
        images = dict(entries.image_inodes(side.db.reader))
        gone = ImageId(next(iter(side.world.accounts["sample"].images)))
        side.world.remove_image(side.world.images[gone])
        rule = FaultRule(action=action, host="api", after=1, count=1)
        side.connected.emulator.faults.replace((rule,))
        with pytest.raises(ImgurfsError):
            await side.refresher.refresh_images(Lane.REFRESH)
        assert entries.image_inodes(side.db.reader) == images
        await side.refresher.refresh_all(Lane.REFRESH)
        assert gone not in entries.image_inodes(side.db.reader)
        await side.assert_shows_the_account()
