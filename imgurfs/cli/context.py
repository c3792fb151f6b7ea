"""What every command shares: the common options, errors as one line, exit codes.

Not a command. Commands receive a :class:`Context` through :data:`pass_context`.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from imgurfs.errors import ImgurfsError

if TYPE_CHECKING:
    from imgurfs.config import Config

T = TypeVar("T")

EXIT_FAILED = 1
EXIT_TRY_LATER = 75
EXIT_INTERRUPTED = 130


@dataclass(slots=True)
class Context:
    """The common options, wherever on the command line they were given."""

    config_file: Path | None = None
    account: str = "default"
    verbosity: int = 0

    def load_config(self) -> Config:
        """Read the configuration file. Raises ConfigError."""
        from imgurfs import config

        return config.load(self.config_file)

    def common_arguments(self) -> list[str]:
        """Return the options that make another process of ours see the same."""
        arguments = ["--account", self.account]
        if self.config_file is not None:
            arguments += ["--config", str(self.config_file.absolute())]
        return arguments + ["-v"] * self.verbosity + ["-q"] * -self.verbosity


pass_context = click.make_pass_decorator(Context, ensure=True)


def common_options() -> list[click.Option]:
    """Return fresh options that write into the Context and nothing else."""

    def store(ctx: click.Context, option: click.Parameter, value: object) -> None:
        context = ctx.ensure_object(Context)
        if option.name == "config_file" and isinstance(value, Path):
            context.config_file = value
        elif option.name == "account" and isinstance(value, str):
            context.account = value
        elif option.name == "verbose" and isinstance(value, int):
            context.verbosity += value
        elif option.name == "quiet" and isinstance(value, int):
            context.verbosity -= value

    return [
        click.Option(
            ["--config", "config_file"],
            type=click.Path(path_type=Path, dir_okay=False),
            callback=store,
            expose_value=False,
            help="Configuration file instead of the default one.",
        ),
        click.Option(
            ["--account"],
            callback=store,
            expose_value=False,
            shell_complete=_accounts,
            metavar="NAME",
            help="Account of the configuration (default: the one in [account]).",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            callback=store,
            expose_value=False,
            help="Say more; twice for everything.",
        ),
        click.Option(
            ["-q", "--quiet"],
            count=True,
            callback=store,
            expose_value=False,
            help="Say less.",
        ),
    ]


def _accounts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from imgurfs.cli import completing

    return completing.accounts(ctx, param, incomplete)


def set_up_logging(verbosity: int) -> None:
    """Log to stderr. Warnings by default; -v info, -vv debug, -q errors."""
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(
        max(-1, verbosity), logging.DEBUG
    )
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s"
    )
    # Their debug output is per packet, and nothing of ours depends on it.
    for noisy in ("httpcore", "httpx", "watchdog", "PIL", "hpack"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def run_trio(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run an async command body; one error inside exception groups comes out bare."""
    import trio

    try:
        return trio.run(function, *args)
    except BaseExceptionGroup as group:
        raise single_cause(group) from group


def single_cause(error: BaseException) -> BaseException:
    """Return the one exception a group was raised for, most telling first.

    Cancelled siblings do not appear in groups, so several leaves mean several
    failures; ours come before foreign ones, and a KeyboardInterrupt before all.
    """
    leaves = list(_leaves(error))
    for kind in (KeyboardInterrupt, SystemExit, ImgurfsError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def report(error: BaseException, *, program: str, verbosity: int) -> int:
    """Print an error in one or two lines to stderr; return the exit code."""
    if verbosity > 0:
        traceback.print_exception(error, file=sys.stderr)
    match error:
        case KeyboardInterrupt():
            return EXIT_INTERRUPTED
        case ImgurfsError():
            print(f"{program}: {error.message}", file=sys.stderr)
            if error.hint:
                print(f"  {error.hint}", file=sys.stderr)
            return error.exit_code
        case _:
            print(
                f"{program}: internal error: {type(error).__name__}: {error}\n"
                "  this is a bug; run again with -v and report what it prints",
                file=sys.stderr,
            )
            return EXIT_FAILED
