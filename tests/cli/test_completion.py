"""Completion in the shells themselves: what Tab offers, and how it is quoted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs import paths
from imgurfs.model import Account
from imgurfs.store import meta
from tests.support.commands import Home
from tests.support.drive_rows import DriveRows
from tests.support.processes import REPOSITORY
from tests.support.queued import Queue, queue_at

#: Asks bash for the completions of a line, without a terminal.
_BASH = r"""
source {script}
COMP_LINE={line} COMP_POINT=${{#COMP_LINE}}
read -r -a COMP_WORDS <<< "$COMP_LINE"
[[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ :; }}
_imgurfs_completion imgurfs
printf '%s\n' "${{COMPREPLY[@]}}"
"""
#: The same of zsh, where only compadd knows what is offered.
_ZSH = r"""
compdef() {{ :; }}
compadd() {{ local name=${{argv[-1]}}; print -l -- ${{(P)name}}; }}
_path_files() {{ print -- "files $*"; }}
source {script}
words=({words}) CURRENT=${{#words}}
_imgurfs_completion
"""


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Home:
    """A home of its own, with the program on the path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "imgurfs"
    path = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'daemon'}"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} -m imgurfs "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return Home(tmp_path, monkeypatch, capfd)


@pytest.fixture
def queue(home: Home) -> Iterator[Queue]:
    """An account with a queue, two albums and two images; nobody is logged in."""
    places = paths.account_paths("default")
    home.write_config(
        f'[accounts.work]\n[[folder]]\npath = "{home.directory}/Pictures"\n'
    )
    with queue_at(places.state_db, home.directory / "folder") as found:
        found.db.write_blocking(lambda c: meta.bind_account(c, Account(id=1, url="me")))
        drive = DriveRows(found.db, places.spool_dir)
        trip = drive.album("Trip to Rome, 2024", "Ab3xY7q")
        drive.album("Tea", "Cd3xY7q")
        drive.image("sea $x.gif", "img1", trip)
        drive.image("lone.gif", "img2")
        yield found


def script(home: Home, shell: str) -> Path:
    """Write a shell's script to a file."""
    file = home.directory / f"script.{shell}"
    file.write_text(home.run("completion", shell).out)
    return file


def bash(home: Home, line: str) -> list[str]:
    """Return what bash offers for a line."""
    quoted = "'" + line.replace("'", "'\\''") + "'"
    text = _BASH.format(script=script(home, "bash"), line=quoted)
    return _run(["bash", "--norc", "-c", text])


def fish(home: Home, line: str) -> list[str]:
    """Return what fish offers for a line."""
    file = script(home, "fish")
    return _run(["fish", "-N", "-c", f"source {file}; complete -C '{line}'"])


def zsh(home: Home, *words: str) -> list[str]:
    """Return what zsh offers for words as they stand on the line."""
    file = script(home, "zsh")
    quoted = " ".join("'" + word + "'" for word in words)
    text = _ZSH.format(script=file, words=f"imgurfs {quoted}")
    return _run(["zsh", "-f", "-c", text])


def _run(command: list[str]) -> list[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout.split("\n")[:-1]


def test_bash_offers_commands_and_options(home: Home, queue: Queue) -> None:
    """Commands by their beginning, subcommands, and every option."""
    assert bash(home, "imgurfs un") == ["undo", "unmount", "unpin"]
    assert bash(home, "imgurfs queue re") == ["resolve", "retry"]
    assert "--no-wait" in bash(home, "imgurfs upload --")
    assert bash(home, "imgurfs completion z") == ["zsh"]


def test_bash_offers_names_quoted(home: Home, queue: Queue) -> None:
    """Albums end in a slash; what the shell would take apart has a backslash."""
    assert bash(home, "imgurfs ls T") == ["Trip\\ to\\ Rome,\\ 2024/", "Tea/"]
    assert bash(home, "imgurfs pin l") == ["lone.gif"]
    inside = bash(home, "imgurfs pin Tea/")
    assert inside in ([], [""])
    found = _run_in_bash(home, "imgurfs pin Trip\\ to\\ Rome,\\ 2024/")
    assert found == ["Trip\\ to\\ Rome,\\ 2024/sea\\ \\$x.gif"]
    assert bash(home, "imgurfs upload --album Te") == ["Tea"]


def _run_in_bash(home: Home, line: str) -> list[str]:
    """Complete the last word of a line that has quoted spaces in it."""
    words = line.replace("\\ ", "\0").split(" ")
    array = " ".join("'" + word.replace("\0", "\\ ") + "'" for word in words)
    text = (
        f"source {script(home, 'bash')}\ncompopt() {{ :; }}\n"
        f"COMP_WORDS=({array}) COMP_CWORD={len(words) - 1}\n"
        "_imgurfs_completion imgurfs\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    return _run(["bash", "--norc", "-c", text])


def test_bash_offers_ids_accounts_and_folders(home: Home, queue: Queue) -> None:
    """Ids of the queue, deletions for undo, names of the configuration."""
    upload = str(queue.upload("a.gif"))
    queue.write_file("b.gif")
    queue.synced_file("b.gif", "img9")
    deletion = str(queue.delete("b.gif", "img9"))
    assert bash(home, "imgurfs queue show ") == [upload, deletion]
    assert bash(home, "imgurfs undo ") == [deletion]
    assert bash(home, "imgurfs --account ") == ["default", "work"]
    assert bash(home, "imgurfs folder remove /") == [f"{home.directory}/Pictures"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(home: Home, queue: Queue, shell: str) -> None:
    """The other scripts: commands, options, and names, which these shells quote."""
    assert shutil.which(shell), f"the tests need {shell}"
    if shell == "zsh":
        assert zsh(home, "un") == ["undo", "unmount", "unpin"]
        assert zsh(home, "ls", "T") == ["Trip to Rome, 2024/", "Tea/"]
        assert zsh(home, "upload", "") == ["files -f"]
        return
    assert fish(home, "imgurfs un") == ["undo", "unmount", "unpin"]
    assert set(fish(home, "imgurfs ls T")) == {"Trip to Rome, 2024/", "Tea/"}
    assert "--no-wait" in fish(home, "imgurfs upload --no")


def test_nothing_is_offered_where_nothing_is_known(home: Home) -> None:
    """No state, a broken configuration, a foreign file: silence; nothing is made."""
    assert bash(home, "imgurfs ls ") in ([], [""])
    assert not paths.account_paths("default").state_dir.exists()
    home.write_config("nonsense")
    assert bash(home, "imgurfs --account ") in ([], [""])
    state_db = paths.account_paths("default").state_db
    state_db.parent.mkdir(parents=True)
    state_db.write_bytes(b"no database at all" * 100)
    assert bash(home, "imgurfs ls ") in ([], [""])
    assert state_db.read_bytes() == b"no database at all" * 100


def test_completing_is_fast(home: Home, queue: Queue) -> None:
    """Tab answers from the tables alone, sooner than a person notices."""
    environ = {
        **os.environ,
        "_IMGURFS_COMPLETE": "bash_complete",
        "COMP_WORDS": "imgurfs\nls\nT",
        "COMP_CWORD": "2",
    }
    took_s = []
    for _ in range(3):
        began_s = time.monotonic()
        subprocess.run(["imgurfs"], env=environ, check=True, capture_output=True)
        took_s.append(time.monotonic() - began_s)
    assert min(took_s) < 1.0, took_s
