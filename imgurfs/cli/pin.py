"""``imgurfs pin`` and ``imgurfs unpin``: images that are kept on this machine."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from imgurfs.cli import completing
from imgurfs.cli.context import EXIT_TRY_LATER, Context, pass_context, run_trio
from imgurfs.cli.words import number, printable, size
from imgurfs.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgurfs.cli.opened import Opened
    from imgurfs.model import Inode
    from imgurfs.store.database import Connection


@click.command(short_help="Keep images on this machine, also offline.")
@click.argument(
    "paths", metavar="[PATH]...", nargs=-1, shell_complete=completing.drive_paths
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def pin(context: Context, paths: tuple[str, ...], as_json: bool) -> int:
    """Download what each PATH leads to, and keep it in the content cache.

    PATH is an image or album: a name on the drive ("Holiday", "Holiday/IMG_1.jpg"), or
    a path in the mounted drive. Of an album, what comes into it later is kept as well,
    once it has been read. Without a PATH, whatever is missing of all that is pinned is
    downloaded. Downloads cost no credits.

    JSON: {"images", "bytes", "missing"}: the images that are pinned, alone or by their
    albums, their bytes, and how many of them are not here. Exit code 75 when some could
    not be downloaded; they stay pinned.
    """
    from imgurfs.cli import pin_fetch
    from imgurfs.cli.opened import opened

    with opened(context) as state:
        inodes = [_inode(state, path) for path in paths]
        now, bound = state.clock.now(), state.config.cache.size_bytes_max
        state.write(lambda c: _pin(c, inodes, now=now, bytes_max=bound))
        wanted = pin_fetch.wanted(state)
    missing = [one for one in wanted if not one.is_here]
    failed = run_trio(pin_fetch.fetch, context, missing) if missing else {}
    if as_json:
        facts = {
            "images": len(wanted),
            "bytes": sum(one.image.size_bytes for one in wanted),
            "missing": len(failed),
        }
        print(json.dumps(facts, indent=2))
    elif wanted:
        here = len(wanted) - len(failed)
        total = size(sum(one.image.size_bytes for one in wanted))
        print(f"{here:,} of {number(len(wanted), 'pinned image')} here, {total} in all")
    else:
        print("nothing is pinned, or what is pinned is not on Imgur yet")
    _tell_failed(failed)
    return EXIT_TRY_LATER if failed else 0


@click.command(short_help="Keep images here no longer.")
@click.argument(
    "paths",
    metavar="PATH...",
    nargs=-1,
    required=True,
    shell_complete=completing.drive_paths,
)
@pass_context
def unpin(context: Context, paths: tuple[str, ...]) -> None:
    """Let the content cache drop what each PATH leads to, when it needs the room.

    What was pinned with its album is let go with the album only.
    """
    from imgurfs.cli.opened import opened
    from imgurfs.store import pins

    with opened(context) as state:
        for path in paths:
            if not state.write(partial(pins.drop, inode=_inode(state, path))):
                raise UserError(
                    f"{printable(path)} was not pinned itself",
                    hint="see what is: imgurfs cache",
                )
            print(f"no longer pinned: {printable(path)}")


def _pin(c: Connection, inodes: Sequence[Inode], *, now: float, bytes_max: int) -> None:
    """Pin all of them, or none if that is too much. Raises UserError."""
    from imgurfs.store import entries, pins

    for inode in inodes:
        pins.put(c, inode, now=now)
    nodes = [entries.node_of_image(c, one) for one in pins.image_ids(c)]
    wanted = sum(node.image.size_bytes for node in nodes if node and node.image)
    if inodes and wanted > bytes_max:
        raise UserError(
            f"{size(wanted)} would be pinned, and the content cache may hold"
            f" {size(bytes_max)}",
            hint="raise size_max in the section [cache], or pin less",
        )


def _tell_failed(failed: dict[str, str]) -> None:
    for path, error in failed.items():
        print(f"imgurfs: {printable(path)}: {printable(error)}", file=sys.stderr)
    if failed:
        print("  they stay pinned; try again: imgurfs pin", file=sys.stderr)


def _inode(state: Opened, path: str) -> Inode:
    """Return what a path leads to. Raises UsageError."""
    from imgurfs.cli import drive_lookup
    from imgurfs.model import ROOT_INODE

    directory, entry = drive_lookup.find(state.reader, path)
    if entry is not None:
        return entry.node.inode
    if directory.inode == ROOT_INODE:
        raise UsageError("the drive as a whole cannot be pinned: name albums or images")
    return directory.inode
