"""The account's token is revoked while the drive is written to, and replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import DriveGround, contents, fill, new_drive, run, until

pytestmark = pytest.mark.mount

NAMES = tuple(f"{number}.png" for number in range(6))


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[DriveGround]:
    """Return a mounted, empty account for one test."""
    with new_drive(tmp_path) as made:
        yield made


def revoke(drive: DriveGround) -> None:
    """Have Imgur accept neither the access token nor the refresh token any more."""
    drive.http.delete("/_emulator/access_tokens").raise_for_status()
    refusal = {"action": "status", "status": 400, "shape": "A"}
    where = {"method": "POST", "path": "/oauth2/token"}
    drive.break_api({**where, **refusal, "message": "Invalid refresh token"})


def is_told(drive: DriveGround) -> bool:
    """Whether the status tells that nothing is sent."""
    return "login" in drive.status()["notices"]


def test_writing_goes_on_without_a_token(drive: DriveGround, tmp_path: Path) -> None:
    """W32: With a token that Imgur does not accept files are taken and readable; the
    status says once what to do, and after a login everything is sent once.
    """
    fill(tmp_path / "Before", NAMES)
    fill(tmp_path / "After", NAMES)
    run("cp", "-a", tmp_path / "Before", drive.top)
    until(lambda: drive.uploads() > 0, "nothing is sent")
    revoke(drive)
    run("cp", "-a", tmp_path / "After", drive.top)
    until(lambda: is_told(drive), "the status says nothing")
    (drive.top / "After" / NAMES[0]).rename(drive.top / NAMES[0])
    for name in ("Before", "After"):
        assert contents(drive.top / name).items() <= contents(tmp_path / name).items()
    states = [drive.standing(path) for path in (drive.top / "After").iterdir()]
    assert states == ["waiting"] * 5
    _expect_told_once(drive)

    drive.break_api()
    token = drive.machine.emulator.address["refresh_token"]
    done = drive.machine.run("login", "--refresh-token-stdin", stdin=token)
    assert done.returncode == 0, done.stderr
    drive.settle()
    assert drive.stored() == 12
    assert drive.status()["attention"] == []
    assert (drive.top / NAMES[0]).read_bytes() == (
        tmp_path / "After" / NAMES[0]
    ).read_bytes()


def _expect_told_once(drive: DriveGround) -> None:
    """Status, its file and the log of the mount say what is wrong, and what to do."""
    (told,) = drive.status()["attention"]
    assert "nothing is sent" in told["what"]
    assert "imgurfs login" in told["what"] + told["do"]
    text = drive.machine.run("status").stdout
    assert text.count("imgurfs login") == 1
    virtual = drive.top / ".imgurfs"
    assert json.loads((virtual / "status.json").read_text())["attention"] == [told]
    jobs = json.loads((virtual / "queue.json").read_text())["jobs"]
    assert {job["state"] for job in jobs} == {"queued"}
    errors = (virtual / "errors.log").read_text().splitlines()
    assert len([line for line in errors if "nothing is sent" in line]) == 1


def test_an_access_token_that_ends_is_replaced(
    drive: DriveGround, tmp_path: Path
) -> None:
    """W3: An access token that ends in the middle of a copy is nothing one notices."""
    fill(tmp_path / "Trip", NAMES)
    run("cp", "-a", tmp_path / "Trip", drive.top)
    until(lambda: drive.uploads() > 0, "nothing is sent")
    drive.http.delete("/_emulator/access_tokens").raise_for_status()
    drive.settle()
    assert contents(drive.top / "Trip") == contents(tmp_path / "Trip")
    assert drive.status()["attention"] == []
    assert drive.stored() == len(NAMES)
