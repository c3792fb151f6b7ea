"""What ``beside_machine`` can choose from, by what the plain directory has."""

from __future__ import annotations

import itertools
import os
from typing import ClassVar

from hypothesis import strategies as st

from tests.simulation.pushed_ground import Mode
from tests.support.beside_facts import LOSSLESS_BYTES
from tests.support.beside_world import World
from tests.support.drive_model import PICTURE

modes = st.sampled_from(
    [
        Mode(),
        Mode(non_media="keep-local"),
        Mode(lossy="accept"),
        Mode(non_media="keep-local", lossy="accept"),
    ]
)
file_names = st.sampled_from(
    ["a.gif", "b.gif", "c.png", "plain", ".h.gif.x7", "old~", "no.txt", "@x", "A"]
)
good_names = st.sampled_from(["a.gif", "b.gif", "c.png", "plain"])
album_names = st.sampled_from(["A", "B", "C", ".tmp", "half.part", "@x", "a.gif"])
offsets = st.sampled_from([0, len(PICTURE), len(PICTURE) + 5, 60])
sizes = st.sampled_from([0, len(PICTURE), len(PICTURE) + 3, 70])
accesses = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR])


class Choices:
    """Draws from a world. Has no rules of its own."""

    world: World
    #: So that no example has contents of another, whatever is left of that.
    examples: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self._example = next(self.examples)
        self._contents = 0

    def new_content(self) -> bytes:
        """Return a picture that is not like any before, of the length of all."""
        self._contents += 1
        return PICTURE + b"%06d %04d" % (self._example, self._contents)

    def new_path(self, data: st.DataObject, names: st.SearchStrategy[str]) -> str:
        """Choose a directory, sometimes one that is not there, and a name."""
        parent = data.draw(st.sampled_from([*self.folders(), "gone", "a.gif"]))
        name = data.draw(names)
        return f"{parent}/{name}".lstrip("/")

    def folders(self) -> list[str]:
        """Return all directories, the top among them."""
        look = self.world.plain.look()
        return ["", *(path for path, one in look.items() if one.is_directory)]

    def files(self) -> list[str]:
        """Return the paths of all files that any rule may change: not large ones."""
        look = self.world.plain.look()
        return [
            path
            for path, one in look.items()
            if not one.is_directory and one.size_bytes < LOSSLESS_BYTES
        ]

    def old_path(self, data: st.DataObject) -> str:
        """Choose anything that is there."""
        return data.draw(st.sampled_from([*self.world.plain.look()] or ["nothing"]))

    def old_file(self, data: st.DataObject) -> str:
        """Choose a file that is there."""
        return data.draw(st.sampled_from(self.files() or ["nothing"]))

    def settled(self) -> list[str]:
        """Return the files that drive and account agree about.

        Not those that a copy may become one file with at any moment (W11): what others
        do to the one would then be done to the copy as well, or not.
        """
        contents = self.contents()
        return [
            path
            for path in self.files()
            if self.world.facts.is_settled(path) and len(contents[path]) == 1
        ]

    def contents(self) -> dict[str, set[int]]:
        """Return for each file which files have the same content."""
        plain = self.world.plain
        look = {p: one for p, one in plain.look().items() if not one.is_directory}
        same: dict[bytes, set[int]] = {}
        for path, one in look.items():
            same.setdefault(plain.content(path), set()).add(one.inode)
        return {path: same[plain.content(path)] for path in look}

    def albums(self) -> list[str]:
        """Return the albums both agree about, and in which nothing has a copy."""
        contents = self.contents()
        shared = {
            path.partition("/")[0] for path, it in contents.items() if len(it) > 1
        }
        return [it for it in self.world.facts.settled_albums() if it not in shared]

    def members(self) -> list[str]:
        """Return those of them that are in albums both agree about."""
        albums = self.albums()
        return [path for path in self.settled() if path.partition("/")[0] in albums]

    def places(
        self, data: st.DataObject, names: st.SearchStrategy[str], *, is_across: bool
    ) -> tuple[str, str]:
        """Choose a thing and a place for it; across: a name that is mostly free."""
        if is_across:
            old, names = self.old_file(data), st.sampled_from(["a.gif", "moved.gif"])
            parent = data.draw(st.sampled_from(self.folders()))
            return old, f"{parent}/{data.draw(names)}".lstrip("/")
        old = self.old_path(data)
        names = album_names if old in self.folders() else names
        return old, self.new_path(data, names)
