"""``imgurfs pin``, ``unpin`` and ``cache``: what stays on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.processes import Place, place, wait_until


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Place]:
    """A home whose account has one album with two images."""
    with place(tmp_path) as found:
        # Whoever mounts, or sends, lists; without either there is nothing to pin.
        with mounted(found) as drive:
            assert len(list((drive / "Album 0001").iterdir())) == 2
        yield found


class mounted:  # noqa: N801 - used as a with block
    """The drive, mounted until the block ends."""

    def __init__(self, at: Place) -> None:
        self._at = at
        self.drive = at.directory / "drive"

    def __enter__(self) -> Path:
        self.drive.mkdir(exist_ok=True)
        done = self._at.run("mount", str(self.drive))
        assert done.returncode == 0, done.stderr
        return self.drive

    def __exit__(self, *error: object) -> None:
        done = self._at.run("unmount", str(self.drive))
        assert done.returncode == 0, done.stderr


def stats(at: Place) -> Any:
    """Return what the cache says of itself."""
    return json.loads(at.run("cache", "--json").stdout)


def names(at: Place) -> list[str]:
    """Return the images of the album, as paths on the drive."""
    found = json.loads(at.run("ls", "Album 0001", "--json").stdout)["entries"]
    return [f"Album 0001/{entry['name']}" for entry in found]


def test_pinned_is_here_and_stays(at: Place) -> None:
    """R23: An album that was pinned is read without a network, after a restart too."""
    done = at.run("pin", "Album 0001")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 2 pinned images here" in done.stdout
    (entry,) = stats(at)["pinned"]
    assert (entry["path"], entry["kind"]) == ("Album 0001", "album")
    assert (entry["images"], entry["missing"]) == (2, 0)
    cleared = at.run("cache", "clear")
    assert "0 images removed" in cleared.stdout
    assert stats(at)["pinned"][0]["missing"] == 0
    text = at.config.read_text()
    at.config.write_text(re.sub(r'cdn_url = ".*"', 'cdn_url = "http://[::1]:9"', text))
    with mounted(at) as drive:
        for path in names(at):
            assert (drive / path).read_bytes()


def test_clear_removes_what_is_not_pinned(at: Place) -> None:
    """Only that; what waits to be uploaded is no part of the cache."""
    one, two = names(at)
    at.run("pin", one, two)
    assert at.run("unpin", two).returncode == 0
    again = at.run("unpin", two)
    assert again.returncode == 1
    assert "was not pinned itself" in again.stderr
    assert stats(at)["files"] == 2
    assert "1 image removed" in at.run("cache", "clear").stdout
    found = stats(at)
    assert found["files"] == 1
    assert [entry["path"] for entry in found["pinned"]] == [one]
    assert found["pinned"][0]["missing"] == 0


def test_pin_through_a_mount(at: Place) -> None:
    """While a drive has the cache it is read through it; clearing has to wait."""
    with mounted(at) as drive:
        path = drive / names(at)[0]
        done = at.run("pin", str(path))
        assert done.returncode == 0, done.stderr
        assert "1 of 1 pinned image here" in done.stdout
        assert stats(at)["used_by"] is not None
        refused = at.run("cache", "clear")
        assert refused.returncode == 69
        assert "uses the content cache" in refused.stderr
    assert stats(at)["used_by"] is None
    assert "0 images removed" in at.run("cache", "clear").stdout


def test_pinned_is_never_evicted(at: Place) -> None:
    """R24: A full cache drops what was read later rather than what is pinned."""
    noise = Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3))
    noise.save(at.directory / "third.png")
    assert at.run("upload", "third.png").returncode == 0
    listed = json.loads(at.run("ls", "Album 0001", "--json").stdout)["entries"]
    sizes = {f"Album 0001/{one['name']}": one["size_bytes"] for one in listed}
    pinned, other = names(at)
    bound = max(sizes[pinned], sizes[other]) + 4096
    at.config.write_text(at.config.read_text() + f"[cache]\nsize_max = {bound}\n")
    assert at.run("pin", pinned).returncode == 0
    with mounted(at) as drive:
        assert (drive / other).read_bytes()
        assert (drive / "third.png").read_bytes()
        # It is kept, and the bound with it, when the mount has made it durable.
        wait_until(lambda: stats(at)["files"] < 3, log=at.directory / "emulator.log")
    found = stats(at)
    assert [(one["path"], one["missing"]) for one in found["pinned"]] == [(pinned, 0)]


def test_more_than_the_cache_holds_is_not_pinned(at: Place) -> None:
    """What could not be kept is refused as a whole, and nothing is recorded."""
    at.config.write_text(at.config.read_text() + '[cache]\nsize_max = "1 KiB"\n')
    refused = at.run("pin", "Album 0001")
    assert refused.returncode == 1
    assert "would be pinned" in refused.stderr
    assert stats(at)["pinned"] == []


def test_offline_it_stays_pinned(at: Place) -> None:
    """Without a way to the CDN: exit 75, one line for each, and a later pin gets it."""
    text = at.config.read_text()
    at.config.write_text(re.sub(r'cdn_url = ".*"', 'cdn_url = "http://[::1]:9"', text))
    done = at.run("pin", "Album 0001")
    assert done.returncode == 75
    assert done.stderr.count("imgurfs: Album 0001/") == 2
    at.config.write_text(text)
    assert "2 of 2 pinned images here" in at.run("pin").stdout


def test_what_cannot_be_pinned(at: Place) -> None:
    """A path of nothing, and the whole drive, are usage errors; nothing is recorded."""
    assert at.run("pin", "nothing").returncode == 2
    assert at.run("pin", "").returncode == 2
    assert at.run("unpin").returncode == 2
    assert "nothing is pinned" in at.run("pin").stdout
    assert stats(at)["pinned"] == []


def test_a_killed_mount_keeps_no_cache(at: Place) -> None:
    """R21: After kill -9 of the mount its cache can be used at once."""
    with mounted(at) as drive:
        assert (drive / names(at)[0]).read_bytes()
        os.kill(stats(at)["used_by"], signal.SIGKILL)
        wait_until(
            lambda: stats(at)["used_by"] is None, log=at.directory / "emulator.log"
        )
        done = at.run("pin", names(at)[1])
        assert (done.returncode, done.stderr) == (0, "")
