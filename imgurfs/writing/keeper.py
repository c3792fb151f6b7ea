"""What becomes of spooled bytes that were uploaded, or that nobody needs any more.

Runs beside the requests, in the mount that owns the spool. Bytes that the CDN serves
just so become the content cache; if Imgur has changed them, the original stays here.
Nothing is removed before what made it superfluous is durable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NoReturn

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.content.cdn import Identity
from imgurfs.content.fetch import Fetcher, Sequence
from imgurfs.content.spool import Spool, SpoolFile
from imgurfs.crashpoints import reach
from imgurfs.errors import ImgurfsError
from imgurfs.model import Image, Inode
from imgurfs.store import drafts, entries, meta
from imgurfs.store.database import Connection
from imgurfs.store.drafts import Draft, DraftState
from imgurfs.writing import drafting
from imgurfs.writing.opened import OpenDraft
from imgurfs.writing.rows import Rows

logger = logging.getLogger(__name__)

#: Contents that one thread removes before others get a turn on the disk.
_REMOVED_AT_ONCE: Final = 64
_MD5: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class _Patience:
    """When a comparison that failed is tried again (an epoch), and the pause before."""

    retry_at: float
    pause_s: float


class Keeper:
    """Tidies the spool."""

    def __init__(
        self,
        *,
        rows: Rows,
        spool: Spool,
        fetcher: Fetcher,
        clock: Clock,
        opened: Mapping[Inode, OpenDraft],
    ) -> None:
        self._rows = rows
        self._spool = spool
        self._fetcher = fetcher
        self._clock = clock
        self._opened = opened
        # Contents nobody needs any more but those who have them open.
        self._held: set[str] = set()
        self._patience: dict[Inode, _Patience] = {}

    async def run(self) -> NoReturn:
        """Tidy whenever something has changed, until cancelled."""
        version: int | None = None
        while True:
            now = self._clock.now()
            is_due = any(one.retry_at <= now for one in self._patience.values())
            is_due |= bool(self._held - self._open_names())
            if self._spool.is_owned:
                before, version = version, self._rows.version()
                if is_due or version != before:
                    await self._try_to_tidy()
            await trio.sleep(limits.CHANGE_POLL_S)

    async def _try_to_tidy(self) -> None:
        try:
            await self.tidy()
        except ImgurfsError as error:
            logger.warning("the spool could not be tidied: %s", error)

    async def tidy(self) -> None:
        """Do what there is to do now. Raises UnavailableError, DatabaseError."""
        sent = drafts.everything(self._rows.reader, (DraftState.SENT,))
        waiting = {row.inode for row in sent}
        self._patience = {k: v for k, v in self._patience.items() if k in waiting}
        now = self._clock.now()
        for row in sent:
            patience = self._patience.get(row.inode)
            if patience is None or patience.retry_at <= now:
                await self._compare(row)
        await self._remove_discarded()

    # --- After an upload ---------------------------------------------------------

    async def _compare(self, row: Draft) -> None:
        """Find out whether Imgur has the bytes it was given."""
        node = entries.node(self._rows.reader, row.inode)
        if node is None or node.image is None or not node.image.id:
            return
        try:
            identity = await self._fetcher.identify(node.image)
            is_same = await self._is_same(row, node.image, identity)
            if is_same:
                path = self._spool.path(row.spool_name)
                await self._fetcher.adopt(node.image, path, identity)
                reach("draft-adopted")
        except ImgurfsError as error:
            # Not there yet (a video is being processed), no network, or gone.
            self._be_patient(row.inode)
            logger.debug("image %s is not compared: %s", node.image.id, error)
            return
        await self._rows.write(
            partial(_settle, row, identity, is_same=is_same, now=self._clock.now())
        )
        if not is_same:
            logger.info("Imgur has changed image %s; the original stays", node.image.id)

    async def _is_same(self, row: Draft, image: Image, identity: Identity) -> bool:
        if identity.size_bytes != row.size_bytes:
            return False
        if _MD5.fullmatch(identity.etag):
            return await self._spool.md5(row.spool_name) == identity.etag
        # An ETag of another kind says nothing: compare the bytes themselves.
        try:
            file = await self._spool.open_file(row.spool_name)
        except FileNotFoundError:
            return False
        try:
            return await self._has_bytes_of(file, image)
        finally:
            self._spool.close_file(file)

    async def _has_bytes_of(self, file: SpoolFile, image: Image) -> bool:
        sequence = Sequence()
        for offset in range(0, file.size_bytes, limits.SPOOL_PIECE_BYTES):
            size_bytes = limits.SPOOL_PIECE_BYTES
            ours = await self._spool.read(file, offset, size_bytes)
            theirs = await self._fetcher.read(
                image, offset, size_bytes, sequence=sequence
            )
            if ours != theirs:
                return False
        return True

    def _be_patient(self, inode: Inode) -> None:
        old = self._patience.get(inode)
        pause_s = limits.COMPARE_PAUSE_MIN_S if old is None else 2 * old.pause_s
        pause_s = min(pause_s, limits.COMPARE_PAUSE_MAX_S)
        self._patience[inode] = _Patience(self._clock.now() + pause_s, pause_s)

    # --- What nobody needs any more ------------------------------------------------

    async def _remove_discarded(self) -> None:
        """Remove contents, when it is durable that nothing names them any more."""
        if drafts.of_deleted(self._rows.reader):
            await self._rows.write(_drop_deleted)
        discarded = drafts.discarded(self._rows.reader)
        # The room for what is written to them yet would never be given back.
        self._held = discarded & self._open_names()
        free = [
            name
            for name in discarded - self._held
            if not drafting.may_be_read(self._rows.reader, name)
        ]
        if not free:
            return
        now = self._clock.now()
        await self._rows.write(
            lambda c: meta.put_time(c, "spool_tidied_at", now), is_durable=True
        )
        reach("draft-discarded")
        for start in range(0, len(free), _REMOVED_AT_ONCE):
            await self._spool.remove(*free[start : start + _REMOVED_AT_ONCE])
        await self._rows.write(lambda c: drafts.removed(c, free))

    def _open_names(self) -> set[str]:
        return {draft.file.name for draft in self._opened.values() if draft.file}


def _settle(
    row: Draft, identity: Identity, c: Connection, *, is_same: bool, now: float
) -> None:
    """Write down what the comparison showed, unless the file has changed meanwhile."""
    if drafts.get(c, row.inode) != row:
        return
    entries.set_size(c, row.inode, identity.size_bytes)
    entries.set_etag(c, row.inode, identity.etag)
    if is_same:
        drafts.drop(c, row.inode)
        drafts.discard(c, row.spool_name)
    else:
        drafts.put(c, replace(row, state=DraftState.KEPT, changed_at=now))


def _drop_deleted(c: Connection) -> None:
    """Forget the drafts of images that Imgur has deleted, as the user wanted."""
    for row in drafts.of_deleted(c):
        drafts.drop(c, row.inode)
        drafts.discard(c, row.spool_name)
