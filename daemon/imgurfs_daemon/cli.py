"""The program ``imgurfs-daemon``: reads the configuration, opens the account, serves.

The daemon's composition root. Errors become one or two lines on stderr and an exit
code that the service unit understands: 77 (log in) and 78 (configuration) do not
restart.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
import trio

from imgurfs import __version__, config
from imgurfs.assembly import open_account
from imgurfs.errors import ConfigError, ImgurfsError
from imgurfs.notify import Notifier
from imgurfs_daemon.service import Daemon, wait_for_signal

_PROGRAM = "imgurfs-daemon"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--account", default=config.DEFAULT_ACCOUNT, metavar="NAME")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file instead of the default one.",
)
@click.option("-v", "--verbose", count=True, help="Say more.")
@click.option("-q", "--quiet", count=True, help="Say less.")
@click.version_option(__version__, prog_name=_PROGRAM)
def daemon(account: str, config_file: Path | None, verbose: int, quiet: int) -> None:
    """Mirror the watched folders of the configuration to Imgur until stopped."""
    _set_up_logging(verbose - quiet)
    trio.run(_serve, account, config_file)


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


async def _serve(account: str, config_file: Path | None) -> None:
    settings = config.load(config_file)
    folders = settings.folders_of(account)
    if not folders:
        raise ConfigError(
            f"no folder is watched for the account {account!r}",
            hint="add a [[folder]] to the configuration",
        )
    stop = trio.Event()
    async with trio.open_nursery() as signals:
        signals.start_soon(wait_for_signal, stop)
        async with open_account(settings, account) as services:
            await Daemon(services, folders).run(Notifier(), stop=stop)
        signals.cancel_scope.cancel()


def _set_up_logging(verbosity: int) -> None:
    """One line per event on stderr; the journal adds the time."""
    level = logging.INFO - 10 * verbosity
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(levelname)s %(message)s"
    )
    for noisy in ("httpcore", "httpx", "watchdog"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _report(error: BaseException) -> int:
    """Print an error in one or two lines; return the exit code."""
    leaves = list(_leaves(error))
    known = [leaf for leaf in leaves if isinstance(leaf, ImgurfsError)]
    if known and len(known) == len(leaves):
        print(f"{_PROGRAM}: {known[0].message}", file=sys.stderr)
        if known[0].hint:
            print(f"  {known[0].hint}", file=sys.stderr)
        return known[0].exit_code
    logging.getLogger(__name__).critical(
        "internal error; this is a bug", exc_info=error
    )
    return 1


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
