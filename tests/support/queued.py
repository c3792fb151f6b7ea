"""A state.db with jobs in it, for tests of what people decide about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import (
    CreateAlbumPayload,
    DeleteImagePayload,
    UploadPayload,
)
from imgurfs.model import ImageId, JobId, Lane
from imgurfs.store import outbox, synced
from imgurfs.store.database import Database
from imgurfs.store.outbox import Job
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import FolderId, SyncedFile

NOW_S = 1_800_000_000.0


@dataclass
class Queue:
    """One watched folder with real files, and the outbox."""

    db: Database
    root: Path
    folder: FolderId

    def write_file(self, path: str, content: bytes = b"GIF89a") -> Path:
        """Put a file into the folder."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def upload(
        self, path: str, *, size_bytes: int = 1000, directory: str = ""
    ) -> JobId:
        """Queue the upload of a file, into the album of a directory or none."""
        slot = directory.encode() or None
        payload = UploadPayload(self.folder, path.encode(), slot, directory)
        job_id = self.db.write_blocking(
            lambda c: queueing.queue_upload(
                c, payload, lane=Lane.BULK, now=NOW_S, size_bytes=size_bytes
            )
        )
        assert job_id is not None
        return job_id

    def create(self, title: str, image: str) -> JobId:
        """Queue the creation of an album."""
        payload = CreateAlbumPayload(
            self.folder, title.encode(), title, (ImageId(image),)
        )
        job_id = self.db.write_blocking(
            lambda c: queueing.queue_create_album(c, payload, now=NOW_S)
        )
        assert job_id is not None
        return job_id

    def synced_file(self, path: str, image: str) -> None:
        """Record that a file is an image."""
        found = (self.root / path).stat() if (self.root / path).exists() else None
        record = SyncedFile(
            path=path.encode(),
            device=found.st_dev if found else 1,
            inode=found.st_ino if found else 1,
            size_bytes=found.st_size if found else 1,
            mtime_ns=found.st_mtime_ns if found else 1,
            digest=path.encode(),
            image_id=ImageId(image),
        )
        self.db.write_blocking(lambda c: synced.put_file(c, self.folder, record))

    def delete(self, path: str, image: str, *, grace_s: float = 600.0) -> JobId:
        """Record that a file was an image, and queue the image's deletion."""
        self.synced_file(path, image)
        payload = DeleteImagePayload(self.folder, ImageId(image))
        job_id = self.db.write_blocking(
            lambda c: queueing.queue_delete(c, payload, now=NOW_S, grace_s=grace_s)
        )
        assert job_id is not None
        return job_id

    def send(self, job_id: JobId, marker: str = "") -> None:
        """Let a job be in the air."""
        self.db.write_blocking(
            lambda c: outbox.claim(c, job_id, now=NOW_S, marker=marker)
        )

    def lose(
        self, job_id: JobId, *, look_at: float = NOW_S + 120, mark: str = ""
    ) -> None:
        """Let nobody know whether a job happened."""
        self.send(job_id, mark)
        self.db.write_blocking(
            lambda c: outbox.mark_unknown(
                c, job_id, error="connection lost", look_at=look_at
            )
        )

    def reject(self, job_id: JobId, error: str = "Imgur does not like it") -> None:
        """Let Imgur reject a job."""
        self.send(job_id)
        self.db.write_blocking(lambda c: outbox.bury(c, job_id, now=NOW_S, error=error))

    def fail(self, job_id: JobId, *, until: float, error: str) -> None:
        """Let a job wait for another attempt."""
        self.send(job_id)
        self.db.write_blocking(
            lambda c: outbox.requeue(
                c, job_id, not_before=until, error=error, is_counted=True
            )
        )

    def hold(self, job_id: JobId) -> None:
        """Let the guard hold a deletion."""
        self.db.write_blocking(lambda c: outbox.set_guard(c, job_id, "held"))

    def job(self, job_id: JobId) -> Job:
        """Return a job."""
        found = outbox.job(self.db.reader, job_id)
        assert found is not None
        return found

    def state(self, job_id: JobId) -> str:
        """Return a job's state."""
        return self.job(job_id).state.value

    def paths(self) -> set[bytes]:
        """Return the files that are recorded to be images."""
        return set(synced.files(self.db.reader, self.folder))


@contextmanager
def queue_at(state_db: Path, root: Path) -> Iterator[Queue]:
    """Open a state.db with one watched folder at ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    db = Database.open(
        state_db,
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
        yield Queue(db, root, folder.id)
    finally:
        db.close()
