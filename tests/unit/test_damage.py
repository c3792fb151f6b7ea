"""Damaged databases: saved aside and replaced, by whoever is alone with the file."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgurfs.errors import DatabaseDamagedError, DatabaseNewerError
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.store import damage
from imgurfs.store.database import Connection, Database
from imgurfs.store.ledger_schema import BUDGET_SCHEMA
from imgurfs.store.schema import STATE_SCHEMA
from tests.support.processes import environment

PAGE = 4096


def open_state(path: Path) -> Database:
    """Open a state.db as every program of ours does."""
    return Database.open(
        path,
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )


def fill(c: Connection) -> None:
    """Write enough rows for a hundred pages, some of them in an index."""
    c.executemany(
        "INSERT INTO meta (key, value) VALUES (?, ?)",
        [(f"key{number:06d}", "v" * 200) for number in range(2000)],
    )


def a_state(path: Path) -> Path:
    """Make a state.db of a hundred pages, closed as it should be."""
    db = open_state(path)
    db.write_blocking(fill)
    db.close()
    assert path.stat().st_size > 100 * PAGE
    return path


def rows(db: Database) -> int:
    """Return how many rows of ours there are."""
    found = db.reader.execute("SELECT count(*) FROM meta WHERE key LIKE 'key%'")
    return int(found.fetchone()[0])


def write_text(path: Path) -> None:
    """Turn the file into something that never was a database."""
    path.write_text("certainly no database " * 10_000)


def zero(path: Path) -> None:
    """Blank the whole file, as after a crash of a bad file system."""
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path) -> None:
    """Lose the second half of the file."""
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE)


def cut_askew(path: Path) -> None:
    """Keep a part of the first page."""
    os.truncate(path, 1000)


def scribble_over_the_schema(path: Path) -> None:
    """Damage the first page behind its header."""
    with path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(PAGE - 100))


def zero_pages(path: Path) -> None:
    """Blank pages in the middle: nothing that opening it would read."""
    with path.open("r+b") as file:
        file.seek(60 * PAGE)
        file.write(bytes(20 * PAGE))


@pytest.mark.parametrize(
    "harm", [write_text, zero, cut, cut_askew, scribble_over_the_schema]
)
def test_a_damaged_file_is_saved_aside_and_replaced(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The old bytes are kept under a new name; an empty database takes the place."""
    path = a_state(tmp_path / "state.db")
    harm(path)
    broken = path.read_bytes()
    db = open_state(path)
    assert rows(db) == 0
    assert db.damaged is not None
    assert db.damaged.read_bytes() == broken
    assert db.damaged.name.startswith("state.db.damaged-2")
    assert db.damaged.name in caplog.text
    db.write_blocking(fill)
    db.close()
    again = open_state(path)
    assert (rows(again), again.damaged) == (2000, None)
    again.close()


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """No byte is no damage: there is nothing to save."""
    path = tmp_path / "state.db"
    path.touch()
    db = open_state(path)
    assert db.damaged is None
    db.close()


def test_nothing_saved_is_ever_overwritten(tmp_path: Path) -> None:
    """Three damaged files of the same second are three files."""
    path = tmp_path / "state.db"
    found = set()
    for text in ("one", "two", "three"):
        path.write_text(text * 1000)
        os.utime(path, (1_800_000_000, 1_800_000_000))
        db = open_state(path)
        assert db.damaged is not None
        found.add(db.damaged.read_text()[:3])
        db.close()
        for left in tmp_path.glob("state.db*"):
            if "damaged" not in left.name:
                left.unlink()
    assert found == {"one", "two", "thr"}
    assert len(list(tmp_path.glob("state.db.damaged-20270115T080000Z*"))) == 3


def killed(path: Path) -> None:
    """Leave a database as a process does that was killed while it had it open."""
    saved = path.with_name("saved")
    db = open_state(path)
    db.write_blocking(lambda c: c.execute("INSERT INTO meta VALUES ('last', '1')"))
    saved.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), saved)
    db.close()
    for file in saved.iterdir():
        shutil.move(file, path.with_name(file.name))
    saved.rmdir()


@pytest.mark.parametrize("harm", [zero_pages, write_text])
def test_after_an_unclean_stop_the_whole_file_is_read(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """Damage that opening would not meet is found; no old log meets a new file."""
    path = a_state(tmp_path / "state.db")
    killed(path)
    harm(path)
    db = open_state(path)
    assert db.damaged is not None
    assert rows(db) == 0
    assert not db.reader.execute("SELECT 1 FROM meta WHERE key = 'last'").fetchone()
    db.close()


def test_an_unclean_stop_alone_loses_nothing(tmp_path: Path) -> None:
    """A log left behind is replayed: kill -9 is no damage."""
    path = a_state(tmp_path / "state.db")
    killed(path)
    db = open_state(path)
    assert (rows(db), db.damaged) == (2000, None)
    last = db.reader.execute("SELECT value FROM meta WHERE key = 'last'").fetchone()
    assert last[0] == "1"
    db.close()


def test_damage_met_at_work_is_mended_at_the_next_start(tmp_path: Path) -> None:
    """Writing into a bad page is a clear error; the next to come replaces it."""
    path = a_state(tmp_path / "state.db")
    zero_pages(path)
    db = open_state(path)
    assert db.damaged is None, "nothing has read those pages yet"
    with pytest.raises(DatabaseDamagedError, match="damaged") as caught:
        db.write_blocking(lambda c: c.execute("DELETE FROM meta"))
    assert "saved aside" in caught.value.hint
    db.close()
    db = open_state(path)
    assert db.damaged is not None
    db.close()


def test_a_suspicion_that_proves_wrong_is_dropped(tmp_path: Path) -> None:
    """A sound file stays, and is not read as a whole for ever."""
    path = a_state(tmp_path / "state.db")
    db = open_state(path)
    db.suspect()
    db.close()
    assert damage.needs_check(path)
    db = open_state(path)
    assert (rows(db), db.damaged) == (2000, None)
    db.close()
    assert not damage.needs_check(path)


def test_a_damaged_file_in_use_is_left_alone(tmp_path: Path) -> None:
    """Somebody else would go on writing into what was moved: an error instead."""
    path = a_state(tmp_path / "state.db")
    first = open_state(path)
    scribble_over_the_schema(path)
    broken = path.read_bytes()
    with pytest.raises(DatabaseDamagedError, match="damaged") as caught:
        open_state(path)
    assert "stop everything" in caught.value.hint
    assert path.read_bytes() == broken
    assert not list(tmp_path.glob("*.damaged-*"))
    first.close()
    db = open_state(path)
    assert db.damaged is not None
    db.close()


def test_users_share_and_the_last_one_is_alone(tmp_path: Path) -> None:
    """The lock tells other processes too, and dies with its holder."""
    path = a_state(tmp_path / "state.db")
    program = (
        "import sys; from pathlib import Path;"
        "from tests.unit.test_damage import open_state;"
        f"db = open_state(Path({str(path)!r}));"
        "print('open', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        use = damage.Use(path)
        assert not use.is_alone
        use.end()
        child.kill()
    use = damage.Use(path)
    assert use.is_alone
    use.share()
    with (tmp_path / "state.db.lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    use.end()


def test_opening_a_file_twice_keeps_its_locks(tmp_path: Path) -> None:
    """A second user in this process must not drop what SQLite has locked for the first.

    Otherwise another process that closes the file takes the log away from under us.
    """
    path = a_state(tmp_path / "state.db")
    first, second = open_state(path), open_state(path)
    second.close()
    program = (
        f"import sqlite3; c = sqlite3.connect({str(path)!r});"
        "c.execute('SELECT count(*) FROM meta').fetchone(); c.close()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert path.with_name("state.db-wal").exists()
    first.write_blocking(lambda c: c.execute("INSERT INTO meta VALUES ('x', 'y')"))
    third = open_state(path)
    assert third.reader.execute("SELECT 1 FROM meta WHERE key = 'x'").fetchone()
    third.close()
    first.close()


def test_a_newer_file_is_never_taken_for_a_damaged_one(tmp_path: Path) -> None:
    """It is refused, byte for byte as it was, even when a check was due."""
    path = a_state(tmp_path / "state.db")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    damage.suspect(path)
    before = path.read_bytes()
    with pytest.raises(DatabaseNewerError):
        open_state(path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.damaged-*"))


def test_a_damaged_budget_is_learned_again(tmp_path: Path) -> None:
    """budget.db is replaced like state.db."""
    path = tmp_path / "budget.db"
    write_text(path)
    Database.open(
        path,
        schema=BUDGET_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.LEDGER,
    ).close()
    (aside,) = tmp_path.glob("budget.db.damaged-*")
    assert aside.read_text().startswith("certainly no database")
