"""The commands that steer the queue, as processes with a real emulator and daemon."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.processes import (
    Place,
    fill,
    mirrored,
    place,
    process,
    sync,
    wait_until,
)


def status(at: Place) -> dict[str, Any]:
    """Return what ``imgurfs status --json`` says."""
    said = at.run("status", "--json")
    assert said.returncode == 0, said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_plan_says_what_sync_then_does(tmp_path: Path) -> None:
    """S9: exact figures before, nothing changed by asking, and the same sent after."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif", "trip/b.gif", "trip/c.gif")
    with place(tmp_path, settings=mirrored(folder)) as at:
        sync(at, tmp_path / "folder" / "trip", "--dry-run")
        database = at.directory / "state" / "imgurfs" / "default" / "state.db"
        before = dump(database)
        planned = json.loads(at.run("plan", "--json").stdout)
        assert dump(database) == before
        assert planned["cost"] == {
            "uploads": 3, "albums": 1, "album_calls": 0, "deletes": 0, "posts": 4,
            "credits": 31,
        }  # fmt: skip
        (one,) = planned["folders"]
        assert [a["path"] for a in one["actions"] if a["action"] == "upload"] == [
            "a.gif", "trip/b.gif", "trip/c.gif",
        ]  # fmt: skip
        assert all(action["reason"] for action in one["actions"])
        assert planned["eta"]["finish_at"] > 0
        text = at.run("plan", str(folder)).stdout
        assert "upload trip/b.gif (album 'trip'): " in text
        assert "3 upload(s), 1 album(s)" in text
        assert "4 POSTs and 31 credits" in text
        assert re.search(r"\n3 photos, done .*\d\d:\d\d, .* \(in \d+ s\)\n", text)
        again = at.run("sync", str(folder), "--dry-run").stdout
        assert again.splitlines()[:-1] == text.splitlines()[:-1]
        assert at.run("-q", "plan").stdout.count("\n") <= 2
        assert len(at.images()) == 2
        code, said = sync(at, folder)
        assert code == 0, said
        assert (len(at.images()), at.albums()["trip"]) == (5, 2)
        working = at.config.read_text()
        at.config.write_text(
            working.replace(at.emulator["api_url"], "http://127.0.0.1:1")
        )
        after = json.loads(at.run("plan", "--json").stdout)
        assert (after["cost"]["posts"], after["eta"]) == (0, None)


def dump(database: Path) -> list[str]:
    """Return everything in a database as SQL."""
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as c:
        return list(c.iterdump())


def test_undo_brings_a_deletion_back(tmp_path: Path) -> None:
    """S22: within the grace period: the image stays, and the next look does not
    ask.
    """
    folder = tmp_path / "folder"
    fill(folder, "a.gif", "b.gif")
    with place(tmp_path, settings=mirrored(folder, grace_s=600)) as at:
        assert sync(at, folder)[0] == 0
        (folder / "a.gif").unlink()
        code, said = sync(at, folder)
        assert code == 75, said
        assert re.search(r"waits: delete image \w+: .*, until \d{4}-", said)
        (deletion,) = status(at)["deletions"]["jobs"]
        assert deletion["files"] == ["a.gif"]
        (folder / "note.txt").write_text("not a picture")
        assert "skipped: note.txt: not a picture" in sync(at, folder)[1]
        undone = at.run("undo")
        assert (undone.returncode, "(a.gif)" in undone.stdout) == (0, True)
        assert sync(at, folder)[0] == 0
        assert len(at.images()) == 4
        assert at.run("undo").returncode == 1


def test_pause_outlives_the_daemon(tmp_path: Path) -> None:
    """Nothing is sent while it lasts, whoever starts; resume is noticed at once."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    with place(tmp_path, settings=mirrored(folder)) as at:
        assert at.run("pause").returncode == 0
        code, said = sync(at, folder)
        assert (code, "you paused sending" in said) == (75, True), said
        log = tmp_path / "daemon.log"
        arguments = ("imgurfs_daemon", "--config", str(at.config))
        with process(*arguments, environ=at.environ, log=log):
            wait_until(lambda: "watching" in log.read_text(), log=log)
            waited = at.run("wait")
            assert waited.returncode == 75, waited.stderr
            assert "you paused sending" in waited.stdout
            assert len(at.images()) == 2
            assert at.run("resume").returncode == 0
            waited = at.run("wait", "--timeout", "30s")
            assert (waited.returncode, waited.stdout) == (
                0, "everything is uploaded\n",
            ), waited.stderr  # fmt: skip
            assert len(at.images()) == 3


def test_wait_waits_for_files_the_daemon_has_not_seen(tmp_path: Path) -> None:
    """A file that was copied this moment is uploaded when wait returns."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    with place(tmp_path, settings=mirrored(folder)) as at:
        alone = at.run("wait")
        assert alone.returncode == 69
        assert "nobody is uploading" in alone.stderr
        assert at.run("wait", str(tmp_path)).returncode == 2
        log = tmp_path / "daemon.log"
        arguments = ("imgurfs_daemon", "--config", str(at.config))
        with process(*arguments, environ=at.environ, log=log):
            assert at.run("wait", "--timeout", "30s").returncode == 0
            fill(folder, "trip/b.gif", "trip/c.gif")
            (folder / "note.txt").write_text("not a picture")
            for path in (folder / "trip", folder / "trip" / "b.gif"):
                waited = at.run("wait", str(path), "--timeout", "30s")
                assert waited.returncode == 0, waited.stderr
            assert at.run("wait", "--timeout", "30s").returncode == 0
            assert at.albums()["trip"] == 2
            at.break_uploads(action="status", status=400)
            fill(folder, "bad.gif")
            waited = at.run("wait", "--timeout", "30s")
            assert waited.returncode == 75
            assert "rejected: upload bad.gif" in waited.stdout
            assert at.run("wait", str(folder / "trip")).returncode == 0


def test_wait_gives_up_in_time(tmp_path: Path) -> None:
    """While the limits say no, wait ends with 75 after its timeout."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    settings = mirrored(folder) + "[budget]\nuploads_per_hour = 1\n"
    with place(tmp_path, settings=settings) as at:
        assert sync(at, folder)[0] == 0
        fill(folder, "b.gif")
        code, said = sync(at, folder)
        assert code == 75
        assert re.search(r"waits: upload b.gif: .*, until \d{4}-", said), said
        log = tmp_path / "daemon.log"
        arguments = ("imgurfs_daemon", "--config", str(at.config))
        with process(*arguments, environ=at.environ, log=log):
            wait_until(lambda: "watching" in log.read_text(), log=log)
            waited = at.run("wait", "--timeout", "2s")
            assert waited.returncode == 75, waited.stderr
            assert "the time is over; 1 file" in waited.stdout
        (wait,) = [w for w in status(at)["waits"] if w["kind"] == "upload"]
        assert wait["waits_for"] == "budget"


def test_rejected_upload_is_retried(tmp_path: Path) -> None:
    """S25: the dead letter has Imgur's reason; after a retry the picture is there."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(action="status", status=400)
        code, said = sync(at, folder)
        assert code == 1, said
        assert "failed: upload a.gif" in said
        at.mend_uploads()
        (job,) = json.loads(at.run("queue", "--dead", "--json").stdout)["jobs"]
        assert job["error"]
        assert at.run("queue", "retry", str(job["id"])).returncode == 0
        code, said = sync(at, folder)
        assert code == 0, said
        assert len(at.images()) == 3
        assert json.loads(at.run("queue", "--dead", "--json").stdout)["jobs"] == []


def test_user_resolves_what_nobody_knows(tmp_path: Path) -> None:
    """S11: the image that the lost answer was about is named, and nothing is sent
    twice.
    """
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(action="reset_after", count=1)
        code, said = sync(at, folder)
        assert code == 75, said
        assert "waits: upload a.gif: held" in said
        at.mend_uploads()
        (job,) = json.loads(at.run("queue", "--json").stdout)["jobs"]
        assert job["waits_for"] == "quarantine"
        (made,) = [i for i in at.images() if job["marker"] in (i["name"] or "")]
        wrong = at.run("queue", "resolve", str(job["id"]), "--happened", "nothere")
        assert wrong.returncode == 1
        named = at.run("queue", "resolve", str(job["id"]), "--happened", made["id"])
        assert named.returncode == 0, named.stderr
        assert sync(at, folder)[0] == 0
        assert len(at.images()) == 3


def test_patient_sync_finds_out_what_happened(tmp_path: Path) -> None:
    """With --wait a lost answer is resolved, and the picture is there once."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    settings = mirrored(folder).replace("[sync]", "[sync]\nquarantine_s = 1.0")
    with place(tmp_path, settings=settings) as at:
        at.break_uploads(action="reset_after", count=1)
        code, said = sync(at, folder, "--wait")
        assert code == 0, said
        assert len(at.images()) == 3
        assert at.run("sync", str(folder), "--wait").returncode == 2


def test_folder_is_added_to_a_running_daemon(tmp_path: Path) -> None:
    """The daemon is told, and mirrors the new folder; removed again it does not."""
    first, second = tmp_path / "first", tmp_path / "second"
    fill(first, "a.gif")
    fill(second, "b.gif")
    with place(tmp_path, settings=mirrored(first)) as at:
        log = tmp_path / "daemon.log"
        arguments = ("imgurfs_daemon", "--config", str(at.config))
        with process(*arguments, environ=at.environ, log=log) as daemon:
            assert at.run("wait", "--timeout", "30s").returncode == 0
            added = at.run("folder", "add", str(second))
            assert f"process {daemon.pid}" in added.stdout, added.stderr
            assert at.run("wait", "--timeout", "30s").returncode == 0
            assert len(at.images()) == 4
            assert at.run("folder", "remove", str(second)).returncode == 0
            wait_until(lambda: "no longer watching" in log.read_text(), log=log)
            assert daemon.poll() is None


def test_interrupted_sync_finishes_what_is_in_the_air(tmp_path: Path) -> None:
    """Ctrl-C begins nothing new, ends with 130, and nothing is lost or doubled."""
    folder = tmp_path / "folder"
    fill(folder, *(f"{number}.gif" for number in range(20)))
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(action="delay", delay_s=1.5)
        running = subprocess.Popen(
            [sys.executable, "-m", "imgurfs", "--config", str(at.config),
             "sync", str(folder), "--once"],
            env=at.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        with running:
            wait_until(lambda: bool(status(at)["sending"]), log=at.config)
            running.send_signal(signal.SIGINT)
            said, _ = running.communicate(timeout=60)
        assert running.returncode == 130, said
        at.mend_uploads()
        assert len(at.images()) < 22
        code, said = sync(at, folder)
        assert code == 0, said
        assert len(at.images()) == 22
