"""``imgurfs status``: what it gathers, and how it says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from imgurfs import paths
from imgurfs.cli import live, words
from imgurfs.cli.context import Context
from imgurfs.cli.main import COMMANDS
from imgurfs.cli.opened import opened
from imgurfs.cli.status import _watch_changes
from imgurfs.control import Cause
from imgurfs.errors import UsageError
from imgurfs.jobs import guard
from imgurfs.locks import FileLock
from imgurfs.store import notices, synced
from tests.support.commands import Home
from tests.support.processes import REPOSITORY
from tests.support.queued import NOW_S, Queue


def test_empty_account_has_every_key(home: Home, queue: Queue) -> None:
    """The keys of the help text are the keys; nothing needs attention."""
    facts = json.loads(home.run("status", "--json").out, parse_constant=pytest.fail)
    help_text = home.run("status", "--help").out
    for key in facts:
        assert re.search(rf"\b{key}\b", help_text), key
    assert facts["account"] == {"name": "me", "id": 1}
    assert (facts["attention"], facts["eta"], facts["guard"]) == ([], None, None)
    text = home.run("status").out
    assert "account  me (1)" in text
    assert "daemon   not running" in text


def test_documentation_knows_every_command_and_cause() -> None:
    """docs/COMMANDS.md leaves no command and nothing that a job waits for out."""
    text = (REPOSITORY / "docs" / "COMMANDS.md").read_text()
    for command in COMMANDS:
        assert f"`imgurfs {command}" in text, command
    table = text.partition("## What a job waits for\n")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert rows - {"waits_for"} == {cause.value for cause in Cause}


def test_everything_that_is_stuck_says_what_to_do(home: Home, queue: Queue) -> None:
    """S25: unknown, rejected, held, paused and noticed, each with its command."""
    queue.lose(queue.upload("lost.gif"))
    queue.reject(queue.upload("bad.gif"), "too large")
    for number in range(12):
        queue.delete(f"{number}.gif", f"img{number}")
    queue.db.write_blocking(lambda c: guard.review(c, now=NOW_S))
    queue.db.write_blocking(lambda c: notices.put(c, "watch", "raise the limit"))
    home.run("pause")
    facts = json.loads(home.run("status", "--json").out)
    do = {one["do"] for one in facts["attention"]}
    assert do == {
        "imgurfs-daemon, or imgurfs sync FOLDER", "imgurfs resume", "imgurfs guard",
        "imgurfs queue --dead", "",
    }  # fmt: skip
    assert facts["paused"] == {"until": None}
    assert facts["guard"]["count"] == 12
    assert facts["deletions"]["count"] == 12
    assert facts["notices"] == {"watch": "raise the limit"}
    assert facts["queue"]["dead"] == 1
    text = home.run("status").out
    for part in (
        "held     upload 1 (upload lost.gif)", "rejected upload 2", "too large",
        "nothing is sent until you say: imgurfs resume", "raise the limit",
        "held by the guard; keep it: imgurfs undo 3", "and 2 more; keep all",
    ):  # fmt: skip
        assert part in text, part


def test_left_counts_files_and_bytes(home: Home, queue: Queue) -> None:
    """Also of what is in the air, which is named."""
    queue.send(queue.upload("a.gif", size_bytes=3_000_000))
    queue.upload("b.gif", size_bytes=1_000_000)
    queue.fail(queue.upload("c.gif", size_bytes=0), until=NOW_S * 2, error="offline")
    facts = json.loads(home.run("status", "--json").out)
    assert facts["left"] == {
        "files": 3, "bytes": 4_000_000, "album_calls": 0, "titles": 0, "deletions": 0,
    }  # fmt: skip
    assert [one["what"] for one in facts["sending"]] == ["upload a.gif"]
    text = home.run("status").out
    assert "left     3 files, 4 MB" in text
    assert "sending  upload a.gif (3 MB)" in text
    assert re.search(r"waits    1 upload: retry until \d{4}.*: offline", text)


def test_no_time_is_promised_without_a_login(home: Home, queue: Queue) -> None:
    """A token that was revoked sends nothing, however much budget there is."""
    queue.upload("a.gif")
    queue.db.write_blocking(lambda c: notices.put(c, notices.LOGIN, "log in again"))
    eta = json.loads(home.run("status", "--json").out)["eta"]
    assert (eta["finish_at"], eta["limited_by"]) == (None, "login")
    assert "not before you log in" in home.run("status").out


def test_who_runs_is_told_from_the_locks(home: Home, queue: Queue) -> None:
    """The daemon's process, and no complaint that nobody sends."""
    queue.upload("a.gif")
    with FileLock(paths.account_paths("default").daemon_lock).require("a test"):
        facts = json.loads(home.run("status", "--json").out)
    assert facts["processes"]["daemon"] == os.getpid()
    assert facts["attention"] == []


def test_file_names_cannot_act_on_the_terminal(home: Home, queue: Queue) -> None:
    """Escape sequences and line ends in names are shown, not sent."""
    name = b"evil\x1b]0;x\x07\nname\xff.gif"
    record = synced.SkippedFile(name, 1, 1, "because\x1b[2J")
    queue.db.write_blocking(lambda c: synced.put_skipped(c, queue.folder, record))
    out = home.run("status").out
    assert "\x1b" not in out
    (line,) = [line for line in out.splitlines() if "evil" in line]
    assert "name" in line


def watching(
    home: Home, *options: str, stdout: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start ``imgurfs status --watch`` as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "imgurfs", "status", "--watch", *options],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_watch_prints_once_per_change_and_ends_with_its_reader(
    home: Home, queue: Queue
) -> None:
    """A line at the start, one when something changed, then the reader goes."""
    with watching(home, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = json.loads(process.stdout.readline())
        queue.upload("a.gif")
        second = json.loads(process.stdout.readline())
        assert (first["left"]["files"], second["left"]["files"]) == (0, 1)
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


async def test_watch_is_silent_while_nothing_changes(
    queue: Queue, capfd: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    """A minute without news is one object, and the estimate alone is no news."""
    queue.upload("a.gif")
    with opened(Context()) as state:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(_watch_changes, state, as_json=True))
            await trio.sleep(60)
            queue.upload("b.gif")
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [facts["left"]["files"] for facts in lines] == [1, 2]


# --- Words and bars ----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45m", 2700), ("2h", 7200), ("1d12h", 129_600), ("1.5 h", 5400), ("90s", 90),
     ("1W", 604_800)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    """What people write."""
    assert words.parse_duration(text) == seconds


def test_durations_that_mean_nothing() -> None:
    """Are refused with an example."""
    with pytest.raises(UsageError) as caught:
        words.parse_duration("soon")
    assert "2h" in caught.value.hint


def test_sizes_and_tables() -> None:
    """Sizes in the unit that reads best; columns as wide as their widest cell."""
    assert [words.size(n) for n in (0, 999, 1500, 12_345_678, 5 * 10**12)] == [
        "0 B", "999 B", "1.5 kB", "12.3 MB", "5 TB",
    ]  # fmt: skip
    assert words.table([("a", "bb"), ("ccc", "d")]) == ["a    bb", "ccc  d"]
    assert words.table([]) == []


def test_course_counts_what_comes_and_goes() -> None:
    """What is added raises the total; what goes is done."""
    course = live.Course()
    course.see(10, 100)
    course.see(7, 60)
    course.see(9, 90)
    assert (course.done_files, course.total_files) == (3, 12)
    assert course.text == "3 of 12 files, 40 B of 130 B"


@dataclass
class SetClock:
    """A clock that stands where it is put."""

    at_s: float = 0.0

    def now(self) -> float:
        """Return the time."""
        return NOW_S + self.at_s

    def monotonic(self) -> float:
        """Return the time since the start."""
        return self.at_s


def test_without_a_terminal_a_line_now_and_then(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not for every file, not twice the same, and nothing when it is quiet."""
    clock, course = SetClock(), live.Course()
    with live.ProgressView(clock) as view:
        for at_s in range(21):
            clock.at_s = float(at_s)
            course.see(100 - at_s, (100 - at_s) * 1000)
            view.show(course, note="done 14:10")
        clock.at_s = 60.0
        view.show(course, note="done 14:10")
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        f"{n} of 100 files, {n} kB of 100 kB; done 14:10" for n in (5, 10, 15, 20)
    ]
    with live.ProgressView(clock, is_quiet=True) as view:
        clock.at_s = 120.0
        view.show(course)
    assert capfd.readouterr().err == ""


def test_bars_show_names_as_they_are() -> None:
    """A file called like rich's markup is no markup, and rows go with their upload."""
    import io

    from rich.console import Console

    course, bars = live.Course(), live.Bars()
    course.see(2, 100)
    bars.show(course, note="[red]", sending=[live.Sending(1, "[bold]x.gif", 40, 50)])
    console = Console(file=io.StringIO(), width=200)
    console.print(bars.progress)
    bars.show(course)
    console.print(bars.progress)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count("[bold]x.gif") == 1
    assert "[red]" in shown
    assert "0 of 2 files" in shown
