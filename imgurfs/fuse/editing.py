"""The requests that change the drive: decode, ask ``imgurfs.writing``, encode.

What a change means, which ones are refused and what the account gets is not decided
here. A change is known to the kernel when its answer arrives; only what the answer
cannot tell is announced (``fuse.invalidation``).
"""

# The signatures are pyfuse3's: most handlers need no context, flags are positional.
# ruff: noqa: ARG002, PLR0917

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from typing import Final

import pyfuse3

from imgurfs.errors import BadNameError, EditError, NameTakenError, NotAllowedError
from imgurfs.fuse.handles import OpenFile
from imgurfs.fuse.names import name_to_find, name_to_give
from imgurfs.fuse.operations import Operations, Rooms
from imgurfs.fuse.requests import Wait, request
from imgurfs.fuse.virtual import VirtualFiles
from imgurfs.fuse.xattrs import DESCRIPTION, TITLE
from imgurfs.model import Inode
from imgurfs.writing.opened import OpenDraft
from imgurfs.writing.writer import Writer

#: Programs that ask for free inodes want to see a number; there is no bound.
_FREE_FILES: Final = 1 << 20


class EditingOperations(Operations):
    """The drive as the kernel sees it, for reading and writing."""

    def __init__(
        self,
        rooms: Rooms,
        writer: Writer,
        *,
        make_durable: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(rooms)
        self._places = writer.places
        self._make_durable = make_durable

    def _free(self) -> tuple[int, int]:
        return self._files.free_bytes(), _FREE_FILES

    # --- New files and open files --------------------------------------------

    @request()
    async def create(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a file and open it; one that has come meanwhile is opened instead."""
        parent, text = _parent(parent_inode), name_to_give(name)
        try:
            inode, draft = await self._files.create(parent, text)
        except NameTakenError:
            if flags & os.O_EXCL:
                raise
            inode = (await self._view.lookup(parent, text)).node.inode
            info = await self._open(inode, flags)
            node = self._node(inode)
        else:
            node = self._node(inode)
            info = self._opened(OpenFile(node, flags, draft=draft, is_writer=True))
        return info, self._attributes(node)

    @request()
    async def mknod(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        rdev: int,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make an empty regular file; there is nothing else."""
        if not stat.S_ISREG(mode):
            raise NotAllowedError("the drive has files and directories only")
        parent, text = _parent(parent_inode), name_to_give(name)
        inode, draft = await self._files.create(parent, text)
        try:
            await self._files.commit(draft)
            return self._attributes(self._node(inode))
        finally:
            await self._files.release(draft, is_writer=True)

    @request(Wait.DATA)
    async def open(
        self,
        inode: pyfuse3.InodeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.FileInfo:
        """Open with any flags; nothing is downloaded for writing before a write."""
        return await self._open(Inode(inode), flags)

    async def _open(self, inode: Inode, flags: int) -> pyfuse3.FileInfo:
        is_truncating = bool(flags & os.O_TRUNC)
        is_for_writing = flags & os.O_ACCMODE != os.O_RDONLY or is_truncating
        if VirtualFiles.owns(inode):
            if is_for_writing:
                raise _virtual_refusal()
            return await self._open_virtual(inode)
        node = self._file_node(inode)
        if not is_for_writing:
            return await self._open_for_reading(node, flags)
        draft = await self._files.open_for_writing(inode, truncate=is_truncating)
        return self._opened(OpenFile(node, flags, draft=draft, is_writer=True))

    @request(Wait.DATA)
    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        """Put bytes into the spool."""
        opened = self._open_file(fh)
        # The kernel does not know what somebody else may have appended.
        offset = None if opened.is_for_appending else off
        return await self._files.write(_writable(opened), offset, buf)

    @request(Wait.DATA)
    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Make durable what was written, and say what is wrong with it.

        Called for every close of a descriptor, so often for one opened file.
        """
        draft = self._draft(fh)
        if draft is None:
            return
        try:
            await self._files.commit(draft)
        except EditError as error:
            # Few programs say which file it was, and none says why.
            where = self._view.path_of(draft.inode)
            raise type(error)(f"{where}: {error.message}", hint=error.hint) from error

    @request(Wait.DATA)
    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:  # noqa: FBT001
        """Make durable what was written, through whichever handle."""
        draft = self._draft(fh)
        if draft is not None:
            await self._files.sync(draft)

    def _draft(self, fh: int) -> OpenDraft | None:
        opened = self.handles.file(fh)
        if opened is None:
            return None
        return opened.draft or self._files.current(opened.inode)

    @request()
    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:  # noqa: FBT001
        """Make durable which names there are."""
        await self._make_durable()

    # --- Attributes ----------------------------------------------------------

    @request(Wait.DATA)
    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Set size and times. Mode and owner are accepted and have no effect."""
        changed = Inode(inode)
        if VirtualFiles.owns(changed):
            raise _virtual_refusal()
        if fields.update_size:
            self._file_node(changed)
            await self._files.truncate(changed, attr.st_size)
        mtime_ns = attr.st_mtime_ns if fields.update_mtime else None
        atime_ns = attr.st_atime_ns if fields.update_atime else None
        if mtime_ns is not None or atime_ns is not None:
            await self._places.set_times(changed, mtime_ns=mtime_ns, atime_ns=atime_ns)
        return self._attributes(self._node(changed))

    @request()
    async def setxattr(
        self,
        inode: pyfuse3.InodeT,
        name: pyfuse3.XAttrNameT,
        value: bytes,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Set title or description on Imgur. ENOTSUP for all others.

        That is the answer after which programs that copy attributes go on in silence.
        """
        await self._set_text(Inode(inode), bytes(name), value)

    @request()
    async def removexattr(
        self,
        inode: pyfuse3.InodeT,
        name: pyfuse3.XAttrNameT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Empty title or description."""
        if bytes(name) in (TITLE, DESCRIPTION) and bytes(name) not in self._xattrs(
            Inode(inode)
        ):
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        await self._set_text(Inode(inode), bytes(name), b"")

    async def _set_text(self, inode: Inode, name: bytes, value: bytes) -> None:
        if VirtualFiles.owns(inode) or name not in (TITLE, DESCRIPTION):
            raise pyfuse3.FUSEError(errno.ENOTSUP)
        text = _utf8(value)
        if name == TITLE:
            await self._places.set_text(inode, title=text)
        else:
            await self._places.set_text(inode, description=text)

    # --- Names ---------------------------------------------------------------

    @request()
    async def mkdir(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make an album."""
        parent, text = _parent(parent_inode), name_to_give(name)
        inode = await self._places.mkdir(parent, text)
        return self._attributes(self._node(inode))

    @request()
    async def rmdir(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Delete an empty album."""
        await self._places.rmdir(_parent(parent_inode), name_to_find(name))

    @request()
    async def unlink(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Take a name away, and with the last one the file."""
        await self._places.unlink(_parent(parent_inode), name_to_find(name))

    @request()
    async def link(
        self,
        inode: pyfuse3.InodeT,
        new_parent_inode: pyfuse3.InodeT,
        new_name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Put a file into one more album."""
        linked, parent = _parent(inode), _parent(new_parent_inode)
        await self._places.link(linked, parent, name_to_give(new_name))
        return self._attributes(self._node(linked))

    @request()
    async def rename(
        self,
        parent_inode_old: pyfuse3.InodeT,
        name_old: pyfuse3.FileNameT,
        parent_inode_new: pyfuse3.InodeT,
        name_new: pyfuse3.FileNameT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Move or rename; two names cannot be exchanged."""
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise pyfuse3.FUSEError(errno.EINVAL)
        await self._places.rename(
            _parent(parent_inode_old),
            name_to_find(name_old),
            _parent(parent_inode_new),
            name_to_give(name_new),
            no_replace=bool(flags & pyfuse3.RENAME_NOREPLACE),
        )

    @request()
    async def symlink(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        target: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Refuse: an account has no symbolic links."""
        raise NotAllowedError("the drive has no symbolic links")


def _parent(inode: int) -> Inode:
    """Return an inode that may take part in a change of names."""
    if VirtualFiles.owns(inode):
        raise _virtual_refusal()
    return Inode(inode)


def _virtual_refusal() -> NotAllowedError:
    return NotAllowedError("what is in .imgurfs cannot be changed")


def _writable(opened: OpenFile) -> OpenDraft:
    if opened.draft is None or not opened.is_for_writing:
        raise pyfuse3.FUSEError(errno.EBADF)
    return opened.draft


def _utf8(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadNameError("a title or description must be UTF-8") from None
