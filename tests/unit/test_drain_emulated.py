"""The drainer over the emulator itself, in virtual time: every call is a real one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from imgurfs.drain import Drainer
from imgurfs.emulator.trouble.faultrules import parse_rules
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import UploadPayload
from imgurfs.marker import DEVICE_ID_BYTES, make_marker, name_with_marker
from imgurfs.model import Lane
from imgurfs.store import membership, notices, outbox, synced
from imgurfs.store.database import Database
from imgurfs.store.membership import Place
from imgurfs.store.schema import STATE_SCHEMA
from tests.support.connected import Connected, config, connected
from tests.support.drainers import drainer_over
from tests.support.pictures import small_picture


@dataclass
class Rig:
    """A drainer over the emulator, and a folder."""

    there: Connected
    db: Database
    folder: synced.Folder
    root: Path
    state_dir: Path

    def drainer(self) -> Drainer:
        """Return a drainer as a newly started process would have it."""
        return drainer_over(self.there, self.db, self.state_dir, is_guarded=False)

    async def queue(self, path: str, content: bytes | None = None) -> None:
        """Write a picture and queue its upload."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(small_picture(path) if content is None else content)
        directory = path.rpartition("/")[0]
        payload = UploadPayload(
            folder=self.folder.id,
            path=path.encode(),
            directory=directory.encode() if directory else None,
            title=directory,
        )
        await self.db.write(
            lambda c: queueing.queue_upload(
                c, payload, lane=Lane.FRESH, now=self.there.clock.now()
            )
        )

    def albums(self) -> dict[str, list[str]]:
        """Return the account's albums by title, as the emulator has them."""
        return {a.title or "": list(a.images) for a in self._own("albums")}

    def images(self) -> list[Any]:
        """Return the account's images, as the emulator has them."""
        return self._own("images")

    def _own(self, what: str) -> list[Any]:
        emulator = self.there.emulator
        found = getattr(emulator.world, what).values()
        return [one for one in found if one.owner == emulator.credentials.username]

    async def run(self, seconds: float) -> None:
        """Let a new drainer work for some virtual time."""
        with trio.move_on_after(seconds):
            await self.drainer().run()


@asynccontextmanager
async def rig(tmp_path: Path, **fields: Any) -> AsyncIterator[Rig]:
    """Open a rig over an emulated account without pictures."""
    root, state_dir = tmp_path / "folder", tmp_path / "state"
    root.mkdir()
    emulator = config(albums=0, images=0, **fields)
    async with connected(tmp_path, emulator) as there:
        db = Database.open(
            state_dir / "state.db",
            schema=STATE_SCHEMA,
            executor=InlineExecutor(),
            lane=ThreadLane.WRITER,
        )
        found = root.stat()
        folder = db.write_blocking(
            lambda c: synced.bind_folder(
                c, bytes(root), device=found.st_dev, inode=found.st_ino
            )
        )
        try:
            yield Rig(there, db, folder, root, state_dir)
        finally:
            db.close()


async def test_a_backlog_goes_up_once_into_its_albums(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Forty pictures in four albums: one POST each, one for each album, all seen."""
    async with rig(tmp_path) as r:
        for n in range(40):
            await r.queue(f"trip {n % 4}/{n}.gif")
        await r.drainer().run_until_idle()
        assert sorted(len(ids) for ids in r.albums().values()) == [10] * 4
        assert r.there.sent("POST", "/3/") == 44
        rows = [
            one
            for album in r.there.emulator.world.albums
            for one in membership.of_album(r.db.reader, album)  # type: ignore[arg-type]
        ]
        assert len(rows) == 40
        assert all(one.state is Place.THERE and one.is_seen for one in rows)
        assert outbox.unfinished(r.db.reader) == []
        assert notices.everything(r.db.reader) == {}


UPLOADS = {"method": "POST", "path": "^/3/(image|upload|album)$", "probability": 0.4}
FAULTS = {
    "reply lost": {"action": "reset_after", **UPLOADS},
    "refused though done": {"action": "status_after", "status": 502, **UPLOADS},
    "connection cut": {"action": "reset_before", **UPLOADS},
    "done later": {
        "action": "late_commit",
        "host": "api",
        "commit_after_s": 90.0,
        **UPLOADS,
    },
    "listings lag": {"action": "lag", "host": "api", "lag_s": 2.0},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_lost_and_late_answers_make_no_twin(
    tmp_path: Path, autojump_clock: MockClock, fault: str
) -> None:
    """S10, S11: whatever happens to the answers, each picture and album exists
    once.
    """
    async with rig(tmp_path) as r:
        r.there.emulator.faults.replace(parse_rules([FAULTS[fault]], source=fault))
        for n in range(20):
            await r.queue(f"trip {n % 2}/{n}.gif")
        await r.run(6 * 3600)
        assert len(r.images()) == 20
        assert sorted(len(ids) for ids in r.albums().values()) == [10, 10]
        assert outbox.unfinished(r.db.reader) == []


async def test_a_second_machine_adopts_everything(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S13: the same pictures on another machine, or after a lost state, are not
    sent.
    """
    async with rig(tmp_path) as r:
        for n in range(10):
            await r.queue(f"trip/{n}.gif")
        await r.run(60)
        posts = r.there.sent("POST", "/3/")
        other = Rig(
            there=r.there,
            db=Database.open(
                tmp_path / "other" / "state.db",
                schema=STATE_SCHEMA,
                executor=InlineExecutor(),
                lane=ThreadLane.WRITER,
            ),
            folder=r.folder,
            root=r.root,
            state_dir=tmp_path / "other",
        )
        found = r.root.stat()
        other.db.write_blocking(
            lambda c: synced.bind_folder(
                c, bytes(r.root), device=found.st_dev, inode=found.st_ino
            )
        )
        for n in range(10):
            await other.queue(f"trip/{n}.gif")
        await other.run(60)
        assert r.there.sent("POST", "/3/") == posts
        assert len(synced.files(other.db.reader, r.folder.id)) == 10
        assert outbox.unfinished(other.db.reader) == []
        other.db.close()


@pytest.mark.parametrize("is_count_told", [True, False])
async def test_what_another_machine_sent_meanwhile_is_not_sent(
    tmp_path: Path, autojump_clock: MockClock, is_count_told: bool
) -> None:
    """S13: before an upload the account is asked for what is new in it, even if it
    does not tell how many images there are.
    """
    async with rig(tmp_path) as r:
        await r.queue("first.png")
        await r.run(60)
        other = r.root / "other.png"
        other.write_bytes(small_picture("theirs"))
        marker = make_marker(
            hashlib.blake2b(small_picture("theirs"), digest_size=32).digest(),
            b"o" * DEVICE_ID_BYTES,
        )
        await r.there.api.upload(
            other,
            size_bytes=other.stat().st_size,
            name=name_with_marker("other.png", marker),
            album=None,
            lane=Lane.FRESH,
        )
        if not is_count_told:
            rule = {"action": "status", "host": "api", "path": "images/count$"}
            r.there.emulator.faults.replace(parse_rules([rule], source="count"))
        await trio.sleep(3600)
        await r.queue("mine.png", small_picture("theirs"))
        await r.run(60)
        assert len(r.images()) == 2
        assert outbox.unfinished(r.db.reader) == []
