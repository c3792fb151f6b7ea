"""``imgurfs status``: what is happening, what is left, and what is stuck.

Reads the databases, so it works when nothing runs and when there is no network.
"""

from __future__ import annotations

import json
import select
import sys
from typing import TYPE_CHECKING, Any

import click

from imgurfs import limits
from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.cli.words import moment, number, printable, size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio import CancelScope

    from imgurfs.cli.live import Sending
    from imgurfs.cli.opened import Opened

#: How often a live view is renewed.
_WATCH_S = 1.0


@click.command(short_help="Show what is happening, what is left and what is stuck.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
@pass_context
def status(context: Context, as_json: bool, watch: bool) -> None:
    """Show account, processes, queue, budgets and what needs attention.

    With --watch a terminal shows progress bars; elsewhere the whole text (with --json
    one object in a line) is printed again whenever something changed.

    \b
    JSON keys: account, processes, tree, queue, sending (in the air), left (files,
    bytes, album_calls, titles, deletions), waits (why, until when, how many), eta,
    paused, deletions, guard, notices, skipped, drive, budget, attention (what is stuck,
    and what to do). Times are epochs; null means never, or when you decide.
    """  # noqa: D301 - \b keeps click from rewrapping
    from imgurfs.cli.opened import opened

    with opened(context, needs_login=True) as state:
        if watch:
            run_trio(_watch, state, as_json)
        else:
            _print(_gather(state), as_json=as_json)


def _gather(state: Opened) -> dict[str, Any]:
    from imgurfs.cli import facts

    return facts.gather(state)


def _print(facts: dict[str, Any], *, as_json: bool, is_line: bool = False) -> None:
    if as_json:
        print(json.dumps(facts, indent=None if is_line else 2), flush=True)
    else:
        print("\n".join(_lines(facts)), flush=True)


# --- Watching ----------------------------------------------------------------


async def _watch(state: Opened, as_json: bool) -> None:
    """Watch until Ctrl-C, which is how one leaves a live view.

    As a signal that is waited for: a KeyboardInterrupt may come up anywhere, also
    where it is swallowed.
    """
    import signal

    import trio

    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_at_signal, signals, nursery.cancel_scope)
            if sys.stdout.isatty() and not as_json:
                await _watch_terminal(state)
            else:
                await _watch_changes(state, as_json=as_json)
            nursery.cancel_scope.cancel()


async def _end_at_signal(signals: AsyncIterator[int], scope: CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _watch_changes(state: Opened, *, as_json: bool) -> None:
    """Print everything once for each change, until the reader is gone."""
    import trio

    from imgurfs.cli.live import pause_s

    before: dict[str, Any] = {}
    while not _is_reader_gone():
        began_s = state.clock.monotonic()
        facts = _gather(state)
        # The estimate moves with the clock; that alone is no news.
        now = {key: value for key, value in facts.items() if key != "eta"}
        if now != before:
            _print(facts, as_json=as_json, is_line=True)
            before = now
        await trio.sleep(pause_s(_WATCH_S, state.clock.monotonic() - began_s))


def _is_reader_gone() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(
        events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0)
    )


async def _watch_terminal(state: Opened) -> None:
    import trio
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from imgurfs.cli.live import Bars, Course, pause_s

    course, bars = Course(), Bars()
    with Live(Text(""), auto_refresh=False) as live:
        while True:
            began_s = state.clock.monotonic()
            facts = _gather(state)
            course.see(facts["left"]["files"], facts["left"]["bytes"])
            text = Text("\n".join(_lines(facts)), no_wrap=True, overflow="ellipsis")
            bars.show(course, note=_eta_text(facts), sending=_in_air(facts))
            shown = Group(text, bars.progress) if course.total_files else text
            live.update(shown, refresh=True)
            took_s = state.clock.monotonic() - began_s
            await trio.sleep(pause_s(_WATCH_S, took_s))


def _in_air(facts: dict[str, Any]) -> list[Sending]:
    from imgurfs.cli.live import Sending

    return [
        # Only the process that sends knows how far it is.
        Sending(job["id"], job["what"], None, job["size_bytes"])
        for job in facts["sending"]
    ]


# --- The text ----------------------------------------------------------------


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [
        *_head_lines(facts),
        *_queue_lines(facts),
        *_budget_lines(facts["budget"]),
        *_detail_lines(facts),
    ]
    for one in facts["attention"]:
        do = f" -> {one['do']}" if one["do"] else ""
        lines.append(f"note     {printable(one['what'])}{do}")
    return lines


def _head_lines(facts: dict[str, Any]) -> list[str]:
    tree, processes = facts["tree"], facts["processes"]
    daemon = f"process {processes['daemon']}" if processes["daemon"] else "not running"
    if processes["sending"] and not processes["daemon"]:
        daemon += f" (process {processes['sending']} is sending)"
    return [
        f"account  {facts['account']['name']} ({facts['account']['id']})",
        f"daemon   {daemon}",
        (
            f"tree     {tree['albums']} albums, {tree['images']} images,"
            f" listed {moment(tree['albums_listed_at'])}"
        ),
    ]


def _queue_lines(facts: dict[str, Any]) -> list[str]:
    queue, left = facts["queue"], facts["left"]
    lines = [
        (
            f"queue    {queue['queued']} waiting, {queue['sending']} being sent,"
            f" {queue['unknown']} with unknown outcome, {queue['dead']} rejected"
        )
    ]
    if left["files"]:
        eta = _eta_text(facts)
        lines.append(
            f"left     {number(left['files'], 'file')}, {size(left['bytes'])}"
            + (f"; {eta}" if eta else "")
        )
    lines += [
        f"sending  {printable(job['what'])}"
        + (f" ({size(job['size_bytes'])})" if job["size_bytes"] else "")
        for job in facts["sending"]
    ]
    for wait in facts["waits"]:
        if wait["waits_for"] in ("sending", "due", "decision", "guard"):
            continue
        until = f" until {moment(wait['until'])}" if wait["until"] else ""
        what = number(wait["count"], _KINDS.get(wait["kind"], "job"))
        lines.append(
            f"waits    {what}: {wait['waits_for']}{until}: {printable(wait['reason'])}"
        )
    return lines


_KINDS = {
    "upload": "upload",
    "create_album": "new album",
    "members": "album change",
    "verify": "album check",
    "update_album": "album title",
    "update_image": "image title",
    "delete_album": "album deletion",
    "delete_image": "deletion",
}


def _eta_text(facts: dict[str, Any]) -> str:
    eta = facts["eta"]
    return "" if eta is None else str(eta["text"])


def _budget_lines(budget: dict[str, Any] | None) -> list[str]:
    if budget is None:
        return []
    lines = [
        f"budget   {scope}: {window['spendable']} of {window['limit']} left"
        + (f" until {moment(window['reset_at'])}" if window["reset_at"] else "")
        for scope, window in budget["windows"].items()
    ]
    lines += [
        f"paused   {scope} until {moment(until, none='you decide')}"
        for scope, until in budget["pauses"].items()
    ]
    if budget["strikes"]:
        lines.append(
            f"strikes  {budget['strikes']} of {limits.STRIKES_PER_MONTH} this month:"
            " the daily limit was hit"
        )
    return lines


def _detail_lines(facts: dict[str, Any]) -> list[str]:
    lines = []
    if facts["paused"] is not None:
        until = moment(facts["paused"]["until"], none="you say: imgurfs resume")
        lines.append(f"paused   nothing is sent until {until}")
    lines += _deletion_lines(facts["deletions"])
    for reason in (facts["guard"] or {"reasons": []})["reasons"]:
        lines.append(f"guard    {printable(reason)}")
    for job in facts["queue"]["outcome_unknown"]:
        lines.append(
            f"held     {job['kind']} {job['id']} ({printable(job['what'])}):"
            f" {printable(job['error'])}"
        )
    for job in facts["queue"]["rejected"]:
        lines.append(
            f"rejected {job['kind']} {job['id']} ({printable(job['what'])}):"
            f" {printable(job['error'])}"
        )
    for file in facts["skipped"]["files"]:
        lines.append(f"skipped  {printable(file['path'])}: {printable(file['reason'])}")
    more = facts["skipped"]["count"] - len(facts["skipped"]["files"])
    if more > 0:
        lines.append(f"         and {more} more skipped files")
    return lines + _drive_lines(facts["drive"])


def _drive_lines(drive: dict[str, Any]) -> list[str]:
    """Return what was written to the drive and is on this machine only."""
    lines = []
    spool, kept = drive["spool"], drive["kept"]
    if spool["files"]:
        lines.append(
            f"spool    {number(spool['files'], 'file')}, {size(spool['bytes'])}:"
            f" {drive['waiting']} to upload, {drive['writing']} being written,"
            f" {drive['local']} that stay here"
        )
    if kept["count"]:
        lines.append(
            f"kept     {number(kept['count'], 'original')}, {size(kept['bytes'])}:"
            " Imgur changed their bytes"
        )
    for heading, group, total in (
        ("refused ", drive["refused"], drive["refused"]["count"]),
        ("scratch ", drive["scratch"], drive["scratch"]["old"]),
    ):
        lines += [
            f"{heading} {printable(file['path'] or 'a removed file')}:"
            f" {printable(file['error'] or 'since ' + moment(file['since_at']))}"
            for file in group["files"]
        ]
        if total > len(group["files"]):
            lines.append(f"         and {total - len(group['files'])} more")
    return lines


def _deletion_lines(deletions: dict[str, Any]) -> list[str]:
    lines = []
    for job in deletions["jobs"]:
        name = ", ".join(printable(path) for path in job["files"]) or job["image_id"]
        at = (
            "held by the guard" if job["guard"] == "held" else f"at {moment(job['at'])}"
        )
        lines.append(f"deletes  {name}: {at}; keep it: imgurfs undo {job['id']}")
    more = deletions["count"] - len(deletions["jobs"])
    if more > 0:
        lines.append(f"         and {more} more; keep all: imgurfs undo")
    return lines
