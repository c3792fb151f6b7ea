"""``imgurfs demo``: everything at once, on an emulated account."""

from __future__ import annotations

from pathlib import Path

import click

from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.errors import UnavailableError


@click.command(short_help="Try everything on an emulated account, offline.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Where the drive and the watched folder appear.",
)
@click.option("--check", is_flag=True, help="Run the tour unattended; exit 0 or 1.")
@pass_context
def demo(context: Context, directory: Path, check: bool) -> int:
    """Mount an emulated account at DIR/drive and watch DIR/folder until Ctrl-C."""
    del context  # the demo has a configuration of its own
    from importlib.util import find_spec

    if not (find_spec("uvicorn") and find_spec("PIL")):
        raise UnavailableError(
            "the demo needs the emulator's libraries",
            hint="pip install 'imgur-drive[emulator]'",
        )
    from imgurfs.demo import show, tour

    return run_trio(tour.run if check else show.run, directory)
