"""What the files in ``.imgurfs/`` of a mount hold: the JSON that the commands print.

Not a command. Each function opens the databases for itself, so it may run in a thread
beside the mount, and asks nobody: reading one of these files costs no credit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgurfs.cli.context import Context
    from imgurfs.cli.mount_log import RecentErrors
    from imgurfs.cli.opened import Opened


def makers(context: Context, errors: RecentErrors) -> Mapping[str, Callable[[], bytes]]:
    """Return the files of ``.imgurfs/``: name to what makes their content."""
    from imgurfs.cli import facts, queue_facts

    return {
        "status.json": lambda: _made(context, facts.gather),
        "credits.json": lambda: _made(context, _credits),
        "queue.json": lambda: _made(context, queue_facts.gather),
        "errors.log": errors.text,
    }


def _made(context: Context, gather: Callable[[Opened], dict[str, Any]]) -> bytes:
    from imgurfs.cli.opened import opened

    with opened(context) as state:
        return json.dumps(gather(state), indent=2).encode() + b"\n"


def _credits(state: Opened) -> dict[str, Any]:
    """Return what ``imgurfs credits`` prints, as far as it is known without asking."""
    from imgurfs.windows import Scope

    windows = {} if state.ledger is None else state.ledger.state().windows
    user, client = windows.get(Scope.USER), windows.get(Scope.CLIENT)
    return {
        "user_limit": user.limit if user else None,
        "user_remaining": user.spendable if user else None,
        "user_reset_at": user.reset_at if user else None,
        "client_limit": client.limit if client else None,
        "client_remaining": client.spendable if client else None,
    }
