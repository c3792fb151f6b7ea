"""``imgurfs sync``: the daemon's work in the foreground, for one folder."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgurfs.cli.context import (
    EXIT_FAILED,
    EXIT_TRY_LATER,
    Context,
    pass_context,
    run_trio,
)
from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.assembly import Services
    from imgurfs.config import Config, FolderConfig
    from imgurfs.drain import DrainReport
    from imgurfs.store import outbox
    from imgurfs_daemon.folder import Look
    from imgurfs_daemon.service import Daemon

#: Files that never hold still are not waited for longer than this many settle times.
_SETTLE_ROUNDS_MAX = 5


@click.command(short_help="Upload a folder, and keep doing so.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--once", is_flag=True, help="End when nothing can be sent without waiting."
)
@click.option(
    "--dry-run", is_flag=True, help="Print what would be sent; change nothing."
)
@pass_context
def sync(context: Context, *, folder: Path, once: bool, dry_run: bool) -> int:
    """Mirror FOLDER to the account, as the configuration says about it.

    A folder that the configuration does not name is uploaded with the defaults:
    a subfolder is an album, and nothing is ever deleted on Imgur.
    """
    settings = context.load_config()
    found = _folder_of(settings, context.account, folder)
    return run_trio(_sync, context, settings, found, once, dry_run)


def _folder_of(settings: Config, account: str, folder: Path) -> FolderConfig:
    from imgurfs.config import FolderConfig

    path = folder.expanduser().resolve()
    if not path.is_dir():
        raise UsageError(f"{folder} is not a directory")
    for known in settings.folders_of(account):
        if Path(known.path).expanduser().resolve() == path:
            return known
    return FolderConfig(path=str(path), account=account)


async def _sync(
    context: Context,
    settings: Config,
    folder: FolderConfig,
    once: bool,
    dry_run: bool,
) -> int:
    import msgspec
    import trio

    from imgurfs.assembly import open_account
    from imgurfs.notify import Notifier
    from imgurfs_daemon.service import Daemon, wait_for_signal

    if dry_run:
        # What would be sent if everything held still from now on.
        settled = msgspec.structs.replace(settings.sync, settle_s=0.0)
        settings = msgspec.structs.replace(settings, sync=settled)
    async with open_account(settings, context.account) as services:
        daemon = Daemon(services, [folder])
        if dry_run:
            return _print_plan(await daemon.folders[0].look())
        if once:
            return await _sync_once(services, daemon, settings.sync.settle_s)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal, stop)
            await daemon.run(Notifier(), stop=stop)
            nursery.cancel_scope.cancel()
    return 0


async def _sync_once(services: Services, daemon: Daemon, settle_s: float) -> int:
    """Look, wait for files to settle, send; return the exit code."""
    import trio

    folder = daemon.folders[0]
    look = await folder.sync()
    with trio.move_on_after(settle_s * _SETTLE_ROUNDS_MAX):
        while look.settles_in_s is not None:
            await trio.sleep(look.settles_in_s)
            look = await folder.sync()
    report = await daemon.drainer.run_until_idle()
    # What changed while it was sent is planned again, once.
    if (await folder.sync()).actions:
        report = await daemon.drainer.run_until_idle()
    return _print_report(services, report, look)


def _print_report(services: Services, report: DrainReport, look: Look) -> int:
    """Print what was done and what waits until when; return the exit code."""
    from imgurfs.jobs.queueing import describe
    from imgurfs.store import outbox

    for line in report.done:
        print(f"done: {line}")
    for line in report.failed:
        print(f"failed: {line}")
    waiting = outbox.unfinished(services.db.reader)
    for job in waiting:
        print(f"waits: {describe(job)}: {_why(services, job)}")
    if look.settles_in_s is not None:
        print("waits: files that are still being written")
    for problem in look.snapshot.problems:
        print(f"not read: {problem.path.decode(errors='replace')}: {problem.reason}")
    for skip in look.unreadable:
        print(f"not read: {skip.path.decode(errors='replace')}: {skip.reason}")
    print(
        f"{len(report.done)} done, {len(waiting)} waiting, {len(report.failed)} failed"
    )
    if waiting or look.settles_in_s is not None:
        return EXIT_TRY_LATER
    incomplete = report.failed or look.snapshot.problems or look.unreadable
    return EXIT_FAILED if incomplete else 0


def _why(services: Services, job: outbox.Job) -> str:
    """Return what a job waits for, and until when."""
    from imgurfs.jobs.work import request_of
    from imgurfs.store.outbox import JobState

    if job.state is JobState.UNKNOWN:
        return f"held, nobody knows whether it happened ({job.error})"
    # A group is a folder whose album does not exist yet.
    first = "it waits for its folder's album" if job.grouping else "not its time yet"
    until, reason = job.not_before, job.error or first
    wait = services.ledger.peek(request_of(job))
    if wait is not None and wait.until > until:
        until, reason = wait.until, wait.reason
    if until <= services.clock.now() or not math.isfinite(until):
        return reason
    moment = datetime.fromtimestamp(until, UTC).astimezone()
    return f"{reason}, until {moment:%Y-%m-%d %H:%M:%S}"


def _print_plan(look: Look) -> int:
    """Print the plan and what it costs."""
    from imgurfs import limits
    from imgurfs_daemon import planner
    from imgurfs_daemon.folder import describe

    for action in look.actions:
        print(describe(action))
    sends = [a for a in look.actions if isinstance(a, planner.Upload | planner.Replace)]
    deletes = [
        a
        for a in look.actions
        if isinstance(a, planner.DeleteImage)
        or (isinstance(a, planner.Replace) and a.deletes_old)
    ]
    new_albums = look.new_album_count
    posts = len(sends) + new_albums
    credits_ = len(sends) * limits.UPLOAD_CREDITS + new_albums + len(deletes)
    print(
        f"{len(sends)} upload(s), {new_albums} album(s) to create or adopt,"
        f" {len(deletes)} delete(s): at most {posts} POSTs and {credits_} credits"
    )
    return 0
