"""``imgurfs ls``: what is on the drive, without a mount."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli import completing
from imgurfs.cli.context import Context, pass_context
from imgurfs.cli.words import moment, printable, size, table

if TYPE_CHECKING:
    from imgurfs.store.entries import Entry


@click.command(short_help="List the drive, also when it is not mounted.")
@click.argument(
    "path", required=False, default="", shell_complete=completing.drive_paths
)
@click.option("--links", is_flag=True, help="Show the Imgur links as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def ls(context: Context, path: str, links: bool, as_json: bool) -> None:
    """List the albums and images of the account, or those of one album.

    PATH is a name on the drive ("Holiday", "Holiday/IMG_1.jpg"), or a path in the
    mounted drive. Asks nobody: what is shown is what was last seen, with what was
    changed on this machine since.

    JSON: {"path", "listed_at", "entries": [{"name", "kind", "id", "link", "size_bytes",
    "modified_at", "nlink", "state", "error"}]}; kind is "album" or "image", "nlink" is
    the number of names it has, and "state" where it stands on its way to Imgur:
    uploaded, waiting, writing, scratch, local-only or refused.
    """
    from imgurfs.cli import drive_lookup
    from imgurfs.cli.opened import opened
    from imgurfs.jobs import drive_names
    from imgurfs.store import entries

    with opened(context) as state:
        c = state.reader
        directory, one = drive_lookup.find(c, path)
        listed = [one] if one else entries.children(c, directory.inode)
        facts = [_facts(entry) for entry in listed]
        shown = drive_names.path_of(c, directory.inode)
    if as_json:
        found = {"path": shown, "listed_at": directory.listed_at, "entries": facts}
        print(json.dumps(found, indent=2))
        return
    for line in table(_rows(facts, has_links=links)):
        print(line)
    if directory.listed_at is None:
        print("imgurfs: not listed by Imgur yet: there may be more", file=sys.stderr)


def _facts(entry: Entry) -> dict[str, Any]:
    from imgurfs.fuse.xattrs import xattrs_of

    node = entry.node
    told = {
        name.decode(): value.decode("utf-8", "replace")
        for name, value in xattrs_of(node, ()).items()
    }
    return {
        "name": entry.name,
        "kind": "image" if node.album is None else "album",
        "id": told.get("user.imgur.id") or None,
        "link": told.get("user.imgur.link") or None,
        "size_bytes": node.size_bytes if node.album is None else None,
        "modified_at": node.mtime_ns / 1e9,
        "nlink": node.links if node.album is None else None,
        "state": told.get("user.imgurfs.state", ""),
        "error": told.get("user.imgurfs.error", ""),
    }


def _rows(facts: list[dict[str, Any]], *, has_links: bool) -> list[tuple[str, ...]]:
    rows = []
    for one in facts:
        is_album = one["kind"] == "album"
        state = printable(one["state"] + (f": {one['error']}" if one["error"] else ""))
        row = (
            one["id"] or "-",
            "album" if is_album else size(one["size_bytes"]),
            moment(one["modified_at"]),
            state,
        )
        link = (printable(one["link"] or "-"),) if has_links else ()
        name = printable(one["name"]) + ("/" if is_album else "")
        rows.append((*row, *link, name))
    return rows
