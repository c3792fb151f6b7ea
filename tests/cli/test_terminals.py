"""What ``imgurfs upload`` shows on a terminal, and what it does not show elsewhere."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import fill, place
from tests.support.terminals import terminal

#: Colours, as opposed to the movements of the cursor that bars need.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FILES = ("a.png", "b.png")


@pytest.mark.parametrize(
    ("variable", "is_coloured"),
    [("NO_COLOR", False), ("CLICOLOR", False), ("LC_X", True)],
)
def test_bars_and_links_on_a_terminal(
    tmp_path: Path, variable: str, is_coloured: bool
) -> None:
    """Files and bytes while it lasts, then the links; colours as the user wants."""
    fill(tmp_path, *_FILES)
    with place(tmp_path) as at:
        at.break_uploads(action="delay", delay_s=2.0)
        paths = [str(tmp_path / name) for name in _FILES]
        with terminal(at, "upload", *paths, stdout=None, **{variable: "0"}) as shown:
            shown.wait_for(lambda text: "of 2 files" in text)
            shown.wait_for(lambda text: "upload a.png" in text)
            assert shown.end() == 0
        for image in at.images()[:-2]:
            assert image["link"] in shown.shown
        assert bool(_COLOUR.search(shown.shown)) is is_coloured


def test_links_go_where_stdout_goes(tmp_path: Path) -> None:
    """Bars on the terminal must not take the links with them."""
    fill(tmp_path, *_FILES)
    with place(tmp_path) as at, (tmp_path / "links").open("w") as links:
        at.break_uploads(action="delay", delay_s=2.0)
        paths = [str(tmp_path / name) for name in _FILES]
        with terminal(at, "upload", *paths, stdout=links.fileno()) as shown:
            shown.wait_for(lambda text: "of 2 files" in text)
            assert shown.end() == 0
        known = {image["link"] for image in at.images()[:-2]}
        assert set((tmp_path / "links").read_text().split()) == known
        assert not any(link in shown.shown for link in known)


def test_a_terminal_has_a_clipboard(tmp_path: Path) -> None:
    """--copy without a desktop hands the link to the terminal (OSC 52)."""
    fill(tmp_path, "a.png")
    with place(tmp_path) as at:
        path = str(tmp_path / "a.png")
        with terminal(
            at, "upload", "--copy", path, DISPLAY="", WAYLAND_DISPLAY=""
        ) as shown:
            assert shown.end() == 0
        (code,) = re.findall(r"\x1b\]52;c;([^\x07]*)\x07", shown.shown)
        assert base64.b64decode(code).decode() == at.images()[0]["link"]


def test_no_bars_without_a_terminal(tmp_path: Path) -> None:
    """Into a file or pipe: no escape sequences, and waiting is told in plain lines."""
    fill(tmp_path, *_FILES)
    with place(tmp_path) as at:
        at.break_uploads(action="delay", delay_s=6.0)
        done = at.run("upload", *_FILES)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr
        assert "0 of 2 files" in done.stderr
        quiet = at.run("upload", *_FILES, "-q")
        assert (quiet.returncode, quiet.stderr) == (0, "")


def test_help_is_quick() -> None:
    """--help costs little more than an interpreter with click: as a ratio."""

    def seconds(*command: str) -> float:
        began_s = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began_s

    imgurfs = str(Path(sys.executable).with_name("imgurfs"))
    # Taken in turns, so that what else the machine does meets both.
    pairs = [
        (seconds(imgurfs, "--help"), seconds(sys.executable, "-c", "import click"))
        for _ in range(7)
    ]
    ours, peer = (min(times) for times in zip(*pairs, strict=True))
    assert ours < 3 * peer, (ours, peer)
