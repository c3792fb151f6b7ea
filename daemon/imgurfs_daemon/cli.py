"""The program ``imgurfs-daemon``: reads the configuration and serves its accounts.

The daemon's composition root. SIGHUP reads the configuration again, SIGTERM and SIGINT
stop. Errors become one or two lines on stderr and an exit code that the service unit
understands: 77 (log in) and 78 (configuration) do not restart.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

import click
import trio

from imgurfs import __version__, config, messages
from imgurfs.errors import ImgurfsError
from imgurfs.notify import Notifier
from imgurfs_daemon.check import check
from imgurfs_daemon.service import served
from imgurfs_daemon.supervisor import Supervisor, leaves

_PROGRAM = "imgurfs-daemon"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--account",
    metavar="NAME",
    help="Serve this account only; otherwise every account that has folders.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file instead of the default one.",
)
@click.option(
    "--check",
    "is_check",
    is_flag=True,
    help="Only find out whether it could work here, and change nothing.",
)
@click.option("-v", "--verbose", count=True, help="Say more.")
@click.option("-q", "--quiet", count=True, help="Say less.")
@click.version_option(__version__, prog_name=_PROGRAM)
def daemon(
    account: str | None,
    config_file: Path | None,
    is_check: bool,
    verbose: int,
    quiet: int,
) -> None:
    """Mirror the watched folders of the configuration to Imgur until stopped.

    SIGHUP reads the configuration again; one that is not valid is refused and the old
    one stays in force.
    """
    _set_up_logging(verbose - quiet)
    trio.run(_check if is_check else _serve, account, config_file)


def main() -> None:
    """Entry point: run the daemon and exit."""
    try:
        daemon.main(prog_name=_PROGRAM, standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the outermost edge
        sys.exit(_report(error))


async def _serve(account: str | None, config_file: Path | None) -> None:
    supervisor = Supervisor(
        lambda: config.load(config_file), only=account, notifier=Notifier()
    )
    async with trio.open_nursery() as signals:
        await signals.start(_obey, supervisor)
        await supervisor.run()
        signals.cancel_scope.cancel()


async def _check(account: str | None, config_file: Path | None) -> None:
    settings = config.load(config_file)
    await check(settings, served(settings, only=account))


async def _obey(supervisor: Supervisor, *, task_status: trio.TaskStatus[None]) -> None:
    """Do what signals ask for."""
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with trio.open_signal_receiver(*wanted) as signals:
        task_status.started()
        async for number in signals:
            if number != signal.SIGHUP:
                supervisor.stop()
                return
            supervisor.reload_soon()


def _set_up_logging(verbosity: int) -> None:
    """One line per event on stderr; the journal adds the time."""
    level = logging.INFO - 10 * verbosity
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(levelname)s %(message)s"
    )
    messages.never_wait()
    for noisy in ("httpcore", "httpx", "watchdog"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _report(error: BaseException) -> int:
    """Print an error in one or two lines; return the exit code."""
    found = list(leaves(error))
    known = [leaf for leaf in found if isinstance(leaf, ImgurfsError)]
    if known and len(known) == len(found):
        print(f"{_PROGRAM}: {known[0].message}", file=sys.stderr)
        if known[0].hint:
            print(f"  {known[0].hint}", file=sys.stderr)
        return known[0].exit_code
    logging.getLogger(__name__).critical(
        "internal error; this is a bug", exc_info=error
    )
    return 1
