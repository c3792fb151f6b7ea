"""Facts about a state.db as a whole: the table ``meta``, whose keys schema.py lists.

Functions take a connection, so that they compose in one transaction. Nothing here
decides anything except that a state belongs to one account for ever.
"""

from __future__ import annotations

from imgurfs.errors import AccountMismatchError
from imgurfs.model import ANONYMOUS, Account
from imgurfs.store.database import Connection


def get(c: Connection, key: str) -> str | None:
    """Return the value of ``key``, None when it was never set."""
    row = c.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def get_time(c: Connection, key: str) -> float | None:
    """Return the epoch stored under ``key``, None when it was never set."""
    value = get(c, key)
    return None if value is None else float(value)


def put(c: Connection, key: str, value: str) -> None:
    """Set ``key``. For use inside ``Database.write``."""
    c.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def put_time(c: Connection, key: str, at: float) -> None:
    """Set ``key`` to an epoch."""
    put(c, key, repr(at))


def drop(c: Connection, key: str) -> None:
    """Forget ``key``; harmless when it is not set."""
    c.execute("DELETE FROM meta WHERE key = ?", (key,))


def bind_account(c: Connection, account: Account) -> None:
    """Say that this state belongs to ``account``; a new user name is noted.

    Raises AccountMismatchError when it belongs to another one: two accounts' trees
    are never mixed.
    """
    bound = account_of(c)
    if bound is not None and bound.id != account.id:
        raise AccountMismatchError(
            f"this state belongs to the account {bound.url!r} (id {bound.id}),"
            f" the token to {account.url!r} (id {account.id})",
            hint="give the second account a section of its own in the configuration",
        )
    if bound != account:
        put(c, "account_id", str(account.id))
        put(c, "account_name", account.url)


def account_of(c: Connection) -> Account | None:
    """Return the account this state belongs to, None before the first login."""
    account_id = get(c, "account_id")
    if account_id is None:
        return None
    return Account(id=int(account_id), url=get(c, "account_name") or "")


def is_anonymous(c: Connection) -> bool:
    """Whether this state is of uploads without an account."""
    return account_of(c) == ANONYMOUS
