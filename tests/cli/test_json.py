"""Every ``--json`` of the program is what docs/JSON.md says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from imgurfs import paths
from imgurfs.cli.main import cli
from imgurfs.jobs import guard
from imgurfs.locks import FileLock
from imgurfs.model import ROOT_INODE, JobId
from imgurfs.store import entries, meta, notices, outbox, pins, synced
from imgurfs.store.database import Connection
from imgurfs.store.drafts import DraftState
from imgurfs.store.synced import SkippedFile
from tests.support.commands import Home
from tests.support.drive_rows import DriveRows
from tests.support.processes import Place, fill, mirrored, place
from tests.support.queued import NOW_S, Queue
from tests.support.schemas import Schema, schemas

#: What --json means there is not an object of ours: Imgur's own answer.
_FOREIGN = {"imgurfs api"}

#: What no budget knows before the first request.
_TOLD_BY_IMGUR = {"budget.pauses.*", "budget.windows.*.reset_at"}


def commands_with_json(
    command: click.Command, name: str
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that has the option."""
    if any("--json" in param.opts for param in command.params):
        yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from commands_with_json(found, f"{name} {inner}")


def test_every_command_with_json_is_documented() -> None:
    """A new --json needs its table; a table whose command is gone has to go."""
    named = {name for name, _ in commands_with_json(cli, "imgurfs")} - _FOREIGN
    assert named == set(schemas())


def check(schema: Schema, home: Home, *arguments: str) -> Any:
    """Run a command of this process and compare its output."""
    said = home.run(*arguments, "--json")
    found = json.loads(said.out, parse_constant=pytest.fail)
    schema.check(found)
    return found


def test_account_with_everything_in_it(home: Home, queue: Queue) -> None:
    """Each field of what the tables tell: with a value at least once, of its type."""
    known, job_id = schemas(), fill_account(home, queue)
    on_drive = home.directory / "on the drive.gif"
    on_drive.write_bytes(b"")
    os.setxattr(on_drive, "user.imgurfs.state", b"waiting")
    for name, arguments in (
        ("status", []), ("queue", []), ("queue", ["--dead"]), ("queue list", []),
        ("guard", []), ("guard show", []), ("ls", []), ("ls", ["Trip"]),
        ("folder", []), ("folder list", []), ("cache", []), ("cache stats", []),
        ("queue show", [str(job_id)]), ("queue show", [str(job_id + 1)]),
        ("queue show", [str(job_id + 2)]),
        ("link", [str(queue.root / "on.gif"), str(on_drive)]), ("undo", []),
    ):  # fmt: skip
        check(known[f"imgurfs {name}"], home, *name.split(), *arguments)
    places = paths.account_paths("default")
    places.content_dir.mkdir(parents=True)
    cache = FileLock(places.content_dir / "lock").require("a mount")
    locks = (places.drain_lock, places.daemon_lock)
    sender, daemon = (FileLock(path).require("a daemon") for path in locks)
    with cache, sender, daemon:
        for name in ("cache", "cache stats", "status"):
            check(known[f"imgurfs {name}"], home, *name.split())
    home.run("resume")
    check(known["imgurfs status"], home, "status")
    unseen = {
        name: sorted(path for path in schema.unseen if path not in _TOLD_BY_IMGUR)
        for name, schema in known.items()
        if schema.seen
    }
    assert not any(unseen.values()), unseen


def fill_account(home: Home, queue: Queue) -> JobId:
    """Bring about whatever can be told; return a job that has made an image.

    The next job has made an album, and the one after that waits.
    """
    home.write_config(
        f'[[folder]]\npath = "{queue.root}"\ninclude = ["*"]\nexclude = ["x"]\n'
    )
    drive = DriveRows(queue.db, paths.account_paths("default").spool_dir)
    trip = drive.album("Trip", "Ab3xY7q")
    drive.image("sea.gif", "img1", trip)
    drive.image("on.gif", "img2")
    queue.write_file("on.gif")
    queue.synced_file("on.gif", "img2")
    drive.draft("bad.gif", DraftState.REFUSED, trip, error="no picture")
    drive.draft(".old.part", DraftState.SCRATCH, changed_at=NOW_S - 10**9 + 1)
    queue.lose(queue.upload("lost.gif"), mark="abc")
    queue.reject(queue.upload("bad.gif"), "too large")
    queue.send(queue.upload("sending.gif"))
    for number in range(30):
        queue.delete(f"{number}.gif", f"old{number}")
    image, album = queue.upload("made.gif"), queue.create("Made", "img3")
    queue.upload("waits.gif")
    skipped = SkippedFile(b"s.gif", 1, 1, "no picture")

    def write(c: Connection) -> None:
        outbox.claim(c, image, now=NOW_S)
        outbox.finish(c, image, now=NOW_S, result='{"image":"img3"}')
        outbox.claim(c, album, now=NOW_S)
        outbox.finish(c, album, now=NOW_S, result='{"album":"Cd3xY7q"}')
        guard.review(c, now=NOW_S)
        notices.put(c, "watch", "raise the limit")
        meta.put(c, "brake", "the listing lost half of it")
        meta.put_time(c, "albums_listed_at", NOW_S)
        meta.put_time(c, "images_listed_at", NOW_S)
        entries.set_listed(c, ROOT_INODE, listed_at=NOW_S)
        synced.put_skipped(c, queue.folder, skipped)
        pins.put(c, trip, now=NOW_S)

    queue.db.write_blocking(write)
    home.run("pause", "--for", "1h")
    return image


def test_what_needs_an_imgur(tmp_path: Path) -> None:
    """The commands that talk to Imgur, against the emulator."""
    folder = tmp_path / "folder"
    fill(folder, "a.png", "trip/b.png")
    (folder / "trip/c.png").write_bytes((folder / "trip/b.png").read_bytes())
    with place(tmp_path, settings=mirrored(folder)) as at:
        known = schemas()
        ask(known, at, "plan", str(folder))
        ask(known, at, "sync", str(folder), "--dry-run")
        at.run("sync", str(folder), "--once")
        (folder / "a.png").rename(folder / "trip/d.png")
        (folder / "notes.txt").write_text("no picture")
        ask(known, at, "plan", str(folder))
        ask(known, at, "credits")
        fill(tmp_path, "new.png")
        ask(known, at, "upload", "new.png", "gone.png", "--album", "New")
        ask(known, at, "upload", "new.png", "--dry-run")
        ask(known, at, "pin", "New")
        ask(known, at, "cache")
        ask(known, at, "status")
    for name in ("credits", "upload", "pin", "sync"):
        rare = {"folders[].problems[].path", "folders[].problems[].reason"}
        rare |= {path for path in known["imgurfs sync"].fields if "actions[]." in path}
        assert known[f"imgurfs {name}"].unseen <= rare, name
    budget = {path for path in known["imgurfs status"].unseen if "budget" in path}
    assert budget <= {"budget.pauses.*"}


def ask(known: dict[str, Schema], at: Place, name: str, *arguments: str) -> None:
    """Run a command of its own process and compare its output."""
    done = at.run(name, *arguments, "--json")
    known[f"imgurfs {name}"].check(json.loads(done.stdout))
