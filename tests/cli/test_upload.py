"""``imgurfs upload``: real processes, a real emulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Place, place, process, wait_until
from tests.support.uploads_by_hand import (
    SETTINGS,
    copies,
    new_images,
    noise,
    pictures,
)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Place]:
    """A home with an account, and nothing running but the emulator."""
    with place(tmp_path, settings=SETTINGS) as found:
        yield found


def test_links_come_in_order_and_the_rest_goes_on(at: Place) -> None:
    """S3: What is no picture is one line on stderr and exit 1; the others are sent."""
    one, two = pictures(at, "b.png", "a.png")
    (at.directory / "notes.txt").write_text("no picture")
    (at.directory / "empty.png").touch()
    with (at.directory / "huge.png").open("wb") as huge:
        huge.write(Path(one).read_bytes())
        huge.truncate(10_000_001)
    done = at.run(
        "upload", one, "notes.txt", "empty.png", "gone.png", ".", two, "huge.png"
    )
    assert done.returncode == 1, done.stderr
    links = {image["name"].partition("~")[0]: image["link"] for image in new_images(at)}
    assert done.stdout.splitlines() == [links["b"], links["a"]]
    told = sorted(line.split(": ")[1] for line in done.stderr.splitlines())
    assert told == [".", "empty.png", "gone.png", "huge.png", "notes.txt"]
    assert copies(at) == []


def test_what_is_there_is_not_sent_again(at: Place) -> None:
    """S6: The same bytes, under any name and in any run, are one image."""
    (path,) = pictures(at, "a.png")
    first = at.run("upload", path)
    (at.directory / "other name.png").write_bytes(Path(path).read_bytes())
    again = at.run("upload", "other name.png", path)
    assert again.stdout.splitlines() == first.stdout.splitlines() * 2
    assert again.returncode == 0
    assert len(new_images(at)) == 1


def test_same_bytes_twice_in_one_run_are_one_upload(at: Place) -> None:
    """S6: Two files of one content get one link."""
    (path,) = pictures(at, "a.png")
    (at.directory / "b.png").write_bytes(Path(path).read_bytes())
    done = at.run("upload", path, "b.png")
    assert len(set(done.stdout.splitlines())) == 1
    assert len(done.stdout.splitlines()) == 2
    assert len(new_images(at)) == 1


def test_a_lost_database_recognises_what_was_uploaded(at: Place) -> None:
    """S13: Without state.db the marker tells, and nothing is sent."""
    (path,) = pictures(at, "a.png")
    first = at.run("upload", path)
    for file in (at.directory / "state/imgurfs/default").glob("state.db*"):
        file.unlink()
    again = at.run("upload", path)
    assert again.stdout == first.stdout, again.stderr
    assert len(new_images(at)) == 1


def test_an_album_is_made_once_and_found_again(at: Place) -> None:
    """S11: A new title makes an album; the same title, or its id, is the same album."""
    one, two, three = pictures(at, "1.png", "2.png", "3.png")
    made = at.run("upload", one, two, "--album", "Rome, 2024", "--json")
    album = json.loads(made.stdout)["album"]
    assert album["title"] == "Rome, 2024"
    assert at.albums()["Rome, 2024"] == 2
    assert at.run("upload", three, "--album", album["id"]).returncode == 0
    assert at.run("upload", one, "--album", "Rome, 2024").returncode == 0
    four, *_ = pictures(at, "4.png")
    for name in ("Rome, 2024", album["id"]):
        at.run("upload", four, "--album", name, "--no-wait")
    assert at.run("queue").stdout.count("upload 4.png") == 1
    assert at.run("upload", four, "--album", album["id"]).returncode == 0
    assert at.albums()["Rome, 2024"] == 4
    assert len(new_images(at)) == 4


def test_known_images_go_into_a_new_album(at: Place) -> None:
    """S6: Several that are on Imgur already are put into an album, and none is sent."""
    paths = pictures(at, "1.png", "2.png", "3.png")
    at.run("upload", *paths)
    assert at.run("upload", *paths, "--album", "Later").returncode == 0
    assert at.albums()["Later"] == 3
    assert len(new_images(at)) == 3


def test_an_ambiguous_album_is_asked_about(at: Place) -> None:
    """Two albums of one title: nothing is sent, and the ids are told."""
    (path,) = pictures(at, "1.png")
    for _ in range(2):
        assert at.run("api", "POST", "album", "-F", "title=Twice").returncode == 0
    done = at.run("upload", path, "--album", "Twice")
    assert done.returncode == 2
    assert "2 albums are called that" in done.stderr
    assert new_images(at) == []


def test_title_and_name(at: Place) -> None:
    """The title is the image's, and its name that of the file."""
    (path,) = pictures(at, "my holiday.png")
    at.run("upload", path, "--title", "Sea")
    (image,) = new_images(at)
    assert image["title"] == "Sea"
    assert image["name"].startswith("my holiday~")


def test_json_says_what_became_of_each(at: Place) -> None:
    """One object: sent, known and refused files in their order."""
    one, two = pictures(at, "a.png", "b.png")
    at.run("upload", one)
    done = at.run("upload", one, two, "gone.png", "--json")
    found = json.loads(done.stdout)["files"]
    assert [(f["state"], f["is_new"]) for f in found] == [
        ("uploaded", False), ("uploaded", True), ("refused", False),
    ]  # fmt: skip
    assert found[2]["error"] == "there is no such file"
    assert found[1]["link"].endswith(f"{found[1]['id']}.png")


def test_standard_input(at: Place) -> None:
    """The file - is what comes through a pipe; nothing through it is refused."""
    (path,) = pictures(at, "a.png")
    done = _piped(at, Path(path).read_bytes(), "upload", "-")
    assert done.returncode == 0, done.stderr
    (image,) = new_images(at)
    assert done.stdout.decode().split() == [image["link"]]
    assert image["name"].startswith("stdin~")
    assert b"empty" in _piped(at, b"", "upload", "-").stderr
    assert _piped(at, b"", "upload", "-", "-").returncode == 2


def _piped(
    at: Place, data: bytes, *arguments: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "imgurfs", "--config", str(at.config), *arguments],
        env=at.environ, input=data, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_queued_files_may_be_deleted(at: Place) -> None:
    """--no-wait: the queue has a copy, which the next sender uploads and removes."""
    (path,) = pictures(at, "a.png")
    queued = at.run("upload", path, "--no-wait")
    assert (queued.returncode, queued.stdout) == (0, "")
    assert "1 file queued and safe to delete here" in queued.stderr
    assert at.run("upload", path, "--no-wait").returncode == 0
    assert "1 job waiting" in at.run("queue").stdout
    Path(path).unlink()
    assert copies(at) == ["a.png"]
    (other,) = pictures(at, "b.png")
    assert at.run("upload", other).returncode == 0
    assert {i["name"].partition("~")[0] for i in new_images(at)} == {"a", "b"}
    assert copies(at) == []


def test_another_process_sends_and_this_one_waits(at: Place) -> None:
    """S10: With a daemon at work the command prints the link that the daemon earned."""
    (path,) = pictures(at, "a.png")
    (at.directory / "folder").mkdir()
    assert at.run("folder", "add", str(at.directory / "folder")).returncode == 0
    log = at.directory / "daemon.log"
    with process(
        "imgurfs_daemon", "--config", str(at.config), environ=at.environ, log=log
    ):
        lock = at.directory / "state/imgurfs/default/drain.lock"
        wait_until(lambda: lock.exists() and bool(lock.read_text().strip()), log=log)
        done = at.run("upload", path)
        assert done.stdout.split() == [new_images(at)[0]["link"]], done.stderr
        assert copies(at) == []


def test_dry_run_changes_nothing(at: Place) -> None:
    """What would be sent, is there, is refused; nothing is queued or copied."""
    one, two = pictures(at, "a.png", "b.png")
    at.run("upload", one)
    done = at.run("upload", one, two, "gone.png", "--dry-run")
    assert done.returncode == 1
    assert "is there already: http" in done.stdout
    assert "1 file to upload" in done.stdout
    assert "no such file" in done.stderr
    assert "0 jobs waiting" in at.run("queue").stdout
    assert len(new_images(at)) == 1


def test_what_imgur_rejects_is_told_and_kept(at: Place) -> None:
    """S25: A refusal is exit 1 with its reason; its copy stays for another try."""
    (path,) = pictures(at, "a.png")
    at.break_uploads(action="status", status=400)
    done = at.run("upload", path)
    assert done.returncode == 1, done.stderr
    assert "Imgur refused it" in done.stderr
    assert copies(at) == ["a.png"]
    at.mend_uploads()
    assert at.run("upload", path).returncode == 0
    assert len(new_images(at)) == 1


def test_a_pause_without_end_is_not_waited_for(at: Place) -> None:
    """What only the user lets go on ends the command with 75, and stays queued."""
    (path,) = pictures(at, "a.png")
    at.run("pause")
    done = at.run("upload", path)
    assert done.returncode == 75
    assert "you paused sending" in done.stderr
    at.run("resume")
    assert at.run("upload", path).returncode == 0
    assert len(new_images(at)) == 1


def test_more_than_the_spool_holds_goes_in_turns(tmp_path: Path) -> None:
    """W16: Copies never take more than spool_max; the next waits for an upload."""
    with place(tmp_path, settings='[mount]\nspool_max = "5 MB"\n') as at:
        names = [f"{number}.png" for number in range(4)]
        for name in names:
            noise(tmp_path / name, side=800)
        noise(tmp_path / "big.png", side=1400)
        at.run("pause")
        full = at.run("upload", *names)
        assert full.returncode == 75, full.stderr
        assert "2 files queued" in full.stderr
        assert "2 files not queued" in full.stderr
        assert len(copies(at)) == 2
        refused = at.run("upload", "--no-wait", *names)
        assert refused.returncode == 1
        assert refused.stderr.count("no room for its copy") == 2
        at.run("resume")
        done = at.run("upload", *names, "big.png")
        assert done.returncode == 1
        assert len(done.stdout.split()) == 4
        assert "larger than the queue may ever be" in done.stderr
        assert len(new_images(at)) == 4


def test_ctrl_c_says_what_stays_queued(at: Place) -> None:
    """S10: Interrupted, it ends what is in the air; repeated, it sends the rest."""
    paths = pictures(at, *(f"{number}.png" for number in range(6)))
    at.break_uploads(action="delay", delay_s=2.0)
    command = [sys.executable, "-m", "imgurfs", "--config", str(at.config), "upload"]
    with subprocess.Popen(
        [*command, *paths],
        env=at.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        log = at.directory / "emulator.log"
        wait_until(lambda: len(copies(at)) == 6, log=log)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    waiting = 6 - len(new_images(at))
    assert f"{waiting} files queued and safe to delete here" in err
    at.mend_uploads()
    done = at.run("upload", *paths)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == 6
    assert set(out.split()) <= set(done.stdout.split())
    assert len(new_images(at)) == 6


@pytest.mark.parametrize(
    "point",
    [
        "copy-made", "upload-queued", "budget-reserved", "intent-written",
        "request-sent", "answer-known", "settled",
    ],
)  # fmt: skip
def test_killed_anywhere_and_repeated_it_is_one_upload(at: Place, point: str) -> None:
    """S10: kill -9 at this place, and the same command again: one image, its link."""
    (path,) = pictures(at, "a.png")
    environ = {**at.environ, "IMGURFS_CRASH_AT": f"{point}:1"}
    command = [sys.executable, "-m", "imgurfs", "--config", str(at.config), "upload"]
    killed = subprocess.run(
        [*command, path, "--album", "New"],
        env=environ, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = at.run("upload", path, "--album", "New")
    assert done.returncode == 0, done.stderr
    (image,) = new_images(at)
    assert done.stdout.split() == [image["link"]]
    assert at.albums()["New"] == 1
    assert copies(at) == []
    assert "no queue" not in done.stderr


def test_a_copy_of_no_queue_is_kept_and_told(at: Place) -> None:
    """W28: When the database is lost, bytes that were promised are not thrown away."""
    one, two = pictures(at, "a.png", "b.png")
    at.run("upload", one, "--no-wait")
    for file in (at.directory / "state/imgurfs/default").glob("state.db*"):
        file.unlink()
    Path(one).unlink()
    done = at.run("upload", two)
    assert copies(at) == ["a.png"]
    assert "1 copy of files that were given once" in done.stderr
    (kept,) = (at.directory / "state/imgurfs/default/outgoing").glob("*/*")
    assert at.run("upload", str(kept)).returncode == 0
    assert len(new_images(at)) == 2


def test_copy_needs_a_clipboard(at: Place) -> None:
    """--copy hands the links to the desktop's program; without one nothing is sent."""
    one, two = pictures(at, "a.png", "b.png")
    programs = at.directory / "bin"
    programs.mkdir()
    told = at.directory / "clipboard"
    (programs / "wl-copy").write_text(f"#!/bin/sh\ncat > {told}\n")
    (programs / "wl-copy").chmod(0o755)
    bare = {
        k: v for k, v in at.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    nothing = Place(at.directory, at.emulator, bare).run("upload", one, "--copy")
    assert nothing.returncode == 69
    assert "no clipboard" in nothing.stderr
    assert new_images(at) == []
    desktop = {
        **bare, "WAYLAND_DISPLAY": "wayland-0",
        "PATH": f"{programs}{os.pathsep}{bare['PATH']}",
    }  # fmt: skip
    done = Place(at.directory, at.emulator, desktop).run("upload", one, two, "--copy")
    assert told.read_text() == done.stdout.strip()
    assert len(done.stdout.split()) == 2
