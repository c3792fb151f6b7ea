"""``imgurfs folder``: lists, adds and removes watched folders in the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli import completing
from imgurfs.cli.context import Context, pass_context
from imgurfs.cli.words import number, printable, table
from imgurfs.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgurfs.config import Config, FolderConfig

_as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)


@click.group(
    invoke_without_command=True, short_help="List, add or remove watched folders."
)
@_as_json
@click.pass_context
def folder(ctx: click.Context, as_json: bool) -> None:
    """List, add or remove the folders that the daemon mirrors to Imgur.

    The configuration is edited in place, comments stay, and a running daemon is told.

    JSON: {"folders": [{"path", "account", "albums", "deletes", "dedupe", "include",
    "exclude", "exists"}]}.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)
    elif as_json:
        raise UsageError(f"put --json behind '{ctx.invoked_subcommand}'")


@folder.command("list")
@_as_json
@pass_context
def list_(context: Context, as_json: bool) -> None:
    """List the watched folders of all accounts."""
    folders = context.load_config().folder
    if as_json:
        print(json.dumps({"folders": [_facts(one) for one in folders]}, indent=2))
        return
    rows = [("ACCOUNT", "ALBUMS", "DELETES", "FOLDER")]
    for one in folders:
        note = "" if _resolved(one.path).is_dir() else "  (not there)"
        rows.append((one.account, one.albums, one.deletes, printable(one.path) + note))
    print("\n".join(table(rows)) if folders else "no folder is watched")


@folder.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--albums",
    metavar="WHICH",
    default=None,
    help='"subfolders" (default): a subfolder is an album; "one:TITLE":'
    ' everything into one album; "none".',
)
@click.option(
    "--deletes",
    type=click.Choice(["keep", "mirror"]),
    default=None,
    help="mirror (default): a deleted file's image is deleted as well.",
)
@click.option(
    "--no-dedupe",
    is_flag=True,
    help="Make every file an image of its own, also the same bytes twice.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Take only what matches (as in .gitignore); may be repeated.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out what matches (as in .gitignore); may be repeated.",
)
@pass_context
def add(
    context: Context,
    *,
    path: Path,
    albums: str | None,
    deletes: str | None,
    no_dedupe: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
) -> None:
    """Watch the folder PATH, for the account given by --account.

    What it would send is shown by: imgurfs plan PATH
    """  # fmt: skip
    from imgurfs.cli import config_file
    from imgurfs_daemon.filters import Filters

    where = _addable(path)
    Filters(include, exclude)
    given: dict[str, Any] = {
        "path": where,
        "account": context.account if context.account != "default" else None,
        "albums": albums,
        "deletes": deletes,
        "dedupe": False if no_dedupe else None,
        "include": list(include) or None,
        "exclude": list(exclude) or None,
    }
    settings = {key: value for key, value in given.items() if value is not None}
    with config_file.editing(context.config_file) as edit:
        _refuse(edit.config, Path(where))
        edit.config.account_named(context.account)
        edit.add_folder(settings)
    print(f"{printable(where)} is watched")
    _tell_daemon(context)


@folder.command()
@click.argument(
    "path", type=click.Path(path_type=Path), shell_complete=completing.folders
)
@pass_context
def remove(context: Context, path: Path) -> None:
    """Stop watching the folder PATH. Its images stay on Imgur, the files here.

    What still waits for it (uploads, deletions) is withdrawn. When the folder is added
    again nothing that is on Imgur already is sent a second time.
    """
    from imgurfs.cli import config_file

    wanted = _resolved(str(path))
    with config_file.editing(context.config_file) as edit:
        found = [
            (index, one)
            for index, one in enumerate(edit.config.folder)
            if _resolved(one.path) == wanted or one.path == str(path)
        ]
        if not found:
            raise UsageError(
                f"{printable(str(path))} is not a watched folder",
                hint="list them: imgurfs folder",
            )
        for index, _ in reversed(found):
            edit.remove_folder(index)
    print(f"{printable(found[0][1].path)} is not watched any more")
    _tell_daemon(context)
    for account in {one.account for _, one in found}:
        _withdraw(Context(context.config_file, account), wanted)


def _facts(one: FolderConfig) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(one)
    return {**facts, "exists": _resolved(one.path).is_dir()}


def _resolved(path: str) -> Path:
    return Path(path).expanduser().resolve()


def _addable(path: Path) -> str:
    """Return the path as the configuration will hold it. Raises UsageError."""
    absolute = path.expanduser().absolute()
    # ".." is resolved, a link at the end is kept: it may point elsewhere tomorrow.
    where = str(absolute.parent.resolve() / absolute.name) if absolute.name else "/"
    if absolute.name in ("", ".."):
        where = str(absolute.resolve())
    if not Path(where).is_dir():
        raise UsageError(f"{printable(str(path))} is not a directory")
    try:
        where.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{printable(bytes(path))} is not UTF-8, as the configuration is",
            hint="watch a folder above it, or a link to it with a plain name",
        ) from None
    return where


def _refuse(config: Config, where: Path) -> None:
    """Raise ConfigError or MountpointError for a folder that cannot be watched."""
    from imgurfs import paths
    from imgurfs_daemon.mounts import read_mountinfo, refuse_mounts

    real = where.resolve()
    for one in config.folder:
        other = _resolved(one.path)
        if other == real:
            raise ConfigError(
                f"{printable(str(where))} is watched already",
                hint="to change how, edit the configuration:"
                " 'imgurfs config path' says where it is",
            )
        if other.is_relative_to(real) or real.is_relative_to(other):
            raise ConfigError(
                f"{printable(str(where))} and the watched folder"
                f" {printable(one.path)} lie in one another",
                hint="watch the outer one only",
            )
    for name in ("default", *config.accounts):
        for own in paths.account_paths(name).own_directories:
            kept = own.resolve()
            if kept.is_relative_to(real) or real.is_relative_to(kept):
                raise ConfigError(
                    f"{printable(str(where))} and {own}, where imgurfs keeps its own"
                    " files, lie in one another",
                    hint="watch a folder of pictures instead",
                )
    refuse_mounts(bytes(real), mountinfo=read_mountinfo())


def _tell_daemon(context: Context) -> None:
    """Let running daemons read the configuration again; say what happens next."""
    import os
    import signal

    told = sorted(set(_daemons(context.load_config())))
    for process in told:
        os.kill(process, signal.SIGHUP)
    if told:
        names = ", ".join(str(process) for process in told)
        print(f"the running daemon was told (process {names})")
    else:
        print("no daemon is running: 'imgurfs-daemon' starts one")


def _daemons(config: Config) -> Iterator[int]:
    """Yield the processes that hold an account's daemon lock and are daemons."""
    from imgurfs import paths
    from imgurfs.locks import FileLock

    for name in ("default", *config.accounts):
        lock = FileLock(paths.account_paths(name).daemon_lock)
        holder = lock.holder()
        if lock.is_free() or not holder.isdigit():
            continue
        # 'imgurfs sync' holds the lock as well and has no use for the signal.
        try:
            command = Path("/proc", holder, "cmdline").read_bytes()
        except OSError:
            continue
        if b"imgurfs-daemon" in command or b"imgurfs_daemon" in command:
            yield int(holder)


def _withdraw(context: Context, path: Path) -> None:
    """Withdraw what the outbox of an account holds for a folder."""
    from imgurfs import control
    from imgurfs.cli.opened import opened
    from imgurfs.errors import LoginNeededError

    try:
        with opened(context) as state:
            now = state.clock.now()
            uploads = deletions = 0
            while any(
                some := state.write(
                    lambda c: control.leave_folder(c, bytes(path), now=now)
                )
            ):
                uploads += some[0]
                deletions += some[1]
    except LoginNeededError:
        return
    if uploads or deletions:
        print(
            f"withdrawn: {number(uploads, 'upload')}, {number(deletions, 'deletion')}"
            " that had not been sent"
        )
