"""The content of one open file: load, change, make durable.

The lower half of :mod:`imgurfs.writing.files`, which says how it works and is its only
user. Whoever calls a method here holds the lock of the :class:`OpenDraft`, and its
``holders`` count him.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import trio

from imgurfs.clock import Clock
from imgurfs.content.fetch import Fetcher
from imgurfs.content.spool import Spool, SpoolFile, together
from imgurfs.crashpoints import reach
from imgurfs.errors import (
    ContentGoneError,
    ImgurfsError,
    IsDirectoryError,
    NotFoundError,
    OutageError,
    SpoolFullError,
    UnavailableError,
)
from imgurfs.model import Image
from imgurfs.store import drafts, entries
from imgurfs.store.drafts import DraftState
from imgurfs.store.entries import NodeKind
from imgurfs.writing import drafting
from imgurfs.writing.arrival import Arrival
from imgurfs.writing.drafting import NO_TIMES, Begun, Ground, Rules, Times
from imgurfs.writing.judge import HEAD_BYTES, size_problem
from imgurfs.writing.opened import GONE, OpenDraft
from imgurfs.writing.rows import Rows

#: Starts an arrival in the background, holding the file; OutageError: not any more.
StartArrival = Callable[[OpenDraft, Arrival], None]


class Contents:
    """Reads and changes contents, in the spool and in the rows."""

    def __init__(
        self,
        *,
        rows: Rows,
        spool: Spool,
        fetcher: Fetcher,
        clock: Clock,
        rules: Rules,
        start_arrival: StartArrival,
    ) -> None:
        self._rows = rows
        self._spool = spool
        self._fetcher = fetcher
        self._clock = clock
        self._rules = rules
        self._start_arrival = start_arrival

    async def load(self, draft: OpenDraft) -> None:
        """Find out where the bytes are. Raises NotFoundError, IsDirectoryError."""
        node = entries.node(self._rows.reader, draft.inode)
        if node is None:
            raise NotFoundError("the file does not exist any more")
        if node.kind is not NodeKind.IMAGE:
            raise IsDirectoryError("a directory has no content")
        file, row = None, node.draft
        if row is not None:
            # What was uploaded may just have become the content cache; what the spool
            # has lost can be written anew.
            with contextlib.suppress(FileNotFoundError):
                file = await self._spool.open_file(row.spool_name)
        if draft.file is not None:
            draft.retired.append(draft.file)
        if row is not None and file is not None:
            draft.generation = row.generation
        draft.image, draft.file, draft.is_loaded = node.image, file, True

    async def write(self, draft: OpenDraft, offset: int | None, data: bytes) -> None:
        """Take all of the bytes; ``offset`` None is the end of the file."""
        start = draft.size_bytes if offset is None else offset
        end = start + len(data)
        file = await self._begin(draft, start)
        before = file.writes
        try:
            if problem := size_problem(end, self._rules.settings):
                raise problem
            await self._spool.write(file, start, data)
        except BaseException as error:
            draft.fall_short(start, error)
            raise
        finally:
            if file.writes > before:
                self._was_changed(draft)
        draft.was_written(start, end)

    async def truncate(
        self, draft: OpenDraft, size_bytes: int, *, is_opening: bool = False
    ) -> None:
        """Cut the content, or lengthen it with zeros.

        ``is_opening``: if it fails, nobody has it open who would miss it.
        """
        if not draft.has_bytes and size_bytes == draft.size_bytes > 0:
            return
        if problem := size_problem(size_bytes, self._rules.settings):
            raise problem
        # What was to be made room for may be written all the same.
        offset = min(size_bytes, draft.size_bytes)
        is_begun = draft.is_touched
        try:
            file = await self._make_writable(draft, bytes_kept=size_bytes)
            is_begun = True
            if file.size_bytes != size_bytes:
                await self._spool.truncate(file, size_bytes)
        except BaseException as error:
            if is_begun and not is_opening:
                draft.fall_short(offset, error, length=size_bytes)
            raise
        self._was_changed(draft)
        draft.was_cut(size_bytes)

    async def save(self, draft: OpenDraft) -> None:
        """Commit what is dirty, and what is not whole and may be uploaded so."""
        if draft.shortfall is not None and draft.is_touched and not draft.is_dirty:
            await self.take_back(draft, draft.shortfall)
        if draft.is_dirty:
            await self._commit(draft)

    async def _commit(self, draft: OpenDraft) -> None:
        """Make a dirty content durable, and say what becomes of it.

        A new file that only grew is made durable while its row is: after a power cut
        its size and its holes tell whether it was (``recovery``). The row of any other
        content waits for the bytes. Without a name there is nothing to decide.
        """
        file = draft.file
        assert file is not None
        if draft.is_nameless:
            await self._sync(file)
            return
        try:
            head = await self._spool.read(file, 0, HEAD_BYTES)
            if file.is_growing and file.size_bytes:
                await together(
                    partial(self._sync, file),
                    partial(self._finish, draft, head, is_grown=True),
                )
                return
            if file.size_bytes:
                await self._sync(file)
        except (SpoolFullError, UnavailableError) as error:
            await self.take_back(draft, error)
            raise
        await self._finish(draft, head)

    async def _sync(self, file: SpoolFile) -> None:
        await self._spool.sync(file)
        reach("draft-synced")

    async def _finish(
        self, draft: OpenDraft, head: bytes, *, is_grown: bool = False
    ) -> None:
        """Write the row of a content that a program has closed."""
        assert draft.file is not None
        size_bytes = draft.file.size_bytes
        # A refused write that changed nothing leaves a content that is whole, unless it
        # is the rest of what was written before and made durable.
        is_short = draft.is_changed or draft.is_touched
        shortfall = draft.shortfall if is_short else None
        verdict = await self._rows.write(
            partial(
                drafting.finish,
                inode=draft.inode,
                generation=draft.generation,
                head=head,
                size_bytes=size_bytes,
                times=draft.times,
                rules=self._rules,
                damage="" if shortfall is None else shortfall.message,
                is_grown=is_grown,
                now=self._clock.now(),
            ),
            # Nothing is lost with an empty file, and programs make many.
            is_durable=size_bytes > 0,
        )
        reach("draft-committed")
        draft.is_dirty = draft.is_changed = False
        draft.times = NO_TIMES
        # No verdict: it has no name any more, so nobody is ever to see it again.
        if verdict is not None:
            draft.refusal = verdict.exception if shortfall is None else shortfall

    async def take_back(self, draft: OpenDraft, error: ImgurfsError) -> None:
        """Let a content that is not whole, or not durable, be unfinished; say why."""
        now, message = self._clock.now(), error.message
        begun = await self._rows.write(
            lambda c: drafting.begin(
                c,
                draft.inode,
                now=now,
                error=message,
                is_here=draft.has_bytes,
                is_unlinked=draft.is_unlinked,
            )
        )
        if begun.ground is Ground.OURS:
            draft.is_dirty = draft.is_changed = True
        elif draft.is_touched and begun.ground is not Ground.GONE:
            # It is in the air: all that can be done is to say so.
            draft.refusal = error

    # --- Inside ------------------------------------------------------------------

    def _was_changed(self, draft: OpenDraft) -> None:
        draft.is_changed = draft.is_touched = True
        now_ns = int(self._clock.now() * 1e9)
        draft.times = Times(now_ns, draft.times.atime_ns, now_ns)

    async def _begin(self, draft: OpenDraft, offset: int) -> SpoolFile:
        """Return the file that may be changed at ``offset``, or note that it was not.

        One that this opening has changed already is not whole without this change.
        """
        try:
            return await self._make_writable(draft, bytes_kept=None)
        except BaseException as error:
            if draft.is_touched:
                draft.fall_short(offset, error)
            raise

    async def _make_writable(
        self, draft: OpenDraft, *, bytes_kept: int | None
    ) -> SpoolFile:
        """Return the file that may be changed; of an old content ``bytes_kept`` matter.

        The row says so before the first byte changes, durably if what it said was: else
        a power cut would bring back an upload of a content that is half another one.
        """
        if not draft.is_dirty:
            row = drafts.get(self._rows.reader, draft.inode)
            is_durable = row is not None and row.state is not DraftState.WRITING
            now = self._clock.now()
            with trio.CancelScope(shield=True):
                begun = await self._rows.write(
                    lambda c: drafting.begin(
                        c,
                        draft.inode,
                        now=now,
                        is_here=draft.has_bytes,
                        is_unlinked=draft.is_unlinked,
                    ),
                    is_durable=is_durable,
                )
            reach("draft-begun")
            match begun.ground:
                case Ground.GONE:
                    raise ContentGoneError(GONE)
                case Ground.OURS:
                    assert draft.generation == begun.generation
                case Ground.TAKEN | Ground.IMAGE:
                    await self._begin_anew(draft, begun, bytes_kept)
            draft.is_dirty, draft.is_changed, draft.refusal = True, False, None
        assert draft.file is not None
        return draft.file

    async def _begin_anew(
        self, draft: OpenDraft, begun: Begun, bytes_kept: int | None
    ) -> None:
        """Give a file another content, which begins as what it had."""
        generation = max(begun.generation, draft.generation + 1)
        new_name = drafts.spool_name(draft.inode, generation)
        if draft.arrival is not None and (bytes_kept == 0 or draft.has_bytes):
            arrival, draft.arrival = draft.arrival, None
            await arrival.discard()
        if bytes_kept == 0:
            file = await self._spool.create(new_name)
        elif draft.file is not None:
            file = await self._spool.clone(draft.file, new_name)
        else:
            # It may have begun to arrive for a request that has given up.
            file, generation = await self._bring(draft, generation, bytes_kept)
        if bytes_kept != 0:
            await self._make_durable(file)
        now = self._clock.now()
        with trio.CancelScope(shield=True):
            is_there = is_wanted = False
            try:
                is_there = await self._rows.write(
                    lambda c: drafting.begin_anew(
                        c,
                        draft.inode,
                        generation,
                        now=now,
                        is_unlinked=draft.is_unlinked,
                    )
                )
                is_wanted = is_there or draft.is_unlinked
            finally:
                if not is_wanted:
                    self._spool.close_file(file)
                    await self._spool.remove(file.name)
        if not is_wanted:
            raise ContentGoneError(GONE)
        if draft.file is not None:
            draft.retired.append(draft.file)
        draft.file, draft.generation = file, generation
        draft.is_nameless = not is_there

    async def _make_durable(self, file: SpoolFile) -> None:
        """Let what a content begins with be durable before a row names it.

        Else a file that nobody closes would end as one that has lost these bytes.
        """
        try:
            await self._spool.sync(file)
        except BaseException:
            self._spool.close_file(file)
            with trio.CancelScope(shield=True):
                await self._spool.remove(file.name)
            raise

    def bring_unlinked(self, draft: OpenDraft) -> None:
        """Start to bring the bytes of an image that is about to be deleted.

        Nobody has written yet, but may; then it is too late.
        """
        image = draft.image
        if draft.arrival is None and not draft.has_bytes and image and image.id:
            generation = max(int(self._clock.now()), draft.generation + 1)
            # Whoever has it open when the mount ends needs them no more.
            with contextlib.suppress(OutageError):
                self._begin_arrival(draft, image, generation, None)

    def _begin_arrival(
        self, draft: OpenDraft, image: Image, generation: int, bytes_max: int | None
    ) -> None:
        """Start to bring bytes. Raises OutageError when the mount ends."""
        arrival = Arrival(
            fetcher=self._fetcher,
            spool=self._spool,
            inode=draft.inode,
            generation=generation,
            image=image,
            bytes_max=bytes_max,
        )
        self._start_arrival(draft, arrival)
        draft.arrival = arrival

    async def _bring(
        self, draft: OpenDraft, generation: int, bytes_max: int | None
    ) -> tuple[SpoolFile, int]:
        """Return the image's bytes as a file, and which generation of it that is.

        Only one who waits can be cancelled.
        """
        image, arrival = draft.on_imgur(), draft.arrival
        if arrival is not None and (arrival.is_failed or not arrival.covers(bytes_max)):
            draft.arrival = None
            await arrival.discard()
        if draft.arrival is None:
            self._begin_arrival(draft, image, generation, bytes_max)
        arrival = draft.arrival
        assert arrival is not None
        try:
            file = await arrival.wait()
        except ImgurfsError:
            draft.arrival = None
            raise
        arrival.take()
        draft.arrival = None
        return file, arrival.generation
