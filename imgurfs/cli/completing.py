"""What the shell's Tab key offers for our words. Not a command.

Functions for ``shell_complete=``. They look into the configuration and, read-only, into
the account's database; they ask nobody, create nothing and import little, because a
person is waiting. What cannot be found out is not offered: an error message in the
middle of a command line would help nobody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from imgurfs.cli.context import Context
from imgurfs.errors import ImgurfsError

if TYPE_CHECKING:
    import click

    from imgurfs.store.database import Connection

#: More than this nobody reads, and a large account has more.
_OFFERED_MAX = 500


def accounts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the accounts of the configuration."""
    del param
    try:
        names = ["default", *_context(ctx).load_config().accounts]
    except (ImgurfsError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the watched folders."""
    del param
    try:
        found = [folder.path for folder in _context(ctx).load_config().folder]
    except (ImgurfsError, OSError):
        return []
    return [path for path in found if path.startswith(incomplete)]


def folders_and_directories(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the watched folders, or any directory when none of them fits."""
    found = folders(ctx, param, incomplete)
    if found:
        return [CompletionItem(path) for path in found]
    return [CompletionItem(incomplete, type="dir")]


def drive_paths(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str]:
    """Return the albums and images of the drive; an album ends in a slash."""
    del param
    parent, slash, name = incomplete.rpartition("/")
    with _reader(ctx) as c:
        return [] if c is None else _children(c, parent, slash, name)
    return []


def albums(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the albums."""
    found = drive_paths(ctx, param, incomplete.replace("/", ""))
    return [name[:-1] for name in found if name.endswith("/")]


def jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of jobs that are not over, and of rejected ones."""
    del param
    with _reader(ctx) as c:
        if c is None:
            return []
        from imgurfs.store import outbox_lists
        from imgurfs.store.outbox import JobState

        states = [*outbox_lists.UNFINISHED, JobState.DEAD]
        found = outbox_lists.listed(c, states=states, limit=_OFFERED_MAX)
        return [str(job.id) for job in found if str(job.id).startswith(incomplete)]
    return []


def deletions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of deletions that wait."""
    del param
    with _reader(ctx) as c:
        if c is None:
            return []
        from imgurfs.store import outbox

        found = outbox.unfinished(c, kind="delete_image", state="queued")
        ids = [str(job.id) for job in found[:_OFFERED_MAX]]
        return [one for one in ids if one.startswith(incomplete)]
    return []


def _context(ctx: click.Context) -> Context:
    return ctx.ensure_object(Context)


@contextlib.contextmanager
def _reader(ctx: click.Context) -> Iterator[Connection | None]:
    """Open the account's database for reading; None, or an early end: it cannot be."""
    from imgurfs import paths
    from imgurfs.store import database
    from imgurfs.store.schema import STATE_SCHEMA

    with contextlib.suppress(ImgurfsError, OSError):
        path = paths.account_paths(_context(ctx).account).state_db
        if not path.exists():
            yield None
            return
        with database.reading(path, STATE_SCHEMA) as c:
            yield c


def _children(c: Connection, parent: str, slash: str, name: str) -> list[str]:
    from imgurfs.model import ROOT_INODE
    from imgurfs.store import nodes

    inode = ROOT_INODE
    for part in PurePosixPath(parent).parts:
        entry = nodes.child(c, inode, part)
        if entry is None:
            return []
        inode = entry.node.inode
    found = [one for one in nodes.children(c, inode) if one.name.startswith(name)]
    return [
        parent + slash + one.name + ("/" if one.node.album is not None else "")
        for one in found[:_OFFERED_MAX]
    ]
