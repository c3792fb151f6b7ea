"""What a read-only drive must refuse: each change as a request and as a system call.

Used by ``tests.support.drives``; tests/mount goes through the table.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pyfuse3

from imgurfs.fuse.operations import Operations

#: The operations look at no context.
CONTEXT = cast("pyfuse3.RequestContext", None)

Change = Callable[[Operations, pyfuse3.InodeT], Awaitable[object]]
_NAME = b"new"

#: What a read-only drive refuses: the request and the system call.
CHANGES: dict[str, tuple[Change, Callable[[Path], object]]] = {
    "open for writing": (
        lambda o, i: o.open(i, os.O_RDWR, CONTEXT),
        lambda path: os.close(os.open(path, os.O_RDWR)),
    ),
    "truncate": (
        lambda o, i: o.open(i, os.O_TRUNC, CONTEXT),
        lambda path: os.truncate(path, 0),
    ),
    "unlink": (
        lambda o, i: o.unlink(i, _NAME, CONTEXT),
        lambda path: path.unlink(),
    ),
    "mkdir": (
        lambda o, i: o.mkdir(i, _NAME, 0o755, CONTEXT),
        lambda path: (path.parent / "new").mkdir(),
    ),
    "rename": (
        lambda o, i: o.rename(i, _NAME, i, _NAME, 0, CONTEXT),
        lambda path: path.rename(path.parent / "new"),
    ),
    "link": (
        lambda o, i: o.link(i, i, _NAME, CONTEXT),
        lambda path: (path.parent / "new").hardlink_to(path),
    ),
    "symlink": (
        lambda o, i: o.symlink(i, _NAME, _NAME, CONTEXT),
        lambda path: (path.parent / "new").symlink_to("x"),
    ),
    "create": (
        lambda o, i: o.create(
            i,
            _NAME,
            0o644,
            os.O_CREAT,
            CONTEXT,
        ),
        lambda path: (path.parent / "new").touch(),
    ),
    "chmod": (
        lambda o, i: o.setattr(
            i,
            pyfuse3.EntryAttributes(),
            cast("pyfuse3.SetattrFields", None),
            None,
            CONTEXT,
        ),
        lambda path: path.chmod(0o600),
    ),
    "set an attribute": (
        lambda o, i: o.setxattr(i, b"user.x", b"1", CONTEXT),
        lambda path: os.setxattr(path, "user.x", b"1"),
    ),
}
