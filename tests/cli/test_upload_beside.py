"""``imgurfs upload`` beside a watched folder and a mounted drive."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Place, fill, place, wait_until
from tests.support.terminals import terminal
from tests.support.uploads_by_hand import SETTINGS, copies, new_images, pictures


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Place]:
    """A home with an account, and nothing running but the emulator."""
    with place(tmp_path, settings=SETTINGS) as found:
        yield found


def mirror(at: Place, folder: Path, *, grace_s: float) -> None:
    """Let a folder be mirrored, deletions as well."""
    settings = (
        f"{SETTINGS}settle_s = 0.1\ndelete_grace_s = {grace_s}\n"
        f'[[folder]]\npath = "{folder}"\ndeletes = "mirror"\n'
    )
    at.config.write_text(at.config.read_text().replace(SETTINGS, settings))


def test_what_is_about_to_be_deleted_stays(at: Place) -> None:
    """S22: Uploading the content of an image that waits for its deletion keeps it, also
    when the folder is looked at again.
    """
    folder = at.directory / "folder"
    fill(folder, "a.png", "b.png")
    mirror(at, folder, grace_s=600)
    assert at.run("sync", str(folder), "--once").returncode == 0
    kept = at.directory / "kept.png"
    (folder / "a.png").rename(kept)
    assert at.run("sync", str(folder), "--once").returncode == 75
    assert "delete image" in at.run("queue").stdout
    done = at.run("upload", str(kept))
    assert done.returncode == 0, done.stderr
    assert "delete image" not in at.run("queue").stdout
    assert at.run("sync", str(folder), "--once").returncode == 0
    assert "delete image" not in at.run("queue").stdout
    assert len(new_images(at)) == 2


def test_changed_on_the_drive_the_old_image_goes(at: Place) -> None:
    """W8: What was uploaded by hand is the drive's: no copy of it keeps it alive."""
    one, two = pictures(at, "a.png", "b.png")
    mirror(at, at.directory / "folder", grace_s=0)
    at.run("upload", one)
    (old,) = new_images(at)
    drive = at.directory / "drive"
    drive.mkdir()
    assert at.run("mount", str(drive)).returncode == 0
    try:
        (drive / "a.png").write_bytes(Path(two).read_bytes())
        assert at.run("wait", str(drive / "a.png")).returncode == 0
        wait_until(
            lambda: old["id"] not in {image["id"] for image in at.images()},
            log=at.directory / "emulator.log",
        )
    finally:
        assert at.run("unmount", str(drive)).returncode == 0
    assert len(new_images(at)) == 1


def test_an_album_filled_by_hand_is_not_the_daemons(at: Place) -> None:
    """S23: An image that was put into an album by hand outlives its file."""
    folder = at.directory / "folder"
    fill(folder, "a.png", "b.png")
    mirror(at, folder, grace_s=0)
    assert at.run("sync", str(folder), "--once").returncode == 0
    assert at.run("upload", str(folder / "a.png"), "--album", "Kept").returncode == 0
    (folder / "a.png").unlink()
    done = at.run("sync", str(folder), "--once", "-v")
    assert done.returncode == 0, done.stderr
    assert len(new_images(at)) == 2
    assert at.albums()["Kept"] == 1


def test_a_revoked_token_ends_it_and_loses_nothing(at: Place) -> None:
    """S25: Exit 77 with what to do; what is queued is sent after the next login."""
    (path,) = pictures(at, "a.png")
    revoke(at)
    done = at.run("upload", path)
    assert done.returncode == 77, done.stderr
    assert "what is queued stays queued" in done.stderr
    assert "imgurfs login" in done.stderr
    at.mend_uploads()
    token = at.emulator["refresh_token"]
    assert at.run("login", "--refresh-token-stdin", text=token).returncode == 0
    again = at.run("upload", path)
    assert again.returncode == 0, again.stderr
    # The test's own token is revoked as well.
    state = at.emulator["api_url"] + "/_emulator/state"
    with urllib.request.urlopen(state, timeout=10) as answer:
        assert len(json.load(answer)["images"]) == 3


def revoke(at: Place) -> None:
    """Have Imgur accept neither token any more."""
    request = urllib.request.Request(
        at.emulator["api_url"] + "/_emulator/access_tokens", method="DELETE"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status < 300
    at.break_api(
        method="POST",
        path="/oauth2/token",
        action="status",
        status=400,
        shape="A",
        message="Invalid refresh token",
    )


def test_limits_are_waited_for_and_told(at: Place) -> None:
    """S17: Without budget nothing is sent; the command says so, and Ctrl-C ends it."""
    paths = pictures(at, "a.png", "b.png", "c.png")
    settings = at.config.read_text() + "[budget]\nuploads_per_hour = 1\n"
    at.config.write_text(settings)
    with terminal(at, "upload", *paths) as shown:
        shown.wait_for(lambda seen: "of 2 files" in seen and "limited by" in seen)
        assert len(new_images(at)) == 1
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 130
        assert "2 files queued and safe to delete here" in shown.shown
    assert len(new_images(at)) == 1
    assert len(copies(at)) == 2
