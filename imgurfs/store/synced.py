"""What watched folders and the account last agreed about: the merge base.

Tables ``folder``, ``synced_directory``, ``synced_file`` and ``skipped_file`` of
state.db (their columns are told in ``schema``). Used by ``imgurfs.jobs``, which writes
a row in the transaction that settles the job it is about, and by the daemon, which
plans from them. Paths are bytes, relative to the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from imgurfs.model import AlbumId, ImageId
from imgurfs.store.database import Connection, Row

FolderId = NewType("FolderId", int)


@dataclass(frozen=True, slots=True)
class Folder:
    """A watched folder and the directory it was when first seen."""

    id: FolderId
    path: bytes
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class SyncedFile:
    """A file as it was when folder and account agreed about it.

    ``digest`` is the BLAKE2b of what was sent; b"" when the file changed meanwhile, so
    that nothing is ever equal to it. ``directory`` is whose album the image belongs
    into, None for none.
    """

    path: bytes
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    digest: bytes
    image_id: ImageId
    directory: bytes | None = None


@dataclass(frozen=True, slots=True)
class SyncedDirectory:
    """A directory that stands for an album.

    ``device`` and ``inode`` are 0 when nobody looked; ``title`` is the album's, as it
    was given for this directory.
    """

    path: bytes
    album_id: AlbumId
    device: int = 0
    inode: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is not uploaded as long as it stays as it is, and why."""

    path: bytes
    size_bytes: int
    mtime_ns: int
    reason: str


def bind_folder(c: Connection, path: bytes, *, device: int, inode: int) -> Folder:
    """Return the folder at ``path``; bind it to this directory if it is new.

    A known folder comes back as it was bound, whatever is at the path now.
    """
    c.execute(
        "INSERT INTO folder (path, device, inode) VALUES (?, ?, ?)"
        " ON CONFLICT (path) DO NOTHING",
        (path, device, inode),
    )
    found = folder_at(c, path)
    assert found is not None
    return found


def put_folder(
    c: Connection, folder_id: FolderId, path: bytes, *, device: int, inode: int
) -> None:
    """Record where a folder lies that has a number of its own: ours, not the user's."""
    c.execute(
        "INSERT INTO folder (id, path, device, inode) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET path = excluded.path,"
        " device = excluded.device, inode = excluded.inode",
        (folder_id, path, device, inode),
    )


def folder_at(c: Connection, path: bytes) -> Folder | None:
    """Return the watched folder with this absolute path."""
    row = c.execute("SELECT * FROM folder WHERE path = ?", (path,)).fetchone()
    return None if row is None else _folder(row)


def folder(c: Connection, folder_id: FolderId) -> Folder | None:
    """Return a watched folder."""
    row = c.execute("SELECT * FROM folder WHERE id = ?", (folder_id,)).fetchone()
    return None if row is None else _folder(row)


def folders(c: Connection) -> list[Folder]:
    """Return every folder that was ever watched, by path."""
    return [_folder(row) for row in c.execute("SELECT * FROM folder ORDER BY path")]


def directories(c: Connection, folder_id: FolderId) -> dict[bytes, SyncedDirectory]:
    """Return every directory that stands for an album."""
    rows = c.execute("SELECT * FROM synced_directory WHERE folder = ?", (folder_id,))
    return {
        bytes(row["path"]): SyncedDirectory(
            path=bytes(row["path"]),
            album_id=AlbumId(row["album_id"]),
            device=row["device"],
            inode=row["inode"],
            title=row["title"],
        )
        for row in rows
    }


def directories_of_album(
    c: Connection, album_id: AlbumId
) -> list[tuple[FolderId, bytes]]:
    """Return the directories, of any folder, that stand for an album."""
    rows = c.execute(
        "SELECT folder, path FROM synced_directory WHERE album_id = ?"
        " ORDER BY folder, path",
        (album_id,),
    )
    return [(FolderId(row[0]), bytes(row[1])) for row in rows]


def album_of(c: Connection, folder_id: FolderId, path: bytes) -> AlbumId | None:
    """Return the album a directory stands for."""
    row = c.execute(
        "SELECT album_id FROM synced_directory WHERE folder = ? AND path = ?",
        (folder_id, path),
    ).fetchone()
    return None if row is None else AlbumId(row["album_id"])


def put_directory(
    c: Connection,
    folder_id: FolderId,
    path: bytes,
    album_id: AlbumId,
    *,
    title: str = "",
) -> None:
    """Record which album a directory stands for."""
    c.execute(
        "INSERT INTO synced_directory (folder, path, album_id, title)"
        " VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET album_id = excluded.album_id, title = excluded.title",
        (folder_id, path, album_id, title),
    )


def identify_directory(
    c: Connection, folder_id: FolderId, path: bytes, *, device: int, inode: int
) -> None:
    """Record which directory it is that stands for an album."""
    c.execute(
        "UPDATE synced_directory SET device = ?, inode = ?"
        " WHERE folder = ? AND path = ?",
        (device, inode, folder_id, path),
    )


def rename_directory(
    c: Connection, folder_id: FolderId, old: bytes, new: bytes, *, title: str
) -> None:
    """Let another directory stand for the album, with all that belongs into it."""
    c.execute(
        "UPDATE synced_directory SET path = ?, title = ? WHERE folder = ? AND path = ?",
        (new, title, folder_id, old),
    )
    c.execute(
        "UPDATE synced_file SET directory = ? WHERE folder = ? AND directory = ?",
        (new, folder_id, old),
    )


def forget_directory(
    c: Connection, folder_id: FolderId, path: bytes, album_id: AlbumId
) -> None:
    """Forget that a directory stands for this album (it is gone on Imgur)."""
    c.execute(
        "DELETE FROM synced_directory WHERE folder = ? AND path = ? AND album_id = ?",
        (folder_id, path, album_id),
    )


def files(c: Connection, folder_id: FolderId) -> dict[bytes, SyncedFile]:
    """Return every file of a folder that became an image."""
    rows = c.execute("SELECT * FROM synced_file WHERE folder = ?", (folder_id,))
    return {bytes(row["path"]): _file(row) for row in rows}


def file(c: Connection, folder_id: FolderId, path: bytes) -> SyncedFile | None:
    """Return what is recorded about one file."""
    row = c.execute(
        "SELECT * FROM synced_file WHERE folder = ? AND path = ?", (folder_id, path)
    ).fetchone()
    return None if row is None else _file(row)


def put_file(c: Connection, folder_id: FolderId, record: SyncedFile) -> None:
    """Record that a file is an image; it is not skipped any more."""
    c.execute(
        "INSERT OR REPLACE INTO synced_file (folder, path, device, inode, size_bytes,"
        " mtime_ns, digest, image_id, directory) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            folder_id,
            record.path,
            record.device,
            record.inode,
            record.size_bytes,
            record.mtime_ns,
            record.digest,
            record.image_id,
            record.directory,
        ),
    )
    forget_skipped(c, folder_id, record.path)


def forget_file(
    c: Connection, folder_id: FolderId, path: bytes, image_id: ImageId
) -> None:
    """Forget a file, if it still is this image."""
    c.execute(
        "DELETE FROM synced_file WHERE folder = ? AND path = ? AND image_id = ?",
        (folder_id, path, image_id),
    )


def forget_files(c: Connection, folder_id: FolderId, directory: bytes | None) -> None:
    """Forget the files of a folder that belong into a directory's album, or none."""
    c.execute(
        "DELETE FROM synced_file WHERE folder = ? AND directory IS ?",
        (folder_id, directory),
    )


def with_digest(c: Connection, digest: bytes) -> list[tuple[FolderId, SyncedFile]]:
    """Return every file, of any folder, that had this content when it was sent."""
    rows = c.execute(
        "SELECT * FROM synced_file WHERE digest = ? AND digest <> x''"
        " ORDER BY folder, path",
        (digest,),
    )
    return [(FolderId(row["folder"]), _file(row)) for row in rows]


def images_of_directory(
    c: Connection, folder_id: FolderId, directory: bytes
) -> list[ImageId]:
    """Return the images that belong into a directory's album, by path."""
    rows = c.execute(
        # Left alone, SQLite reads the whole folder by its primary key.
        "SELECT DISTINCT image_id FROM synced_file INDEXED BY synced_file_directory"
        " WHERE folder = ? AND directory = ? ORDER BY path",
        (folder_id, directory),
    )
    return [ImageId(row[0]) for row in rows]


def paths_of(c: Connection, image_id: ImageId) -> list[tuple[FolderId, bytes]]:
    """Return every file, of any folder, that is this image."""
    rows = c.execute(
        "SELECT folder, path FROM synced_file WHERE image_id = ? ORDER BY folder, path",
        (image_id,),
    )
    return [(FolderId(row["folder"]), bytes(row["path"])) for row in rows]


def skipped(c: Connection, folder_id: FolderId) -> dict[bytes, SkippedFile]:
    """Return the files of a folder that are not uploaded."""
    rows = c.execute("SELECT * FROM skipped_file WHERE folder = ?", (folder_id,))
    return {
        bytes(row["path"]): SkippedFile(
            path=bytes(row["path"]),
            size_bytes=row["size_bytes"],
            mtime_ns=row["mtime_ns"],
            reason=row["reason"],
        )
        for row in rows
    }


def put_skipped(c: Connection, folder_id: FolderId, record: SkippedFile) -> None:
    """Record that a file is not uploaded, and why."""
    c.execute(
        "INSERT OR REPLACE INTO skipped_file"
        " (folder, path, size_bytes, mtime_ns, reason) VALUES (?, ?, ?, ?, ?)",
        (folder_id, record.path, record.size_bytes, record.mtime_ns, record.reason),
    )


def forget_skipped(c: Connection, folder_id: FolderId, path: bytes) -> None:
    """Forget that a file was skipped: it changed, went, or was uploaded."""
    c.execute(
        "DELETE FROM skipped_file WHERE folder = ? AND path = ?", (folder_id, path)
    )


def _folder(row: Row) -> Folder:
    return Folder(
        id=FolderId(row["id"]),
        path=bytes(row["path"]),
        device=row["device"],
        inode=row["inode"],
    )


def _file(row: Row) -> SyncedFile:
    return SyncedFile(
        path=bytes(row["path"]),
        device=row["device"],
        inode=row["inode"],
        size_bytes=row["size_bytes"],
        mtime_ns=row["mtime_ns"],
        digest=bytes(row["digest"]),
        image_id=ImageId(row["image_id"]),
        directory=None if row["directory"] is None else bytes(row["directory"]),
    )
