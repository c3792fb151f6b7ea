"""``imgurfs upload``: files in, links out.

The command and what it prints. How a file becomes a job is ``upload_files``', how the
command waits for it ``upload_run``'s.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli import completing
from imgurfs.cli.context import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_TRY_LATER,
    Context,
    pass_context,
    run_trio,
)
from imgurfs.cli.words import number, printable, size
from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.cli.upload_files import Item
    from imgurfs.cli.upload_run import Ended

#: Standard input, as a FILE.
STDIN = "-"
_SHOWN_MAX = 3


@click.command(short_help="Upload files and print their links.")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(allow_dash=True),
)
@click.option(
    "--album",
    metavar="ALBUM",
    shell_complete=completing.albums,
    help="Into this album: its title, its id, or its name on the drive. One that does"
    " not exist is made.",
)
@click.option("--title", metavar="TEXT", help="The title of the images.")
@click.option("--copy", is_flag=True, help="Put the links into the clipboard as well.")
@click.option(
    "--wait/--no-wait",
    "is_patient",
    default=True,
    help="Wait until they are uploaded, or only put them into the queue (default:"
    " wait).",
)
@click.option(
    "--dry-run", is_flag=True, help="Print what would be uploaded; change nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def upload(
    context: Context,
    *,
    files: tuple[str, ...],
    album: str | None,
    title: str | None,
    copy: bool,
    is_patient: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Upload each FILE, once, and print one link for each, in their order.

    "-" is standard input. A file whose content the account has already is not sent
    again: its link is printed, and its title stays what it is. Files are copied before
    they are said to be queued, so they may be deleted then; asking for the same again
    after a crash or Ctrl-C uploads nothing twice. A mount or daemon that is at work
    sends them, otherwise this command does.

    JSON: {"files": [{"path", "id", "link", "state", "is_new", "error"}], "album":
    {"id", "title", "link"}}; state is "uploaded", "waiting", "new" (not queued) or
    "refused".

    \b
    Exit codes:
      0   all are uploaded (--no-wait: uploaded or queued)
      75  some wait, for your decision, and stay queued
      1   some cannot be uploaded; the others are
    """  # noqa: D301 - \b keeps click from rewrapping
    from imgurfs.cli import clipboard, upload_files, upload_run

    wish = upload_run.Wish(
        album=_text(album, "--album"),
        title=_text(title, "--title"),
        is_patient=is_patient,
    )
    if files.count(STDIN) > 1:
        raise UsageError("standard input can be uploaded once")
    put = clipboard.find() if copy and not dry_run else None
    settings = context.load_config()
    show = _Printer(as_json=as_json)
    with upload_files.items(context, files) as items:
        if dry_run:
            return _print_dry(upload_files.dry_run(context, items), as_json=as_json)
        ended = run_trio(upload_run.run, context, settings, items, wish, show.show)
    show.show(items)
    if as_json:
        facts = {"files": [_facts(one) for one in items], "album": ended.album}
        print(json.dumps(facts, indent=2))
    links = [one.link for one in items if one.link]
    if put is not None and links:
        put("\n".join(links))
    return _report(items, ended, is_patient=is_patient)


class _Printer:
    """Prints what has become of files, in their order, as it becomes known."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        # On a terminal the bars take over sys.stdout, so that they are not torn. They
        # are on stderr: what goes elsewhere must not follow them there.
        self._out = None if sys.stdout.isatty() else sys.stdout
        self._next = 0
        self._told: set[int] = set()

    def show(self, items: list[Item]) -> None:
        """Print the links that are due, and what failed at once."""
        for index, one in enumerate(items):
            if one.error and index not in self._told:
                self._told.add(index)
                message = f"imgurfs: {printable(one.text)}: {printable(one.error)}"
                print(message, file=sys.stderr, flush=True)
        while self._next < len(items) and items[self._next].is_over:
            link = items[self._next].link
            if link and not self._as_json:
                print(printable(link), file=self._out, flush=True)
            self._next += 1


def _text(value: str | None, option: str) -> str:
    """Return an option's text, "" for none. Raises UsageError."""
    if value is None:
        return ""
    if not value.strip() or not value.isprintable():
        raise UsageError(f"{option} needs a text that can be printed")
    return value.strip()


def _facts(one: Item) -> dict[str, Any]:
    return {
        "path": one.text.encode("utf-8", "backslashreplace").decode(),
        "id": one.image_id,
        "link": one.link,
        "state": one.state,
        "is_new": one.is_new,
        "error": one.error,
    }


def _print_dry(items: list[Item], *, as_json: bool) -> int:
    if as_json:
        facts = {"files": [_facts(one) for one in items], "album": None}
        print(json.dumps(facts, indent=2))
    for one in items:
        text = printable(one.text)
        if one.error:
            print(f"imgurfs: {text}: {printable(one.error)}", file=sys.stderr)
        elif not as_json:
            known = f"is there already: {one.link}" if one.link else "would be uploaded"
            print(f"{text}: {known}")
    new = [one for one in items if one.state == "new"]
    if not as_json:
        total = size(sum(one.size_bytes for one in new))
        print(f"{number(len(new), 'file')} to upload, {total}")
    return EXIT_FAILED if any(one.error for one in items) else 0


def _report(items: list[Item], ended: Ended, *, is_patient: bool) -> int:
    """Say what is left; return the exit code."""
    waiting = [one for one in items if one.state == "waiting"]
    unsent = [one for one in items if one.state == "new"]
    if waiting:
        reason = f": {printable(ended.reason)}" if ended.reason else ""
        print(
            f"imgurfs: {number(len(waiting), 'file')} queued and safe to delete here"
            f"{reason}",
            file=sys.stderr,
        )
        print(f"  {ended.who}; see: imgurfs queue", file=sys.stderr)
    if unsent:
        what = number(len(unsent), "file")
        print(f"imgurfs: {what} not queued: give them again", file=sys.stderr)
    if ended.strays:
        where = ", ".join(printable(path) for path in ended.strays[:_SHOWN_MAX])
        print(
            f"imgurfs: {number(len(ended.strays), 'copy', 'copies')} of files that were"
            f" given once and are in no queue: {where}\n"
            f"  in {ended.directory}: upload them from there, or delete them",
            file=sys.stderr,
        )
    if ended.is_interrupted:
        return EXIT_INTERRUPTED
    if (waiting and is_patient) or ended.is_album_open:
        return EXIT_TRY_LATER
    return EXIT_FAILED if any(one.error for one in items) else 0
