"""What jobs are about in words that people know: with the paths things have now.

Jobs know inodes, spool files and ids; these functions look the names up. They read the
account's database and nothing else. For log lines and commands.
"""

from __future__ import annotations

from collections.abc import Iterable

from imgurfs.jobs import queueing
from imgurfs.model import ROOT_INODE, Inode
from imgurfs.store import entries
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job


def path_of(c: Connection, inode: Inode) -> str:
    """Return the first path of a file or album on the drive, "" when it has none."""
    for parent, name, _ in entries.entries_of(c, inode):
        if parent == ROOT_INODE:
            return name
        return f"{path_of(c, parent)}/{name}"
    return ""


def paths_at(c: Connection, places: Iterable[tuple[int, str]]) -> list[str]:
    """Return the paths of names on the drive (inode of the directory, name)."""
    found = []
    for parent, name in places:
        directory = "" if parent == ROOT_INODE else path_of(c, Inode(parent))
        found.append(f"{directory}/{name}" if directory else name)
    return found


def what(c: Connection, job: Job) -> str:
    """Return what a job is about, with the names that things have on the drive."""
    if job.kind == queueing.UPLOAD:
        upload = queueing.decode(job, queueing.UploadPayload)
        if queueing.is_from_drive(upload):
            path = path_of(c, Inode(upload.inode)) or upload.name
            return f"upload {path}" if path else "upload a removed file"
    elif job.kind == queueing.DELETE_IMAGE:
        deletion = queueing.decode(job, queueing.DeleteImagePayload)
        places = paths_at(c, deletion.places)
        if places:
            return f"delete image {deletion.image_id} ({', '.join(places)})"
    elif job.kind == queueing.UPDATE_IMAGE:
        update = queueing.decode(job, queueing.UpdateImagePayload)
        node = entries.node_of_image(c, update.image_id)
        path = path_of(c, node.inode) if node else ""
        if path:
            return f"{queueing.describe(job)} ({path})"
    return queueing.describe(job)
