"""A program: shows a directory as a disk of its own, on which one directory is sick.

``python -m tests.support.sick_disk SOURCE MOUNTPOINT SYMPTOM``. While the file SYMPTOM
exists, reading a directory called Rome fails with the error number it holds, after the
first entry. Read only, through FUSE; what happens to SOURCE is seen at once.
"""

# ruff: noqa: ARG002

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pyfuse3
import trio


class SickDisk(pyfuse3.Operations):
    """Passes everything through by path; inode numbers are those of SOURCE."""

    def __init__(self, source: Path, symptom: Path) -> None:
        super().__init__()
        self._paths = {pyfuse3.ROOT_INODE: source}
        self._symptom = symptom

    def _attributes(self, path: Path, inode: int = 0) -> pyfuse3.EntryAttributes:
        try:
            found = path.lstat()
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or 0) from None
        attributes = pyfuse3.EntryAttributes()
        for name in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size"):
            setattr(attributes, name, getattr(found, name))
        for name in ("st_mtime_ns", "st_atime_ns", "st_ctime_ns"):
            setattr(attributes, name, getattr(found, name))
        attributes.st_ino = pyfuse3.InodeT(inode or found.st_ino)
        attributes.attr_timeout = attributes.entry_timeout = 0
        if not inode:
            self._paths[attributes.st_ino] = path
        return attributes

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return what SOURCE says."""
        return self._attributes(self._paths[inode], inode)

    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Find a name."""
        return self._attributes(self._paths[parent_inode] / os.fsdecode(name))

    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Open a directory; the sick one as well."""
        return pyfuse3.FileHandleT(inode)

    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """List a directory; the sick one fails in the middle."""
        directory = self._paths[pyfuse3.InodeT(fh)]
        is_sick = directory.name == "Rome" and self._symptom.exists()
        if is_sick and start_id:
            raise pyfuse3.FUSEError(int(self._symptom.read_text()))
        for number, name in enumerate(sorted(os.listdir(directory)), start=1):  # noqa: PTH208
            if number <= start_id:
                continue
            attributes = self._attributes(directory / name)
            if not pyfuse3.readdir_reply(
                token, pyfuse3.FileNameT(os.fsencode(name)), attributes, number
            ):
                break
            if is_sick:
                break

    async def open(
        self, inode: pyfuse3.InodeT, flags: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Open a file."""
        fd = os.open(self._paths[inode], os.O_RDONLY | os.O_CLOEXEC)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(fd))

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Read from a file."""
        return os.pread(fh, size, off)

    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Close a file."""
        os.close(fh)


async def main(source: Path, mountpoint: Path, symptom: Path) -> None:
    """Serve until the mountpoint is unmounted."""
    assert stat.S_ISDIR(source.stat().st_mode)
    options = {"fsname=sick_disk", "default_permissions"}
    pyfuse3.init(SickDisk(source, symptom), str(mountpoint), options)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        await pyfuse3.main()
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
