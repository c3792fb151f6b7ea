"""Opening, migrating, writing and sharing one SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imgurfs.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseFullError,
    DatabaseNewerError,
)
from imgurfs.executor import InlineExecutor, ThreadExecutor, ThreadLane
from imgurfs.store.database import Connection, Database, Schema
from imgurfs.store.schema import STATE_SCHEMA

SCHEMA = Schema(
    name="test",
    application_id=0x74657374,
    migrations=("CREATE TABLE one (value INTEGER NOT NULL);",),
)
NEXT = replace(
    SCHEMA,
    migrations=(
        *SCHEMA.migrations,
        """
        ALTER TABLE one ADD COLUMN more TEXT NOT NULL DEFAULT 'x;y';
        CREATE TABLE two (value INTEGER);
        """,
    ),
)


def _open(path: Path, schema: Schema = SCHEMA) -> Database:
    return Database.open(
        path, schema=schema, executor=InlineExecutor(), lane=ThreadLane.WRITER
    )


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A database with the table ``one``."""
    opened = _open(tmp_path / "deep" / "test.db")
    yield opened
    opened.close()


def _insert(c: Connection) -> None:
    c.execute("INSERT INTO one (value) VALUES (1)")


def _count(c: Connection) -> int:
    return int(c.execute("SELECT count(*) FROM one").fetchone()[0])


def test_files_are_private_and_durable(db: Database) -> None:
    """Only the owner can read the file, its WAL and its folder; commits are synced."""
    db.write_blocking(_insert)
    for path in db.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(db.path.parent.stat().st_mode) == 0o700
    mode, level = db.write_blocking(
        lambda c: [
            c.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]
    )
    assert (mode, level) == ("wal", 2)


@pytest.mark.parametrize("application_id", [0, 7])
def test_a_file_of_something_else_is_refused_untouched(
    tmp_path: Path, application_id: int
) -> None:
    """Another program's database is never written to."""
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA application_id = {application_id}")
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="is not a test database"):
        _open(path)
    assert path.read_bytes() == before


def test_a_newer_file_is_refused_untouched(tmp_path: Path) -> None:
    """A downgrade must not destroy what the newer version wrote."""
    path = tmp_path / "test.db"
    _open(path, NEXT).close()
    before = path.read_bytes()
    with pytest.raises(DatabaseNewerError, match="format 2, this one knows 1"):
        _open(path, SCHEMA)
    assert path.read_bytes() == before


def test_an_old_file_is_migrated_once_and_keeps_its_rows(tmp_path: Path) -> None:
    """Only the missing scripts run."""
    path = tmp_path / "test.db"
    old = _open(path)
    old.write_blocking(_insert)
    old.close()
    for _ in range(2):
        migrated = _open(path, NEXT)
        row = migrated.reader.execute("SELECT value, more FROM one").fetchone()
        assert tuple(row) == (1, "x;y")
        migrated.close()


def test_a_failing_migration_leaves_the_old_version(tmp_path: Path) -> None:
    """All of it or nothing: the file can still be opened by the version before."""
    path = tmp_path / "test.db"
    _open(path).close()
    broken = replace(
        SCHEMA,
        migrations=(*SCHEMA.migrations, "CREATE TABLE two (x);\nCREATE TABLE one (x);"),
    )
    with pytest.raises(DatabaseError, match="already exists"):
        _open(path, broken)
    reopened = _open(path)
    tables = reopened.reader.execute("SELECT name FROM sqlite_master").fetchall()
    assert [row[0] for row in tables] == ["one"]
    reopened.close()


def test_whatever_a_write_raises_rolls_it_back(db: Database) -> None:
    """Nothing of a failed transaction is seen, and the next one works."""

    def fail(c: Connection) -> None:
        _insert(c)
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        db.write_blocking(fail)
    assert _count(db.reader) == 0
    db.write_blocking(_insert)
    assert _count(db.reader) == 1
    assert db.statistics() == {"writes": 1}


def test_a_broken_rule_of_the_schema_is_a_bug_not_a_disk_error(db: Database) -> None:
    """It comes out as it is, for the log."""
    with pytest.raises(sqlite3.IntegrityError):
        db.write_blocking(lambda c: c.execute("INSERT INTO one VALUES (NULL)"))


def test_the_reader_can_not_write(db: Database) -> None:
    """The connection on the trio thread never takes a write lock."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        _insert(db.reader)


async def test_writes_run_on_the_writer_lane(tmp_path: Path) -> None:
    """A real thread commits; the reader sees it, and its data_version moves."""
    db = Database.open(
        tmp_path / "test.db",
        schema=SCHEMA,
        executor=ThreadExecutor(),
        lane=ThreadLane.WRITER,
    )
    before = db.data_version()
    await db.write(_insert)
    assert _count(db.reader) == 1
    assert db.data_version() != before
    db.close()


def test_a_busy_database_is_reported_after_the_timeout(db: Database) -> None:
    """Another connection holds the write lock: a clear error, and nothing is lost."""
    db.write_blocking(lambda c: c.execute("SELECT 1"))
    db._writer.execute("PRAGMA busy_timeout = 50")
    with contextlib.closing(sqlite3.connect(db.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusyError, match="held by another process"):
            db.write_blocking(_insert)
        assert _count(db.reader) == 0  # reading goes on meanwhile
        other.execute("ROLLBACK")
    db.write_blocking(_insert)
    assert _count(db.reader) == 1


def test_a_killed_writer_leaves_no_half_transaction(db: Database) -> None:
    """A process that dies inside a transaction leaves neither rows nor a lock."""
    child = os.fork()
    if child == 0:
        other = sqlite3.connect(db.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO one (value) VALUES (2)")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    db.write_blocking(_insert)
    assert _count(db.reader) == 1


@pytest.mark.parametrize("name", ["folder", "file/state.db"])
def test_a_place_that_can_not_hold_a_file_is_a_database_error(
    tmp_path: Path, name: str
) -> None:
    """A directory, or a path below a file, is reported with what can be done."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatabaseError) as caught:
        _open(tmp_path / name)
    assert caught.value.hint


def test_the_real_schema_opens_and_checks(tmp_path: Path) -> None:
    """state.db's own script runs, and SQLite finds nothing wrong with the result."""
    db = _open(tmp_path / "state.db", STATE_SCHEMA)
    assert db.reader.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert db.reader.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.reader.execute("SELECT kind FROM node").fetchone()[0] == "root"
    db.close()


def test_a_full_disk_changes_nothing(db: Database) -> None:
    """What finds no room is an error of its own and rolled back; with room it works."""

    def fill(c: Connection) -> None:
        _insert(c)
        c.execute("CREATE TABLE large AS SELECT zeroblob(1000000) AS value")

    db.write_blocking(lambda c: c.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(DatabaseFullError, match="is full"):
        db.write_blocking(fill)
    assert _count(db.reader) == 0
    db.write_blocking(lambda c: c.execute("PRAGMA max_page_count = 10000"))
    db.write_blocking(fill)
    assert _count(db.reader) == 1
