"""The state of an emulator in a directory: ``--data DIR``.

Theory of operation. The world an emulator begins with is made from a few numbers, so
only these are kept, and what has become different since: a row for each thing that was
touched, in SQLite (``state.db``), and a file for each upload's bytes (``blobs/``). At
the start the beginning is made again and the rows are laid over it. What a request
changed is one transaction, committed before the request is answered. That outlives the
process, however it ends; not a power failure (nothing waits for the disk).

One process at a time; used from its one event loop, and blocks it for microseconds.
"""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from imgurfs.emulator.world import codec
from imgurfs.emulator.world.content import Content
from imgurfs.emulator.world.keeping import Touched, watched
from imgurfs.emulator.world.world import World

VERSION: Final = 1
_SCHEMA: Final = """
-- What the directory is: version, the numbers the world was made from, a fingerprint of
-- that world, and how often an emulator was started on it.
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
-- What is different from the beginning. number: order of creation. kind: the world's
-- dictionary. value: JSON (codec), or NULL when it was there at first and is gone.
CREATE TABLE IF NOT EXISTS things (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT,
    UNIQUE (kind, key)
) STRICT;
"""
_UPSERT: Final = """
INSERT INTO things (kind, key, value) VALUES (?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value
"""


class PersistenceError(Exception):
    """The directory cannot be used; the text says why."""


class FileContent:
    """Bytes in a file, read when asked for."""

    def __init__(self, path: Path, *, size_bytes: int, md5: str) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.md5 = md5

    def read(self, start: int, stop: int) -> bytes:
        """Return a range; raises EOFError when somebody has shortened the file."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            data = file.read(stop - start)
        if len(data) != stop - start:
            raise EOFError(f"{self.path} is shorter than {stop} bytes")
        return data


class Archive:
    """A data directory that is open."""

    def __init__(self, directory: Path) -> None:
        """Open or create it. Raises PersistenceError."""
        self._blobs = directory / "blobs"
        self._world: World | None = None
        #: The contents of the beginning by identity: where each is to be found again.
        self._first_contents: dict[int, tuple[Content, str]] = {}
        self._first_keys: frozenset[tuple[str, str]] = frozenset()
        self._temporary = itertools.count()
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                directory / "state.db", timeout=0, isolation_level=None
            )
        except (OSError, sqlite3.Error) as exc:
            raise PersistenceError(f"{directory}: {exc}") from exc
        try:
            # Exclusive first: then the journal needs no shared memory.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript("BEGIN EXCLUSIVE;" + _SCHEMA + "COMMIT;")
            self._facts = dict(
                self._connection.execute("SELECT name, value FROM facts")
            )
        except sqlite3.Error as exc:
            self._connection.close()
            raise PersistenceError(_opening_trouble(directory, exc)) from exc

    def close(self) -> None:
        """Close the database; everything is kept already."""
        self._connection.close()

    # --- The beginning --------------------------------------------------------

    def begin(self, numbers: Mapping[str, Any], *, usual: Mapping[str, Any]) -> Any:
        """Return what the world is to be made from: as the first time.

        ``numbers`` are wanted now; those that are ``usual`` (the defaults) give way to
        what was kept. Raises PersistenceError when others differ from it.
        """
        kept_version = self._facts.get("version", str(VERSION))
        if kept_version != str(VERSION):
            raise PersistenceError(
                f"the data directory has version {kept_version}, not {VERSION}"
            )
        text = self._facts.get("numbers")
        if text is None:
            self._put_facts(version=str(VERSION), numbers=_dumps(dict(numbers)))
            return dict(numbers)
        kept: dict[str, Any] = codec.loads(text, _no_content)
        for name, value in numbers.items():
            if value not in (kept.get(name), usual[name]):
                raise PersistenceError(
                    f"the data directory was begun with {name} {kept.get(name)}, "
                    f"not {value}"
                )
        return {**numbers, **kept}

    def restore(self, world: World) -> None:
        """Make a new world what it was, and watch it from now on.

        Raises PersistenceError when it is not the world that was begun with.
        """
        tables = _tables(world)
        self._first_keys = frozenset(
            (kind, key) for kind, table in tables.items() for key in table
        )
        for key, image in world.images.items():
            for it in fields(image):
                value = getattr(image, it.name)
                if _is_content(value):
                    where = f"{key}.{it.name}"
                    self._first_contents[id(value)] = (value, where)
        first = {where: content for content, where in self._first_contents.values()}
        self._check_fingerprint(world)
        self._lay_over(tables, first)
        _derive_belongings(world)
        starts = int(self._facts.get("starts", "0")) + 1
        self._put_facts(starts=str(starts))
        if starts > 1:
            world.reseed(f"start {starts}")
        for name, table in watched(tables):
            setattr(world, name, table)
        self._world = world

    def _check_fingerprint(self, world: World) -> None:
        ids = "".join(itertools.chain(world.images, world.albums))
        found = hashlib.sha256(ids.encode()).hexdigest()
        if self._facts.get("fingerprint", found) != found:
            raise PersistenceError(
                "the data directory was begun by another version of the emulator"
            )
        self._put_facts(fingerprint=found)

    def _lay_over(
        self, tables: dict[str, dict[str, Any]], first: dict[str, Content]
    ) -> None:
        used: set[str] = set()

        def unpack(value: Any) -> Content:
            if "first" in value:
                return first[value["first"]]
            used.add(value["file"])
            path = self._blobs / value["file"]
            return FileContent(path, size_bytes=value["size"], md5=value["md5"])

        rows = self._connection.execute(
            "SELECT kind, key, value FROM things ORDER BY number"
        )
        try:
            for kind, key, value in rows:
                if value is None:
                    tables[kind].pop(key, None)
                else:
                    tables[kind][key] = codec.loads(value, unpack)
        except (codec.CodecError, KeyError, sqlite3.Error) as exc:
            raise PersistenceError(f"the kept state cannot be read: {exc}") from exc
        self._sweep(used)

    def _sweep(self, used: set[str]) -> None:
        """Remove the bytes of what was deleted, and halves of files."""
        for path in self._blobs.iterdir():
            if path.name not in used:
                path.unlink()
        missing = [it for it in used if not (self._blobs / it).is_file()]
        if missing:
            raise PersistenceError(f"blobs/{missing[0]} is missing")

    # --- From then on ---------------------------------------------------------

    def keep(self, touched: Touched) -> None:
        """Keep the present state of these things, all or none.

        Raises OSError and sqlite3.Error; nothing has been kept then.
        """
        assert self._world is not None
        if not touched:
            return
        tables = _tables(self._world)
        kept: list[tuple[str, str, str | None]] = []
        gone: list[tuple[str, str]] = []
        for kind, key in sorted(touched):
            table = tables[kind]
            if key in table:
                value = dict.__getitem__(table, key)
                kept.append((kind, key, codec.dumps(value, self._pack)))
            elif (kind, key) in self._first_keys:
                kept.append((kind, key, None))
            else:
                gone.append((kind, key))
        connection = self._connection
        connection.execute("BEGIN")
        try:
            connection.executemany(_UPSERT, kept)
            connection.executemany(
                "DELETE FROM things WHERE kind = ? AND key = ?", gone
            )
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        for kind, key, _ in kept:
            if kind == "images" and key in tables[kind]:
                self._move_bytes(dict.__getitem__(tables[kind], key))

    def _pack(self, content: Content) -> dict[str, object]:
        first = self._first_contents.get(id(content))
        if first is not None:
            return {"first": first[1]}
        name = f"{content.md5}-{content.size_bytes}"
        path = self._blobs / name
        if not path.exists():
            half = self._blobs / f"{name}.{next(self._temporary)}.part"
            half.write_bytes(content.read(0, content.size_bytes))
            half.rename(path)
        return {"file": name, "size": content.size_bytes, "md5": content.md5}

    def _move_bytes(self, image: Any) -> None:
        """Let an image that is kept read its bytes from the file, not from memory."""
        for it in fields(image):
            content = getattr(image, it.name)
            if not _is_content(content) or isinstance(content, FileContent):
                continue
            if id(content) not in self._first_contents:
                path = self._blobs / f"{content.md5}-{content.size_bytes}"
                size_bytes, md5 = content.size_bytes, content.md5
                moved = FileContent(path, size_bytes=size_bytes, md5=md5)
                setattr(image, it.name, moved)

    def _put_facts(self, **facts: str) -> None:
        self._facts |= facts
        self._connection.executemany(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items()
        )


def _opening_trouble(directory: Path, error: sqlite3.Error) -> str:
    if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
        return f"{directory} is in use by another emulator"
    return f"{directory}: {error}"


def _tables(world: World) -> dict[str, dict[str, Any]]:
    return {name: it for name, it in vars(world).items() if isinstance(it, dict)}


def _derive_belongings(world: World) -> None:
    """Give every account what says it belongs to it, in order of creation."""
    for account in world.accounts.values():
        account.images, account.albums = {}, {}
    for image in world.images.values():
        owner = world.account(image.owner)
        if owner is not None:
            owner.images[image.id] = None
    for album in world.albums.values():
        owner = world.account(album.owner)
        if owner is not None:
            owner.albums[album.id] = None


def _is_content(value: object) -> bool:
    return hasattr(value, "size_bytes") and hasattr(value, "read")


def _no_content(value: object) -> Content:
    raise codec.CodecError(f"unexpected content {value!r}")


def _dumps(value: object) -> str:
    def refuse(content: Content) -> object:
        raise TypeError(type(content))

    return codec.dumps(value, refuse)
