"""One short method per kernel request: decode, ask tree or content, encode.

What it is not: there are no rules, no SQL and no HTTP here. ``tree.view`` knows what
exists, ``content.fetch`` and ``writing.files`` have the bytes, ``fuse.requests`` turns
errors into errnos and keeps deadlines. The promises that the methods keep are numbered
in docs/SEMANTICS.md.

Here is what every drive answers; ``fuse.read_only`` and ``fuse.editing`` have the two
kinds of drives. Inode numbers are the store's, so there is no table here that would
have to forget anything.
"""

# The signatures are pyfuse3's: most handlers need no context, flags are positional.
# ruff: noqa: ARG002

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyfuse3

from imgurfs.content.fetch import Fetcher
from imgurfs.errors import ContentGoneError, IsDirectoryError, NotFoundError
from imgurfs.fuse.attributes import Ownership, absent, attributes_of
from imgurfs.fuse.handles import Handles, OpenDirectory, OpenFile
from imgurfs.fuse.names import name_to_find
from imgurfs.fuse.requests import Deadlines, Wait, request
from imgurfs.fuse.virtual import DIRECTORY_NAME, VirtualFiles
from imgurfs.fuse.xattrs import xattrs_of
from imgurfs.limits import NAME_BYTES_MAX
from imgurfs.model import ROOT_INODE, AlbumId, Inode
from imgurfs.store.entries import Entry, Node, NodeKind
from imgurfs.tree.view import View
from imgurfs.writing.files import Files

#: ``pyfuse3.readdir_reply``, or a test's own.
ReaddirReply = Callable[
    [pyfuse3.ReaddirToken, pyfuse3.FileNameT, pyfuse3.EntryAttributes, int], bool
]

_STATFS_BLOCK_BYTES: Final = 4096
_OUR_XATTRS: Final = b"user."
#: Entries of a directory read at a time: more than the kernel takes at once.
_PAGE_ENTRIES: Final = 128


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the requests are answered from, and how."""

    view: View
    fetcher: Fetcher
    files: Files
    handles: Handles
    virtual: VirtualFiles
    albums_of: Callable[[Inode], Sequence[AlbumId]]
    #: Takes note that the database turned out to be damaged.
    on_damage: Callable[[], None]
    deadlines: Deadlines
    ownership: Ownership
    readdir_reply: ReaddirReply = pyfuse3.readdir_reply


class Operations(pyfuse3.Operations):
    """What every drive answers: names, attributes, content."""

    enable_writeback_cache = False

    def __init__(self, rooms: Rooms) -> None:
        super().__init__()
        self.deadlines = rooms.deadlines
        self.on_damage = rooms.on_damage
        self.handles = rooms.handles
        self._rooms = rooms
        self._view = rooms.view
        self._files = rooms.files

    def _attributes(self, node: Node) -> pyfuse3.EntryAttributes:
        seen = self._files.overlay(node)
        return attributes_of(seen, self._rooms.ownership)

    def _virtual_attributes(self, inode: Inode) -> pyfuse3.EntryAttributes:
        return self._rooms.virtual.attributes(inode, self._rooms.ownership)

    def _node(self, inode: Inode) -> Node:
        """Return what an inode is, also when only an open file knows it any more."""
        try:
            return self._view.node(inode)
        except NotFoundError:
            held = self.handles.held_node(inode)
            if held is None:
                raise
            return dataclasses.replace(held, links=0)

    # --- Names and attributes ------------------------------------------------

    @request()
    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Find a name; one that does not exist is remembered as such."""
        parent = Inode(parent_inode)
        try:
            text = name_to_find(name)
            if VirtualFiles.owns(parent):
                return self._virtual_attributes(self._rooms.virtual.find(text))
            if parent == ROOT_INODE and text == DIRECTORY_NAME:
                return self._virtual_attributes(VirtualFiles.directory())
            entry = await self._view.lookup(parent, text)
        except NotFoundError:
            return absent()
        return self._attributes(entry.node)

    @request()
    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return what is known of an inode."""
        if VirtualFiles.owns(inode):
            return self._virtual_attributes(Inode(inode))
        return self._attributes(self._node(Inode(inode)))

    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        """Do nothing: inodes live in the store, not in a table of this process."""

    @request()
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return the account's totals, and the room there is for what is written."""
        totals = self._view.totals()
        free_bytes, free_files = self._free()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _STATFS_BLOCK_BYTES
        data.f_bfree = data.f_bavail = free_bytes // _STATFS_BLOCK_BYTES
        data.f_blocks = -(-totals.bytes // _STATFS_BLOCK_BYTES) + data.f_bfree
        data.f_ffree = data.f_favail = free_files
        data.f_files = totals.images + totals.albums + 1 + free_files
        data.f_namemax = NAME_BYTES_MAX
        return data

    def _free(self) -> tuple[int, int]:
        """Return for how many bytes and files there is room: none for reading only."""
        return 0, 0

    # --- Directories ---------------------------------------------------------

    @request()
    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Make sure that there is a listing; a directory never listed is listed now."""
        directory = Inode(inode)
        if not VirtualFiles.owns(directory):
            if self._node(directory).kind is NodeKind.IMAGE:
                raise pyfuse3.FUSEError(errno.ENOTDIR)
            await self._view.list(directory, limit=0)
        number = self.handles.add_directory(OpenDirectory(directory))
        return pyfuse3.FileHandleT(number)

    @request()
    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """Answer with as many entries behind ``start_id`` as fit, as they are now."""
        opened = self.handles.directory(fh)
        if VirtualFiles.owns(opened.inode):
            self._list_virtual(start_id, token)
            return
        for entry in self._page(opened, start_id):
            attributes = self._attributes(entry.node)
            name = pyfuse3.FileNameT(entry.name.encode())
            if not self._rooms.readdir_reply(token, name, attributes, entry.cookie):
                return

    def _page(self, opened: OpenDirectory, cookie: int) -> list[Entry]:
        """Return the next entries behind a cookie, none at the end."""
        version = self._view.version()
        found = opened.behind(cookie, version=version)
        if not found:
            found = self._view.page(
                opened.inode, after_cookie=cookie, limit=_PAGE_ENTRIES
            )
            opened.entries, opened.after_cookie = found, cookie
            opened.version = version
        return found

    def _list_virtual(self, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        for cookie, text, inode in self._rooms.virtual.listing()[start_id:]:
            attributes = self._virtual_attributes(inode)
            name = pyfuse3.FileNameT(text.encode())
            if not self._rooms.readdir_reply(token, name, attributes, cookie):
                return

    @request()
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Forget the page."""
        self.handles.remove_directory(fh)

    # --- Files ---------------------------------------------------------------

    async def _open_virtual(self, inode: Inode) -> pyfuse3.FileInfo:
        if VirtualFiles.is_directory(inode):
            raise IsDirectoryError("a directory has no content")
        number = self.handles.add_content(await self._rooms.virtual.content(inode))
        # Each opening has a content and a length of its own, so the kernel keeps no
        # pages. That a reader here cannot be killed while it waits is no danger: the
        # bytes are in memory.
        return pyfuse3.FileInfo(
            fh=pyfuse3.FileHandleT(number), direct_io=True, keep_cache=False
        )

    async def _open_for_reading(self, node: Node, flags: int) -> pyfuse3.FileInfo:
        opened = OpenFile(node, flags)
        opened.draft = await self._files.open_for_reading(node.inode)
        if opened.draft is None:
            assert node.image is not None
            opened.cached = await self._rooms.fetcher.hold(node.image)
        return self._opened(opened)

    def _opened(self, opened: OpenFile) -> pyfuse3.FileInfo:
        # Never direct_io: a reader that waits there cannot be killed. The pages may
        # stay: an image id never changes content, and what is written passes through
        # them. Only what somebody else wrote meanwhile makes them old.
        is_stale = self.handles.take_stale(opened.inode)
        number = self.handles.add_file(opened)
        return pyfuse3.FileInfo(
            fh=pyfuse3.FileHandleT(number), direct_io=False, keep_cache=not is_stale
        )

    @request(Wait.DATA)
    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Return bytes; fewer than asked for only at the end of the file."""
        content = self.handles.content(fh)
        if content is not None:
            return content[off : off + size]
        opened = self._open_file(fh)
        if opened.draft is None:
            # It may have been written, uploaded, or both, since it was opened.
            opened.node = self._node(opened.inode)
            await self._hold_since_opened(opened)
        if opened.draft is not None:
            return await self._files.read(opened.draft, off, size)
        image = opened.node.image
        if image is None or not image.id:
            raise ContentGoneError("the file was removed, and its bytes with it")
        return await self._rooms.fetcher.read(
            image, off, size, sequence=opened.sequence
        )

    async def _hold_since_opened(self, opened: OpenFile) -> None:
        if opened.node.draft is None and self._files.current(opened.inode) is None:
            return
        draft = await self._files.open_for_reading(opened.inode)
        if opened.draft is None:
            opened.draft = draft
        elif draft is not None:
            # Another read through this handle came first; the handle holds it once.
            await self._files.release(draft)

    @request()
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Let the bytes go."""
        self.handles.remove_content(fh)
        opened = self.handles.remove_file(fh)
        if opened is None:
            return
        if opened.cached is not None:
            self._rooms.fetcher.let_go(opened.cached)
        if opened.draft is not None:
            await self._files.release(opened.draft, is_writer=opened.is_writer)

    def _open_file(self, fh: int) -> OpenFile:
        opened = self.handles.file(fh)
        if opened is None:
            raise pyfuse3.FUSEError(errno.EBADF)
        return opened

    def _file_node(self, inode: Inode) -> Node:
        node = self._node(inode)
        if node.image is None:
            raise IsDirectoryError("a directory has no content")
        return node

    # --- Extended attributes -------------------------------------------------

    @request()
    async def getxattr(
        self,
        inode: pyfuse3.InodeT,
        name: pyfuse3.XAttrNameT,
        ctx: pyfuse3.RequestContext,
    ) -> bytes:
        """Return one of ours; foreign namespaces are not supported at all.

        ENODATA for those would make ``ls`` ask again for every file.
        """
        if not name.startswith(_OUR_XATTRS):
            raise pyfuse3.FUSEError(errno.ENOTSUP)
        value = self._xattrs(Inode(inode)).get(bytes(name))
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    @request()
    async def listxattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> Sequence[pyfuse3.XAttrNameT]:
        """Return the names of ours."""
        return [pyfuse3.XAttrNameT(name) for name in self._xattrs(Inode(inode))]

    def _xattrs(self, inode: Inode) -> dict[bytes, bytes]:
        if VirtualFiles.owns(inode):
            return {}
        node = self._node(inode)
        is_file = node.kind is NodeKind.IMAGE
        return xattrs_of(node, self._rooms.albums_of(inode) if is_file else ())

    async def readlink(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileNameT:
        """Refuse: there are no symbolic links."""
        raise pyfuse3.FUSEError(errno.EINVAL)
