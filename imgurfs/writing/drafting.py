"""The rows of drafts and of their uploads: what writes, closes and names do to them.

Functions take a connection and belong inside ``Database.write``. ``contents`` uses them
for bytes, ``places`` for names. Nothing here touches a file.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

from imgurfs import limits
from imgurfs.config import MountConfig
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import DRIVE, DeleteImagePayload
from imgurfs.model import ROOT_INODE, ImageId, Inode, Lane
from imgurfs.store import drafts, edits, entries, outbox
from imgurfs.store.database import Connection
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.store.entries import Node
from imgurfs.writing import checks
from imgurfs.writing.judge import Verdict, is_temporary, judge

#: The first content of a file that was made on the drive.
FIRST_GENERATION: Final = 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about contents; deletions wait for ``delete_grace_s``."""

    settings: MountConfig
    delete_grace_s: float


class Ground(enum.Enum):
    """What a program that begins to write finds."""

    OURS = enum.auto()  # the content may be changed where it is
    TAKEN = enum.auto()  # somebody may be reading it: changes go to a copy
    IMAGE = enum.auto()  # the bytes are on Imgur only
    GONE = enum.auto()  # no name leads here any more, and no program took it away


@dataclass(frozen=True, slots=True)
class Begun:
    """What :func:`begin` found; ``generation`` is the one to write to."""

    ground: Ground
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """What a program's writing made the times of a file, in ns; None: as they are."""

    mtime_ns: int | None = None
    atime_ns: int | None = None
    ctime_ns: int | None = None

    def then(self, later: Times) -> Times:
        """Return what these are after later ones were set."""
        return Times(
            self.mtime_ns if later.mtime_ns is None else later.mtime_ns,
            self.atime_ns if later.atime_ns is None else later.atime_ns,
            self.ctime_ns if later.ctime_ns is None else later.ctime_ns,
        )


#: Nothing has been said about the times.
NO_TIMES: Final = Times()


def make(c: Connection, parent: Inode, name: str, *, now: float) -> Inode:
    """Write the rows of a file that is being made: empty, and being written."""
    checks.directory(c, parent)
    checks.free(c, parent, name)
    inode = edits.make_file(c, now=now)
    edits.add_entry(c, parent, inode, name)
    now_ns = int(now * 1e9)
    edits.touch(c, parent, mtime_ns=now_ns, ctime_ns=now_ns)
    drafts.put(
        c,
        Draft(
            inode=inode,
            generation=FIRST_GENERATION,
            state=DraftState.WRITING,
            size_bytes=0,
            changed_at=now,
        ),
    )
    return inode


def begin(
    c: Connection,
    inode: Inode,
    *,
    now: float,
    error: str = "",
    is_here: bool = True,
    is_unlinked: bool = False,
) -> Begun:
    """Make a content ready to be changed, if nobody reads it: withdraw its upload.

    One that the spool has lost (not ``is_here``) is to be made anew.

    A file that nobody has unlinked and that has no name is not the one its writer
    means: the name is gone on Imgur, or leads to another file (``drive_settle.found``).
    """
    node = entries.node(c, inode)
    if not (is_unlinked or _has_name(node)):
        return Begun(Ground.GONE)
    row = drafts.get(c, inode)
    if row is None:
        # Higher than any that this file had before: a content's name is for ever.
        return Begun(Ground.IMAGE, max(int(now), FIRST_GENERATION))
    # The content of one that was sent may be in the content cache as well.
    is_ours = is_here and row.state is not DraftState.SENT
    if not is_ours or not stop_upload(c, row, now=now):
        return Begun(Ground.TAKEN, row.generation + 1)
    row = replace(row, state=DraftState.WRITING, error=error, changed_at=now)
    drafts.put(c, row)
    return Begun(Ground.OURS, row.generation)


def _has_name(node: Node | None) -> bool:
    return node is not None and node.links > 0


def begin_anew(
    c: Connection, inode: Inode, generation: int, *, now: float, is_unlinked: bool
) -> bool:
    """Say that a file's content is another one from now on; False when it is gone.

    Since :func:`begin` its bytes were brought or copied, so that is asked again.
    """
    node = entries.node(c, inode)
    if node is None or not (is_unlinked or _has_name(node)):
        return False
    row = drafts.get(c, inode)
    if row is not None:
        drafts.discard(c, row.spool_name)
    drafts.removed(c, [drafts.spool_name(inode, generation)])
    drafts.put(
        c,
        Draft(
            inode=inode,
            generation=generation,
            state=DraftState.WRITING,
            size_bytes=0,
            changed_at=now,
            replaces=ImageId("") if row is None else row.replaces,
        ),
    )
    return True


def stop_upload(c: Connection, row: Draft, *, now: float) -> bool:
    """Withdraw the upload of a content; False when one may be reading it."""
    if row.state is not DraftState.WAITING:
        return True
    return queueing.cancel_drive_upload(c, row, now=now)


def finish(
    c: Connection,
    *,
    inode: Inode,
    generation: int,
    head: bytes,
    size_bytes: int,
    times: Times,
    rules: Rules,
    damage: str,
    is_grown: bool,
    now: float,
) -> Verdict | None:
    """Decide what becomes of the content a program has written; None: it is gone.

    ``damage``: some of it found no room, so it must not be uploaded. ``is_grown`` is
    told in ``schema``.
    """
    row = drafts.get(c, inode)
    if row is None:
        return None
    # Else what it is now was decided without these bytes.
    assert (row.state, row.generation) == (DraftState.WRITING, generation), row
    edits.touch(
        c,
        inode,
        mtime_ns=times.mtime_ns,
        atime_ns=times.atime_ns,
        ctime_ns=times.ctime_ns,
    )
    row = replace(row, size_bytes=size_bytes, is_grown=is_grown)
    if damage:
        drafts.put(
            c, replace(row, state=DraftState.REFUSED, error=damage, changed_at=now)
        )
        return Verdict(DraftState.REFUSED, damage)
    return settle(c, row, head=head, rules=rules, now=now)


def judge_again(
    c: Connection, inode: Inode, *, head: bytes, rules: Rules, now: float
) -> None:
    """Decide once more what becomes of a file whose names have changed.

    ``head`` are the first bytes of its content. Only being temporary
    is a matter of the name: what was refused stays so, and what is being sent goes on.
    """
    row = drafts.get(c, inode)
    if row is None or row.state not in (DraftState.SCRATCH, DraftState.WAITING):
        return
    if is_scratch(c, inode) == (row.state is DraftState.SCRATCH):
        return
    if stop_upload(c, row, now=now):
        settle(c, row, head=head, rules=rules, now=now)


def settle(
    c: Connection, row: Draft, *, head: bytes, rules: Rules, now: float
) -> Verdict:
    """Write what becomes of a content that nobody uploads now, and queue its upload.

    What never goes up deletes at once (with the grace) the image it has replaced.
    """
    is_hidden = is_scratch(c, row.inode)
    verdict = judge(head, row.size_bytes, rules.settings, is_scratch=is_hidden)
    row = replace(row, state=verdict.state, error=verdict.error, changed_at=now)
    if row.state is DraftState.LOCAL and row.replaces:
        deletion = DeleteImagePayload(DRIVE, row.replaces, is_replaced=True)
        queueing.queue_delete(c, deletion, now=now, grace_s=rules.delete_grace_s)
        row = replace(row, replaces=ImageId(""))
    drafts.put(c, row)
    if row.state is DraftState.WAITING:
        queue_upload(c, row, now=now)
    return verdict


def is_scratch(c: Connection, inode: Inode) -> bool:
    """Whether every name of a file is temporary, or in a directory whose name is.

    So is a file without a name: nobody can ever see it.
    """
    return all(
        is_temporary(name) or is_scratch_place(c, parent)
        for parent, name, _ in entries.entries_of(c, inode)
    )


def is_scratch_place(c: Connection, directory: Inode) -> bool:
    """Whether what is in a directory stays here, because of the directory's name."""
    if directory == ROOT_INODE:
        return False
    return any(is_temporary(name) for _, name, _ in entries.entries_of(c, directory))


def queue_upload(c: Connection, row: Draft, *, now: float) -> None:
    """Queue the upload of a content, when nobody has written for a moment."""
    queueing.queue_drive_upload(
        c,
        row,
        lane=Lane.FRESH,
        size_bytes=row.size_bytes,
        not_before=now + limits.DRIVE_SETTLE_S,
        now=now,
    )


def drop_unlinked(c: Connection, inode: Inode, *, now: float) -> bool:
    """Forget a file without a name that was never uploaded; whether it is forgotten.

    It is not when it has a name, is an image, or an upload of it is on its way
    (whoever settles that one forgets it).
    """
    row, node = drafts.get(c, inode), entries.node(c, inode)
    if row is None or node is None or node.links or node.image is None:
        return False
    if node.image.id or not stop_upload(c, row, now=now):
        return False
    drafts.discard(c, row.spool_name)
    entries.remove(c, inode)
    return True


def may_be_read(c: Connection, name: str) -> bool:
    """Whether an upload that is not settled needs the content of this name."""
    key = queueing.upload_key(queueing.DRIVE, name.encode())
    return outbox.by_key(c, key) is not None
