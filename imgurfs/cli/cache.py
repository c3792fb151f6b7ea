"""``imgurfs cache``: what is kept of the account on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli.context import Context, pass_context
from imgurfs.cli.words import number, printable, size
from imgurfs.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from imgurfs.cli.opened import Opened
    from imgurfs.cli.pin_fetch import Wanted
    from imgurfs.model import Inode

_as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)


@click.group(
    invoke_without_command=True,
    short_help="Show or clear what is kept on this machine.",
)
@_as_json
@click.pass_context
def cache(ctx: click.Context, as_json: bool) -> None:
    """Show or clear the content cache: what was read through the drive, or pinned.

    JSON: {"directory", "files", "bytes", "bytes_max", "used_by", "pinned": [{"path",
    "kind", "images", "bytes", "missing"}], "spool": {"files", "bytes"}, "outgoing":
    {"files", "bytes"}}. "used_by" is the process that has the cache, null for none;
    what is in spool (written to the drive) and outgoing (given to 'imgurfs upload')
    waits to be uploaded and is no part of the cache.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(stats, as_json=as_json)
    elif as_json:
        raise UsageError(f"put --json behind '{ctx.invoked_subcommand}'")


@cache.command()
@_as_json
@pass_context
def stats(context: Context, as_json: bool) -> None:
    """Show how much is kept, and what is pinned."""
    from imgurfs.cli.opened import opened

    with opened(context) as state:
        facts = _facts(state)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    print(f"cache     {_amount(facts)} of {size(facts['bytes_max'])}")
    print(f"          {printable(facts['directory'])}")
    for one in facts["pinned"]:
        missing = f", {one['missing']:,} not here" if one["missing"] else ""
        what = f"{number(one['images'], 'image')}, {size(one['bytes'])}{missing}"
        print(f"pinned    {printable(one['path'] or '(gone)')}: {what}")
    print(f"spool     {_amount(facts['spool'])} (written to the drive)")
    print(f"outgoing  {_amount(facts['outgoing'])} (given to imgurfs upload)")


@cache.command()
@pass_context
def clear(context: Context) -> None:
    """Remove what can be downloaded again.

    Kept is what is pinned, and what waits to be uploaded. Not while a mounted drive
    uses the cache.
    """
    from imgurfs.cli.opened import opened
    from imgurfs.content import disk
    from imgurfs.store import pins

    with opened(context) as state:
        directory = state.places.content_dir
        found = disk.look(directory)
        kept = pins.image_ids(state.reader)
        if found:
            with _locked(directory):
                for image_id in found.keys() - kept:
                    disk.remove(directory / image_id[:2] / image_id)
    removed = {key: found[key] for key in found.keys() - kept}
    text = number(len(removed), "image")
    print(f"{text} removed, {size(sum(removed.values()))}; what is pinned is kept")


def _locked(directory: Path) -> Any:
    """Return the cache's lock, held. Raises UnavailableError."""
    from imgurfs.locks import FileLock

    lock = FileLock(directory / "lock")
    if not lock.acquire_nowait():
        raise UnavailableError(
            f"process {lock.holder() or '?'} uses the content cache",
            hint="unmount the drive first: imgurfs unmount",
        )
    return lock


def _facts(state: Opened) -> dict[str, Any]:
    from imgurfs.cli import pin_fetch
    from imgurfs.content import disk, outgoing, spool_disk
    from imgurfs.locks import FileLock
    from imgurfs.store import pins

    directory, spool = state.places.content_dir, state.places.spool_dir
    lock = FileLock(directory / "lock")
    holder = lock.holder()
    is_used = holder.isdecimal() and not lock.is_free()
    wanted = {one.inode: one for one in pin_fetch.wanted(state)}
    spooled = spool_disk.scan(spool) if spool.is_dir() else {}
    return {
        "directory": str(directory),
        **_sum(disk.look(directory)),
        "bytes_max": state.config.cache.size_bytes_max,
        "used_by": int(holder) if is_used else None,
        "pinned": [_pinned(state, i, wanted) for i in pins.everything(state.reader)],
        "spool": _sum(spooled),
        "outgoing": _sum(outgoing.scan(state.places.outgoing_dir)),
    }


def _pinned(state: Opened, inode: Inode, wanted: dict[Inode, Wanted]) -> dict[str, Any]:
    from imgurfs.jobs import drive_names
    from imgurfs.store import entries

    c = state.reader
    node = entries.node(c, inode)
    is_album = node is not None and node.album is not None
    below = [entry.node.inode for entry in entries.children(c, inode)]
    images = [wanted[i] for i in (below if is_album else [inode]) if i in wanted]
    return {
        "path": drive_names.path_of(c, inode),
        "kind": "album" if is_album else "image",
        "images": len(images),
        "bytes": sum(one.image.size_bytes for one in images),
        "missing": sum(not one.is_here for one in images),
    }


def _sum(sizes: dict[Any, int]) -> dict[str, int]:
    return {"files": len(sizes), "bytes": sum(sizes.values())}


def _amount(facts: dict[str, Any]) -> str:
    return f"{number(facts['files'], 'file')}, {size(facts['bytes'])}"
