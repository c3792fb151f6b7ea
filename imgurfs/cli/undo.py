"""``imgurfs undo``: calls off deletions while they wait."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli import completing
from imgurfs.cli.context import EXIT_FAILED, Context, pass_context
from imgurfs.cli.words import moment, number, printable

if TYPE_CHECKING:
    from imgurfs.cli.opened import Opened
    from imgurfs.control import Undone
    from imgurfs.store.database import Connection


@click.command(short_help="Call off deletions that wait.")
@click.argument(
    "job_id",
    metavar="[ID]",
    type=int,
    required=False,
    shell_complete=completing.deletions,
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def undo(context: Context, job_id: int | None, as_json: bool) -> int:
    """Call off all deletions that wait, or the one with this ID.

    A deletion waits out the grace period ([sync] delete_grace_s) before it is sent,
    and longer when the guard holds it. The image then stays on Imgur: what was removed
    from the drive is there again, and a file that is gone from a watched folder is
    forgotten, its image is not asked about again. What was sent cannot be undone; Imgur
    keeps no bin. The ids are shown by 'imgurfs queue'.

    JSON: {"kept": [{"job_id", "image_id", "files": [..]}]}. Exit code 1 when nothing
    could be undone.
    """
    from imgurfs import control
    from imgurfs.cli.opened import opened
    from imgurfs.model import JobId

    with opened(context) as state:
        wanted = None if job_id is None else JobId(job_id)
        kept, now = [], state.clock.now()
        while more := state.write(lambda c: control.undo(c, wanted, now=now)):
            kept += more
            if wanted is not None:
                break
        facts = [_facts(state.reader, one) for one in kept]
        if as_json:
            print(json.dumps({"kept": facts}, indent=2))
        elif kept:
            _print_kept(facts)
        else:
            _print_nothing(state)
    return 0 if kept else EXIT_FAILED


def _facts(c: Connection, one: Undone) -> dict[str, Any]:
    from imgurfs.jobs import drive_names

    files = [path.decode("utf-8", "backslashreplace") for path in one.files]
    files += drive_names.paths_at(c, one.places)
    return {"job_id": one.job_id, "image_id": one.image_id, "files": files}


def _print_kept(kept: list[dict[str, Any]]) -> None:
    for one in kept:
        names = ", ".join(printable(path) for path in one["files"])
        print(f"kept: image {one['image_id']}" + (f" ({names})" if names else ""))
    print(f"{number(len(kept), 'deletion')} called off; the images stay on Imgur")


def _print_nothing(state: Opened) -> None:
    from imgurfs.jobs import queueing
    from imgurfs.store import outbox_lists

    print("nothing to undo: no deletion waits")
    last = outbox_lists.last_done_at(state.reader, queueing.DELETE_IMAGE)
    if last is not None:
        print(f"the last one was sent {moment(last)}; Imgur brings nothing back")
