"""Bad files and bad disks: a clear line for each, and the rest goes on."""

from __future__ import annotations

import io
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from trio.testing import MockClock

from imgurfs import limits, paths
from imgurfs.assembly import open_account
from imgurfs.errors import DatabaseError, DatabaseNewerError
from imgurfs.executor import InlineExecutor
from imgurfs.store import synced
from tests.support.mirrored import EPOCH_S, Mirror, SetClock, mirror
from tests.support.pictures import small_picture

GOOD = small_picture("good")
Environ = Callable[[str, str], None]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Environ:
    """Sets environment variables for the length of a test."""
    return monkeypatch.setenv


def large_picture(seed: int) -> bytes:
    """Return a picture of three megabytes: it is sent in many pieces."""
    buffer = io.BytesIO()
    noise = random.Random(seed).randbytes(1000 * 1000 * 3)
    Image.frombytes("RGB", (1000, 1000), noise).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
WEBP = b"RIFF\xd8\0\0\0WEBPVP8 " + bytes(200)
FILM = b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(200)


@pytest.mark.parametrize(
    ("name", "content", "size_bytes", "reason"),
    [
        ("empty.png", b"", 0, "the file is empty"),
        ("letter.jpg", b"Dear Alice, " * 20, None, "not a picture or video"),
        ("phone.heic", HEIC, None, "Imgur does not take image/heic"),
        ("phone.jpg", HEIC, None, "Imgur does not take image/heic"),
        ("web.webp", WEBP, None, "Imgur does not take image/webp"),
        ("huge.png", GOOD, limits.STILL_BYTES_MAX + 1, "larger than Imgur takes"),
        ("film.mp4", FILM, limits.VIDEO_BYTES_MAX + 1, "larger than Imgur takes"),
    ],
)
async def test_what_imgur_never_takes_is_skipped_with_the_reason(
    tmp_path: Path,
    environ: Environ,
    autojump_clock: MockClock,
    name: str,
    content: bytes,
    size_bytes: int | None,
    reason: str,
) -> None:
    """S3: it is not sent, status names file and reason, and its neighbour is
    uploaded.
    """
    async with mirror(tmp_path, environ) as m:
        file = m.write(name, content)
        if size_bytes is not None:
            os.truncate(file, size_bytes)
        m.write("good.png", GOOD)
        await m.sync()
        assert m.holds(GOOD)
        assert m.emulator.observations.uploads == 1
        assert f"skipped  {file}: {reason}" in m.status()
        # Repaired, it goes up and is not complained of any more.
        mended = small_picture("mended")
        m.write(name, mended)
        await m.sync()
        assert m.holds(GOOD, mended)
        assert "skipped" not in m.status()


async def test_the_content_decides_and_not_the_extension(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock
) -> None:
    """S3: A PNG called .jpg, or by no extension at all, is uploaded as what it is."""
    async with mirror(tmp_path, environ) as m:
        pictures = {name: small_picture(name) for name in ("a.jpg", "b", "c.heic")}
        for name, content in pictures.items():
            m.write(name, content)
        await m.sync()
        assert m.holds(*pictures.values())


async def test_a_damaged_picture_is_rejected_once_and_named(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock
) -> None:
    """S25: imgur's refusal is final, is shown, costs one upload, and stops nobody."""
    async with mirror(tmp_path, environ) as m:
        m.write("cut/torn.png", large_picture(1)[:20])
        m.write("cut/good.png", GOOD)
        await m.sync()
        await m.sync()
        assert m.holds(GOOD)
        assert m.emulator.observations.uploads == 1
        rejected = [it for it in m.status().splitlines() if it.startswith("rejected")]
        assert len(rejected) == 1
        assert "torn.png" in rejected[0]
        mended = small_picture("torn")
        m.write("cut/torn.png", mended)
        await m.sync()
        assert m.holds(GOOD, mended)


def _grow(file: Path) -> None:
    with file.open("ab") as more:
        more.write(b"more")


def _cut(file: Path) -> None:
    os.truncate(file, 2_000_000)


def _write_anew(file: Path) -> None:
    file.write_bytes(large_picture(2))


def _replace(file: Path) -> None:
    other = file.with_name(".other")
    other.write_bytes(large_picture(2))
    other.rename(file)


@pytest.mark.parametrize("change", [_grow, _cut, _write_anew, _replace])
async def test_a_file_that_changes_while_it_is_sent(
    tmp_path: Path,
    environ: Environ,
    autojump_clock: MockClock,
    change: Callable[[Path], None],
) -> None:
    """S1: what is in the account in the end is what is in the folder, once."""
    async with mirror(tmp_path, environ) as m:
        file = m.write("trip/large.png", large_picture(1))
        m.write("good.png", GOOD)
        m.api.meddle = lambda: change(file)
        await m.sync()
        assert m.api.meddle is None
        assert m.holds(GOOD, file.read_bytes())
        assert m.unfinished() == 0


async def test_a_file_that_vanishes_while_it_is_sent(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock
) -> None:
    """Nothing of it stays, in the account or in the queue."""
    async with mirror(tmp_path, environ) as m:
        file = m.write("trip/large.png", large_picture(1))
        m.write("good.png", GOOD)
        m.api.meddle = file.unlink
        await m.sync()
        assert m.holds(GOOD)
        assert m.unfinished() == 0


_NAMES = [b"caf\xe9.png", b"n" * 251 + b".png", b"two\nlines.png", b'"quoted\\".png']


@pytest.mark.parametrize("name", _NAMES)
async def test_names_of_every_kind(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock, name: bytes
) -> None:
    """A name that is no text, or as long as can be, is uploaded and known again."""
    at_once = "[sync]\ndelete_grace_s = 0\nguard = false\n"
    async with mirror(tmp_path, environ, settings=at_once) as m:
        content = small_picture("named")
        m.write(b"dir-" + name[-100:] + b"/" + name, content)
        m.write("good.png", GOOD)
        await m.sync()
        assert m.holds(GOOD, content)
        assert (await m.daemon.folders[0].sync()).actions == ()
        (file,) = (
            it for it in m.root.rglob("*") if it.is_file() and it.parent != m.root
        )
        file.unlink()
        await m.sync()
        assert m.holds(GOOD)


async def test_a_folder_that_cannot_be_written_is_mirrored(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock
) -> None:
    """S8: the daemon writes nothing into the folder: a read-only disk is as good."""
    async with mirror(tmp_path, environ) as m:
        m.write("trip/a.png", GOOD)
        before = {it: it.stat().st_mtime_ns for it in (m.root, *m.root.rglob("*"))}
        for directory in (m.root / "trip", m.root):
            directory.chmod(0o555)
        try:
            await m.sync()
        finally:
            for directory in (m.root, m.root / "trip"):
                directory.chmod(0o755)
        assert m.holds(GOOD)
        after = {it: it.stat().st_mtime_ns for it in (m.root, *m.root.rglob("*"))}
        assert after == before


async def test_a_full_disk_sends_nothing_and_loses_nothing(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock
) -> None:
    """What cannot be written down is not sent; with room again all goes on."""
    async with mirror(tmp_path, environ) as m:
        m.write("first.png", GOOD)
        await m.sync()
        writer = m.services.db._writer
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages}")
        more = [small_picture(str(number)) for number in range(60)]
        for number, content in enumerate(more):
            m.write(f"trip/a long name {number:0200}.png", content)
        with pytest.raises(DatabaseError, match="full"):
            await m.sync()
        sent = m.emulator.observations.uploads
        assert len(m.images()) == sent
        writer.execute("PRAGMA max_page_count = 1000000")
        await m.sync()
        assert m.holds(GOOD, *more)
        assert m.emulator.observations.uploads == 61


@pytest.mark.parametrize("jump_s", [-86_400.0, -30.0, 30.0, 86_400.0, 400 * 86_400.0])
async def test_the_clock_is_set_anew(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock, jump_s: float
) -> None:
    """After a jump there is no second upload and no deletion, and new files go up."""
    async with mirror(tmp_path, environ, settings="[sync]\ndelete_grace_s = 60\n") as m:
        m.write("a.png", GOOD)
        await m.sync()
        m.clock.epoch_s += jump_s
        await m.sync()
        assert m.emulator.observations.uploads == 1
        before, after = small_picture("before"), small_picture("after")
        file = m.write("old.png", before)
        os.utime(file, (EPOCH_S, EPOCH_S))
        m.write("trip/b.png", after)
        await m.sync()
        assert m.holds(GOOD, before, after)
        assert m.emulator.observations.uploads == 3


async def test_a_newer_state_is_refused_and_left_alone(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock
) -> None:
    """The database of a later version is not opened; not a byte of it changes."""
    async with mirror(tmp_path, environ) as m:
        m.write("a.png", GOOD)
        await m.sync()
        settings = m.services.config
    path = paths.account_paths("default").state_db
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    with pytest.raises(DatabaseNewerError, match="newer version of imgurfs"):
        async with open_account(
            settings, "default", clock=SetClock(EPOCH_S), executor=InlineExecutor()
        ):
            pytest.fail("it was opened")
    assert path.read_bytes() == before


async def test_all_of_it_at_once(
    tmp_path: Path, environ: Environ, autojump_clock: MockClock
) -> None:
    """S3: bad files of every kind in one folder: each is named, all good ones are
    there.
    """
    async with mirror(tmp_path, environ) as m:
        bad = {"e.png": b"", "t.png": b"text" * 9, "h.heic": HEIC, "w.webp": WEBP}
        good = [small_picture(str(number)) for number in range(12)]
        for number, content in enumerate(good):
            m.write(f"d{number % 3}/{number}.png", content)
        for name, content in bad.items():
            m.write(f"d1/{name}", content)
        (m.root / "d1/link.png").symlink_to(m.root / "d0/0.png")
        os.mkfifo(m.root / "d1/pipe.png")
        await m.sync()
        assert m.holds(*good)
        said = m.status()
        assert [name for name in bad if f"d1/{name}: " not in said] == []
        assert _skipped(m) == {f"d1/{name}".encode() for name in bad}


def _skipped(m: Mirror) -> set[bytes]:
    reader = m.services.db.reader
    (folder,) = synced.folders(reader)
    return set(synced.skipped(reader, folder.id))
