"""The program ``imgurfs``: finds the command, runs it, turns errors into exit codes.

A composition root. Each command lives in a module of its own and is imported when it
is used, so that ``--help`` loads neither FUSE nor HTTP.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from imgurfs import __version__
from imgurfs.cli.context import (
    Context,
    common_options,
    report,
    set_up_logging,
    single_cause,
)

#: Command -> (module under imgurfs.cli, its first help line).
COMMANDS = {
    "api": ("api", "Call any endpoint of Imgur, as the account."),
    "cache": ("cache", "Show or clear what is kept on this machine."),
    "completion": ("completion", "Print the completion script for a shell."),
    "config": ("config", "Show, check or start the configuration file."),
    "credits": ("credits", "Show the limits as Imgur reports them."),
    "demo": ("demo", "Try everything on an emulated account, offline."),
    "doctor": ("doctor", "Find what is wrong here, and how to mend it."),
    "emulator": ("emulator", "Run an Imgur on this machine."),
    "folder": ("folder", "List, add or remove watched folders."),
    "guard": ("guard", "Decide about deletions that look like a mistake."),
    "link": ("link", "Print the Imgur link of files and albums."),
    "login": ("login", "Log in to an account."),
    "logout": ("logout", "Forget the token of an account."),
    "ls": ("ls", "List the drive, also when it is not mounted."),
    "mount": ("mount", "Mount the account as a drive."),
    "pause": ("pause", "Send nothing for a while."),
    "pin": ("pin", "Keep images on this machine, also offline."),
    "plan": ("plan", "Print what would be sent, and what it costs."),
    "queue": ("queue", "Show and steer what is to be sent."),
    "resume": ("pause", "End a pause; allow what needs your consent."),
    "service": ("service", "Run daemon and drive as services of systemd."),
    "status": ("status", "Show what is happening, what is left and what is stuck."),
    "sync": ("sync", "Upload a folder, and keep doing so."),
    "undo": ("undo", "Call off deletions that wait."),
    "unmount": ("mount", "Unmount the drive."),
    "unpin": ("pin", "Keep images here no longer."),
    "upload": ("upload", "Upload files and print their links."),
    "wait": ("wait", "Wait until files, or everything, are uploaded."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return all command names."""
        return sorted(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Import one command and give it the common options."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"imgurfs.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        _add_common_options(command)
        return command

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem[str]]:
        """Offer the commands from the table, importing none, and the options."""
        words = [
            name for name in self.list_commands(ctx) if name.startswith(incomplete)
        ]
        # Not Group's own, which asks each command for its help.
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*map(click.shell_completion.CompletionItem, words), *options]

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands from the table, importing none."""
        rows = [(name, COMMANDS[name][1]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _add_common_options(command: click.Command) -> None:
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _add_common_options(inner)
    present = {name for param in command.params for name in param.opts}
    for option in common_options():
        if not present.intersection(option.opts):
            command.params.append(option)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=list(common_options()),
    epilog="Try it without an account: imgurfs demo",
)
@click.version_option(__version__, prog_name="imgurfs")
def cli() -> None:
    """Use an Imgur account as a folder: mount it, or mirror a folder to it."""


def main() -> None:
    """Entry point: run the command line and exit."""
    sys.exit(invoke(cli, program="imgurfs", arguments=sys.argv[1:]))


def invoke(command: click.Command, *, program: str, arguments: list[str]) -> int:
    """Run a click command; return the exit code. Errors are a line or two."""
    context = Context()
    instruction = os.environ.get("_IMGURFS_COMPLETE", "")
    if instruction and command is cli:
        from imgurfs.cli import completion

        return completion.answer(command, instruction, context)
    _set_up_from(arguments)
    try:
        result: Any = command.main(
            args=arguments, prog_name=program, standalone_mode=False, obj=context
        )
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output is gone (`imgurfs status | head`).
        sys.stderr.close()
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost edge
        return report(single_cause(error), program=program, verbosity=context.verbosity)
    return result if isinstance(result, int) else 0


def _set_up_from(arguments: list[str]) -> None:
    """Set up logging before any command runs; -v and -q count wherever they stand."""
    flags = [a for a in arguments if a.startswith("-") and not a.startswith("--")]
    verbosity = sum(a.count("v") for a in flags if set(a[1:]) == {"v"})
    verbosity += sum(a == "--verbose" for a in arguments)
    verbosity -= sum(a.count("q") for a in flags if set(a[1:]) == {"q"})
    verbosity -= sum(a == "--quiet" for a in arguments)
    set_up_logging(verbosity)
