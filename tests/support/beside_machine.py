"""Chooses what happens to a drive and to the plain directory beside it.

The choices depend on the plain side only, so the same seed gives the same script. An
example begins on an empty account and ends with one: everything is closed, sent,
compared, removed and sent again, and nothing may be left.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import ClassVar

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.simulation.pushed_ground import Ground, Grounds, Mode
from tests.support.beside_choices import (
    Choices,
    accesses,
    album_names,
    file_names,
    good_names,
    modes,
    offsets,
    sizes,
)
from tests.support.beside_facts import LOSSLESS_BYTES, STILL, Facts
from tests.support.beside_side import Side
from tests.support.beside_world import World

_CREATE = os.O_WRONLY | os.O_CREAT


class Watcher:
    """Is told how far the scripts are; this one does nothing about it."""

    def begun(self, number: int) -> None:
        """Know that a script begins."""

    def failed(self, script: list[str]) -> None:
        """Know that a script has shown a difference."""


class BesideMachine(Choices, RuleBasedStateMachine):
    """Operations in any order; :attr:`grounds` has to be set before one is made."""

    grounds: ClassVar[Grounds]
    counts: ClassVar[Counter[str]] = Counter()
    watcher: ClassVar[Watcher]

    def __init__(self) -> None:
        super().__init__()
        self._has_large = False
        self._ground: Ground | None = None

    @initialize(mode=modes)
    def begin(self, mode: Mode) -> None:
        """Take an account, and put two albums and two images into it."""
        ground = self.grounds.ground(mode)
        plain = Side(ground.directory / "plain")
        drive = Side(ground.top)
        self.world = World(ground, drive, plain, Facts(plain, mode))
        self.world.counts = self.counts
        self.world.script.append(f"begin({mode})")
        self._ground = ground
        self.counts["script"] += 1
        self.watcher.begun(self.counts["script"])
        for name in ("A", "B"):
            self.world.mkdir(name)
        self.world.write_all("A/first.gif", _CREATE | os.O_EXCL, self.new_content())
        self.world.write_all("second.gif", _CREATE | os.O_EXCL, self.new_content())
        self.world.drain()

    # --- Bytes ---------------------------------------------------------------

    @rule(data=st.data(), excludes=st.booleans())
    def copy_in(self, data: st.DataObject, excludes: bool) -> None:
        """Copy a picture into the drive, over what is there or not."""
        flags = _CREATE | (os.O_EXCL if excludes else os.O_TRUNC)
        path = self.new_path(data, file_names)
        self.world.write_all(path, flags, self.new_content())

    @rule(data=st.data())
    def copy_same(self, data: st.DataObject) -> None:
        """Copy a file of the drive to another place on it, as cp does."""
        path = self.old_file(data)
        parent = data.draw(st.sampled_from(self.folders()))
        new = f"{parent}/{data.draw(good_names)}".lstrip("/")
        if path != "nothing":
            content = self.world.plain.content(path)
            self.world.write_all(new, _CREATE | os.O_TRUNC, content)

    @precondition(lambda self: not self._has_large)
    @rule(data=st.data())
    def copy_large(self, data: st.DataObject) -> None:
        """Copy in a still that Imgur would make a smaller one of."""
        self._has_large = True
        content = self.new_content()
        large = STILL + content + bytes(LOSSLESS_BYTES)
        self.world.write_all(
            self.new_path(data, good_names), _CREATE | os.O_EXCL, large
        )

    @rule(data=st.data())
    def make_empty(self, data: st.DataObject) -> None:
        """Do what touch does with a new file, and programs before they write."""
        number = self.world.open(self.new_path(data, good_names), _CREATE)
        if number:
            self.world.close(number)

    @rule(data=st.data())
    def write_text(self, data: st.DataObject) -> None:
        """Write what is no picture."""
        path = self.new_path(data, file_names)
        self.world.write_all(path, _CREATE | os.O_TRUNC, b"no picture")

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        """Append to a file, or to what cannot be appended to."""
        path = self.old_path(data)
        if path in self.files() or path in self.folders():
            more = b"-%d" % len(self.world.script)
            self.world.write_all(path, os.O_WRONLY | os.O_APPEND, more)

    @rule(
        data=st.data(),
        access=accesses,
        more=st.sampled_from([0, os.O_TRUNC, os.O_APPEND]),
    )
    def open_one(self, data: st.DataObject, access: int, more: int) -> None:
        """Open a file and leave it open."""
        more = 0 if access == os.O_RDONLY else more
        self.world.open(self.old_file(data), access | more)

    @rule(data=st.data())
    def create_one(self, data: st.DataObject) -> None:
        """Make a file and leave it open."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self.world.open(self.new_path(data, good_names), flags)

    @precondition(lambda self: self.world.facts.writers())
    @rule(data=st.data(), offset=offsets)
    def write_one(self, data: st.DataObject, offset: int) -> None:
        """Write to an open file."""
        number = data.draw(st.sampled_from(self.world.facts.writers()))
        more = b"+%d" % len(self.world.script)
        self.world.write(number, self.new_content() if offset == 0 else more, offset)

    @precondition(lambda self: self.world.facts.writers())
    @rule(data=st.data(), size_bytes=sizes)
    def cut_one(self, data: st.DataObject, size_bytes: int) -> None:
        """Set the size of an open file."""
        number = data.draw(st.sampled_from(self.world.facts.writers()))
        self.world.cut(number, size_bytes)

    @precondition(lambda self: self.world.facts.opened)
    @rule(data=st.data(), offset=offsets, size_bytes=st.sampled_from([1, 30, 4096]))
    def read_one(self, data: st.DataObject, offset: int, size_bytes: int) -> None:
        """Read from an open file; it may have no name any more."""
        opened = self.world.facts.opened
        readers = [n for n, one in opened.items() if one.access != os.O_WRONLY]
        if readers:
            number = data.draw(st.sampled_from(readers))
            self.world.read(number, size_bytes, offset)

    @precondition(lambda self: self.world.facts.opened)
    @rule(data=st.data(), is_last=st.booleans())
    def commit_one(self, data: st.DataObject, is_last: bool) -> None:
        """Close an open file, or only make it durable."""
        number = data.draw(st.sampled_from(list(self.world.facts.opened)))
        if is_last:
            self.world.close(number)
        else:
            self.world.fsync(number)

    @rule(data=st.data(), size_bytes=sizes)
    def truncate(self, data: st.DataObject, size_bytes: int) -> None:
        """Set the size of a file by its path."""
        self.world.truncate(self.old_file(data), size_bytes)

    @rule(data=st.data(), seconds=st.none() | st.integers(1, 2_000_000_000))
    def set_time(self, data: st.DataObject, seconds: int | None) -> None:
        """Set a file's time, or leave it."""
        mtime_ns = None if seconds is None else seconds * 10**9 + 7
        self.world.utime(self.old_file(data), mtime_ns)

    # --- Names ---------------------------------------------------------------

    @rule(data=st.data())
    def mkdir(self, data: st.DataObject) -> None:
        """Make an album."""
        self.world.mkdir(self.new_path(data, album_names))

    @rule(data=st.data())
    def rmdir(self, data: st.DataObject) -> None:
        """Remove an album, or try to."""
        self.world.rmdir(self.old_path(data))

    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        """Take a name away."""
        self.world.unlink(self.old_path(data))

    @rule(data=st.data(), is_across=st.booleans())
    def link(self, data: st.DataObject, is_across: bool) -> None:
        """Give a file one more name."""
        self.world.link(*self.places(data, good_names, is_across=is_across))

    @rule(data=st.data(), is_across=st.booleans(), no_replace=st.booleans())
    def move(self, data: st.DataObject, is_across: bool, no_replace: bool) -> None:
        """Rename to any name, of something there or not."""
        old, new = self.places(data, file_names, is_across=is_across)
        self.world.rename(old, new, no_replace=no_replace)

    @rule(data=st.data())
    def move_over(self, data: st.DataObject) -> None:
        """Rename over something that is there."""
        self.world.rename(self.old_path(data), self.old_path(data))

    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        """Do what editors do: write a temporary file and rename it over the old."""
        path = self.old_file(data)
        beside = f"{path.rpartition('/')[0]}/.new.part".lstrip("/")
        self.world.write_all(beside, _CREATE | os.O_TRUNC, self.new_content())
        self.world.rename(beside, path)

    # --- The world -----------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 2.5, 4.0, 30.0]))
    def push(self, seconds: float) -> None:
        """Let time pass, and some of what waits be sent."""
        self.world.push(seconds)

    @rule()
    def drain(self) -> None:
        """Let everything be sent."""
        self.world.drain()

    @rule()
    def refresh(self) -> None:
        """Let the account be listed, whatever waits."""
        self.world.refresh()

    @precondition(lambda self: self.albums())
    @rule(data=st.data(), what=st.sampled_from(["arrive", "rename", "delete"]))
    def touch_album(self, data: st.DataObject, what: str) -> None:
        """Let somebody else change an album."""
        folder = data.draw(st.sampled_from(self.albums()))
        title = f"web{len(self.world.script)}"
        if what == "arrive":
            self.world.arrive(folder, title, self.new_content())
        elif what == "rename":
            self.world.rename_album(folder, title)
        else:
            self.world.delete_album(folder)

    @precondition(lambda self: self.settled())
    @rule(data=st.data(), is_deleting=st.booleans())
    def touch_image(self, data: st.DataObject, is_deleting: bool) -> None:
        """Let somebody else delete an image, or give it a title."""
        path = data.draw(st.sampled_from(self.settled()))
        if is_deleting:
            self.world.vanish(path)
        else:
            self.world.retitle(path, f"web{len(self.world.script)}")

    @precondition(lambda self: self.members())
    @rule(data=st.data())
    def leave_album(self, data: st.DataObject) -> None:
        """Let somebody else take an image out of an album."""
        self.world.leave_album(data.draw(st.sampled_from(self.members())))

    @rule(is_killed=st.booleans())
    def remount(self, is_killed: bool) -> None:
        """End the mount, or kill it, and mount again."""
        self.world.remount(is_killed=is_killed)

    # --- Comparing -----------------------------------------------------------

    @invariant()
    def is_alike(self) -> None:
        """The drive shows what the plain directory has."""
        if self._ground is not None:
            self.world.compare()

    def teardown(self) -> None:
        """Send everything, compare the account, and leave nothing behind."""
        if self._ground is None:
            return
        note("\n".join(["what was done:", *self.world.script]))
        is_wiped = False
        try:
            if self.world.is_alike:
                self.world.close_all()
                self.world.drain()
                self.world.compare()
                self.world.wipe()
                is_wiped = True
        finally:
            if not is_wiped:
                self.watcher.failed(self.world.script)
                # Whatever went wrong must not go on in the next example.
                self.grounds.drop(self._ground.mode)


def run_machine(
    grounds: Grounds,
    *,
    examples: int,
    steps: int,
    is_derandomized: bool,
    watcher: Watcher | None = None,
) -> None:
    """Run so many scripts of up to so many steps. Raises AssertionError."""
    BesideMachine.grounds = grounds
    BesideMachine.watcher = watcher or Watcher()
    run_state_machine_as_test(
        BesideMachine,
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
