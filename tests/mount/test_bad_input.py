"""What nobody should write to a drive, and what may happen meanwhile: through real
mounts, with nothing lost and nothing else held up.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio.testing

from tests.support.drives import read, write
from tests.support.inside import in_process
from tests.support.programs import (
    DriveGround,
    contents,
    fill,
    new_drive,
    picture,
    run,
    until,
)

NAMES = tuple(f"{number}.png" for number in range(5))


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[DriveGround]:
    """Return a mounted, empty account for one test."""
    with new_drive(tmp_path) as made:
        yield made


def fails(*command: str | Path) -> str:
    """Run a program that must fail; return what it said about it."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, (command, done)
    return done.stderr


@pytest.mark.mount
def test_a_copy_with_files_that_imgur_does_not_take(
    drive: DriveGround, tmp_path: Path
) -> None:
    """W13, W14, W15: ``cp`` says which files it could not copy and why, and copies the
    rest; ``status`` lists those that are kept.
    """
    source, target = tmp_path / "Mixed", drive.top / "Mixed"
    fill(source, ("good.png", "good too.png"))
    (source / "notes.txt").write_text("no picture, and says so")
    (source / "false.png").write_text("no picture at all")
    (source / "huge.png").write_bytes(picture("huge") + bytes(6 * 1024 * 1024))
    (source / "nothing.png").touch()
    said = fails("cp", "-r", source, drive.top).splitlines()
    assert len(said) == 3, said
    reasons = {
        "notes.txt": errno.EOPNOTSUPP,
        "false.png": errno.EINVAL,
        "huge.png": errno.EFBIG,
    }
    for name, number in reasons.items():
        (line,) = (line for line in said if name in line)
        assert os.strerror(number) in line
    drive.wait_until_idle()
    assert drive.stored() == 2
    kept = contents(target)
    assert kept.pop("false.png") == b"no picture at all"
    states = {name: drive.standing(target / name) for name in kept}
    refused = {name for name, state in states.items() if state == "refused"}
    assert refused == {"huge.png", "nothing.png"}
    assert {name: kept[name] for name in ("good.png", "good too.png")} == {
        name: (source / name).read_bytes() for name in ("good.png", "good too.png")
    }
    told = {
        one["path"]: one["error"] for one in drive.status()["drive"]["refused"]["files"]
    }
    assert told.keys() == {f"Mixed/{n}" for n in (*refused, "false.png")}
    assert all(told.values())


@pytest.mark.mount
def test_64_handles_on_one_file(drive: DriveGround) -> None:
    """W1, W3, W18: 64 handles that are all open at once write each its own part, see
    what the others wrote, and are one upload when they are closed.
    """
    path, part = drive.top / "many.png", 512
    data = picture("many hands", side=128)[: 64 * part]
    path.touch()
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("r+b", buffering=0)) for _ in range(64)]
        for number in reversed(range(64)):
            files[number].seek(number * part)
            files[number].write(data[number * part : (number + 1) * part])
        for file in files:
            file.seek(0)
            assert file.read() == data
    drive.settle()
    assert path.read_bytes() == data
    assert drive.stored() == 1


@pytest.mark.mount
def test_a_copy_that_does_not_fit(tmp_path: Path) -> None:
    """W16: ``cp`` is told that there is no space; what was closed before is kept, sent,
    and makes room again.
    """
    settings = '[mount]\nspool_max = "200 KiB"\n'
    with new_drive(tmp_path, settings=settings) as drive:
        drive.break_api({"path": "/3/upload", "action": "status", "status": 503})
        small, large = tmp_path / "small.png", tmp_path / "large.png"
        small.write_bytes(picture("small", side=200))
        large.write_bytes(picture("large", side=200))
        run("cp", small, drive.top)
        assert os.strerror(errno.ENOSPC) in fails("cp", large, drive.top)
        assert (drive.top / "small.png").read_bytes() == small.read_bytes()
        assert drive.standing(drive.top / "small.png") == "waiting"
        run("rm", drive.top / "large.png")
        drive.break_api()
        drive.settle()
        run("cp", large, drive.top)
        drive.settle()
        assert drive.stored() == 2


async def test_a_disk_without_room_for_another_name(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W16: When there is no room for the name, making a file is ENOSPC as well; what
    was written before is sent, and with room everything works again.
    """
    async with in_process(tmp_path) as inside:
        db = inside.db
        await write(inside, "Cats/before.png", picture("before"))
        await db.write(lambda c: c.execute("PRAGMA max_page_count = 1"))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):  # noqa: PT012
            for number in range(1_000):
                await inside.mkdir(f"Album {number}")
        assert await read(inside, "Cats/before.png") == picture("before")
        await db.write(lambda c: c.execute("PRAGMA max_page_count = 100000"))
        await write(inside, "Cats/after.png", picture("after"))
        await inside.settle()
        assert (await inside.imgur.counters())["uploads"] == 2


@pytest.mark.mount
def test_an_album_deleted_while_a_file_is_written_into_it(drive: DriveGround) -> None:
    """W7: The bytes are kept and uploaded without the album, also through the handle
    that was open, and ``status`` reports it.
    """
    (drive.top / "Trip").mkdir()
    first, second = picture("first"), picture("second")
    (drive.top / "Trip/first.png").write_bytes(first)
    drive.settle()
    (album,) = drive.state()["albums"]
    with (drive.top / "Trip/second.png").open("wb", buffering=0) as file:
        file.write(second[:100])
        token = drive.machine.emulator.address["access_token"]
        drive.http.delete(
            f"/3/album/{album['id']}", headers={"Authorization": f"Bearer {token}"}
        ).raise_for_status()
        file.write(second[100:])
    drive.wait_until_idle()
    assert drive.state()["albums"] == []
    assert drive.held() == drive.shown()
    assert contents(drive.top) == {"first.png": first, "second.png": second}
    (told,) = drive.status()["attention"]
    assert "'Trip' was deleted on Imgur" in told["what"]


@pytest.mark.mount
def test_a_budget_that_is_spent_for_hours(tmp_path: Path) -> None:
    """W32: Files are taken and readable while nothing can be sent; ``status`` says when
    sending will be done, and what limits it.
    """
    limits = tmp_path / "limits.json"
    limits.write_text(json.dumps({"uploads_per_hour": 2}))
    with new_drive(tmp_path, "--limits", str(limits)) as drive:
        fill(tmp_path / "Many", NAMES)
        run("cp", "-a", tmp_path / "Many", drive.top)
        until(lambda: drive.stored() == 2, "nothing is sent")
        until(lambda: drive.status()["eta"]["hours"] > 0.5, "no estimate")
        (drive.top / "late.png").write_bytes(picture("late"))
        assert contents(drive.top / "Many") == contents(tmp_path / "Many")
        states = [drive.standing(path) for path in (drive.top / "Many").iterdir()]
        assert sorted(states) == ["uploaded"] * 2 + ["waiting"] * 3
        told = drive.status()
        assert told["left"]["files"] == 4
        assert told["eta"]["limited_by"] == "upload"
        assert drive.stored() == 2
        drive.machine.remount()
        assert drive.standing(drive.top / "late.png") == "waiting"
        assert (drive.top / "late.png").read_bytes() == picture("late")
