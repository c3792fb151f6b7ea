"""``imgurfs link``: where files and albums are to be seen on Imgur."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgurfs.cli.context import EXIT_FAILED, Context, pass_context
from imgurfs.cli.words import printable
from imgurfs.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from imgurfs.cli.opened import Opened
    from imgurfs.model import AlbumId, ImageId

#: A desktop without anything that opens links answers at once as well.
_OPENER = "xdg-open"
_OPENER_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class _Link:
    """One path's answer; ``link`` is "" when it has none, and ``error`` says why."""

    path: str
    id: str
    link: str
    state: str
    error: str


@click.command(short_help="Print the Imgur link of files and albums.")
@click.argument(
    "paths", metavar="PATH...", type=click.Path(path_type=Path), nargs=-1, required=True
)
@click.option("--open", "is_opened", is_flag=True, help="Open them in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def link(
    context: Context, paths: tuple[Path, ...], is_opened: bool, as_json: bool
) -> int:
    """Print the links of files and albums, in the order in which they were asked for.

    A PATH lies in a mounted drive, or in a watched folder. A directory of a watched
    folder stands for its album.

    JSON: {"links": [{"path", "id", "link", "state", "error"}]}. Exit code 1 when one
    of them has no link, because it is not on Imgur (yet).
    """
    links = [_link_of(context, path) for path in paths]
    if as_json:
        print(json.dumps({"links": [asdict(one) for one in links]}, indent=2))
    for one in links:
        if not as_json and one.link:
            print(one.link)
        elif not as_json:
            # Not to stdout: what is there can be given to another program.
            print(f"imgurfs: {printable(one.path)}: {one.error}", file=sys.stderr)
    if is_opened:
        _open([one.link for one in links if one.link])
    return 0 if all(one.link for one in links) else EXIT_FAILED


def _link_of(context: Context, path: Path) -> _Link:
    from imgurfs.cli import drive_paths

    name = os.fsencode(path).decode("utf-8", "backslashreplace")
    found = drive_paths.find(path)
    if found is None:
        return _of_watched(context, path, name)
    return _Link(
        path=name,
        id=found.image_or_album_id,
        link=found.link,
        state=found.state,
        error="" if found.link else _why(found.state, found.error),
    )


def _why(state: str, error: str) -> str:
    """Return why a file of the drive has no link."""
    return {
        "": "the drive as a whole has no link",
        "waiting": "not uploaded yet (imgurfs wait waits for it)",
        "writing": "not uploaded yet: a program is writing it",
        "scratch": "not uploaded: it has a temporary name",
        "local-only": "not uploaded: it stays on this machine",
        "refused": f"not uploaded: {error}",
    }.get(state, "Imgur tells no link")


def _of_watched(context: Context, path: Path, name: str) -> _Link:
    """Look a path up among the files that were synced."""
    from imgurfs.cli.opened import opened
    from imgurfs.store import synced

    wanted = os.fsencode(path.absolute().parent.resolve() / path.absolute().name)
    with opened(context) as state:
        c = state.reader
        for folder in synced.folders(c):
            if wanted == folder.path:
                inner = b""
            elif wanted.startswith(folder.path + b"/"):
                inner = wanted[len(folder.path) + 1 :]
            else:
                continue
            file = synced.file(c, folder.id, inner)
            if file is not None:
                return _of_image(state, name, file.image_id)
            album_id = synced.album_of(c, folder.id, inner)
            if album_id is not None:
                return _of_album(state, name, album_id)
            return _Link(name, "", "", "waiting", "not on Imgur (yet)")
    if not os.path.lexists(path):
        raise UsageError(f"{printable(name)} does not exist")
    raise UsageError(
        f"{printable(name)} lies neither in a mounted drive nor in a watched folder",
        hint="list the folders: imgurfs folder; other accounts: --account NAME",
    )


def _of_image(state: Opened, name: str, image_id: ImageId) -> _Link:
    from imgurfs.store import entries

    node = entries.node_of_image(state.reader, image_id)
    link = node.image.link if node and node.image else ""
    # A page shows it also as long as no listing has told where its bytes are.
    return _Link(
        name, image_id, link or f"https://imgur.com/{image_id}", "uploaded", ""
    )


def _of_album(state: Opened, name: str, album_id: AlbumId) -> _Link:
    from imgurfs.store import entries

    node = entries.node_of_album(state.reader, album_id)
    link = node.album.link if node and node.album else ""
    link = link or f"https://imgur.com/a/{album_id}"
    return _Link(name, album_id, link, "uploaded", "")


def _open(links: list[str]) -> None:
    """Hand links to the desktop. Raises UnavailableError."""
    program = shutil.which(_OPENER)
    if program is None:
        raise UnavailableError(
            f"the program {_OPENER} is missing", hint="install the package xdg-utils"
        )
    for one in links:
        if not one.startswith(("https://", "http://")):
            raise UnavailableError(f"{printable(one)} is no link to be opened")
        try:
            # What it starts lives on; only the starting is waited for.
            done = subprocess.run(  # noqa: S603 - a link of Imgur's, no shell
                [program, one],
                check=False,
                timeout=_OPENER_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(
                f"{_OPENER} did not come back within {_OPENER_TIMEOUT_S:.0f} s"
            ) from None
        if done.returncode != 0:
            raise UnavailableError(f"{_OPENER} failed with code {done.returncode}")
