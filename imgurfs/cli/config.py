"""``imgurfs config``: path, check, show, init."""

from __future__ import annotations

import os
from pathlib import Path

import click

from imgurfs.cli.context import Context, pass_context
from imgurfs.errors import UsageError


@click.group(short_help="Show, check or start the configuration file.")
def config() -> None:
    """Show, check or start the configuration file."""


def _path(context: Context) -> Path:
    from imgurfs import paths

    asked = context.config_file or os.environ.get("IMGURFS_CONFIG")
    return Path(asked) if asked else paths.config_path()


@config.command("path")
@pass_context
def path_(context: Context) -> None:
    """Print which configuration file is used."""
    print(_path(context))


@config.command()
@pass_context
def check(context: Context) -> None:
    """Say whether the configuration is in order (exit 78 if not)."""
    settings = context.load_config()
    settings.account_named(context.account)
    path = _path(context)
    if not path.exists():
        print(f"{path}: not there; the defaults apply")
        return
    print(f"{path}: in order, {len(settings.folder)} watched folder(s)")


@config.command()
@pass_context
def show(context: Context) -> None:
    """Print the settings in force as JSON, without secrets."""
    import msgspec

    settings = context.load_config()
    document = msgspec.to_builtins(settings)
    for account in [document["account"], *document["accounts"].values()]:
        account["client_secret"] = "(set)" if account["client_secret"] else ""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


@config.command()
@click.option("--client-id", default="", help="Put this client id in.")
@pass_context
def init(context: Context, client_id: str) -> None:
    """Write a commented configuration file; never overwrites one."""
    path = _path(context)
    text = _example()
    if client_id:
        text = text.replace('# client_id = ""', f'client_id = "{client_id}"')
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(
            f"{path} exists already", hint="edit it, or move it away"
        ) from None
    with os.fdopen(fd, "w") as file:
        file.write(text)
    print(path)


def _example() -> str:
    """Return config.example.toml, which travels inside the wheel."""
    from importlib.resources import files

    packaged = files("imgurfs").joinpath("config.example.toml")
    if packaged.is_file():
        return packaged.read_text()
    return (Path(__file__).parents[2] / "config.example.toml").read_text()
