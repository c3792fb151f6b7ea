"""``imgurfs pause`` and ``imgurfs resume``: nothing is sent for a while."""

from __future__ import annotations

import math

import click

from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.cli.words import moment, parse_duration


@click.command(short_help="Send nothing for a while.")
@click.option(
    "--for",
    "duration",
    metavar="TIME",
    help="End the pause by itself, after e.g. 45m, 2h or 1d12h.",
)
@pass_context
def pause(context: Context, duration: str | None) -> None:
    """Send nothing to Imgur until 'imgurfs resume', or for a TIME.

    Folders are still watched and the queue is kept; what is in the air is finished.
    The pause outlives restarts and reboots. It concerns uploads, deletions and album
    changes of the account, not what is read through a mounted drive.
    """
    from imgurfs import control
    from imgurfs.cli.opened import opened

    length_s = math.inf if duration is None else parse_duration(duration)
    with opened(context) as state:
        until = state.clock.now() + length_s
        state.write(lambda c: control.pause(c, until))
    if math.isinf(until):
        print("nothing is sent until you say: imgurfs resume")
    else:
        print(f"nothing is sent until {moment(until)}, or you say: imgurfs resume")


@click.command(short_help="End a pause; allow what needs your consent.")
@click.option(
    "--consent",
    is_flag=True,
    help="Upload although Imgur's daily limit was hit four times in a month: at the"
    " fifth time Imgur blocks the client id for the rest of it.",
)
@pass_context
def resume(context: Context, consent: bool) -> None:
    """End a pause."""
    from imgurfs import control
    from imgurfs.cli.opened import opened

    with opened(context, needs_login=consent) as state:
        was_paused = state.write(control.resume)
        print("sending goes on" if was_paused else "nothing was paused")
        if consent:
            assert state.ledger is not None
            until = run_trio(state.ledger.consent)
            if until is None:
                print("no upload waits for your consent")
            else:
                print(f"uploads are allowed until {moment(until)}, or the next strike")
