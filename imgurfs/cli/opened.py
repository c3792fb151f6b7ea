"""The databases of one account, for commands that talk to nobody. Not a command.

Such a command works when nothing runs, when there is no network and, as far as it only
needs the queue, when nobody is logged in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from imgurfs.cli.context import Context

if TYPE_CHECKING:
    from imgurfs.budget import Wait
    from imgurfs.clock import Clock
    from imgurfs.config import Config
    from imgurfs.control import Waiting
    from imgurfs.model import RequestClass
    from imgurfs.paths import AccountPaths
    from imgurfs.store.database import Connection, Database
    from imgurfs.store.ledger import SqliteLedger
    from imgurfs.store.outbox import Job
    from imgurfs.store.outbox_lists import Tally

T = TypeVar("T")


@dataclass(slots=True)
class Opened:
    """One account's state; ``ledger`` is None when nobody is logged in."""

    config: Config
    places: AccountPaths
    db: Database
    ledger: SqliteLedger | None
    clock: Clock

    @property
    def reader(self) -> Connection:
        """The connection for reading."""
        return self.db.reader

    def write(self, fn: Callable[[Connection], T]) -> T:
        """Run one transaction. Raises DatabaseError."""
        return self.db.write_blocking(fn)

    def waiting_teller(self) -> Callable[[Job | Tally], Waiting]:
        """Return what says why a job waits, as of now.

        Asks the budget once for each kind of request.
        """
        from imgurfs import control

        now = self.clock.now()
        paused = control.paused_until(self.reader, now=now)
        known: dict[RequestClass, Wait | None] = {}

        def peek(request: RequestClass) -> Wait | None:
            if request not in known:
                ledger = self.ledger
                known[request] = None if ledger is None else ledger.peek(request)
            return known[request]

        return lambda job: control.waiting_of(
            job, now=now, paused_until=paused, peek=peek
        )


@contextmanager
def opened(context: Context, *, needs_login: bool = False) -> Iterator[Opened]:
    """Open the account's databases.

    Raises LoginNeededError when there is no state yet, or no token and one is needed.
    """
    from imgurfs import opening, paths
    from imgurfs.api.tokens import TokenStore
    from imgurfs.clock import SystemClock
    from imgurfs.errors import LoginNeededError
    from imgurfs.executor import InlineExecutor

    config = context.load_config()
    config.account_named(context.account)
    places = paths.account_paths(context.account)
    try:
        token = TokenStore(places.token).load()
    except LoginNeededError:
        if needs_login or not places.state_db.exists():
            raise
        token = None
    db = opening.open_state(places, InlineExecutor())
    ledger = None
    try:
        if token is not None:
            ledger = opening.open_ledger(
                config,
                context.account,
                token=token,
                clock=SystemClock(),
                executor=InlineExecutor(),
            )
        yield Opened(config, places, db, ledger, SystemClock())
    finally:
        if ledger is not None:
            ledger.close()
        db.close()
