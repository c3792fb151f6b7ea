"""Transactions for what the kernel has asked for, and so knows already.

Used by ``files``, ``contents`` and ``keeper``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from imgurfs.store import changelog
from imgurfs.store.database import Connection, Database

T = TypeVar("T")
#: Told the first and last number in the change log of what the kernel knows already.
OnChanged = Callable[[int, int], None]


class Rows:
    """The database, as far as this package writes to it."""

    def __init__(self, db: Database, on_changed: OnChanged) -> None:
        self._db = db
        self._on_changed = on_changed

    @property
    def reader(self) -> Connection:
        """The connection for short questions."""
        return self._db.reader

    def version(self) -> int:
        """Return a number that changes with every commit."""
        return self._db.data_version()

    async def write(
        self, fn: Callable[[Connection], T], *, is_durable: bool = False
    ) -> T:
        """Run one transaction. Raises what ``fn`` raises, and DatabaseError."""

        def counted(c: Connection) -> tuple[T, int, int]:
            before = changelog.last_seq(c)
            return fn(c), before, changelog.last_seq(c)

        result, before, after = await self._db.write(counted, is_durable=is_durable)
        if after > before:
            self._on_changed(before + 1, after)
        return result
