"""``imgurfs sync``: the daemon's work in the foreground, for one folder."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgurfs import limits
from imgurfs.cli import completing
from imgurfs.cli.context import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_TRY_LATER,
    Context,
    pass_context,
    run_trio,
)
from imgurfs.cli.words import moment, printable
from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.assembly import Services
    from imgurfs.cli.opened import Opened
    from imgurfs.config import Config, FolderConfig
    from imgurfs.drain import DrainReport
    from imgurfs_daemon.look import Look
    from imgurfs_daemon.service import Daemon

#: Files that never hold still are not waited for longer than this many settle times.
_SETTLE_ROUNDS_MAX = 5
#: Lines of each kind in the report; the numbers count all.
_SHOWN_MAX = 10


@click.command(short_help="Upload a folder, and keep doing so.")
@click.argument(
    "folder",
    type=click.Path(path_type=Path),
    shell_complete=completing.folders_and_directories,
)
@click.option(
    "--once", is_flag=True, help="End when nothing can be sent without waiting."
)
@click.option(
    "--wait",
    is_flag=True,
    help="With --once: wait for Imgur's limits and for what may have happened.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print what would be sent; change nothing."
)
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: as JSON.")
@pass_context
def sync(
    context: Context,
    *,
    folder: Path,
    once: bool,
    wait: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Mirror FOLDER to the account, as the configuration says about it.

    A folder that the configuration does not name is mirrored with the defaults: a
    subfolder is an album, and what is deleted here is deleted on Imgur when its grace
    period is over. To keep images, say so: imgurfs folder add --deletes keep.

    \b
    Exit codes with --once:
      0   all done
      75  something waits and is printed, with its time: for Imgur's limits, for a look
          whether it happened, for your decision, or a deletion for the end of its grace
          period (it stays scheduled; the daemon or the next sync sends it)
      1   something failed, or could not be read
    """  # noqa: D301 - \b keeps click from rewrapping
    if wait and not once:
        raise UsageError("--wait belongs to --once: without it sync goes on for ever")
    settings = context.load_config()
    found = folder_of(settings, context.account, folder)
    if dry_run:
        from imgurfs.cli.plan import print_plan

        return run_trio(print_plan, context, settings, [found], as_json)
    if as_json:
        raise UsageError("--json belongs to --dry-run; see also: imgurfs status --json")
    return run_trio(_sync, context, settings, found, once, wait)


def folder_of(settings: Config, account: str, folder: Path) -> FolderConfig:
    """Return what the configuration says about a folder, or what holds without it.

    Raises UsageError when it is no directory.
    """
    from imgurfs.config import FolderConfig

    path = folder.expanduser().resolve()
    if not path.is_dir():
        raise UsageError(f"{printable(str(folder))} is not a directory")
    for known in settings.folders_of(account):
        if Path(known.path).expanduser().resolve() == path:
            return known
    return FolderConfig(path=str(path), account=account)


async def _sync(
    context: Context, settings: Config, folder: FolderConfig, once: bool, wait: bool
) -> int:
    from imgurfs.assembly import open_account

    async with open_account(settings, context.account) as services:
        work = _Foreground(context, services, folder)
        if once:
            return await work.run_once(patience_s=math.inf if wait else 0.0)
        return await work.run()


class _Foreground:
    """The work on one folder, and what is shown of it."""

    def __init__(
        self, context: Context, services: Services, folder: FolderConfig
    ) -> None:
        from imgurfs.cli.opened import Opened
        from imgurfs.cli.sending import SendingView
        from imgurfs_daemon.service import Daemon

        self._context = context
        self._services = services
        self._settle_s = services.config.sync.settle_s
        self._state: Opened = Opened(
            services.config,
            services.paths,
            services.db,
            services.ledger,
            services.clock,
        )
        self._view = SendingView(self._state, is_quiet=context.verbosity < 0)
        self._daemon: Daemon = Daemon(services, [folder], on_progress=self._view.note)
        self._skipped: list[str] = []
        self._is_interrupted = False
        self._handover_s = 0.0

    async def run(self) -> int:
        """Serve until a signal says stop; return the exit code."""
        import trio

        stop = trio.Event()

        async def obey() -> None:
            wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            with trio.open_signal_receiver(*wanted) as signals:
                async for _ in signals:
                    stop.set()

        with self._view:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(obey)
                nursery.start_soon(self._view.run)
                await self._daemon.run(stop=stop)
                nursery.cancel_scope.cancel()
        return 0

    async def run_once(self, *, patience_s: float) -> int:
        """Look, wait for files to settle, send, report; return the exit code."""
        with self._daemon.in_place() as is_ours:
            self._handover_s = limits.HANDOVER_S if is_ours else 0.0
            return await self._run_once(patience_s)

    async def _run_once(self, patience_s: float) -> int:
        import trio

        from imgurfs.cli.live import spinner

        folder = self._daemon.folders[0]
        with spinner(f"reading {printable(folder.text)}"):
            look = await self._look()
            with trio.move_on_after(self._settle_s * _SETTLE_ROUNDS_MAX):
                while look.settles_in_s is not None:
                    await trio.sleep(look.settles_in_s)
                    look = await self._look()
        report = await self._drain(patience_s)
        # What changed while it was sent is planned again, once.
        if not self._is_interrupted and (again := await self._look()).actions:
            look = again
            report = await self._drain(patience_s)
        code = self._print_report(report, look)
        return EXIT_INTERRUPTED if self._is_interrupted else code

    async def _look(self) -> Look:
        """Look at the folder, queue what follows, remember what is not taken."""
        from imgurfs_daemon import planner

        look = await self._daemon.folders[0].sync()
        self._skipped += [
            f"{printable(action.path)}: {action.reason}"
            for action in look.actions
            if isinstance(action, planner.Skip)
        ]
        return look

    async def _drain(self, patience_s: float) -> DrainReport:
        """Send what can be sent, and show how far it is."""
        import trio

        with self._view:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._view.run)
                nursery.start_soon(self._stop_on_signal)
                report = await self._daemon.drainer.run_until_idle(
                    patience_s=patience_s, handover_s=self._handover_s
                )
                nursery.cancel_scope.cancel()
        return report

    async def _stop_on_signal(self) -> None:
        """Begin nothing new at the first Ctrl-C, abandon what is sent at the next.

        Abandoned uploads are looked for later, never sent blindly.
        """
        import trio

        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self._is_interrupted:
                    raise KeyboardInterrupt
                self._is_interrupted = True
                self._daemon.drainer.stop()
                click.echo("finishing what is in the air (again: abandon it)", err=True)

    # --- The report ------------------------------------------------------------

    def _print_report(self, report: DrainReport, look: Look) -> int:
        """Print what was done and what waits until when; return the exit code."""
        waiting = self._print_jobs(report)
        is_unsettled = look.settles_in_s is not None
        if is_unsettled:
            print("waits: files that are still being written")
        _print_some("skipped", self._skipped)
        incomplete = _print_unread(look)
        print(
            f"{len(report.done)} done, {waiting} waiting, {len(report.failed)} failed"
        )
        if waiting or is_unsettled:
            return EXIT_TRY_LATER
        return EXIT_FAILED if report.failed or incomplete else 0

    def _print_jobs(self, report: DrainReport) -> int:
        """Print what was done, failed and waits; return how many jobs wait."""
        from imgurfs.jobs import drive_names, guard
        from imgurfs.store import outbox_lists

        c = self._services.db.reader
        shown_max = None if self._context.verbosity > 0 else _SHOWN_MAX
        _print_some("done", list(report.done), shown_max=shown_max)
        _print_some("failed", list(report.failed))
        tell = self._state.waiting_teller()
        unfinished = outbox_lists.UNFINISHED
        lines = []
        for job in outbox_lists.listed(c, states=unfinished, limit=_SHOWN_MAX):
            why = tell(job)
            until = f", until {moment(why.until)}" if why.until is not None else ""
            lines.append(f"{drive_names.what(c, job)}: {why.reason}{until}")
        count = outbox_lists.count(c, states=unfinished)
        _print_some("waits", lines, count=count)
        held = guard.report(c)
        if held is not None:
            print(f"held: {printable(held.text)}: see imgurfs guard")
        return count


def _print_unread(look: Look) -> bool:
    """Print what could not be read; return whether that is anything."""
    from imgurfs.cli.plan import unread

    problems = unread(look)
    _print_some("not read", [f"{path}: {reason}" for path, reason in problems])
    return bool(problems)


def _print_some(
    label: str,
    lines: list[str],
    *,
    count: int | None = None,
    shown_max: int | None = _SHOWN_MAX,
) -> None:
    """Print some of the lines, each with its label, and how many more there are."""
    shown = lines[:shown_max]
    for line in shown:
        print(f"{label}: {printable(line)}")
    more = (len(lines) if count is None else count) - len(shown)
    if more > 0:
        print(f"{label}: and {more:,} more (see imgurfs status)")
