"""A state.db with a drive in it, as rows: for tests of commands that only read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DRIVE, CreateAlbumPayload, DeleteImagePayload
from imgurfs.model import ROOT_INODE, Album, AlbumId, Image, ImageId, Inode, JobId, Lane
from imgurfs.store import drafts, edits
from imgurfs.store.database import Connection, Database
from imgurfs.store.drafts import Draft, DraftState
from tests.support.queued import NOW_S


@dataclass
class DriveRows:
    """Albums, images and drafts; each method is one transaction."""

    db: Database
    spool_dir: Path

    def album(self, title: str, album_id: str = "") -> Inode:
        """Have an album; one that Imgur does not know waits to be created."""

        def make(c: Connection) -> Inode:
            inode = edits.make_album(c, title, now=NOW_S)
            edits.add_entry(c, ROOT_INODE, inode, title)
            if album_id:
                link = f"https://imgur.com/a/{album_id}"
                album = Album(AlbumId(album_id), title, int(NOW_S), link=link)
                edits.assign_album(c, inode, album, now=NOW_S)
            else:
                slot = str(inode).encode()
                payload = CreateAlbumPayload(DRIVE, slot, title, (), inode=inode)
                queueing.queue_create_album(c, payload, now=NOW_S)
            return inode

        return self.db.write_blocking(make)

    def image(self, name: str, image_id: str, parent: Inode = ROOT_INODE) -> Inode:
        """Have an image that is on Imgur."""

        def make(c: Connection) -> Inode:
            inode = edits.make_file(c, now=NOW_S)
            edits.add_entry(c, parent, inode, name)
            image = Image(
                ImageId(image_id),
                "image/gif",
                f"https://i.imgur.com/{image_id}.gif",
                1234,
                int(NOW_S),
            )
            edits.assign_image(c, inode, image, now=NOW_S)
            return inode

        return self.db.write_blocking(make)

    def draft(
        self,
        name: str,
        state: DraftState,
        parent: Inode = ROOT_INODE,
        *,
        error: str = "",
        changed_at: float = NOW_S,
        number: int = 0,
    ) -> Inode:
        """Have a file with ten bytes in the spool; one that waits has its job.

        ``number`` is the inode number it has to have, 0 for any.
        """

        def make(c: Connection) -> Inode:
            inode = edits.make_file(c, now=NOW_S)
            if number:
                c.execute("PRAGMA defer_foreign_keys = ON")
                for table in ("node", "image"):
                    c.execute(
                        f"UPDATE {table} SET inode = ? WHERE inode = ?",
                        (number, inode),
                    )
                inode = Inode(number)
            edits.add_entry(c, parent, inode, name)
            draft = Draft(inode, 1, state, 10, changed_at, error=error)
            drafts.put(c, draft)
            if state is DraftState.WAITING:
                queueing.queue_drive_upload(
                    c, draft, lane=Lane.FRESH, size_bytes=10, not_before=0.0, now=NOW_S
                )
            return inode

        inode = self.db.write_blocking(make)
        self.spool_dir.mkdir(exist_ok=True)
        (self.spool_dir / f"{inode}.1").write_bytes(b"x" * 10)
        return inode

    def remove(self, name: str, inode: Inode, image_id: str) -> JobId:
        """Remove the last name of an image; its deletion waits."""

        def remove(c: Connection) -> JobId | None:
            edits.drop_entry(c, ROOT_INODE, inode)
            edits.hide_image(c, inode)
            payload = DeleteImagePayload(
                DRIVE, ImageId(image_id), places=((ROOT_INODE, name),)
            )
            return queueing.queue_delete(c, payload, now=NOW_S, grace_s=600.0)

        job_id = self.db.write_blocking(remove)
        assert job_id is not None
        return job_id
