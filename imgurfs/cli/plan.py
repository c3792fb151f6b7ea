"""``imgurfs plan``: what would be sent and what it costs; changes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli import completing
from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.cli.words import number, printable, span
from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.config import Config, FolderConfig
    from imgurfs_daemon.folder import FolderSync
    from imgurfs_daemon.look import Look, PlanCost
    from imgurfs_daemon.planner import Action

#: A look that takes longer than this says so: large files may have to be read.
_PATIENCE_S = 1.0


@click.command(short_help="Print what would be sent, and what it costs.")
@click.argument(
    "folder",
    type=click.Path(path_type=Path),
    required=False,
    shell_complete=completing.folders_and_directories,
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def plan(context: Context, folder: Path | None, as_json: bool) -> None:
    """Print what would be sent for FOLDER, or for all watched folders, and why.

    Files count as they are now, also those that are still being written. Nothing is
    sent and nothing is changed here. With -q only the sums are printed.

    \b
    JSON: {"folders": [{"path", "actions": [{"action", "path", "reason", ..}],
    "problems": [{"path", "reason"}], "cost"}], "cost", "eta"}. A cost is {"uploads",
    "albums", "album_calls", "deletes", "posts", "credits"}; eta says when it would be
    done, with what waits already: {"finish_at", "hours", "limited_by", "text"}.
    """  # noqa: D301 - \b keeps click from rewrapping
    from imgurfs.cli.sync import folder_of

    settings = context.load_config()
    if folder is not None:
        folders: Sequence[FolderConfig] = [folder_of(settings, context.account, folder)]
    else:
        folders = settings.folders_of(context.account)
    if not folders:
        raise UsageError(
            f"no folder is watched for the account {context.account!r}",
            hint="name one, or: imgurfs folder add PATH",
        )
    run_trio(print_plan, context, settings, folders, as_json)


async def print_plan(
    context: Context, settings: Config, folders: Sequence[FolderConfig], as_json: bool
) -> int:
    """Look at the folders and print what follows; return the exit code 0."""
    import msgspec

    from imgurfs.assembly import open_account
    from imgurfs.cli.forecast import of_queue
    from imgurfs.cli.opened import Opened
    from imgurfs.store import outbox_lists
    from imgurfs_daemon.service import Daemon

    # What would be sent if everything held still from now on.
    settled = msgspec.structs.replace(settings.sync, settle_s=0.0)
    settings = msgspec.structs.replace(settings, sync=settled)
    async with open_account(settings, context.account) as services:
        daemon = Daemon(services, folders)
        looks = [(sync.text, await _look(sync)) for sync in daemon.folders]
        state = Opened(
            services.config,
            services.paths,
            services.db,
            services.ledger,
            services.clock,
        )
        tallies = outbox_lists.tallies(state.reader, now=state.clock.now())
        costs = [look.cost for _, look in looks]
        eta = of_queue(state, tallies, planned=costs)
        waiting = sum(one.count for one in tallies)
    if as_json:
        _print_json(looks, costs, eta)
    else:
        _print_text(looks, costs, eta, waiting=waiting, is_brief=context.verbosity < 0)
    return 0


async def _look(folder: FolderSync) -> Look:
    """Look at a folder; say so when that takes its time."""
    import trio

    from imgurfs.cli.live import spinner

    async def tell() -> None:
        await trio.sleep(_PATIENCE_S)
        text = f"reading {printable(folder.text)}"
        if not sys.stderr.isatty():
            click.echo(text, err=True)
        with spinner(text):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        look = await folder.look()
        nursery.cancel_scope.cancel()
    return look


def _print_json(
    looks: list[tuple[str, Look]], costs: list[PlanCost], eta: dict[str, Any] | None
) -> None:
    folders = [
        {
            "path": text,
            "actions": [_facts(action) for action in look.actions],
            "problems": [
                {"path": path, "reason": reason} for path, reason in unread(look)
            ],
            "cost": _cost(look.cost),
        }
        for text, look in looks
    ]
    found = {"folders": folders, "cost": _sum(costs), "eta": eta}
    print(json.dumps(found, indent=2))


def _print_text(
    looks: list[tuple[str, Look]],
    costs: list[PlanCost],
    eta: dict[str, Any] | None,
    *,
    waiting: int,
    is_brief: bool,
) -> None:
    for text, look in looks:
        if len(looks) > 1 and not is_brief:
            print(f"{printable(text)}:")
        for action in () if is_brief else look.actions:
            if type(action).__name__ not in _SILENT:
                print(describe(action))
        for path, reason in unread(look):
            print(f"not read: {path}: {printable(reason)}")
    cost = _sum(costs)
    print(
        f"{cost['uploads']} upload(s), {cost['albums']} album(s) to create,"
        f" {cost['album_calls']} other album call(s), {cost['deletes']} delete(s):"
        f" {cost['posts']} POSTs and {cost['credits']} credits"
    )
    if waiting:
        print(f"{number(waiting, 'job')} more waiting already: imgurfs queue")
    if eta is not None:
        takes = "" if eta["hours"] is None else f" (in {span(eta['hours'] * 3600)})"
        print(eta["text"] + takes)


def unread(look: Look) -> list[tuple[str, str]]:
    """Return what could not be read, and why."""
    return [
        *((printable(one.path), one.reason) for one in look.snapshot.problems),
        *((printable(one.path), one.reason) for one in look.unreadable),
    ]


def describe(action: Action) -> str:
    """Return an action in one line, with its reason."""
    facts = _facts(action)
    where = printable(str(facts.get("path", "")))
    if "new_path" in facts and facts["new_path"] != facts["path"]:
        where = f"{where} -> {printable(facts['new_path'])}"
    elif "path" not in facts:
        where = printable(str(facts.get("directory", "")))
    album = f" (album {printable(facts['album'])!r})" if facts.get("album") else ""
    return f"{facts['action']} {where}{album}: {printable(facts['reason'])}"


#: What an action of the planner is called for people.
_VERBS = {
    "RenameAlbum": "rename album",
    "AdoptAlbum": "use album",
    "IdentifyDirectory": "note directory",
    "CancelDelete": "keep",
    "Move": "move",
    "Bind": "recognise",
    "Touch": "note",
    "Upload": "upload",
    "Replace": "replace",
    "Skip": "skip",
    "ForgetSkip": "forget",
    "Forget": "forget",
    "DeleteImage": "delete",
}

#: Only what is known here changes; in JSON they are there.
_SILENT = frozenset({"IdentifyDirectory", "Touch", "ForgetSkip"})


def _facts(action: Action) -> dict[str, Any]:
    """Return an action as JSON can carry it."""
    name = type(action).__name__
    facts: dict[str, Any] = {"action": _VERBS.get(name, name)}
    for field in ("path", "new_path", "directory", "image_id", "album_id", "twin_of"):
        value = getattr(action, field, None)
        if isinstance(value, bytes):
            value = value.removeprefix(b"\0one:").decode("utf-8", "backslashreplace")
        if value is not None:
            facts[field] = value
    slot = getattr(action, "slot", None)
    if slot is not None:
        facts["album"] = slot.title
    return {**facts, "reason": action.reason}


def _cost(cost: PlanCost) -> dict[str, int]:
    return {key: getattr(cost, key) for key in _COSTS}


_COSTS = ("uploads", "albums", "album_calls", "deletes", "posts", "credits")


def _sum(costs: list[PlanCost]) -> dict[str, int]:
    return {key: sum(getattr(cost, key) for cost in costs) for key in _COSTS}
