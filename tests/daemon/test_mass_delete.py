"""Twelve ways to lose a folder without wanting to: no image is ever deleted for it.

Real files and directories, the daemon's own folder and drainer, an emulated account,
virtual time. Each disaster ends with a deletion that is meant, which goes through.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs.jobs import guard
from imgurfs.store import notices
from tests.support import disasters
from tests.support.disasters import GRACE_S, Heal, Strike, live_on, survive
from tests.support.mirrored import mirror
from tests.support.pictures import small_picture
from tests.support.processes import REPOSITORY, environment

_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
#: The superuser without what lets it read everything; for others this changes nothing.
_UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")


@pytest.mark.parametrize(
    "strike",
    [
        disasters.emptied,
        disasters.renamed,
        disasters.rolled_back,
        disasters.swapped_for_a_link,
        disasters.partly_listed,
        disasters.made_anew,
        disasters.album_gone,
    ],
)
async def test_a_disaster_deletes_nothing(
    tmp_path: Path,
    strike: Strike,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """S20, S21: while the folder is struck, and when it is back, every image stays."""
    await survive(tmp_path, monkeypatch.setenv, strike)


async def test_numbers_that_are_given_again_mislead_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Restored files get each other's inode numbers, and all look alike outside."""
    await survive(tmp_path, monkeypatch.setenv, disasters.rolled_back, apart_s=0.0)


@pytest.mark.parametrize("name", sorted(disasters.WITH_MOUNTS))
def test_a_disaster_with_mounts_deletes_nothing(tmp_path: Path, name: str) -> None:
    """Disks that come and go, in a name space of their own."""
    play(tmp_path, name, _UNSHARE)


@pytest.mark.parametrize("name", sorted(disasters.WITHOUT_RIGHTS))
def test_a_lost_permission_deletes_nothing(tmp_path: Path, name: str) -> None:
    """What may not be read is not gone."""
    play(tmp_path, name, _UNPRIVILEGED)


def play(directory: Path, name: str, prefix: tuple[str, ...]) -> None:
    """Play a disaster in a process of its own."""
    played = subprocess.run(
        [*prefix, sys.executable, "-m", "tests.support.disasters", name, directory],
        env=environment(directory),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert played.stdout == "survived\n", played.stderr


@pytest.mark.mount
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
async def test_a_disk_that_fails_to_read_deletes_nothing(
    tmp_path: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """S20: A network drive that forgot a directory, a disk with a bad block in one."""
    source, folder = tmp_path / "disk", tmp_path / "folder"
    for album in ("Oslo", "Rome"):
        (source / album).mkdir(parents=True)
    for path in disasters.FILES:
        (source / path).write_bytes(small_picture(path))
    folder.mkdir()
    symptom = tmp_path / "symptom"
    with sick_disk(source, folder, symptom):
        async with mirror(
            tmp_path, monkeypatch.setenv, settings=disasters.SETTINGS
        ) as m:
            await m.sync()
            before = m.images()
            assert len(before) == len(disasters.FILES)
            symptom.write_text(str(number))
            (source / "00.png").unlink()
            await live_on(m)
            assert m.images() == before
            text = notices.everything(m.services.db.reader)[f"folder:{folder}"]
            assert os.strerror(number) in text
            symptom.unlink()
            await live_on(m)
            assert m.holds(*(small_picture(path) for path in disasters.FILES[1:]))


@contextmanager
def sick_disk(source: Path, mountpoint: Path, symptom: Path) -> Iterator[None]:
    """Show a directory at a mountpoint, through a file system that can fail."""
    arguments = ("tests.support.sick_disk", source, mountpoint, symptom)
    disk = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    with disk:
        assert disk.stdout is not None
        assert disk.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            subprocess.run(["fusermount3", "-u", mountpoint], check=True)


@pytest.mark.parametrize("epoch_s", [0.0, 4_000_000_000.0])
async def test_a_clock_that_is_wrong_deletes_nothing(
    tmp_path: Path,
    epoch_s: float,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """A machine that wakes up in 1970, or far ahead, and is set right later."""
    async with mirror(tmp_path, monkeypatch.setenv, settings=disasters.SETTINGS) as m:

        def strike(root: Path) -> Heal:
            right_s, m.clock.epoch_s = m.clock.epoch_s, epoch_s
            return lambda: setattr(m.clock, "epoch_s", right_s)

        disasters.fill(m)
        await m.sync()
        before = m.images()
        heal = strike(m.root)
        await live_on(m)
        assert m.images() == before
        heal()
        await live_on(m)
        assert m.images() == before
        (m.root / disasters.ROOT_FILES[0]).unlink()
        await live_on(m)
        assert len(m.images()) == len(before) - 1


async def test_what_is_held_waits_for_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S21: uploads go on meanwhile; approved deletions go, and only those."""
    async with mirror(tmp_path, monkeypatch.setenv, settings=disasters.SETTINGS) as m:
        disasters.fill(m)
        await m.sync()
        before = m.images()
        disasters.partly_listed(m.root)
        m.write("new.png", small_picture("new"))
        await live_on(m)
        assert len(m.images()) == len(before) + 1
        report = guard.report(m.services.db.reader)
        assert report is not None
        assert report.count == 20
        assert "20 of 3" in report.text
        await m.services.db.write(guard.approve)
        await live_on(m)
        assert len(m.images()) == len(before) + 1 - 20
        assert (await m.daemon.folders[0].sync()).actions == ()


async def test_what_is_rejected_stays_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Rejected deletions are not asked for again, and files that return are no news."""
    async with mirror(tmp_path, monkeypatch.setenv, settings=disasters.SETTINGS) as m:
        disasters.fill(m)
        await m.sync()
        before = m.images()
        heal = disasters.emptied(m.root)
        await live_on(m)
        now = m.clock.now()
        await m.services.db.write(lambda c: guard.reject(c, now=now))
        await live_on(m)
        assert m.images() == before
        assert guard.report(m.services.db.reader) is None
        heal()
        await live_on(m)
        assert m.images() == before
        assert m.unfinished() == 0


async def test_a_deletion_waits_while_the_disk_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Even one that was meant; it goes through by itself when the disk is back."""
    async with mirror(tmp_path, monkeypatch.setenv, settings=disasters.SETTINGS) as m:
        disasters.fill(m)
        await m.sync()
        (m.root / "00.png").unlink()
        await m.daemon.folders[0].sync()
        heal = disasters.made_anew(m.root)
        await live_on(m)
        assert len(m.images()) == len(disasters.FILES)
        report = guard.report(m.services.db.reader)
        assert report is not None
        assert "not the directory it was" in report.text
        heal()
        await live_on(m)
        assert len(m.images()) == len(disasters.FILES) - 1
        assert guard.report(m.services.db.reader) is None


async def test_grace_is_the_time_to_think_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """One file gone: its image goes after the grace period and not before."""
    async with mirror(tmp_path, monkeypatch.setenv, settings=disasters.SETTINGS) as m:
        disasters.fill(m)
        await m.sync()
        (m.root / "00.png").unlink()
        await m.daemon.folders[0].sync()
        await trio.sleep(GRACE_S - 1)
        await m.daemon.drainer.run_until_idle()
        assert len(m.images()) == len(disasters.FILES)
        await trio.sleep(2)
        await m.daemon.drainer.run_until_idle()
        assert len(m.images()) == len(disasters.FILES) - 1
