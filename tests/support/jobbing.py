"""A drainer over a fake Imgur, a budget, a database and real files."""

# ruff: noqa: ARG002 - fakes have the signatures of what they stand for

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from imgurfs.budget import DEFAULT_LIMITS, Grant, LedgerState, Wait, Window
from imgurfs.clock import TrioClock
from imgurfs.drain import Drainer
from imgurfs.errors import (
    BudgetError,
    ImgurfsError,
    NotFoundError,
)
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.jobs.steps import Tools
from imgurfs.jobs.work import Worker
from imgurfs.locks import FileLock
from imgurfs.marker import DEVICE_ID_BYTES
from imgurfs.model import (
    Album,
    AlbumId,
    Image,
    ImageId,
    Lane,
    RateHeaders,
    RequestClass,
)
from imgurfs.store import entries, synced
from imgurfs.store.database import Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import Folder, FolderId
from tests.support.fakeimgur import EPOCH_S, FakeImgur

__all__ = ["EPOCH_S", "Bench", "FakeImgur", "bench", "drain_for", "picture"]

GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00"


def picture(text: str) -> bytes:
    """Return bytes that are a picture by their beginning, different for each text."""
    return GIF + text.encode()


class FakeLedger:
    """Implements ``budget.Ledger``: ``left`` requests, then none until ``reset_at``."""

    def __init__(self, clock: TrioClock) -> None:
        self.clock = clock
        self.left = 10_000
        self.reset_at = EPOCH_S + 3600.0
        self.granted = 0
        self.released = 0

    async def reserve(self, request: RequestClass) -> Grant:
        """Grant while something is left."""
        if self.peek(request) is not None:
            raise BudgetError("no credits left", retry_at=self.reset_at)
        self.left -= 1
        self.granted += 1
        return Grant(self.granted, request)

    async def record(self, grant: Grant, headers: RateHeaders | None) -> None:
        """Nothing to learn."""

    async def release(self, grant: Grant) -> None:
        """Count what came back."""
        self.released += 1
        self.left += 1

    async def throttled(self, grant: Grant, *, scope: str, until: float) -> None:
        """Nobody asks."""

    def peek(self, request: RequestClass) -> Wait | None:
        """Wait when nothing is left and the window has not ended."""
        if self.left > 0 or self.clock.now() >= self.reset_at:
            self.left = max(self.left, 1)
            return None
        return Wait(self.reset_at, "no credits left")

    def state(self) -> LedgerState:
        """Return full windows."""
        return LedgerState({s: Window(n, n) for s, n in DEFAULT_LIMITS.items()})


class FakeAccount:
    """Implements ``jobs.steps.Account`` over a FakeImgur."""

    def __init__(self, imgur: FakeImgur, db: Database) -> None:
        self.imgur = imgur
        self.db = db
        self.is_known = True
        self.failures: list[ImgurfsError] = []
        self.looks = 0

    async def ensure_albums(self) -> None:
        """Be fresh, or fail as told."""
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)

    async def ensure_current(self) -> None:
        """Be fresh, or fail as told."""
        await self.ensure_albums()

    async def ensure_images(self) -> None:
        """Be fresh."""
        await trio.lowlevel.checkpoint()

    async def albums_now(self) -> None:
        """Put the albums into the store, or fail as told."""
        await self.ensure_albums()
        albums = [
            Album(i, self.imgur.titles.get(i, ""), int(EPOCH_S))
            for i in self.imgur.albums
        ]
        await self.db.write(lambda c: entries.put_albums(c, albums, now=0.0))

    async def list_album(self, album_id: AlbumId) -> list[ImageId]:
        """Return what an album holds."""
        await trio.lowlevel.checkpoint()
        if album_id not in self.imgur.albums:
            raise NotFoundError(f"no album {album_id}")
        return list(self.imgur.albums[album_id])

    async def images_in(self, album_id: AlbumId) -> list[ImageId]:
        """Return what an album holds."""
        return await self.list_album(album_id)

    async def has_image(self, image_id: ImageId) -> bool:
        """Return whether the image is there."""
        await trio.lowlevel.checkpoint()
        return image_id in self.imgur.images

    async def newest(self, *, since: float) -> list[Image]:
        """Return the images that are not older."""
        self.looks += 1
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        images = reversed(self.imgur.images.values())
        return [image for image in images if image.datetime_s >= since]


@dataclass
class Bench:
    """A drainer with everything around it, over a real database and real files."""

    db: Database
    imgur: FakeImgur
    ledger: FakeLedger
    albums: FakeAccount
    clock: TrioClock
    folder: Folder
    root: Path
    state_dir: Path
    is_guarded: bool = False

    def drainer(self) -> Drainer:
        """Return a drainer as a newly started process would have it."""
        return Drainer(
            db=self.db,
            api=self.imgur,
            ledger=self.ledger,
            account=self.albums,
            clock=self.clock,
            executor=InlineExecutor(),
            device_id=b"d" * DEVICE_ID_BYTES,
            lock=FileLock(self.state_dir / "drain.lock"),
            spool_dir=self.state_dir / "spool",
            is_guarded=self.is_guarded,
            rng=random.Random(1),
        )

    def worker(self) -> Worker:
        """Return what a drainer asks what to do for a job, between two of its steps."""
        return Worker(
            Tools(
                db=self.db,
                api=self.imgur,
                account=self.albums,
                clock=self.clock,
                executor=InlineExecutor(),
                device_id=b"d" * DEVICE_ID_BYTES,
                spool_dir=self.state_dir / "spool",
            )
        )

    def write_file(self, path: str, content: bytes | None = None) -> Path:
        """Put a picture into the folder."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(path) if content is None else content)
        return file

    async def queue(self, path: str, **options: object) -> None:
        """Queue the upload of a file; its directory stands for an album."""
        directory = path.rpartition("/")[0]
        payload = UploadPayload(
            folder=FolderId(self.folder.id),
            path=path.encode(),
            directory=directory.encode() if directory else None,
            title=directory,
            **options,  # type: ignore[arg-type]
        )
        await self.db.write(
            lambda c: queueing.queue_upload(
                c, payload, lane=Lane.FRESH, now=self.clock.now()
            )
        )

    async def delete_of(self, path: str, *, grace_s: float = 0) -> ImageId:
        """Upload a file and queue the delete of its image."""
        self.write_file(path)
        await self.queue(path)
        await self.drainer().run_until_idle()
        known = synced.file(self.db.reader, self.folder.id, path.encode())
        assert known is not None
        payload = DeleteImagePayload(self.folder.id, known.image_id)
        await self.db.write(
            lambda c: queueing.queue_delete(
                c, payload, now=self.clock.now(), grace_s=grace_s
            )
        )
        return known.image_id

    def states(self) -> dict[str, str]:
        """Return every job's state by what it is about."""
        rows = self.db.reader.execute("SELECT id, kind, state FROM job ORDER BY id")
        return {f"{row['kind']} {row['id']}": row["state"] for row in rows}


async def drain_for(b: Bench, seconds: float) -> None:
    """Let a newly started drainer work for some virtual time."""
    with trio.move_on_after(seconds):
        await b.drainer().run()


@asynccontextmanager
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Open a bench in a temporary directory."""
    root = tmp_path / "folder"
    root.mkdir()
    state_dir = tmp_path / "state"
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
    clock = TrioClock(EPOCH_S)
    imgur = FakeImgur(now=clock.now)
    try:
        yield Bench(
            db=db,
            imgur=imgur,
            ledger=FakeLedger(clock),
            albums=FakeAccount(imgur, db),
            clock=clock,
            folder=folder,
            root=root,
            state_dir=state_dir,
        )
    finally:
        db.close()
