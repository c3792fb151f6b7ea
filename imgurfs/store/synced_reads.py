"""Reading the merge base of large folders: in slices, and only what is asked for.

Beside :mod:`imgurfs.store.synced`, which writes the same tables. A folder may have
hundreds of thousands of files and is compared on the thread that everything else runs
on, so no function here returns more than a slice or what the caller named: the caller
lets others run in between. Used by the daemon; all functions are reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from imgurfs.marker import Marker, parse_marker
from imgurfs.model import ImageId
from imgurfs.store.database import Connection
from imgurfs.store.nodes import EXISTS
from imgurfs.store.synced import FolderId

T = TypeVar("T")

#: Rows or names in one slice: a few milliseconds.
SLICE = 500
_IMAGES_SLICE = 4_000

_COLUMNS = (
    "path, device, inode, size_bytes, mtime_ns, digest, image_id, directory, folder"
)
_IS_UNFINISHED = "key <> '' AND state IN ('queued', 'sending', 'unknown')"


class FileRow(NamedTuple):
    """A row of ``synced_file``; the fields are told in ``synced.SyncedFile``."""

    path: bytes
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    digest: bytes
    image_id: ImageId
    directory: bytes | None
    folder: FolderId


class SkippedRow(NamedTuple):
    """What a skipped file was like when it was skipped."""

    path: bytes
    size_bytes: int
    mtime_ns: int


def file_count(c: Connection, folder: FolderId) -> int:
    """Return how many files of a folder became images."""
    sql = "SELECT count(*) FROM synced_file WHERE folder = ?"
    return int(c.execute(sql, (folder,)).fetchone()[0])


def file_slices(c: Connection, folder: FolderId) -> Iterator[list[FileRow]]:
    """Yield all files of a folder by path, a slice at a time."""
    after = b""
    sql = (
        f"SELECT {_COLUMNS} FROM synced_file WHERE folder = ? AND path > ?"  # noqa: S608
        " ORDER BY path LIMIT ?"
    )
    while rows := [FileRow(*row) for row in c.execute(sql, (folder, after, SLICE))]:
        yield rows
        after = rows[-1].path


def skipped_slices(c: Connection, folder: FolderId) -> Iterator[list[SkippedRow]]:
    """Yield all skipped files of a folder by path, a slice at a time."""
    after = b""
    sql = (
        "SELECT path, size_bytes, mtime_ns FROM skipped_file"
        " WHERE folder = ? AND path > ? ORDER BY path LIMIT ?"
    )
    while rows := [SkippedRow(*row) for row in c.execute(sql, (folder, after, SLICE))]:
        yield rows
        after = rows[-1].path


def paths_directly_in(
    c: Connection, folder: FolderId, directory: bytes, *, table: str = "synced_file"
) -> Iterator[list[bytes]]:
    """Yield the paths of rows directly in a directory, a slice at a time.

    What is below its subdirectories is jumped over, not read.
    """
    assert table in ("synced_file", "skipped_file")
    prefix = directory + b"/" if directory else b""
    start, end = prefix or b"\0", _end(prefix)
    sql = (
        f"SELECT path FROM {table} WHERE folder = ? AND path >= ?"  # noqa: S608
        " AND (? = x'' OR path < ?) ORDER BY path"
    )
    found: list[bytes] = []
    jumps = 0
    while start:
        rows = c.execute(sql, (folder, start, end, end))
        start = b""
        for (path,) in rows:
            name, slash, _ = path[len(prefix) :].partition(b"/")
            if slash:
                start = _end(prefix + name + b"/")
                jumps += 1
                break
            found.append(path)
            if len(found) == SLICE:
                start = path + b"\0"
                break
        rows.close()
        if not start or len(found) == SLICE or jumps == SLICE:
            yield found
            found, jumps = [], 0


def directories_below(
    c: Connection, folder: FolderId, directory: bytes
) -> Iterator[set[bytes]]:
    """Yield the directories below one that have files in the merge base."""
    prefix = directory + b"/"
    after, end = prefix, _end(prefix)
    sql = (
        "SELECT path FROM synced_file WHERE folder = ? AND path > ? AND path < ?"
        " ORDER BY path LIMIT ?"
    )
    while paths := [row[0] for row in c.execute(sql, (folder, after, end, SLICE))]:
        yield {path.rpartition(b"/")[0] for path in paths} - {directory}
        after = paths[-1]


def files_at(c: Connection, folder: FolderId, paths: Sequence[bytes]) -> list[FileRow]:
    """Return the rows of these paths, of at most a slice."""
    return [
        FileRow(*row)
        for row in c.execute(
            f"SELECT {_COLUMNS} FROM synced_file"  # noqa: S608
            f" WHERE folder = ? AND path IN ({_marks(paths)})",
            (folder, *paths),
        )
    ]


def known_paths(c: Connection, folder: FolderId, paths: Sequence[bytes]) -> set[bytes]:
    """Return those of these paths, of at most a slice, that have a row."""
    rows = c.execute(
        f"SELECT path FROM synced_file WHERE folder = ? AND path IN ({_marks(paths)})",  # noqa: S608
        (folder, *paths),
    )
    return {row[0] for row in rows}


def skipped_at(
    c: Connection, folder: FolderId, paths: Sequence[bytes]
) -> list[SkippedRow]:
    """Return what is skipped of these paths, of at most a slice."""
    return [
        SkippedRow(*row)
        for row in c.execute(
            "SELECT path, size_bytes, mtime_ns FROM skipped_file"  # noqa: S608
            f" WHERE folder = ? AND path IN ({_marks(paths)})",
            (folder, *paths),
        )
    ]


def files_with_inode(c: Connection, device: int, inode: int) -> list[FileRow]:
    """Return the rows, of any folder, that were this inode."""
    return [
        FileRow(*row)
        for row in c.execute(
            f"SELECT {_COLUMNS} FROM synced_file"  # noqa: S608
            " WHERE inode = ? AND device = ? ORDER BY folder, path",
            (inode, device),
        )
    ]


def files_with_digest(c: Connection, digest: bytes) -> list[FileRow]:
    """Return the rows, of any folder, that had this content."""
    return [
        FileRow(*row)
        for row in c.execute(
            f"SELECT {_COLUMNS} FROM synced_file"  # noqa: S608
            " WHERE digest = ? AND digest <> x'' ORDER BY folder, path",
            (digest,),
        )
    ]


def files_of_images(c: Connection, images: Sequence[ImageId]) -> list[FileRow]:
    """Return the rows, of any folder, that are one of these images."""
    return [
        FileRow(*row)
        for row in c.execute(
            f"SELECT {_COLUMNS} FROM synced_file"  # noqa: S608
            f" WHERE image_id IN ({_marks(images)}) ORDER BY folder, path",
            tuple(images),
        )
    ]


def unfinished_keys(c: Connection, keys: Sequence[str], *, state: str = "") -> set[str]:
    """Return those of these keys that an unfinished job (in that state) has."""
    if not keys:
        return set()
    # Given many keys, SQLite would rather read all unfinished jobs each time.
    rows = c.execute(
        f"SELECT key FROM job INDEXED BY job_key WHERE {_IS_UNFINISHED}"  # noqa: S608
        f" AND key IN ({_marks(keys)})"
        " AND (? = '' OR state = ?)",
        (*keys, state, state),
    )
    return {row[0] for row in rows}


def has_queued(c: Connection, kind: str) -> bool:
    """Whether any job of a kind is queued."""
    row = c.execute(
        "SELECT 1 FROM job WHERE state = 'queued' AND kind = ? LIMIT 1", (kind,)
    ).fetchone()
    return row is not None


def unknown_images(c: Connection, images: Sequence[ImageId]) -> set[ImageId]:
    """Return those of these images that the account's tree does not have."""
    rows = c.execute(
        f"SELECT id FROM image WHERE id IN ({_marks(images)}) AND {EXISTS}",  # noqa: S608
        tuple(images),
    )
    return set(images) - {ImageId(row[0]) for row in rows}


def sizes_of_files(c: Connection, sizes: Sequence[int]) -> set[int]:
    """Return those of these sizes, in bytes, that a file of any folder has."""
    marks = ", ".join(["(?)"] * len(sizes))
    rows = c.execute(
        f"WITH asked (size) AS (VALUES {marks}) SELECT size FROM asked WHERE EXISTS"  # noqa: S608
        " (SELECT 1 FROM synced_file WHERE size_bytes = asked.size)",
        tuple(sizes),
    )
    return {row[0] for row in rows}


def unbound_marked(c: Connection) -> Iterator[list[tuple[Marker, ImageId]]]:
    """Yield, in slices, marker and id of images that no file is.

    Only images that the account itself has, oldest first.
    """
    after = 0
    while True:
        last = c.execute(
            "SELECT max(inode) FROM (SELECT inode FROM image WHERE inode > ?"
            " ORDER BY inode LIMIT ?)",
            (after, _IMAGES_SLICE),
        ).fetchone()[0]
        if last is None:
            return
        rows = c.execute(
            "SELECT name, id FROM image AS i WHERE inode > ? AND inode <= ?"  # noqa: S608
            f" AND id IS NOT NULL AND is_in_account = 1 AND {EXISTS}"
            " AND instr(name, '~') > 0"
            " AND NOT EXISTS (SELECT 1 FROM synced_file WHERE image_id = i.id)"
            " ORDER BY inode",
            (after, last),
        )
        yield [
            (marker, ImageId(row[1]))
            for row in rows
            if (marker := parse_marker(row[0])) is not None
        ]
        after = last


def sliced(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield what is given in lists that fit one question."""
    part: list[T] = []
    for item in items:
        part.append(item)
        if len(part) == SLICE:
            yield part
            part = []
    if part:
        yield part


def _marks(items: Sequence[object]) -> str:
    return ", ".join("?" * len(items))


def _end(prefix: bytes) -> bytes:
    """Return what comes after everything with this prefix, which ends in "/"."""
    return prefix[:-1] + b"0" if prefix else b""
