"""``imgurfs status``: what is known on this machine, without asking Imgur.

Reads the databases, so it works when nothing runs and when there is no network.
"""

from __future__ import annotations

import json
import math
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from imgurfs import limits
from imgurfs.cli.context import Context, pass_context

if TYPE_CHECKING:
    from imgurfs.paths import AccountPaths
    from imgurfs.store.database import Connection
    from imgurfs.store.ledger import SqliteLedger

#: Rows of each list that are shown; the numbers count all.
_SHOWN_MAX = 10


@click.command(short_help="Show account, queue, budgets and what is stuck.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def status(context: Context, as_json: bool) -> None:
    """Show account, processes, queue, budgets and what needs attention."""
    facts = _gather(context)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for line in _lines(facts):
        print(line)


def _gather(context: Context) -> dict[str, Any]:
    from imgurfs import assembly, paths
    from imgurfs.api.auth import TokenStore
    from imgurfs.clock import SystemClock
    from imgurfs.executor import InlineExecutor
    from imgurfs.store import meta, nodes

    config = context.load_config()
    config.account_named(context.account)
    places = paths.account_paths(context.account)
    token = TokenStore(places.token).load()
    db = assembly.open_state(places, InlineExecutor())
    ledger = assembly.open_ledger(
        config,
        context.account,
        token=token,
        clock=SystemClock(),
        executor=InlineExecutor(),
    )
    try:
        c = db.reader
        totals = nodes.totals(c)
        return {
            "account": {"name": token.account_name, "id": token.account_id},
            "processes": _processes(places),
            "tree": {
                "albums": totals.albums,
                "images": totals.images,
                "albums_listed_at": meta.get_time(c, "albums_listed_at"),
                "images_listed_at": meta.get_time(c, "images_listed_at"),
                "brake": meta.get(c, "brake"),
            },
            "queue": _queue(c),
            "skipped": _skipped(c),
            "budget": _budget(ledger),
        }
    finally:
        ledger.close()
        db.close()


def _processes(places: AccountPaths) -> dict[str, Any]:
    from imgurfs.locks import FileLock

    daemon, drain = FileLock(places.daemon_lock), FileLock(places.drain_lock)
    return {
        "daemon": None if daemon.is_free() else int(daemon.holder() or 0),
        "sending": None if drain.is_free() else int(drain.holder() or 0),
    }


def _queue(c: Connection) -> dict[str, Any]:
    from imgurfs.store import outbox

    numbers = outbox.statistics(c)
    unknown = outbox.unfinished(c, state=outbox.JobState.UNKNOWN)
    dead = outbox.recent(c, outbox.JobState.DEAD, _SHOWN_MAX)
    return {
        "queued": numbers.queued,
        "sending": numbers.sending,
        "unknown": numbers.unknown,
        "done": numbers.done,
        "dead": numbers.dead,
        "next_due_at": numbers.next_due_at,
        "outcome_unknown": [_job(job) for job in unknown[:_SHOWN_MAX]],
        "rejected": [_job(job) for job in dead],
    }


def _job(job: Any) -> dict[str, Any]:
    return {"id": job.id, "kind": job.kind, "key": job.key, "error": job.error}


def _skipped(c: Connection) -> dict[str, Any]:
    from imgurfs.store import synced

    rows = [
        {"path": os.fsdecode(folder.path + b"/" + path), "reason": file.reason}
        for folder in synced.folders(c)
        for path, file in sorted(synced.skipped(c, folder.id).items())
    ]
    return {"count": len(rows), "files": rows[:_SHOWN_MAX]}


def _budget(ledger: SqliteLedger) -> dict[str, Any]:
    state = ledger.state()
    windows = {
        scope.value: {
            "limit": window.limit,
            "spendable": window.spendable,
            "reserved": window.reserved,
            "reset_at": window.reset_at,
        }
        for scope, window in state.windows.items()
    }
    # JSON knows no infinity: null is "until somebody decides".
    pauses = {s: u if math.isfinite(u) else None for s, u in state.pauses.items()}
    return {"windows": windows, "pauses": pauses, "strikes": state.strikes}


def _when(epoch: float | None) -> str:
    if epoch is None:
        return "never"
    return f"{datetime.fromtimestamp(epoch).astimezone():%Y-%m-%d %H:%M:%S}"


def _lines(facts: dict[str, Any]) -> list[str]:
    tree, queue, processes = facts["tree"], facts["queue"], facts["processes"]
    daemon = f"process {processes['daemon']}" if processes["daemon"] else "not running"
    lines = [
        f"account  {facts['account']['name']} ({facts['account']['id']})",
        f"daemon   {daemon}",
        (
            f"tree     {tree['albums']} albums, {tree['images']} images,"
            f" listed {_when(tree['albums_listed_at'])}"
        ),
        (
            f"queue    {queue['queued']} waiting, {queue['sending']} being sent,"
            f" {queue['unknown']} with unknown outcome, {queue['dead']} rejected"
        ),
    ]
    lines += _budget_lines(facts["budget"])
    if tree["brake"]:
        lines.append(f"brake    {tree['brake']}")
    for job in queue["outcome_unknown"]:
        lines.append(f"held     {job['kind']} {job['id']}: {job['error']}")
    for job in queue["rejected"]:
        lines.append(f"rejected {job['kind']} {job['id']}: {job['error']}")
    for file in facts["skipped"]["files"]:
        lines.append(f"skipped  {file['path']}: {file['reason']}")
    more = facts["skipped"]["count"] - len(facts["skipped"]["files"])
    if more > 0:
        lines.append(f"         and {more} more skipped files")
    return lines


def _budget_lines(budget: dict[str, Any]) -> list[str]:
    lines = [
        f"budget   {scope}: {window['spendable']} of {window['limit']} left"
        + (f" until {_when(window['reset_at'])}" if window["reset_at"] else "")
        for scope, window in budget["windows"].items()
    ]
    lines += [
        f"paused   {scope} until {_when(until) if until else 'you decide'}"
        for scope, until in budget["pauses"].items()
    ]
    if budget["strikes"]:
        lines.append(
            f"strikes  {budget['strikes']} of {limits.STRIKES_PER_MONTH} this month:"
            " the daily limit was hit"
        )
    return lines
