"""What the commands show on a terminal: a real one, with a real emulator behind."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.support.processes import fill, mirrored, place
from tests.support.terminals import terminal

#: Colours, as opposed to the movements of the cursor that bars need.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_sync_shows_files_and_bytes(tmp_path: Path) -> None:
    """Bars while it lasts, the report afterwards; NO_COLOR is honoured."""
    folder = tmp_path / "folder"
    fill(folder, "a[bold].gif", "b.gif")
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(action="delay", delay_s=3.0)
        with terminal(at, "sync", str(folder), "--once", NO_COLOR="1") as shown:
            shown.wait_for(lambda text: "of 2 files" in text)
            shown.wait_for(lambda text: "a[bold].gif" in text)
            shown.wait_for(lambda text: "bytes" in text or "kB" in text)
            assert shown.end() == 0
            assert "2 done, 0 waiting, 0 failed" in shown.shown
            assert "limited by" in shown.shown
            assert not _COLOUR.search(shown.shown)


def test_watch_follows_until_ctrl_c(tmp_path: Path) -> None:
    """The view is renewed when something changes, and Ctrl-C is a good end."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    with (
        place(tmp_path, settings=mirrored(folder, grace_s=600)) as at,
        terminal(at, "status", "--watch") as shown,
    ):
        shown.wait_for(lambda text: "queue    0 waiting" in text)
        at.run("pause")
        shown.wait_for(lambda text: "nothing is sent until you say" in text)
        at.run("sync", str(folder), "--once")
        shown.wait_for(lambda text: "of 1 file" in text)
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 0
        assert "Traceback" not in shown.shown


def test_sync_goes_on_and_ends_in_order(tmp_path: Path) -> None:
    """Without --once it follows the folder until a signal, and exits 0."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    with (
        place(tmp_path, settings=mirrored(folder)) as at,
        terminal(at, "sync", str(folder)) as shown,
    ):
        shown.wait_for(lambda _: len(at.images()) == 3)
        fill(folder, "b.gif")
        shown.wait_for(lambda _: len(at.images()) == 4)
        shown.process.send_signal(signal.SIGTERM)
        assert shown.end() == 0
