"""The merge base: folders, albums, files and what is skipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.model import AlbumId, ImageId
from imgurfs.store import synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import SkippedFile, SyncedDirectory, SyncedFile

FILE = SyncedFile(
    path=b"a\xff/b.gif",
    device=1,
    inode=2,
    size_bytes=3,
    mtime_ns=4,
    digest=b"digest",
    image_id=ImageId("one"),
)


def database(tmp_path: Path) -> Database:
    """Return an empty state database."""
    return Database.open(
        tmp_path / "state.db",
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )


def test_folder_stays_bound(tmp_path: Path) -> None:
    """A folder keeps the identity it had when it was first seen."""
    db = database(tmp_path)

    def check(c: Connection) -> None:
        first = synced.bind_folder(c, b"/f", device=1, inode=2)
        assert synced.bind_folder(c, b"/f", device=9, inode=9) == first
        assert (first.device, first.inode) == (1, 2)
        assert synced.folder(c, first.id) == first
        assert synced.folder_at(c, b"/other") is None

    db.write_blocking(check)
    db.close()


def test_files_are_forgotten_by_image(tmp_path: Path) -> None:
    """A file is forgotten only while it is the image that went."""
    db = database(tmp_path)

    def check(c: Connection) -> None:
        folder = synced.bind_folder(c, b"/f", device=1, inode=2).id
        other = synced.bind_folder(c, b"/g", device=1, inode=3).id
        synced.put_file(c, folder, FILE)
        synced.put_file(c, other, FILE)
        assert synced.paths_of(c, ImageId("one")) == [
            (folder, FILE.path),
            (other, FILE.path),
        ]
        newer = replace(FILE, image_id=ImageId("two"))
        synced.put_file(c, folder, newer)
        synced.forget_file(c, folder, FILE.path, ImageId("one"))
        assert synced.files(c, folder) == {FILE.path: newer}
        synced.forget_file(c, folder, FILE.path, ImageId("two"))
        assert synced.file(c, folder, FILE.path) is None

    db.write_blocking(check)
    db.close()


def test_upload_ends_a_skip(tmp_path: Path) -> None:
    """A file that became an image is not skipped any more."""
    db = database(tmp_path)

    def check(c: Connection) -> None:
        folder = synced.bind_folder(c, b"/f", device=1, inode=2).id
        skip = SkippedFile(FILE.path, 3, 4, "too large")
        synced.put_skipped(c, folder, skip)
        assert synced.skipped(c, folder) == {FILE.path: skip}
        synced.put_file(c, folder, FILE)
        assert synced.skipped(c, folder) == {}

    db.write_blocking(check)
    db.close()


def test_album_of_a_directory(tmp_path: Path) -> None:
    """A directory stands for one album, forgotten only while it is that album."""
    db = database(tmp_path)

    def check(c: Connection) -> None:
        folder = synced.bind_folder(c, b"/f", device=1, inode=2).id
        synced.put_directory(c, folder, b"d", AlbumId("one"), title="d")
        synced.put_directory(c, folder, b"d", AlbumId("two"), title="d")
        synced.identify_directory(c, folder, b"d", device=3, inode=4)
        synced.forget_directory(c, folder, b"d", AlbumId("one"))
        assert synced.directories(c, folder) == {
            b"d": SyncedDirectory(b"d", AlbumId("two"), 3, 4, "d")
        }
        assert synced.directories_of_album(c, AlbumId("two")) == [(folder, b"d")]
        synced.forget_directory(c, folder, b"d", AlbumId("two"))
        assert synced.album_of(c, folder, b"d") is None

    db.write_blocking(check)
    db.close()
