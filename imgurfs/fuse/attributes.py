"""What the kernel is told about a node: mode, size, times, and how long to keep it.

Pure but for the kernel's type; used by ``fuse.operations``.
"""

from __future__ import annotations

import stat
from typing import Final

import pyfuse3

from imgurfs import limits
from imgurfs.store.entries import Node, NodeKind

_DIRECTORY_MODE: Final = stat.S_IFDIR | 0o755
_FILE_MODE: Final = stat.S_IFREG | 0o644
_BLOCK_BYTES: Final = 512


def attributes_of(node: Node, *, uid: int, gid: int) -> pyfuse3.EntryAttributes:
    """Return the attributes of a node, owned by ``uid`` and ``gid``.

    Names and attributes are kept for long, because changes are announced
    (``fuse.invalidation``). The exception is a size that nobody knows: the kernel
    would believe the zero and read an empty file without asking.
    """
    is_file = node.kind is NodeKind.IMAGE
    is_settled = not is_file or node.is_size_known
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(node.inode)
    attributes.st_mode = pyfuse3.ModeT(_FILE_MODE if is_file else _DIRECTORY_MODE)
    attributes.st_nlink = node.links
    attributes.st_uid = uid
    attributes.st_gid = gid
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
