"""One folder as the daemon follows it, measured from inside; for ``bench.scale``."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from imgurfs.clock import SystemClock
from imgurfs.executor import ThreadExecutor, ThreadLane
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import UploadPayload
from imgurfs.model import ImageId
from imgurfs.store import outbox, outbox_reads, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import SyncedFile
from imgurfs_daemon.filters import Filters
from imgurfs_daemon.folder import FolderSync
from imgurfs_daemon.planner import Policy

_SLICE = 5_000
_TICK_S = 0.001


class _Albums:
    """An album list that nobody has read."""

    is_known = False


@dataclass
class Measured:
    """The folder, and what was measured so far, in s and MB."""

    folder: FolderSync
    db: Database
    nursery: trio.Nursery
    uploads: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def opened(cls, place: Path) -> AsyncIterator[Measured]:
        """Open a new state for the folder in a place."""
        executor = ThreadExecutor()
        db = Database.open(
            place / "state.db",
            schema=STATE_SCHEMA,
            executor=executor,
            lane=ThreadLane.WRITER,
        )
        folder = FolderSync(
            path=bytes(place / "folder"),
            policy=Policy(),
            filters=Filters(),
            db=db,
            albums=_Albums(),
            clock=SystemClock(),
            executor=executor,
        )
        async with trio.open_nursery() as nursery:
            try:
                yield cls(folder, db, nursery)
            finally:
                nursery.cancel_scope.cancel()
        db.close()

    async def first_look(self) -> None:
        """Read, plan and queue everything, as the daemon does when it starts."""
        self.figures["before anything, memory"] = _peak_mb()
        began_s = time.perf_counter()
        await self.nursery.start(self.folder.run)
        self._note("everything scanned and watched", began_s)
        await self._until_resting()
        self._note("first look, everything queued", began_s)

    async def look_while_all_wait(self) -> None:
        """Read everything again while all of it is in the queue."""
        await self._look_again("rescan while everything waits")

    async def look_when_all_is_done(self) -> None:
        """Read everything again when nothing is to be done."""
        await self._look_again("rescan when everything is done")

    async def look_at_one_directory(self) -> None:
        """Read what one event says."""
        await self._look_again("look at one directory", directory=b"07/00007")

    async def pretend_that_all_was_sent(self) -> None:
        """Settle every upload without sending it."""
        jobs = outbox.statistics(self.db.reader).queued
        self.uploads = jobs
        while await self.db.write(_settle_some):
            await trio.lowlevel.checkpoint()
        gc.collect()

    async def idle(self, seconds: float) -> None:
        """Let nothing happen."""
        gc.collect()
        _forget_peak()
        began_s = time.process_time()
        await trio.sleep(seconds)
        self.figures["idle, processor time"] = time.process_time() - began_s
        self.figures["idle, memory"] = _peak_mb()

    async def _look_again(self, name: str, *, directory: bytes | None = None) -> None:
        _forget_peak()
        looks = self.folder.statistics()["looks"]
        if directory is None:
            self.folder.mark_all()
        else:
            self.folder.mark_dirty(directory)
        while True:
            if self.folder.statistics()["looks"] > looks:
                break
            await trio.sleep(_TICK_S)
        began_s = time.perf_counter()
        silence_s = await self._until_resting()
        self._note(name, began_s)
        self.figures[f"{name}, longest silence of the loop"] = silence_s

    async def _until_resting(self) -> float:
        """Wait until no look is under way; return the longest silence of the loop."""
        silence_s = 0.0
        while not self.folder.is_resting:
            tick_s = time.perf_counter()
            await trio.sleep(_TICK_S)
            silence_s = max(silence_s, time.perf_counter() - tick_s)
        return silence_s

    def _note(self, name: str, began_s: float) -> None:
        self.figures[name] = time.perf_counter() - began_s
        self.figures[f"{name}, peak memory"] = _peak_mb()


def _settle_some(c: Connection) -> bool:
    """Do what an upload's success would do, for a slice of them."""
    rows = c.execute(
        "SELECT id FROM job WHERE state = 'queued' LIMIT ?", (_SLICE,)
    ).fetchall()
    for row in rows:
        job = outbox_reads.job(c, row["id"])
        assert job is not None
        payload = queueing.decode(job, UploadPayload)
        folder = synced.folder(c, payload.folder)
        assert folder is not None
        found = Path((folder.path + b"/" + payload.path).decode()).lstat()
        record = SyncedFile(
            path=payload.path,
            device=found.st_dev,
            inode=found.st_ino,
            size_bytes=found.st_size,
            mtime_ns=found.st_mtime_ns,
            digest=b"%032d" % job.id,
            image_id=ImageId(f"i{job.id:06}"),
            directory=payload.directory,
        )
        synced.put_file(c, payload.folder, record)
        c.execute("UPDATE job SET state = 'done' WHERE id = ?", (job.id,))
    return bool(rows)


def _peak_mb() -> float:
    """Return the most memory this process had since it was last forgotten."""
    status = Path("/proc/self/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024 / 1e6


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
