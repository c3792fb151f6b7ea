"""A program: mounts a drive whose handlers have a bug and a hang, on purpose.

``python -m tests.support.broken_drive MOUNTPOINT``. It is served by the real session
and the real wrapper; tests/mount looks at what the kernel makes of it.
"""

# ruff: noqa: ARG002, T201

from __future__ import annotations

import logging
import stat
import sys
from pathlib import Path
from typing import cast

import pyfuse3
import trio

from imgurfs.executor import ThreadExecutor
from imgurfs.fuse.operations import Operations
from imgurfs.fuse.requests import Deadlines, request
from imgurfs.fuse.session import MountOptions, serve
from imgurfs.notify import Notifier


class Broken(pyfuse3.Operations):
    """Looking up "bug" fails in a way nobody foresaw; looking up "hang" never ends."""

    deadlines = Deadlines(metadata_s=0.5, data_s=0.5)

    def on_damage(self) -> None:
        """Do nothing: there is no database."""

    @request()
    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return an empty directory."""
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = inode
        attributes.st_mode = stat.S_IFDIR | 0o755
        attributes.attr_timeout = 0
        return attributes

    @request()
    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Fail."""
        if name == b"hang":
            await trio.sleep_forever()
        raise ZeroDivisionError(name)


async def main(mountpoint: Path) -> None:
    """Serve until told to stop."""
    await serve(
        mountpoint,
        cast("Operations", Broken()),
        options=MountOptions(account_name="a,b c"),
        executor=ThreadExecutor(),
        notifier=Notifier({}),
        on_ready=lambda: print("ready", flush=True),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    trio.run(main, Path(sys.argv[1]))
