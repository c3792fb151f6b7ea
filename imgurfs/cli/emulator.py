"""``imgurfs emulator``: an Imgur on this machine, until it is stopped.

The composition root of ``imgurfs.emulator``; turns its errors into exit codes.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgurfs.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from imgurfs.emulator.faults import FaultRule
    from imgurfs.emulator.limits import Limits
    from imgurfs.emulator.server import Listeners


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port of the API; 0, the default, takes a free one.",
)
@click.option(
    "--cdn-port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port of the pictures; 0, the default, takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    show_default=True,
    help="Address to listen on.",
)
@click.option(
    "--allow-non-loopback",
    is_flag=True,
    help="Let other machines in: there is no protection whatsoever.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the state in DIR (not supported yet).",
)
@click.option(
    "--albums",
    type=click.IntRange(min=0),
    metavar="N",
    help="Generate exactly N albums instead of the sample account.",
)
@click.option(
    "--images",
    type=click.IntRange(min=0),
    metavar="N",
    help="Generate exactly N images, spread over the albums.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    metavar="S",
    show_default=True,
    help="Same seed, same ids.",
)
@click.option(
    "--dialect",
    type=click.Choice(["legacy", "new"]),
    default="legacy",
    show_default=True,
    help="Which of Imgur's back-ends to be.",
)
@click.option(
    "--limits",
    default="real",
    metavar="off|real|FILE",
    show_default=True,
    help="Rate limits to enforce; FILE is TOML or JSON.",
)
@click.option(
    "--faults",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rules of what goes wrong, as JSON.",
)
@click.option("--tls", is_flag=True, help="Speak HTTPS (not supported yet).")
def emulator(
    *,
    port: int,
    cdn_port: int,
    host: str,
    allow_non_loopback: bool,
    data: Path | None,
    albums: int | None,
    images: int | None,
    seed: int,
    dialect: str,
    limits: str,
    faults: Path | None,
    tls: bool,
) -> None:
    """Run an Imgur on this machine, for tests and for trying things out.

    The first line on standard output is a JSON object with the addresses and the
    credentials of its account. Stop it with Ctrl-C. Nothing is kept.
    """
    if data is not None or tls:
        name = "--tls" if tls else "--data"
        raise UsageError(f"{name} is not supported yet", hint="leave it out")
    if not _is_loopback(host) and not allow_non_loopback:
        raise UsageError(
            f"{host} can be reached from other machines",
            hint="the emulator protects nothing; --allow-non-loopback if you mean it",
        )
    try:
        from imgurfs.emulator.app import build
        from imgurfs.emulator.clock import SystemClock
        from imgurfs.emulator.config import Dialect, EmulatorConfig
        from imgurfs.emulator.server import serve
    except ModuleNotFoundError as exc:
        raise UnavailableError(
            f"the emulator needs the module {exc.name}",
            hint="install imgur-drive[emulator]",
        ) from exc
    allowed, rules = _read_files(limits, faults)
    listeners = _listen(host, api_port=port, cdn_port=cdn_port)
    config = EmulatorConfig(
        api_url=listeners.api_url,
        cdn_url=listeners.cdn_url,
        albums=albums,
        images=images,
        seed=seed,
        dialect=Dialect(dialect),
        limits=allowed,
    )
    built = build(config, SystemClock(), faults=rules)
    first_line = {
        "api_url": config.api_url,
        "cdn_url": config.cdn_url,
        **asdict(built.credentials),
    }
    click.echo(json.dumps(first_line, separators=(",", ":")))
    serve(built, listeners)


def _read_files(
    limits: str, faults: Path | None
) -> tuple[Limits, tuple[FaultRule, ...]]:
    from imgurfs.emulator.faults import FaultFileError, load_rules
    from imgurfs.emulator.limits import LimitsFileError, load_limits

    try:
        return load_limits(limits), load_rules(faults) if faults else ()
    except (FaultFileError, LimitsFileError) as exc:
        raise UsageError(str(exc), hint="docs/EMULATOR.md describes the files") from exc


def _listen(host: str, *, api_port: int, cdn_port: int) -> Listeners:
    from imgurfs.emulator.server import open_listeners

    try:
        return open_listeners(host, api_port=api_port, cdn_port=cdn_port)
    except OSError as exc:
        raise UnavailableError(
            f"cannot listen on {exc.filename or host}: {exc.strerror or exc}",
            hint="choose another port, or 0 for any free one",
        ) from exc
