"""Opens a database of ours, keeps its two connections and runs transactions.

What it is not: it knows no table. ``schema`` says what is in state.db, ``ledger`` what
is in budget.db. Other packages see a :data:`Connection` only inside a function they
pass to :meth:`Database.write`, or as :attr:`Database.reader`.

Concurrency: every process has one reading connection, used on the trio thread
between two checkpoints (``query_only``, never waits), and one writing connection, used
by one worker thread at a time (its executor lane has one place). A write is one
``BEGIN IMMEDIATE … COMMIT``; ``synchronous=FULL`` makes a committed intent survive a
power cut, which is what keeps an upload from being sent twice. A write never spans an
await, and a cancelled caller waits for its commit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from imgurfs import limits
from imgurfs.crashpoints import reach
from imgurfs.errors import (
    DatabaseBusyError,
    DatabaseDamagedError,
    DatabaseError,
    DatabaseFullError,
    DatabaseNewerError,
)
from imgurfs.executor import Executor, ThreadLane
from imgurfs.store import damage

#: The only name by which other packages know a database connection.
Connection: TypeAlias = sqlite3.Connection
Row: TypeAlias = sqlite3.Row

T = TypeVar("T")

#: In WAL mode NORMAL writes in the same order but waits for the disk only later.
_SYNCHRONOUS = {True: "PRAGMA synchronous = FULL", False: "PRAGMA synchronous = NORMAL"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schema:
    """Migrations of one database: script N takes user_version N to N + 1.

    ``application_id`` is written into the file's header, so that a file of something
    else is never touched.
    """

    name: str
    application_id: int
    migrations: tuple[str, ...]

    @property
    def version(self) -> int:
        """The user_version after all migrations."""
        return len(self.migrations)


class Database:
    """One SQLite file with its reader and its writer."""

    def __init__(
        self,
        *,
        path: Path,
        reader: Connection,
        writer: Connection,
        use: damage.Use,
        executor: Executor,
        lane: ThreadLane,
        damaged: Path | None = None,
    ) -> None:
        self.path = path
        #: Where the damaged file went whose place this one took; None for no such.
        self.damaged = damaged
        self.reader = reader
        self._writer = writer
        self._executor = executor
        self._use = use
        self._lane = lane
        self._writes = 0

    def __repr__(self) -> str:
        return f"<Database {self.path} writes={self._writes}>"

    @classmethod
    def open(
        cls, path: Path, *, schema: Schema, executor: Executor, lane: ThreadLane
    ) -> Database:
        """Open or create the database and bring it to the current version.

        Blocks for as long as another process migrates; call it before the main loop
        or through the executor. A damaged file is moved aside (:attr:`damaged`) and
        replaced by an empty database, unless another process uses it. Raises
        DatabaseNewerError (file untouched), DatabaseBusyError, DatabaseError.
        """
        with _translated(path):
            use = _begin_use(path)
            aside: Path | None = None
            try:
                try:
                    reader, writer = _connections(path, schema, is_alone=use.is_alone)
                except DatabaseDamagedError as error:
                    aside = _move_aside(path, use, error)
                    reader, writer = _connections(path, schema, is_alone=True)
                use.share()
            except BaseException:
                use.end()
                raise
        return cls(
            path=path,
            reader=reader,
            writer=writer,
            use=use,
            executor=executor,
            lane=lane,
            damaged=aside,
        )

    async def write(
        self, fn: Callable[[Connection], T], *, is_durable: bool = True
    ) -> T:
        """Run ``fn`` in one transaction on the writer thread; commit if it returns.

        Whatever ``fn`` raises rolls everything back and comes out here. What is not
        durable survives our death but not a power cut, until the next one that is.
        Raises DatabaseBusyError when another process holds the database too long.
        """
        return await self._executor.run(
            self._lane, self.write_blocking, fn, is_durable=is_durable
        )

    def write_blocking(
        self, fn: Callable[[Connection], T], *, is_durable: bool = True
    ) -> T:
        """Do what :meth:`write` does, on this thread. For start-up and commands."""
        with _translated(self.path):
            self._writer.execute(_SYNCHRONOUS[is_durable])
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = fn(self._writer)
                reach("commit-before")
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            self._writes += 1
            reach("commit-after")
            return result

    def data_version(self) -> int:
        """Return a number that changes whenever another connection commits."""
        row = self.reader.execute("PRAGMA data_version").fetchone()
        return int(row[0])

    def statistics(self) -> dict[str, int]:
        """Return how many transactions this process committed."""
        return {"writes": self._writes}

    def close(self) -> None:
        """Close both connections. No transaction may be running."""
        self.reader.close()
        self._writer.close()
        self._use.end()

    def suspect(self) -> None:
        """Have the file checked when it is opened next: damage was found in it."""
        damage.suspect(self.path)


def _connect(path: Path, *, busy_timeout_s: float) -> Connection:
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout_s,
        isolation_level=None,
        # The writer moves between worker threads; its lane admits one at a time.
        check_same_thread=False,
        cached_statements=256,
    )
    connection.row_factory = sqlite3.Row
    return connection


@contextlib.contextmanager
def reading(path: Path, schema: Schema) -> Iterator[Connection]:
    """Open a database that is there and up to date, for a quick look and nothing else.

    Nothing is created, migrated or checked. Raises DatabaseError.
    """
    with _translated(path):
        _refuse_foreign(path, schema)
        uri = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
    with contextlib.closing(connection):
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        with _translated(path):
            yield connection


def integrity(c: Connection) -> str:
    """Read a whole database; return what is wrong with it, "" for nothing."""
    text = str(c.execute("PRAGMA quick_check(1)").fetchone()[0])
    return "" if text == "ok" else text.splitlines()[-1]


def _refuse_foreign(path: Path, schema: Schema) -> None:
    """Raise unless the file is absent, empty, or ours and not newer than we are."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with contextlib.closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    ) as probe:
        application_id = probe.execute("PRAGMA application_id").fetchone()[0]
        version = probe.execute("PRAGMA user_version").fetchone()[0]
        is_empty = probe.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    # Id 0 is also what most other programs write; ours has it only before migrating.
    if application_id != schema.application_id and (application_id or not is_empty):
        raise DatabaseError(
            f"{path} is not a {schema.name} database",
            hint="move the file away; it will be created anew",
        )
    if version > schema.version:
        raise DatabaseNewerError(
            f"{path} was written by a newer version of imgurfs"
            f" (format {version}, this one knows {schema.version})",
            hint="upgrade imgurfs; the file was not changed",
        )


def _begin_use(path: Path) -> damage.Use:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return damage.Use(path)
    except OSError as error:
        raise _cannot_create(path, error) from error


def _create_private(path: Path) -> None:
    """Make the file if it is absent: never with another mode than ours.

    One that exists is not touched: closing any descriptor of a file drops the locks
    that SQLite holds on it for this process.
    """
    try:
        os.close(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        )
    except FileExistsError:
        return
    except OSError as error:
        raise _cannot_create(path, error) from error


def _cannot_create(path: Path, error: OSError) -> DatabaseError:
    return DatabaseError(
        f"{path} cannot be created: {error.strerror}",
        hint="check the folder's permissions and the disk's free space",
    )


def _connections(
    path: Path, schema: Schema, *, is_alone: bool
) -> tuple[Connection, Connection]:
    """Return reader and writer of a file that is ours, sound and up to date."""
    with _translated(path):
        needs_check = is_alone and damage.needs_check(path)
        _refuse_foreign(path, schema)
        _create_private(path)
        writer = _connect(path, busy_timeout_s=limits.DATABASE_BUSY_TIMEOUT_S)
        try:
            if needs_check and (problem := damage.check(path, writer)):
                raise _damaged(path, problem)
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute("PRAGMA foreign_keys = ON")
            _migrate(writer, schema)
            reader = _connect(path, busy_timeout_s=0)
            reader.execute("PRAGMA query_only = ON")
        except BaseException:
            writer.close()
            raise
    return reader, writer


def _move_aside(path: Path, use: damage.Use, error: DatabaseDamagedError) -> Path:
    """Make room for a new file. Raises ``error`` while others use the old one."""
    damage.suspect(path)
    if not use.is_alone:
        raise error
    try:
        aside = damage.set_aside(path)
    except OSError as failure:
        raise DatabaseError(
            f"{error.message}, and it cannot be moved away: {failure.strerror}",
            hint="check the folder's permissions and the disk",
        ) from failure
    log.error("%s; it was saved as %s and a new one is made", error.message, aside.name)
    return aside


def _migrate(writer: Connection, schema: Schema) -> None:
    """Apply the missing migrations, each file version in one transaction."""
    writer.execute("BEGIN IMMEDIATE")
    try:
        version = writer.execute("PRAGMA user_version").fetchone()[0]
        for script in schema.migrations[version:]:
            for statement in _statements(script):
                writer.execute(statement)
        if version < schema.version:
            writer.execute(f"PRAGMA application_id = {schema.application_id}")
            writer.execute(f"PRAGMA user_version = {schema.version}")
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script; sqlite3's executescript would commit our transaction."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    assert not pending.strip(), "a migration ends with a complete statement"


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the disk's errors into ours; let everything else pass."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise DatabaseBusyError(
                f"{path} is held by another process", hint="try again"
            ) from error
        if error.sqlite_errorname == "SQLITE_FULL":
            raise DatabaseFullError(
                f"the disk of {path} is full", hint="free disk space"
            ) from error
        raise DatabaseError(
            f"{path}: {error}", hint="check the disk's free space and permissions"
        ) from error
    except sqlite3.IntegrityError:
        # A rule of the schema was broken: a bug of ours, not the disk's fault.
        raise
    except sqlite3.DatabaseError as error:
        if not damage.is_damage(error):
            raise DatabaseError(f"{path}: {error}") from error
        damage.suspect(path)
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, problem: str) -> DatabaseDamagedError:
    return DatabaseDamagedError(
        f"{path} is damaged: {problem}",
        hint="stop everything that uses it and start again: it is saved aside, and"
        " what was in it is learned again from the account",
    )
