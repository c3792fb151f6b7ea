"""What is called how on the drive, for commands that tell people. Not a command.

Jobs know inodes and ids; these functions look the names up, as they are now. They read
the account's database and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgurfs.model import Inode
    from imgurfs.store.database import Connection
    from imgurfs.store.outbox import Job


def path_of(c: Connection, inode: Inode) -> str:
    """Return the first path of a file or album on the drive, "" when it has none."""
    from imgurfs.model import ROOT_INODE
    from imgurfs.store import entries

    for parent, name, _ in entries.entries_of(c, inode):
        if parent == ROOT_INODE:
            return name
        return f"{path_of(c, parent)}/{name}"
    return ""


def paths_at(c: Connection, places: Iterable[tuple[int, str]]) -> list[str]:
    """Return the paths of names on the drive (inode of the directory, name)."""
    from imgurfs.model import ROOT_INODE, Inode

    found = []
    for parent, name in places:
        directory = "" if parent == ROOT_INODE else path_of(c, Inode(parent))
        found.append(f"{directory}/{name}" if directory else name)
    return found


def what(c: Connection, job: Job) -> str:
    """Return what a job is about, with the names that things have on the drive."""
    from imgurfs.jobs import queueing
    from imgurfs.model import Inode
    from imgurfs.store import entries

    if job.kind == queueing.UPLOAD:
        upload = queueing.decode(job, queueing.UploadPayload)
        if upload.folder == queueing.DRIVE:
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
