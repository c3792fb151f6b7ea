"""A lost or damaged state: found again from the account, with nothing sent twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits, paths
from imgurfs.store import notices, synced
from tests.support.serving import Served, put, served

NAMES = ("a", "b", "c")


def lose(path: Path) -> None:
    """Delete the database."""
    for file in path.parent.glob("state.db*"):
        file.unlink()


def scribble(path: Path) -> None:
    """Overwrite the database with something else."""
    path.write_text("certainly no database " * 1000)


def blank(path: Path) -> None:
    """Overwrite most of the database's pages with nothing."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))


async def mirrored(s: Served) -> Path:
    """Serve a folder of six pictures, half of them in an album, until all is well."""
    s.add_account("default")
    folder = s.add_folder("folder")
    (folder / "album").mkdir()
    put(folder, *NAMES)
    put(folder / "album", *(name.upper() for name in NAMES))
    async with s.running():
        await well(s)
    return folder


async def well(s: Served) -> None:
    """Wait until every file is an image, and nothing is left to do."""

    def is_well() -> bool:
        if "default" not in s.services:
            return False
        reader = s.services["default"].db.reader
        rows = [
            row
            for folder in synced.folders(reader)
            for row in synced.files(reader, folder.id).values()
        ]
        return len(rows) == 6 and "up to date" in s.supervisor.status()

    await s.until(is_well)
    assert s.holds("default", *NAMES, *(name.upper() for name in NAMES))


def uploads(s: Served) -> int:
    """Return how many uploads have arrived."""
    return sum(
        method == "POST" and ("/3/upload" in url or "/3/image" in url)
        for method, url in s.transports["default"].requests
    )


def changes(s: Served) -> list[str]:
    """Return which changes were asked for."""
    return [
        f"{method} {url}"
        for method, url in s.transports["default"].requests
        if method != "GET" and "/oauth2/" not in url
    ]


@pytest.mark.parametrize("harm", [lose, scribble, blank])
async def test_a_lost_state_is_rebuilt_without_an_upload(
    tmp_path: Path,
    harm: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """S13: all rows are back, the album is the same, and the user is told."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        await mirrored(s)
        assert uploads(s) == 6
        albums = dict(s.emulators["default"].world.albums)
        asked = changes(s)
        harm(paths.account_paths("default").state_db)
        s.services.clear()
        async with s.running():
            await well(s)
            told = notices.everything(s.services["default"].db.reader)
        assert changes(s) == asked
        assert s.emulators["default"].world.albums.keys() == albums.keys()
        assert ("damaged" in told) == (harm is not lose)
        if harm is lose:
            return
        (saved,) = tmp_path.rglob("state.db.damaged-*Z")
        assert str(saved) in told["damaged"]
        saved.unlink()
        async with s.running():
            await well(s)
            told = notices.everything(s.services["default"].db.reader)
        assert "damaged" not in told


@pytest.mark.parametrize("found_by", ["writing", "reading", "telling"])
async def test_damage_found_at_work_is_mended_without_a_restart(
    tmp_path: Path,
    found_by: str,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """The account is opened again and rebuilt; another account does not notice."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        folder = await mirrored(s)
        s.add_account("second")
        put(s.add_folder("other", account="second"), "x")
        path = paths.account_paths("default").state_db
        s.opened.clear()
        s.services.clear()
        async with s.running():
            await well(s)
            await s.until(lambda: s.holds("second", "x"))
            db = s.services["default"].db
            db._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            for connection in (db._writer, db.reader):
                connection.execute("PRAGMA shrink_memory")  # forget what was read
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.seek(4096)
                file.write(bytes(size - 4096))
            daemon = s.supervisor._accounts["default"].daemon
            assert daemon is not None
            began_s = trio.current_time()
            if found_by == "reading":
                daemon.folders[0].mark_all()
                await s.until(lambda: s.opened.count("default") == 2)
                assert trio.current_time() - began_s < limits.ACCOUNT_RETRY_S / 2
            elif found_by == "telling":
                daemon._status = (-1, "")
                assert "damaged" in s.supervisor.status()
            put(folder, "d")
            await s.until(lambda: s.opened.count("default") == 2)
            everything = (*NAMES, "A", "B", "C", "d")
            await s.until(lambda: s.holds("default", *everything))
            await trio.sleep(600.0)
            assert s.holds("default", *everything)
            assert s.opened.count("default") == 2
            assert s.opened.count("second") == 1
        assert uploads(s) == 7
