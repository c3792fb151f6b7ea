"""What the kernel is told about a node: owner, mode, size, times, how long to keep it.

Pure but for the kernel's type; used by ``fuse.operations``.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Final

import pyfuse3

from imgurfs import limits
from imgurfs.store.entries import Node, NodeKind

_BLOCK_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Whose everything on a drive is, and what it may be used for.

    ``umask`` has the permission bits that nobody gets. The kernel goes by what is told
    here; by itself it lets nobody in but the user who has mounted.
    """

    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    umask: int = 0o022

    def give(
        self, attributes: pyfuse3.EntryAttributes, *, is_file: bool, is_fixed: bool
    ) -> None:
        """Put owner and mode into attributes; what is fixed nobody may write to."""
        wanted = 0o666 if is_file else 0o777
        if is_fixed:
            wanted &= 0o555
        kind = stat.S_IFREG if is_file else stat.S_IFDIR
        attributes.st_mode = pyfuse3.ModeT(kind | wanted & ~self.umask)
        attributes.st_uid = self.uid
        attributes.st_gid = self.gid


def attributes_of(node: Node, ownership: Ownership) -> pyfuse3.EntryAttributes:
    """Return the attributes of a node.

    Names and attributes are kept for long, because changes are announced
    (``fuse.invalidation``). The exception is a size that nobody knows: the kernel
    would believe the zero and read an empty file without asking.
    """
    is_file = node.kind is NodeKind.IMAGE
    is_settled = not is_file or node.is_size_known
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(node.inode)
    ownership.give(attributes, is_file=is_file, is_fixed=False)
    attributes.st_nlink = node.links
    attributes.st_size = node.size_bytes
    attributes.st_blksize = limits.CHUNK_BYTES
    attributes.st_blocks = -(-node.size_bytes // _BLOCK_BYTES)
    attributes.st_atime_ns = node.atime_ns
    attributes.st_mtime_ns = node.mtime_ns
    attributes.st_ctime_ns = node.ctime_ns
    attributes.entry_timeout = limits.KERNEL_TIMEOUT_S
    attributes.attr_timeout = limits.KERNEL_TIMEOUT_S if is_settled else 0
    return attributes


def absent() -> pyfuse3.EntryAttributes:
    """Return "there is no such name" in the form that the kernel remembers."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(0)
    attributes.entry_timeout = limits.KERNEL_NEGATIVE_TIMEOUT_S
    return attributes
