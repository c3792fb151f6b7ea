"""State in a directory: what was answered is there after any end of the process."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from imgurfs.cli.emulator import emulator as command
from imgurfs.emulator.app import Emulator, build
from imgurfs.emulator.config import Dialect, EmulatorConfig
from imgurfs.emulator.world import pictures
from imgurfs.emulator.world.persistence import PersistenceError
from imgurfs.errors import UnavailableError
from tests.emulator.conftest import ServerProcess
from tests.support.emulated import ManualClock, Visitor, owner

Start = Callable[..., ServerProcess]
PNG = pictures.draw_picture("kept", number=1, kind="png", width=16, height=16)


@contextmanager
def kept(directory: Path, **options: Any) -> Iterator[Emulator]:
    """Open an emulator on a directory and close it."""
    emulator = build(EmulatorConfig(**options), ManualClock(), data=directory)
    try:
        yield emulator
    finally:
        emulator.close()


def connect(server: ServerProcess) -> httpx.Client:
    """Return a client with the account's token."""
    return httpx.Client(
        base_url=server.facts["api_url"],
        headers={"Authorization": "Bearer " + server.facts["access_token"]},
        timeout=10,
        trust_env=False,
    )


def state(client: httpx.Client) -> Any:
    """Return the admin view's state without ports."""
    text = client.get("/_emulator/state").text
    return json.loads(re.sub(r"127\.0\.0\.1:\d+", "HOST", text))


async def change_everything(me: Visitor) -> str:
    """Make one change of every kind; return the id of an uploaded image."""
    images = [it["id"] for it in (await me.api("GET", "/3/account/me/images")).data]
    upload = await me.api("POST", "/3/image", files={"image": ("a.png", PNG)})
    new: str = upload.data["id"]
    ids = {"ids": f"{new},{images[0]}", "title": "Kept"}
    album = (await me.api("POST", "/3/album", data=ids)).data["id"]
    gone = (await me.api("POST", "/3/album", data={"title": "Gone"})).data["id"]
    assert (await me.api("DELETE", f"/3/album/{gone}")).data is True
    assert (await me.api("DELETE", f"/3/image/{images[1]}")).data is True
    title = {"title": "Retitled", "description": "é\udce9\0".encode("utf-8", "replace")}
    assert (await me.api("POST", f"/3/image/{images[2]}", data=title)).data is True
    assert (await me.api("POST", f"/3/image/{new}/favorite")).data == "favorited"
    add = await me.api("POST", f"/3/album/{album}/add", data={"ids": images[3]})
    assert add.data is True
    return new


async def test_every_kind_of_change_is_there_again(
    tmp_path: Path, dialect: Dialect
) -> None:
    """Lists, albums, bytes and tokens are what they were, in the same order."""
    options: dict[str, Any] = {"albums": 3, "images": 12, "dialect": dialect}
    questions = (
        "/3/account/me/images",
        "/3/account/me/albums",
        "/3/account/me/images/count",
        "/_emulator/state",
        "/_emulator/stranger",
    )
    with kept(tmp_path, **options) as first:
        new = await change_everything(owner(first))
        asked = [(await owner(first).api("GET", it)).body for it in questions]
        tokens = first.world.access_tokens, first.world.refresh_tokens
    with kept(tmp_path, **options) as second:
        again = [(await owner(second).api("GET", it)).body for it in questions]
        assert again == asked
        assert (second.world.access_tokens, second.world.refresh_tokens) == tokens
        assert (await owner(second).cdn(f"/{new}.png")).body == PNG
        part = await owner(second).cdn(f"/{new}.png", Range="bytes=5-9")
        assert part.body == PNG[5:10]
        # New ids go on; none is given out twice.
        more = await owner(second).api("POST", "/3/image", files={"image": PNG})
        assert more.data["id"] not in asked[0].decode()


async def test_tokens_of_logins_survive_and_revoked_ones_do_not(tmp_path: Path) -> None:
    """A refreshed access token works after a restart; those revoked stay revoked."""
    with kept(tmp_path, albums=0, quirk_changes={"refresh_token": "rotated"}) as first:
        me = Visitor(first)
        assert (await me.api("DELETE", "/_emulator/access_tokens")).status == 200
        credentials = first.credentials
        grant = {
            "grant_type": "refresh_token",
            "refresh_token": credentials.refresh_token,
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
        }
        token = (await me.api("POST", "/oauth2/token", data=grant)).json
    with kept(tmp_path, albums=0) as second:
        assert second.credentials.refresh_token == token["refresh_token"]
        assert second.credentials.access_token == token["access_token"]
        old = Visitor(second, "Bearer " + credentials.access_token)
        assert (await old.api("GET", "/3/account/me")).status == 403
        assert (await owner(second).api("GET", "/3/account/me")).status == 200


async def test_other_devices_and_late_commits_are_kept_too(tmp_path: Path) -> None:
    """What happens by itself is a change like any; its token is not kept."""
    from imgurfs.emulator.trouble.faultrules import parse_rules

    clock = ManualClock()
    rules = parse_rules(
        [
            {"action": "edits", "per_hour": 3600, "seed": 1, "count": 20},
            {
                "action": "late_commit",
                "host": "api",
                "method": "POST",
                "commit_after_s": 5,
            },
        ],
        source="test",
    )
    config = EmulatorConfig(albums=2, images=6)
    first = build(config, clock, data=tmp_path, faults=rules)
    await owner(first).api("POST", "/3/album", data={"title": "late"})
    clock.time_s += 3600
    expected = (await owner(first).api("GET", "/_emulator/state")).json
    first.close()
    assert "late" in [it["title"] for it in expected["albums"]]
    with kept(tmp_path) as second:
        assert (await owner(second).api("GET", "/_emulator/state")).json == expected
        assert len(second.world.access_tokens) == 1


def test_what_was_answered_survives_kill(start_server: Start, tmp_path: Path) -> None:
    """After SIGKILL in the middle of work every answered change is there, again."""
    data = ("--data", str(tmp_path / "new" / "dir"))
    server = start_server(*data, "--albums", "2", "--images", "4", "--limits", "off")
    titles: list[str] = []
    before: Any = None
    for round_number in range(3):
        with connect(server) as client:
            for number in range(20):
                title = f"{round_number}.{number}"
                files = {"image": ("a.png", PNG + title.encode())}
                client.post("/3/image", files=files, data={"title": title})
                client.post("/3/album", data={"title": title}).raise_for_status()
                titles.append(title)
            before = state(client)
            server.process.kill()
            server.process.wait(timeout=10)
        server = start_server(*data, "--limits", "off")
        with connect(server) as client:
            assert state(client) == before
    names = {it["title"] for it in before["albums"]}
    assert names >= set(titles)
    assert {it["title"] for it in before["images"]} >= set(titles)


def processor_s(process: subprocess.Popen[str]) -> float:
    """Return what a process has computed so far: on a busy machine it waits as well."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ten_thousand_images_start_at_once(start_server: Start, tmp_path: Path) -> None:
    """Two seconds, the first time and when it goes on."""
    for arguments in (("--images", "10000", "--albums", "20"), ()):
        server = start_server("--data", str(tmp_path), *arguments)
        assert processor_s(server.process) < 2
        with connect(server) as client:
            assert client.get("/3/account/me/images/count").json()["data"] == 10_000
        server.process.terminate()
        assert server.process.wait(timeout=10) == 0


def test_a_directory_is_of_one_emulator(start_server: Start, tmp_path: Path) -> None:
    """A second one is told so and serves nothing."""
    data = ("--data", str(tmp_path))
    start_server(*data, "--albums", "1")
    second = start_server(*data)
    assert second.first_line == ""
    with pytest.raises(PersistenceError, match="in use by another emulator"):
        build(EmulatorConfig(), ManualClock(), data=tmp_path)


@pytest.mark.parametrize(
    ("name", "value"), [("albums", 5), ("images", 9), ("seed", 3), ("username", "x")]
)
def test_another_beginning_is_refused(tmp_path: Path, name: str, value: object) -> None:
    """The directory says what it was begun with; the defaults mean: as before."""
    with kept(tmp_path, albums=1, images=2, seed=7):
        pass
    with pytest.raises(PersistenceError, match=f"begun with {name}"):
        build(EmulatorConfig(**{name: value}), ManualClock(), data=tmp_path)  # type: ignore[arg-type]
    with kept(tmp_path) as again:
        assert (again.config.albums, again.config.seed) == (1, 7)


def test_unusable_directories_are_named(tmp_path: Path) -> None:
    """A file, a foreign database, another version, lost bytes: said, not guessed."""
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(PersistenceError, match="file"):
        build(EmulatorConfig(), ManualClock(), data=file)
    (tmp_path / "state.db").write_bytes(b"no database" * 100)
    with pytest.raises(PersistenceError, match="not a database"):
        build(EmulatorConfig(), ManualClock(), data=tmp_path)
    other = tmp_path / "other"
    for name, value, message in (
        ("version", "9", "version 9"),
        ("fingerprint", "x", "another version of the emulator"),
    ):
        with kept(other, albums=0):
            pass
        with sqlite3.connect(other / "state.db") as database:
            sql = "UPDATE facts SET value = ? WHERE name = ?"
            database.execute(sql, (value, name))
        database.close()
        with pytest.raises(PersistenceError, match=message):
            build(EmulatorConfig(), ManualClock(), data=other)
        (other / "state.db").unlink()


def test_the_command_says_what_is_wrong_with_the_directory(tmp_path: Path) -> None:
    """Exit code 69 and the reason; a file instead of a directory is wrong use."""
    (tmp_path / "state.db").write_bytes(b"no database" * 100)
    result = CliRunner().invoke(command, ["--data", str(tmp_path)])
    assert isinstance(result.exception, UnavailableError)
    assert result.exception.exit_code == 69
    assert "not a database" in result.exception.message
    file = str(tmp_path / "state.db")
    assert CliRunner().invoke(command, ["--data", file]).exit_code == 2


async def test_lost_bytes_are_noticed_and_unused_ones_swept(tmp_path: Path) -> None:
    """A blob that is missing refuses the start; one of a deleted image goes."""
    with kept(tmp_path, albums=0) as first:
        made = [
            (await owner(first).api("POST", "/3/image", files={"image": PNG + b})).data
            for b in (b"1", b"2")
        ]
        assert (await owner(first).api("DELETE", f"/3/image/{made[0]['id']}")).data
    (tmp_path / "blobs" / "half.part").write_bytes(b"x")
    assert len(list((tmp_path / "blobs").iterdir())) == 3
    with kept(tmp_path):
        (left,) = (tmp_path / "blobs").iterdir()
    left.unlink()
    with pytest.raises(PersistenceError, match="is missing"):
        build(EmulatorConfig(), ManualClock(), data=tmp_path)


async def test_what_cannot_be_kept_is_not_answered(tmp_path: Path) -> None:
    """The connection breaks; when there is room again the change is kept with it."""
    with kept(tmp_path, albums=0) as first:
        me = owner(first)
        # The database refuses to grow: a full disk.
        connection = first.archive._connection  # type: ignore[union-attr]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        long = {"title": "first", "description": "x" * 100_000}
        refused = await me.api("POST", "/3/album", data=long)
        assert refused.dropped
        assert refused.status == 0
        connection.execute("PRAGMA max_page_count = 1000000")
        assert (await me.api("POST", "/3/album", data={"title": "second"})).data
    with kept(tmp_path) as second:
        titles = [it["title"] for it in second.admin.state()["albums"]]  # type: ignore[attr-defined]
        assert sorted(titles) == ["first", "second"]


async def test_blobs_that_cannot_be_written_are_not_answered(tmp_path: Path) -> None:
    """An upload whose bytes find no room is not acknowledged."""
    with kept(tmp_path, albums=0) as first:
        (tmp_path / "blobs").rmdir()
        (tmp_path / "blobs").write_text("in the way")
        refused = await owner(first).api("POST", "/3/image", files={"image": PNG})
        assert refused.dropped


async def test_renaming_and_deleting_an_account_are_kept(tmp_path: Path) -> None:
    """Its things follow the new name, and go with it."""
    with kept(tmp_path, albums=2, images=4) as first:
        renamed = {"username": "another"}
        answer = await owner(first).api("PUT", "/3/account/me/settings", data=renamed)
        assert answer.status == 200
        state_before = (await owner(first).api("GET", "/_emulator/state")).json
    with kept(tmp_path) as second:
        assert second.credentials.username == "another"
        assert (await owner(second).api("GET", "/_emulator/state")).json == state_before
        assert len((await owner(second).api("GET", "/3/account/me/images")).data) == 4
        assert (await owner(second).api("DELETE", "/3/account/another")).status == 200
    with kept(tmp_path) as third:
        assert (await owner(third).api("GET", "/_emulator/state")).json["images"] == []
        assert (await owner(third).api("GET", "/3/account/me")).status == 403
