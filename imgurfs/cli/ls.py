"""``imgurfs ls``: what is on the drive, without a mount."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli.context import Context, pass_context
from imgurfs.cli.words import moment, printable, size, table
from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.store.database import Connection
    from imgurfs.store.entries import Entry, Node


@click.command(short_help="List the drive, also when it is not mounted.")
@click.argument("path", required=False, default="")
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
    from imgurfs.cli.opened import opened

    with opened(context) as state:
        c = state.reader
        directory, entries = _find(c, path)
        facts = [_facts(entry) for entry in entries]
        shown = _path_of(c, directory)
    if as_json:
        found = {"path": shown, "listed_at": directory.listed_at, "entries": facts}
        print(json.dumps(found, indent=2))
        return
    for line in table(_rows(facts, has_links=links)):
        print(line)
    if directory.listed_at is None:
        print("imgurfs: not listed by Imgur yet: there may be more", file=sys.stderr)


def _find(c: Connection, path: str) -> tuple[Node, list[Entry]]:
    """Return a directory and what to list of it. Raises UsageError."""
    from imgurfs.model import ROOT_INODE
    from imgurfs.store import entries

    directory = entries.node(c, ROOT_INODE)
    assert directory is not None
    parts = _parts(path)
    while parts:
        entry = entries.child(c, directory.inode, parts[0])
        if entry is None or (entry.node.album is None and len(parts) > 1):
            raise UsageError(
                f"there is no '{printable('/'.join(parts))}' on the drive",
                hint="list what there is: imgurfs ls",
            )
        if entry.node.album is None:
            return directory, [entry]
        directory = entry.node
        parts = parts[1:]
    return directory, entries.children(c, directory.inode)


def _parts(path: str) -> list[str]:
    """Return the names that lead to a path: one in a mount, or one on the drive."""
    from imgurfs.cli import drive_paths

    place = Path(path)
    found = drive_paths.find(place) if path and place.exists() else None
    if found is None:
        return [part for part in path.split("/") if part not in ("", ".")]
    return found.names


def _path_of(c: Connection, node: Node) -> str:
    from imgurfs.cli import drive_names

    return drive_names.path_of(c, node.inode)


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
