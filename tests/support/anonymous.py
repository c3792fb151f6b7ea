"""A machine without an account, over the emulator in this process, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from imgurfs.api.anonymous import AnonymousClient
from imgurfs.api.register import Register
from imgurfs.api.tokens import Token
from imgurfs.assembly import unregistered
from imgurfs.emulator.trouble.faultrules import parse_rules
from imgurfs.executor import InlineExecutor
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DeleteImagePayload, UploadPayload
from imgurfs.model import ANONYMOUS, Lane
from imgurfs.store import meta, outbox, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.outbox import Job, JobState
from tests.support.account import open_state
from tests.support.connected import API_URL, Connected, config, connected
from tests.support.drainers import drainer_over
from tests.support.pictures import small_picture


@dataclass
class Nobody:
    """A machine without an account, and a folder that is watched."""

    there: Connected
    db: Database
    directory: Path
    root: Path
    folder: synced.FolderId

    @property
    def register(self) -> Path:
        """The file with the deletehashes."""
        return self.directory / "private" / "anonymous.jsonl"

    async def queue(self, path: str, content: bytes | None = None) -> None:
        """Write a picture and queue its upload."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(small_picture(path) if content is None else content)
        await self.queue_again(path)

    async def queue_again(self, path: str) -> None:
        """Queue the upload of a file that is there."""
        directory = path.rpartition("/")[0]
        payload = UploadPayload(
            folder=self.folder,
            path=path.encode(),
            directory=directory.encode() if directory else None,
            title=directory,
        )
        now = self.there.clock.now()
        await self.db.write(
            lambda c: queueing.queue_upload(c, payload, lane=Lane.FRESH, now=now)
        )

    async def drain(self, seconds: float | None = None) -> None:
        """Send as a newly started program would; until idle, or for so long."""
        drainer = drainer_over(self.there, self.db, self.directory, is_guarded=False)
        if seconds is None:
            await drainer.run_until_idle()
            return
        with trio.move_on_after(seconds):
            await drainer.run()

    async def delete(self, *paths: str) -> None:
        """Remove files that are images, and queue the deletion of these."""
        for path in paths:
            (self.root / path).unlink()
            file = synced.file(self.db.reader, self.folder, path.encode())
            assert file is not None
            payload = DeleteImagePayload(self.folder, file.image_id)
            await self.db.write(partial(self._queue_deletion, payload))

    def _queue_deletion(self, payload: DeleteImagePayload, c: Connection) -> None:
        queueing.queue_delete(c, payload, now=self.there.clock.now(), grace_s=0)

    def fail(self, **rule: object) -> None:
        """Let Imgur do this with uploads from now on; nothing in particular: serve."""
        rules = [{"method": "POST", "path": "/3/upload", **rule}] if rule else []
        self.there.emulator.faults.replace(parse_rules(rules, source="test"))

    def jobs(self, state: JobState) -> list[Job]:
        """Return the jobs in a state."""
        rows = self.db.reader.execute(
            "SELECT id FROM job WHERE state = ? ORDER BY id", (state.value,)
        )
        found = [outbox.job(self.db.reader, row[0]) for row in rows]
        return [job for job in found if job is not None]

    def albums(self) -> dict[str, list[str]]:
        """Return Imgur's anonymous albums by title."""
        world = self.there.emulator.world
        return {
            a.title or "": list(a.images) for a in world.albums.values() if not a.owner
        }

    def images(self) -> list[Any]:
        """Return Imgur's anonymous images."""
        world = self.there.emulator.world
        return [image for image in world.images.values() if not image.owner]

    def secrets(self) -> set[str]:
        """Return all deletehashes that Imgur has given to nobody in particular."""
        world = self.there.emulator.world
        albums = [a.deletehash for a in world.albums.values() if not a.owner]
        return {*albums, *(image.deletehash for image in self.images())}


@asynccontextmanager
async def nobody(directory: Path, **fields: Any) -> AsyncIterator[Nobody]:
    """Open a machine without an account over an Imgur that nobody uses."""
    emulator = config(albums=0, images=0, **fields)
    async with connected(directory, emulator) as there:
        client_id = there.emulator.credentials.client_id
        there.store.save(Token("", "", client_id, "", ANONYMOUS.id, ANONYMOUS.url, 0))
        async with another(directory, there) as found:
            yield found


@asynccontextmanager
async def another(directory: Path, there: Connected) -> AsyncIterator[Nobody]:
    """Open the state in ``directory`` as a newly started program does."""
    root, private = directory / "folder", directory / "private"
    root.mkdir(exist_ok=True)
    private.mkdir(exist_ok=True)
    db = open_state(directory / "state.db")
    register = Register(private / "anonymous.jsonl")
    register.reload()
    register.put(*unregistered(db.reader, register))
    api = AnonymousClient(
        register=register,
        http=there.http,
        api_url=API_URL,
        auth=there.auth,
        clock=there.clock,
        executor=InlineExecutor(),
    )
    found = root.stat()

    def bind(c: Any) -> synced.FolderId:
        meta.bind_account(c, ANONYMOUS)
        device, inode = found.st_dev, found.st_ino
        return synced.bind_folder(c, bytes(root), device=device, inode=inode).id

    try:
        folder = db.write_blocking(bind)
        yield Nobody(replace(there, api=api), db, directory, root, folder)
    finally:
        db.close()
