"""What is found in the spool when a mount starts: sorted out, never silently dropped.

Called once by ``files``, when the spool has become this process's. A mount may have
died at any line, or the machine have lost its power: then rows may be older than bytes
of files that nobody had been promised anything about.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import msgspec

from imgurfs.clock import Clock
from imgurfs.content.spool import Spool
from imgurfs.jobs import drive
from imgurfs.model import Inode
from imgurfs.store import drafts, entries, meta, notices
from imgurfs.store.database import Connection, Database
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.writing import drafting
from imgurfs.writing.drafting import Rules
from imgurfs.writing.judge import HEAD_BYTES, judge

logger = logging.getLogger(__name__)

UNFINISHED: Final = (
    "the program that wrote it did not finish; copy it again, or keep it by writing"
    " to it"
)
LOST: Final = "its bytes are not in the spool any more"
CUT: Final = "the disk has lost a part of its bytes"
_TOPIC: Final = "spool"

#: States of contents that a program has closed, and nobody has sent or refused.
_CLOSED: Final = (DraftState.WAITING, DraftState.SCRATCH, DraftState.LOCAL)


async def recover(db: Database, spool: Spool, *, clock: Clock, rules: Rules) -> None:
    """Make rows and files agree, and judge again what settings had refused.

    Raises UnavailableError, DatabaseError.
    """
    found = await spool.scan()
    if not _is_same_state(db, spool):
        # Another database was here when these were written: its numbers mean nothing.
        await _set_aside(db, spool, sorted(found))
        token = secrets.token_hex(16)
        spool.set_owner(token)
        await db.write(lambda c: meta.put(c, "spool", token))
        return
    now = clock.now()
    cut: set[str] = set()
    if spool.was_rebooted():
        closed = drafts.everything(db.reader, _CLOSED)
        names = {row.spool_name for row in closed if row.is_grown} & found.keys()
        cut = {name for name in names if not await spool.is_whole(name)}
    kept = await db.write(lambda c: _settle_rows(c, found, cut, now=now))
    discarded = drafts.discarded(db.reader)
    strange: list[str] = []
    for name, size_bytes in found.items():
        if name in kept:
            continue
        inode = Inode(int(name.partition(".")[0]))
        is_known = name in discarded or entries.node(db.reader, inode) is not None
        if size_bytes and not is_known:
            strange.append(name)
        else:
            # Begun and never confirmed, or superseded by what the row names, or the
            # content cache's since.
            await spool.remove(name)
    await db.write(lambda c: drafts.removed(c, discarded - kept))
    await _set_aside(db, spool, strange)
    await _judge_again(db, spool, rules=rules, clock=clock)
    spool.set_owner(spool.owner())


def _is_same_state(db: Database, spool: Spool) -> bool:
    known = meta.get(db.reader, "spool")
    return known is not None and known == spool.owner()


def _settle_rows(
    c: Connection, found: Mapping[str, int], cut: Collection[str], *, now: float
) -> set[str]:
    """Bring every row to what is there; return the contents to keep."""
    kept: set[str] = set()
    for row in drafts.everything(c):
        if drafting.drop_unlinked(c, row.inode, now=now):
            continue
        size_bytes = found.get(row.spool_name)
        if size_bytes is None:
            _settle_lost(c, row, now=now)
            continue
        kept.add(row.spool_name)
        if row.state is DraftState.WRITING:
            _refuse(c, replace(row, size_bytes=size_bytes), UNFINISHED, now=now)
        elif row.spool_name in cut or (
            row.size_bytes != size_bytes and row.state is not DraftState.SENT
        ):
            drafting.stop_upload(c, row, now=now)
            _refuse(c, replace(row, size_bytes=size_bytes), CUT, now=now)
        elif row.state is DraftState.WAITING and entries.entries_of(c, row.inode):
            # Idempotent: by its key, a job that is there is not queued again.
            drafting.queue_upload(c, row, now=now)
    return kept | {name for name in found if drafting.may_be_read(c, name)}


def _settle_lost(c: Connection, row: Draft, *, now: float) -> None:
    """Settle a row without a file."""
    node = entries.node(c, row.inode)
    names = [(parent, name) for parent, name, _ in entries.entries_of(c, row.inode)]
    has_image = node is not None and node.image is not None and bool(node.image.id)
    if row.state in (DraftState.SENT, DraftState.KEPT) or (
        has_image and row.state is DraftState.WRITING
    ):
        logger.warning("the spool has lost %s; what Imgur has is shown", row.spool_name)
        drafts.drop(c, row.inode)
        _restore_replaced(c, row, names, now=now)
    elif row.state is DraftState.WRITING:
        # A file that was made just before the power went, and nobody had closed.
        drafts.drop(c, row.inode)
        entries.remove(c, row.inode)
        _restore_replaced(c, row, names, now=now)
    elif drafting.stop_upload(c, row, now=now):
        _refuse(c, row, LOST, now=now)


def _restore_replaced(
    c: Connection, row: Draft, names: Iterable[tuple[int, str]], *, now: float
) -> None:
    """Show the image again whose end a content that is lost would have been."""
    if row.replaces:
        drive.restore(c, row.replaces, names, now=now)


def _refuse(c: Connection, row: Draft, error: str, *, now: float) -> None:
    drafts.put(c, replace(row, state=DraftState.REFUSED, error=error, changed_at=now))


async def _judge_again(
    db: Database, spool: Spool, *, clock: Clock, rules: Rules
) -> None:
    """Let go of contents that were refused by a setting which is another one now."""
    # What refuses whatever any settings refuse.
    strictest = msgspec.structs.replace(
        rules.settings, non_media="refuse", lossy="refuse"
    )
    for row in drafts.everything(db.reader, (DraftState.REFUSED,)):
        head = await _head(spool, row.spool_name)
        strict = judge(head, row.size_bytes, strictest, is_scratch=False)
        if strict.error != row.error:
            continue  # not what it is, but what happened to it
        current = judge(head, row.size_bytes, rules.settings, is_scratch=False)
        if current.state is not DraftState.REFUSED:
            write = partial(_let_go, row=row, head=head, rules=rules)
            await db.write(partial(write, now=clock.now()))


def _let_go(
    c: Connection, *, row: Draft, head: bytes, rules: Rules, now: float
) -> None:
    if drafts.get(c, row.inode) == row:
        drafting.settle(c, row, head=head, rules=rules, now=now)


async def _head(spool: Spool, name: str) -> bytes:
    try:
        file = await spool.open_file(name)
    except FileNotFoundError:
        return b""
    try:
        return await spool.read(file, 0, HEAD_BYTES)
    finally:
        spool.close_file(file)


async def _set_aside(db: Database, spool: Spool, names: list[str]) -> None:
    for name in names:
        path = await spool.set_aside(name)
        logger.warning("bytes that belong to no file were saved as %s", path)
    left = spool.aside()
    told = notices.everything(db.reader).get(_TOPIC, "")
    text = (
        f"files whose names are not known any more are in {left}. Delete them when"
        " they are not needed"
    )
    if left is not None and told != text:
        await db.write(lambda c: notices.put(c, _TOPIC, text))
    elif left is None and told:
        await db.write(lambda c: notices.drop(c, _TOPIC))
