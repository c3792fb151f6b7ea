"""Names on the drive: link, unlink, rename, mkdir, rmdir, times and texts.

Each operation is one transaction: the tree as the user sees it, the wishes and the
jobs that bring the account there (``moves``, ``albums``, ``texts``). What belongs
around it is here: looking at the bytes of a file that gets a media name, and letting
go of those whose last name went. For the kernel adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from imgurfs.clock import Clock
from imgurfs.config import MountConfig
from imgurfs.errors import ContentGoneError, NameTakenError, NotFoundError
from imgurfs.model import Inode
from imgurfs.store import edits, entries
from imgurfs.store.database import Connection, Database
from imgurfs.store.entries import NodeKind
from imgurfs.writing import albums, checks, moves, texts
from imgurfs.writing.checks import Edit
from imgurfs.writing.drafting import Times
from imgurfs.writing.files import Files
from imgurfs.writing.judge import HEAD_BYTES
from imgurfs.writing.moves import Look, Name, Seen, SeenChangedError
from imgurfs.writing.rows import OnChanged, Rows

P = ParamSpec("P")
T = TypeVar("T")

#: Attempts at a file that changes each time between being looked at and being named.
_LOOKS_MAX: Final = 8


class Places:
    """Changes where files and albums are and what they are called.

    Names are text (the adapter has decoded them). Every method raises EditError when
    the change is refused, NotFoundError when something is not there (any more) and
    DatabaseError; nothing was changed then. What has returned survives our death; a
    power cut may undo the last of it, in order.
    """

    def __init__(
        self,
        *,
        db: Database,
        files: Files,
        clock: Clock,
        settings: MountConfig,
        delete_grace_s: float,
        on_changed: OnChanged = lambda _first, _last: None,
    ) -> None:
        self._rows = Rows(db, on_changed)
        self._files = files
        self._clock = clock
        self._settings = settings
        self._delete_grace_s = delete_grace_s

    async def link(self, inode: Inode, parent: Inode, name: str) -> None:
        """Put an image into one more album."""
        new = (parent, name)

        def do(edit: Edit, seen: Seen) -> None:
            moves.link(edit, inode, new, seen)

        await self._looking(do, lambda: inode, new)

    async def unlink(self, parent: Inode, name: str) -> Inode:
        """Take a file's name away; return its inode.

        Who has the file open goes on reading and writing it.
        """
        inode = await self._change(moves.unlink, parent, name)
        await self._files.forget_unlinked(inode)
        return inode

    async def rename(
        self,
        old_parent: Inode,
        old_name: str,
        new_parent: Inode,
        new_name: str,
        *,
        no_replace: bool = False,
    ) -> None:
        """Move a file or an album; a file or empty album in its way is replaced."""
        old, new = (old_parent, old_name), (new_parent, new_name)

        def do(edit: Edit, seen: Seen) -> Inode | None:
            return _rename(edit, old, new, seen, no_replace=no_replace)

        replaced = await self._looking(do, lambda: self._inode_at(old), new)
        if replaced is not None:
            await self._files.forget_unlinked(replaced)

    async def mkdir(self, parent: Inode, name: str) -> Inode:
        """Make an album; return its inode."""
        return await self._change(albums.make, parent, name)

    async def rmdir(self, parent: Inode, name: str) -> Inode:
        """Delete an empty album; return the inode it had."""
        return await self._change(albums.remove, parent, name)

    async def set_times(
        self,
        inode: Inode,
        *,
        mtime_ns: int | None = None,
        atime_ns: int | None = None,
    ) -> None:
        """Set what a program says the times are, in ns; None leaves one as it is."""
        now_ns = round(self._clock.now() * 1e9)
        times = Times(mtime_ns, atime_ns, now_ns)
        if not await self._files.set_times(inode, times):
            await self._change(_touch, inode, mtime_ns=mtime_ns, atime_ns=atime_ns)

    async def set_text(
        self,
        inode: Inode,
        *,
        title: str | None = None,
        description: str | None = None,
    ) -> None:
        """Set an image's or album's title or description; None leaves what it has."""
        await self._change(texts.set_text, inode, title=title, description=description)

    # --- Inside ------------------------------------------------------------------

    def _inode_at(self, place: Name) -> Inode | None:
        entry = entries.child(self._rows.reader, *place)
        return None if entry is None else entry.node.inode

    async def _looking(
        self,
        fn: Callable[[Edit, Seen], T],
        inode_of: Callable[[], Inode | None],
        new: Name,
    ) -> T:
        """Give something a name; bytes are looked at first if they decide anything."""
        seen: dict[Inode, Look] = {}
        for _ in range(_LOOKS_MAX):
            inode = inode_of()
            if inode is not None:
                await self._look(inode, new, seen)
            try:
                return await self._change(fn, seen)
            except SeenChangedError:
                continue
        raise NameTakenError("the file is being changed all the time", hint="try again")

    async def _look(self, inode: Inode, new: Name, seen: dict[Inode, Look]) -> None:
        """Look at what was not seen yet, or has changed since."""
        for draft in moves.needs_look(self._rows.reader, inode, new):
            look = seen.get(draft.inode)
            if look is None or look.draft != draft:
                try:
                    head = await self._head(draft.inode)
                except (NotFoundError, ContentGoneError):
                    # Another program has removed it: the transaction says what that
                    # means. One that is there without its bytes begins with nothing.
                    head = b""
                seen[draft.inode] = Look(draft, head)

    async def _head(self, inode: Inode) -> bytes:
        """Return the first bytes of a content in the spool, to judge it by."""
        draft = await self._files.open_for_reading(inode)
        if draft is None:
            return b""
        try:
            return await self._files.read(draft, 0, HEAD_BYTES)
        finally:
            await self._files.release(draft)

    async def _change(
        self, fn: Callable[Concatenate[Edit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one transaction, which need not be durable."""

        def change(c: Connection) -> T:
            edit = Edit(c, self._clock.now(), self._settings, self._delete_grace_s)
            return fn(edit, *args, **kwargs)

        return await self._rows.write(change)


def _rename(
    edit: Edit,
    old: Name,
    new: Name,
    seen: Seen,
    *,
    no_replace: bool,
) -> Inode | None:
    """Rename whatever it is; return the inode of the file that was replaced."""
    c = edit.c
    checks.directory(c, old[0])
    checks.directory(c, new[0])
    node = checks.found(c, *old)
    taken = entries.child(c, *new)
    target = None if taken is None else taken.node
    if target is not None and no_replace:
        raise NameTakenError(f"there is a {new[1]!r} already")
    if target is not None and target.inode == node.inode:
        return None
    if node.kind is NodeKind.ALBUM:
        albums.rename(edit, node, new, seen)
        return None
    moves.move(edit, node, old, new, target=target, seen=seen)
    return None if target is None else target.inode


def _touch(
    edit: Edit, inode: Inode, *, mtime_ns: int | None, atime_ns: int | None
) -> None:
    """Write times that a program has set. Raises NotFoundError."""
    if entries.node(edit.c, inode) is None:
        raise NotFoundError("it does not exist any more")
    edits.touch(
        edit.c, inode, mtime_ns=mtime_ns, atime_ns=atime_ns, ctime_ns=edit.now_ns
    )
