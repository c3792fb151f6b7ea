"""``imgurfs credits``: the limits as Imgur reports them at this moment."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from imgurfs.cli.context import Context, pass_context, run_trio

if TYPE_CHECKING:
    from imgurfs.model import Credits


@click.command(short_help="Show the limits as Imgur reports them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def credits(context: Context, as_json: bool) -> None:  # noqa: A001 - the command's name
    """Ask Imgur how many credits are left; the question may cost one itself."""
    now = run_trio(_credits, context)
    if as_json:
        print(json.dumps(asdict(now)))
        return
    reset = datetime.fromtimestamp(now.user_reset_at, UTC).astimezone()
    print(f"user    {now.user_remaining:>6} of {now.user_limit} until {reset:%H:%M}")
    print(f"client  {now.client_remaining:>6} of {now.client_limit} today")


async def _credits(context: Context) -> Credits:
    from imgurfs.assembly import open_account

    async with open_account(context.load_config(), context.account) as services:
        found = await services.api.credits()
        # Imgur's own word: the budget of every process here learns from it.
        await services.ledger.record_credits(found)
        return found
