"""One short method per kernel request: decode, ask tree or content, encode.

What it is not: there are no rules, no SQL and no HTTP here. ``tree.view`` knows what
exists, ``content.fetch`` has the bytes, ``fuse.requests`` turns errors into errnos and
keeps deadlines. The promises that the methods keep are numbered in docs/SEMANTICS.md.

The drive is read-only: every request that would change it answers EROFS. Inode numbers
are the store's, so there is no table here that would have to forget anything.
"""

# The signatures are pyfuse3's: most handlers need no context, flags are positional.
# ruff: noqa: ARG002, FBT001

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import pyfuse3

from imgurfs.content.fetch import Fetcher
from imgurfs.errors import NotFoundError
from imgurfs.fuse.attributes import absent, attributes_of
from imgurfs.fuse.handles import Handles, OpenDirectory, OpenFile
from imgurfs.fuse.requests import Deadlines, Wait, request
from imgurfs.fuse.xattrs import xattrs_of
from imgurfs.limits import NAME_BYTES_MAX
from imgurfs.model import AlbumId, Image, Inode
from imgurfs.store.entries import Node, NodeKind
from imgurfs.tree.view import View

#: ``pyfuse3.readdir_reply``, or a test's own.
ReaddirReply = Callable[
    [pyfuse3.ReaddirToken, pyfuse3.FileNameT, pyfuse3.EntryAttributes, int], bool
]

_STATFS_BLOCK_BYTES: Final = 4096
_OUR_XATTRS: Final = b"user."


class Operations(pyfuse3.Operations):
    """The drive as the kernel sees it."""

    enable_writeback_cache = False

    def __init__(
        self,
        *,
        view: View,
        fetcher: Fetcher,
        albums_of: Callable[[Inode], Sequence[AlbumId]],
        deadlines: Deadlines | None = None,
        readdir_reply: ReaddirReply = pyfuse3.readdir_reply,
    ) -> None:
        super().__init__()
        self.deadlines = deadlines or Deadlines()
        self.handles = Handles()
        self._view = view
        self._fetcher = fetcher
        self._albums_of = albums_of
        self._readdir_reply = readdir_reply
        self._uid = os.getuid()
        self._gid = os.getgid()

    def _attributes(self, node: Node) -> pyfuse3.EntryAttributes:
        return attributes_of(node, uid=self._uid, gid=self._gid)

    # --- Names and attributes ------------------------------------------------

    @request()
    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Find a name; one that does not exist is remembered as such."""
        if len(name) > NAME_BYTES_MAX:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        parent = Inode(parent_inode)
        try:
            text = name.decode()
        except UnicodeDecodeError:
            return absent()
        # The kernel asks for these only on behalf of NFS; albums are flat.
        if text in (".", ".."):
            raise pyfuse3.FUSEError(errno.ENOENT)
        try:
            entry = await self._view.lookup(parent, text)
        except NotFoundError:
            return absent()
        return self._attributes(entry.node)

    @request()
    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return what is known of an inode."""
        return self._attributes(self._view.node(Inode(inode)))

    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        """Do nothing: inodes live in the store, not in a table of this process."""

    @request()
    async def access(
        self, inode: pyfuse3.InodeT, mode: pyfuse3.ModeT, ctx: pyfuse3.RequestContext
    ) -> bool:
        """Answer whether an access would be allowed; writing never is."""
        if mode & os.W_OK:
            raise pyfuse3.FUSEError(errno.EROFS)
        return True

    @request()
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return the account's totals; there is no room left on a read-only drive."""
        totals = self._view.totals()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _STATFS_BLOCK_BYTES
        data.f_blocks = -(-totals.bytes // _STATFS_BLOCK_BYTES)
        data.f_bfree = data.f_bavail = 0
        data.f_files = totals.images + totals.albums + 1
        data.f_ffree = data.f_favail = 0
        data.f_namemax = NAME_BYTES_MAX
        return data

    # --- Directories ---------------------------------------------------------

    @request()
    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Take the listing as it is now; a directory never listed is listed first."""
        directory = Inode(inode)
        if self._view.node(directory).kind is NodeKind.IMAGE:
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        entries = await self._view.list(directory)
        number = self.handles.add_directory(OpenDirectory(directory, entries))
        return pyfuse3.FileHandleT(number)

    @request()
    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """Answer with as many entries behind ``start_id`` as fit."""
        for entry in self.handles.directory(fh).after(start_id):
            attributes = self._attributes(entry.node)
            name = pyfuse3.FileNameT(entry.name.encode())
            if not self._readdir_reply(token, name, attributes, entry.cookie):
                return

    @request()
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Forget the listing."""
        self.handles.remove_directory(fh)

    @request()
    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Do nothing: nothing can have been written."""

    # --- Files ---------------------------------------------------------------

    @request(Wait.DATA)
    async def open(
        self,
        inode: pyfuse3.InodeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.FileInfo:
        """Open for reading. Only an unknown size makes this ask the CDN."""
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            raise pyfuse3.FUSEError(errno.EROFS)
        image = self._image(Inode(inode))
        file = await self._fetcher.hold(image)
        number = self.handles.add_file(OpenFile(Inode(inode), image, file))
        # Never direct_io: a reader that waits there cannot be killed. The pages may
        # stay, because an image id never changes content.
        return pyfuse3.FileInfo(
            fh=pyfuse3.FileHandleT(number), direct_io=False, keep_cache=True
        )

    @request(Wait.DATA)
    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Return bytes; fewer than asked for only at the end of the file."""
        opened = self.handles.file(fh)
        return await self._fetcher.read(
            opened.image, off, size, sequence=opened.sequence
        )

    @request()
    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Do nothing: nothing can have been written."""

    @request()
    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Do nothing: nothing can have been written."""

    @request()
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Let the cached bytes go."""
        self._fetcher.let_go(self.handles.remove_file(fh).file)

    def _image(self, inode: Inode) -> Image:
        image = self._view.node(inode).image
        if image is None:
            raise pyfuse3.FUSEError(errno.EISDIR)
        return image

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
        node = self._view.node(inode)
        albums = self._albums_of(inode) if node.kind is NodeKind.IMAGE else ()
        return xattrs_of(node, albums)

    # --- What a read-only drive refuses --------------------------------------

    async def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise pyfuse3.FUSEError(errno.EROFS)

    setattr = _refuse
    mknod = _refuse
    mkdir = _refuse
    unlink = _refuse
    rmdir = _refuse
    symlink = _refuse
    rename = _refuse
    link = _refuse
    create = _refuse
    write = _refuse
    setxattr = _refuse
    removexattr = _refuse

    async def readlink(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileNameT:
        """Refuse: there are no symbolic links."""
        raise pyfuse3.FUSEError(errno.EINVAL)
