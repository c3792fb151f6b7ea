"""What there is to know about deletions, ours and others', and what stays. Reads only.

The guard uses it inside the transaction that claims jobs, so those functions stop
reading as soon as the answer is certain: a folder of 200,000 files is not counted
because one of them was deleted. The daemon uses it to report what others deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from imgurfs.model import ImageId, Inode, JobId
from imgurfs.store import outbox
from imgurfs.store.database import Connection, Row
from imgurfs.store.nodes import EXISTS
from imgurfs.store.outbox import Job
from imgurfs.store.synced import FolderId


def recent_and_coming(c: Connection, *, kind: str, since: float) -> list[Job]:
    """Return jobs of a kind that wait, are in the air or were done since an epoch."""
    done = c.execute(
        "SELECT id FROM job WHERE state = 'done' AND kind = ? AND settled_at >= ?"
        " ORDER BY id",
        (kind, since),
    ).fetchall()
    found = [outbox.job(c, JobId(row[0])) for row in done]
    return [
        *(job for job in found if job is not None),
        *outbox.unfinished(c, kind=kind),
    ]


def is_waiting(c: Connection, *, kind: str) -> bool:
    """Whether a job of this kind is queued that nobody has approved."""
    row = c.execute(
        "SELECT 1 FROM job WHERE state = 'queued' AND kind = ? AND guard <> 'approved'"
        " LIMIT 1",
        (kind,),
    ).fetchone()
    return row is not None


def folder_stays(
    c: Connection, folder: FolderId, *, without: Collection[ImageId], enough: int
) -> int:
    """Count the images of a folder's files, ``without`` those; stop at ``enough``."""
    rows = c.execute("SELECT image_id FROM synced_file WHERE folder = ?", (folder,))
    return _count(rows, without, enough)


def account_stays(c: Connection, *, without: Collection[ImageId], enough: int) -> int:
    """Count the account's images, ``without`` those; stop at ``enough``."""
    rows = c.execute(
        f"SELECT id FROM image WHERE is_in_account = 1 AND id IS NOT NULL AND {EXISTS}"  # noqa: S608
        " UNION ALL SELECT image_id FROM synced_file"
    )
    return _count(rows, without, enough)


def directories_of(
    c: Connection, folder: FolderId, images: Collection[ImageId]
) -> set[bytes]:
    """Return the directories of a folder that stand for albums of these images."""
    found: set[bytes] = set()
    for image_id in images:
        rows = c.execute(
            # "+": not by the folder's index, which all of its files share.
            "SELECT DISTINCT directory FROM synced_file WHERE image_id = ?"
            " AND +folder = ? AND +directory IS NOT NULL",
            (image_id, folder),
        )
        found.update(bytes(row[0]) for row in rows)
    return found


def directory_loses(
    c: Connection,
    folder: FolderId,
    directory: bytes,
    *,
    going: Collection[ImageId],
    ignored: Collection[ImageId],
) -> int:
    """Return how many images an album has if it loses them all, else 0."""
    images: set[str] = set()
    for row in c.execute(
        # By itself SQLite reads the whole folder here.
        "SELECT image_id FROM synced_file INDEXED BY synced_file_directory"
        " WHERE folder = ? AND directory = ?",
        (folder, directory),
    ):
        if row[0] in ignored:
            continue
        if row[0] not in going:
            return 0
        images.add(row[0])
    return len(images)


def has_other_files(c: Connection, folder: FolderId) -> bool:
    """Whether a folder has files that are no images: on their way, or skipped."""
    prefix = f"upload:{folder}"
    row = c.execute(
        "SELECT 1 FROM skipped_file WHERE folder = ? UNION ALL"
        " SELECT 1 FROM job WHERE key >= ? AND key < ?"
        " AND state IN ('queued', 'sending', 'unknown') LIMIT 1",
        (folder, prefix + ":", prefix + ";"),
    ).fetchone()
    return row is not None


def is_ours(c: Connection, inode: Inode) -> bool:
    """Whether an image is the account's own, so that it can be deleted."""
    row = c.execute(
        "SELECT is_in_account = 1 OR deletehash <> '' FROM image WHERE inode = ?",
        (inode,),
    ).fetchone()
    return row is not None and bool(row[0])


def files_without_image(
    c: Connection, *, limit: int
) -> tuple[int, list[tuple[FolderId, bytes]]]:
    """Return how many files' images the account does not have, and some of them."""
    where = (
        " FROM synced_file AS s WHERE NOT EXISTS"  # noqa: S608
        " (SELECT 1 FROM image AS i WHERE i.id = s.image_id AND (i.is_in_account = 1"
        f" OR EXISTS (SELECT 1 FROM entry AS e WHERE e.inode = i.inode)) AND {EXISTS})"
    )
    count = int(c.execute("SELECT count(*)" + where).fetchone()[0])
    rows = c.execute(
        "SELECT folder, path" + where + " ORDER BY folder, path LIMIT ?", (limit,)
    )
    return count, [(FolderId(row[0]), bytes(row[1])) for row in rows]


def _count(rows: Iterable[Row], without: Collection[ImageId], enough: int) -> int:
    images: set[str] = set()
    for row in rows:
        if row[0] not in without:
            images.add(row[0])
            if len(images) >= enough:
                break
    return len(images)
