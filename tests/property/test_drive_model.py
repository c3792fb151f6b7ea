"""Random operations on the drive, compared with a plain model of what it has to show.

The machine chooses operations with the model at hand, and writes down what has to come
of each; at its end the script is played on a drive over an emulated account.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.drive_model import DONE, PICTURE, File
from tests.support.drive_names_model import Model
from tests.support.drive_play import Step, play

EXAMPLES = int(os.environ.get("DRIVE_MODEL_EXAMPLES", "300"))
STEPS = int(os.environ.get("DRIVE_MODEL_STEPS", "12"))

#: Where databases and spool are in memory, thousands of scripts take minutes.
_MEMORY = Path("/dev/shm")

file_names = st.sampled_from(
    ["a.gif", "b.gif", "c.png", "plain", ".h.gif.x7", "old~", "no.txt", "@x", "A"]
)
good_names = st.sampled_from(["a.gif", "b.gif", "c.png", "plain"])
album_names = st.sampled_from(["A", "B", "C", "@x", "a.gif"])
offsets = st.sampled_from([None, 0, len(PICTURE), len(PICTURE) + 5, 60])
sizes = st.sampled_from([0, len(PICTURE), len(PICTURE) + 3, 70])


class DriveMachine(RuleBasedStateMachine):
    """Chooses what happens, and knows what has to come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.script: list[Step] = []
        self._contents = 0

    # --- Choosing ----------------------------------------------------------------

    def new_content(self) -> bytes:
        """Return a picture that is not like any before."""
        self._contents += 1
        return PICTURE + b"content %d" % self._contents

    def new_path(self, data: st.DataObject, names: st.SearchStrategy[str]) -> str:
        """Choose a directory, sometimes one that is not there, and a name."""
        parent = data.draw(st.sampled_from([*self.model.folders(), "gone", "a.gif"]))
        name = data.draw(names)
        return f"{parent}/{name}" if parent else name

    def old_path(self, data: st.DataObject, *, directories: bool = True) -> str:
        """Choose something that is there."""
        paths = self.model.paths(directories=directories)
        return data.draw(st.sampled_from(paths or ["nothing"]))

    def handle(self, data: st.DataObject, *, writes: bool = False) -> int:
        """Choose an open file."""
        numbers = [
            number
            for number, opened in self.model.opened.items()
            if opened.is_for_writing or not writes
        ]
        return data.draw(st.sampled_from(numbers))

    def has_open(self, *, writes: bool = False) -> bool:
        """Whether any file is open, or open for writing."""
        opened = self.model.opened.values()
        return any(one.is_for_writing or not writes for one in opened)

    def note(self, name: str, *arguments: Any, errnos: frozenset[int] = DONE) -> None:
        """Write a step down, with what has to be seen after it."""
        account = None
        if name == "drain":
            account = (self.model.account(), frozenset(self.model.lingering()))
        step = Step(name, arguments, errnos, self.model.view(), account)
        self.script.append(step)

    # --- Bytes -------------------------------------------------------------------

    def open(self, path: str, flags: int) -> int:
        """Open a file; return the number of the handle, 0 when it is refused."""
        errnos, number = self.model.open(
            path,
            creates=bool(flags & os.O_CREAT),
            excludes=bool(flags & os.O_EXCL),
            truncates=bool(flags & os.O_TRUNC),
            writes=flags & os.O_ACCMODE != os.O_RDONLY,
        )
        self.note("open", number, path, flags, errnos=errnos)
        return number

    def write_all(self, path: str, flags: int, content: bytes) -> None:
        """Open, write, close."""
        number = self.open(path, flags)
        if number:
            is_appending = bool(flags & os.O_APPEND)
            self.write(number, content, None if is_appending else 0)
            self.note("close", number, errnos=self.model.close(number))

    def write(self, number: int, content: bytes, offset: int | None) -> None:
        """Write to an open file."""
        errnos = self.model.write(number, content, offset)
        self.note("write", number, content, offset, errnos=errnos)

    @rule(data=st.data(), excludes=st.booleans())
    def copy_in(self, data: st.DataObject, excludes: bool) -> None:
        """Copy a picture into the drive, over what is there or not."""
        flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if excludes else os.O_TRUNC)
        self.write_all(self.new_path(data, file_names), flags, self.new_content())

    @rule(data=st.data())
    def make_empty(self, data: st.DataObject) -> None:
        """Do what touch does with a new file, and programs before they write."""
        path = self.new_path(data, good_names)
        number = self.open(path, os.O_WRONLY | os.O_CREAT)
        if number:
            self.note("close", number, errnos=self.model.close(number))

    @rule(data=st.data())
    def write_text(self, data: st.DataObject) -> None:
        """Write what is no picture."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self.write_all(self.new_path(data, file_names), flags, b"no picture")

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        """Append to a file."""
        path = self.old_path(data)
        self.write_all(path, os.O_WRONLY | os.O_APPEND, b"-%d" % len(self.script))

    @rule(
        data=st.data(),
        access=st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
        is_truncating=st.booleans(),
    )
    def open_one(self, data: st.DataObject, access: int, is_truncating: bool) -> None:
        """Open a file and leave it open."""
        path = self.old_path(data, directories=False)
        is_truncating = is_truncating and access != os.O_RDONLY
        self.open(path, access | (os.O_TRUNC if is_truncating else 0))

    @rule(data=st.data())
    def create_one(self, data: st.DataObject) -> None:
        """Make a file and leave it open."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self.open(self.new_path(data, good_names), flags)

    @precondition(lambda self: self.has_open(writes=True))
    @rule(data=st.data(), offset=offsets.filter(lambda one: one is not None))
    def write_one(self, data: st.DataObject, offset: int) -> None:
        """Write to an open file."""
        content = self.new_content() if offset == 0 else b"+%d" % len(self.script)
        self.write(self.handle(data, writes=True), content, offset)

    @precondition(lambda self: self.has_open(writes=True))
    @rule(data=st.data(), size_bytes=sizes)
    def cut_one(self, data: st.DataObject, size_bytes: int) -> None:
        """Set the size of an open file."""
        number = self.handle(data, writes=True)
        errnos = self.model.cut(number, size_bytes)
        self.note("cut", number, size_bytes, errnos=errnos)

    @precondition(lambda self: self.has_open())
    @rule(data=st.data())
    def read_one(self, data: st.DataObject) -> None:
        """Read an open file; it may have no name any more."""
        number = self.handle(data)
        self.note("read", number, self.model.opened[number].file.content)

    @precondition(lambda self: self.has_open())
    @rule(data=st.data(), is_last=st.booleans())
    def commit_one(self, data: st.DataObject, is_last: bool) -> None:
        """Close an open file, or only make it durable."""
        number = self.handle(data)
        if is_last:
            self.note("close", number, errnos=self.model.close(number))
        else:
            self.note("fsync", number, errnos=self.model.fsync(number))

    @rule(data=st.data(), size_bytes=sizes)
    def truncate(self, data: st.DataObject, size_bytes: int) -> None:
        """Set the size of a file by its path."""
        path = self.old_path(data, directories=False)
        errnos = self.model.truncate(path, size_bytes)
        self.note("truncate", path, size_bytes, errnos=errnos)

    @rule(data=st.data(), seconds=st.integers(1, 2_000_000_000))
    def set_mtime(self, data: st.DataObject, seconds: int) -> None:
        """Set a file's time."""
        path, mtime_ns = self.old_path(data, directories=False), seconds * 10**9 + 7
        errnos = self.model.set_mtime(path, mtime_ns)
        self.note("set_mtime", path, mtime_ns, errnos=errnos)

    # --- Names -------------------------------------------------------------------

    @rule(data=st.data())
    def mkdir(self, data: st.DataObject) -> None:
        """Make an album."""
        path = self.new_path(data, album_names)
        self.note("mkdir", path, errnos=self.model.mkdir(path))

    @initialize()
    def have_albums(self) -> None:
        """Start with two albums, and two files that have been uploaded."""
        for name in ("A", "B"):
            self.note("mkdir", name, errnos=self.model.mkdir(name))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self.write_all("A/first.gif", flags, self.new_content())
        self.write_all("second.gif", flags, self.new_content())
        self.drain()

    @rule(data=st.data())
    def rmdir(self, data: st.DataObject) -> None:
        """Remove an album, or try to."""
        path = self.old_path(data)
        self.note("rmdir", path, errnos=self.model.rmdir(path))

    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        """Take a name away."""
        path = self.old_path(data)
        self.note("unlink", path, errnos=self.model.unlink(path))

    @rule(data=st.data())
    def link(self, data: st.DataObject) -> None:
        """Give a file one more name."""
        path, new = self.old_path(data), self.new_path(data, good_names)
        self.note("link", path, new, errnos=self.model.link(path, new))

    def across(self, data: st.DataObject) -> tuple[str, str]:
        """Choose a file, and a place in any directory."""
        old = self.old_path(data, directories=False)
        parent = data.draw(st.sampled_from(self.model.folders()))
        # One name is usually free: what matters is which albums hold the file.
        name = data.draw(st.sampled_from(["a.gif", "moved.gif"]))
        return old, f"{parent}/{name}".lstrip("/")

    @rule(data=st.data())
    def link_across(self, data: st.DataObject) -> None:
        """Put a file into one more album."""
        path, new = self.across(data)
        self.note("link", path, new, errnos=self.model.link(path, new))

    @rule(data=st.data())
    def move_across(self, data: st.DataObject) -> None:
        """Move a file to another album, or out of all."""
        self.rename(*self.across(data), no_replace=False)

    @rule(data=st.data(), no_replace=st.booleans())
    def move(self, data: st.DataObject, no_replace: bool) -> None:
        """Rename to any name, of something there or not."""
        old = self.old_path(data)
        is_file = isinstance(self.model.find(old), File)
        new = self.new_path(data, file_names if is_file else album_names)
        self.rename(old, new, no_replace=no_replace)

    @rule(data=st.data())
    def move_over(self, data: st.DataObject) -> None:
        """Rename over something that is there."""
        self.rename(self.old_path(data), self.old_path(data), no_replace=False)

    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        """Do what editors do: write a temporary file and rename it over the old."""
        path = self.old_path(data, directories=False)
        beside = f"{path.rpartition('/')[0]}/.new.part".lstrip("/")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self.write_all(beside, flags, self.new_content())
        self.rename(beside, path, no_replace=False)

    def rename(self, old: str, new: str, *, no_replace: bool) -> None:
        """Rename."""
        errnos = self.model.rename(old, new, no_replace=no_replace)
        self.note("rename", old, new, int(no_replace), errnos=errnos)

    # --- The world ---------------------------------------------------------------

    @rule()
    def drain(self) -> None:
        """Let everything be sent."""
        self.model.drain()
        self.note("drain")

    @rule()
    def refresh(self) -> None:
        """Let the account be listed, whatever waits."""
        self.note("refresh")

    @precondition(lambda self: self.model.settled_folders())
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """Let somebody else put an image into an album."""
        folder = data.draw(st.sampled_from(self.model.settled_folders()))
        content, title = self.new_content(), f"arrived{len(self.script)}"
        self.model.arrive(folder, title, content)
        self.note("arrive", folder, title, content)

    @precondition(lambda self: self.model.settled_files())
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        """Let somebody else delete an image."""
        path = data.draw(st.sampled_from(self.model.settled_files()))
        self.note("vanish", self.model.vanish(path))

    @precondition(lambda self: self.model.settled_files())
    @rule(data=st.data())
    def retitle(self, data: st.DataObject) -> None:
        """Let somebody else give an image a title."""
        path = data.draw(st.sampled_from(self.model.settled_files()))
        title = f"called{len(self.script)}"
        self.note("retitle", self.model.retitle(path, title), title)

    @rule()
    def die(self) -> None:
        """Kill the mount and start it again."""
        self.model.die()
        self.note("remount")

    @invariant()
    def is_consistent(self) -> None:
        """No name of the model leads to nothing."""
        assert all(self.model.find(path) is not None for path in self.model.paths())

    def teardown(self) -> None:
        """Play the script."""
        self.close_all()
        self.drain()
        where = _MEMORY if _MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(dir=where) as directory:
            play(Path(directory), self.script)

    def close_all(self) -> None:
        """Close every file."""
        for number in list(self.model.opened):
            self.note("close", number, errnos=self.model.close(number))


def run_machine(examples: int, steps: int, *, is_derandomized: bool) -> None:
    """Run so many scripts of up to so many steps."""
    run_state_machine_as_test(
        DriveMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=is_derandomized,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            report_multiple_bugs=False,
        ),
    )


def test_drive_is_what_the_model_says() -> None:
    """Whatever is done in whatever order, drive and account are the model's."""
    run_machine(EXAMPLES, STEPS, is_derandomized=True)
