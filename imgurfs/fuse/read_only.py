"""The drive that refuses every change: ``imgurfs mount --read-only``.

The kernel refuses most of it by itself, because the mount has the option ``ro``.
"""

# The signatures are pyfuse3's: most handlers need no context, flags are positional.
# ruff: noqa: ARG002, FBT001

from __future__ import annotations

import errno
import os
from typing import NoReturn

import pyfuse3

from imgurfs.fuse.operations import Operations
from imgurfs.fuse.requests import Wait, request
from imgurfs.fuse.virtual import VirtualFiles
from imgurfs.model import Inode


class ReadOnlyOperations(Operations):
    """The drive as the kernel sees it, for reading only."""

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
        if VirtualFiles.owns(inode):
            return await self._open_virtual(Inode(inode))
        return await self._open_for_reading(self._file_node(Inode(inode)), flags)

    @request()
    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Do nothing: nothing can have been written."""

    @request()
    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Do nothing: nothing can have been written."""

    @request()
    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Do nothing: nothing can have been changed."""

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
